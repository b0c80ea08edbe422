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

keyring=${KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

checksum_ok()
{
	[ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$sha256" ]
}

# The URIs of the machine's Debian entries, whatever file format they are in;
# this works without package lists too, that is before any apt-get update.
mirrors()
{
	# shellcheck disable=SC2016
	apt-get indextargets --no-release-info --format \
		'$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)' |
	awk '$1 == "Packages" && $2 == "main" && $3 !~ /security/ &&
	     !seen[$4]++ { print $4 }'
}

# Run apt-get or apt-cache (given first) with the private state.
apt_private()
{
	local tool=$1

	shift
	"$tool" -q -o Dir::Etc::SourceList="$apt/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null \
		-o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$apt" \
		-o Dir::State::Lists="$apt/lists" -o Dir::State::status="$apt/status" \
		-o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root \
		-o Acquire::Retries=3 -o Acquire::Languages=none "$@"
}

three_times()
{
	local i

	for i in 1 2 3; do
		"$@" && return
		say "attempt $i of 3 failed: $*"
		sleep "${RETRY_DELAY:-5}"
	done
	return 1
}

download()
{
	local uri found='' newest

	apt=$tmp/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	for uri in $(mirrors); do
		say "$suite of $uri"
		echo "deb [signed-by=$keyring] $uri $suite main" >"$apt/sources.list"
		if three_times apt_private apt-get update --error-on=any >"$tmp/log" 2>&1; then
			found=1
			break
		fi
		sed 's/^/  /' "$tmp/log" >&2
	done
	[ -n "$found" ] || die "$EXIT_FETCH" "no Debian mirror of this machine's apt" \
		"configuration serves $suite; give KERNEL_TARBALL= or KERNEL_SRC="

	if ! apt_private apt-cache madison "$package" | awk '{ print $3 }' |
	   grep -qxF "$version"; then
		newest=$(apt_private apt-cache madison "$package" | awk '{ print $3 }' |
			 sort -V | tail -n 1)
		say "$package $version is no longer in $suite of $uri"
		[ -z "$newest" ] || say "newest there: $package $newest; to try it, put" \
			"its version, checksum and tree id into patches/base"
		die "$EXIT_FETCH" "with the pinned source at hand: KERNEL_TARBALL=FILE or KERNEL_SRC=DIR"
	fi

	say "downloading $package $version"
	mkdir "$tmp/deb"
	(cd "$tmp/deb" && three_times apt_private apt-get download "$package=$version") >&2 ||
		die "$EXIT_FETCH" "download of $package $version failed"
	dpkg-deb --fsys-tarfile "$tmp"/deb/*.deb | tar -xO "./usr/src/$package.tar.xz" >"$1" ||
		die "$EXIT_FETCH" "$package $version: cannot unpack the .deb"
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
	need apt-get:apt apt-cache:apt dpkg-deb:dpkg gpgv:gpgv
	[ -r "$keyring" ] || die "$EXIT_MISSING" "missing: $keyring; apt-get install debian-archive-keyring"
	download "$tmp/tarball"
fi
checksum_ok "$tmp/tarball" || die "$EXIT_FETCH" "$package $version: SHA-256 is not the pinned $sha256"
mkdir -p "$BUILD/base"
mv "$tmp/tarball" "$out"
say "$out: verified"
