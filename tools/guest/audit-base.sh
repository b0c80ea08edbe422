#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Show that the audit is not blind: on the base kernel, with nothing but the audit
# added to it, it has to find differences while the series' selftests run.
#
#	audit-base.sh TREE SCENARIO IMAGE
#
# TREE is the work tree of the base, IMAGE has the selftests of the series. That
# those fail on the base says make fails-on-base; here only the audit counts.
set -euo pipefail

guest=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$guest/common.sh"

[ $# -eq 3 ] || die "$EXIT_USAGE" "usage: audit-base.sh TREE SCENARIO IMAGE"
need_tree "$1"
need git:git
base=$1 scenario=$guest/scenarios/$2.scenario image=$3
patch=$guest/audit-base.patch
tree=$BUILD/linux-audit-base kernel=$BUILD/kernel/audit-base-$2 results=$BUILD/results/audit-base
[ -f "$scenario" ] || die "$EXIT_USAGE" "no scenario $2"
[ -f "$patch" ] || die "$EXIT_USAGE" "no $patch"
[ -x "$BUILD/guest/guest" ] || die "$EXIT_USAGE" "build the runner first: make -C tools/guest"

# The same tree as the last time stays, so that make has nothing to do.
stamp="$(git -C "$base" rev-parse HEAD) $(sha256sum <"$patch")"
if [ "$(cat "$tree.stamp" 2>/dev/null)" != "$stamp" ]; then
	rm -rf "$tree" "$tree.stamp"
	git -C "$base" worktree prune
	git -C "$base" worktree add -q --detach "$tree" HEAD
	git -C "$tree" apply --index "$patch" ||
		die "$EXIT_BUILD" "audit-base.patch does not apply to the base"
	echo "$stamp" >"$tree.stamp"
fi
"$guest/kernel.sh" "$tree" "$2" "$kernel"

log=$(mktemp) || exit "$EXIT_ENV"
trap 'rm -f "$log"' EXIT
status=0
"$BUILD/guest/guest" run --scenario "$scenario" --kernel "$kernel/arch/x86/boot/bzImage" \
	--image "$image" --results "$results" --audit required --test folio_mapcount |
	tee "$log" || status=$?
# A test that failed is what is wanted, and folios may be dumped to the console; a
# guest that was lost or did not end says nothing.
case $status in
"$EXIT_OK" | "$EXIT_TEST" | "$EXIT_SPLAT") ;;
*)	die $status "the run is not one to judge the audit by" ;;
esac
echo
read -r folios differences < <(sed -n \
	's/^audit: folios \([0-9]*\), differences \([0-9]*\),.*/\1 \2/p' "$log") ||
	die "$EXIT_TEST" "there was no audit"
[ "$differences" -gt 0 ] && status=0 || status=1
tap_result $status "on the base, the audit found $differences differences in $folios folios"
tap_end || exit "$EXIT_TEST"
