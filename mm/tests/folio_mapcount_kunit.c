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

#include "../folio_mapcount.h"
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
	/* The pages that should be accounted as mapped, and the node's statistics. */
	unsigned int accounted;
	bool after_unmap;
	long nr_mapped;
	long nr_pmdmapped;
	bool partially_mapped;
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

static long node_stat(struct folio *folio, enum node_stat_item item)
{
	struct pglist_data *pgdat = folio_pgdat(folio);
	long count = atomic_long_read(&pgdat->vm_stat[item]);
	int cpu;

	for_each_online_cpu(cpu)
		count += per_cpu_ptr(pgdat->per_cpu_nodestats, cpu)->vm_node_stat_diff[item];
	return count;
}

static long nr_mapped(struct folio *folio)
{
	return node_stat(folio, folio_test_anon(folio) ? NR_ANON_MAPPED : NR_FILE_MAPPED);
}

static long nr_pmdmapped(struct folio *folio)
{
	return node_stat(folio, folio_test_anon(folio) ? NR_ANON_THPS : NR_FILE_PMDMAPPED);
}

/*
 * As long as there is no user space, nobody else maps anything. But what the
 * CPUs have counted might just be on its way to the node.
 */
static void check_stat(struct kunit *test, long (*stat)(struct folio *folio),
		       struct folio *folio, long expected)
{
	long value;
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		value = stat(folio);
		if (value == expected || system_state >= SYSTEM_RUNNING)
			return;
		cond_resched();
	}
	KUNIT_ASSERT_EQ(test, value, expected);
}

/* The statistics as they are while the folio is not mapped. */
static void start_stats(struct folio_ctx *ctx, struct folio *folio)
{
	ctx->accounted = 0;
	ctx->partially_mapped = false;
	ctx->nr_mapped = nr_mapped(folio);
	ctx->nr_pmdmapped = nr_pmdmapped(folio);
}

static struct folio *folio_ctx_folio(struct kunit *test, struct folio_ctx *ctx,
				     unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order);

	if (!folio)
		kunit_skip(test, "no memory for a folio of order %u", order);
	/* Whatever can end up on the deferred split list is charged. */
	KUNIT_ASSERT_EQ(test, mem_cgroup_charge(folio, NULL, GFP_KERNEL), 0);
	start_stats(ctx, folio);
	return folio;
}

static void check_accounted(struct kunit *test, struct folio_ctx *ctx,
			    struct folio *folio, unsigned int entire)
{
	const unsigned int nr_pages = folio_nr_pages(folio);
	unsigned int distinct = 0, most = 0;
	int i, j;

	for (j = 0; j < nr_pages; j++) {
		unsigned int mapped = entire;

		for (i = 0; i < NR_MMS; i++)
			mapped += ctx->mapped[i][j];
		distinct += !!mapped;
		most = max(most, mapped);
	}

	KUNIT_ASSERT_EQ(test, folio->_nr_pages_accounted, ctx->accounted);
	KUNIT_ASSERT_GE(test, ctx->accounted, distinct);
	KUNIT_ASSERT_EQ(test, !ctx->accounted, !distinct);
	KUNIT_ASSERT_LE(test, ctx->accounted, nr_pages);
	check_stat(test, nr_mapped, folio, ctx->nr_mapped + ctx->accounted);
	check_stat(test, nr_pmdmapped, folio, ctx->nr_pmdmapped +
		   (entire && folio_test_pmd_mappable(folio) ? nr_pages : 0));
	/* No page is mapped twice, or has been since it was last exact. */
	if ((ctx->after_unmap && most <= 1) ||
	    (folio_test_anon(folio) && !folio_maybe_mapped_shared(folio)))
		KUNIT_ASSERT_EQ(test, ctx->accounted, distinct);
	if (folio_test_anon(folio) && folio_order(folio) > 1)
		KUNIT_ASSERT_EQ(test, folio_test_partially_mapped(folio),
				ctx->partially_mapped);
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
	check_accounted(test, ctx, folio, entire);
	if (sums.mapcount <= sums.exact_max)
		KUNIT_ASSERT_EQ(test, folio_maybe_mapped_shared(folio), owners > 1);
	for (i = 0; i < NR_MMS; i++)
		if (mapped[i])
			KUNIT_ASSERT_EQ(test, folio_mapped_only_by(folio, &ctx->mm[i]),
					owners == 1 && sums.mapcount <= sums.exact_max);
}

static void model_map(struct folio_ctx *ctx, struct folio *folio, unsigned int nr)
{
	ctx->accounted = min(ctx->accounted + nr, folio_nr_pages(folio));
	ctx->after_unmap = false;
}

static void model_unmap(struct folio_ctx *ctx, struct folio *folio)
{
	const unsigned int nr_pages = folio_nr_pages(folio);
	unsigned int total = 0;
	int i, j;

	for (i = 0; i < NR_MMS; i++) {
		total += ctx->pmds[i] * nr_pages;
		for (j = 0; j < nr_pages; j++)
			total += ctx->mapped[i][j];
	}
	ctx->accounted = min(ctx->accounted, total);
	ctx->after_unmap = true;
	if (folio_test_anon(folio) && total && ctx->accounted < nr_pages)
		ctx->partially_mapped = true;
}

static void map_ptes(struct folio_ctx *ctx, struct folio *folio, int i,
		     unsigned int first, unsigned int nr)
{
	struct page *page = folio_page(folio, first);
	unsigned int j;

	spin_lock(&ctx->ptl);
	if (!folio_test_anon(folio))
		folio_add_file_rmap_ptes(folio, page, nr, &ctx->vma[i]);
	else
		folio_add_anon_rmap_ptes(folio, page, nr, &ctx->vma[i],
					 (folio->index + first) << PAGE_SHIFT, RMAP_NONE);
	spin_unlock(&ctx->ptl);
	for (j = first; j < first + nr; j++)
		ctx->mapped[i][j]++;
	model_map(ctx, folio, nr);
}

/* What fork() does: duplicate the mappings that @parent has. */
static void dup_ptes(struct folio_ctx *ctx, struct folio *folio, int parent,
		     int child, unsigned int first, unsigned int nr)
{
	struct page *page = folio_page(folio, first);
	struct vm_area_struct *vma = &ctx->vma[child];
	unsigned int j;

	spin_lock(&ctx->ptl);
	if (!folio_test_anon(folio))
		folio_dup_file_rmap_ptes(folio, page, nr, vma);
	else if (folio_try_dup_anon_rmap_ptes(folio, page, nr, vma, &ctx->vma[parent]))
		WARN_ON_ONCE(1);	/* No folio is pinned here. */
	spin_unlock(&ctx->ptl);
	for (j = first; j < first + nr; j++)
		ctx->mapped[child][j]++;
	ctx->after_unmap = false;
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
	model_unmap(ctx, folio);
}

static void map_pmd(struct folio_ctx *ctx, struct folio *folio, int i)
{
	spin_lock(&ctx->ptl);
	folio_add_file_rmap_pmd(folio, &folio->page, &ctx->vma[i]);
	spin_unlock(&ctx->ptl);
	ctx->pmds[i]++;
	model_map(ctx, folio, folio_nr_pages(folio));
}

static void dup_pmd(struct folio_ctx *ctx, struct folio *folio, int parent, int child)
{
	struct vm_area_struct *vma = &ctx->vma[child];

	spin_lock(&ctx->ptl);
	if (!folio_test_anon(folio))
		folio_dup_file_rmap_pmd(folio, &folio->page, vma);
	else if (folio_try_dup_anon_rmap_pmd(folio, &folio->page, vma, &ctx->vma[parent]))
		WARN_ON_ONCE(1);	/* No folio is pinned here. */
	spin_unlock(&ctx->ptl);
	ctx->pmds[child]++;
	ctx->after_unmap = false;
}

/* All that @parent maps; @child must not map anything yet if that is anon. */
static void fork_mm(struct folio_ctx *ctx, struct folio *folio, int parent, int child)
{
	unsigned int first, nr;

	for (nr = 0; nr < ctx->pmds[parent]; nr++)
		dup_pmd(ctx, folio, parent, child);
	for (first = 0; first < folio_nr_pages(folio); first += nr) {
		for (nr = 0; first + nr < folio_nr_pages(folio); nr++)
			if (!ctx->mapped[parent][first + nr])
				break;
		if (nr)
			dup_ptes(ctx, folio, parent, child, first, nr);
		else
			nr = 1;
	}
}

static void unmap_pmd(struct folio_ctx *ctx, struct folio *folio, int i)
{
	spin_lock(&ctx->ptl);
	folio_remove_rmap_pmd(folio, &folio->page, &ctx->vma[i]);
	spin_unlock(&ctx->ptl);
	ctx->pmds[i]--;
	model_unmap(ctx, folio);
}

/* Both at a time in between, as when a PMD of an anon folio gets split. */
static void split_pmd(struct folio_ctx *ctx, struct folio *folio, int i)
{
	map_ptes(ctx, folio, i, 0, folio_nr_pages(folio));
	unmap_pmd(ctx, folio, i);
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
	struct folio *folio = folio_ctx_folio(test, ctx, order);

	ctx->nr_mapped = node_stat(folio, NR_ANON_MAPPED);
	ctx->nr_pmdmapped = node_stat(folio, NR_ANON_THPS);
	spin_lock(&ctx->ptl);
	folio_add_new_anon_rmap(folio, &ctx->vma[0], 0, RMAP_EXCLUSIVE);
	spin_unlock(&ctx->ptl);
	if (folio_test_pmd_mappable(folio))
		ctx->pmds[0] = 1;
	else
		memset(ctx->mapped[0], 1, folio_nr_pages(folio));
	model_map(ctx, folio, folio_nr_pages(folio));
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
	struct folio *folio = folio_ctx_folio(test, ctx, param_order(p));
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
			if (ctx->pmds[i] && !memchr_inv(ctx->mapped[i], 0, nr_pages))
				split_pmd(ctx, folio, i);
			else if (ctx->pmds[i])
				unmap_pmd(ctx, folio, i);
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
	struct folio *folio = folio_ctx_folio(test, ctx, param_order(p));
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
	struct folio *folio = folio_ctx_folio(test, ctx, HPAGE_PMD_ORDER);

	map_pmd(ctx, folio, 0);
	dup_pmd(ctx, folio, 0, 1);
	KUNIT_ASSERT_EQ(test, folio_mapcount(folio), 2);
	KUNIT_ASSERT_EQ(test, folio_entire_mapcount(folio), 2);
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
		fork_mm(ctx, folio, 0, i);
		check_folio(test, ctx, folio);
	}

	for (i = 0; i < NR_MMS; i++)
		unmap_all(test, ctx, folio, i);
	folio_put(folio);
}

/* First to last mapped page of a range, one by one and in runs. */
static void unmap_range(struct folio_ctx *ctx, struct folio *folio, int i,
			unsigned int first, unsigned int end)
{
	unsigned int nr;

	if (ctx->pmds[i])
		split_pmd(ctx, folio, i);
	for (; first < end; first += nr) {
		for (nr = 0; first + nr < end; nr++)
			if (!ctx->mapped[i][first + nr])
				break;
		if (nr)
			unmap_ptes(ctx, folio, i, first, nr);
		else
			nr = 1;
	}
}

static bool maps_any(struct folio_ctx *ctx, struct folio *folio, int i)
{
	return ctx->pmds[i] || memchr_inv(ctx->mapped[i], 0, folio_nr_pages(folio));
}

/* A few processes fork, unmap, split PMDs, swap in and exit. */
static void folio_anon_random_history(struct kunit *test)
{
	const struct folio_param *p = test->param_value;
	struct folio_ctx *ctx = folio_ctx_alloc(test, p->seed);
	struct folio *folio = map_new_anon(test, ctx, param_order(p));
	const unsigned int nr_pages = folio_nr_pages(folio);
	struct rnd_state rnd;
	int i, j, step;

	prandom_seed_state(&rnd, p->seed);
	for (step = 0; step < NR_STEPS; step++) {
		unsigned int first = prandom_u32_state(&rnd) % nr_pages;
		unsigned int nr = 1 + prandom_u32_state(&rnd) % (nr_pages - first);

		i = prandom_u32_state(&rnd) % 4;
		j = prandom_u32_state(&rnd) % 4;
		switch (prandom_u32_state(&rnd) % 5) {
		case 0:
			if (!maps_any(ctx, folio, j))
				fork_mm(ctx, folio, i, j);
			break;
		case 1:
			unmap_range(ctx, folio, i, first, first + nr);
			break;
		case 2:
			if (!ctx->pmds[i] && !ctx->mapped[i][first])
				map_ptes(ctx, folio, i, first, 1);
			break;
		case 3:
			if (ctx->pmds[i])
				split_pmd(ctx, folio, i);
			break;
		case 4:
			if (step % 8 == 0)
				unmap_all(test, ctx, folio, i);
			break;
		}
		check_folio(test, ctx, folio);
	}

	for (i = 0; i < NR_MMS; i++)
		unmap_all(test, ctx, folio, i);
	folio_put(folio);
}

/*
 * Parent and child unmap the same half. Nobody can tell, but as soon as there is
 * only one of them, the rest is known to be unmapped. The same goes for one that unmaps
 * what the other one does not, down to a single page.
 */
static void folio_anon_same_half(struct kunit *test)
{
	const struct folio_param *p = test->param_value;
	struct folio_ctx *ctx = folio_ctx_alloc(test, p->seed);
	struct folio *folio = map_new_anon(test, ctx, param_order(p));
	const unsigned int nr_pages = folio_nr_pages(folio);

	fork_mm(ctx, folio, 0, 1);
	unmap_range(ctx, folio, 0, 0, nr_pages / 2);
	KUNIT_EXPECT_EQ(test, folio->_nr_pages_accounted, nr_pages);
	unmap_range(ctx, folio, 1, 0, nr_pages / 2);
	check_folio(test, ctx, folio);
	KUNIT_EXPECT_EQ(test, folio->_nr_pages_accounted, nr_pages);
	KUNIT_EXPECT_FALSE(test, folio_test_partially_mapped(folio));

	unmap_range(ctx, folio, 1, nr_pages - 1, nr_pages);
	check_folio(test, ctx, folio);
	KUNIT_EXPECT_EQ(test, folio->_nr_pages_accounted, nr_pages - 1);
	KUNIT_EXPECT_TRUE(test, folio_test_partially_mapped(folio));

	unmap_all(test, ctx, folio, 1);
	KUNIT_EXPECT_EQ(test, folio->_nr_pages_accounted, nr_pages / 2);
	unmap_range(ctx, folio, 0, nr_pages / 2, nr_pages - 1);
	KUNIT_EXPECT_EQ(test, folio->_nr_pages_accounted, 1);
	unmap_all(test, ctx, folio, 0);
	folio_put(folio);
}

/* As if MM 0 had mapped, or unmapped, one page of the folio many times. */
static void pretend(struct folio_ctx *ctx, struct folio *folio, long many)
{
	const s64 ids = (s64)many * ctx->ids[0];
	struct mm_sums sums;

	folio_read_mm_sums(folio, &sums);
	sums.mapcount += many;
	sums.ids = (sums.ids + ids) & FOLIO_MM_IDS_SUM_MASK;
	sums.squares += ids * ctx->ids[0];
	sums.shared = true;
	folio_write_mm_sums(folio, &sums);
}

/* With more mappings than an int can count, the folio is mapped, and shared. */
static void folio_beyond_int(struct kunit *test)
{
	struct folio_ctx *ctx = folio_ctx_alloc(test, 3);
	struct folio *folio = folio_ctx_folio(test, ctx, 4);
	const long many = INT_MAX - 40;
	int i;

	map_ptes(ctx, folio, 0, 0, 16);
	pretend(ctx, folio, many);
	map_ptes(ctx, folio, 1, 0, 16);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), INT_MAX - 8);
	for (i = 2; i < 5; i++) {
		map_ptes(ctx, folio, i, 0, 16);
		KUNIT_EXPECT_EQ(test, folio_mapcount(folio), INT_MAX);
		KUNIT_EXPECT_TRUE(test, folio_mapped(folio));
		KUNIT_EXPECT_TRUE(test, folio_maybe_mapped_shared(folio));
	}
	for (i = 2; i < 5; i++)
		unmap_ptes(ctx, folio, i, 0, 16);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), INT_MAX - 8);
	KUNIT_EXPECT_EQ(test, folio->_nr_pages_accounted, 16);

	/* Nothing was lost. */
	pretend(ctx, folio, -many);
	check_folio(test, ctx, folio);

	/* Removed too often, on the other hand, is something to complain about. */
	atomic_sub(32 + 512, &folio->_large_mapcount);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), -512);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	atomic_add(32 + 512, &folio->_large_mapcount);
	unmap_all(test, ctx, folio, 0);
	unmap_all(test, ctx, folio, 1);
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

	fork_mm(ctx, folio, 0, 1);
	check_folio(test, ctx, folio);
	unmap_all(test, ctx, folio, 0);
	unmap_all(test, ctx, folio, 1);

	folio_lock(folio);
	KUNIT_ASSERT_EQ(test, folio_split_unmapped(folio, new_order), 0);

	for (i = 0; i < 1U << order; i += 1U << new_order) {
		folio = pfn_folio(pfn + i);
		KUNIT_ASSERT_EQ(test, folio_order(folio), new_order);
		KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 0);
		ctx->partially_mapped = false;
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
	struct folio *folio = folio_ctx_folio(test, ctx, 4);
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
	KUNIT_CASE_PARAM(folio_anon_random_history, anon_gen_params),
	KUNIT_CASE_PARAM(folio_anon_same_half, anon_gen_params),
	KUNIT_CASE(folio_beyond_int),
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
