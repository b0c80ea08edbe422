#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A Debian root that has the kernel package installed, for the guest:
#
#	debian.sh PACKAGES IMAGE OUT
#
# PACKAGES has the package that kernel.sh made, IMAGE is a folder of image.sh's: its
# selftests and its init go there too. OUT/root.img is the root, of this machine's
# Debian; OUT/vmlinuz, config and initramfs.cpio are what the package and the
# scripts that it ran have left in /boot. Nothing is done where the inputs are those
# of the last time.
set -euo pipefail

guest=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$guest/common.sh"
# shellcheck source=../lib/apt.sh
. "$guest/../lib/apt.sh"

[ $# -eq 3 ] || die "$EXIT_USAGE" "usage: debian.sh PACKAGES IMAGE OUT"
PATH=$PATH:/usr/sbin:/sbin
shopt -s nullglob
deb=("$1"/linux-image-*-folio-mapcount_*_amd64.deb)
shopt -u nullglob
[ ${#deb[@]} -eq 1 ] || die "$EXIT_USAGE" "$1: ${#deb[@]} packages of the kernel, not one"
[ -s "$2/stamp" ] || die "$EXIT_USAGE" "$2: not an image"
image=$(cd "$2" && pwd)
need mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs fakeroot:fakeroot
[ "$(id -u)" -eq 0 ] || { need newuidmap:uidmap && unshare -U true; } ||
	die "$EXIT_ENV" "a Debian root takes root, or user namespaces"
need_space "$3" 3072
out=$(cd "$3" && pwd)
log=$out/debian.log

# For the initrd, and for the programs.
packages=initramfs-tools,kmod,linux-base,zstd,libcap2,libnuma1,liburing2

stamp=$(cat "$0" "$guest/rootfs"/* "$image/stamp" "${deb[0]}" | sha256sum)
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ] && [ -s "$out/root.img" ]; then
	echo "debian: up to date"
	exit 0
fi
rm -rf "$out/stamp" "$out/add" "$out/root"
: >"$log" || die "$EXIT_ENV" "$log: not writable"

add=$out/add
mkdir -p "$add/etc/guest" "$add/etc/initramfs-tools/scripts/init-bottom" "$add/mm" "$add/mnt/xfs"
cp "$image/init" "$guest"/rootfs/{setup,run-test,package} "$add/etc/guest"
cp "$guest/rootfs/pass-plan" "$add/etc/initramfs-tools/scripts/init-bottom"
cp "${deb[0]}" "$add/kernel.deb"
sed -n 's|^file /mm/[^ ]* \([^ ]*\) .*|\1|p' "$image/initramfs.list" | xargs cp -t "$add/mm"
tar --owner=0 --group=0 -C "$add" -cf "$out/add.tar" .

echo "debian: root, and $(basename "${deb[0]}") in it"
apt=$out/apt
apt_update || die "$EXIT_FETCH" "no Debian mirror of this machine's apt configuration answers"
read -r _ _ _ suite _ <"$apt/sources.list"
# shellcheck disable=SC2016 # "$1" is mmdebstrap's
logged "$log" mmdebstrap --variant=minbase --include="$packages" \
	--customize-hook="tar-in $out/add.tar /" \
	--customize-hook='chroot "$1" dpkg -i /kernel.deb' \
	"$suite" "$out/root.tar" "$apt/sources.list"

# The owners of the files are as in the archive only if one is root, or believes so.
mkdir "$out/root"
tar -C "$out/root" --wildcards --strip-components=2 -xf "$out/root.tar" './boot/*'
for file in vmlinuz config initrd.img; do
	mv "$out/root/$file"-* "$out/${file/initrd.img/initramfs.cpio}" ||
		die "$EXIT_BUILD" "the package left no $file (log: $log)"
done
# shellcheck disable=SC2016 # of the inner shell
logged "$log" fakeroot sh -ec 'cd "$1"; rm -rf root; mkdir root
	tar -C root --exclude "./dev/*" -xf root.tar
	rm -f root.tmp
	mkfs.ext4 -q -L debian -d root root.tmp 1G
	rm -rf root' - "$out"
mv "$out/root.tmp" "$out/root.img"
ln -sfn "$image/xfs.img" "$out/xfs.img"
rm -rf "$add" "$out/add.tar" "$out/root.tar" "$apt"
echo "$stamp" >"$out/stamp"
echo "debian: $out/root.img"
