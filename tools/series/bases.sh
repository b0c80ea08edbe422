# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # series.sh has the variables
#
# bases, a part of series.sh: which patches apply to other kernels, in a table
# for each. These are $BASE_SRC or $BASE_TARBALL, or else what Debian's archive
# offers.

. "$here/../lib/apt.sh"

# offered: lines "VERSION PACKAGE SUITE", the newest first, of the newest other
# release of each kernel source package with the base's major version.
offered()
{
	local release package

	release=$(base version)
	for suite in "$(base suite)" testing unstable experimental; do
		apt=$tmp/apt-$suite
		apt_update "$suite" || continue
		for package in $(apt_private apt-cache pkgnames "linux-source-${release%%.*}."); do
			versions "$package" | sed "s/\$/ $package $suite/"
		done
	done | sort -rV | awk -v own="$release-" 'index($1, own) != 1 && !seen[$2]++'
}

# try_on DIR TITLE: the table for the kernel in DIR.
try_on()
{
	local dir=$1 p tip head how n=0 out=0 clean=0 merged=0 there=0 late=0 subjects

	tip=$(am "$PATCHES")
	mapfile -t subjects < <(g log --reverse --format=%s "base..$tip")
	git_in "$dir" init -q
	# With the blobs of the base and of each patch, git am -3 can merge.
	g rev-parse --path-format=absolute --git-path objects >"$dir/.git/objects/info/alternates"
	git_in "$dir" add -Af .
	root_commit "$dir" "$2"
	say "git am -3 on $2"
	printf '%s\n\n%-60s  left out  result\n' "$2" patch
	for p in "$PATCHES"/0*.patch; do
		case ${p##*/} in 0000-*) continue ;; esac
		head=$(git_in "$dir" rev-parse HEAD)
		if ! git_in "$dir" am -3 --keep-cr "$p" >"$tmp/log" 2>&1; then
			how=$(git_in "$dir" diff --name-only --diff-filter=U)
			[ -n "$how" ] || die "$EXIT_BUILD" "git am -3 of ${p##*/}: $(cat "$tmp/log")"
			how="conflicts in ${how//$'\n'/ }"
			git_in "$dir" am --abort
		elif [ "$(git_in "$dir" rev-parse HEAD)" = "$head" ]; then
			how="is there already"
		elif grep -q '^Falling back' "$tmp/log"; then
			how="applies with a 3-way merge"
		else
			how="applies"
		fi
		printf '%2d %-57.57s  %8d  %s\n' $((n + 1)) "${subjects[n]}" $out "$how"
		n=$((n + 1))
		case $how in
		conflicts*)	out=$((out + 1)); continue ;;
		is*)		there=$((there + 1)); continue ;;
		*merge)		merged=$((merged + 1)) ;;
		*)		clean=$((clean + 1)) ;;
		esac
		[ $out -eq 0 ] || late=$((late + 1))
	done
	printf '\n%d patches: %d apply as they are, %d with a 3-way merge; %d conflict, %d are there already;\n' \
		$n $clean $merged $out $there
	printf '%d of those that apply come after one that was left out.\n' $late
}

# bases [FILE]: the tables, and in FILE as well.
cmd_bases()
{
	local new=$tmp/other offers offer version package suite

	need_base
	need_space "$BUILD" "${NEED_MB:-3000}"
	if [ -n "${BASE_SRC-}${BASE_TARBALL-}" ]; then
		offers=own
	else
		need_apt
		mapfile -t offers < <(offered)
		[ ${#offers[@]} -gt 0 ] || die "$EXIT_FETCH" "no other kernel source like $(base version) in" \
			"Debian's archive; with one of your own: BASE_TARBALL=FILE or BASE_SRC=DIR"
	fi
	{
		echo "# SPDX-License-Identifier: GPL-2.0"
		echo "# Which patches apply to other kernels than $(base version), by git am -3; written by make bases."
		echo "# A patch that conflicts is left out, and the next one is tried. \"left out\" counts those"
		echo "# before it: if there are any, that a patch applies does not say that it works or builds,"
		echo "# and that it conflicts may be for want of them only."
	} >"$tmp/table"
	for offer in "${offers[@]}"; do
		read -r version package suite <<<"$offer"
		rm -rf "$new"
		mkdir "$new"
		if [ -n "${BASE_SRC-}" ]; then
			copy_source "$BASE_SRC" "$new"
		elif [ -n "${BASE_TARBALL-}" ]; then
			unpack "$BASE_TARBALL" "$new"
		else
			apt=$tmp/apt-$suite
			fetch_source "$package" "$version" "$tmp/tarball"
			unpack "$tmp/tarball" "$new"
		fi
		[ "$version" != own ] || version="$(version_of "$new"), ${BASE_SRC:-${BASE_TARBALL##*/}}"
		[[ $version != unknown* ]] || die "$EXIT_FETCH" "${BASE_SRC:-$BASE_TARBALL}: no kernel source"
		{
			echo
			try_on "$new" "Linux $version${package:+, $package of Debian $suite}"
		} >>"$tmp/table"
	done
	cat "$tmp/table"
	[ -z "${1-}" ] || mv "$tmp/table" "$1"
}
