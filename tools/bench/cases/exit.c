// SPDX-License-Identifier: GPL-2.0
/* The end of a process that nobody shares its memory with. */
#include "../bench.h"

static void prepare(struct area *a)
{
	start_child(a, populate);
}

const struct bench_case exit_case = {
	.name = "exit",
	.kinds = 1 << ANON | 1 << SHMEM | 1 << FILES,
	.prepare = prepare,
	.run = end_child,
};
