#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# mutants.sh [PATTERN ...]: do the tests notice faults?
# mutants.sh --check: is mutants.results of these headers and these mutants?
#
# Each entry of the file "mutants" is a small fault in one of the kernel's headers.
# Put each of them, on its own, into a copy of the headers, compile the tests, and
# run the one that has to fail. Prints a table; anything that is not caught, or
# that does not apply or compile, is a failure. Without a pattern, so is a table
# other than mutants.results; if all were caught, REFRESH=1 writes that file.
set -u

cd "$(dirname "$0")" || exit 2
here=$PWD
top=$(cd ../../.. && pwd)
jobs=${JOBS:-$(nproc)}
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

# inputs: what mutants.results depends on.
inputs()
{
	(cd "$top" && cat "$dir/mutants" include/linux/{folio_mapcount,anon_exclusive}.h \
		mm/folio_mapcount.h) | sha256sum | cut -d' ' -f1
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
	make -s -C "$1/$dir" OUT="$1" SANITIZE= CFLAGS='-O1 -w' SOURCES="$sources" \
		VARIANTS="$2" "$1/tests-$2" >"$1/log" 2>&1
}

# run TREE VARIANT TEST SECONDS: caught, timeout, or survived.
run()
{
	"$1/tests-$2" --timeout "$4" "$3" >"$1/log" 2>&1
	if grep -q '^# timed out' "$1/log"; then
		echo timeout
	elif grep -q "^not ok [0-9]* $3\( \|\$\)" "$1/log"; then
		echo caught
	elif grep -q "^ok [0-9]* $3\( \|\$\)" "$1/log"; then
		echo survived
	else
		echo "no such test"
	fi
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

# one NUMBER NAME FILE TEST VARIANT WANTED: what comes out goes to $work/NUMBER.result.
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
		result=$(run "$tree" "$5" "$4" "$(cat "$work/$4.$5.limit")")
	fi
	printf '%-36s %-8s %-10s %s\n' "$2" "$5" "$result" "$4" >"$work/$1.result"
	[ "$result" = "$6" ] ||
		sed 's/^/# /' "$tree/log" >"$work/$1.log" 2>/dev/null
	rm -rf "$tree"
}

# check_baseline: without a fault, all the tests pass that have to fail with one.
# How long that takes, on this machine, says how long a test may take with a fault.
check_baseline()
{
	local tree=$work/baseline variant test start

	copy "$tree" || return 1
	cut -d' ' -f4,5 "$work/list" | sort -u >"$work/tests"
	while read -r test variant; do
		build "$tree" "$variant" "$test" || { cat "$tree/log"; return 1; }
		start=$SECONDS
		if [ "$(run "$tree" "$variant" "$test" 600)" = survived ]; then
			echo $((10 * (SECONDS - start + 1))) >"$work/$test.$variant.limit"
			continue
		fi
		cat "$tree/log"
		echo "mutants.sh: $test fails in variant $variant without any fault" >&2
		return 1
	done <"$work/tests"
}

if [ "${1-}" = --check ]; then
	grep -qx "# $(inputs)" mutants.results && exit
	echo "mutants.sh: mutants.results is out of date: run with REFRESH=1" >&2
	exit 1
fi

# Each job has a process group of its own, to end with all that it has started.
cleanup()
{
	local pid

	for pid in $(jobs -pr); do
		kill -- "-$pid" 2>/dev/null
	done
	wait
	rm -rf "$work"
}

work=$(mktemp -d) || exit 2
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# One file for each mutant, and a list of them.
number=0
while IFS= read -r line; do
	case $line in
	'#'* | '')	;;
	[-+]*)	printf '%s\n' "$line" >>"$work/$number.mutant" ;;
	*)	number=$((number + 1))
		read -r name header test variant result <<<"$line"
		wanted=$([ $# -gt 0 ] || echo yes)
		for pattern; do
			# shellcheck disable=SC2254
			case $name in $pattern) wanted=yes ;; esac
		done
		[ -z "$wanted" ] ||
			echo "$number $name $header $test ${variant:-64} ${result:-caught}" ;;
	esac
done <mutants >"$work/list"

check_baseline || exit 1

running=0
while read -r number name header test variant result; do
	if [ "$running" -ge "$jobs" ]; then
		wait -n
		running=$((running - 1))
	fi
	set -m
	one "$number" "$name" "$header" "$test" "$variant" "$result" &
	set +m
	running=$((running + 1))
done <"$work/list"
wait

{
	sed -n 2p mutants.sh
	echo "# Written by mutants.sh, for the mutants and headers with this checksum:"
	echo "# $(inputs)"
} >"$work/results"
failed=0
while read -r number _ _ _ _ wanted; do
	cat "$work/$number.result"
	read -r _ _ result _ <"$work/$number.result"
	[ "$result" = "$wanted" ] || failed=$((failed + 1))
	[ ! -s "$work/$number.log" ] || cat "$work/$number.log" >&2
done <"$work/list" >>"$work/results"
grep -v '^#' "$work/results"

total=$(grep -c '' "$work/list")
echo "$((total - failed)) passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$total" -gt 0 ] || exit 1
[ $# -eq 0 ] || exit 0
if [ -n "${REFRESH-}" ]; then
	cp "$work/results" mutants.results
elif ! diff -u mutants.results "$work/results"; then
	echo "mutants.sh: mutants.results says something else; REFRESH=1 to update it" >&2
	exit 1
fi
