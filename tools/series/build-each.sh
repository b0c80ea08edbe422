# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # series.sh has the variables
#
# build-each, a part of series.sh: after each patch, the directories it touches
# build without a warning in all configurations, and sparse says of the files
# it touches nothing that it does not say of the base. At the tip the whole
# kernel of the default scenario builds.
#
#   on          the guest's fragments, and every option that the series adds
#   nopm        the same with NO_PAGE_MAPCOUNT, as long as there is that option
#   off         64-bit without THP, memcg, NUMA and the series' options
#   i386        32-bit with THP
#   arm64       4 KiB pages, THP, NUMA and memcg
#   arm64-64k   64 KiB pages, THP and memcg
#
# "changed" leaves out what has passed in this build folder before. "quick" builds
# after each patch only what the series touches, as "on"; mm/ and fs/proc/ of the others
# at the tip, but not i386.

each=$BUILD/each
jobs=-j$(nproc)
# Sparse 0.6.4 does not know this one and would not be taken by the kernel.
checker="sparse -D__typeof_unqual__=__typeof__"

# k CONFIG ARGUMENT...: make in the tree under test.
k()
{
	local config=$1 arch=x86_64 cross=

	shift
	case $config in
	i386)	arch=i386 ;;
	arm64*)	arch=arm64 cross=aarch64-linux-gnu- ;;
	esac
	make -s -C "$each/tree" O="$each/$config" ARCH=$arch "$jobs" \
		CROSS_COMPILE=$cross CC="ccache ${cross}gcc" HOSTCC="ccache gcc" "$@" 9>&-
}

# fragment CONFIG
fragment()
{
	local guest=$here/../guest value=n f

	echo CONFIG_WERROR=y
	case $1 in
	on | nopm)
		sed -n "s/^config[ 	]*=//p" "$guest/scenarios/default.scenario" | tr " " "\n" |
		while read -r f; do
			[ -z "$f" ] || sed "s/^?//" "$guest/config/${f%.config}.config"
		done
		echo CONFIG_KUNIT=y
		value=y
		;;
	off)
		printf 'CONFIG_%s=y\n' 64BIT PRINTK PROC_FS BLOCK SWAP
		printf '# CONFIG_%s is not set\n' TRANSPARENT_HUGEPAGE MEMCG NUMA
		;;
	arm64*)
		printf 'CONFIG_%s=y\n' SMP PRINTK PROC_FS BLOCK SWAP KSM DEBUG_KERNEL DEBUG_VM \
			TRANSPARENT_HUGEPAGE CGROUPS MEMCG MEMORY_HOTPLUG HUGETLBFS
		[ "$1" = arm64 ] && printf 'CONFIG_%s=y\n' NUMA ARM64_4K_PAGES ||
			echo CONFIG_ARM64_64K_PAGES=y
		;;
	i386)
		printf 'CONFIG_%s=y\n' SMP PRINTK PROC_FS BLOCK SWAP KSM DEBUG_KERNEL DEBUG_VM \
			TRANSPARENT_HUGEPAGE
		;;
	esac
	[ "$1" != nopm ] || echo CONFIG_NO_PAGE_MAPCOUNT=y
	g diff -U0 base "$tip" -- '**Kconfig*' |
		sed -n "s/^+\(menu\)\?config \([A-Z0-9_]*\)$/\2/p" |
		if [ $value = y ]; then
			sed 's/.*/CONFIG_&=y/'
		else
			sed 's/.*/# CONFIG_& is not set/'
		fi
}

# configure COMMIT CONFIG: only where a Kconfig file or the fragment is another.
configure()
{
	local out=$each/$2 key symbol

	mkdir -p "$out"
	fragment "$2" >"$out/fragment"
	key=$({ cat "$out/fragment"; g ls-tree -r "$1" | grep Kconfig; } | sha1sum)
	[ "$key" != "$(cat "$out/key" 2>/dev/null)" ] || return 0
	rm -f "$out/key"
	{
		k "$2" tinyconfig &&
		"$each/tree/scripts/kconfig/merge_config.sh" -m -O "$out" "$out/.config" "$out/fragment" &&
		k "$2" olddefconfig
	} >"$out/log" 2>&1 || return
	# Options of later patches cannot stick yet.
	while IFS='= ' read -r symbol _; do
		grep -q "^$symbol=" "$out/.config" ||
			! g grep -qE "^(menu)?config ${symbol#CONFIG_}$" "$1" -- '*Kconfig*' ':!Documentation' ':!scripts' || {
			echo "$symbol did not stick"
			return 1
		}
	done < <(grep "=y" "$out/fragment") >"$out/log"
	echo "$key" >"$out/key"
}

checkout()
{
	if [ ! -e "$each/tree/.git" ] || ! git_in "$each/tree" checkout -q -f --detach "$1" 2>/dev/null; then
		rm -rf "$each/tree"
		g worktree prune
		g worktree add -q --detach "$each/tree" "$1"
	fi
}

# targets CONFIG FILE...: what to build when these files change. A header of the
# memory management has all of kernel/ built only where that is small.
targets()
{
	local config=$1 f

	shift
	for f; do
		case $f in
		tools/* | Documentation/* | MAINTAINERS)
			;;
		include/*)
			case $config in
			on | nopm) printf '%s\n' kernel/fork.o kernel/exit.o kernel/events/ ;;
			*) echo kernel/ ;;
			esac
			printf '%s\n' mm/ fs/proc/
			;;
		*)
			while [ "$f" != . ]; do
				f=$(dirname "$f")
				[ ! -f "$each/tree/$f/Makefile" ] || break
			done
			[ "$f" = . ] || echo "$f/"
			;;
		esac
	done | sort -u
}

# touched_objects COMMIT: what is there of the C files that the series touches.
touched_objects()
{
	g diff --name-only base "$tip" -- '*.c' ':!tools' |
		while read -r f; do
			! g cat-file -e "$1:$f" 2>/dev/null || echo "${f%.c}.o"
		done
}

# sparse FILE...: what it says, without line numbers.
sparse()
{
	local f objects=()

	for f; do
		case $f in tools/*) continue ;; esac
		f=${f%.c}.o
		[ ! -f "$each/on/$f" ] || objects+=("$f")
	done
	[ ${#objects[@]} -gt 0 ] || return 0
	# That make fails is for the build step to say.
	{ k on C=2 CHECK="$checker" "${objects[@]}" 2>&1 >/dev/null || true; } |
		sed -n 's/^\([^ ]*\.[ch]\):[0-9:]*/\1:/p' | sort
}

cmd_build_each()
{
	local mode=${1:-all} commit config files what before base_said bad key left dirs
	local configs=(on nopm off i386 arm64 arm64-64k) at_tip=()

	case $mode in
	all | changed) ;;
	# i386 is for kunit-32 to build.
	quick)	at_tip=(off arm64 arm64-64k) configs=(on) ;;
	*)	die "$EXIT_USAGE" "build-each all, changed or quick" ;;
	esac
	need make:make gcc:gcc ccache:ccache flex:flex bison:bison bc:bc sparse:sparse \
		aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu
	need_base
	export CCACHE_DIR="${CCACHE_DIR:-$BUILD/ccache}" CCACHE_BASEDIR=$BUILD
	export KBUILD_BUILD_TIMESTAMP=$base_date KBUILD_BUILD_USER=series KBUILD_BUILD_HOST=series
	mkdir -p "$each"
	touch "$each/passed"
	tip=$(am "$PATCHES")
	[ -f "$here/../guest/scenarios/default.scenario" ] || die "$EXIT_USAGE" "tools/guest/scenarios/default.scenario: missing"

	left=()
	for commit in $(g rev-list --reverse "base..$tip"); do
		key=$(g rev-parse "$commit^^{tree}" "$commit^{tree}" |
			cat - "$here/build-each.sh" "$here"/../guest/config/* | sha1sum)
		if [ "$mode" = changed ] && grep -qxF "$key" "$each/passed"; then
			tap_skip "$(g log -1 --format=%s "$commit")" "passed before in $BUILD"
		else
			left+=("$commit $key")
		fi
	done

	# What sparse says of the base, where a patch is going to touch it.
	mapfile -t files < <(g diff --name-only --diff-filter=M base "$tip" -- '*.c' ':!tools')
	if [ ${#left[@]} -gt 0 ] && [ ${#files[@]} -gt 0 ]; then
		checkout base
		# shellcheck disable=SC2086 # a command and its options
		[ "$("$each/tree/scripts/checker-valid.sh" $checker)" = 1 ] ||
			die "$EXIT_MISSING" "sparse is too old for this kernel"
		configure base on || { tap_result 1 "base: config" "$each/on/log"; tap_end; exit "$EXIT_BUILD"; }
		key=$(echo "${files[@]}" "$checker" | cat - "$each/on/key" | sha1sum | cut -d' ' -f1)
		if [ ! -f "$each/sparse-base.$key" ]; then
			k on "${files[@]/%.c/.o}" >"$tmp/log" 2>&1 ||
				{ tap_result 1 "base: build" "$tmp/log"; tap_end; exit "$EXIT_BUILD"; }
			sparse "${files[@]}" >"$tmp/sparse"
			mv "$tmp/sparse" "$each/sparse-base.$key"
		fi
		base_said=$each/sparse-base.$key
	else
		base_said=/dev/null
	fi

	for what in "${left[@]}"; do
		commit=${what%% *} key=${what#* }
		before=$tap_failed
		checkout "$commit"
		mapfile -t files < <(g diff-tree -r --no-commit-id --name-only --diff-filter=d "$commit")
		what="$(g log -1 --format=%s "$commit")"
		for config in "${configs[@]}"; do
			mapfile -t dirs < <(targets "$config" "${files[@]}")
			[ ${#dirs[@]} -gt 0 ] || continue
			[ "$mode" != quick ] || mapfile -t dirs < <(touched_objects "$commit")
			[ "$config" != nopm ] || g grep -q "^config NO_PAGE_MAPCOUNT" "$commit" -- mm/Kconfig || continue
			bad=0
			configure "$commit" "$config" &&
				k "$config" "${dirs[@]}" >"$each/$config/log" 2>&1 || bad=1
			tap_result $bad "$what: $config" "$each/$config/log"
		done
		mapfile -t files < <(printf '%s\n' "${files[@]}" | grep '\.c$')
		sparse "${files[@]}" >"$tmp/sparse"
		bad=0
		comm -13 "$base_said" "$tmp/sparse" >"$tmp/log"
		[ ! -s "$tmp/log" ] || bad=1
		tap_result $bad "$what: sparse" "$tmp/log"
		[ "$before" -ne "$tap_failed" ] || [ "$mode" = quick ] || echo "$key" >>"$each/passed"
	done

	[ ${#at_tip[@]} -eq 0 ] || checkout "$tip"
	for config in "${at_tip[@]}"; do
		bad=0
		configure "$tip" "$config" &&
			k "$config" fs/proc/ mm/ >"$each/$config/log" 2>&1 || bad=1
		tap_result $bad "tip: $config" "$each/$config/log"
	done

	bad=0
	cmd_import
	make -s -C "$REPO" kernel SCENARIO=default BUILD="$BUILD" 9>&- >"$tmp/log" 2>&1 || bad=1
	tap_result $bad "the whole kernel at the tip" "$tmp/log"
	tap_end || exit "$EXIT_BUILD"
}
