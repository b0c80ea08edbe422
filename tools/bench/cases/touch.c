// SPDX-License-Identifier: GPL-2.0
#include "../bench.h"

const struct bench_case touch_case = {
	.name = "touch",
	.kinds = 1 << ANON | 1 << SHMEM | 1 << FILES,
	.run = touch,
};
