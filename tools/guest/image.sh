#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Build the guest's user space from a kernel tree:
#
#	image.sh TREE OUT [ARCH [ARCHIVE...]]
#
# OUT/initramfs.cpio: static init, busybox, bash and the tree's own mm
# selftests; OUT/xfs.img: a scratch file system for the file cases. The tree
# is only read. Nothing is done where the inputs are those of the last time.
#
# ARCH is x86_64, i386 or arm64. Programs and libraries of the latter two are
# from Debian packages, unpacked in a folder: nothing gets installed.
#
# ARCHIVE is what only some scenarios need, which makes OUT/ARCHIVE.cpio:
# "stress", the program stress-ng.
set -eu

guest=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$guest/common.sh"

# shellcheck source=../lib/apt.sh
. "$guest/../lib/apt.sh"

[ $# -ge 2 ] || die "$EXIT_USAGE" "usage: image.sh TREE OUT [ARCH [ARCHIVE...]]"
need_tree "$1"
tree=$(cd "$1" && pwd)
mkdir -p "$2" || die "$EXIT_ENV" "cannot make $2"
out=$(cd "$2" && pwd)
use_arch "${3:-x86_64}"
shift $(($# < 3 ? $# : 3))
for archive; do
	[ "$archive" = stress ] || die "$EXIT_USAGE" "$archive: no such archive"
	[ "$ARCH" = x86_64 ] || die "$EXIT_USAGE" "$archive: only for x86_64"
	need stress-ng:stress-ng
done

PATH=$PATH:/usr/sbin:/sbin
need gcc:gcc make:make rsync:rsync busybox:busybox-static mkfs.xfs:xfsprogs strip:binutils

# Another architecture's programs and libraries: the Debian packages that they
# are in, and what is in them.
foreign=$BUILD/foreign/$DEB_ARCH
foreign_packages="busybox-static bash-static coreutils sed
	libc6 libacl1 libattr1 libgmp10 libpcre2-8-0 libselinux1
	libcap-dev libnuma-dev liburing-dev"

# $root: where the guest's programs and libraries come from.
if [ "$ARCH" = x86_64 ]; then
	need nice:coreutils bash-static:bash-static
	root=
else
	# shellcheck disable=SC2086 # a list
	fetch_packages "$foreign" "$DEB_ARCH" $foreign_packages
	root=$foreign
fi
# in_root NAME...: the first of them that is there.
in_root()
{
	local name

	for name; do
		[ -e "$root$name" ] && echo "$root$name" && return
	done
	die "$EXIT_MISSING" "missing: $*"
}
busybox=$(in_root /bin/busybox /usr/bin/busybox)
bash=$(in_root /bin/bash-static /usr/bin/bash-static)
gnu_sed=$(in_root /bin/sed /usr/bin/sed)
gnu_tr=$(in_root /usr/bin/tr)
gnu_nice=$(in_root /usr/bin/nice)

# What the selftests are built from; the copy has the same layout.
inputs="tools/testing/selftests/mm tools/testing/selftests/kselftest.h
	tools/testing/selftests/kselftest_harness.h
	tools/testing/selftests/kselftest_module.h
	tools/testing/selftests/lib.mk tools/testing/selftests/x86/check_cc.sh
	tools/testing/selftests/x86/trivial_program.c
	tools/testing/selftests/x86/trivial_32bit_program.c
	tools/testing/selftests/x86/trivial_64bit_program.c
	tools/testing/selftests/pidfd/pidfd.h
	tools/testing/selftests/clone3/clone3_selftests.h tools/include include/vdso
	mm/gup_test.h lib/test_hmm_uapi.h usr/gen_init_cpio.c
	tools/mm/folio-mapcount.c include/uapi/linux/kernel-page-flags.h"
[ "$ARCH" != arm64 ] || inputs="$inputs tools/testing/selftests/arm64/signal"
uapi="include/uapi arch/$SRCARCH/include/uapi include/asm-generic"

# shellcheck disable=SC2086 # lists of paths
stamp=$({
	(cd "$tree" && find $inputs $uapi -type f ! -name 'local_config.*' -print0 |
		LC_ALL=C sort -z | xargs -0 sha256sum)
	echo "$ARCH"
	cat "$0" "$guest/common.sh" "$guest/init.c" "$guest/rootfs"/*
	sha256sum "$busybox" "$bash" "$gnu_sed" "$gnu_tr" "$gnu_nice"
	"${CROSS_COMPILE}gcc" --version
	dpkg-query -W libc6-dev liburing-dev libcap-dev libnuma-dev libc6-dev-i386 2>&1 || :
} | sha256sum)

log=$out/image.log

# libs_of PROGRAM: the shared libraries it needs, none if static. Of another
# architecture's, all that were unpacked.
libs_of()
{
	if [ -z "$root" ]; then
		ldd "$1" 2>/dev/null | grep -o "/[^ ]*"
	elif "${CROSS_COMPILE}readelf" -l "$1" | grep -q INTERP; then
		(cd "$root" && find lib* usr/lib -name '*.so.[0-9]*' -printf "/%p\n")
	fi
}

# with_libs PROGRAM...: their libraries, and the folders of these, for the list.
with_libs()
{
	local prog lib dir

	for prog; do
		libs_of "$prog"
	done | sort -u | while read -r lib; do
		dir=$(dirname "$lib")
		while [ "$dir" != / ]; do
			echo "$dir"
			dir=$(dirname "$dir")
		done | sort | sed 's|.*|dir & 0755 0 0|'
		echo "file $lib $root$lib 0755 0 0"
	done
}

# make_archives NAME...: "stress" is the only one.
make_archives()
{
	local stress now

	[ $# -gt 0 ] || return 0
	stress=$(command -v stress-ng)
	{
		with_libs "$stress"
		echo "file /bin/stress-ng $stress 0755 0 0"
	} >"$out/stress.list"
	now=$(awk '$1 == "file" { print $3 }' "$out/stress.list" | xargs sha256sum "$0" | sha256sum)
	if [ "$(cat "$out/stress.stamp" 2>/dev/null)" != "$now" ] || [ ! -s "$out/stress.cpio" ]; then
		rm -f "$out/stress.stamp"
		logged "$log" "$out/gen_init_cpio" -t 0 -o "$out/stress.tmp" "$out/stress.list"
		mv "$out/stress.tmp" "$out/stress.cpio"
		echo "$now" >"$out/stress.stamp"
	fi
	echo "image: $out/stress.cpio ($(du -h "$out/stress.cpio" | cut -f1))"
}

if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ] &&
   [ -s "$out/initramfs.cpio" ] && [ -s "$out/xfs.img" ]; then
	echo "image: up to date"
	make_archives "$@"
	exit 0
fi
rm -f "$out/stamp"
: >"$log" || die "$EXIT_ENV" "$out is not writable"

echo "image: kernel headers"
logged "$log" make -C "$tree" O="$out/headers" ARCH="$ARCH" headers

echo "image: selftests"
src=$out/src
mkdir -p "$src"
# -R keeps the layout; --delete works per directory that is copied.
# shellcheck disable=SC2086
(cd "$tree" && logged "$log" rsync -rlptR --delete --delete-excluded \
	--exclude 'local_config.*' $inputs "$src/")
mm=$src/tools/testing/selftests/mm
rm -rf "$out/mm"
mkdir -p "$out/mm"

# Static where the linker finds the library; what needs a shared one is copied
# with its libraries below. -k: one failure must not hide the others.
# page_frag wants a kernel module; the guest kernel has none.
foreign_flags=
[ -z "$root" ] || for dir in "$root"/usr/lib/*-linux-gnu; do
	foreign_flags="-idirafter $root/usr/include -L$dir"
done
selftests()
{
	with_compiler make -k -j"$(nproc)" -C "$mm" "$@" \
		OUTPUT="$out/mm" KHDR_INCLUDES="-isystem $out/headers/usr/include" \
		TEST_GEN_MODS_DIR= USERLDFLAGS=-static \
		EXTRA_CFLAGS="-static -w $CC_FLAGS $foreign_flags"
}

selftests all >>"$log" 2>&1 || :
# The list of what had to be built is the selftests' own.
# shellcheck disable=SC2016 # $(...) is make's
wanted=$(printf 'include Makefile\nprint-wanted:\n\t@echo $(notdir $(TEST_GEN_FILES) $(TEST_GEN_PROGS))\n' |
	make -s -C "$mm" -f - print-wanted ARCH="$ARCH" OUTPUT="$out/mm" TEST_GEN_MODS_DIR= 2>>"$log")
[ -n "$wanted" ] || die "$EXIT_BUILD" "the selftests name no programs (log: $log)"
missing=
for prog in $wanted; do
	[ -x "$out/mm/$prog" ] || missing="$missing $prog"
done
if [ -n "$missing" ]; then
	grep -aE 'error|undefined|cannot find' "$log" | tail -n 30 >&2
	die "$EXIT_BUILD" "selftests that failed to build:$missing (log: $log)"
fi
grep -q LIBURING "$mm/local_config.h_gen" ||
	die "$EXIT_MISSING" "selftests built without liburing (Debian package liburing-dev)"

echo "image: initramfs"
list=$out/initramfs.list
# shellcheck disable=SC2086 # a flag or none
logged "$log" "${CROSS_COMPILE}gcc" $CC_FLAGS -static -O2 -Wall -Wextra -Werror \
	-isystem "$out/headers/usr/include" -o "$out/init" "$guest/init.c"
logged "$log" gcc -O2 -w -o "$out/gen_init_cpio" "$src/usr/gen_init_cpio.c"
{
	for dir in bin sbin dev etc etc/guest lib lib64 mm mnt mnt/xfs proc root \
		   run sys tmp usr usr/bin usr/lib var; do
		echo "dir /$dir 0755 0 0"
	done
	echo "nod /dev/console 0600 0 0 c 5 1"
	echo "nod /dev/null 0666 0 0 c 1 3"
	echo "file /init $out/init 0755 0 0"
	echo "file /bin/busybox $busybox 0755 0 0"
	echo "file /bin/bash $bash 0755 0 0"
	busybox --list | grep -vx -e busybox -e bash -e nice -e sed -e tr | sort -u |
		sed 's|.*|slink /bin/& busybox 0777 0 0|'
	for file in "$guest"/rootfs/{setup,run-test,torture}; do
		echo "file /etc/guest/${file##*/} $file 0755 0 0"
	done
	echo "file /bin/sed $guest/rootfs/sed 0755 0 0"
	echo "file /bin/nice $gnu_nice 0755 0 0"
	echo "file /bin/tr $gnu_tr 0755 0 0"
	echo "file /usr/bin/sed.gnu $gnu_sed 0755 0 0"
	progs=()
	for prog in $wanted; do
		"${CROSS_COMPILE}strip" -o "$out/mm/$prog.strip" "$out/mm/$prog"
		mv "$out/mm/$prog.strip" "$out/mm/$prog"
		echo "file /mm/$prog $out/mm/$prog 0755 0 0"
		progs+=("$out/mm/$prog")
	done
	for script in "$mm"/*.sh; do
		echo "file /mm/${script##*/} $script 0755 0 0"
	done
	with_libs "$gnu_nice" "$gnu_sed" "$gnu_tr" "${progs[@]}"
} >"$list"
logged "$log" "$out/gen_init_cpio" -t 0 -o "$out/initramfs.tmp" "$list"
mv "$out/initramfs.tmp" "$out/initramfs.cpio"

echo "image: xfs"
rm -f "$out/xfs.tmp"
truncate -s 512M "$out/xfs.tmp"
logged "$log" mkfs.xfs -q -m uuid=a3a3a3a3-0000-4000-8000-000000000001 "$out/xfs.tmp"
mv "$out/xfs.tmp" "$out/xfs.img"
echo "$stamp" >"$out/stamp.tmp"
mv "$out/stamp.tmp" "$out/stamp"
make_archives "$@"
echo "image: $out/initramfs.cpio ($(du -h "$out/initramfs.cpio" | cut -f1))"
