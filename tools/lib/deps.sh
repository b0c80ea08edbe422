#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# deps.sh: the Debian packages that all of this needs; missing ones are
# installed when root, else the one line that does it is printed.
# With --list it prints the names only.
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/lib.sh"

packages=(
	# kernel build
	build-essential bc bison ccache cpio flex kmod libelf-dev libssl-dev
	perl python3 rsync xz-utils zstd
	# 32-bit programs; gcc-multilib would conflict with cross compilers
	libc6-dev-i386 lib32gcc-12-dev
	# the native harness
	clang libclang-rt-14-dev
	# selftests
	libcap-dev libnuma-dev liburing-dev
	# guest
	bash-static busybox-static libc6-dev-arm64-cross qemu-system-arm
	qemu-system-x86 seabios stress-ng xfsprogs
	# Debian packages of the kernel, and a root to install them in
	debhelper e2fsprogs fakeroot libdw-dev mmdebstrap
	# pictures of measurements
	gnuplot-nox
	# models
	spin
	# series
	ca-certificates codespell debian-archive-keyring gcc-aarch64-linux-gnu git
	gpgv python3-git python3-ply python3-sphinx python3-yaml shellcheck sparse util-linux
)

case ${1-} in
--list)	printf '%s\n' "${packages[@]}"; exit ;;
'')	;;
*)	die "$EXIT_USAGE" "only --list, or nothing" ;;
esac

need dpkg-query:dpkg
mapfile -t missing < <(comm -23 <(printf '%s\n' "${packages[@]}" | sort) \
	<(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u))
[ ${#missing[@]} -gt 0 ] || exit 0
install="apt-get install -qq -o Dpkg::Use-Pty=0 --no-install-recommends ${missing[*]}"
[ "$(id -u)" -eq 0 ] || die "$EXIT_MISSING" "packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
say "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# The package lists of a fresh machine may be absent or old.
# shellcheck disable=SC2086
$install </dev/null >&2 2>/dev/null || { apt-get update -qq && $install; } </dev/null >&2 ||
	die "$EXIT_MISSING" "cannot install: ${missing[*]}"
