#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The rmap functions of kernels, natively, in user space:
#
#	run.sh OUT NAME=KERNEL-BUILD-FOLDER...
#
# Nanoseconds per folio by order, with struct pages that are cold or warm, and with
# one and two threads; the median of interleaved runs (RUNS=7), and its ratio to
# that of the first kernel, with the ratio's least and greatest of all runs.
set -euo pipefail

native=$(cd "$(dirname "$0")" && pwd)
guest=$native/../../guest
# shellcheck source=../../guest/common.sh
. "$guest/common.sh"

[ $# -ge 2 ] || die "$EXIT_USAGE" "usage: run.sh OUT NAME=KERNEL-BUILD-FOLDER..."
out=$1
shift
need gcc:gcc
runs=${RUNS:-7}
[[ $runs =~ ^[1-9][0-9]*$ ]] || die "$EXIT_USAGE" "RUNS=$runs: a number"
mkdir -p "$out" || die "$EXIT_ENV" "cannot make $out"
out=$(cd "$out" && pwd)
log=$out/native.log
: >"$log"

# As the tree's mm/rmap.c was compiled, but for the warnings.
compile_shim()
{
	local kernel=$1 object=$2 command source

	command=$(sed -n 's/^savedcmd_mm\/rmap.o := //p' "$kernel/mm/.rmap.o.cmd")
	command=${command%%;*}
	[[ $command = *" -o mm/rmap.o "* ]] ||
		die "$EXIT_BUILD" "$kernel/mm/.rmap.o.cmd is not understood"
	read -r source <<<"${command##* -o mm/rmap.o }"
	command=${command% -o mm/rmap.o *}
	command=${command/-Wp,-MMD,mm\/.rmap.o.d/}
	# It has quotes.
	(cd "$kernel" && eval "$command -w -o '$object' '-I${source%/*}' '-I$native' '$native/shim.c'")
}

kernels=()
logged "$log" gcc -O2 -Wall -Wextra -Werror -fno-pie -c -o "$out/native.o" "$native/native.c"
for kernel; do
	name=${kernel%%=*}
	[ -f "${kernel#*=}/mm/.rmap.o.cmd" ] || die "$EXIT_USAGE" "${kernel#*=}: no kernel has been built there"
	logged "$log" compile_shim "${kernel#*=}" "$out/shim-$name.o"
	# What is not used need not be there; a call of it ends at address 0.
	logged "$log" gcc -static -no-pie -pthread -Wl,--unresolved-symbols=ignore-all \
		-o "$out/native-$name" "$out/native.o" "$out/shim-$name.o"
	kernels+=("$name")
done

echo "kernel,order,threads,cache,run,fork,child_unmap,unmap" >"$out/native.csv"
# There are no anon folios of order 1.
for order in 0 2 3 4 5 6 7 8 9; do
	for threads in 1 2; do
		for cache in cold warm; do
			for ((run = 1; run <= runs; run++)); do
				for name in "${kernels[@]}"; do
					result=$("$out/native-$name" $order $threads $cache) ||
						die "$EXIT_TEST" "native-$name $order $threads $cache failed"
					echo "$name,$order,$threads,$cache,$run,${result// /,}" >>"$out/native.csv"
				done
			done
		done
	done
done

awk -F, '
function median(list, n,	i, j, t)
{
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && list[j] < list[j - 1]; j--) {
			t = list[j]; list[j] = list[j - 1]; list[j - 1] = t
		}
	return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
NR == 1 { for (i = 6; i <= NF; i++) what[i] = $i; next }
{
	key = $2 FS $3 FS $4
	if (!(key in seen)) { seen[key] = 1; keys[++nkeys] = key }
	if (!($1 in of)) { of[$1] = ++nkernels; kernels[nkernels] = $1 }
	runs = $5 > runs ? $5 : runs
	for (i = 6; i <= 8; i++)
		value[$1, key, $5, i] = $i
}
END {
	printf "%-12s %5s %7s %5s %12s  ratio to %s: median (of all runs)\n", "", "order", "threads", "cache", "ns " kernels[1], kernels[1]
	for (i = 6; i <= 8; i++)
		for (k = 1; k <= nkeys; k++) {
			split(keys[k], f, FS)
			for (j = 1; j <= nkernels; j++) {
				for (r = 1; r <= runs; r++)
					list[r] = value[kernels[j], keys[k], r, i]
				m = median(list, runs)
				if (j == 1) {
					base = m
					printf "%-12s %5d %7d %5s %12.2f", what[i], f[1], f[2], f[3], m
					continue
				}
				lo = hi = 0
				for (r = 1; r <= runs; r++) {
					q = value[kernels[j], keys[k], r, i] / value[kernels[1], keys[k], r, i]
					if (!lo || q < lo) lo = q
					if (q > hi) hi = q
				}
				printf "  %s %.3f (%.3f to %.3f)", kernels[j], m / base, lo, hi
			}
			printf "\n"
		}
}' "$out/native.csv" | tee "$out/native.txt"

# What the CPU counts of one run of each, where it does: in a virtual machine, often not.
events=instructions,cycles,cache-misses
counted()
{
	perf stat -x, -e "$events" "$@" 2>&1 >/dev/null | awk -F, '$1 ~ /^[0-9]+$/ { printf " %14d", $1; n++ } END { exit n != 3 }'
}
{
	if command -v perf >/dev/null && counted true >/dev/null; then
		printf '\nperf stat by order, one thread, cold: %s\n' "$events"
		for order in 0 2 4 6 9; do
			for name in "${kernels[@]}"; do
				printf '%d %-8s' $order "$name"
				counted "$out/native-$name" $order 1 cold
				echo
			done
		done
	else
		printf '\nperf stat: not installed, or no counters on this machine\n'
	fi
} | tee -a "$out/native.txt"
