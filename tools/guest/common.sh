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
	grep -aE '(error|Error|undefined|No such)' "$log" | tail -n 20 >&2
	die "$EXIT_BUILD" "failed: $* (log: $log)"
}

# with_compiler COMMAND...: run make with ccache where it is installed.
with_compiler()
{
	if command -v ccache >/dev/null; then
		"$@" CC="ccache gcc" HOSTCC="ccache gcc"
	else
		"$@"
	fi
}
