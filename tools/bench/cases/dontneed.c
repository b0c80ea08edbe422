// SPDX-License-Identifier: GPL-2.0
/* The second half of every 2 MiB: folios as large as that become partially mapped. */
#include <sys/mman.h>
#include "../bench.h"

static void run(struct area *a)
{
	size_t i;

	for (i = 0; i < a->size; i += PMD) {
		if (madvise(a->p + i + PMD / 2, PMD / 2, MADV_DONTNEED))
			die("madvise");
	}
}

const struct bench_case dontneed_case = {
	.name = "dontneed",
	.populated = true,
	.kinds = 1 << ANON | 1 << SHMEM | 1 << FILES,
	.run = run,
};
