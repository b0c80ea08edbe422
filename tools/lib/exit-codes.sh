# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
# Exit codes of all tools; the C programs have the same in exit_codes.h.

EXIT_OK=0
EXIT_TEST=1	# a test failed
EXIT_USAGE=2	# wrong arguments, or work would be overwritten
EXIT_MISSING=3	# a tool or package is missing
EXIT_FETCH=4	# download, checksum, or wrong kernel version
EXIT_BUILD=5	# build, config assertion, patch does not apply, check differs
EXIT_LOST=6	# guest lost: QEMU died, kernel panic
EXIT_HANG=7	# time limit passed
EXIT_SPLAT=8	# kernel splat
EXIT_ENV=9	# environment: disk full, not writable
