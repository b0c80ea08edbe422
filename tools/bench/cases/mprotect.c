// SPDX-License-Identifier: GPL-2.0
#include <sys/mman.h>
#include "../bench.h"

static void run(struct area *a)
{
	if (mprotect(a->p, a->size / 2, PROT_READ) ||
	    mprotect(a->p, a->size / 2, PROT_READ | PROT_WRITE))
		die("mprotect");
}

const struct bench_case mprotect_case = {
	.name = "mprotect",
	.populated = true,
	.kinds = 1 << ANON | 1 << SHMEM | 1 << FILES,
	.run = run,
};
