// SPDX-License-Identifier: GPL-2.0
/* One page further than a PMD's boundary, so that PTEs and not page tables are moved. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include "../bench.h"

static char *to;

static void prepare(struct area *a)
{
	to = mmap(NULL, a->size + 2 * PMD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		die("mmap");
	to = (char *)(((size_t)to + PMD - 1) & ~(PMD - 1)) + PAGE;
}

static void run(struct area *a)
{
	a->p = mremap(a->p, a->size, a->size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (a->p == MAP_FAILED)
		die("mremap");
}

const struct bench_case mremap_case = {
	.name = "mremap",
	.populated = true,
	.kinds = 1 << ANON | 1 << SHMEM | 1 << FILES,
	.prepare = prepare,
	.run = run,
};
