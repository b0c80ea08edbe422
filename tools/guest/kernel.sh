#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Configure and build a scenario's kernel, out of tree:
#
#	kernel.sh TREE SCENARIO OUT [PACKAGES [CONFIG]]
#
# The architecture is the scenario's "arch", or x86_64. The configuration is
# tinyconfig and the scenario's fragments; each of their lines must stick, but
# for those that a later fragment has another line for. A line "?CONFIG_X=y"
# counts only if the tree knows X. A second run with nothing changed leaves make
# nothing to do.
#
# With PACKAGES, a folder, Debian packages are made as well, by the kernel's
# bindeb-pkg, and replace earlier ones there. With CONFIG, a file, the
# configuration is that one, and the last of the scenario's fragments.
set -euo pipefail

guest=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$guest/common.sh"

[ $# -ge 3 ] && [ $# -le 5 ] ||
	die "$EXIT_USAGE" "usage: kernel.sh TREE SCENARIO OUT [PACKAGES [CONFIG]]"
need_tree "$1"
tree=$(cd "$1" && pwd)
scenario=$2
[ -f "$scenario" ] || scenario=$guest/scenarios/$2.scenario
[ -f "$scenario" ] || die "$EXIT_USAGE" "no scenario $2"
arch=$(sed -n 's/^arch[[:space:]]*=[[:space:]]*//p' "$scenario")
use_arch "${arch:-x86_64}"
packages=${4-} config=${5-}
if [ -n "$config" ]; then
	[ -r "$config" ] && grep -qx 'CONFIG_X86_64=y' "$config" ||
		die "$EXIT_USAGE" "$config: not the configuration of an x86-64 kernel"
fi
need gcc:gcc make:make bison:bison flex:flex bc:bc
# A kernel with thousands of modules takes the most.
need_space "$3" "${config:+1}1024"
out=$(cd "$3" && pwd)
if [ -n "$packages" ]; then
	need dh:debhelper dpkg-buildpackage:dpkg-dev git:git
	need_space "$packages" 1024
	packages=$(cd "$packages" && pwd)
	# What dpkg-buildpackage makes goes to the folder above.
	mkdir -p "$out/linux"
	out=$out/linux
fi
log=$out/build.log

# known_symbol NAME: does any Kconfig file of the tree define it?
known_symbol()
{
	grep -rqsE --include='Kconfig*' "^(menu)?config[[:space:]]+${1#CONFIG_}$" \
		"$tree/init" "$tree/mm" "$tree/lib" "$tree/kernel" "$tree/arch/$SRCARCH" \
		"$tree/drivers" "$tree/fs" "$tree/net" "$tree/security" "$tree/block"
}

merged=$out/fragments.tmp
read -ra fragments <<<"$(sed -n 's/^config[[:space:]]*=//p' "$scenario")"
[ -z "$config" ] || fragments=("${fragments[-1]}")
for fragment in "${fragments[@]}"; do
	file=$guest/config/$fragment.config
	[ -f "$file" ] || die "$EXIT_USAGE" "$scenario: no fragment $fragment"
	while IFS= read -r line; do
		case $line in
		'?'*)	line=${line#\?}
			known_symbol "${line%%=*}" || continue ;;
		CONFIG_*|'# CONFIG_'*' is not set') ;;
		*)	continue ;;
		esac
		echo "$line"
	done <"$file"
done | awk '
	{ symbol = /^#/ ? $2 : substr($0, 1, index($0, "=") - 1); line[NR] = $0; of[NR] = symbol; last[symbol] = NR }
	END { for (i = 1; i <= NR; i++) if (last[of[i]] == i) print line[i] }' >"$merged"
[ -s "$merged" ] || die "$EXIT_USAGE" "$scenario: no configuration"

: >"$log" || die "$EXIT_ENV" "$log: not writable"
kmake()
{
	with_compiler make -C "$tree" O="$out" \
		KBUILD_BUILD_TIMESTAMP='1970-01-01' KBUILD_BUILD_USER=guest \
		KBUILD_BUILD_HOST=guest KBUILD_BUILD_VERSION=1 \
		${packages:+LOCALVERSION= KDEB_CHANGELOG_DIST=unstable} "$@"
}

tree_git()
{
	git -C "$tree" -c safe.directory='*' "$@"
}

# assert_config: each wanted line is in .config as it stands, or "is not set", or
# empty, by the symbol not being there at all.
assert_config()
{
	local line symbol lost=''

	while IFS= read -r line; do
		case $line in
		'#'*)	symbol=${line#\# }
			symbol=${symbol%% *}
			grep -q "^$symbol=" "$out/.config" && lost+=" $symbol(set)" ;;
		*'=""')	grep -q "^${line%\"}[^\"]" "$out/.config" && lost+=" ${line%%=*}" ;;
		*)	grep -qxF -e "$line" "$out/.config" || lost+=" ${line%%=*}" ;;
		esac
	done <"$merged"
	[ -z "$lost" ] || die "$EXIT_BUILD" "configuration: did not stick:$lost"
}

# The fragments are the last ones, and the configuration they gave still stands.
if ! cmp -s "$merged" "$out/fragments" || [ ! -s "$out/.config" ] ||
   ! cmp -s "$out/.config" "$out/config.done" ||
   { [ -n "$config" ] && ! cmp -s "$config" "$out/config.from"; }; then
	say "configuring $(basename "$scenario" .scenario)"
	rm -f "$out/fragments" "$out/config.done" "$out/packages.done"
	if [ -n "$config" ]; then
		cp "$config" "$out/config.from"
		cp "$config" "$out/.config"
	else
		logged "$log" kmake tinyconfig
	fi
	(cd "$out" && logged "$log" "$tree/scripts/kconfig/merge_config.sh" -m -O "$out" .config "$merged")
	logged "$log" kmake olddefconfig
	assert_config
fi
mv "$merged" "$out/fragments"
merged=$out/fragments
say "building in $out"
start=$SECONDS
if [ -z "$packages" ]; then
	logged "$log" kmake -j"$(nproc)" "${KERNEL_IMAGE##*/}"
else
	# The kernel's version, the number of patches, and which state of them.
	version=$(kmake -s kernelversion)-$(tree_git rev-list --count base..HEAD)
	version+=+g$(tree_git describe --always --exclude '*' --abbrev=12 --dirty=+dirty)
	if [[ $version != *+dirty ]] && grep -qsF " $packages/linux-image-" "$out/packages.done" &&
	   grep -qF "_${version}_" "$out/packages.done" && sha256sum -c --status "$out/packages.done"; then
		say "up to date: $packages"
		exit 0
	fi
	rm -f "$out"/../*.deb "$out/packages.done"
	logged "$log" kmake -j"$(nproc)" KDEB_PKGVERSION="$version" bindeb-pkg
fi
# make may have brought in symbols of a changed tree: look again.
assert_config
cp "$out/.config" "$out/config.done"
if [ -n "$packages" ]; then
	release=$(cat "$out/include/config/kernel.release")
	rm -f "$packages"/linux-{image,headers}-"${release}"_*.deb
	mv "$out"/../linux-{image,headers}-"${release}"_*.deb "$packages" ||
		die "$EXIT_ENV" "$packages: cannot move the packages there"
	sha256sum "$packages"/linux-{image,headers}-"${release}"_*.deb >"$out/packages.done"
	cut -d ' ' -f 3- "$out/packages.done"
	exit 0
fi
say "$out/$KERNEL_IMAGE, $((SECONDS - start)) s"
