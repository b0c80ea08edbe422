// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the mapcounts of large folios: the arithmetic that tells who
 * maps them. Also compiled in user space, see tools/testing/folio_mapcount.
 */
#include <kunit/test.h>

#include "mm_sums_model.h"

#define NR_STEPS	20000

/* Every history of up to MAX_DEPTH single maps and unmaps by three MMs. */
#define MAX_DEPTH	6

static void any_history(struct kunit *test, struct mm_sums sums,
			unsigned int *mapped, const unsigned int *ids, int depth)
{
	struct mm_sums next;
	int i;

	check_sums(test, &sums, mapped, ids);
	if (!depth)
		return;

	for (i = 0; i < 3; i++) {
		next = sums;
		mm_sums_add(&next, ids[i], 1);
		mapped[i]++;
		any_history(test, next, mapped, ids, depth - 1);
		mapped[i]--;

		if (!mapped[i])
			continue;
		next = sums;
		mm_sums_sub(&next, ids[i], 1);
		mapped[i]--;
		any_history(test, next, mapped, ids, depth - 1);
		mapped[i]++;
	}
}

static void mm_sums_all_histories(struct kunit *test)
{
	/*
	 * One ID is the mean of the two others, one of the squares is the mean
	 * of the two other squares, or nothing of that kind.
	 */
	static const unsigned int ids[][NR_MMS] = {
		{ 1, 3, 2 }, { 1, 7, 5 }, { MM_ID_MIN, MM_ID_MAX, 4711 },
	};
	struct mm_sums sums = { .exact_max = MM_SUMS_EXACT_MAX };
	unsigned int mapped[NR_MMS] = {};
	int i;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		/* With 2, it is no longer exact with more mappings than that. */
		sums.exact_max = i ? MM_SUMS_EXACT_MAX : 2;
		any_history(test, sums, mapped, ids[i], MAX_DEPTH);
	}
}

struct seed_param {
	unsigned long long seed;
};

static const struct seed_param seed_params[] = {
	{ 1 }, { 2 }, { 3 }, { 0x5eed }, { 0xfeedface }, { 0xdeadbeefcafe },
};

static void seed_desc(const struct seed_param *p, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "seed=%#llx", p->seed);
}

KUNIT_ARRAY_PARAM(seed, seed_params, seed_desc);

/* Any history of maps and unmaps, few and many mappings, sizes up to a PMD. */
static void mm_sums_random_history(struct kunit *test)
{
	const struct seed_param *p = test->param_value;
	struct mm_sums sums = { .exact_max = MM_SUMS_EXACT_MAX };
	unsigned int mapped[NR_MMS] = {};
	unsigned int ids[NR_MMS];
	struct rnd_state rnd;
	int i, step;

	prandom_seed_state(&rnd, p->seed);
	random_ids(&rnd, ids);

	for (step = 0; step < NR_STEPS; step++) {
		/* Every now and then, have few owners only, or none at all. */
		const bool shrink = (step / 50) % 2;
		unsigned int nr = 1 + prandom_u32_state(&rnd) % 512;

		i = prandom_u32_state(&rnd) % NR_MMS;
		if (!shrink || !mapped[i]) {
			if (shrink)
				continue;
			mm_sums_add(&sums, ids[i], nr);
			mapped[i] += nr;
		} else {
			if (nr > mapped[i] || prandom_u32_state(&rnd) % 4)
				nr = mapped[i];
			mm_sums_sub(&sums, ids[i], nr);
			mapped[i] -= nr;
		}
		check_sums(test, &sums, mapped, ids);
	}

	for (i = 0; i < NR_MMS; i++) {
		if (!mapped[i])
			continue;
		mm_sums_sub(&sums, ids[i], mapped[i]);
		mapped[i] = 0;
		check_sums(test, &sums, mapped, ids);
	}
}

static void add(struct kunit *test, struct mm_sums *sums, unsigned int *mapped,
		const unsigned int *ids, int i, unsigned int nr)
{
	mm_sums_add(sums, ids[i], nr);
	mapped[i] += nr;
	check_sums(test, sums, mapped, ids);
}

static void sub(struct kunit *test, struct mm_sums *sums, unsigned int *mapped,
		const unsigned int *ids, int i, unsigned int nr)
{
	mm_sums_sub(sums, ids[i], nr);
	mapped[i] -= nr;
	check_sums(test, sums, mapped, ids);
}

/* With too many mappings to be exact, shared; exact again with fewer of them. */
static void mm_sums_exact_max(struct kunit *test)
{
	static const unsigned int ids[NR_MMS] = { MM_ID_MAX, MM_ID_MIN };
	const unsigned int max = MM_SUMS_EXACT_MAX;
	struct mm_sums sums = { .exact_max = max };
	unsigned int mapped[NR_MMS] = {};
	int i;

	add(test, &sums, mapped, ids, 0, max - 1);
	add(test, &sums, mapped, ids, 0, 1);
	KUNIT_EXPECT_FALSE(test, sums.shared);
	add(test, &sums, mapped, ids, 0, 1);
	KUNIT_EXPECT_TRUE(test, sums.shared);
	sub(test, &sums, mapped, ids, 0, 1);
	KUNIT_EXPECT_FALSE(test, sums.shared);

	/* From too many to none at all. */
	add(test, &sums, mapped, ids, 0, 1);
	sub(test, &sums, mapped, ids, 0, max + 1);

	/* The largest variance there is. */
	add(test, &sums, mapped, ids, 0, max - max / 2);
	add(test, &sums, mapped, ids, 1, max / 2);
	KUNIT_EXPECT_TRUE(test, sums.shared);
	KUNIT_EXPECT_FALSE(test, mm_sums_single(&sums));

	/* S2, and S1 on 32bit, may wrap as often as they want to. */
	for (i = 0; i < 16; i++)
		add(test, &sums, mapped, ids, 0, max);
	sub(test, &sums, mapped, ids, 1, max / 2);
	for (i = 0; i < 16; i++)
		sub(test, &sums, mapped, ids, 0, max);
	KUNIT_EXPECT_FALSE(test, sums.shared);
	sub(test, &sums, mapped, ids, 0, sums.mapcount);
}

/*
 * In the bits of a word, n * S2 - S1^2 is 0, as it is for a single MM, if two MMs
 * have that many mappings each and IDs that are that far apart: 512 and 2^23 on
 * 64bit, 4 and 2^14 on 32bit. A test for that would call the folio exclusive and
 * let one of them write to the memory of the other.
 */
#define TRAP_DISTANCE	(1U << (MM_ID_BITS - 1))
#define TRAP_NR		(1U << (BITS_PER_LONG / 2 - MM_ID_BITS + 1))

static void mm_sums_wrap_trap(struct kunit *test)
{
	struct mm_sums sums = { .exact_max = MM_SUMS_EXACT_MAX };
	const unsigned int id = 4711, other = id + TRAP_DISTANCE, third = 815;

	mm_sums_add(&sums, id, TRAP_NR);
	KUNIT_EXPECT_FALSE(test, sums.shared);
	mm_sums_add(&sums, other, TRAP_NR);
	KUNIT_EXPECT_TRUE(test, sums.shared);
	/* This is the trap ... */
	KUNIT_EXPECT_EQ(test, (unsigned long)(sums.mapcount * sums.squares),
			sums.ids * sums.ids);
	/* ... which we must not fall into. */
	KUNIT_EXPECT_FALSE(test, mm_sums_single(&sums));
	KUNIT_EXPECT_FALSE(test, mm_sums_only(&sums, id));
	KUNIT_EXPECT_FALSE(test, mm_sums_only(&sums, other));
	KUNIT_EXPECT_FALSE(test, mm_sums_only(&sums, (id + other) / 2));

	/* Get there by unmapping, too. */
	mm_sums_add(&sums, third, TRAP_NR);
	mm_sums_sub(&sums, third, TRAP_NR);
	KUNIT_EXPECT_TRUE(test, sums.shared);
	mm_sums_sub(&sums, id, TRAP_NR);
	KUNIT_EXPECT_FALSE(test, sums.shared);
	KUNIT_EXPECT_TRUE(test, mm_sums_only(&sums, other));
}

#ifndef CONFIG_64BIT
/* On 32bit, an order-1 folio has room for the lower half of S2 only. */
static void mm_sums_order1_32bit(struct kunit *test)
{
	static const unsigned int ids[NR_MMS] = { MM_ID_MAX, MM_ID_MAX - 1, MM_ID_MIN };
	struct mm_sums sums = { .exact_max = MM_SUMS_EXACT_MAX_ORDER1 };
	unsigned int mapped[NR_MMS] = {};
	struct rnd_state rnd;
	int i, step;

	prandom_seed_state(&rnd, 32);

	for (step = 0; step < NR_STEPS; step++) {
		i = prandom_u32_state(&rnd) % 3;
		if (mapped[i] && prandom_u32_state(&rnd) % 2) {
			mm_sums_sub(&sums, ids[i], 1);
			mapped[i]--;
		} else {
			mm_sums_add(&sums, ids[i], 1);
			mapped[i]++;
		}
		sums.squares = (u32)sums.squares;
		if (sums.mapcount <= sums.exact_max)
			check_sums(test, &sums, mapped, ids);
		else
			KUNIT_EXPECT_TRUE(test, sums.shared);
	}
	for (i = 0; i < 3; i++)
		mm_sums_sub(&sums, ids[i], mapped[i]);

	/* A single owner comes back from too many mappings. */
	for (step = 1; step < 20; step++) {
		memset(mapped, 0, sizeof(mapped));
		for (mapped[0] = 0; mapped[0] < step; mapped[0]++) {
			mm_sums_add(&sums, ids[0], 1);
			sums.squares = (u32)sums.squares;
		}
		while (mapped[0]) {
			mm_sums_sub(&sums, ids[0], 1);
			sums.squares = (u32)sums.squares;
			mapped[0]--;
			if (mapped[0] <= sums.exact_max)
				check_sums(test, &sums, mapped, ids);
		}
	}
}
#endif /* !CONFIG_64BIT */

/* More mappings than an int can count are counted all the same. */
static void mm_sums_beyond_int(struct kunit *test)
{
	const unsigned int max = (unsigned int)-1 / 2;
	struct mm_sums sums = {
		.exact_max = MM_SUMS_EXACT_MAX,
		.mapcount = max - 8,
		.shared = true,
	};

	mm_sums_add(&sums, 1, 512);
	KUNIT_EXPECT_EQ(test, sums.mapcount, max + 504);
	KUNIT_EXPECT_TRUE(test, sums.shared);
	mm_sums_sub(&sums, 1, 512);
	KUNIT_EXPECT_EQ(test, sums.mapcount, max - 8);
	KUNIT_EXPECT_TRUE(test, sums.shared);
}

/*
 * The number of accounted pages against the mappings of each page, by a handful
 * of MMs: how often something is mapped is all that matters.
 */
#define NR_PAGES 4

static void accounted_pages_history(struct kunit *test)
{
	const struct seed_param *p = test->param_value;
	unsigned int mapped[NR_PAGES] = {}, total = 0, entire = 0;
	unsigned int accounted = 0;
	struct rnd_state rnd;
	bool exact = true;
	int i, step;

	prandom_seed_state(&rnd, p->seed);
	for (step = 0; step < NR_STEPS; step++) {
		unsigned int page = prandom_u32_state(&rnd) % NR_PAGES;
		unsigned int distinct = 0, most = entire;
		bool unmap = false;

		switch (prandom_u32_state(&rnd) % 5) {
		case 0:		/* map */
			mapped[page]++;
			total++;
			accounted = accounted_pages_add(accounted, 1, NR_PAGES);
			break;
		case 1:		/* fork */
			if (mapped[page]) {
				mapped[page]++;
				total++;
			}
			break;
		case 2:		/* unmap */
		case 3:
			if (mapped[page]) {
				mapped[page]--;
				total--;
				accounted = accounted_pages_sub(accounted, total, entire);
				unmap = true;
			}
			break;
		case 4:		/* PMD */
			if (entire) {
				entire--;
				total--;
				accounted = accounted_pages_sub(accounted, total, entire);
				unmap = true;
			} else if (step % 3 == 0) {
				entire++;
				total++;
				accounted = accounted_pages_add(accounted, NR_PAGES, NR_PAGES);
			}
			break;
		}

		for (i = 0; i < NR_PAGES; i++) {
			distinct += entire || mapped[i];
			if (entire + mapped[i] > most)
				most = entire + mapped[i];
		}
		KUNIT_ASSERT_GE(test, accounted, distinct);
		KUNIT_ASSERT_LE(test, accounted, NR_PAGES);
		KUNIT_ASSERT_EQ(test, !accounted, !distinct);
		/* Until a page is mapped twice, and after an unmap that leaves none. */
		if (most > 1)
			exact = false;
		else if (unmap)
			exact = true;
		if (exact)
			KUNIT_ASSERT_EQ(test, accounted, distinct);
	}

	/* Many mappings, not few because of the sign. */
	KUNIT_EXPECT_EQ(test, accounted_pages_sub(NR_PAGES, 3U << 30, 0), NR_PAGES);
}

static struct kunit_case mm_sums_cases[] = {
	KUNIT_CASE(mm_sums_all_histories),
	KUNIT_CASE_PARAM(mm_sums_random_history, seed_gen_params),
	KUNIT_CASE(mm_sums_exact_max),
	KUNIT_CASE(mm_sums_beyond_int),
	KUNIT_CASE_PARAM(accounted_pages_history, seed_gen_params),
	KUNIT_CASE(mm_sums_wrap_trap),
#ifndef CONFIG_64BIT
	KUNIT_CASE(mm_sums_order1_32bit),
#endif /* !CONFIG_64BIT */
	{}
};

static struct kunit_suite mm_sums_suite = {
	.name = "folio_mapcount_sums",
	.test_cases = mm_sums_cases,
};

kunit_test_suite(mm_sums_suite);
