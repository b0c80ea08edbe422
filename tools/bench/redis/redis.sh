#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A Redis server that saves itself in the background while it is written to, on
# several kernels:
#
#	redis.sh OUT NAME=KERNEL...
#
# MIB=256: how much the server has. Times are instructions: the guest's clock is
# the number of them.
set -euo pipefail

bench=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=../common.sh
. "$bench/common.sh"
# shellcheck source=../../lib/apt.sh
. "$bench/../lib/apt.sh"

[ $# -ge 2 ] || die "$EXIT_USAGE" "usage: redis.sh OUT NAME=KERNEL..."
out=$1
shift
mib=${MIB:-256}
[[ $mib =~ ^[1-9][0-9]*$ ]] || die "$EXIT_USAGE" "MIB=$mib: a number"
check_kernels "$@"
need qemu-system-x86_64:qemu-system-x86 cpio:cpio busybox:busybox-static
need_space "$BUILD" 1024
mkdir -p "$out" "$work" || die "$EXIT_ENV" "cannot make $out"
out=$(cd "$out" && pwd)

packages=$work/redis-packages root=$work/redis-root
fetch_packages "$packages" amd64 redis-server redis-tools libatomic1 libc6 libcap2 \
	libgcc-s1 libgcrypt20 libgpg-error0 libjemalloc2 liblz4-1 liblzf1 liblzma5 libssl3 \
	libstdc++6 libsystemd0 libzstd1
rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/usr"
cp -a "$packages"/lib* "$root/"
cp -a "$packages/usr/lib" "$root/usr/"
cp "$packages"/usr/bin/redis-{server,cli,benchmark} "$root/bin/"
cp "$(command -v busybox)" "$root/busybox"
cp "$bench/redis/init" "$root/init"
pack_initramfs "$root" "$work/redis.cpio"

run()
{
	run_guest "redis-$1" "$2" "$work/redis.cpio" $((mib * 6)) "bench.mib=$mib"
}
run_all "$@"

# What happened between two states is of more interest than the states.
for kernel; do
	name=${kernel%%=*}
	tr -d '\r' <"$out/redis-$name.console" | awk -v kernel="$name" 'NF == 2 && $2 ~ /^[0-9]+$/ { print kernel "," $1 "," $2 }'
done >"$out/redis.csv"
awk -F, '
	!($1 in seen) { seen[$1] = 1; kernels[++n] = $1 }
	{ value[$1, $2] = $3 }
	$2 == "cow_bytes" { value[$1, "cow_kib"] = int($3 / 1024) }
	# row(WHAT, NAME [, SINCE]): what NAME is, or by how much more than SINCE.
	function row(what, name, since,	k)
	{
		printf "%-52s", what
		for (k = 1; k <= n; k++)
			printf " %12d", value[kernels[k], name] - value[kernels[k], since]
		printf "\n"
	}
	END {
		printf "%-52s", "Redis: BGSAVE while it is written to"
		for (k = 1; k <= n; k++)
			printf " %12s", kernels[k]
		printf "\n"
		row("fork(), thousands of instructions", "fork_usec")
		row("page faults from BGSAVE until all was written to", "written_faults", "filled_faults")
		row("the child still saved then", "child_alive_at_the_end")
		row("page faults when written to again, without child", "again_faults", "saved_faults")
		row("Private_Dirty of the child at its end, KiB", "cow_kib")
		row("memory before, KiB", "filled_rss")
		row("memory at the end, KiB", "again_rss")
		row("by PMDs before, KiB", "filled_anonhugepages")
		row("by PMDs at the end, KiB", "again_anonhugepages")
	}' "$out/redis.csv" | tee "$out/redis.txt"
