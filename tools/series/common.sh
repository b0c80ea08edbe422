# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Where things are, and the pinned base. REPO and BUILD can be set from outside.

here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
. "$here/../lib/lib.sh"

REPO=$(cd "${REPO:-$here/../..}" && pwd)
BUILD=$(realpath -m "${BUILD:-$REPO/build}")
PATCHES=$REPO/patches
# shellcheck disable=SC2034
LINUX=$BUILD/linux

# base KEY: a value of patches/base
base()
{
	local value

	value=$(sed -n "s/^$1: *//p" "$PATCHES/base" 2>/dev/null) || true
	[ -n "$value" ] || die "$EXIT_USAGE" "$PATCHES/base: no '$1:'"
	echo "$value"
}

# One at a time per build folder; what a killed run left behind goes away.
series_lock()
{
	need flock:util-linux
	need_space "$BUILD" 0
	if [ -z "${SERIES_LOCKED-}" ]; then
		exec 9>>"$BUILD/series.lock"
		flock -n 9 || { say "waiting for another run in $BUILD"; flock 9; }
		rm -rf "$BUILD"/series.tmp.*
		export SERIES_LOCKED=1	# for the scripts that this one calls
	fi
	tmp=$(mktemp -d "$BUILD/series.tmp.XXXXXX") || exit "$EXIT_ENV"
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM HUP
}
