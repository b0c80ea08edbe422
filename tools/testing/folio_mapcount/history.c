// SPDX-License-Identifier: GPL-2.0-only
/*
 * What can happen to the mappings of a large folio: done by the kernel's functions,
 * and to the model. See Documentation/mm/folio_mapcount.rst for what has to be the
 * outcome; nothing here uses the arithmetic of <linux/folio_mapcount.h>.
 */
#include "history.h"

void (*shim_hook)(enum shim_access access, const void *addr);

/* What nobody has any business with. */
#define POISON		0x5a

/* Up to this many mappings, "shared" is exact. */
static unsigned int exact_max(const struct history *h)
{
	if (IS_ENABLED(CONFIG_64BIT))
		return 65535;
	return h->order > 1 ? 32767 : 4;
}

struct totals {
	/* Mappings, those of the entire folio, and MMs that have any. */
	unsigned int mapcount;
	unsigned int entire;
	unsigned int owners;
	/* Pages that are mapped, and how often the one is that is mapped most. */
	unsigned int distinct;
	unsigned int most;
	u64 ids;
	u64 squares;
	bool shared;
};

static struct totals totals(const struct history *h)
{
	struct totals t = {};
	unsigned int mm, i;

	for (mm = 0; mm < h->nr_mms; mm++) {
		const u64 id = h->ids[mm];
		unsigned int nr = h->pmds[mm];

		for (i = 0; i < h->nr_pages; i++)
			nr += h->ptes[mm][i];
		t.mapcount += nr;
		t.entire += h->pmds[mm];
		t.owners += !!nr;
		t.ids += nr * id;
		t.squares += nr * id * id;
	}
	t.ids %= 1ULL << (IS_ENABLED(CONFIG_64BIT) ? 62 : 30);
	if (!IS_ENABLED(CONFIG_64BIT) && h->order == 1)
		t.squares = (u32)t.squares;
	t.shared = (IS_ENABLED(CONFIG_MM_ID) && t.owners > 1) || t.mapcount > exact_max(h);

	for (i = 0; i < h->nr_pages; i++) {
		unsigned int times = t.entire;

		for (mm = 0; mm < h->nr_mms; mm++)
			times += h->ptes[mm][i];
		t.distinct += !!times;
		t.most = max(t.most, times);
	}
	return t;
}

/* All the words of the folio, and of the pages behind it. */
static void expected_pages(const struct history *h, const struct totals *t,
			   struct page *pages)
{
	struct folio *folio = (struct folio *)pages;
	unsigned int i;

	memset(pages, POISON, (h->nr_pages + MIN_PAGES) * sizeof(*pages));
	folio->page.flags = BIT(PG_shim_large) | (h->anon ? BIT(PG_shim_anon) : 0);
	folio->_flags_1 = h->order;
	folio->_large_mapcount.counter = t->mapcount - 1;
	folio->_nr_pages_accounted = h->accounted;
	folio->_mm_id_squares = t->squares;
	folio->_mm_ids = t->ids | (unsigned long)t->shared << (BITS_PER_LONG - 1);
	if (IS_ENABLED(CONFIG_64BIT) || h->order > 1)
		folio->_entire_mapcount.counter = t->entire - 1;
#ifndef CONFIG_64BIT
	if (h->order > 1)
		folio->_mm_id_squares_high = t->squares >> 32;
#endif /* !CONFIG_64BIT */

	/* The marks: two words in each of as many pages as it takes. */
	for (i = 0; i < h->nr_pages && h->anon; i++) {
		struct page *page = pages + (IS_ENABLED(CONFIG_64BIT) ? 2 : 3) +
			i / (2 * BITS_PER_LONG);
		const unsigned int bit = i % (2 * BITS_PER_LONG);

		if (!bit) {
			page->__folio_index = 0;
			page->private = 0;
		}
		if (!h->exclusive[i])
			continue;
		if (bit < BITS_PER_LONG)
			page->__folio_index |= 1UL << bit;
		else
			page->private |= 1UL << (bit - BITS_PER_LONG);
	}
}

void history_init(struct history *h, unsigned int order, bool anon,
		  const unsigned int *ids, unsigned int nr_mms)
{
	unsigned int mm;

	VERIFY(order >= 1U + anon && order <= MAX_ORDER);
	VERIFY(nr_mms <= MAX_MMS);

	memset(h, 0, sizeof(*h));
	h->order = order;
	h->nr_pages = 1U << order;
	h->anon = anon;
	h->max_times = anon ? 1 : 200;
	h->nr_mms = nr_mms;
	h->exact = true;
	for (mm = 0; mm < nr_mms; mm++) {
#ifdef CONFIG_MM_ID
		h->ids[mm] = ids[mm];
		h->mm[mm].mm_id = ids[mm];
#endif /* CONFIG_MM_ID */
		h->vma[mm].vm_mm = &h->mm[mm];
	}
	history_restore(h);
}

void history_restore(struct history *h)
{
	const struct totals t = totals(h);

	expected_pages(h, &t, h->pages);
}

static void check_words(const struct history *h, const struct totals *t)
{
	static struct page pages[MAX_PAGES + MIN_PAGES];
	const struct folio *folio = (const struct folio *)pages;
	unsigned int i;

	expected_pages(h, t, pages);
	VERIFY(h->folio._large_mapcount.counter == folio->_large_mapcount.counter,
	       "%u mappings", t->mapcount);
	VERIFY(h->folio._nr_pages_accounted == folio->_nr_pages_accounted,
	       "%u, not %u accounted", h->folio._nr_pages_accounted,
	       folio->_nr_pages_accounted);
	VERIFY(h->folio._mm_ids == folio->_mm_ids, "%#lx, not %#lx, %u owners, %u mappings",
	       h->folio._mm_ids, folio->_mm_ids, t->owners, t->mapcount);
	VERIFY(h->folio._mm_id_squares == folio->_mm_id_squares);
	for (i = 0; i < h->nr_pages + MIN_PAGES; i++)
		VERIFY(!memcmp(h->pages + i, pages + i, sizeof(*pages)), "page %u", i);
}

/* What is never wrong, and what is right in states that say so. */
static void check_accounted(const struct history *h, const struct totals *t,
			    unsigned int accounted)
{
	VERIFY(accounted >= t->distinct, "%u of %u accounted", accounted, t->distinct);
	VERIFY(accounted <= h->nr_pages, "%u accounted", accounted);
	VERIFY(!accounted == !t->distinct, "%u of %u accounted", accounted, t->distinct);
	if (h->exact)
		VERIFY(accounted == t->distinct, "%u of %u accounted", accounted,
		       t->distinct);
}

static bool maps_any(const struct history *h, unsigned int mm, unsigned int first,
		     unsigned int nr)
{
	unsigned int i;

	for (i = first; i < first + nr; i++)
		if (h->ptes[mm][i])
			return true;
	return h->pmds[mm];
}

/* What the functions that only read say. */
static void check_readers(const struct history *h, const struct totals *t)
{
	struct mm_sums sums;
	unsigned int i;

	folio_read_mm_sums(&h->folio, &sums);
	VERIFY(sums.mapcount == t->mapcount && sums.ids == t->ids &&
	       sums.squares == t->squares && sums.shared == t->shared &&
	       sums.exact_max == exact_max(h));
	VERIFY(folio_maybe_mapped_shared(&h->folio) == t->shared);
	for (i = 0; i < h->nr_mms; i++)
		VERIFY(folio_mapped_only_by(&h->folio, &h->mm[i]) ==
		       (IS_ENABLED(CONFIG_MM_ID) && !t->shared &&
			maps_any(h, i, 0, h->nr_pages)), "MM %u", i);
	for (i = 0; i < h->nr_pages && h->anon; i++)
		VERIFY(folio_test_anon_exclusive(&h->folio, h->pages + i) ==
		       h->exclusive[i], "page %u", i);
}

void history_check(const struct history *h)
{
	const struct totals t = totals(h);

	check_accounted(h, &t, h->accounted);
	check_words(h, &t);
	check_readers(h, &t);
}

void history_check_bounds(struct history *h)
{
	const struct totals t = totals(h);

	h->exact = false;
	h->accounted = h->folio._nr_pages_accounted;
	check_accounted(h, &t, h->accounted);
	check_words(h, &t);
	check_readers(h, &t);
}

/* After something was mapped. */
static void mapped(struct history *h, const struct totals *t)
{
	if (t->most > 1)
		h->exact = false;
}

/* After something was unmapped. */
static void unmapped(struct history *h, const struct totals *t)
{
	if (!t->entire)
		h->accounted = min(h->accounted, t->mapcount);
	h->exact = t->most <= 1;
}

static void check_now(const struct history *h, const struct totals *t,
		      const struct large_mapcounts *now, unsigned int accounted)
{
	VERIFY((unsigned int)now->total == t->mapcount);
	VERIFY((unsigned int)now->entire == t->entire);
	VERIFY((unsigned int)now->accounted == h->accounted);
	VERIFY(now->accounted_diff == (int)h->accounted - (int)accounted);
}

static bool can_be_mapped_by_pmd(const struct history *h)
{
	/* On 32bit, there is no room for the entire mapcount in an order-1 folio. */
	return IS_ENABLED(CONFIG_64BIT) || h->order > 1;
}

static bool any_exclusive(const struct history *h, unsigned int first, unsigned int nr)
{
	return memchr(h->exclusive + first, true, nr);
}

/* Can @mm map these, anew or by fork()? */
static bool can_map(const struct history *h, unsigned int mm, unsigned int first,
		    unsigned int nr)
{
	unsigned int i;

	if (h->anon)
		return !maps_any(h, mm, first, nr);
	for (i = first; i < first + nr; i++)
		if (h->ptes[mm][i] >= h->max_times)
			return false;
	return true;
}

static void map(struct history *h, unsigned int mm, unsigned int first, unsigned int nr,
		bool anew)
{
	const unsigned int accounted = h->accounted;
	struct large_mapcounts now;
	struct totals t;
	unsigned int i;

	for (i = first; i < first + nr; i++)
		h->ptes[mm][i]++;
	if (anew)
		h->accounted = min(h->accounted + nr, h->nr_pages);
	t = totals(h);
	mapped(h, &t);

	now = folio_add_large_mapcount(&h->folio, nr, &h->vma[mm], PGTABLE_LEVEL_PTE, anew);
	if (!anew) {
		now.accounted = h->accounted;
		now.accounted_diff = 0;
	}
	check_now(h, &t, &now, accounted);
}

static void map_pmd(struct history *h, unsigned int mm, bool anew)
{
	const unsigned int accounted = h->accounted;
	struct large_mapcounts now;
	struct totals t;

	h->pmds[mm]++;
	if (anew)
		h->accounted = h->nr_pages;
	t = totals(h);
	mapped(h, &t);

	now = folio_add_large_mapcount(&h->folio, h->nr_pages, &h->vma[mm],
				       PGTABLE_LEVEL_PMD, anew);
	if (!anew) {
		now.accounted = h->accounted;
		now.accounted_diff = 0;
	}
	check_now(h, &t, &now, accounted);
}

static void unmap(struct history *h, unsigned int mm, unsigned int first, unsigned int nr,
		  enum pgtable_level level)
{
	const unsigned int accounted = h->accounted;
	struct large_mapcounts now;
	struct totals t;
	unsigned int i;

	if (level == PGTABLE_LEVEL_PTE)
		for (i = first; i < first + nr; i++)
			h->ptes[mm][i]--;
	else
		h->pmds[mm]--;
	t = totals(h);
	unmapped(h, &t);

	now = folio_sub_large_mapcount(&h->folio, nr, &h->vma[mm], level);
	check_now(h, &t, &now, accounted);
}

static void set_exclusive(struct history *h, unsigned int first, unsigned int nr)
{
	if (nr == 1)
		folio_set_anon_exclusive(&h->folio, h->pages + first);
	else
		folio_set_anon_exclusive_range(&h->folio, h->pages + first, nr);
	memset(h->exclusive + first, true, nr);
}

/* As fork() and what unmaps do; not all who could be marked are. */
static void clear_exclusive(struct history *h, unsigned int first, unsigned int nr)
{
	VERIFY(folio_any_anon_exclusive(&h->folio, h->pages + first, nr) ==
	       any_exclusive(h, first, nr));
	if (nr == 1)
		folio_clear_anon_exclusive(&h->folio, h->pages + first);
	else
		folio_clear_anon_exclusive_range(&h->folio, h->pages + first, nr);
	memset(h->exclusive + first, false, nr);
}

bool history_new(struct history *h, unsigned int mm, enum pgtable_level level)
{
	struct totals t = totals(h);

	if (!h->anon || t.mapcount)
		return false;

	h->accounted = h->nr_pages;
	if (level == PGTABLE_LEVEL_PTE)
		memset(h->ptes[mm], 1, h->nr_pages);
	else
		h->pmds[mm] = 1;
	h->exact = true;
	folio_set_large_mapcount(&h->folio, h->nr_pages, &h->vma[mm], level);
	if (level == PGTABLE_LEVEL_PTE) {
		folio_fill_anon_exclusive(&h->folio);
		memset(h->exclusive, true, h->nr_pages);
	} else {
		set_exclusive(h, 0, 1);
	}
	return true;
}

bool history_map(struct history *h, unsigned int mm, unsigned int first, unsigned int nr)
{
	/* What is exclusive, be it because of a PMD, nobody else can map. */
	if (!can_map(h, mm, first, nr) ||
	    (h->anon && (any_exclusive(h, first, nr) ||
			 (totals(h).entire && h->exclusive[0]))))
		return false;
	map(h, mm, first, nr, true);
	return true;
}

bool history_map_pmd(struct history *h, unsigned int mm)
{
	if (!can_be_mapped_by_pmd(h) || h->pmds[mm] >= min(h->max_times, 2) ||
	    (h->anon && (maps_any(h, mm, 0, h->nr_pages) ||
			 any_exclusive(h, 0, h->nr_pages))))
		return false;
	map_pmd(h, mm, true);
	return true;
}

bool history_fork(struct history *h, unsigned int parent, unsigned int child,
		  unsigned int first, unsigned int nr)
{
	unsigned int i;

	for (i = first; i < first + nr; i++)
		if (!h->ptes[parent][i])
			return false;
	if (parent == child || !can_map(h, child, first, nr))
		return false;
	if (h->anon)
		clear_exclusive(h, first, nr);
	map(h, child, first, nr, false);
	return true;
}

bool history_fork_pmd(struct history *h, unsigned int parent, unsigned int child)
{
	if (parent == child || !h->pmds[parent] || h->pmds[child] >= min(h->max_times, 2) ||
	    (h->anon && maps_any(h, child, 0, h->nr_pages)))
		return false;
	if (h->anon)
		clear_exclusive(h, 0, 1);
	map_pmd(h, child, false);
	return true;
}

bool history_unmap(struct history *h, unsigned int mm, unsigned int first, unsigned int nr)
{
	unsigned int i;

	for (i = first; i < first + nr; i++)
		if (!h->ptes[mm][i])
			return false;
	/* While another MM maps it as well, nothing is marked. */
	if (h->anon)
		clear_exclusive(h, first, nr);
	unmap(h, mm, first, nr, PGTABLE_LEVEL_PTE);
	return true;
}

bool history_unmap_pmd(struct history *h, unsigned int mm)
{
	if (!h->pmds[mm])
		return false;
	if (h->anon && totals(h).mapcount == 1)
		clear_exclusive(h, 0, 1);
	unmap(h, mm, 0, h->nr_pages, PGTABLE_LEVEL_PMD);
	return true;
}

/* For a moment, there are both. The mark of the first page becomes that of all. */
bool history_split_pmd(struct history *h, unsigned int mm)
{
	unsigned int i;

	if (!h->pmds[mm])
		return false;
	for (i = 0; i < h->nr_pages; i++)
		if (h->ptes[mm][i] >= h->max_times)
			return false;
	map(h, mm, 0, h->nr_pages, true);
	if (h->anon && h->exclusive[0])
		set_exclusive(h, 0, h->nr_pages);
	history_check(h);
	unmap(h, mm, 0, h->nr_pages, PGTABLE_LEVEL_PMD);
	return true;
}

bool history_set_exclusive(struct history *h, unsigned int first, unsigned int nr)
{
	const struct totals t = totals(h);
	unsigned int mm, i;

	if (!h->anon)
		return false;
	/* A PMD: the first page speaks for it. */
	if (t.entire && (t.mapcount > 1 || first || nr > 1))
		return false;
	for (i = first; i < first + nr && !t.entire; i++) {
		unsigned int times = 0;

		for (mm = 0; mm < h->nr_mms; mm++)
			times += h->ptes[mm][i];
		if (times != 1)
			return false;
	}
	set_exclusive(h, first, nr);
	return true;
}

bool history_clear_exclusive(struct history *h, unsigned int first, unsigned int nr)
{
	if (!h->anon)
		return false;
	clear_exclusive(h, first, nr);
	return true;
}

bool history_step(struct history *h, unsigned int what, unsigned int mm,
		  unsigned int first, unsigned int nr)
{
	/* Who does not map anything yet, mostly, is a good child. */
	const unsigned int child = (mm + 1 + first) % h->nr_mms;

	mm %= h->nr_mms;
	first %= h->nr_pages;
	nr = nr % (h->nr_pages - first) + 1;

	switch (what % 10) {
	case 0:
		return history_new(h, mm, nr % 2 ? PGTABLE_LEVEL_PTE : PGTABLE_LEVEL_PMD);
	case 1:
		return history_map(h, mm, first, nr);
	case 2:
		return history_map_pmd(h, mm);
	case 3:
		return history_fork(h, mm, child, first, nr);
	case 4:
		return history_fork_pmd(h, mm, child);
	case 5:
		return history_unmap(h, mm, first, nr);
	case 6:
		return history_unmap_pmd(h, mm);
	case 7:
		return history_split_pmd(h, mm);
	case 8:
		return history_set_exclusive(h, first, nr);
	default:
		return history_clear_exclusive(h, first, nr);
	}
}

void history_end(struct history *h)
{
	unsigned int mm, i, nr;

	for (mm = 0; mm < h->nr_mms; mm++) {
		while (history_unmap_pmd(h, mm))
			;
		for (i = 0; i < h->nr_pages; i += !nr) {
			/* What is mapped several times takes several turns. */
			for (nr = 0; i + nr < h->nr_pages && h->ptes[mm][i + nr]; nr++)
				;
			if (nr)
				history_unmap(h, mm, i, nr);
		}
		history_check(h);
	}
	VERIFY(!h->folio._mm_ids && !h->folio._mm_id_squares);
	VERIFY(!h->folio._nr_pages_accounted);
	VERIFY(!any_exclusive(h, 0, h->nr_pages));
}
