// SPDX-License-Identifier: GPL-2.0
/* To the other node. */
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../bench.h"

static void run(struct area *a)
{
	unsigned long nodes = 1ul << 1;

	if (syscall(SYS_mbind, a->p, a->size, MPOL_BIND, &nodes, sizeof(nodes) * 8,
		    MPOL_MF_MOVE | MPOL_MF_STRICT))
		die("mbind");
}

const struct bench_case migrate_case = {
	.name = "migrate",
	.populated = true,
	.kinds = 1 << ANON | 1 << SHMEM,
	.run = run,
};
