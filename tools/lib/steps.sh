#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# steps.sh [-k] TARGET[:SCENARIO]...: make the targets, one after the other, and
# sum up the counts that they end with. A step that fails without a count is the
# end, or one failure with -k. Steps with a scenario also make a table with a line
# for each of those.
set -uo pipefail
. "${BASH_SOURCE[0]%/*}/lib.sh"

keep_going=
[ "${1-}" != -k ] || { keep_going=1; shift; }
log=$(mktemp) || exit "$EXIT_ENV"
trap 'rm -f "$log"' EXIT
table='' broken=0 scenarios=()
declare -A results folios differences splats seconds

# add_up SCENARIO TARGET PASSED FAILED SKIPPED SECONDS: for the second table, with
# what the runner's report in the log says.
add_up()
{
	local s=$1 what=tests f d

	[ -n "${seconds[$s]-}" ] || scenarios+=("$s")
	[ "$2" != kunit ] || what=kunit
	results[$s/$what]=$3/$4/$5
	if read -r f d < <(sed -n 's/^audit: folios \([0-9]*\), differences \([0-9]*\),.*/\1 \2/p' "$log"); then
		folios[$s]=$((${folios[$s]-0} + f))
		differences[$s]=$((${differences[$s]-0} + d))
	fi
	splats[$s]=$((${splats[$s]-0} + $(grep -c '^splat: ' "$log")))
	seconds[$s]=$((${seconds[$s]-0} + $6))
}

for step; do
	say "$step"
	start=$SECONDS status=0 target=${step%%:*} scenario=
	[ "$target" = "$step" ] || scenario=${step#*:}
	env ${scenario:+SCENARIO="$scenario"} "${MAKE:-make}" --no-print-directory "$target" |
		tee "$log" || status=$?
	count=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
	read -r p _ f _ s _ <<<"${count:-0 passed, 0 failed, 0 skipped}"
	# A step that says nothing failed and fails all the same has failed.
	[ $status -eq 0 ] || [ "$f" -gt 0 ] || f=1
	tap_passed=$((tap_passed + p)) tap_failed=$((tap_failed + f)) tap_skipped=$((tap_skipped + s))
	took=$((SECONDS - start))
	printf -v line '%-18s %6d %6d %7d %5d s' "$step" "$p" "$f" "$s" $took
	table+=$line$'\n'
	[ -z "$scenario" ] || add_up "$scenario" "$target" "$p" "$f" "$s" $took
	if [ $status -ne 0 ] && [ -z "$count" ] && [ -z "$keep_going" ]; then
		broken=1
		break
	fi
done

printf '\n%-18s %6s %6s %7s %7s\n%s' step passed failed skipped time "$table"
if [ ${#scenarios[@]} -gt 0 ]; then
	printf '\n%-10s %14s %14s %10s %11s %6s %7s  %s\n' scenario kunit selftests folios \
		differences splats time '(passed/failed/skipped)'
	for s in "${scenarios[@]}"; do
		printf '%-10s %14s %14s %10s %11s %6d %5d s\n' "$s" "${results[$s/kunit]--}" "${results[$s/tests]--}" \
			"${folios[$s]--}" "${differences[$s]--}" "${splats[$s]}" "${seconds[$s]}"
	done
fi
echo "logs: $BUILD/results"
echo "$tap_passed passed, $tap_failed failed, $tap_skipped skipped"
[ $broken -eq 0 ] || die "$EXIT_BUILD" "stopped at $step"
[ "$tap_failed" -eq 0 ] || exit "$EXIT_TEST"
