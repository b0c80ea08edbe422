/* SPDX-License-Identifier: GPL-2.0 */
/* Exit codes of all tools; the shell scripts have the same in exit-codes.sh. */
#ifndef EXIT_CODES_H
#define EXIT_CODES_H

#define EXIT_OK		0
#define EXIT_TEST	1	/* a test failed */
#define EXIT_USAGE	2	/* wrong arguments, or work would be overwritten */
#define EXIT_MISSING	3	/* a tool or package is missing */
#define EXIT_FETCH	4	/* download, checksum, or wrong kernel version */
#define EXIT_BUILD	5	/* build, config assertion, patch, check differs */
#define EXIT_LOST	6	/* guest lost: QEMU died, kernel panic */
#define EXIT_HANG	7	/* time limit passed */
#define EXIT_SPLAT	8	/* kernel splat */
#define EXIT_ENV	9	/* environment: disk full, not writable */

#endif
