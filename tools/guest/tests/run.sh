#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests of the runner over golden logs; no guest is booted. A case golden/NAME is
# a folder as a run leaves it, with the wanted exit code and verdict in its file
# "want". What is not in it is as in golden/pass.
set -u

tests=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../../lib/lib.sh
. "$tests/../../lib/lib.sh"
guest=${GUEST:?the runner under test}
work=$(mktemp -d) || exit "$EXIT_ENV"
trap 'rm -rf "$work"' EXIT
mkdir "$work/lists"

# check CODE TEXT COMMAND...: the exit code and a text (basic regular
# expression) in the output.
check()
{
	local code=$1 text=$2 got

	shift 2
	"$@" >"$work/out" 2>&1
	got=$?
	[ "$got" -eq "$code" ] || { echo "exit code $got, not $code" >>"$work/out"; return 1; }
	[ -z "$text" ] || grep -q -e "$text" "$work/out" || { echo "no \"$text\"" >>"$work/out"; return 1; }
}

result()
{
	tap_result $? "$1" "$work/out"
}

lists()
{
	printf '%s\n' "${1-}" >"$work/lists/known-skips"
	printf '%s\n' "${2-}" >"$work/lists/known-splats"
}

# golden NAME [COPY]: all of it, in a folder that recheck may write its reports to.
golden()
{
	local copy=$work/${2:-r}

	rm -rf "$copy"
	cp -r "$tests/golden/pass" "$copy"
	cp -r "$tests/golden/$1/." "$copy"
}

lists 'alpha/*swap case | no swap in this golden log' 'WARNING: * known_function* | a known one'
for dir in "$tests"/golden/*/; do
	name=$(basename "$dir")
	read -r code text <"$dir/want"
	for runner in "$guest" ${GUEST_ASAN:+"$GUEST_ASAN"}; do
		golden "$name"
		ASAN_OPTIONS=detect_leaks=0 check "$code" "$text" \
			"$runner" recheck "$work/r" --lists "$work/lists"
		result "$name${runner#"$guest"}"
	done
	if command -v xmllint >/dev/null; then
		check 0 '' xmllint --noout "$work/r/junit.xml"
		result "$name: junit.xml is well-formed"
	else
		tap_skip "$name: junit.xml" "no xmllint"
	fi
	if command -v jq >/dev/null; then
		check 0 '' jq -e .verdict "$work/r/summary.json"
		result "$name: summary.json is well-formed"
	else
		tap_skip "$name: summary.json" "no jq"
	fi
done

golden pass
lists 'alpha/swap case'
check "$EXIT_USAGE" 'without a reason' "$guest" recheck "$work/r" --lists "$work/lists"
result "known skip without a reason is refused"
lists '' 'WARNING: * known_function* | '
check "$EXIT_USAGE" 'without a reason' "$guest" recheck "$work/r" --lists "$work/lists"
result "known splat without a reason is refused"
for entry in '@ alpha | x' '@golden | x' '@ | x'; do
	lists "$entry"
	check "$EXIT_USAGE" 'not "@SCENARIO pattern"' "$guest" recheck "$work/r" --lists "$work/lists"
	result "known skip with scenario and without pattern is refused: $entry"
done

# known_in CODE TEXT CASE SKIPS SPLATS DESCRIPTION
known_in()
{
	golden "$3"
	lists "$4" "$5"
	check "$1" "$2" "$guest" recheck "$work/r" --lists "$work/lists"
	result "$6"
}
skip='alpha/*swap case | no swap' splat='WARNING: * known_function* | a known one'
known_in 0 '1 skipped$' known-skip "@golden $skip" '' "a known skip of this scenario"
known_in 0 '1 skipped$' known-skip "@other,golden $skip" '' "a known skip of this scenario and another"
known_in 1 'unexpected skip' known-skip "@other $skip" '' "a known skip of another scenario"
known_in 1 'unexpected skip' known-skip "@gold,olden $skip" '' "scenarios are not patterns"
known_in 0 'known splat' splat-known '' "@golden $splat" "a known splat of this scenario"
known_in "$EXIT_SPLAT" 'known_function' splat-known '' "@other $splat" "a known splat of another scenario"
lists
for name in $(sed -n 's/^@\([^ ]*\) .*/\1/p' "$tests"/../known-* | tr , ' '); do
	check 0 '' test -f "$tests/../scenarios/$name.scenario"
	result "known lists: there is a scenario $name"
done

scenario=$work/s.scenario
bad_scenario()
{
	printf '%b' "$1" >"$scenario"
	check "$EXIT_USAGE" "$2" "$guest" scenario "$scenario" tests
	result "scenario: $3"
}
bad_scenario 'title = x\nmemroy = 3\n' ':2: unknown key memroy' "unknown key with its line"
bad_scenario 'memory = lots\n' ':1: bad value of memory' "bad number"
bad_scenario 'just words\n' ':1: not "key = value"' "no equals sign"
bad_scenario 'nodes = 4\ncpus = 2\n' 'same number of CPUs' "more nodes than CPUs"
bad_scenario 'arch = vax\n' ':1: bad value of arch: vax' "unknown architecture"
bad_scenario 'root = /dev/vda\n' ':1: bad value of root' "root is yes or no"
bad_scenario 'audit = yes\n' ':1: bad value of audit: yes' "audit is required or optional"
for file in "$tests"/../scenarios/*.scenario; do
	name=$(basename "$file")
	check 0 . "$guest" scenario "$file" tests
	result "$name is valid"
	for config in $("$guest" scenario "$file" config); do
		check 0 '' test -f "$tests/../config/$config.config"
		result "$name: there is a fragment $config"
	done
done

# compare BASE OTHER CODE TEXT DESCRIPTION
compare()
{
	golden "$1" 1
	golden "$2" 2
	check "$3" "$4" "$guest" compare "$work/1" "$work/2" --lists "$work/lists"
	result "compare: $5"
}
compare pass pass 0 ' 0 worse' "equal"
compare pass fail "$EXIT_TEST" 'worse: *alpha: .*second.*pass -> fail' "a failure is worse"
compare fail pass 0 'better: *alpha: .*second' "the other way it is better"
compare pass truncated "$EXIT_TEST" 'pass -> missing' "a missing case is worse"
compare pass splat-in-test "$EXIT_TEST" 'worse: *alpha: pass -> splat' "a splat is worse"
compare pass unexpected-skip "$EXIT_TEST" 'pass -> skip' "a new skip is worse"
compare pass audit-clean 0 ' 0 worse' "an audit that finds nothing is not worse than none"
compare audit-clean audit-difference "$EXIT_TEST" 'worse: *alpha: pass -> audit' "a difference is worse"
for n in 1 2; do
	golden pass "$n"
	sed -i "s/first/6${n} of 90 moved (${n}8%)/; s/third/run ${n} of 3/" "$work/$n/ktap.log"
done
check "$EXIT_TEST" 'worse: *alpha: .*run 1 of 3.*missing' "$guest" compare "$work/1" "$work/2" --lists "$work/lists"
result "compare: other numbers in a name are another case"
! grep -q moved "$work/out"
result "compare: but not where the name has a percentage"
check "$EXIT_USAGE" 'not a result folder' "$guest" recheck "$work/nothing" --lists "$work/lists"
result "recheck of no result folder"

# A QEMU of our own for what only a live process shows.
mkdir "$work/bin" "$work/image"
echo x >"$work/kernel"
printf '' >"$work/image/initramfs.cpio"
cat >"$work/bin/qemu-system-x86_64" <<'FAKE'
#!/bin/bash
for arg; do
	case $arg in
	file,id=console,path=*) console=${arg#*path=} ;;
	file,id=ktap,path=*) ktap=${arg#*path=} ;;
	*/initrd) initrd=$arg ;;
	esac
done
case $FAKE in
none)	exit 1 ;;
silent)	echo "[    0.0] Linux version" >"$console"; exec sleep 60 ;;
noisy)	while sleep 0.1; do echo x; done >"$console" ;;
stuck)	printf '#! ready\n#! begin 1 alpha\n' >"$ktap"; exec sleep 60 ;;
audit)	printf '#! ready\n#! begin 1 alpha\n#! audit: begin\n' >"$ktap"; exec sleep 60 ;;
plan)	tr '\0' '~' <"$initrd" >"$console" ;;
esac
FAKE
chmod +x "$work/bin/qemu-system-x86_64"
ln -s qemu-system-x86_64 "$work/bin/qemu-system-aarch64"
ln -s qemu-system-x86_64 "$work/bin/qemu-system-i386"
printf 'tests = alpha beta\nlimit_boot = 2\nlimit_silence = 1\nlimit_run = 20\ntcg_factor = 1\n' >"$scenario"
# live FAKE CODE TEXT DESCRIPTION [OPTION...]
live()
{
	local what=$4

	FAKE=$1 PATH=$work/bin:$PATH check "$2" "$3" "$guest" run --scenario "$scenario" \
		--kernel "$work/kernel" --image "$work/image" --results "$work/results" \
		--accel tcg --lists "$work/lists" "${@:5}"
	result "live: $what"
}

# left FILE TEXT DESCRIPTION: what the last run left in its folder.
left()
{
	check 0 "$2" cat "$work/results/latest/$1"
	result "live: $3"
}
live none "$EXIT_LOST" 'report is cut short' "QEMU exits at once"
live silent "$EXIT_HANG" 'of silence in phase "boot"' "silence"
live noisy "$EXIT_HANG" 'not booted' "noise, but no boot"
live stuck "$EXIT_HANG" 'of silence in phase "test alpha"' "a test hangs"
live audit "$EXIT_HANG" 'of silence in phase "audit after alpha"' "the audit hangs"
check 0 '' test "$(readlink "$work/results/latest")" = "$(find "$work/results" -name '2*' -printf '%f\n' | sort | tail -n 1)"
result "live: latest points to the last run"
check 0 '' test -z "$(find "$work/results" -name initrd)"
result "live: nothing big is left"

printf 'arch = arm64\narchives = more\ntests = alpha torture\nlimit_test = 3\ntcg_factor = 2\n' >"$scenario"
printf 'odd' >"$work/image/more.cpio"
live plan "$EXIT_LOST" '' "arm64" --duration 2m
left cmdline '^qemu-system-aarch64 .* -M virt -accel .*pci-serial,chardev=ktap.*console=ttyAMA0' "its machine and ports"
left console.log '^odd~070701' "further archives come before the plan"
left console.log '^duration 120$' "the plan has the duration"
left console.log '^test alpha 6$' "which is no other test's"
left console.log '^test torture 126$' "but added to the limit of torture"
left run '^audit = optional$' "an audit is not required"
rm "$work/image/more.cpio"
live plan "$EXIT_USAGE" 'more.cpio: no such file' "an archive that is not there"
for bad in '' 0 -1 1d 10mm m nan; do
	live plan "$EXIT_USAGE" '^guest: --duration: not' "bad duration \"$bad\"" --duration "$bad"
done
live plan "$EXIT_USAGE" '^guest: --audit: required or optional' "bad audit" --audit no
printf 'arch = i386\naudit = required\ncpu = n270\ntests = alpha\n' >"$scenario"
live plan "$EXIT_LOST" '' "i386"
left cmdline '^qemu-system-i386 .* -M q35 -accel .* -cpu n270 .*chardev:ktap.*console=ttyS0' "its machine and ports"
left run '^audit = required$' "an audit is required"
live plan "$EXIT_LOST" '' "another audit than the scenario's" --audit optional
left run '^audit = optional$' "the option wins"
printf 'tests = alpha\ndisk = yes\nroot = yes\n' >"$scenario"
echo CONFIG_OF_A_PACKAGE=y >"$work/config"
live plan "$EXIT_LOST" '' "a root on a disk"
left cmdline 'file=[^ ]*/xfs.img.*file=[^ ]*/root.img' "is behind the other disk"
left .config '^CONFIG_OF_A_PACKAGE=y$' "the configuration beside the kernel"
printf 'tests = torture\nlimit_run = 1\ntcg_factor = 1\n' >"$scenario"
live noisy "$EXIT_HANG" ' 3 s for the whole run' "the run may take as much longer as torture" --duration 2

tap_end
