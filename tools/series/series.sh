#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# series.sh COMMAND: the patch series and its git repository $BUILD/linux.
#
#   import      base and patches/ as branches base and series; FORCE=1 overwrites work
#   base-tree   a second work tree, $BUILD/linux-base, for the unpatched kernel
#   export      branch series to patches/, new files to their kernel paths
#   check       import then export must leave the repository as it is
#   build-each [all|changed]  every patch builds
#   checkpatch  scripts/checkpatch.pl --strict and codespell on every patch
#   docs        kernel-doc and htmldocs: no warning that the base does not have
#   bases [FILE]  which patches apply to other kernels
#   mail OUT    files for git send-email and b4, From and Signed-off-by from FROM=;
#               V=2 compares with SINCE=, else tag v1, and has the text in CHANGES=
set -euo pipefail
shopt -s inherit_errexit
. "${BASH_SOURCE[0]%/*}/common.sh"

user_name=$(git -C "$REPO" config user.name || true)
user_email=$(git -C "$REPO" config user.email || true)

# From here on nothing of the user's git configuration or environment counts,
# and everything that could enter a commit id is fixed.
while read -r name; do
	unset "$name"
done < <(git rev-parse --local-env-vars)
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 LC_ALL=C.UTF-8 TZ=UTC
export GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost
base_date='2026-01-01T00:00:00Z'
# A broken tree below BUILD must never stand for the repository around it.
export GIT_CEILING_DIRECTORIES=$BUILD

git_in()
{
	local dir=$1

	shift
	git -C "$dir" -c safe.directory='*' -c core.hooksPath=/dev/null -c gc.auto=0 \
		-c core.autocrlf=false -c commit.gpgSign=false "$@"
}

g()
{
	git_in "$LINUX" "$@"
}

# copy_source SRC DIR: of a plain directory, or a git tree, of which HEAD counts.
copy_source()
{
	local src=$1

	say "copying $src"
	[ -d "$src" ] || die "$EXIT_FETCH" "$src: no such directory"
	if git_in "$src" rev-parse --verify -q HEAD >/dev/null 2>&1 &&
	   [ -z "$(git_in "$src" rev-parse --show-prefix)" ]; then
		git_in "$src" archive HEAD
	else
		tar -C "$src" --exclude=./.git -c .
	fi | tar -C "$2" -x || die "$EXIT_FETCH" "cannot copy $src"
}

# unpack TARBALL DIR
unpack()
{
	say "unpacking"
	tar -C "$2" --strip-components=1 -xf "$1" || die "$EXIT_FETCH" "cannot unpack $1"
}

# version_of DIR: of a kernel source, by its Makefile.
version_of()
{
	awk '$2 == "=" && $1 ~ /^(VERSION|PATCHLEVEL|SUBLEVEL)$/ { v = v "." $3 }
	     END { print substr(v, 2) }' "$1/Makefile" 2>/dev/null | grep . || echo unknown
}

# root_commit DIR MESSAGE: of the index, with the same id everywhere.
root_commit()
{
	GIT_AUTHOR_NAME=series GIT_AUTHOR_EMAIL=series@localhost \
	GIT_AUTHOR_DATE=$base_date GIT_COMMITTER_DATE=$base_date \
		git_in "$1" commit -q -m "$2"
}

# $BUILD/linux with branch base, a root commit with the same id everywhere.
need_base()
{
	local tree new=$tmp/linux version found

	tree=$(base tree)
	version=$(base version)
	if [ -d "$LINUX" ]; then
		[ "$(g rev-parse 'base^{tree}')" = "$tree" ] || die "$EXIT_FETCH" \
			"$LINUX has another base than patches/base; save your work, then: make distclean"
		return
	fi
	need_space "$BUILD" "${NEED_MB:-5000}"
	mkdir "$new"
	if [ -n "${KERNEL_SRC-}" ]; then
		copy_source "$KERNEL_SRC" "$new"
	else
		"$here/fetch.sh"
		unpack "$BUILD/base/$(base package).tar.xz" "$new"
	fi
	found=$(version_of "$new")
	[ "$found" = "$version" ] || die "$EXIT_FETCH" \
		"the source is version $found, patches/base wants $version"
	say "importing $version"
	git_in "$new" init -q -b base
	git_in "$new" config gc.auto 0
	git_in "$new" add -Af .
	found=$(git_in "$new" write-tree)
	[ "$found" = "$tree" ] || die "$EXIT_FETCH" \
		"the source has tree id $found, patches/base wants $tree"
	root_commit "$new" "Linux $version, as in $(base package) $(base package-version)"
	mv "$new" "$LINUX"
}

# am DIR: the commit which DIR's patches give on base. git am works in a tree
# without files, it checks out the few that it needs: no file of $LINUX moves.
# The cover letter is an empty patch, which git am would stop at.
am()
{
	local wt patches

	patches=$(find "$1" -maxdepth 1 -name '0*.patch' | sort)
	wt=$(mktemp -d "$tmp/am.XXXXXX")
	g worktree add -q --no-checkout --detach "$wt" base
	git_in "$wt" read-tree base
	# shellcheck disable=SC2086 # format-patch names have no spaces
	[ -z "$patches" ] ||
	git_in "$wt" am -q --empty=drop --committer-date-is-author-date --no-3way --keep-cr $patches \
		>"$wt.log" 2>&1 ||
		die "$EXIT_BUILD" "git am: $(cat "$wt.log")"
	git_in "$wt" rev-parse HEAD
	rm -rf "$wt"
	g worktree prune
}

# reauthor TIP NAME EMAIL [TRAILER]: the same commits by one author, as git am
# would make them.
reauthor()
{
	local c commit=base

	[ -z "$(g rev-list --merges "base..$1")" ] || die "$EXIT_BUILD" "the series has a merge"
	for c in $(g rev-list --reverse "base..$1"); do
		commit=$(g log -1 --format=%B "$c" | git stripspace |
			 git interpret-trailers ${4:+--if-exists addIfDifferent --trailer "$4"} |
			 git stripspace |
			 GIT_AUTHOR_NAME=$2 GIT_AUTHOR_EMAIL=$3 \
			 GIT_AUTHOR_DATE=$(g log -1 --format=%ai "$c") \
			 GIT_COMMITTER_DATE=$(g log -1 --format=%ai "$c") \
			 g commit-tree "$c^{tree}" -p "$commit")
	done
	g rev-parse "$commit"
}

# cover OLD NEW [CHANGES]: the hand-written mail OLD with the text in CHANGES, and
# NEW's id, author, count, list, diffstat and whatever follows.
cover()
{
	awk -v changes="${3-}" '
	NR == FNR {
		if ($0 == "")
			body = 1
		if (!body && (/^(Message-Id|From): / || (from && /^ /)))
			from = from $0 "\n"
		if (!body && match($0, /^Subject: \[[^]]*\]/))
			subject = substr($0, 1, RLENGTH)
		if (/^[^ ].* \([0-9]+\):$/)
			in_tail = 1
		if (in_tail)
			tail = tail $0 "\n"
		next
	}
	FNR == 1 { body = 0 }
	/^$/ { body = 1 }
	!body && /^From: / { line[++n] = from; skip = 1; next }
	!body && skip && /^ / { next }
	{ skip = 0 }
	!body { sub(/^Subject: \[PATCH[^]]*\]/, subject) }
	{ line[++n] = $0 "\n" }
	/^[^ ].* \([0-9]+\):$/ { end = n }	# the shortlog, by author
	END {
		if (!end)
			end = n + 1
		while (end > 1 && line[end - 1] == "\n")
			end--
		for (i = 1; i < end; i++)
			printf "%s", line[i]
		print ""
		while ((getline <changes) > 0)
			print
		printf "%s", tail
	}' "$2" "$1"
}

# format TIP DIR [OPTION...]: as git format-patch writes it, in any environment.
format()
{
	local tip=$1 dir=$2

	shift 2
	mkdir -p "$dir"
	[ "$(g rev-list --count "base..$tip")" -gt 0 ] || return 0
	GIT_COMMITTER_NAME=$(g log -1 --format=%an "$tip") \
	GIT_COMMITTER_EMAIL=$(g log -1 --format=%ae "$tip") \
	TZ=UTC g format-patch -q -o "$dir" --cover-letter --numbered --subject-prefix=PATCH \
		--zero-commit --no-signature --abbrev=12 --no-renames --unified=3 \
		--diff-algorithm=myers --suffix=.patch "$@" "base..$tip"
	[ ! -f "$PATCHES/0000-cover-letter.patch" ] || {
		cover "$PATCHES/0000-cover-letter.patch" "$dir/0000-cover-letter.patch" \
			"$tmp/changes" >"$tmp/cover"
		mv "$tmp/cover" "$dir/0000-cover-letter.patch"
	}
}

# additions TIP NAME: what the series adds to the kernel's files called NAME.
additions()
{
	local f

	echo "# SPDX-License-Identifier: GPL-2.0"
	echo "# What the series adds to the kernel's $2 files; written by make export."
	for f in $(g diff --name-only --no-renames base "$1" -- "$2" "**/$2*"); do
		printf '\n# %s\n' "$f"
		g diff -U0 --diff-algorithm=myers base "$1" -- "$f" | sed -n '/^+++ /d;s/^+//p'
	done
}

# Where new files of the series are at their kernel paths here.
folders=(mm include Documentation tools/mm tools/testing)

# The part of a repository (or of a render) that mirrors the series.
mirrored()
{
	(cd "$1" && find patches/0*.patch Kconfig MAINTAINERS "${folders[@]}" -type f 2>/dev/null | sort)
}

# render TIP DIR: all that the repository has to hold for this series.
render()
{
	local new

	format "$1" "$2/patches"
	additions "$1" Kconfig >"$2/Kconfig"
	additions "$1" MAINTAINERS >"$2/MAINTAINERS"
	new=$(g diff --name-only --no-renames --diff-filter=A base "$1" -- "${folders[@]}")
	# shellcheck disable=SC2086 # kernel paths have no spaces
	[ -z "$new" ] || g archive "$1" $new | tar -C "$2" -x
}

not_in_the_middle()
{
	local dir

	dir=$(g rev-parse --absolute-git-dir)
	[ ! -e "$dir/rebase-apply" ] && [ ! -e "$dir/rebase-merge" ] ||
		die "$EXIT_USAGE" "$LINUX: a rebase or git am is not finished"
}

# The branch as it was last imported or exported: any other state is work.
recorded()
{
	g rev-parse -q --verify refs/series/recorded || true
}

series()
{
	g rev-parse -q --verify refs/heads/series || true
}

cmd_import()
{
	local tip now

	need_base
	not_in_the_middle
	now=$(series)
	tip=$(am "$PATCHES")
	if [ -n "$now" ] && [ "$now" != "$tip" ] && [ "$now" != "$(recorded)" ]; then
		[ "${FORCE-}" = 1 ] || die "$EXIT_USAGE" "$LINUX: branch series has commits that" \
			"patches/ has not: make export keeps them, FORCE=1 drops them"
		say "dropping $now"
	fi
	# Touches only the files that differ: kernel builds stay incremental.
	if [ "${FORCE-}" = 1 ] || [ "$now" != "$tip" ] || [ "$(g symbolic-ref -q HEAD)" != refs/heads/series ]; then
		g checkout -q ${FORCE:+-f} -B series "$tip" ||
			die "$EXIT_USAGE" "$LINUX: changed files are in the way; FORCE=1 drops them"
	fi
	g update-ref refs/series/recorded "$tip"
	[ -z "$(g status --porcelain -uno)" ] || say "$LINUX has changes that are not committed"
	say "series at $tip ($(g rev-list --count base..series) patches)"
}

cmd_base_tree()
{
	local wt=$BUILD/linux-base

	need_base
	[ "$(git_in "$wt" rev-parse -q --verify HEAD 2>/dev/null)" != "$(g rev-parse base)" ] ||
		return 0
	rm -rf "$wt"
	g worktree prune
	g worktree add -q --detach "$tmp/linux-base" base
	g worktree move "$tmp/linux-base" "$wt"
}

cmd_export()
{
	local tip f

	[ -n "$user_name" ] && [ -n "$user_email" ] || die "$EXIT_USAGE" \
		"git config user.name and user.email: the author of the patches"
	[ -d "$LINUX" ] && [ -n "$(series)" ] || die "$EXIT_USAGE" "nothing imported yet: make import"
	not_in_the_middle
	tip=$(reauthor series "$user_name" "$user_email")
	mkdir "$tmp/new"
	f=$(g ls-files -o -- mm include Documentation tools/testing)
	# shellcheck disable=SC2086 # on one line
	[ -z "$f" ] || say "not in the series (git add -f: the kernel's .gitignore hides new files):" $f
	render "$tip" "$tmp/new"
	[ "$(am "$tmp/new/patches")" = "$tip" ] ||
		die "$EXIT_BUILD" "git am of the exported patches gives other commits"

	# Files that only the former patches created go away with them.
	for f in $(cd "$REPO" && find patches -name '0*.patch' ! -name '0000-*') \
		 $(cat "$PATCHES"/0*.patch 2>/dev/null |
		   awk 'was == "--- /dev/null" { print substr($2, 3) } { was = $0 }' |
		   grep -E "^($(IFS='|'; echo "${folders[*]}"))/"); do
		[ -e "$tmp/new/$f" ] || rm -f "$REPO/$f"
	done
	for f in $(mirrored "$tmp/new"); do
		cmp -s "$tmp/new/$f" "$REPO/$f" && continue
		mkdir -p "$(dirname "$REPO/$f")"
		cp "$tmp/new/$f" "$REPO/$f.new"
		mv "$REPO/$f.new" "$REPO/$f"
		say "$f"
	done
	# The trees are equal, so the work tree does not notice.
	g update-ref refs/heads/series "$tip"
	g update-ref refs/series/recorded "$tip"
	say "$(g rev-list --count "base..$tip") patches"
}

cmd_check()
{
	local tip f bad=0

	need_base
	tip=$(am "$PATCHES")
	tap_result 0 "patches apply with git am"
	[ "$(am "$PATCHES")" = "$tip" ] || bad=1
	tap_result $bad "a second import has the same commit ids"
	mkdir "$tmp/new"
	render "$tip" "$tmp/new"
	for f in $({ mirrored "$REPO"; mirrored "$tmp/new"; } | sort -u); do
		bad=0
		diff -u --label "repository/$f" --label "series/$f" \
			-N "$REPO/$f" "$tmp/new/$f" >"$tmp/diff" || bad=1
		[ -e "$tmp/new/$f" ] && [ -e "$REPO/$f" ] || bad=1
		tap_result $bad "$f" "$tmp/diff"
	done
	tap_end || exit "$EXIT_BUILD"
}

cmd_checkpatch()
{
	local p bad

	need perl:perl python3:python3 codespell:codespell
	# Debian's modules go with Debian's python3, whatever else is in the path.
	PATH=/usr/bin:$PATH
	python3 -c 'import git, ply' 2>/dev/null ||
		die "$EXIT_MISSING" "missing for spdxcheck.py; apt-get install python3-git python3-ply"
	cmd_import
	for p in "$PATCHES"/0*.patch; do
		case ${p##*/} in 0000-*) continue ;; esac
		bad=0
		# The sender signs off; the history that Fixes: names is not here.
		# Whether new files have a maintainer is looked at below.
		(cd "$LINUX" && perl scripts/checkpatch.pl --strict --no-summary \
			--terse --show-types \
			--ignore MISSING_SIGN_OFF,UNKNOWN_COMMIT_ID,FILE_PATH_CHANGES \
			"$p") >"$tmp/log" 2>&1 || bad=1
		tap_result $bad "checkpatch ${p##*/}" "$tmp/log"
		bad=0
		# uptodate: a flag of a page.
		awk '/^---$/ { diff = 1 } !diff || /^\+/' "$p" | codespell -L uptodate - >"$tmp/log" 2>&1 || bad=1
		tap_result $bad "codespell ${p##*/}" "$tmp/log"
	done
	bad=0
	unmaintained >"$tmp/log"
	[ ! -s "$tmp/log" ] || bad=1
	tap_result $bad "MAINTAINERS has the new files" "$tmp/log"
	tap_end || exit "$EXIT_BUILD"
}

# unmaintained: the new files that no section of MAINTAINERS names.
unmaintained()
{
	local f

	g diff --name-only --diff-filter=A base series | while read -r f; do
		(cd "$LINUX" && perl scripts/get_maintainer.pl --no-git --no-git-fallback \
			--subsystem -f "$f") | grep -vqe @ -e '^THE REST$' || echo "$f"
	done
}

# recipients FLAG...: of the patches in $tmp/all, one a line.
recipients()
{
	(cd "$LINUX" && perl scripts/get_maintainer.pl --no-git --no-git-fallback \
		--no-rolestats "$@" "$tmp/all") | sort -u
}

# header NAME <ADDRESSES: of a mail.
header()
{
	sed "1s/^/$1: /; 1!s/^/ /; \$!s/\$/,/"
}

# earlier REVISION: the patches of this repository at that time, as commits.
earlier()
{
	mkdir "$tmp/earlier"
	git_in "$REPO" archive "$1" patches 2>/dev/null | tar -C "$tmp/earlier" -x 2>/dev/null ||
		die "$EXIT_USAGE" "SINCE=$1: no revision of this repository that has patches"
	grep -qx "tree: *$(base tree)" "$tmp/earlier/patches/base" ||
		die "$EXIT_USAGE" "SINCE=$1: on another base, so there is no range-diff"
	am "$tmp/earlier/patches"
}

cmd_mail()
{
	local out=${1-} v=${V:-1} changes=${CHANGES-} id since name email signed tip p
	local options=(--base=base --thread=shallow)

	[[ ${FROM-} =~ ^(.*[^ ])\ +\<([^\ \<\>@]+@[^\ \<\>@]+)\>$ ]] ||
		die "$EXIT_USAGE" 'mail needs FROM="Name <mail>"'
	name=${BASH_REMATCH[1]} email=${BASH_REMATCH[2]}
	signed="Signed-off-by: $name <$email>"
	[ -n "$out" ] || die "$EXIT_USAGE" "mail needs OUT=folder"
	[ -z "$(ls -A "$out" 2>/dev/null)" ] || die "$EXIT_USAGE" "$out exists and is not empty"
	[[ $v =~ ^[1-9][0-9]*$ ]] || die "$EXIT_USAGE" "V=$v: not a version, those are 1, 2, ..."
	since=${SINCE:-v$((v - 1))}
	if [ "$v" -eq 1 ]; then
		[ -z "${SINCE-}$changes" ] || die "$EXIT_USAGE" "SINCE and CHANGES are for V=2 and later"
	else
		[ -s "$changes" ] || die "$EXIT_USAGE" \
			"V=$v needs CHANGES=file: what has changed since v$((v - 1))"
		printf 'Changes since v%d:\n\n%s\n\n' $((v - 1)) "$(cat "$changes")" >"$tmp/changes"
	fi
	id=$(base change-id)
	need perl:perl
	cmd_import
	tip=$(reauthor series "$name" "$email" "$signed")
	if [ "$v" -gt 1 ]; then
		since=$(earlier "$since")
		since=$(reauthor "$since" "$name" "$email" "$signed")
		options+=(--subject-prefix="PATCH v$v" --range-diff="base..$since")
	fi
	format "$tip" "$tmp/mail" "${options[@]}"
	! grep -q '^\*\*\* BLURB HERE' "$tmp/mail/0000-cover-letter.patch" ||
		die "$EXIT_USAGE" "patches/0000-cover-letter.patch is not written yet"
	sed -i -e "s/^Range-diff:/Range-diff against v$((v - 1)):/" -e "/^base-commit: /i \\
The base is a root commit of the source of $(base version) in Debian's $(base package)\\
$(base package-version), which has tree $(base tree)." -e "/^base-commit: /a change-id: $id" \
		"$tmp/mail/0000-cover-letter.patch"
	for p in "$tmp"/mail/0*.patch; do
		case ${p##*/} in
		0000-*)	cat "$tmp"/mail/0*.patch >"$tmp/all" ;;
		*)	cp "$p" "$tmp/all" ;;
		esac
		recipients --m --no-r --no-l >"$tmp/to"
		recipients --no-m --r --l | comm -13 "$tmp/to" - >"$tmp/cc"
		{
			header To <"$tmp/to"
			header Cc <"$tmp/cc"
			! LC_ALL=C grep -q '[^ -~	]' "$p" || grep -q '^Content-Type: ' "$p" ||
				printf '%s\n' 'MIME-Version: 1.0' \
					'Content-Type: text/plain; charset=UTF-8' \
					'Content-Transfer-Encoding: 8bit'
		} >"$tmp/header-${p##*/}"
		# The b4 of Debian 12 cannot read a subject of several lines.
		sed -z -i 's/\n\(Subject: [^\n]*\)\n /\n\1 /' "$p"
		sed -i "1r $tmp/header-${p##*/}" "$p"
	done
	[ "$(am "$tmp/mail")" = "$tip" ] || die "$EXIT_BUILD" "git am of the mails gives other commits"
	mkdir -p "$out"
	cp "$tmp"/mail/0*.patch "$out"
	cat "$tmp/header-0000-cover-letter.patch"
	p=$(awk '/^[^ ]/ { n = 0 } (n += length + 1) > max { max = n } END { print max + 0 }' \
		"$tmp/header-0000-cover-letter.patch")
	[ "$p" -le 1024 ] || say "a header of the cover letter has $p characters: many lists hold a mail" \
		"with more than 1024 until a moderator has seen it"
	say "$out: $(g rev-list --count "base..$tip") patches and the cover letter, which goes to" \
		"$(grep -c @ "$tmp/header-0000-cover-letter.patch") addresses; next:" \
		"git send-email --no-thread $out/*.patch, then, for the next version: git tag v$v"
}

need git:git diff:diffutils awk:mawk tar:tar
command=${1-}
case $command in
import|base-tree|export|check|build-each|checkpatch|docs|bases|mail)
	shift
	. "$here/build-each.sh"
	. "$here/bases.sh"
	. "$here/docs.sh"
	series_lock
	"cmd_${command/-/_}" "$@"
	;;
*)
	die "$EXIT_USAGE" "commands: import base-tree export check build-each checkpatch docs bases mail"
	;;
esac
