#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests of the runner over golden logs; no guest is booted. A case of the form
# golden/NAME is a folder as a run leaves it, with the wanted exit code and
# verdict in golden/NAME/want.
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

# golden NAME: a copy that recheck may write its reports to.
golden()
{
	rm -rf "$work/r"
	cp -r "$tests/golden/$1" "$work/r"
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
lists

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
for file in "$tests"/../scenarios/*.scenario; do
	name=$(basename "$file")
	check 0 cow "$guest" scenario "$file" tests
	result "$name is valid"
done

# compare BASE OTHER CODE TEXT DESCRIPTION
compare()
{
	check "$3" "$4" "$guest" compare "$tests/golden/$1" "$tests/golden/$2" --lists "$work/lists"
	result "compare: $5"
}
compare pass pass 0 ' 0 worse' "equal"
compare pass fail "$EXIT_TEST" 'worse: *alpha: .*second.*pass -> fail' "a failure is worse"
compare fail pass 0 'better: *alpha: .*second' "the other way it is better"
compare pass truncated "$EXIT_TEST" 'pass -> missing' "a missing case is worse"
compare pass splat-in-test "$EXIT_TEST" 'worse: *alpha: pass -> splat' "a splat is worse"
compare pass unexpected-skip "$EXIT_TEST" 'pass -> skip' "a new skip is worse"
for n in 1 2; do
	rm -rf "$work/$n"
	cp -r "$tests/golden/pass" "$work/$n"
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
	esac
done
case $FAKE in
none)	exit 1 ;;
silent)	echo "[    0.0] Linux version" >"$console"; exec sleep 60 ;;
noisy)	while sleep 0.1; do echo x; done >"$console" ;;
stuck)	printf '#! ready\n#! begin 1 alpha\n' >"$ktap"; exec sleep 60 ;;
esac
FAKE
chmod +x "$work/bin/qemu-system-x86_64"
printf 'tests = alpha beta\nlimit_boot = 2\nlimit_silence = 1\nlimit_run = 20\ntcg_factor = 1\n' >"$scenario"
live()
{
	FAKE=$1 PATH=$work/bin:$PATH check "$2" "$3" "$guest" run --scenario "$scenario" \
		--kernel "$work/kernel" --image "$work/image" --results "$work/results" \
		--accel tcg --lists "$work/lists"
	result "live: $4"
}
live none "$EXIT_LOST" 'report is cut short' "QEMU exits at once"
live silent "$EXIT_HANG" 'of silence in phase "boot"' "silence"
live noisy "$EXIT_HANG" 'not booted' "noise, but no boot"
live stuck "$EXIT_HANG" 'of silence in phase "test alpha"' "a test hangs"
check 0 '' test "$(readlink "$work/results/latest")" = "$(find "$work/results" -name '2*' -printf '%f\n' | sort | tail -n 1)"
result "live: latest points to the last run"
check 0 '' test -z "$(find "$work/results" -name initrd)"
result "live: nothing big is left"

tap_end
