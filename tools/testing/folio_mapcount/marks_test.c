// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bitmap of anon-exclusive marks against a byte for each page. Each check
 * compares all words of all struct pages, those of the neighbours included.
 */
#include <kunit/test.h>

#include "history.h"
#include "warn.h"

/* 2 MiB in pages of 4 KiB, and beyond: 512 MiB in pages of 64 KiB. */
#define MARKS_MAX_ORDER	13
#define MARKS_MAX_PAGES	BIT(MARKS_MAX_ORDER)
#define FIRST_PAGE	(IS_ENABLED(CONFIG_64BIT) ? 2 : 3)

static union {
	struct folio folio;
	struct page pages[MARKS_MAX_PAGES + MIN_PAGES];
} marks;
static struct page expected[MARKS_MAX_PAGES + MIN_PAGES];
static bool model[MARKS_MAX_PAGES];
static unsigned int nr_pages;

/* The word of page @i, and which one of the two in its struct page that is. */
static unsigned long *expected_word(unsigned int i)
{
	struct page *page = expected + FIRST_PAGE + i / (2 * BITS_PER_LONG);

	return i / BITS_PER_LONG % 2 ? &page->private : &page->__folio_index;
}

static void marks_init(unsigned int order)
{
	struct folio *folio = (struct folio *)expected;
	unsigned int i;

	nr_pages = 1U << order;
	memset(expected, 0xa5, (nr_pages + MIN_PAGES) * sizeof(*expected));
	folio->page.flags = BIT(PG_shim_large) | BIT(PG_shim_anon);
	folio->_flags_1 = order;
	for (i = 0; i < nr_pages; i += BITS_PER_LONG)
		*expected_word(i) = 0;
	memset(model, 0, nr_pages);
	memcpy(&marks, expected, (nr_pages + MIN_PAGES) * sizeof(*expected));
}

static void model_set(unsigned int first, unsigned int nr, bool value)
{
	unsigned int i;

	memset(model + first, value, nr);
	for (i = first; i < first + nr; i++) {
		if (value)
			*expected_word(i) |= 1UL << i % BITS_PER_LONG;
		else
			*expected_word(i) &= ~(1UL << i % BITS_PER_LONG);
	}
}

static void check_words(void)
{
	VERIFY(!memcmp(&marks, expected, (nr_pages + MIN_PAGES) * sizeof(*expected)));
}

/* What is said of a range. */
static void check_range(unsigned int first, unsigned int nr)
{
	struct page *page = marks.pages + first;
	bool exclusive = !model[first];
	const bool *end;

	VERIFY(folio_any_anon_exclusive(&marks.folio, page, nr) ==
	       !!memchr(model + first, true, nr), "pages %u + %u", first, nr);
	end = memchr(model + first, !model[first], nr);
	VERIFY(folio_anon_exclusive_run(&marks.folio, page, nr, &exclusive) ==
	       (end ? end - (model + first) : nr), "pages %u + %u", first, nr);
	VERIFY(exclusive == model[first]);
	VERIFY(folio_test_anon_exclusive(&marks.folio, page) == model[first]);
}

static void set_range(unsigned int first, unsigned int nr)
{
	folio_set_anon_exclusive_range(&marks.folio, marks.pages + first, nr);
	model_set(first, nr, true);
	check_words();
}

static void clear_range(unsigned int first, unsigned int nr)
{
	folio_clear_anon_exclusive_range(&marks.folio, marks.pages + first, nr);
	model_set(first, nr, false);
	check_words();
}

static void set_all_from(unsigned long pattern)
{
	unsigned int i;

	for (i = 0; i < nr_pages; i++)
		model_set(i, 1, pattern >> i & 1);
	memcpy(&marks, expected, (nr_pages + MIN_PAGES) * sizeof(*expected));
}

/* Each range, with all combinations of marks that there are before. */
static void marks_exhaustive(struct kunit *test)
{
	unsigned int order, first, nr;
	unsigned long pattern;

	for (order = ANON_EXCLUSIVE_MIN_ORDER; order <= 3; order++) {
		marks_init(order);
		for (pattern = 0; pattern < 1UL << nr_pages; pattern++) {
			for (first = 0; first < nr_pages; first++) {
				for (nr = 1; nr <= nr_pages - first; nr++) {
					set_all_from(pattern);
					check_range(first, nr);
					set_range(first, nr);
					check_range(first, nr);
					set_all_from(pattern);
					clear_range(first, nr);
					check_range(first, nr);
				}
			}
		}
	}
}

static const void *order_gen_params(struct kunit *test, const void *prev, char *desc)
{
	const unsigned long order = prev ? (unsigned long)prev + 1 : ANON_EXCLUSIVE_MIN_ORDER;

	if (order > MARKS_MAX_ORDER)
		return NULL;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order=%lu", order);
	return (void *)order;
}

/* Each mark alone among clear ones, and alone among set ones. */
static void marks_single(struct kunit *test)
{
	unsigned int i;

	marks_init((unsigned long)test->param_value);
	for (i = 0; i < nr_pages; i++) {
		struct page *page = marks.pages + i;

		/* Of very many, those at the ends of words and some others. */
		if (nr_pages > 1024 && (i + 1) % BITS_PER_LONG > 1 && i % 29)
			continue;
		folio_set_anon_exclusive(&marks.folio, page);
		model_set(i, 1, true);
		check_words();
		check_range(i, 1);
		check_range(0, nr_pages);
		folio_clear_anon_exclusive(&marks.folio, page);
		model_set(i, 1, false);
		check_words();

		set_range(0, nr_pages);
		folio_clear_anon_exclusive(&marks.folio, page);
		model_set(i, 1, false);
		check_words();
		check_range(i, 1);
		check_range(0, nr_pages);
		clear_range(0, nr_pages);
	}
}

/* Ranges that begin and end at, before and after the ends of words. */
static void marks_word_boundaries(struct kunit *test)
{
	const unsigned int words = 6;
	unsigned int a, b, set;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 1);
	marks_init((unsigned long)test->param_value);
	for (a = 0; a < 3 * words; a++) {
		const unsigned int first = min(a / 3 * BITS_PER_LONG + a % 3, nr_pages + 1) - 1;

		if (first >= nr_pages)
			continue;
		for (b = 0; b < 3 * words; b++) {
			const unsigned int end = min(b / 3 * BITS_PER_LONG + b % 3,
						     nr_pages + 1) - 1;

			if (end <= first || end > nr_pages)
				continue;
			for (set = 0; set < 3; set++) {
				/* All clear, all set, or some. */
				clear_range(0, nr_pages);
				if (set == 1)
					set_range(0, nr_pages);
				else if (set == 2)
					set_range(prandom_u32_state(&rnd) % nr_pages, 1);
				check_range(first, end - first);
				set_range(first, end - first);
				check_range(first, end - first);
				check_range(0, nr_pages);
				clear_range(first, end - first);
				check_range(first, end - first);
				check_range(0, nr_pages);
			}
		}
	}
}

static void marks_random(struct kunit *test)
{
	const unsigned long order = (unsigned long)test->param_value;
	const u64 seed = kunit_seed * 100 + order;
	struct rnd_state rnd;
	unsigned int step;

	printf("# seed %llu\n", seed);
	prandom_seed_state(&rnd, seed);
	marks_init(order);
	for (step = 0; step < 20000U >> order / 2; step++) {
		const unsigned int first = prandom_u32_state(&rnd) % nr_pages;
		unsigned int nr = prandom_u32_state(&rnd) % (nr_pages - first) + 1;

		if (step % 2)
			nr = min(nr, 5);
		if (prandom_u32_state(&rnd) % 2)
			set_range(first, nr);
		else
			clear_range(first, nr);
		check_range(first, nr_pages - first);
		check_range(prandom_u32_state(&rnd) % nr_pages, 1);
	}
}

/* All marks of a new folio; and none after it was, whatever was in its words. */
static void marks_fill_and_zero(struct kunit *test)
{
	const unsigned long order = (unsigned long)test->param_value;
	unsigned int i;

	marks_init(order);
	folio_fill_anon_exclusive(&marks.folio);
	model_set(0, nr_pages, true);
	check_words();
	check_range(0, nr_pages);

	/* Both words of each struct page, also where one is enough. */
	for (i = 0; i < nr_pages; i += 2 * BITS_PER_LONG) {
		struct page *page = expected + FIRST_PAGE + i / (2 * BITS_PER_LONG);

		page->__folio_index = 0;
		page->private = 0;
		marks.pages[page - expected].__folio_index = ~0UL;
		marks.pages[page - expected].private = ~0UL;
	}
	/* The folio does not know its order any more. */
	marks.folio._flags_1 = ~0UL;
	((struct folio *)expected)->_flags_1 = ~0UL;
	folio_zero_anon_exclusive(&marks.folio, order);
	check_words();
}

/* No marks in folios that are never anon. */
static void marks_zero_small(struct kunit *test)
{
	unsigned int order;

	for (order = 0; order < ANON_EXCLUSIVE_MIN_ORDER; order++) {
		marks_init(ANON_EXCLUSIVE_MIN_ORDER);
		memset(expected, 0xc3, (nr_pages + MIN_PAGES) * sizeof(*expected));
		memcpy(&marks, expected, (nr_pages + MIN_PAGES) * sizeof(*expected));
		folio_zero_anon_exclusive(&marks.folio, order);
		check_words();
	}
}

/* Small folios have a flag, and hugetlb has that of its first page. */
static void marks_flag(struct kunit *test)
{
	static const unsigned long kinds[] = {
		BIT(PG_shim_anon), BIT(PG_shim_anon) | BIT(PG_shim_large) | BIT(PG_shim_hugetlb),
	};
	struct folio *folio = &marks.folio;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		/* Any page of hugetlb. */
		struct page *page = marks.pages + 2 * i;

		marks_init(3);
		marks.pages[0].flags = kinds[i];
		expected[0].flags = kinds[i];
		VERIFY(!folio_test_anon_exclusive(folio, page));
		folio_set_anon_exclusive(folio, page);
		expected[0].flags |= BIT(PG_anon_exclusive);
		VERIFY(folio_test_anon_exclusive(folio, page));
		check_words();
		folio_clear_anon_exclusive(folio, page);
		expected[0].flags = kinds[i];
		VERIFY(!folio_test_anon_exclusive(folio, page));
		check_words();
	}
}

/*
 * What happens if another CPU changes the mark of another page of the same word
 * after any read, here also those that are only part of an atomic operation if
 * that is not atomic: its change must not get lost.
 */
static unsigned int others_bit, others_changes;

static void other_cpu(enum shim_access access, const void *addr)
{
	unsigned long *word = (unsigned long *)&marks.pages[FIRST_PAGE].__folio_index;

	if (access != SHIM_READ || addr != word)
		return;
	*word ^= 1UL << others_bit;
	others_changes++;
}

static void with_other_cpu(void (*fn)(struct folio *, struct page *, unsigned int),
			   unsigned int first, unsigned int nr)
{
	others_changes = 0;
	shim_hook = other_cpu;
	fn(&marks.folio, marks.pages + first, nr);
	shim_hook = NULL;
	model_set(others_bit, 1, model[others_bit] ^ others_changes % 2);
}

static void set_one(struct folio *folio, struct page *page, unsigned int nr)
{
	folio_set_anon_exclusive(folio, page);
}

static void clear_one(struct folio *folio, struct page *page, unsigned int nr)
{
	folio_clear_anon_exclusive(folio, page);
}

static void marks_other_cpu(struct kunit *test)
{
	unsigned int i;

	marks_init(4);
	for (i = 0; i < 2; i++) {
		others_bit = 9;
		/* Once while it is clear, once while it is set. */
		model_set(others_bit, 1, i);
		memcpy(&marks, expected, (nr_pages + MIN_PAGES) * sizeof(*expected));

		with_other_cpu(folio_set_anon_exclusive_range, 3, 2);
		model_set(3, 2, true);
		check_words();
		with_other_cpu(folio_clear_anon_exclusive_range, 2, 2);
		model_set(2, 2, false);
		check_words();
		with_other_cpu(set_one, 6, 1);
		model_set(6, 1, true);
		check_words();
		with_other_cpu(clear_one, 4, 1);
		model_set(4, 1, false);
		check_words();
	}
}

/* What is clear already does not get written to: others might be reading. */
static void count_writes(enum shim_access access, const void *addr)
{
	others_changes += access != SHIM_READ;
}

static void marks_clear_writes_only_if_set(struct kunit *test)
{
	marks_init(9);
	set_range(BITS_PER_LONG + 3, 1);
	others_changes = 0;
	shim_hook = count_writes;
	folio_clear_anon_exclusive_range(&marks.folio, marks.pages, nr_pages);
	shim_hook = NULL;
	model_set(0, nr_pages, false);
	check_words();
	VERIFY(others_changes == 1, "%u writes", others_changes);
	/* But each word takes one, however many pages are in it. */
	others_changes = 0;
	shim_hook = count_writes;
	folio_set_anon_exclusive_range(&marks.folio, marks.pages, nr_pages);
	shim_hook = NULL;
	VERIFY(others_changes == nr_pages / BITS_PER_LONG, "%u writes", others_changes);
}

/* What must not be is noticed. */
static void marks_warnings(struct kunit *test)
{
	struct folio *folio = &marks.folio;
	struct page *page = marks.pages;
	bool exclusive;

	marks_init(4);
	EXPECT_NO_WARNING((folio_set_anon_exclusive_range(folio, page + 3, 13), 0));
	EXPECT_WARNING("nr_pages > folio_nr_pages(folio)",
		       (folio_set_anon_exclusive_range(folio, page + 3, 14), 0));
	EXPECT_WARNING("nr_pages > folio_nr_pages(folio)",
		       (folio_clear_anon_exclusive_range(folio, page + 3, 14), 0));
	EXPECT_WARNING("nr_pages > folio_nr_pages(folio)",
		       folio_any_anon_exclusive(folio, page + 3, 14));
	EXPECT_WARNING("nr_pages > folio_nr_pages(folio)",
		       folio_anon_exclusive_run(folio, page + 3, 14, &exclusive));
	EXPECT_WARNING("!nr_pages", (folio_set_anon_exclusive_range(folio, page, 0), 0));
	/* KSM folios have no marks. */
	folio->page.flags |= BIT(PG_shim_ksm);
	EXPECT_WARNING("folio_test_ksm(folio)", (folio_set_anon_exclusive(folio, page), 0));
	EXPECT_WARNING("folio_test_ksm(folio)", (folio_clear_anon_exclusive(folio, page), 0));
	/* Only anon folios, and no hugetlb, for ranges. */
	folio->page.flags = BIT(PG_shim_large);
	EXPECT_WARNING("!folio_test_anon(folio)", (folio_test_anon_exclusive(folio, page), 0));
	EXPECT_WARNING("!folio_test_anon(folio)", (folio_set_anon_exclusive(folio, page), 0));
	EXPECT_WARNING("!folio_test_anon(folio)", (folio_clear_anon_exclusive(folio, page), 0));
	EXPECT_WARNING("!folio_test_anon(folio)",
		       (folio_set_anon_exclusive_range(folio, page, 1), 0));
	EXPECT_WARNING("!folio_test_anon(folio)", (folio_fill_anon_exclusive(folio), 0));
	folio->page.flags = BIT(PG_shim_anon);
	EXPECT_WARNING("!folio_test_large(folio)", folio_any_anon_exclusive(folio, page, 1));
	folio->page.flags = BIT(PG_shim_large) | BIT(PG_shim_anon) | BIT(PG_shim_hugetlb);
	EXPECT_WARNING("folio_test_hugetlb(folio)",
		       (folio_clear_anon_exclusive_range(folio, page, 1), 0));
}

static struct kunit_case marks_cases[] = {
	KUNIT_CASE(marks_exhaustive),
	KUNIT_CASE_PARAM(marks_single, order_gen_params),
	KUNIT_CASE_PARAM(marks_word_boundaries, order_gen_params),
	KUNIT_CASE_PARAM(marks_random, order_gen_params),
	KUNIT_CASE_PARAM(marks_fill_and_zero, order_gen_params),
	KUNIT_CASE(marks_zero_small),
	KUNIT_CASE(marks_flag),
	KUNIT_CASE(marks_other_cpu),
	KUNIT_CASE(marks_clear_writes_only_if_set),
	KUNIT_CASE(marks_warnings),
	{}
};

static struct kunit_suite marks_suite = {
	.name = "marks",
	.test_cases = marks_cases,
};

kunit_test_suite(marks_suite);
