#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# mutants.sh [PATTERN ...]: do the tests notice faults?
#
# Each entry of the file "mutants" is a small fault in one of the kernel's headers.
# Put each of them, on its own, into a copy of the headers, compile the tests, and
# run the one that has to fail. Prints a table; anything that is not caught, or
# that does not apply or compile, is a failure. So is a table that is not the one
# in mutants.results, which REFRESH=1 writes.
set -u

cd "$(dirname "$0")" || exit 2
here=$PWD
top=$(cd ../../.. && pwd)
jobs=${JOBS:-$(nproc)}
# Many times of what any test takes.
limit=${LIMIT:-30}
dir=tools/testing/folio_mapcount

declare -A headers=(
	[sums]=include/linux/folio_mapcount.h
	[counts]=mm/folio_mapcount.h
	[marks]=include/linux/anon_exclusive.h
)

# copy TREE: all that it takes to compile the tests.
copy()
{
	mkdir -p "$1/$dir" "$1/include/linux" "$1/mm/tests" &&
		cp -r "$here"/Makefile "$here"/*.[ch] "$here/corpus" "$here/include" "$1/$dir" &&
		cp "$top"/include/linux/{folio_mapcount,anon_exclusive}.h "$1/include/linux" &&
		cp "$top/mm/folio_mapcount.h" "$1/mm" &&
		cp "$top"/mm/tests/mm_sums_{kunit.c,model.h} "$1/mm/tests"
}

# build TREE VARIANT TEST: only with the file that has the test.
build()
{
	local sources

	case $3 in
	counters_*)	sources='runner.c history.c counters_test.c' ;;
	marks_*)	sources='runner.c history.c marks_test.c' ;;
	threads_*)	sources='runner.c history.c threads_test.c' ;;
	fuzz_*)		sources='runner.c history.c fuzz.c corpus_test.c' ;;
	*)		sources='runner.c mm_sums_kunit.c' ;;
	esac
	make -s -C "$1/$dir" OUT=. SANITIZE= CFLAGS='-O1 -w' SOURCES="$sources" \
		"./tests-$2" >"$1/log" 2>&1
}

# run TREE VARIANT TEST: caught, timeout, or survived.
run()
{
	(cd "$1/$dir" && timeout "$limit" "./tests-$2" "$3") >"$1/log" 2>&1
	case $? in
	124)	echo timeout ;;
	*)	if grep -q "^not ok [0-9]* $3\( \|\$\)" "$1/log"; then
			echo caught
		elif grep -q "^ok [0-9]* $3\( \|\$\)" "$1/log"; then
			echo survived
		else
			echo "no such test"
		fi ;;
	esac
}

# apply FILE MUTANT: replace the old text, and complain if it is not there once.
apply()
{
	awk -v mutant="$2" '
	BEGIN {
		while ((getline line < mutant) > 0) {
			sign = substr(line, 1, 1)
			line = substr(line, 2)
			if (sign == "-")
				old = nr_old++ ? old "\n" line : line
			else if (sign == "+")
				new = nr_new++ ? new "\n" line : line
		}
	}
	{ text = text $0 "\n" }
	END {
		at = index(text, old)
		rest = substr(text, at + length(old))
		if (!at || index(rest, old) || old == new)
			exit 1
		printf "%s%s%s", substr(text, 1, at - 1), new, rest
	}' "$1" >"$1.new" && mv "$1.new" "$1"
}

# one NUMBER NAME FILE TEST VARIANT: the result goes to $work/NUMBER.result.
one()
{
	local tree=$work/$1 result

	if ! copy "$tree"; then
		result="cannot copy"
	elif ! apply "$tree/${headers[$3]}" "$work/$1.mutant"; then
		result="does not apply"
	elif ! build "$tree" "$5" "$4"; then
		result="does not compile"
	else
		result=$(run "$tree" "$5" "$4")
	fi
	printf '%-36s %-8s %-10s %s\n' "$2" "$5" "$result" "$4" >"$work/$1.result"
	[ "$result" = caught ] || [ "$result" = timeout ] ||
		sed 's/^/# /' "$tree/log" >"$work/$1.log" 2>/dev/null
	rm -rf "$tree"
}

# check_baseline: without a fault, all the tests pass that have to fail with one.
check_baseline()
{
	local tree=$work/baseline variant test

	copy "$tree" || return 1
	cut -d' ' -f4,5 "$work/list" | sort -u >"$work/tests"
	while read -r test variant; do
		make -s -C "$tree/$dir" OUT=. clean
		build "$tree" "$variant" "$test" || { cat "$tree/log"; return 1; }
		[ "$(run "$tree" "$variant" "$test")" = survived ] && continue
		cat "$tree/log"
		echo "mutants.sh: $test fails in variant $variant without any fault" >&2
		return 1
	done <"$work/tests"
}

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# One file for each mutant, and a list of them.
number=0
while IFS= read -r line; do
	case $line in
	'#'* | '')	;;
	[-+]*)	printf '%s\n' "$line" >>"$work/$number.mutant" ;;
	*)	number=$((number + 1))
		read -r name header test variant <<<"$line"
		wanted=$([ $# -gt 0 ] || echo yes)
		for pattern; do
			# shellcheck disable=SC2254
			case $name in $pattern) wanted=yes ;; esac
		done
		[ -z "$wanted" ] || echo "$number $name $header $test ${variant:-64}" ;;
	esac
done <mutants >"$work/list"

check_baseline || exit 1

running=0
while read -r number name header test variant; do
	if [ "$running" -ge "$jobs" ]; then
		wait -n
		running=$((running - 1))
	fi
	one "$number" "$name" "$header" "$test" "$variant" &
	running=$((running + 1))
done <"$work/list"
wait

while read -r number _; do
	cat "$work/$number.result"
	[ ! -s "$work/$number.log" ] || cat "$work/$number.log" >&2
done <"$work/list" | tee "$work/results"

total=$(grep -c '' "$work/list")
caught=$(grep -cE '^[^ ]+ +[^ ]+ +(caught|timeout) ' "$work/results")
failed=$((total - caught))
if [ $# -eq 0 ] && [ -n "${REFRESH-}" ]; then
	cp "$work/results" mutants.results
elif [ $# -eq 0 ] && ! cmp -s "$work/results" mutants.results; then
	diff -u mutants.results "$work/results"
	echo "mutants.sh: mutants.results says something else; REFRESH=1 to update it" >&2
	failed=$((failed + 1))
fi
echo "$caught passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$total" -gt 0 ]
