// SPDX-License-Identifier: GPL-2.0
#include "../bench.h"

static void prepare(struct area *a)
{
	start_child(a, NULL);
}

const struct bench_case child_exit_case = {
	.name = "child_exit",
	.populated = true,
	.kinds = 1 << ANON,
	.fixed = true,
	.prepare = prepare,
	.run = end_child,
};
