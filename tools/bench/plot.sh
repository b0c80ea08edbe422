#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# plot.sh CSV OUT: pictures of bench.csv, by gnuplot, as OUT/*.svg
set -euo pipefail

# shellcheck source=../lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"

[ $# -eq 2 ] || die "$EXIT_USAGE" "usage: plot.sh CSV OUT"
[ -f "$1" ] || die "$EXIT_USAGE" "$1: no such file"
need gnuplot:gnuplot-nox
csv=$1 out=$2
tmp=$(mktemp -d) || exit "$EXIT_ENV"
trap 'rm -rf "$tmp"' EXIT
mapfile -t kernels < <(awk -F, 'NR > 1 && !seen[$1]++ { print $1 }' "$csv")

# data NAME PART CASE BACKING X COLUMN: X and COLUMN of each kernel in a file, without
# what the case takes if nothing is mapped.
data()
{
	local kernel

	for kernel in "${kernels[@]}"; do
		awk -F, -v kernel="$kernel" -v part="$2" -v case_="$3" -v backing="$4" -v x="$5" -v y="$6" '
			NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
			$1 != kernel || $3 != case_ { next }
			$4 == "nothing" { fixed[$2, $7] = $column[y]; next }
			$2 == part && (backing == "*" || $4 == backing) {
				print $column[x], $column[y] - fixed[part == "orders" ? "cases" : part, $7]
			}' "$csv" >"$tmp/$1-$kernel"
		[ -s "$tmp/$1-$kernel" ] || die "$EXIT_TEST" "$csv: nothing for $1 of $kernel"
	done
}

# picture NAME TITLE XLABEL YLABEL
picture()
{
	local kernel plot=''

	for kernel in "${kernels[@]}"; do
		plot+="${plot:+, }'$tmp/$1-$kernel' with linespoints linewidth 2 title '$kernel'"
	done
	gnuplot <<-END || die "$EXIT_TEST" "gnuplot failed"
		set terminal svg size 640,400 font "sans,12" background "white"
		set output '$tmp/$1.svg'
		set title "$2"
		set xlabel "$3"
		set ylabel "$4"
		set logscale x 2
		set logscale y
		set format y "%.0s%c"
		set key top right
		set grid
		plot $plot
	END
	mv "$tmp/$1.svg" "$out/$1.svg"
}

data fork-lines orders fork '*' kib vm_lines_dirtied
picture fork-lines "fork() of 64 MiB: struct pages written to" "size of the folios, KiB" "cache lines of the vmemmap"
data fork-instructions orders fork '*' kib instructions
picture fork-instructions "fork() of 64 MiB: instructions" "size of the folios, KiB" "instructions"
data sharers sharers child_exit 2M-ptes sharers instructions
picture sharers "Exit of one of many processes, 8 MiB of 2 MiB folios by PTEs" "other processes that map them" "instructions"
