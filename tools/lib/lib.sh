# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Shared by the scripts: messages, tool and disk checks, TAP lines.

. "${BASH_SOURCE[0]%/*}/exit-codes.sh"

say()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# die CODE MESSAGE
die()
{
	local code=$1

	shift
	say "$@"
	exit "$code"
}

# need TOOL:PACKAGE...: name all that is missing at once.
need()
{
	local t tools='' packages=''

	for t; do
		command -v "${t%:*}" >/dev/null && continue
		tools+=" ${t%:*}"
		packages+=" ${t#*:}"
	done
	[ -z "$tools" ] || die "$EXIT_MISSING" "missing:$tools; apt-get install$packages"
}

# need_space DIR MB: refuse before the work, not in the middle of it.
need_space()
{
	local free

	mkdir -p "$1" 2>/dev/null || die "$EXIT_ENV" "$1: cannot create"
	[ -w "$1" ] || die "$EXIT_ENV" "$1: not writable"
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] || die "$EXIT_ENV" "$1: $free MB free, $2 MB needed"
}

tap_passed=0 tap_failed=0 tap_skipped=0

tap_number()
{
	echo $((tap_passed + tap_failed + tap_skipped))
}

tap_skip()
{
	tap_skipped=$((tap_skipped + 1))
	echo "ok $(tap_number) - $1 # SKIP $2"
}

# tap_result STATUS DESCRIPTION [LOG]: the end of the log explains a failure.
tap_result()
{
	if [ "$1" -eq 0 ]; then
		tap_passed=$((tap_passed + 1))
		echo "ok $(tap_number) - $2"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $(tap_number) - $2"
		[ ! -f "${3-}" ] || tail -n 30 "$3" | sed 's/^/# /'
	fi
}

tap_end()
{
	echo "1..$(tap_number)"
	echo "$tap_passed passed, $tap_failed failed, $tap_skipped skipped"
	[ "$tap_failed" -eq 0 ]
}
