# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Packages from the Debian mirror that this machine's apt already uses, with an
# apt state of its own in the folder $apt: the system's sources stay untouched,
# and signatures are checked with Debian's archive keyring. $apt_arch is the
# architecture, if not this machine's.

keyring=${KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
apt_arch=
: "${apt:=}"

# need_apt: what all of this takes.
need_apt()
{
	need apt-get:apt apt-cache:apt dpkg-deb:dpkg gpgv:gpgv
	[ -r "$keyring" ] || die "$EXIT_MISSING" "missing: $keyring; apt-get install debian-archive-keyring"
}

# Lines "SUITE URI" of the machine's Debian entries, whatever file format they
# are in; this works without package lists too, that is before any apt-get update.
apt_mirrors()
{
	# shellcheck disable=SC2016
	apt-get indextargets --no-release-info --format \
		'$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)' |
	awk '$1 == "Packages" && $2 == "main" && $3 !~ /security/ &&
	     !seen[$4]++ { print $3, $4 }'
}

# Run apt-get or apt-cache (given first) with the private state.
apt_private()
{
	local tool=$1

	shift
	"$tool" -q ${apt_arch:+-o APT::Architecture="$apt_arch" -o APT::Architectures="$apt_arch"} \
		-o Dir::Etc::SourceList="$apt/sources.list" \
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

# apt_update [SUITE]: the package lists of SUITE, or of each mirror's own, from
# the first mirror that serves them; that one is $apt_uri.
# shellcheck disable=SC2120 # not all who source this have a suite
apt_update()
{
	local suite

	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	while read -r suite apt_uri; do
		suite=${1:-$suite}
		say "$suite of $apt_uri"
		echo "deb [signed-by=$keyring] $apt_uri $suite main" >"$apt/sources.list"
		three_times apt_private apt-get update --error-on=any >"$apt/log" 2>&1 && return
		sed 's/^/  /' "$apt/log" >&2
	done < <(apt_mirrors)
	return 1
}

# versions PACKAGE: that apt_update's mirror has, the newest last.
versions()
{
	apt_private apt-cache madison "$1" | awk '{ print $3 }' | sort -Vu
}

# fetch_source PACKAGE VERSION FILE: the kernel source in it, as a tarball.
fetch_source()
{
	local dir

	say "downloading $1 $2"
	dir=$(mktemp -d "$apt/deb.XXXXXX")
	(cd "$dir" && three_times apt_private apt-get download "$1=$2") >&2 ||
		die "$EXIT_FETCH" "download of $1 $2 failed"
	dpkg-deb --fsys-tarfile "$dir"/*.deb | tar -xO "./usr/src/$1.tar.xz" >"$3" ||
		die "$EXIT_FETCH" "$1 $2: cannot unpack the .deb"
	rm -rf "$dir"
}

# fetch_packages DIR ARCH PACKAGE...: what is in these, without what they depend on,
# in DIR; nothing is done if it is there already.
fetch_packages()
{
	local dir=$1 tmp=$1.tmp deb

	apt_arch=$2
	shift 2
	[ "$(cat "$dir/packages" 2>/dev/null)" != "$*" ] || return 0
	need_apt
	rm -rf "$dir" "$tmp"
	mkdir -p "$tmp/deb" "$tmp/unpacked" || die "$EXIT_ENV" "$tmp: not writable"
	apt=$tmp/apt
	# shellcheck disable=SC2119 # the mirror's own suite
	apt_update || die "$EXIT_FETCH" "no Debian mirror of this machine's apt configuration serves $apt_arch"
	(cd "$tmp/deb" && three_times apt_private apt-get download "$@") >"$tmp/log" 2>&1 ||
		die "$EXIT_FETCH" "a package for $apt_arch cannot be had (log: $tmp/log)"
	for deb in "$tmp"/deb/*.deb; do
		dpkg-deb -x "$deb" "$tmp/unpacked" || die "$EXIT_FETCH" "$deb: cannot unpack"
	done
	echo "$*" >"$tmp/unpacked/packages"
	mv "$tmp/unpacked" "$dir"
	rm -rf "$tmp"
}
