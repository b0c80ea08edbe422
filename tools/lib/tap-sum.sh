#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Pass TAP through, and close with its counts. Nothing run is a failure.
awk '
{ print }
/^ok .*# SKIP/ { skipped++; next }
/^ok / { passed++ }
/^not ok / { failed++ }
END {
	printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
	exit failed || !passed
}'
