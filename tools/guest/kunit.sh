#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Run the KUnit suites of a kernel that is built already, through the tree's
# own kunit.py, and judge its log as any guest run's:
#
#	[ARCH=i386|arm64] kunit.sh TREE OUT RESULTS [FILTER]
#
# FILTER is a glob over suites; the default are those of the series. For another
# architecture than x86_64, kunit.py builds the kernel as well, in OUT, from the
# configuration in mm/tests, if kernel.sh did not do that.
set -eu

guest=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$guest/common.sh"

[ $# -eq 3 ] || [ $# -eq 4 ] || die "$EXIT_USAGE" "usage: kunit.sh TREE OUT RESULTS [FILTER]"
need_tree "$1"
tree=$(cd "$1" && pwd)
use_arch "${ARCH:-x86_64}"
[ "$ARCH" = x86_64 ] || need_space "$2" 1024
out=$(cd "$2" 2>/dev/null && pwd) || die "$EXIT_USAGE" "$2: no kernel built there"
if [ "$ARCH" != x86_64 ] && [ ! -e "$out/config.done" ]; then
	need python3:python3 ccache:ccache
	logged "$out/build.log" python3 -B "$tree/tools/testing/kunit/kunit.py" build \
		--arch "$ARCH" --kunitconfig "$tree/mm/tests" --build_dir="$out" \
		${CROSS_COMPILE:+--cross_compile "$CROSS_COMPILE"} \
		--make_options="CC=ccache ${CROSS_COMPILE}gcc" --make_options="HOSTCC=ccache gcc" \
		--jobs="$(nproc)"
fi
[ -s "$out/$KERNEL_IMAGE" ] || die "$EXIT_USAGE" "$2: no kernel built there"
results=$3 filter=${4:-folio_mapcount*}
need python3:python3 "$QEMU"
[ -x "$BUILD/guest/guest" ] || die "$EXIT_USAGE" "build the runner first: make -C tools/guest"

GUEST_QEMU=$(command -v "${QEMU%:*}")
# The runner's probe left its answer there; without one, emulate.
GUEST_ACCEL=tcg
[ "$SRCARCH" != x86 ] || GUEST_ACCEL=$(cat "$BUILD/accel" 2>/dev/null || echo tcg)
export GUEST_QEMU GUEST_ACCEL

# kunit.py leaves its log in the build folder.
work=$(mktemp -d "$BUILD/kunit.XXXXXX") || die "$EXIT_ENV" "$BUILD: not writable"
trap 'rm -rf "$work"' EXIT
# Where kunit.py looks for the kernel; of arm64's, it wants the compressed one.
mkdir -p "$work/${KERNEL_IMAGE%/*}"
ln -s "$out/.config" "$work/"
case $ARCH in
arm64)	gzip -1c "$out/$KERNEL_IMAGE" >"$work/$KERNEL_IMAGE.gz" ;;
*)	ln -s "$out/$KERNEL_IMAGE" "$work/$KERNEL_IMAGE" ;;
esac
status=0
# -B: the tree is only read, so no compiled Python in it.
PATH=$guest/shim:$PATH python3 -B "$tree/tools/testing/kunit/kunit.py" exec \
	--arch "$ARCH" --build_dir="$work" --timeout="${KUNIT_TIMEOUT:-300}" \
	--json="$work/kunit.json" "$filter" >"$work/kunit.out" 2>&1 || status=$?
[ -s "$work/test.log" ] || cat "$work/kunit.out" >&2
touch "$work/test.log"
code=0
"$BUILD/guest/guest" kunit-check --results "$results" --log "$work/test.log" \
	--status "$status" --kernel "$out/$KERNEL_IMAGE" \
	--rerun "tools/guest/kunit.sh $tree $out $results $filter" || code=$?
last=$(readlink "$results/latest")
cp "$work/kunit.out" "$results/$last/"
[ ! -f "$work/kunit.json" ] || cp "$work/kunit.json" "$results/$last/"
exit "$code"
