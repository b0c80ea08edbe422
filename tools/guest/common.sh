# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Shared by the guest's scripts; sourced, with $guest set to tools/guest.

: "${guest:?}"
# shellcheck source=../lib/lib.sh
. "$guest/../lib/lib.sh"

BUILD=${BUILD:-$guest/../../build}
need_space "$BUILD" 1024
BUILD=$(cd "$BUILD" && pwd)
export CCACHE_DIR="${CCACHE_DIR:-$BUILD/ccache}"

need_tree()
{
	[ -f "$1/Makefile" ] && [ -d "$1/tools/testing/selftests/mm" ] ||
		die "$EXIT_USAGE" "$1 is not a kernel tree"
}

# logged LOG COMMAND...: a failure shows its errors and where the log is.
logged()
{
	local log=$1

	shift
	"$@" >>"$log" 2>&1 && return
	need_space "$(dirname "$log")" 16
	grep -aE '(error|Error|undefined|No such|\*\*\*|^E: )' "$log" | tail -n 20 >&2 || :
	die "$EXIT_BUILD" "failed: $* (log: $log)"
}

# use_arch ARCH: what the kernel is built for, and by and for what the rest.
use_arch()
{
	CROSS_COMPILE='' CC_FLAGS='' SRCARCH=x86 KERNEL_IMAGE=arch/x86/boot/bzImage
	case $1 in
	x86_64)	DEB_ARCH=amd64 QEMU=qemu-system-x86_64:qemu-system-x86 ;;
	i386)	# Debian's library for gcc -m32 is in libc6-dev-i386.
		DEB_ARCH=i386 CC_FLAGS=-m32 QEMU=qemu-system-i386:qemu-system-x86 ;;
	arm64)	DEB_ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- SRCARCH=arm64
		KERNEL_IMAGE=arch/arm64/boot/Image QEMU=qemu-system-aarch64:qemu-system-arm
		need "${CROSS_COMPILE}gcc:gcc-aarch64-linux-gnu" ;;
	*)	die "$EXIT_USAGE" "$1: not one of x86_64, i386, arm64" ;;
	esac
	# shellcheck disable=SC2034 # of those who source this
	readonly ARCH=$1 CROSS_COMPILE CC_FLAGS SRCARCH KERNEL_IMAGE DEB_ARCH QEMU
}

# with_compiler COMMAND...: run make for the architecture, with ccache where it
# is installed.
with_compiler()
{
	local ccache=

	! command -v ccache >/dev/null || ccache='ccache '
	"$@" ARCH="$ARCH" CROSS_COMPILE="$CROSS_COMPILE" HOSTCC="${ccache}gcc" \
		CC="$ccache${CROSS_COMPILE}gcc"
}
