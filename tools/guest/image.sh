#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Build the guest's user space from a kernel tree:
#
#	image.sh TREE OUT
#
# OUT/initramfs.cpio: static init, busybox, bash and the tree's own mm
# selftests; OUT/xfs.img: a scratch file system for the file cases. The tree
# is only read. Nothing is done where the inputs are those of the last time.
set -eu

guest=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$guest/common.sh"

[ $# -eq 2 ] || die "$EXIT_USAGE" "usage: image.sh TREE OUT"
need_tree "$1"
tree=$(cd "$1" && pwd)
mkdir -p "$2" || die "$EXIT_ENV" "cannot make $2"
out=$(cd "$2" && pwd)

PATH=$PATH:/usr/sbin:/sbin
need nice:coreutils gcc:gcc make:make rsync:rsync busybox:busybox-static bash-static:bash-static \
	mkfs.xfs:xfsprogs strip:binutils

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
	mm/gup_test.h lib/test_hmm_uapi.h usr/gen_init_cpio.c"
uapi="include/uapi arch/x86/include/uapi include/asm-generic"

hash_of()
{
	(cd "$tree" && find "$@" -type f ! -name 'local_config.*' -print0 |
		LC_ALL=C sort -z | xargs -0 sha256sum)
}

# shellcheck disable=SC2086 # lists of paths
stamp=$({
	hash_of $inputs $uapi
	cat "$0" "$guest/common.sh" "$guest/init.c" "$guest/rootfs"/*
	sha256sum "$(command -v busybox)" "$(command -v bash-static)"
	gcc --version
	dpkg-query -W libc6-dev liburing-dev libcap-dev libnuma-dev libc6-dev-i386 2>&1 || :
} | sha256sum)

if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ] &&
   [ -s "$out/initramfs.cpio" ] && [ -s "$out/xfs.img" ]; then
	echo "image: up to date"
	exit 0
fi
rm -f "$out/stamp"
log=$out/image.log
: >"$log" || die "$EXIT_ENV" "$out is not writable"

echo "image: kernel headers"
logged "$log" make -C "$tree" O="$out/headers" ARCH=x86_64 headers

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
selftests()
{
	with_compiler make -k -j"$(nproc)" -C "$mm" "$@" ARCH=x86_64 \
		OUTPUT="$out/mm" KHDR_INCLUDES="-isystem $out/headers/usr/include" \
		TEST_GEN_MODS_DIR= USERLDFLAGS=-static EXTRA_CFLAGS="-static -w"
}

selftests all >>"$log" 2>&1 || :
# The list of what had to be built is the selftests' own.
# shellcheck disable=SC2016 # $(...) is make's
wanted=$(printf 'include Makefile\nprint-wanted:\n\t@echo $(notdir $(TEST_GEN_FILES) $(TEST_GEN_PROGS))\n' |
	make -s -C "$mm" -f - print-wanted ARCH=x86_64 OUTPUT="$out/mm" TEST_GEN_MODS_DIR= 2>>"$log")
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
# libs_of PROGRAM: the shared libraries it needs, none if static.
libs_of()
{
	ldd "$1" 2>/dev/null | grep -o "/[^ ]*" | sort -u | tr "\n" " "
}
gcc -static -O2 -Wall -Wextra -Werror -o "$out/init" "$guest/init.c" 2>>"$log" ||
	die "$EXIT_BUILD" "init.c does not compile (log: $log)"
gcc -O2 -w -o "$out/gen_init_cpio" "$src/usr/gen_init_cpio.c" 2>>"$log" ||
	die "$EXIT_BUILD" "gen_init_cpio.c does not compile (log: $log)"
{
	for dir in bin sbin dev etc etc/guest lib lib64 mm mnt mnt/xfs proc root \
		   run sys tmp usr usr/bin usr/lib var; do
		echo "dir /$dir 0755 0 0"
	done
	echo "nod /dev/console 0600 0 0 c 5 1"
	echo "nod /dev/null 0666 0 0 c 1 3"
	echo "file /init $out/init 0755 0 0"
	echo "file /bin/busybox $(command -v busybox) 0755 0 0"
	echo "file /bin/bash $(command -v bash-static) 0755 0 0"
	busybox --list | grep -vx -e busybox -e bash -e nice -e sed -e tr | sort -u |
		sed 's|.*|slink /bin/& busybox 0777 0 0|'
	for file in "$guest"/rootfs/{setup,run-test}; do
		echo "file /etc/guest/${file##*/} $file 0755 0 0"
	done
	echo "file /bin/sed $guest/rootfs/sed 0755 0 0"
	echo "file /bin/nice $(command -v nice) 0755 0 0"
	echo "file /bin/tr $(command -v tr) 0755 0 0"
	echo "file /usr/bin/sed.gnu $(command -v sed) 0755 0 0"
	libs="$(libs_of "$(command -v nice)") $(libs_of "$(command -v sed)") $(libs_of "$(command -v tr)")"
	for prog in $wanted; do
		strip -o "$out/mm/$prog.strip" "$out/mm/$prog"
		mv "$out/mm/$prog.strip" "$out/mm/$prog"
		echo "file /mm/$prog $out/mm/$prog 0755 0 0"
		libs="$libs $(libs_of "$out/mm/$prog")"
	done
	for script in "$mm"/*.sh; do
		echo "file /mm/${script##*/} $script 0755 0 0"
	done
	for lib in $(echo "$libs" | tr ' ' '\n' | sort -u); do
		dir=$(dirname "$lib")
		while [ "$dir" != / ]; do
			echo "$dir"
			dir=$(dirname "$dir")
		done | sort | sed 's|.*|dir & 0755 0 0|'
		echo "file $lib $lib 0755 0 0"
	done
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
echo "image: $out/initramfs.cpio ($(du -h "$out/initramfs.cpio" | cut -f1))"
