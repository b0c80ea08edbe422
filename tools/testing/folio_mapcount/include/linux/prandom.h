/* SPDX-License-Identifier: GPL-2.0 */
/* Random enough for tests, and the same everywhere; not the kernel's numbers. */
#ifndef _LINUX_PRANDOM_H
#define _LINUX_PRANDOM_H

#include <linux/types.h>

struct rnd_state {
	u64 state;
};

static inline void prandom_seed_state(struct rnd_state *state, u64 seed)
{
	state->state = seed;
}

/* SplitMix64: any seed is a good one. */
static inline u32 prandom_u32_state(struct rnd_state *state)
{
	u64 z = state->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z >> 32;
}

#endif /* _LINUX_PRANDOM_H */
