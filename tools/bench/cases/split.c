// SPDX-License-Identifier: GPL-2.0
/* Another protection for one page in each PMD: the VMA is split, and so is the PMD. */
#include <sys/mman.h>
#include "../bench.h"

static bool fits(const struct backing *b)
{
	return b->kib == PMD >> 10 && !b->by_ptes;
}

static void run(struct area *a)
{
	size_t i;

	for (i = 0; i < a->size; i += PMD) {
		if (mprotect(a->p + i, PAGE, PROT_READ))
			die("mprotect");
	}
}

const struct bench_case split_case = {
	.name = "split",
	.populated = true,
	.kinds = 1 << ANON | 1 << SHMEM,
	.fits = fits,
	.run = run,
};
