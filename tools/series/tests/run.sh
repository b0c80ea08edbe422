#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests of series.sh and fetch.sh, over a tiny tree that stands for the kernel
# and a fake apt: quick, and without a network.
set -uo pipefail
unset BUILD REPO KERNEL_SRC KERNEL_TARBALL FORCE FROM V SINCE CHANGES BASE_SRC BASE_TARBALL SERIES_LOCKED
tests=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
. "$tests/../../lib/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
export REPO=$work/repo BUILD=$work/build NEED_MB=1 RETRY_DELAY=0
series=$tests/../series.sh
fetch=$tests/../fetch.sh
cd "$work" || exit
linux=$BUILD/linux

# expect CODE PATTERN DESCRIPTION COMMAND...: exit code, and a line of output.
expect()
{
	local code=$1 pattern=$2 what=$3 status=0 bad=0

	shift 3
	"$@" >"$log" 2>&1 || status=$?
	[ $status -eq "$code" ] && { [ -z "$pattern" ] || grep -q -- "$pattern" "$log"; } || bad=1
	echo "exit code $status" >>"$log"
	tap_result $bad "$what" "$log"
}

# is DESCRIPTION COMMAND...
is()
{
	expect 0 '' "$@"
}

commit()
{
	git -C "$1" add -Af . && git -C "$1" commit -q -m "$2"
}

set_base()
{
	sed -i "s/^$1:.*/$1: $2/" "$REPO/patches/base"
}

start()
{
	rm -rf "$BUILD" "$REPO"
	cp -a "$work/start" "$REPO"
}

# A kernel, small, and a repository without patches.
kernel=$work/kernel
mkdir -p "$kernel/mm" "$kernel/include/linux" "$work/start/patches"
printf '%s\n' 'VERSION = 7' 'PATCHLEVEL = 3' 'SUBLEVEL = 4' >"$kernel/Makefile"
seq 20 | tee "$kernel/include/linux/old.h" >"$kernel/mm/rmap.c"
printf 'config MM\n\tbool\n' >"$kernel/mm/Kconfig"
printf 'THE REST\n' >"$kernel/MAINTAINERS"
# What looks at its comments and documents complains about the word "wrong".
mkdir -p "$kernel/scripts" "$kernel/Documentation/mm"
printf '%s\n' '#!/bin/sh' 'shift 2; grep -Hn wrong "$@"' >"$kernel/scripts/kernel-doc"
chmod +x "$kernel/scripts/kernel-doc"
cat >>"$kernel/Makefile" <<'END'
htmldocs:
	@cd Documentation && grep -Hns wrong $$(echo $(SPHINXOPTS) | \
		sed 's/.*include_patterns=\([^ ]*\).*/\1/' | tr , ' ') >&2 || true
END
echo 'wrong already' | tee -a "$kernel/mm/rmap.c" "$kernel/Documentation/index.rst" >"$kernel/Documentation/mm/old.rst"
printf '%s\n' '.. _label:' 'wrong elsewhere' >"$kernel/Documentation/other.rst"
printf '/*\n' >"$kernel/.gitignore"
tar -C "$work" -cJf "$work/tarball" kernel
git -C "$kernel" init -q -b master
git -C "$kernel" config user.name Tester
git -C "$kernel" config user.email tester@localhost
commit "$kernel" base
git clone -q "$kernel" "$work/other" 2>/dev/null
sed 's/^SUBLEVEL.*/SUBLEVEL = 5/' "$kernel/Makefile" >"$work/other/Makefile"
git -C "$work/start" init -q -b main
git -C "$work/start" config user.name Tester
git -C "$work/start" config user.email tester@localhost
cat >"$work/start/patches/base" <<END
version: 7.3.4
package: linux-source-7.3
package-version: 7.3.4-1
suite: trixie-backports
tarball-sha256: $(sha256sum <"$work/tarball" | cut -d' ' -f1)
tree: $(git -C "$kernel" rev-parse 'HEAD^{tree}')
change-id: 20261121-five-0123456789ab
END

# Export, import and check.
start
is "import of a directory" env KERNEL_SRC="$kernel" "$series" import
git -C "$linux" config user.name Somebody
git -C "$linux" config user.email somebody@localhost
expect 2 'nothing of yours' "no commits: a second import changes nothing" \
	sh -c "'$series' import && echo 'nothing of yours' && exit 2"
sed -i 's/^5$/five/' "$linux/mm/rmap.c"
commit "$linux" 'mm/rmap: spell five by its name in English, which is not as short as 5 is'
echo 'int x;' >"$linux/mm/new.c"
echo 'Größe' >"$linux/include/linux/new.h"
printf 'config NEW\n\tbool\n' >>"$linux/mm/Kconfig"
commit "$linux" $'mm: add new\n\nBecause: of this.\n\nMore of it.'
work_tip=$(git -C "$linux" rev-parse series)
expect "$EXIT_USAGE" 'make export' "commits of a developer are not overwritten" "$series" import
is "and still there" [ "$(git -C "$linux" rev-parse series)" = "$work_tip" ]
echo 'int y;' >"$linux/mm/forgotten.c"
expect 0 'mm/forgotten.c' "export names files outside the series" "$series" export
rm "$linux/mm/forgotten.c"
is "new files are at their kernel paths" cmp "$linux/include/linux/new.h" "$REPO/include/linux/new.h"
is "Kconfig holds what is added" grep -q '^config NEW' "$REPO/Kconfig"
is "patches are by the repository's author" \
	[ "$(grep -h '^From: ' "$REPO"/patches/*.patch | sort -u)" = 'From: Tester <tester@localhost>' ]
is "without Signed-off-by" sh -c "! grep -q Signed-off-by '$REPO'/patches/*"
sed -i 's/\*\*\* BLURB HERE \*\*\*/By hand, in two (2):/' "$REPO/patches/0000-cover-letter.patch"
commit "$REPO" series
is "export again" "$series" export
is "is byte for byte the same, cover letter included" git -C "$REPO" diff --exit-code HEAD
is "check" "$series" check
is "import after export" "$series" import
tip=$(git -C "$linux" rev-parse series)
cp -a "$REPO" "$work/exported"
rm -rf "$BUILD"
is "import of a git tree and the patches" env KERNEL_SRC="$kernel" "$series" import
is "gives the same commit ids" [ "$(git -C "$linux" rev-parse series)" = "$tip" ]

echo 'int z;' >"$REPO/mm/new.c"
expect "$EXIT_BUILD" 'not ok .* mm/new.c' "check finds a mirrored file that differs" "$series" check
touch "$REPO/mm/stray.c"
expect "$EXIT_BUILD" 'not ok .* mm/stray.c' "check finds a file that the series does not create" \
	"$series" check
git -C "$REPO" checkout -q . && rm "$REPO/mm/stray.c"

touch -d @1 "$linux/mm/Kconfig" "$linux/mm/rmap.c"
sed -i 's/^+five/+FIVE/' "$REPO"/patches/0001-*
is "import of a changed patch" "$series" import
is "changes the file" grep -q FIVE "$linux/mm/rmap.c"
is "and touches no other" [ "$(stat -c %Y "$linux/mm/Kconfig")" = 1 ]
tip=$(git -C "$linux" rev-parse series)
sed -i 's/^-5$/-6/' "$REPO"/patches/0001-*
expect "$EXIT_BUILD" 'mm/rmap: spell five' "a patch that does not apply" "$series" import
is "leaves the branch alone" [ "$(git -C "$linux" rev-parse series)" = "$tip" ]
git -C "$REPO" checkout -q .

git -C "$linux" reset -q --hard base
expect "$EXIT_USAGE" 'FORCE=1' "a series that lost commits is work too" "$series" import
is "FORCE=1 takes the patches" env FORCE=1 "$series" import
is "both patches are back" [ -f "$linux/mm/new.c" ]
is "base-tree" "$series" base-tree
is "has no patches" [ ! -e "$BUILD/linux-base/mm/new.c" ]
git -C "$linux" reset -q --hard series~1
is "export without the last patch" "$series" export
is "takes its files away" [ ! -e "$REPO/mm/new.c" ]
is "and its patch" sh -c "! ls '$REPO'/patches/0002-* 2>/dev/null"
git -C "$REPO" checkout -q .
FORCE=1 "$series" import 2>/dev/null

# Comments and documents. add_text FILE TEXT: as its first line, in the series.
add_text()
{
	sed -i "1i $2" "$linux/$1"
	commit "$linux" "$1"
	"$series" export
	"$series" docs
}
mkdir "$work/sphinx"
printf '#!/bin/sh\n' >"$work/sphinx/sphinx-build"
chmod +x "$work/sphinx/sphinx-build"
PATH=$work/sphinx:$PATH
expect 0 '^ok .* kernel-doc mm/rmap.c (base: 1 ' "docs: a comment, wrong as before" "$series" docs
expect 0 '^ok .* htmldocs mm/old.rst (base: 2 ' "docs: a document, and the index" add_text Documentation/mm/old.rst right
# shellcheck disable=SC2016 # no command
expect 0 '^ok .* htmldocs mm/old.rst (base: 3 ' "docs: and the one that it refers to" \
	add_text Documentation/mm/old.rst 'See :ref:`that <label>`.'
expect "$EXIT_BUILD" '^not ok .* htmldocs' "docs: a document gets wrong" \
	add_text Documentation/mm/old.rst 'wrong now'
expect "$EXIT_BUILD" '^not ok .* kernel-doc mm/rmap.c' "docs: a comment that is wrong twice" \
	add_text mm/rmap.c 'wrong already'
sed -i 's/^htmldocs/none/' "$linux/Makefile"
expect "$EXIT_BUILD" '^# .*No rule to make target' "docs: documents cannot be built" "$series" docs
git -C "$REPO" checkout -q . && git -C "$REPO" clean -fdq
FORCE=1 "$series" import 2>/dev/null

# Mail.
expect "$EXIT_USAGE" 'FROM' "mail without FROM" "$series" mail "$work/mail"
expect "$EXIT_USAGE" 'FROM' "mail with half an address" env FROM='Some One' "$series" mail "$work/mail"
expect "$EXIT_USAGE" 'not empty' "mail to a folder with files" env FROM='A B <a@b>' "$series" mail "$REPO"
export FROM='Sönd R <s@r>'
mkdir -p "$work/bin" "$linux/scripts"
printf '%s\n' 'print "\"L. Ist\" <l\@ist>\n";' >"$linux/scripts/get_maintainer.pl"
is "mail" "$series" mail "$work/mail"
is "each patch is signed off" [ "$(grep -l "^Signed-off-by: $FROM" "$work"/mail/000[12]* | wc -l)" = 2 ]
is "and has a recipient" [ "$(grep -l '^To: "L. Ist" <l@ist>' "$work"/mail/*.patch | wc -l)" = 3 ]
is "and a character set" [ "$(grep -h '^Content-Type: ' "$work"/mail/*.patch | sort | uniq -c | tr -s ' ')" = \
	" 3 Content-Type: text/plain; charset=UTF-8" ]
cover=$work/mail/0000-cover-letter.patch
is "the cover letter names the base" grep -qx "base-commit: $(git -C "$linux" rev-parse base)" "$cover"
is "and the series" grep -qx "change-id: 20261121-five-0123456789ab" "$cover"
is "the mails are a thread" [ "$(grep -h '^In-Reply-To: ' "$work"/mail/*.patch | sort | uniq -c | tr -s ' ')" = \
	" 2 In-Reply-To: $(sed -n 's/^Message-Id: //p' "$cover")" ]
other=$work/other
git -C "$other" config user.name x
git -C "$other" config user.email x@y
is "each subject is one line" [ "$(grep -hc '^Subject: .*as 5 is$' "$work"/mail/0001*)" = 1 ]
is "git am of the mails" git -C "$other" am -q "$work"/mail/000[12]*
is "gives the series" git -C "$other" diff --exit-code HEAD "$(git -C "$other" fetch -q "$linux" series &&
	git -C "$other" rev-parse FETCH_HEAD)"
cat >>"$linux/scripts/get_maintainer.pl" <<'END'
print "somebody$_\@ist\n" foreach grep { "@ARGV" =~ /--no-m / } 1 .. 70;
END
expect 0 'goes to 71 addresses' "the number of recipients" "$series" mail "$work/many"
is "a long Cc is named" [ -n "$(grep 'has [0-9]* characters' "$log")" ]
is "a short one is not" sh -c "sed -i 's/70/10/' '$linux/scripts/get_maintainer.pl' &&
	! '$series' mail '$work/few' 2>&1 | grep 'has [0-9]* characters'"

# What the README says: change a patch, export, check, mail it again.
git -C "$REPO" tag v1
git -C "$linux" config user.name Somebody
git -C "$linux" config user.email somebody@localhost
is "stop at a patch" env GIT_SEQUENCE_EDITOR="sed -i '1s/^pick/edit/'" git -C "$linux" rebase -q -i base
sed -i 's/^five$/five, not 5/' "$linux/mm/rmap.c"
is "change it" git -C "$linux" commit -q -a --amend --no-edit
expect "$EXIT_USAGE" 'not finished' "export in the middle" "$series" export
is "the others after it" git -C "$linux" rebase --continue
is "export of it" "$series" export
is "changes that patch only" [ "$(git -C "$REPO" diff --name-only)" = "patches/$(cd "$REPO/patches" && ls 0001-*)" ]
is "check of it" "$series" check
export CHANGES=$work/changes
echo '- five is not 5' >"$CHANGES"
git -C "$REPO" tag empty "$(git -C "$REPO" mktree </dev/null | xargs git -C "$REPO" commit-tree -m empty)"
cp "$REPO/patches/base" "$work/base"
set_base tree 0
git -C "$REPO" tag moved "$(git -C "$REPO" stash create)"
mv "$work/base" "$REPO/patches/base"
again="$series mail $work/again"
# shellcheck disable=SC2086 # a command and its arguments
{
	expect "$EXIT_USAGE" 'V=x: not a version' "mail of no version" env V=x $again
	expect "$EXIT_USAGE" 'for V=2' "mail of the first version, with changes" env V=1 $again
	expect "$EXIT_USAGE" 'for V=2' "or with an earlier one" env V=1 CHANGES= SINCE=v1 $again
	expect "$EXIT_USAGE" 'needs CHANGES' "mail of another version, without changes" env V=2 CHANGES= $again
	expect "$EXIT_USAGE" 'SINCE=v2: no revision' "no earlier version" env V=3 $again
	expect "$EXIT_USAGE" 'SINCE=empty: no revision' "or one without patches" env V=2 SINCE=empty $again
	expect "$EXIT_USAGE" 'SINCE=moved: on another base' "or one on another base" env V=2 SINCE=moved $again
	is "leaves nothing" [ ! -e "$work/again" ]
	expect 0 'git tag v2' "mail of version 2" env V=2 $again
}
cover=$work/again/0000-cover-letter.patch
is "has that in its subjects" [ "$(grep -h '^Subject: ' "$work"/again/*.patch | grep -c 'PATCH v2 [012]/2\]')" = 3 ]
is "and what has changed" [ "$(sed -n '/^By hand/,/^Sönd/p' "$cover" | tr '\n' '|')" = \
	'By hand, in two (2):||Changes since v1:||- five is not 5||Sönd R (2):|' ]
is "and a range-diff" [ "$(sed -n '/^Range-diff against v1:/,$s/^\([12]:\)  [0-9a-f]* \(.\) .*/\1 \2/p' "$cover" |
	tr '\n' '|')" = '1: !|2: =|' ]
git -C "$other" reset -q --hard origin/master
is "git am of version 2" git -C "$other" am -q "$work"/again/000[12]*
is "gives what was changed" git -C "$other" diff --exit-code HEAD "$(git -C "$other" fetch -q "$linux" series &&
	git -C "$other" rev-parse FETCH_HEAD)"

# Other bases.
near=$work/near
mkdir "$near"
git -C "$kernel" archive HEAD | tar -C "$near" -x
sed -i 's/^SUBLEVEL.*/SUBLEVEL = 9/' "$near/Makefile"
sed -i 's/^3$/drei/' "$near/mm/rmap.c"
echo 'config OTHER' >>"$near/mm/Kconfig"
expect 0 '^Linux 7.3.9, ' "which patches apply to another kernel" env BASE_SRC="$near" "$series" bases "$work/bases"
is "by a merge" grep -q '^ 1 mm/rmap: spell five .* 0  applies with a 3-way merge$' "$work/bases"
is "or not" grep -q '^ 2 mm: add new  *0  conflicts in mm/Kconfig$' "$work/bases"
is "and how many" grep -q '^2 patches: 0 apply as they are, 1 with a 3-way merge; 1 conflict, 0 are' "$work/bases"
git -C "$kernel" archive HEAD | tar -C "$near" -x
sed -i 's/^5$/fünf/' "$near/mm/rmap.c"
tar -C "$work" -cJf "$work/near.tar.xz" near
expect 0 '^ 1 .* 0  conflicts in mm/rmap.c$' "on a tarball" env BASE_TARBALL="$work/near.tar.xz" "$series" bases
is "what comes after a conflict" [ "$(grep -c -e '^ 2 mm: add new  *1  applies$' \
	-e '^1 of those that apply come after' "$log")" = 2 ]
expect 0 '^2 patches: 0 apply as they are, .* 2 are there already' "what is there already" env BASE_SRC="$linux" "$series" bases
rm "$near/mm/rmap.c" "$near/include/linux/old.h"
expect 0 '^ 1 .* 0  conflicts in mm/rmap.c$' "a file that is not there" env BASE_SRC="$near" "$series" bases
cp "$work/bases" "$work/bases.was"
expect "$EXIT_FETCH" 'no such directory' "no other kernel" env BASE_SRC=/nowhere "$series" bases "$work/bases"
expect "$EXIT_FETCH" 'cannot unpack' "no tarball of one" env BASE_TARBALL="$log" "$series" bases "$work/bases"
expect "$EXIT_FETCH" 'no kernel source' "or something else" env BASE_SRC="$work/bin" "$series" bases "$work/bases"
is "leaves the former table" cmp "$work/bases" "$work/bases.was"
git -C "$REPO" checkout -q .
unset CHANGES

# The source: wrong in several ways, nothing may stay of it.
start
expect "$EXIT_FETCH" 'version 7.3.5' "a source of another version" \
	env KERNEL_SRC="$work/wrong" sh -c "mkdir '$work/wrong' &&
	cp '$kernel/Makefile' '$work/wrong' && sed -i 's/= 4/= 5/' '$work/wrong/Makefile' && exec '$series' import"
is "leaves nothing" [ ! -e "$linux" ]
sed -i 's/= 5/= 4/' "$work/wrong/Makefile"
expect "$EXIT_FETCH" 'tree id' "a source with another content" env KERNEL_SRC="$work/wrong" "$series" import
is "leaves nothing" [ ! -e "$linux" ]
expect "$EXIT_FETCH" 'no such directory' "no source" env KERNEL_SRC="$work/none" "$series" import
expect 0 verified "a tarball" env KERNEL_TARBALL="$work/tarball" "$fetch"
is "import of a tarball" "$series" import
set_base tarball-sha256 0000
expect "$EXIT_FETCH" 'SHA-256' "a tarball with another checksum" env KERNEL_TARBALL="$work/tarball" "$fetch"
expect "$EXIT_ENV" 'MB free' "a full disk" env NEED_MB=999999999 KERNEL_TARBALL= "$fetch"
start
ln -s "$(command -v bash)" "$(command -v env)" "$(command -v dirname)" "$(command -v realpath)" \
	"$(command -v sed)" "$work/bin"
expect "$EXIT_MISSING" 'missing: git' "a missing tool" env PATH="$work/bin" "$series" import

# A fake apt: FAKE_VERSION is what the archive has, FAKE_FAIL the step that fails.
cat >"$work/bin/apt-get" <<'END'
#!/bin/bash
[ "$1" = indextargets ] && { echo "Packages main bookworm http://mirror/debian/"; exit; }
case " $* " in
*" $FAKE_FAIL "*) echo half >"$PWD/linux-source.deb"; echo interrupted >&2; exit 100 ;;
*" download "*)	dpkg-deb -b --root-owner-group "$FAKE_DEB" . >/dev/null ;;
esac
END
cat >"$work/bin/apt-cache" <<'END'
#!/bin/bash
case " $* " in
*" pkgnames "*)	echo linux-source-7.3; exit ;;
esac
echo "linux-source-7.3 | $FAKE_VERSION | http://mirror trixie-backports/main amd64 Packages"
END
chmod +x "$work"/bin/apt-*
mkdir -p "$work/deb/DEBIAN" "$work/deb/usr/src"
cp "$work/tarball" "$work/deb/usr/src/linux-source-7.3.tar.xz"
printf '%s\n' 'Package: linux-source-7.3' 'Version: 7.3.4-1' 'Architecture: all' \
	'Maintainer: T <t@t>' 'Description: t' >"$work/deb/DEBIAN/control"
touch "$work/keyring"
export KEYRING=$work/keyring PATH=$work/bin:$PATH FAKE_DEB=$work/deb FAKE_VERSION=7.3.9-1 FAKE_FAIL=none
expect "$EXIT_FETCH" 'newest there: linux-source-7.3 7.3.9-1' "the pinned version is gone" "$fetch"
export FAKE_VERSION=7.3.4-1
expect "$EXIT_FETCH" 'attempt 3 of 3' "an interrupted download is tried again" env FAKE_FAIL=download "$fetch"
is "and leaves nothing" [ -z "$(find "$BUILD" -type f ! -name series.lock)" ]
expect "$EXIT_FETCH" 'no Debian mirror' "no mirror serves the suite" env FAKE_FAIL=update "$fetch"
expect 0 verified "a download" "$fetch"
is "import of it" "$series" import
cp "$work"/exported/patches/0*.patch "$REPO/patches"
expect "$EXIT_FETCH" 'no other kernel source' "the archive has this base only" "$series" bases
expect 0 '^Linux 7.3.9-1, linux-source-7.3 of Debian unstable$' "or another" env FAKE_VERSION=7.3.9-1 "$series" bases

# The tools themselves.
is "C and shell have the same exit codes" diff \
	<(sed -n 's/^#define \(EXIT_[A-Z]*\)[[:space:]]*\([0-9]\).*/\1=\2/p' "$tests/../../lib/exit_codes.h") \
	<(sed -n 's/^\(EXIT_[A-Z]*=[0-9]\).*/\1/p' "$tests/../../lib/exit-codes.sh")
cat >"$work/make" <<'END'
#!/bin/sh
case $2 in
pass) echo "3 passed, 0 failed, 1 skipped" ;;
fail) echo "1 passed, 2 failed, 0 skipped"; exit 2 ;;
break) exit 2 ;;
kunit) echo "5 passed, 0 failed, 0 skipped of $SCENARIO"; echo "5 passed, 0 failed, 0 skipped" ;;
selftests)
	echo "guest: audit: folios 99, differences 9, unstable 9"
	echo "splat: console.log:3: cow: BUG: x"
	echo "known splat: console.log:4: cow: BUG: y"
	echo "audit: folios 70, differences 2, unstable 1 (after 1 of 1 tests)"
	echo "7 passed, 1 failed, 2 skipped"
	exit 2 ;;
esac
END
chmod +x "$work/make"
steps="env MAKE=$work/make $tests/../../lib/steps.sh"
# shellcheck disable=SC2086 # a command and its arguments
{
	expect 0 "^3 passed, 0 failed, 1 skipped" "steps: a step without a count is set-up" $steps setup pass
	expect "$EXIT_TEST" "^4 passed, 2 failed, 1 skipped" "steps: the sum of the counts" $steps pass fail
	expect "$EXIT_BUILD" "stopped at break" "steps: broken set-up is the end" $steps break pass
	expect "$EXIT_TEST" "^3 passed, 1 failed, 1 skipped" "steps: or a failure with -k" $steps -k break pass
	expect 0 "^5 passed, 0 failed, 0 skipped of rt$" "steps: with a scenario" $steps kunit:rt
	expect 0 "^rt  *5/0/0  *-  *-  *-  *0 " "steps: a table of scenarios" $steps kunit:rt
	expect "$EXIT_TEST" "^kasan  *5/0/0  *7/1/2  *70  *2  *1 " "steps: a line for each" $steps -k pass kunit:kasan selftests:kasan
	expect "$EXIT_TEST" "^rt  *-  *0/1/0  *-  *-  *0 " "steps: with what is broken" $steps -k break:rt kunit:kasan
	expect "$EXIT_TEST" "^12 passed, 1 failed, 2 skipped" "steps: the sum of the scenarios" $steps -k kunit:rt selftests:kasan
	SCENARIO=mine expect 0 "^5 passed, 0 failed, 0 skipped of mine$" "steps: without one, it is the caller's" $steps kunit
}

# What is made of the counts of tools/bench.
bench=$tests/../../bench
cat >"$work/bench.csv" <<'END'
kernel,part,case,backing,kib,mib,sharers,faults,instructions,vm_locked,vm_lines_dirtied
base,cases,fork,nothing,0,0,0,1,100,0,10
base,cases,fork,2M-ptes,2048,64,0,1,1100,32000,16010
series,cases,fork,nothing,0,0,0,1,100,0,10
series,cases,fork,2M-ptes,2048,64,0,1,850,320,202
END
printf 'fork 2M-ptes net_instructions 0.75\nfork 2M-ptes vm_locked 0.005\n' >"$work/targets"
sed 's/850,320/900,3200/' "$work/bench.csv" >"$work/worse.csv"
table="awk -f $bench/read.awk -f $bench/table.awk -v targets=$work/targets"
# shellcheck disable=SC2086 # a command and its arguments
{
	expect 0 "^fork  *2M-ptes  *64  *1100  *0.7727  *0.7500 " "bench: a table" $table "$work/bench.csv"
	expect 0 "net_instructions  *<= 0.75  *0.7500  met$" "bench: a target is met" $table "$work/bench.csv"
	expect 0 "vm_locked  *<= 0.005  *0.0100  MISSED$" "bench: or missed" $table "$work/bench.csv"
	expect 0 "net_instructions  *<= 0.75  *0.8000  MISSED, by less" "bench: or by less than base differs" \
		$table -v raw=<(sed '/2M/s/1100/1200/' "$work/bench.csv") "$work/worse.csv"
}
sed 's/^series/mine/' "$work/bench.csv" >"$work/mine.csv"
# shellcheck disable=SC2086 # a command and its arguments
expect 0 "^fork  *2M-ptes .*0.7500" "bench: other kernels" $table "$work/mine.csv"
is "bench: have no targets" [ -z "$(grep target "$log")" ]
expect 0 "^ok 1 .* vm_locked 10.0 " "bench: the check of fork()" \
	awk -f "$bench/read.awk" -f "$bench/check.awk" "$work/bench.csv"
expect 0 "^not ok 1 .* vm_locked 100.0 " "bench: fails if fork() gets worse" \
	awk -f "$bench/read.awk" -f "$bench/check.awk" "$work/worse.csv"
expect 0 "^not ok 1 " "bench: or was not measured" awk -f "$bench/read.awk" -f "$bench/check.awk" /dev/null
expect "$EXIT_USAGE" "not NAME=KERNEL" "bench: which kernel" "$bench/bench.sh" "$work/out" /nowhere
expect "$EXIT_USAGE" "no such kernel" "bench: a kernel that is not there" "$bench/bench.sh" "$work/out" a=/nowhere
is "bench: and leaves nothing" [ ! -e "$work/out" ]

# A kernel to install: what is refused, and that it leaves earlier packages alone.
guest=$tests/../../guest
mkdir -p "$work/tree/tools/testing/selftests/mm" "$work/packages" "$work/image"
cp "$kernel/Makefile" "$work/tree"
echo earlier >"$work/packages/linux-image-7.3.4-folio-mapcount_1_amd64.deb"
echo hello >"$work/nonsense"
echo CONFIG_ARM64=y >"$work/arm64"
for config in /nowhere "$work" "$work/nonsense" "$work/arm64"; do
	expect "$EXIT_USAGE" "^kernel.sh: $config: not the configuration" "deb: CONFIG=$config" \
		"$guest/kernel.sh" "$work/tree" deb "$work/deb-kernel" "$work/packages" "$config"
done
expect "$EXIT_BUILD" "failed: kmake" "deb: a tree that does not build" \
	"$guest/kernel.sh" "$work/tree" deb "$work/deb-kernel" "$work/packages"
is "deb: and earlier packages are untouched" grep -q earlier "$work"/packages/*.deb
# A make that builds what it is told to, at once, and the kernel's script.
mkdir -p "$work/kmake" "$work/tree/scripts/kconfig"
cat >"$work/kmake/make" <<'END'
#!/bin/bash
for arg; do
	case $arg in
	O=*)		cd "${arg#O=}" || exit ;;
	tinyconfig)	: >.config ;;
	kernelversion)	echo 7.3.4 ;;
	KDEB_PKGVERSION=*) version=${arg#*=} ;;
	bindeb-pkg)	[ -z "${FAKE_BROKEN-}" ] || exit 2
			mkdir -p include/config
			echo 7.3.4-folio-mapcount >include/config/kernel.release
			for name in linux-{image,headers}-7.3.4-folio-mapcount linux-libc-dev; do
				echo "$$" >"../${name}_${version}_amd64.deb"
			done ;;
	esac
done
END
cat >"$work/tree/scripts/kconfig/merge_config.sh" <<'END'
#!/bin/sh
cat "$5" >>"$4"
END
chmod +x "$work/kmake/make" "$work/tree/scripts/kconfig/merge_config.sh"
git -C "$work/tree" init -q -b base
git -C "$work/tree" config user.name Tester
git -C "$work/tree" config user.email tester@localhost
commit "$work/tree" base
git -C "$work/tree" checkout -q -b series
touch "$work/tree/new"
commit "$work/tree" new
deb()
{
	PATH=$work/kmake:$PATH "$guest/kernel.sh" "$work/tree" deb "$work/deb-kernel" "$work/packages" "$@"
}

packages()
{
	(cd "$work/packages" && echo ./*)
}
version=7.3.4-1+g$(git -C "$work/tree" rev-parse --short=12 HEAD)
wanted="./linux-headers-7.3.4-folio-mapcount_${version}_amd64.deb ./linux-image-7.3.4-folio-mapcount_${version}_amd64.deb"
expect "$EXIT_BUILD" "failed: kmake .*bindeb-pkg" "deb: packages that cannot be built" env FAKE_BROKEN=1 bash -c "$(declare -f deb)
	work=$work guest=$guest; deb"
is "deb: and earlier packages are untouched" grep -q earlier "$work"/packages/*.deb
expect 0 "/linux-image-.*_${version}_amd64.deb$" "deb: packages" deb
is "deb: are there, in place of the earlier ones" [ "$(packages)" = "$wanted" ]
expect 0 "up to date" "deb: nothing has changed" deb
echo x >"$work/tree/new"
expect 0 "_${version}+dirty_amd64.deb$" "deb: something has changed" deb
expect 0 "_${version}+dirty_amd64.deb$" "deb: and who knows what else" deb
git -C "$work/tree" checkout -q new
expect 0 "_${version}_amd64.deb$" "deb: and is as before" deb
printf 'CONFIG_X86_64=y\nCONFIG_OF_A_MACHINE=y\n' >"$work/config"
expect 0 "_${version}_amd64.deb$" "deb: a configuration of one's own" deb "$work/config"
is "deb: is what it is made from" grep -qx CONFIG_OF_A_MACHINE=y "$work/deb-kernel/linux/.config"
is "deb: without what that needs not" [ "$(grep -c EXT4 "$work/deb-kernel/linux/.config")" -eq 0 ]
expect 0 "up to date" "deb: that has not changed either" deb "$work/config"
echo CONFIG_MORE=y >>"$work/config"
expect 0 "_${version}_amd64.deb$" "deb: now it has" deb "$work/config"
expect "$EXIT_USAGE" "0 packages of the kernel" "deb-test: no package" \
	"$guest/debian.sh" "$work/image" "$work/image" "$work/root"
expect "$EXIT_USAGE" "not an image" "deb-test: no selftests" \
	"$guest/debian.sh" "$work/packages" "$work/image" "$work/root"
touch "$work/packages/linux-image-7.3.5-folio-mapcount_1_amd64.deb"
expect "$EXIT_USAGE" "2 packages of the kernel" "deb-test: two packages" \
	"$guest/debian.sh" "$work/packages" "$work/image" "$work/root"
is "deb-test: and leaves nothing" [ ! -e "$work/root" ]

if command -v shellcheck >/dev/null; then
	is "shellcheck" shellcheck -x "$tests"/*.sh "$tests"/../*.sh "$tests"/../../lib/*.sh \
		"$bench"/*.sh "$bench"/*/*.sh "$tests"/../../model/*.sh "$guest"/*.sh \
		"$guest"/rootfs/{package,pass-plan,run-test,setup}
else
	tap_skip "shellcheck" "not installed"
fi
tap_end
