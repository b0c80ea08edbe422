// SPDX-License-Identifier: GPL-2.0-only
/*
 * The counters of a large folio against the model: small folios exhaustively, any
 * size at random, and what others can see in the middle of a change.
 */
#include <kunit/test.h>

#include "history.h"
#include "warn.h"

static struct history history;

/* Mean of the others, squares with a mean, extremes, what wraps a product. */
static const unsigned int id_sets[][3] = {
	{ 1, 3, 2 },
	{ 1, 7, 5 },
	{ MM_ID_MIN, MM_ID_MAX, MM_ID_MAX - 1 },
	{ 4711, 4711 + (1U << (MM_ID_BITS - 1)), 815 },
};

static const void *id_set_gen_params(struct kunit *test, const void *prev, char *desc)
{
	const unsigned int (*set)[3] = prev;

	set = set ? set + 1 : id_sets;
	/* Without CONFIG_MM_ID, they would all be the same. */
	if (set == id_sets + (IS_ENABLED(CONFIG_MM_ID) ? ARRAY_SIZE(id_sets) : 1))
		return NULL;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "ids=%u,%u,%u", (*set)[0], (*set)[1], (*set)[2]);
	return set;
}

/*
 * All histories of any length, of all that history.h has, with three MMs, and as
 * many pages as fit into the number of a state. The check compares all words with
 * what the model says, so a state that was reached before by another history is the
 * same in every respect, and what follows need not be tried again.
 */
#define NR_OWNERS	3
#define STATE_BITS	23

static unsigned char seen[(1U << STATE_BITS) / 8];
static unsigned int queue[1U << (STATE_BITS - 1)];

static unsigned int pack(unsigned int state, unsigned int bits, unsigned int value)
{
	VERIFY(value < 1U << bits);
	return state << bits | value;
}

static unsigned int state_of(const struct history *h)
{
	unsigned int state, mm, i;

	state = pack(0, 3, h->accounted);
	state = pack(state, 1, h->exact);
	for (mm = 0; mm < NR_OWNERS; mm++) {
		state = pack(state, 1, h->pmds[mm]);
		for (i = 0; i < h->nr_pages; i++)
			state = pack(state, 1, h->ptes[mm][i]);
	}
	for (i = 0; i < h->nr_pages && h->anon; i++)
		state = pack(state, 1, h->exclusive[i]);
	return state;
}

static unsigned int unpack(unsigned int *state, unsigned int bits)
{
	const unsigned int value = *state & ((1U << bits) - 1);

	*state >>= bits;
	return value;
}

static void go_to_state(struct history *h, unsigned int state)
{
	unsigned int mm, i;

	for (i = h->nr_pages; i-- && h->anon;)
		h->exclusive[i] = unpack(&state, 1);
	for (mm = NR_OWNERS; mm--;) {
		for (i = h->nr_pages; i--;)
			h->ptes[mm][i] = unpack(&state, 1);
		h->pmds[mm] = unpack(&state, 1);
	}
	h->exact = unpack(&state, 1);
	h->accounted = unpack(&state, 3);
	history_restore(h);
}

/* One of everything that can be done; false if there is no such number. */
static bool try(struct history *h, unsigned int number, bool *done)
{
	const unsigned int nr_pages = h->nr_pages, mm = number % NR_OWNERS;
	unsigned int what = number / NR_OWNERS, range, nr;

	switch (what) {
	case 0:
	case 1:
		*done = history_new(h, mm, what ? PGTABLE_LEVEL_PMD : PGTABLE_LEVEL_PTE);
		return true;
	case 2:
	case 3:
		*done = history_fork_pmd(h, mm, (mm + what - 1) % NR_OWNERS);
		return true;
	case 4:
		*done = history_map_pmd(h, mm);
		return true;
	case 5:
		*done = history_unmap_pmd(h, mm);
		return true;
	case 6:
		*done = history_split_pmd(h, mm);
		return true;
	}
	what -= 7;
	/* All ranges: each page, then each two neighbours, and so on. */
	range = what / 6;
	for (nr = 1; nr <= nr_pages && range > nr_pages - nr; nr++)
		range -= nr_pages - nr + 1;
	if (nr > nr_pages)
		return false;
	switch (what % 6) {
	case 0:
		*done = history_map(h, mm, range, nr);
		break;
	case 1:
	case 2:
		*done = history_fork(h, mm, (mm + what % 6) % NR_OWNERS, range, nr);
		break;
	case 3:
		*done = history_unmap(h, mm, range, nr);
		break;
	case 4:
		*done = !mm && history_set_exclusive(h, range, nr);
		break;
	case 5:
		*done = !mm && history_clear_exclusive(h, range, nr);
		break;
	}
	return true;
}

static void all_histories(struct history *h)
{
	unsigned int head = 0, tail = 0, steps = 0, state, number;
	bool done;

	history_check(h);
	queue[tail++] = state_of(h);
	seen[queue[0] / 8] |= 1U << queue[0] % 8;
	for (; head < tail; head++) {
		go_to_state(h, queue[head]);
		for (number = 0; try(h, number, &done); number++) {
			if (!done)
				continue;
			steps++;
			history_check(h);
			state = state_of(h);
			if (!(seen[state / 8] & 1U << state % 8)) {
				seen[state / 8] |= 1U << state % 8;
				VERIFY(tail < ARRAY_SIZE(queue));
				queue[tail++] = state;
			}
			go_to_state(h, queue[head]);
		}
	}
	printf("# %u states, %u steps\n", tail, steps);
	/* A test that gets nowhere would pass: each MM maps each page, or does not. */
	VERIFY(tail >= 1U << NR_OWNERS * h->nr_pages);
}

/* Page cache: PTEs and PMDs at a time, even of the same MM. */
static void counters_all_histories(struct kunit *test)
{
	const unsigned int *ids = test->param_value;

	history_init(&history, 2, false, ids, NR_OWNERS);
	history.max_times = 1;
	all_histories(&history);
}

/* On 32bit, more than four mappings of an order-1 folio are too many to be exact. */
static void counters_all_histories_order1(struct kunit *test)
{
	const unsigned int *ids = test->param_value;

	history_init(&history, 1, false, ids, NR_OWNERS);
	history.max_times = 1;
	all_histories(&history);
}

/* Anon, with its marks: fork() and unmapping take them. */
static void counters_all_histories_anon(struct kunit *test)
{
	const unsigned int *ids = id_sets[ARRAY_SIZE(id_sets) - 1];

	history_init(&history, 2, true, ids, NR_OWNERS);
	all_histories(&history);
}

/* Random histories of all sizes. */
struct random_param {
	unsigned int order;
	bool anon;
};

static const struct random_param random_params[] = {
	{ 1, false }, { 2, false }, { 3, false }, { 4, false }, { 5, false },
	{ 6, false }, { 7, false }, { 8, false }, { 9, false },
	{ 2, true }, { 3, true }, { 4, true }, { 5, true },
	{ 6, true }, { 7, true }, { 8, true }, { 9, true },
};

static void random_desc(const struct random_param *p, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s order=%u", p->anon ? "anon" : "file", p->order);
}

KUNIT_ARRAY_PARAM(random, random_params, random_desc);

/* Extremes, powers of two apart, and anything else. */
static void random_ids(struct rnd_state *rnd, unsigned int *ids, unsigned int nr)
{
	static const unsigned int extremes[] = {
		MM_ID_MIN, MM_ID_MAX, MM_ID_MIN + 1, MM_ID_MAX - 1,
	};
	unsigned int i, j;

	for (i = 0; i < nr; i++) {
		do {
			const u32 value = prandom_u32_state(rnd);

			if (value % 4 == 0)
				ids[i] = extremes[value / 4 % ARRAY_SIZE(extremes)];
			else if (value % 4 == 1 && i)
				ids[i] = ids[0] ^ 1U << value / 4 % MM_ID_BITS;
			else
				ids[i] = value / 4 & MM_ID_MAX;
			for (j = 0; j < i && ids[j] != ids[i]; j++)
				;
		} while (j != i || ids[i] < MM_ID_MIN);
	}
}

static void counters_random(struct kunit *test)
{
	const struct random_param *p = test->param_value;
	const unsigned int steps = 8000 >> (p->order / 2);
	unsigned int ids[MAX_MMS], nr_mms, step, round, done = 0;
	const u64 seed = kunit_seed * 100 + p->anon * 10 + p->order;
	struct rnd_state rnd;

	printf("# seed %llu\n", seed);
	prandom_seed_state(&rnd, seed);
	for (round = 0; round < 4; round++) {
		nr_mms = 2 + prandom_u32_state(&rnd) % (MAX_MMS - 1);
		random_ids(&rnd, ids, nr_mms);
		history_init(&history, p->order, p->anon, ids, nr_mms);
		for (step = 0; step < steps; step++) {
			const unsigned int first = prandom_u32_state(&rnd);
			unsigned int nr = prandom_u32_state(&rnd);

			if (step % 3)
				nr %= 4;
			if (!history_step(&history, prandom_u32_state(&rnd),
					  prandom_u32_state(&rnd) % nr_mms, first, nr))
				continue;
			done++;
			history_check(&history);
		}
		history_end(&history);
	}
	printf("# %u steps\n", done);
	VERIFY(done > steps / 4);
}

/* Exactly at the limit of the sums, and beyond it, with one MM and with two. */
static void counters_exact_max(struct kunit *test)
{
	static const unsigned int ids[] = { MM_ID_MAX, MM_ID_MIN };
	const unsigned int max = IS_ENABLED(CONFIG_64BIT) ? 65535 : 32767;
	struct history *h = &history;
	unsigned int i;

	history_init(h, 9, false, ids, 2);
	for (i = 0; i < max / 512; i++)
		VERIFY(history_map(h, 0, 0, 512));
	VERIFY(history_map(h, 0, 0, 511));
	history_check(h);
	VERIFY(!folio_maybe_mapped_shared(&h->folio));
	VERIFY(history_map(h, 0, 511, 1));
	history_check(h);
	VERIFY(folio_maybe_mapped_shared(&h->folio));
	VERIFY(!folio_mapped_only_by(&h->folio, &h->mm[0]));
	VERIFY(history_unmap(h, 0, 0, 1));
	history_check(h);
	VERIFY(!folio_maybe_mapped_shared(&h->folio));
	VERIFY(folio_mapped_only_by(&h->folio, &h->mm[0]) == IS_ENABLED(CONFIG_MM_ID));

	/* As many again of somebody else, and back. */
	for (i = 0; i < max / 512; i++)
		VERIFY(history_map(h, 1, 0, 512));
	history_check(h);
	for (i = 0; i < max / 512; i++) {
		VERIFY(history_unmap(h, 1, 0, 512));
		history_check(h);
	}
	VERIFY(!folio_maybe_mapped_shared(&h->folio));
	history_end(h);
}

/* More mappings than an int can count: words that wrap, and wrap back. */
static void counters_beyond_int_max(struct kunit *test)
{
	static const unsigned int ids[] = { MM_ID_MAX };
	const unsigned int start = INT_MAX - 1;
	struct history *h = &history;
	struct folio *folio = &h->folio;
	struct large_mapcounts now;
	struct folio before;
	struct mm_sums sums;
	unsigned int i;

	history_init(h, 2, false, ids, 1);
	VERIFY(history_map(h, 0, 0, 4));
	folio_read_mm_sums(folio, &sums);
	sums.mapcount = start;
	sums.ids = (u64)start * h->ids[0] & (BIT(BITS_PER_LONG - 2) - 1);
	sums.squares = (u64)start * h->ids[0] * h->ids[0];
	sums.shared = true;
	folio_write_mm_sums(folio, &sums);
	VERIFY(folio->_large_mapcount.counter == INT_MAX - 2);
	before = *folio;

	for (i = 1; i <= 8; i++) {
		now = folio_add_large_mapcount(folio, 1, h->vma, PGTABLE_LEVEL_PTE, true);
		folio_read_mm_sums(folio, &sums);
		VERIFY(sums.mapcount == start + i, "%u", sums.mapcount);
		VERIFY((unsigned int)now.total == start + i && now.accounted == 4);
		VERIFY(folio_large_mapcount(folio) == INT_MAX);
		VERIFY(folio_mapped(folio) && folio_maybe_mapped_shared(folio));
	}
	for (; i > 1; i--) {
		now = folio_sub_large_mapcount(folio, 1, h->vma, PGTABLE_LEVEL_PTE);
		VERIFY((unsigned int)now.total == start + i - 2 && now.accounted == 4);
		VERIFY(folio_mapped(folio) && folio_maybe_mapped_shared(folio));
	}
	VERIFY(!memcmp(folio, &before, sizeof(before)));
}

/* The example of the documentation: the same half unmapped by parent and child. */
static void counters_same_half(struct kunit *test)
{
	static const unsigned int ids[] = { 17, 18 };
	struct history *h = &history;

	history_init(h, 9, true, ids, 2);
	VERIFY(history_new(h, 0, PGTABLE_LEVEL_PTE));
	VERIFY(history_fork(h, 0, 1, 0, 512));
	VERIFY(history_unmap(h, 0, 0, 256));
	VERIFY(history_unmap(h, 1, 0, 256));
	history_check(h);
	VERIFY(h->folio._large_mapcount.counter + 1 == 512);
	VERIFY(h->folio._nr_pages_accounted == 512);
	VERIFY(history_unmap(h, 1, 256, 256));
	history_check(h);
	VERIFY(h->folio._large_mapcount.counter + 1 == 256);
	VERIFY(h->folio._nr_pages_accounted == 256);
	history_end(h);
}

/* fork() leaves all alone that does not have to do with who maps how often. */
static void counters_dup_keeps_accounted(struct kunit *test)
{
	static const unsigned int ids[] = { 17, 18 };
	struct history *h = &history;

	history_init(h, 2, false, ids, 2);
	VERIFY(history_map(h, 0, 0, 2));
	VERIFY(history_fork(h, 0, 1, 0, 2));
	VERIFY(h->folio._nr_pages_accounted == 2);
	history_end(h);
}

/*
 * What others see in the middle of a change, after each store to the folio: the
 * lock is held, and nobody sees a number or a shared bit that is neither the old nor
 * the new one. The order of the stores does not matter to anybody.
 */
static struct {
	bool locked;
	int mapcount[2], entire[2];
	unsigned int accounted[2];
	bool shared[2];
	unsigned int stores;
} seen_by_others;

static void look(enum shim_access access, const void *addr)
{
	const struct folio *folio = &history.folio;
	const unsigned long ids = folio->_mm_ids;
	const int mapcount = folio->_large_mapcount.counter + 1;
	const bool shared = ids >> (BITS_PER_LONG - 1);
	int entire = 0;

	if (access == SHIM_READ || (char *)addr < (char *)&history.pages[1] ||
	    (char *)addr >= (char *)&history.pages[MIN_PAGES])
		return;
	if (IS_ENABLED(CONFIG_64BIT) || history.order > 1)
		entire = folio->_entire_mapcount.counter + 1;
	seen_by_others.stores++;

	/* Only the last one gives the lock away. */
	VERIFY(seen_by_others.locked, "a store after the unlock");
	seen_by_others.locked = ids & 1UL << (BITS_PER_LONG - 2);
	VERIFY(seen_by_others.locked || addr == &folio->_mm_ids, "a store without the lock");

	VERIFY(mapcount == seen_by_others.mapcount[0] ||
	       mapcount == seen_by_others.mapcount[1]);
	VERIFY(entire == seen_by_others.entire[0] || entire == seen_by_others.entire[1]);
	VERIFY(folio->_nr_pages_accounted == seen_by_others.accounted[0] ||
	       folio->_nr_pages_accounted == seen_by_others.accounted[1]);
	VERIFY(shared == seen_by_others.shared[0] || shared == seen_by_others.shared[1]);
}

static void snapshot(int i)
{
	const struct folio *folio = &history.folio;

	seen_by_others.mapcount[i] = folio->_large_mapcount.counter + 1;
	if (IS_ENABLED(CONFIG_64BIT) || history.order > 1)
		seen_by_others.entire[i] = folio->_entire_mapcount.counter + 1;
	seen_by_others.accounted[i] = folio->_nr_pages_accounted;
	seen_by_others.shared[i] = folio->_mm_ids >> (BITS_PER_LONG - 1);
}

static void counters_each_store(struct kunit *test)
{
	static const unsigned int ids[] = { MM_ID_MIN, 4711, MM_ID_MAX };
	static struct history before;
	const u64 seed = kunit_seed * 100 + 50;
	struct rnd_state rnd;
	unsigned int step;

	printf("# seed %llu\n", seed);
	prandom_seed_state(&rnd, seed);
	history_init(&history, 2, false, ids, NR_OWNERS);
	history.max_times = 2;
	for (step = 0; step < 20000; step++) {
		const unsigned int what = 1 + prandom_u32_state(&rnd) % 6;
		const unsigned int mm = prandom_u32_state(&rnd) % NR_OWNERS;
		const unsigned int first = prandom_u32_state(&rnd);
		const unsigned int nr = prandom_u32_state(&rnd);

		/* Once to know what comes out of it, once to watch. */
		before = history;
		snapshot(0);
		if (!history_step(&history, what, mm, first, nr))
			continue;
		snapshot(1);
		history = before;
		seen_by_others.locked = true;
		seen_by_others.stores = 0;
		shim_hook = look;
		history_step(&history, what, mm, first, nr);
		shim_hook = NULL;
		VERIFY(seen_by_others.stores >= 4, "%u stores", seen_by_others.stores);
		VERIFY(!seen_by_others.locked);
		history_check(&history);
	}
	history_end(&history);
}

#define ADD(nr, vma)	folio_add_large_mapcount(folio, nr, vma, PGTABLE_LEVEL_PTE, true)
#define SUB(nr, vma)	folio_sub_large_mapcount(folio, nr, vma, PGTABLE_LEVEL_PTE)
#define SET(nr)		folio_set_large_mapcount(folio, nr, vma, PGTABLE_LEVEL_PTE)

/* What must not be is noticed. */
static void counters_warnings(struct kunit *test)
{
	static const unsigned int ids[] = { 1, 2, MM_ID_DUMMY, MM_ID_MAX + 1 };
	struct vm_area_struct *vma = history.vma;
	struct history *h = &history;
	struct folio *folio = &h->folio;

	history_init(h, 2, true, ids, ARRAY_SIZE(ids));
	VERIFY(history_map(h, 0, 0, 2));
	EXPECT_NO_WARNING(ADD(1, vma));
	EXPECT_WARNING("diff <= 0", ADD(0, vma));
	EXPECT_WARNING("diff > folio_large_nr_pages(folio)", ADD(5, vma));
	EXPECT_WARNING("diff > folio_large_mapcount(folio)", SUB(3, vma));
	EXPECT_WARNING("folio_mapped(folio)", SET(4));
	if (IS_ENABLED(CONFIG_MM_ID)) {
		EXPECT_WARNING("mm_id < MM_ID_MIN", ADD(1, vma + 2));
		EXPECT_WARNING("mm_id > MM_ID_MAX", ADD(1, vma + 3));
		EXPECT_WARNING("!mm_sums_only(&sums, mm_id)", SUB(1, vma + 1));
	}
	/* An anon folio of which even one MM alone could have too many mappings. */
	folio->_flags_1 = IS_ENABLED(CONFIG_64BIT) ? 16 : 15;
	EXPECT_WARNING("folio_large_nr_pages(folio) > MM_SUMS_EXACT_MAX", ADD(1, vma));
	folio->_flags_1 = h->order;
	/* Something left in the sums of a folio that is not mapped. */
	history_end(h);
	EXPECT_NO_WARNING(SET(4));
	folio->_mm_id_squares = 1;
	EXPECT_WARNING("!folio_mapped(folio)", SET(4));
	folio->_mm_id_squares = 0;
	folio->_mm_ids = 1UL << (BITS_PER_LONG - 1);
	EXPECT_WARNING("!folio_mapped(folio)", SET(4));
	/* Not for small folios or hugetlb. */
	folio->_mm_ids = 0;
	folio->page.flags |= BIT(PG_shim_hugetlb);
	EXPECT_WARNING("folio_test_hugetlb(folio)", SET(4));
	folio->page.flags = 0;
	EXPECT_WARNING("!folio_test_large(folio)", SET(1));
}

static struct kunit_case counters_cases[] = {
	KUNIT_CASE_PARAM(counters_all_histories, id_set_gen_params),
	KUNIT_CASE_PARAM(counters_all_histories_order1, id_set_gen_params),
	KUNIT_CASE(counters_all_histories_anon),
	KUNIT_CASE_PARAM(counters_random, random_gen_params),
	KUNIT_CASE(counters_exact_max),
	KUNIT_CASE(counters_beyond_int_max),
	KUNIT_CASE(counters_same_half),
	KUNIT_CASE(counters_dup_keeps_accounted),
	KUNIT_CASE(counters_each_store),
	KUNIT_CASE(counters_warnings),
	{}
};

static struct kunit_suite counters_suite = {
	.name = "counters",
	.test_cases = counters_cases,
};

kunit_test_suite(counters_suite);
