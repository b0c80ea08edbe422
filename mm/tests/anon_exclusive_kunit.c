// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the anon-exclusive marks of large folios, on real folios. The
 * model is another bitmap.
 */
#include <kunit/test.h>
#include <linux/anon_exclusive.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/huge_mm.h>
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/rmap.h>
#include "../internal.h"

#define NR_STEPS	3000
/* HPAGE_PMD_NR is not a constant everywhere. */
#define MAX_NR		8192U

struct marks {
	struct folio *folio;
	unsigned int nr;
	unsigned long *model;
	struct anon_vma anon_vma;
	/* Good enough for the rmap functions. */
	struct mm_struct *mm;
	struct vm_area_struct *vma;
};

/* Anon, as far as the marks go: mapped by nobody. */
static void set_anon(struct marks *m, struct folio *folio)
{
	m->folio = folio;
	folio->mapping = (void *)((unsigned long)&m->anon_vma + FOLIO_MAPPING_ANON);
	/* Freeing it subtracts it. */
	mod_mthp_stat(folio_order(folio), MTHP_STAT_NR_ANON, 1);
}

static struct marks *marks_alloc(struct kunit *test, unsigned int order)
{
	struct marks *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct folio *folio;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->model = kunit_kzalloc(test, BITS_TO_LONGS(MAX_NR) * sizeof(long), GFP_KERNEL);
	m->mm = kunit_kcalloc(test, 2, sizeof(*m->mm), GFP_KERNEL);
	m->vma = kunit_kcalloc(test, 2, sizeof(*m->vma), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m->model);
	KUNIT_ASSERT_NOT_NULL(test, m->mm);
	KUNIT_ASSERT_NOT_NULL(test, m->vma);
	KUNIT_ASSERT_LE(test, order, ilog2(MAX_NR));

	atomic_set(&m->anon_vma.refcount, 1);
	m->anon_vma.root = &m->anon_vma;
	for (i = 0; i < 2; i++) {
		m->mm[i].mm_id = MM_ID_MIN + i;
		/* Duplicating the mappings of anon folios is what fork does. */
		seqcount_init(&m->mm[i].write_protect_seq);
		raw_write_seqcount_begin(&m->mm[i].write_protect_seq);
		m->vma[i].vm_mm = &m->mm[i];
		m->vma[i].vm_end = HPAGE_PMD_SIZE;
		m->vma[i].anon_vma = &m->anon_vma;
		vm_flags_init(&m->vma[i], VM_MAYWRITE);
	}

	folio = folio_alloc(GFP_KERNEL, order);
	if (!folio)
		kunit_skip(test, "no memory for a folio of order %u", order);
	KUNIT_ASSERT_EQ(test, mem_cgroup_charge(folio, NULL, GFP_KERNEL), 0);
	m->nr = folio_nr_pages(folio);
	return m->folio = folio, m;
}

static void check_marks(struct kunit *test, struct marks *m)
{
	struct folio *folio = m->folio;
	unsigned int i, run;
	bool exclusive;

	/* Nothing beyond the last page either. */
	for (i = 0; i < m->nr; i += BITS_PER_LONG)
		KUNIT_ASSERT_EQ_MSG(test, atomic_long_read(anon_exclusive_word(folio, i)),
				    m->model[BIT_WORD(i)], "from page %u", i);
	for (i = 0; i < m->nr; i++)
		KUNIT_ASSERT_EQ_MSG(test,
				    folio_test_anon_exclusive(folio, folio_page(folio, i)),
				    test_bit(i, m->model), "page %u", i);

	for (i = 0; i < m->nr; i += run) {
		unsigned int end = test_bit(i, m->model) ?
			find_next_zero_bit(m->model, m->nr, i) :
			find_next_bit(m->model, m->nr, i);

		run = folio_anon_exclusive_run(folio, folio_page(folio, i), m->nr - i,
					       &exclusive);
		KUNIT_ASSERT_EQ(test, exclusive, test_bit(i, m->model));
		KUNIT_ASSERT_EQ_MSG(test, run, end - i, "from page %u", i);
	}
}

static void check_part(struct kunit *test, struct marks *m, unsigned int first,
		       unsigned int nr)
{
	struct page *page = folio_page(m->folio, first);
	const bool is_set = test_bit(first, m->model);
	unsigned int next, run;
	bool exclusive;

	next = find_next_bit(m->model, first + nr, first);
	KUNIT_ASSERT_EQ_MSG(test, folio_any_anon_exclusive(m->folio, page, nr),
			    next < first + nr, "pages %u to %u", first, first + nr - 1);
	if (is_set)
		next = find_next_zero_bit(m->model, first + nr, first);
	run = folio_anon_exclusive_run(m->folio, page, nr, &exclusive);
	KUNIT_ASSERT_EQ(test, exclusive, is_set);
	KUNIT_ASSERT_EQ_MSG(test, run, next - first, "pages %u to %u", first, first + nr - 1);
}

static void set_marks(struct marks *m, unsigned int first, unsigned int nr)
{
	folio_set_anon_exclusive_range(m->folio, folio_page(m->folio, first), nr);
	bitmap_set(m->model, first, nr);
}

static void clear_marks(struct marks *m, unsigned int first, unsigned int nr)
{
	folio_clear_anon_exclusive_range(m->folio, folio_page(m->folio, first), nr);
	bitmap_clear(m->model, first, nr);
}

/* What is in the tail pages, whoever it belongs to. */
static unsigned long leftovers(struct page *page, unsigned int nr)
{
	unsigned long left = 0;
	unsigned int i;

	for (i = ANON_EXCLUSIVE_FIRST_PAGE; i < nr; i++)
		left |= page[i].__folio_index | page[i].private;
	return left;
}

/* All orders that there are. The PMD's is not a constant everywhere. */
static const void *order_gen_params(struct kunit *test, const void *prev, char *desc)
{
	const unsigned long order = prev ? (unsigned long)prev + 1 : ANON_EXCLUSIVE_MIN_ORDER;

	if (order > HPAGE_PMD_ORDER)
		return NULL;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order=%lu", order);
	return (void *)order;
}

static unsigned int param_order(struct kunit *test)
{
	return (unsigned long)test->param_value;
}

/* Each mark on its own, with all the others set and with all the others clear. */
static void marks_single(struct kunit *test)
{
	struct marks *m = marks_alloc(test, param_order(test));
	struct folio *folio = m->folio;
	unsigned int i;

	set_anon(m, folio);
	check_marks(test, m);
	for (i = 0; i < m->nr; i++) {
		folio_set_anon_exclusive(folio, folio_page(folio, i));
		__set_bit(i, m->model);
		check_part(test, m, 0, m->nr);
		KUNIT_ASSERT_TRUE(test, folio_test_anon_exclusive(folio, folio_page(folio, i)));
	}
	check_marks(test, m);
	for (i = 0; i < m->nr; i++) {
		folio_clear_anon_exclusive(folio, folio_page(folio, i));
		__clear_bit(i, m->model);
		check_part(test, m, 0, m->nr);
		KUNIT_ASSERT_FALSE(test, folio_test_anon_exclusive(folio, folio_page(folio, i)));
	}
	check_marks(test, m);
	folio_put(folio);
}

/* Ranges that begin and end at, before and after the ends of words. */
static void marks_ranges(struct kunit *test)
{
	static const int near[] = { -1, 0, 1 };
	struct marks *m = marks_alloc(test, param_order(test));
	unsigned int first, last, a, b, i, j;

	set_anon(m, m->folio);
	for (a = 0; a <= m->nr; a += BITS_PER_LONG) {
		for (b = a; b <= m->nr; b += BITS_PER_LONG) {
			for (i = 0; i < 9; i++) {
				first = clamp((int)a + near[i % 3], 0, (int)m->nr - 1);
				last = clamp((int)b + near[i / 3], (int)first, (int)m->nr - 1);

				set_marks(m, first, last - first + 1);
				check_part(test, m, 0, m->nr);
				for (j = 0; j < first; j += BITS_PER_LONG / 2)
					check_part(test, m, j, last - j + 1);
				check_part(test, m, first, last - first + 1);
				clear_marks(m, first, last - first + 1);
				check_part(test, m, 0, m->nr);
			}
		}
	}
	check_marks(test, m);
	folio_put(m->folio);
}

static void marks_random(struct kunit *test)
{
	struct marks *m = marks_alloc(test, param_order(test));
	const u64 seed = 1000 + param_order(test);
	struct rnd_state rnd;
	int step;

	kunit_info(test, "seed %llu", seed);
	prandom_seed_state(&rnd, seed);
	set_anon(m, m->folio);
	for (step = 0; step < NR_STEPS; step++) {
		unsigned int first = prandom_u32_state(&rnd) % m->nr;
		unsigned int nr = prandom_u32_state(&rnd) % (m->nr - first) + 1;

		if (prandom_u32_state(&rnd) & 1)
			nr = min(nr, 5);
		if (prandom_u32_state(&rnd) & 1)
			set_marks(m, first, nr);
		else
			clear_marks(m, first, nr);
		first = prandom_u32_state(&rnd) % m->nr;
		check_part(test, m, first, prandom_u32_state(&rnd) % (m->nr - first) + 1);
		if (step % 100 == 0)
			check_marks(test, m);
	}
	check_marks(test, m);
	folio_put(m->folio);
}

/* As when a page fault allocates it. */
static void marks_fill(struct kunit *test)
{
	struct marks *m = marks_alloc(test, param_order(test));

	set_anon(m, m->folio);
	folio_fill_anon_exclusive(m->folio);
	bitmap_set(m->model, 0, m->nr);
	check_marks(test, m);
	folio_put(m->folio);
}

/* The pages have been used before, and have anything in them. */
static void marks_init(struct kunit *test)
{
	const unsigned int order = param_order(test), nr = 1U << order;
	struct page *page = alloc_pages(GFP_KERNEL, order);
	unsigned int i;

	if (!page)
		kunit_skip(test, "no memory for order %u", order);
	for (i = 1; i < nr; i++) {
		page[i].__folio_index = -1UL;
		/* Not expected there: CONFIG_DEBUG_VM warns of it. */
		if (!IS_ENABLED(CONFIG_DEBUG_VM))
			page[i].private = -1UL;
	}
	prep_compound_page(page, order);
	KUNIT_EXPECT_EQ(test, leftovers(page, nr), 0);
	__free_pages(page, order);
}

/* A folio that gets freed leaves no marks behind. */
static void marks_free(struct kunit *test)
{
	const unsigned int order = param_order(test), nr = 1U << order;
	unsigned long left = -1UL;
	int i;

	/* Once it is free, somebody else can have it and write to it. */
	for (i = 0; i < 10 && left; i++) {
		struct marks *m = marks_alloc(test, order);
		struct page *page = &m->folio->page;

		set_anon(m, m->folio);
		folio_fill_anon_exclusive(m->folio);
		KUNIT_EXPECT_NE(test, leftovers(page, nr), 0);
		folio_put(m->folio);
		left = leftovers(page, nr);
	}
	KUNIT_EXPECT_EQ(test, left, 0);
}

/* What is left of the marks must not become anything in the folios after a split. */
static void split_to_order(struct kunit *test, unsigned int order, unsigned int new_order)
{
	struct marks *m = marks_alloc(test, order);
	struct folio *folio = m->folio;
	const unsigned long pfn = folio_pfn(folio), nr = m->nr;
	unsigned int i;

	folio_add_new_anon_rmap(folio, &m->vma[0], 0, RMAP_EXCLUSIVE);
	folio_set_anon_exclusive_range(folio, &folio->page, nr);
	if (folio_test_pmd_mappable(folio))
		folio_remove_rmap_pmd(folio, &folio->page, &m->vma[0]);
	else
		folio_remove_rmap_ptes(folio, &folio->page, nr, &m->vma[0]);
	folio_lock(folio);
	KUNIT_ASSERT_EQ(test, folio_split_unmapped(folio, new_order), 0);

	for (i = 0; i < nr; i += 1U << new_order) {
		folio = pfn_folio(pfn + i);
		KUNIT_ASSERT_EQ(test, folio_order(folio), new_order);
		KUNIT_EXPECT_EQ(test, folio->index, i);
		KUNIT_EXPECT_NULL(test, folio->private);
		if (new_order)
			KUNIT_EXPECT_EQ(test, leftovers(&folio->page, 1U << new_order), 0);
		else
			KUNIT_EXPECT_FALSE(test, folio_test_anon_exclusive(folio, &folio->page));
		folio_unlock(folio);
		folio_put(folio);
	}
}

static void marks_split(struct kunit *test)
{
	unsigned int new_order;

	/* Anon folios never have order 1. */
	for (new_order = 0; new_order < param_order(test); new_order++)
		if (new_order != 1)
			split_to_order(test, param_order(test), new_order);
}

/* fork() takes the marks of what it copies, and no others; not if it is pinned. */
static void marks_fork(struct kunit *test)
{
	struct marks *m = marks_alloc(test, param_order(test));
	struct vm_area_struct *parent = &m->vma[0], *child = &m->vma[1];
	struct folio *folio = m->folio;
	const unsigned int nr = m->nr, first = nr / 4, part = nr / 2;

	folio_add_new_anon_rmap(folio, parent, 0, RMAP_EXCLUSIVE);
	if (folio_test_pmd_mappable(folio)) {
		/* The first page speaks for the mapping. */
		__set_bit(0, m->model);
		check_marks(test, m);
		folio_add_anon_rmap_ptes(folio, &folio->page, nr, parent, 0, RMAP_EXCLUSIVE);
		folio_remove_rmap_pmd(folio, &folio->page, parent);
	}
	bitmap_set(m->model, 0, nr);
	check_marks(test, m);

	/* A pin of one page keeps the marks of all pages of the folio. */
	mm_flags_set(MMF_HAS_PINNED, &m->mm[0]);
	atomic_inc(&folio->_pincount);
	KUNIT_EXPECT_EQ(test, folio_try_dup_anon_rmap_ptes(folio, folio_page(folio, first),
							   part, child, parent), -EBUSY);
	check_marks(test, m);
	/* But what is shared already can be mapped by somebody else. */
	clear_marks(m, first, part);
	KUNIT_EXPECT_EQ(test, folio_try_dup_anon_rmap_ptes(folio, folio_page(folio, first),
							   part, child, parent), 0);
	check_marks(test, m);
	folio_remove_rmap_ptes(folio, folio_page(folio, first), part, child);
	atomic_dec(&folio->_pincount);

	set_marks(m, first, part);
	KUNIT_EXPECT_EQ(test, folio_try_dup_anon_rmap_ptes(folio, folio_page(folio, first),
							   part, child, parent), 0);
	bitmap_clear(m->model, first, part);
	check_marks(test, m);

	folio_remove_rmap_ptes(folio, &folio->page, nr, parent);
	folio_remove_rmap_ptes(folio, folio_page(folio, first), part, child);
	folio_put(folio);
}

/* Swap and migration take the marks of what they unmap; not if it is pinned. */
static void marks_share(struct kunit *test)
{
	struct marks *m = marks_alloc(test, param_order(test));
	struct folio *folio = m->folio;
	unsigned int first, nr;

	set_anon(m, folio);
	for (first = 0; first < m->nr; first += 1 + first / 3) {
		for (nr = 1; nr <= m->nr - first; nr += 1 + nr / 2) {
			struct page *page = folio_page(folio, first);

			set_marks(m, 0, m->nr);
			atomic_inc(&folio->_pincount);
			KUNIT_ASSERT_EQ(test, folio_try_share_anon_rmap_ptes(folio, page, nr),
					-EBUSY);
			check_marks(test, m);
			atomic_dec(&folio->_pincount);
			KUNIT_ASSERT_EQ(test, folio_try_share_anon_rmap_ptes(folio, page, nr), 0);
			bitmap_clear(m->model, first, nr);
			check_marks(test, m);
		}
	}
	folio_put(folio);
}

/* A PMD's mark is that of the first page, and of no other. */
static void marks_pmd(struct kunit *test)
{
	struct marks *m = marks_alloc(test, HPAGE_PMD_ORDER);
	struct vm_area_struct *parent = &m->vma[0], *child = &m->vma[1];
	struct folio *folio = m->folio;

	folio_add_new_anon_rmap(folio, parent, 0, RMAP_EXCLUSIVE);
	__set_bit(0, m->model);
	check_marks(test, m);
	KUNIT_EXPECT_EQ(test, folio_try_dup_anon_rmap_pmd(folio, &folio->page, child, parent), 0);
	__clear_bit(0, m->model);
	check_marks(test, m);

	folio_remove_rmap_pmd(folio, &folio->page, parent);
	folio_set_anon_exclusive(folio, &folio->page);
	__set_bit(0, m->model);
	check_marks(test, m);
	KUNIT_EXPECT_EQ(test, folio_try_share_anon_rmap_pmd(folio, &folio->page), 0);
	__clear_bit(0, m->model);
	check_marks(test, m);
	folio_remove_rmap_pmd(folio, &folio->page, child);
	folio_put(folio);
}

struct writer {
	struct folio *folio;
	struct completion *start;
	struct completion done;
	/* Every other page, from this one on. */
	unsigned int first;
	unsigned long lost;
};

static int writer_fn(void *data)
{
	struct writer *w = data;
	struct folio *folio = w->folio;
	const unsigned int nr = folio_nr_pages(folio);
	unsigned int i, step;

	wait_for_completion(w->start);
	for (step = 0; step < 10 * NR_STEPS; step++) {
		for (i = w->first; i < nr; i += 2)
			folio_set_anon_exclusive(folio, folio_page(folio, i));
		for (i = w->first; i < nr; i += 2) {
			w->lost += !folio_test_anon_exclusive(folio, folio_page(folio, i));
			folio_clear_anon_exclusive_range(folio, folio_page(folio, i), 1);
			w->lost += folio_any_anon_exclusive(folio, folio_page(folio, i), 1);
		}
		if (step % 1000 == 0)
			cond_resched();
	}
	complete(&w->done);
	return 0;
}

/*
 * The pages of one word are in the page tables of two processes. With one CPU,
 * only preemption at the right moment would show a lost update.
 */
static void marks_two_writers(struct kunit *test)
{
	struct marks *m = marks_alloc(test, 4);
	DECLARE_COMPLETION_ONSTACK(start);
	struct task_struct *task;
	struct writer w[2];
	int i, nr;

	set_anon(m, m->folio);
	for (nr = 0; nr < ARRAY_SIZE(w); nr++) {
		w[nr] = (struct writer){ .folio = m->folio, .start = &start, .first = nr };
		init_completion(&w[nr].done);
		task = kthread_run(writer_fn, &w[nr], "anon_exclusive/%d", nr);
		if (IS_ERR(task))
			break;
	}
	complete_all(&start);
	for (i = 0; i < nr; i++) {
		wait_for_completion(&w[i].done);
		KUNIT_EXPECT_EQ(test, w[i].lost, 0);
	}
	KUNIT_EXPECT_EQ_MSG(test, nr, ARRAY_SIZE(w), "no memory for a thread");
	check_marks(test, m);
	folio_put(m->folio);
}

static struct kunit_case anon_exclusive_cases[] = {
	KUNIT_CASE_PARAM(marks_single, order_gen_params),
	KUNIT_CASE_PARAM(marks_ranges, order_gen_params),
	KUNIT_CASE_PARAM(marks_random, order_gen_params),
	KUNIT_CASE_PARAM(marks_fill, order_gen_params),
	KUNIT_CASE_PARAM(marks_init, order_gen_params),
	KUNIT_CASE_PARAM(marks_free, order_gen_params),
	KUNIT_CASE_PARAM(marks_split, order_gen_params),
	KUNIT_CASE_PARAM(marks_fork, order_gen_params),
	KUNIT_CASE_PARAM(marks_share, order_gen_params),
	KUNIT_CASE(marks_pmd),
	KUNIT_CASE(marks_two_writers),
	{}
};

static struct kunit_suite anon_exclusive_suite = {
	.name = "folio_mapcount_anon_exclusive",
	.test_cases = anon_exclusive_cases,
};

kunit_test_suite(anon_exclusive_suite);
