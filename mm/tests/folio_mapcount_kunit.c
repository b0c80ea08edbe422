// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the mapcounts of large folios: the rmap functions, called on
 * real folios. The model keeps how often each MM maps each page.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "mm_sums_model.h"

#define NR_STEPS	2000

/*
 * The MMs and VMAs are just good enough for the rmap functions, which only look
 * at the ID of the MM, and for an anon folio at its anon_vma.
 */
struct folio_ctx {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	struct anon_vma anon_vma;
	/* How often each MM maps each page, and the whole folio by PMD. */
	u8 *mapped[NR_MMS];
	u8 pmds[NR_MMS];
	unsigned int ids[NR_MMS];
	/* Taken by whoever changes mappings, like a page table lock. */
	spinlock_t ptl;
};

static struct folio_ctx *folio_ctx_alloc(struct kunit *test, u64 seed)
{
	struct folio_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct rnd_state rnd;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->mm = kunit_kcalloc(test, NR_MMS, sizeof(*ctx->mm), GFP_KERNEL);
	ctx->vma = kunit_kcalloc(test, NR_MMS, sizeof(*ctx->vma), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->mm);
	KUNIT_ASSERT_NOT_NULL(test, ctx->vma);

	spin_lock_init(&ctx->ptl);
	atomic_set(&ctx->anon_vma.refcount, 1);
	ctx->anon_vma.root = &ctx->anon_vma;

	prandom_seed_state(&rnd, seed);
	random_ids(&rnd, ctx->ids);
	for (i = 0; i < NR_MMS; i++) {
		ctx->mapped[i] = kunit_kzalloc(test, HPAGE_PMD_NR, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, ctx->mapped[i]);
		ctx->mm[i].mm_id = ctx->ids[i];
		/* Duplicating the mappings of anon folios is what fork does. */
		seqcount_init(&ctx->mm[i].write_protect_seq);
		raw_write_seqcount_begin(&ctx->mm[i].write_protect_seq);
		ctx->vma[i].vm_mm = &ctx->mm[i];
		ctx->vma[i].vm_end = HPAGE_PMD_SIZE;
		ctx->vma[i].anon_vma = &ctx->anon_vma;
		vm_flags_init(&ctx->vma[i], VM_MAYWRITE);
	}
	return ctx;
}

static struct folio *folio_ctx_folio(struct kunit *test, unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order);

	if (!folio)
		kunit_skip(test, "no memory for a folio of order %u", order);
	/* Whatever can end up on the deferred split list is charged. */
	KUNIT_ASSERT_EQ(test, mem_cgroup_charge(folio, NULL, GFP_KERNEL), 0);
	return folio;
}

static void check_folio(struct kunit *test, struct folio_ctx *ctx,
			struct folio *folio)
{
	const unsigned int nr_pages = folio_nr_pages(folio);
	unsigned int mapped[NR_MMS] = {}, entire = 0, owners = 0;
	struct mm_sums sums;
	int i, j;

	for (i = 0; i < NR_MMS; i++) {
		mapped[i] = ctx->pmds[i];
		for (j = 0; j < nr_pages; j++)
			mapped[i] += ctx->mapped[i][j];
		entire += ctx->pmds[i];
		owners += !!mapped[i];
	}

	folio_read_mm_sums(folio, &sums);
	check_sums(test, &sums, mapped, ctx->ids);
	KUNIT_ASSERT_EQ(test, folio_entire_mapcount(folio), entire);
	if (sums.mapcount <= sums.exact_max)
		KUNIT_ASSERT_EQ(test, folio_maybe_mapped_shared(folio), owners > 1);
	for (i = 0; i < NR_MMS; i++)
		if (mapped[i])
			KUNIT_ASSERT_EQ(test, folio_mapped_only_by(folio, &ctx->mm[i]),
					owners == 1 && sums.mapcount <= sums.exact_max);
}

static void map_ptes(struct folio_ctx *ctx, struct folio *folio, int i,
		     unsigned int first, unsigned int nr)
{
	struct page *page = folio_page(folio, first);
	unsigned int j;

	spin_lock(&ctx->ptl);
	if (!folio_test_anon(folio))
		folio_add_file_rmap_ptes(folio, page, nr, &ctx->vma[i]);
	else if (!folio_mapped(folio))
		folio_add_anon_rmap_ptes(folio, page, nr, &ctx->vma[i],
					 (folio->index + first) << PAGE_SHIFT, RMAP_NONE);
	else if (folio_try_dup_anon_rmap_ptes(folio, page, nr, &ctx->vma[i], &ctx->vma[0]))
		WARN_ON_ONCE(1);	/* No folio is pinned here. */
	spin_unlock(&ctx->ptl);
	for (j = first; j < first + nr; j++)
		ctx->mapped[i][j]++;
}

static void unmap_ptes(struct folio_ctx *ctx, struct folio *folio, int i,
		       unsigned int first, unsigned int nr)
{
	unsigned int j;

	spin_lock(&ctx->ptl);
	folio_remove_rmap_ptes(folio, folio_page(folio, first), nr, &ctx->vma[i]);
	spin_unlock(&ctx->ptl);
	for (j = first; j < first + nr; j++)
		ctx->mapped[i][j]--;
}

static void map_pmd(struct folio_ctx *ctx, struct folio *folio, int i)
{
	spin_lock(&ctx->ptl);
	if (!folio_test_anon(folio))
		folio_add_file_rmap_pmd(folio, &folio->page, &ctx->vma[i]);
	else if (folio_try_dup_anon_rmap_pmd(folio, &folio->page, &ctx->vma[i], &ctx->vma[0]))
		WARN_ON_ONCE(1);	/* No folio is pinned here. */
	spin_unlock(&ctx->ptl);
	ctx->pmds[i]++;
}

static void map_whole(struct folio_ctx *ctx, struct folio *folio, int i)
{
	if (folio_test_pmd_mappable(folio))
		map_pmd(ctx, folio, i);
	else
		map_ptes(ctx, folio, i, 0, folio_nr_pages(folio));
}

static void unmap_pmd(struct folio_ctx *ctx, struct folio *folio, int i)
{
	spin_lock(&ctx->ptl);
	folio_remove_rmap_pmd(folio, &folio->page, &ctx->vma[i]);
	spin_unlock(&ctx->ptl);
	ctx->pmds[i]--;
}

static void unmap_all(struct kunit *test, struct folio_ctx *ctx,
		      struct folio *folio, int i)
{
	unsigned int j;

	while (ctx->pmds[i])
		unmap_pmd(ctx, folio, i);
	for (j = 0; j < folio_nr_pages(folio); j++)
		while (ctx->mapped[i][j])
			unmap_ptes(ctx, folio, i, j, 1);
	check_folio(test, ctx, folio);
}

static struct folio *map_new_anon(struct kunit *test, struct folio_ctx *ctx,
				  unsigned int order)
{
	struct folio *folio = folio_ctx_folio(test, order);

	spin_lock(&ctx->ptl);
	folio_add_new_anon_rmap(folio, &ctx->vma[0], 0, RMAP_EXCLUSIVE);
	spin_unlock(&ctx->ptl);
	if (folio_test_pmd_mappable(folio))
		ctx->pmds[0] = 1;
	else
		memset(ctx->mapped[0], 1, folio_nr_pages(folio));
	check_folio(test, ctx, folio);
	return folio;
}

/* The PMD order is not a constant everywhere. */
#define PMD_SIZED 0

struct folio_param {
	unsigned int order;
	unsigned long long seed;
};

static unsigned int param_order(const struct folio_param *p)
{
	return p->order == PMD_SIZED ? HPAGE_PMD_ORDER : p->order;
}

static const struct folio_param folio_params[] = {
	{ 1, 11 }, { 1, 12 }, { 2, 21 }, { 2, 22 }, { 4, 41 }, { 4, 42 },
	{ PMD_SIZED, 91 }, { PMD_SIZED, 92 },
};

static void folio_desc(const struct folio_param *p, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order=%u seed=%llu", param_order(p), p->seed);
}

KUNIT_ARRAY_PARAM(folio, folio_params, folio_desc);

/* There are no anon folios of order 1. */
static const struct folio_param anon_params[] = {
	{ 2, 23 }, { 4, 43 }, { PMD_SIZED, 93 },
};

KUNIT_ARRAY_PARAM(anon, anon_params, folio_desc);

/* PTEs, PMDs, both at a time, PMD split: in the end, nothing must be left. */
static void folio_random_history(struct kunit *test)
{
	const struct folio_param *p = test->param_value;
	struct folio_ctx *ctx = folio_ctx_alloc(test, p->seed);
	struct folio *folio = folio_ctx_folio(test, param_order(p));
	const unsigned int nr_pages = folio_nr_pages(folio);
	struct rnd_state rnd;
	int i, step;

	prandom_seed_state(&rnd, p->seed);
	for (step = 0; step < NR_STEPS; step++) {
		unsigned int first = prandom_u32_state(&rnd) % nr_pages;
		unsigned int nr = 1 + prandom_u32_state(&rnd) % (nr_pages - first);

		i = prandom_u32_state(&rnd) % NR_MMS;
		switch (prandom_u32_state(&rnd) % 6) {
		case 0:
			if (ctx->mapped[i][first] < 3)
				map_ptes(ctx, folio, i, first, 1);
			break;
		case 1:
			if (!memchr_inv(&ctx->mapped[i][first], 0, nr))
				map_ptes(ctx, folio, i, first, nr);
			break;
		case 2:
			if (ctx->mapped[i][first])
				unmap_ptes(ctx, folio, i, first, 1);
			break;
		case 3:
			unmap_all(test, ctx, folio, i);
			break;
		case 4:
			if (folio_test_pmd_mappable(folio) && ctx->pmds[i] < 2)
				map_pmd(ctx, folio, i);
			break;
		case 5:
			if (ctx->pmds[i]) {
				unmap_pmd(ctx, folio, i);
				if (!memchr_inv(ctx->mapped[i], 0, nr_pages))
					map_ptes(ctx, folio, i, 0, nr_pages);
			}
			break;
		}
		check_folio(test, ctx, folio);
	}

	for (i = 0; i < NR_MMS; i++)
		unmap_all(test, ctx, folio, i);
	KUNIT_EXPECT_EQ(test, folio->_mm_ids, 0);
	KUNIT_EXPECT_EQ(test, folio->_mm_id_squares, 0);
	KUNIT_EXPECT_EQ(test, folio_page(folio, 1)->private, 0);
	folio_put(folio);
}

/* Three MMs; whichever is the last one must own the folio exclusively. */
static void folio_last_of_three(struct kunit *test)
{
	const struct folio_param *p = test->param_value;
	struct folio_ctx *ctx = folio_ctx_alloc(test, p->seed);
	struct folio *folio = folio_ctx_folio(test, param_order(p));
	const unsigned int nr_pages = folio_nr_pages(folio);
	int first, second, third, i;

	for (first = 0; first < 3; first++) {
		for (second = 0; second < 3; second++) {
			if (second == first)
				continue;
			third = 3 - first - second;
			for (i = 0; i < 3; i++)
				map_ptes(ctx, folio, i, 0, nr_pages);
			unmap_all(test, ctx, folio, first);
			KUNIT_EXPECT_TRUE(test, folio_maybe_mapped_shared(folio));
			unmap_all(test, ctx, folio, second);
			KUNIT_EXPECT_FALSE(test, folio_maybe_mapped_shared(folio));
			KUNIT_EXPECT_TRUE(test, folio_mapped_only_by(folio, &ctx->mm[third]));
			KUNIT_EXPECT_FALSE(test, folio_mapped_only_by(folio, &ctx->mm[first]));
			unmap_all(test, ctx, folio, third);
		}
	}
	folio_put(folio);
}

/* A PMD mapping is one mapping, also when it gets duplicated. */
static void folio_dup_pmd(struct kunit *test)
{
	struct folio_ctx *ctx = folio_ctx_alloc(test, 1);
	struct folio *folio = folio_ctx_folio(test, HPAGE_PMD_ORDER);

	map_pmd(ctx, folio, 0);
	spin_lock(&ctx->ptl);
	folio_dup_file_rmap_pmd(folio, &folio->page, &ctx->vma[1]);
	spin_unlock(&ctx->ptl);
	KUNIT_ASSERT_EQ(test, folio_mapcount(folio), 2);
	KUNIT_ASSERT_EQ(test, folio_entire_mapcount(folio), 2);
	ctx->pmds[1]++;
	check_folio(test, ctx, folio);

	unmap_all(test, ctx, folio, 0);
	unmap_all(test, ctx, folio, 1);
	folio_put(folio);
}

/* Anon folios: new by PTEs and by PMD, duplicated by fork, unmapped again. */
static void folio_anon_fork(struct kunit *test)
{
	const struct folio_param *p = test->param_value;
	struct folio_ctx *ctx = folio_ctx_alloc(test, p->seed);
	struct folio *folio;
	int i;

	folio = map_new_anon(test, ctx, param_order(p));

	for (i = 1; i < NR_MMS; i++) {
		map_whole(ctx, folio, i);
		check_folio(test, ctx, folio);
	}

	for (i = 0; i < NR_MMS; i++)
		unmap_all(test, ctx, folio, i);
	folio_put(folio);
}

/*
 * The sums of a folio that gets split are in what becomes the head of another
 * folio, or remain where they are. Either way, they must not be left behind.
 */
static void folio_split_unmapped_zero(struct kunit *test, unsigned int order,
				      unsigned int new_order)
{
	struct folio_ctx *ctx = folio_ctx_alloc(test, order);
	struct folio *folio = map_new_anon(test, ctx, order);
	const unsigned long pfn = folio_pfn(folio);
	unsigned int i;

	map_whole(ctx, folio, 1);
	check_folio(test, ctx, folio);
	unmap_all(test, ctx, folio, 0);
	unmap_all(test, ctx, folio, 1);

	folio_lock(folio);
	KUNIT_ASSERT_EQ(test, folio_split_unmapped(folio, new_order), 0);

	for (i = 0; i < 1U << order; i += 1U << new_order) {
		folio = pfn_folio(pfn + i);
		KUNIT_ASSERT_EQ(test, folio_order(folio), new_order);
		KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 0);
		if (new_order) {
			map_ptes(ctx, folio, 2, 0, 1U << new_order);
			check_folio(test, ctx, folio);
			unmap_all(test, ctx, folio, 2);
		}
		folio_unlock(folio);
		folio_put(folio);
	}
}

static void folio_split_to_order(struct kunit *test)
{
	const struct folio_param *p = test->param_value;
	unsigned int new_order;

	for (new_order = 0; new_order < param_order(p); new_order++)
		if (new_order != 1)
			folio_split_unmapped_zero(test, param_order(p), new_order);
}

struct mapper {
	struct folio *folio;
	struct vm_area_struct *vma;
	struct completion *start;
	struct completion done;
	unsigned long not_shared;
};

static int mapper_fn(void *data)
{
	struct mapper *mapper = data;
	int i, nr = 1;

	wait_for_completion(mapper->start);
	for (i = 0; i < 50 * NR_STEPS; i++) {
		nr = nr % folio_nr_pages(mapper->folio) + 1;
		folio_add_file_rmap_ptes(mapper->folio, &mapper->folio->page, nr,
					 mapper->vma);
		mapper->not_shared += !folio_maybe_mapped_shared(mapper->folio);
		folio_remove_rmap_ptes(mapper->folio, &mapper->folio->page, nr,
				       mapper->vma);
	}
	complete(&mapper->done);
	return 0;
}

/*
 * While a third MM maps the folio all the time, two others come and go. Whoever
 * maps it must find it shared, and in the end no update may have been lost.
 */
static void folio_concurrent_mappers(struct kunit *test)
{
	struct folio_ctx *ctx = folio_ctx_alloc(test, 7);
	struct folio *folio = folio_ctx_folio(test, 4);
	DECLARE_COMPLETION_ONSTACK(start);
	struct task_struct *task;
	struct mapper mapper[2];
	int i, nr;

	map_ptes(ctx, folio, 2, 0, 1);
	for (nr = 0; nr < ARRAY_SIZE(mapper); nr++) {
		mapper[nr].folio = folio;
		mapper[nr].vma = &ctx->vma[nr];
		mapper[nr].start = &start;
		mapper[nr].not_shared = 0;
		init_completion(&mapper[nr].done);
		task = kthread_run(mapper_fn, &mapper[nr], "folio_mapper/%d", nr);
		if (IS_ERR(task))
			break;
	}
	complete_all(&start);
	for (i = 0; i < nr; i++) {
		wait_for_completion(&mapper[i].done);
		KUNIT_EXPECT_EQ(test, mapper[i].not_shared, 0);
	}
	KUNIT_EXPECT_EQ_MSG(test, nr, ARRAY_SIZE(mapper), "no memory for a thread");
	check_folio(test, ctx, folio);
	unmap_all(test, ctx, folio, 2);
	folio_put(folio);
}

static struct kunit_case folio_mapcount_cases[] = {
	KUNIT_CASE_PARAM(folio_random_history, folio_gen_params),
	KUNIT_CASE_PARAM(folio_last_of_three, folio_gen_params),
	KUNIT_CASE_PARAM(folio_anon_fork, anon_gen_params),
	KUNIT_CASE_PARAM(folio_split_to_order, anon_gen_params),
	KUNIT_CASE(folio_dup_pmd),
	KUNIT_CASE(folio_concurrent_mappers),
	{}
};

static struct kunit_suite folio_mapcount_suite = {
	.name = "folio_mapcount",
	.test_cases = folio_mapcount_cases,
};

kunit_test_suite(folio_mapcount_suite);
