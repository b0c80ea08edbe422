# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Shared by the scripts here that run guests; sourced, with $bench set to tools/bench.

: "${bench:?}" "${out:=}"
guest=$bench/../guest
# shellcheck source=../guest/common.sh
. "$guest/common.sh"

PATH=$PATH:/usr/sbin:/sbin
# shellcheck disable=SC2034 # of those who source this
work=$BUILD/bench

# check_kernels NAME=KERNEL...
check_kernels()
{
	local kernel

	for kernel; do
		[[ $kernel =~ ^[a-z0-9-]+= ]] || die "$EXIT_USAGE" "$kernel: not NAME=KERNEL"
		[ -f "${kernel#*=}" ] || die "$EXIT_USAGE" "${kernel#*=}: no such kernel"
	done
}

# pack_initramfs ROOT FILE: the same each time.
pack_initramfs()
{
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . -print | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -o -H newc) >"$2"
}

# run_guest NAME KERNEL INITRAMFS MB APPEND [QEMU-ARGUMENT...]: a guest with one CPU,
# whose clock is the number of its instructions, and two nodes of MB each. It has
# succeeded if its last word is "end".
run_guest()
{
	local name=$1 kernel=$2 initramfs=$3 mb=$4 append=$5 status=0 limit=${LIMIT:-7200}

	shift 5
	rm -f "$out/$name.console"
	timeout "$limit" qemu-system-x86_64 -accel tcg,thread=single \
		-icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm \
		-cpu max,-erms,-fsrm,-pdpe1gb,-rdrand,-rdseed -smp 1 -m "$((2 * mb))" \
		-object memory-backend-ram,id=m0,size="$mb"M \
		-object memory-backend-ram,id=m1,size="$mb"M \
		-numa node,cpus=0,memdev=m0 -numa node,memdev=m1 \
		-nodefaults -no-reboot -display none -serial "file:$out/$name.console" \
		-kernel "$kernel" -initrd "$initramfs" \
		-append "console=ttyS0 quiet panic=-1 no5lvl nokaslr norandmaps transparent_hugepage=madvise $append" \
		"$@" </dev/null >"$out/$name.qemu" 2>&1 || status=$?
	[ $status -ne 124 ] || die "$EXIT_HANG" "$name: not ready after $limit s ($out/$name.console)"
	[ $status -eq 0 ] || die "$EXIT_LOST" "$name: QEMU ended with $status ($out/$name.qemu)"
	grep -aq '^end' "$out/$name.console" ||
		die "$EXIT_LOST" "$name: $(grep -a '^failed' "$out/$name.console" || echo 'the guest ended early') ($out/$name.console)"
}

# run_all NAME=KERNEL...: run() for each, at the same time unless $at_once is less: what
# is counted does not depend on what else the machine does.
run_all()
{
	local kernel pid status=0 pids=()

	for kernel; do
		[ "${#pids[@]}" -lt "${at_once:-9}" ] || wait "${pids[-1]}" || :
		(
			start=$SECONDS
			run "${kernel%%=*}" "${kernel#*=}"
			say "${kernel%%=*}: $((SECONDS - start)) s"
		) &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || status=$?
	done
	[ $status -eq 0 ] || exit $status
}
