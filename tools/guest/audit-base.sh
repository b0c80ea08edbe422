#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Show that the audit is not blind: on the base kernel, with the audit added to it, it
# has to find one thing that the base does not know, and nothing else.
#
#	audit-base.sh TREE SCENARIO IMAGE
#
# TREE is the work tree of the base, IMAGE has the selftests of the series, of which
# folio_mapcount_audit runs: its test last_process has a folio that the base takes
# for shared, as three processes have had it mapped, but only one still does. The
# other tests skip: the base's audit has nothing to corrupt folios with.
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

# The same tree as the last time stays, so that make has nothing to do. The audit is
# the series' own; the patch has what else it needs, and takes out what it asks for
# that the base does not have.
audit=mm/debug_folio_mapcount.c
stamp="$(git -C "$base" rev-parse HEAD) $(cat "$patch" "$guest/../../$audit" | sha256sum)"
if [ "$(cat "$tree.stamp" 2>/dev/null)" != "$stamp" ]; then
	rm -rf "$tree" "$tree.stamp"
	git -C "$base" worktree prune
	git -C "$base" worktree add -q --detach "$tree" HEAD
	cp "$guest/../../$audit" "$tree/$audit"
	git -C "$tree" apply "$patch" ||
		die "$EXIT_BUILD" "audit-base.patch does not apply to the base"
	echo "$stamp" >"$tree.stamp"
fi
"$guest/kernel.sh" "$tree" "$2" "$kernel"

# What the runner makes of the tests is not for the user to read.
mkdir -p "$results"
status=0
"$BUILD/guest/guest" run --scenario "$scenario" --kernel "$kernel/arch/x86/boot/bzImage" \
	--image "$image" --results "$results" --audit required --test folio_mapcount_audit \
	>"$results/report" || status=$?
# A test that failed is what is wanted; a guest that was lost or did not end says
# nothing.
case $status in
"$EXIT_OK" | "$EXIT_TEST") ;;
*)	die $status "the run is not one to judge the audit by, see $results/report" ;;
esac
found=$(sed -n '/ RUN  *global.last_process /,/ok [0-9]* global.last_process/s/^[# ]*difference: //p' \
	"$results/latest/ktap.log")
[ "$found" = "shared: stored 1, recomputed 0" ] && status=0 || status=1
tap_result $status "on the base, the audit found, of the last process: ${found:-nothing}"
grep -qE '^[# ]*not ok [0-9]+ global.last_process' "$results/latest/ktap.log" && status=0 || status=1
tap_result $status "on the base, the selftest failed for that"
grep -q '^audit: folios [0-9]*, differences 0, ' "$results/report" && status=0 || status=1
tap_result $status "on the base, the audit found nothing after that"
tap_end || exit "$EXIT_TEST"
