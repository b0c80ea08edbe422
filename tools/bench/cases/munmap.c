// SPDX-License-Identifier: GPL-2.0
#include <sys/mman.h>
#include "../bench.h"

static void run(struct area *a)
{
	if (munmap(a->p, a->size))
		die("munmap");
}

const struct bench_case munmap_case = {
	.name = "munmap",
	.populated = true,
	.kinds = 1 << ANON | 1 << SHMEM | 1 << FILES,
	.run = run,
};
