// SPDX-License-Identifier: GPL-2.0
#include "../bench.h"

static void run(struct area *a)
{
	start_child(a, NULL);
}

const struct bench_case fork_case = {
	.name = "fork",
	.populated = true,
	.kinds = 1 << ANON,
	.fixed = true,
	.run = run,
};
