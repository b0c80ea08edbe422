#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# report.sh OUT [RECORD [README]]: tables, JSON and pictures of OUT/bench.csv; copies of
# them in the folder RECORD, and the headline table between the marks in README.
set -euo pipefail

bench=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../lib/lib.sh
. "$bench/../lib/lib.sh"

[ $# -ge 1 ] || die "$EXIT_USAGE" "usage: report.sh OUT [RECORD [README]]"
out=$1 record=${2-} readme=${3-}
[ -s "$out/bench.csv" ] || die "$EXIT_USAGE" "$out: no bench.csv"
rm -f "$out"/*.svg
first=$(sed -n '2s/,.*//p' "$out/bench.csv")
awk -f "$bench/read.awk" -f "$bench/table.awk" -v json="$out/bench.json" -v targets="$bench/targets" \
	-v raw="$out/raw-$first.csv" "$out/bench.csv" | tee "$out/tables.txt"
# A part of the cases has not all that a picture wants.
if grep -q ',orders,munmap,2M,' "$out/bench.csv"; then
	"$bench/plot.sh" "$out/bench.csv" "$out"
fi
[ -z "$record" ] || {
	mkdir -p "$record"
	cp "$out"/{bench.csv,bench.json,tables.txt} "$out"/*.svg "$record"
}
[ -z "$readme" ] || {
	awk -f "$bench/read.awk" -f "$bench/headline.awk" "$out/bench.csv" >"$out/headline.md"
	sed -i -e '/^<!-- headline -->$/,/^<!-- end -->$/{/^<!--/!d}' \
		-e "/^<!-- headline -->\$/r $out/headline.md" "$readme"
}
