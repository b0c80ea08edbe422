#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Count what the cases in cases.c take, on several kernels, one after the other:
#
#	bench.sh OUT NAME=KERNEL...
#
# The first is what the others are compared with. OUT/bench.csv has, for each case and
# count, the least of the repetitions; OUT/raw-NAME.csv has all of them.
#
# MIB=64: how much memory a case works on. REPEAT=3. ONLY=CASE[/BACKING].
set -euo pipefail

bench=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$bench/common.sh"

[ $# -ge 2 ] || die "$EXIT_USAGE" "usage: bench.sh OUT NAME=KERNEL..."
out=$1
shift
mib=${MIB:-64} repeat=${REPEAT:-3} only=${ONLY:-}
[[ $mib =~ ^[0-9]+$ && $mib -gt 0 && $((mib % 16)) -eq 0 ]] || die "$EXIT_USAGE" "MIB=$mib: a multiple of 16"
[[ $repeat =~ ^[1-9][0-9]*$ ]] || die "$EXIT_USAGE" "REPEAT=$repeat: a number"
check_kernels "$@"
need gcc:gcc qemu-system-x86_64:qemu-system-x86 cpio:cpio busybox:busybox-static mkfs.xfs:xfsprogs
need_space "$BUILD" $((4 * mib + 1024))
mkdir -p "$out" || die "$EXIT_ENV" "cannot make $out"
out=$(cd "$out" && pwd)
mkdir -p "$work"

log=$work/build.log
: >"$log"
warnings=(-O2 -Wall -Wextra -Wno-missing-field-initializers -Werror)
logged "$log" gcc "${warnings[@]}" -fPIC -shared -o "$work/count.so" "$bench/count.c"
rm -rf "$work/initramfs"
mkdir "$work/initramfs" "$work/initramfs/dev"
logged "$log" gcc "${warnings[@]}" -static -o "$work/initramfs/init" "$bench/main.c" "$bench/cases.c"
cp "$(command -v busybox)" "$work/initramfs/busybox"
mkfs=$(command -v mkfs.xfs)
cp "$mkfs" "$work/initramfs/"
ldd "$mkfs" | grep -o '/[^ ]*' | xargs cp -L --parents -t "$work/initramfs"
pack_initramfs "$work/initramfs" "$work/initramfs.cpio"

memory=$((mib < 256 ? 1536 : 512 + 4 * mib))
# Not all at the same time if that is too much for the machine.
[ "$mib" -lt 256 ] || at_once=1
run()
{
	local name=$1 kernel=$2

	rm -f "$out/$name.counts"
	run_guest "$name" "$kernel" "$work/initramfs.cpio" $memory \
		"bench.mib=$mib bench.repeat=$repeat${only:+ bench.only=$only}" \
		-plugin "$work/count.so,out=$out/$name.counts"
	# Row by row, the guest says what it was and the plugin what it took.
	tr -d '\r' <"$out/$name.console" | awk -v kernel="$name" -v counts="$out/$name.counts" '
		BEGIN { getline <counts; gsub(" ", ","); print "kernel,part,case,backing,kib,mib,sharers,faults," $0; part = "cases" }
		$1 == "part" { part = $2 }
		$1 == "row" {
			if ((getline line <counts) <= 0)
				exit 1
			gsub(" ", ",", line)
			print kernel "," part "," $2 "," $3 "," $4 "," $5 "," $6 "," $7 "," line
		}
		END { if ((getline line <counts) > 0) exit 1 }' >"$out/raw-$name.csv" ||
		die "$EXIT_TEST" "$name: the plugin and the guest do not agree on the number of rows"
}

run_all "$@"

# The least of the repetitions, column by column.
for kernel; do
	cat "$out/raw-${kernel%%=*}.csv"
done | awk '
	BEGIN { FS = OFS = "," }
	$1 == "kernel" { if (!head++) print; next }
	{ key = $1 FS $2 FS $3 FS $4 FS $6 FS $7 }
	!(key in line) { order[++n] = key; line[key] = $0; next }
	{
		columns = split(line[key], least)
		for (i = 8; i <= columns; i++)
			if ($i < least[i])
				least[i] = $i
		$0 = line[key]
		for (i = 8; i <= columns; i++)
			$i = least[i]
		line[key] = $0
	}
	END { for (i = 1; i <= n; i++) print line[order[i]] }' >"$out/bench.csv"
