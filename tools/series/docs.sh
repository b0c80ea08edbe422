# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2016,SC2154 # series.sh has the variables
#
# docs, a part of series.sh: of the files that the series touches, the kernel's own
# kernel-doc and "make htmldocs" say nothing that they do not say of the base.
#
# All of Documentation takes long. So what is built are the touched documents, the
# indexes that lead to them, and those with labels that they refer to. What is said
# of references to others is said of the base as well.

# documents: these, as patterns for Sphinx.
documents()
{
	local f labels

	for f in "${touched[@]}"; do
		echo "$f"
		while [ "$f" != Documentation ]; do
			f=$(dirname "$f")
			echo "$f/index.rst"
		done
	done
	labels=$({ g grep -hoE ':ref:`[^`]*`' series -- "${touched[@]}" || true; } |
		 sed 's/^:ref:`//; s/`$//; s/.*<\(.*\)>$/\1/' | sort -u | paste -sd'|')
	[ -z "$labels" ] || g grep -liE "^\.\. _($labels):" series -- 'Documentation/*.rst' \
		':!Documentation/translations' | sed 's/^series://' || true
}

# said TREE: each warning in the log once, without line numbers, to compare trees.
said()
{
	sort -u "$tmp/log" | sed "s|$1/||g; s/\(\.[a-z]*\):[0-9]\+\(:[0-9]\+\)\?/\1/" | sort
}

# comments TREE FILE: what kernel-doc says of it, if it is there.
comments()
{
	: >"$tmp/log"
	[ ! -f "$1/$2" ] || (cd "$1" && scripts/kernel-doc -none -Wall "$2") >"$tmp/log" 2>&1 || true
	said "$1"
}

# html TREE: what Sphinx says; netlink would be built whatever the patterns are.
html()
{
	rm -rf "$BUILD/docs"
	make -s -C "$1" O="$BUILD/docs" htmldocs \
		SPHINXOPTS="-D include_patterns=$patterns -D exclude_patterns=netlink" \
		9>&- >/dev/null 2>"$tmp/log" || return
	said "$1"
}

# nothing_new DESCRIPTION FUNCTION ARGUMENT...: of both trees.
nothing_new()
{
	local what=$1 function=$2 bad=0

	shift 2
	if "$function" "$BUILD/linux-base" "$@" >"$tmp/base" && "$function" "$LINUX" "$@" >"$tmp/series"; then
		comm -13 "$tmp/base" "$tmp/series" >"$tmp/new"
		[ ! -s "$tmp/new" ] || bad=1
		tap_result $bad "$what (base: $(wc -l <"$tmp/base") warnings)" "$tmp/new"
	else
		tap_result 1 "$what" "$tmp/log"
	fi
}

cmd_docs()
{
	local f touched patterns

	need make:make python3:python3 sphinx-build:python3-sphinx
	# Debian's modules go with Debian's python3, whatever else is in the path.
	PATH=/usr/bin:$PATH
	python3 -c 'import yaml' 2>/dev/null || die "$EXIT_MISSING" "missing for htmldocs; apt-get install python3-yaml"
	cmd_import
	cmd_base_tree
	for f in $(g diff --name-only --diff-filter=d base series -- '*.[ch]' ':!tools'); do
		nothing_new "kernel-doc $f" comments "$f"
	done
	mapfile -t touched < <(g diff --name-only --diff-filter=d base series -- 'Documentation/*.rst')
	if [ ${#touched[@]} -gt 0 ]; then
		patterns=$(documents | sed 's|^Documentation/||' | sort -u | paste -sd,)
		nothing_new "htmldocs ${touched[*]#Documentation/}" html
	fi
	tap_end || exit "$EXIT_BUILD"
}
