// SPDX-License-Identifier: GPL-2.0
/* To zram and back. */
#include <sys/mman.h>
#include "../bench.h"

static void out(struct area *a)
{
	if (madvise(a->p, a->size, MADV_PAGEOUT))
		die("madvise");
}

const struct bench_case pageout_case = {
	.name = "pageout",
	.populated = true,
	.kinds = 1 << ANON | 1 << SHMEM,
	.run = out,
};

const struct bench_case swapin_case = {
	.name = "swapin",
	.populated = true,
	.kinds = 1 << ANON | 1 << SHMEM,
	.prepare = out,
	.run = touch,
};
