/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model for the sums of MM IDs: how often does each MM map a folio? Also
 * compiled in user space, see tools/testing/folio_mapcount.
 */
#include <linux/folio_mapcount.h>
#include <linux/prandom.h>

#define NR_MMS	16

static void check_sums(struct kunit *test, const struct mm_sums *sums,
		       const unsigned int *mapped, const unsigned int *ids)
{
	unsigned int n = 0, owners = 0;
	u64 squares = 0;
	u64 sum = 0;
	int i;

	for (i = 0; i < NR_MMS; i++) {
		n += mapped[i];
		owners += !!mapped[i];
		sum += (u64)mapped[i] * ids[i];
		squares += (u64)mapped[i] * ids[i] * ids[i];
	}

#ifndef CONFIG_64BIT
	/* Order-1 folios only keep the lower half. */
	if (sums->exact_max == MM_SUMS_EXACT_MAX_ORDER1)
		squares = (u32)squares;
#endif /* !CONFIG_64BIT */

	KUNIT_ASSERT_EQ(test, sums->mapcount, n);
	KUNIT_ASSERT_EQ(test, sums->ids, sum & FOLIO_MM_IDS_SUM_MASK);
	KUNIT_ASSERT_EQ(test, sums->squares, squares);
	KUNIT_ASSERT_EQ_MSG(test, sums->shared,
			    owners > 1 || n > sums->exact_max,
			    "%u owners, %u mappings", owners, n);
	for (i = 0; i < NR_MMS; i++)
		if (n && n <= sums->exact_max)
			KUNIT_ASSERT_EQ(test, mm_sums_only(sums, ids[i]), mapped[i] == n);
}

/* Neighbours, far apart, and anything in between. */
static void random_ids(struct rnd_state *rnd, unsigned int *ids)
{
	const u32 mask = MM_ID_MAX >> (prandom_u32_state(rnd) % (MM_ID_BITS - 5));
	int i, j;

	for (i = 0; i < NR_MMS; i++) {
		do {
			ids[i] = MM_ID_MAX - (prandom_u32_state(rnd) & mask);
			if (ids[i] < MM_ID_MIN)
				ids[i] = MM_ID_MIN;
			for (j = 0; ids[j] != ids[i]; j++)
				;
		} while (j != i);
	}
}
