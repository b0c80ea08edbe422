#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# steps.sh [-k] TARGET...: make the targets, one after the other, and sum up
# the counts that they end with. A step that fails without a count is the end,
# or one failure with -k.
set -uo pipefail
. "${BASH_SOURCE[0]%/*}/lib.sh"

keep_going=
[ "${1-}" != -k ] || { keep_going=1; shift; }
log=$(mktemp) || exit "$EXIT_ENV"
trap 'rm -f "$log"' EXIT
table='' broken=0

for step; do
	say "$step"
	start=$SECONDS status=0
	${MAKE:-make} --no-print-directory "$step" | tee "$log" || status=$?
	count=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
	read -r p _ f _ s _ <<<"${count:-0 passed, 0 failed, 0 skipped}"
	# A step that says nothing failed and fails all the same has failed.
	[ $status -eq 0 ] || [ "$f" -gt 0 ] || f=1
	tap_passed=$((tap_passed + p)) tap_failed=$((tap_failed + f)) tap_skipped=$((tap_skipped + s))
	printf -v line '%-14s %6d %6d %7d %5d s' "$step" "$p" "$f" "$s" $((SECONDS - start))
	table+=$line$'\n'
	if [ $status -ne 0 ] && [ -z "$count" ] && [ -z "$keep_going" ]; then
		broken=1
		break
	fi
done

printf '\n%-14s %6s %6s %7s %7s\n%s' step passed failed skipped time "$table"
echo "logs: $BUILD/results"
echo "$tap_passed passed, $tap_failed failed, $tap_skipped skipped"
[ $broken -eq 0 ] || die "$EXIT_BUILD" "stopped at $step"
[ "$tap_failed" -eq 0 ] || exit "$EXIT_TEST"
