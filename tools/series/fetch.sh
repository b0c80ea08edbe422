#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# fetch.sh: the pinned kernel source as $BUILD/base/PACKAGE.tar.xz.
#
# Taken from the Debian mirror that this machine's apt already uses, with an
# apt state of its own: the system's sources stay untouched, and the signature
# is checked with Debian's archive keyring. KERNEL_TARBALL= names a file to
# take instead; it must have the same checksum.
set -euo pipefail
shopt -s inherit_errexit
. "${BASH_SOURCE[0]%/*}/common.sh"
. "${BASH_SOURCE[0]%/*}/../lib/apt.sh"

checksum_ok()
{
	[ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$sha256" ]
}

download()
{
	local newest

	apt=$tmp/apt
	apt_update "$suite" || die "$EXIT_FETCH" "no Debian mirror of this machine's apt" \
		"configuration serves $suite; give KERNEL_TARBALL= or KERNEL_SRC="

	if ! versions "$package" | grep -xF "$version" >/dev/null; then
		newest=$(versions "$package" | tail -n 1)
		say "$package $version is no longer in $suite of $apt_uri"
		[ -z "$newest" ] || say "newest there: $package $newest; to try it, put" \
			"its version, checksum and tree id into patches/base"
		die "$EXIT_FETCH" "with the pinned source at hand: KERNEL_TARBALL=FILE or KERNEL_SRC=DIR"
	fi
	fetch_source "$package" "$version" "$1"
}

version=$(base package-version)
package=$(base package)
suite=$(base suite)
sha256=$(base tarball-sha256)
out=$BUILD/base/$package.tar.xz

need sha256sum:coreutils tar:tar xz:xz-utils awk:mawk
if [ -n "${KERNEL_TARBALL-}" ]; then
	[ -r "$KERNEL_TARBALL" ] || die "$EXIT_FETCH" "$KERNEL_TARBALL: cannot read"
	checksum_ok "$KERNEL_TARBALL" || die "$EXIT_FETCH" \
		"$KERNEL_TARBALL: SHA-256 is not the pinned $sha256"
fi
[ ! -f "$out" ] || ! checksum_ok "$out" || exit 0

need_space "$BUILD" "${NEED_MB:-600}"
series_lock
if [ -n "${KERNEL_TARBALL-}" ]; then
	cp "$KERNEL_TARBALL" "$tmp/tarball" || die "$EXIT_ENV" "cannot copy $KERNEL_TARBALL"
else
	need_apt
	download "$tmp/tarball"
fi
checksum_ok "$tmp/tarball" || die "$EXIT_FETCH" "$package $version: SHA-256 is not the pinned $sha256"
mkdir -p "$BUILD/base"
mv "$tmp/tarball" "$out"
say "$out: verified"
