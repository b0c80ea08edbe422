#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# run.sh [PATTERN...]: check the models with spin, all cases or those that a
# pattern fits: run.sh share, run.sh 'lock*OTHER*'. See cases, and README.rst.
#
# A search that was cut short, by its depth or by memory, proves nothing, and is
# a failure. So is a fault that is not the expected one.
set -uo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
. "$here/../lib/lib.sh"

# No path is longer than a few hundred steps, and the largest case takes 0.7 GB.
depth=10000
megabytes=4000
seconds=900

# pan_verdict LOG: ok, the name of the assertion that failed, or why it is neither.
pan_verdict()
{
	local name

	if grep -q 'max search depth too small' "$1"; then
		echo 'cut short: depth'
	elif grep -qi 'out of memory\|reached -DMEMLIM' "$1"; then
		echo 'cut short: memory'
	elif name=$(sed -n 's/^pan:[0-9]*: assertion violated *!(\(.*\)) (at depth [0-9]*)$/\1/p' "$1") &&
	     [ -n "$name" ]; then
		echo "$name" | tr -d '()'
	elif grep -q '^pan:[0-9]*: ' "$1"; then
		sed -n 's/^pan:[0-9]*: //p' "$1" | head -n 1
	elif grep -q 'Search not completed' "$1"; then
		echo 'cut short'
	elif grep -q 'errors: 0$' "$1"; then
		echo ok
	else
		echo 'no verdict'
	fi
}

# number LOG PATTERN: the number at the start of the line, 0 without one.
number()
{
	awk -v pattern="$2" '$0 ~ pattern { n = $1 } END { print int(n) }' "$1"
}

# known_flags MODEL FLAG...: a misspelled flag would leave the model as it is.
known_flags()
{
	local flag

	for flag in "${@:2}"; do
		grep -qw -- "${flag%%=*}" "$here/$1.pml" "$here/order.pml" && continue
		echo "$flag: not in $1.pml"
		return 1
	done
}

# run_case MODEL VERDICT FLAG...: in an empty folder; leaves what goes to the table.
run_case()
{
	local model=$1 want=$2 start=${EPOCHREALTIME/./} flags status=0

	shift 2
	flags=("${@/#/-D}")
	verdict='no verdict' states=0 memory=0
	{
		known_flags "$model" "$@" &&
		echo "spin -a ${flags[*]} $model.pml" &&
		spin -a "${flags[@]}" "$here/$model.pml" &&
		gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=$megabytes -o pan pan.c
	} >log 2>&1 || status=$?
	if [ $status -eq 0 ]; then
		timeout $seconds ./pan -m$depth >>log 2>&1 || status=$?
		if [ $status -eq 124 ]; then
			verdict='cut short: time'
		else
			verdict=$(pan_verdict log)
		fi
		states=$(number log 'states, stored')
		memory=$(number log 'total actual memory usage')
	fi
	# How it gets there, for those who want to know.
	[ ! -f "$model.pml.trail" ] ||
		spin -t -p -g -l "${flags[@]}" -k "$model.pml.trail" "$here/$model.pml" >trail 2>&1
	rm -f pan pan.* _spin_nvr.tmp
	took=$(((${EPOCHREALTIME/./} - start) / 100000))
	[ "$verdict" = "$want" ]
}

chosen()
{
	local pattern

	[ $# -gt 1 ] || return 0
	for pattern in "${@:2}"; do
		# shellcheck disable=SC2053
		[[ $1 != *$pattern* ]] || return 0
	done
	return 1
}

need spin:spin gcc:build-essential timeout:coreutils
BUILD=${BUILD:-$here/../../build}
need_space "$BUILD/model" 200
out=$(cd "$BUILD/model" && pwd)
table=''

while IFS='|' read -r model kind flags want what; do
	read -ra words <<<"$flags"
	name="$model${flags:+ $flags}"
	chosen "$name" "$@" || continue
	folder=$out/${name// /,}
	rm -rf "$folder"
	mkdir -p "$folder" && cd "$folder" || exit "$EXIT_ENV"
	status=0
	run_case "$model" "$want" "${words[@]}" || status=1
	tap_result $status "$name: $kind: $what: $verdict" "$folder/log"
	[ $status -eq 0 ] || echo "# expected: $want"
	printf -v line '%-52s %-8s %-18s %10d %6d %4d.%d\n' "$name" "$kind" "$verdict" \
		"$states" "$memory" $((took / 10)) $((took % 10))
	table+=$line
done < <(sed -e '/^#/d' -e 's/ *| */|/g' "$here/cases")

[ "$(tap_number)" -gt 0 ] || die "$EXIT_USAGE" "no case fits: $*"
printf '\n%-52s %-8s %-18s %10s %6s %6s\n%s\n' case kind verdict states MB seconds "$table"
echo "logs, and the steps to each fault: $out"
tap_end || exit "$EXIT_TEST"
