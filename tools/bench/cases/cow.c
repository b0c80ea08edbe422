// SPDX-License-Identifier: GPL-2.0
/* Writing to all of the memory after fork(), with the child there and with it gone. */
#include "../bench.h"

static void alive(struct area *a)
{
	start_child(a, NULL);
}

static void gone(struct area *a)
{
	start_child(a, NULL);
	end_child(a);
}

const struct bench_case cow_alive_case = {
	.name = "cow_alive",
	.populated = true,
	.kinds = 1 << ANON,
	.prepare = alive,
	.run = touch,
};

const struct bench_case cow_gone_case = {
	.name = "cow_gone",
	.populated = true,
	.kinds = 1 << ANON,
	.prepare = gone,
	.run = touch,
};
