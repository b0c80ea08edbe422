/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_ANON_EXCLUSIVE_H
#define _LINUX_ANON_EXCLUSIVE_H

/*
 * Which pages of an anon folio are exclusive to the MM that maps them.
 *
 * A small folio and a hugetlb folio have one such mark. Any other large folio
 * has one for each page, because parts of it can be unmapped, or written to
 * after fork(), on their own. For a folio that is mapped by a PMD, the mark of
 * its first page speaks for the whole mapping, whatever the other marks are.
 *
 * The mark of a small or hugetlb folio is a page flag. Other large folios have
 * a bitmap, in two words of each of as many tail pages as it takes, from the third
 * page on, or on 32bit from the fourth, because there the third is full: for 2 MiB
 * in pages of 4 KiB these are pages 2 to 5, or 3 to 10. Anon folios never have
 * order 1. The words are 0 from the allocation of a large folio until it is
 * anon, and again when it gets freed or split, because what comes next has other
 * things there. A migrated folio gets its marks from the migration entries.
 *
 * A mark changes under the page table lock of the MM that maps the page. fork()
 * clears it also under write_protect_seq, and who unmaps temporarily clears it
 * with the page table entry cleared: see __folio_try_share_anon_rmap() for how
 * that is ordered against GUP-fast, which reads the marks without any lock, but
 * with a reference to the folio. Two writers of one word can hold the locks of
 * different page tables, be it of one MM or of several, so what changes a word
 * has to be atomic as long as the folio can be mapped.
 *
 * Where pages can belong to any folio, use the functions without _range: they
 * leave it to small folios to have the shortest path. The functions for ranges
 * are for large folios, not hugetlb.
 */

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/page-flags.h>

#define ANON_EXCLUSIVE_FIRST_PAGE	(IS_ENABLED(CONFIG_64BIT) ? 2 : 3)
#define ANON_EXCLUSIVE_MIN_ORDER	2

/* Two adjacent words, and nothing but words: __folio_index, private. */
static_assert(offsetof(struct page, private) ==
	      offsetof(struct page, __folio_index) + sizeof(atomic_long_t));
static_assert(sizeof(atomic_long_t) == sizeof(unsigned long));

/* The word with the bit of page @idx, and which bit that is. */
static __always_inline atomic_long_t *anon_exclusive_word(const struct folio *folio,
							  unsigned int idx)
{
	const unsigned int word = idx / BITS_PER_LONG;
	const struct page *page = &folio->page + ANON_EXCLUSIVE_FIRST_PAGE + word / 2;

	return (atomic_long_t *)((void *)page + offsetof(struct page, __folio_index)) +
	       word % 2;
}

static __always_inline unsigned long anon_exclusive_bit(unsigned int idx)
{
	return BIT(idx % BITS_PER_LONG);
}

/* The bits of the pages from @idx to before @end, as far as they are in one word. */
static __always_inline unsigned long anon_exclusive_mask(unsigned int idx,
							 unsigned int end)
{
	const unsigned int last = min(end - 1, idx | (BITS_PER_LONG - 1));

	return GENMASK(last % BITS_PER_LONG, idx % BITS_PER_LONG);
}

/* The first page whose bit is in the next word. */
static __always_inline unsigned int anon_exclusive_next(unsigned int idx)
{
	return (idx | (BITS_PER_LONG - 1)) + 1;
}

static inline void anon_exclusive_range_checks(const struct folio *folio,
					       const struct page *page,
					       unsigned int nr_pages)
{
	VM_WARN_ON_FOLIO(!folio_test_anon(folio), folio);
	VM_WARN_ON_FOLIO(!folio_test_large(folio), folio);
	VM_WARN_ON_FOLIO(folio_test_hugetlb(folio), folio);
	VM_WARN_ON_FOLIO(!nr_pages, folio);
	VM_WARN_ON_FOLIO(folio_page_idx(folio, page) + nr_pages >
			 folio_nr_pages(folio), folio);
}

/**
 * folio_test_anon_exclusive - is a page of an anon folio exclusive?
 * @folio: The anon folio, of any kind, which is locked by the page table lock
 *	   or to which the caller has a reference.
 * @page: The page of the folio that a PTE maps, or the first one that a PMD maps.
 *
 * Return: Whether no other MM can have the page mapped: it does not change to
 * true without the page table lock. Without that lock, what is returned may be
 * out of date.
 */
static __always_inline bool folio_test_anon_exclusive(const struct folio *folio,
						      const struct page *page)
{
	unsigned int idx;

	if (!folio_test_large(folio) || folio_test_hugetlb(folio))
		return PageAnonExclusive(&folio->page);

	VM_WARN_ON_FOLIO(!folio_test_anon(folio), folio);
	idx = folio_page_idx(folio, page);
	return atomic_long_read(anon_exclusive_word(folio, idx)) &
	       anon_exclusive_bit(idx);
}

/**
 * folio_set_anon_exclusive - mark a page of an anon folio as exclusive
 * @folio: The anon folio, of any kind, but not a KSM folio.
 * @page: The page of the folio that a PTE maps, or the first one that a PMD maps.
 *
 * Context: The page table lock is held, and no other MM maps the page.
 */
static __always_inline void folio_set_anon_exclusive(struct folio *folio,
						     struct page *page)
{
	unsigned int idx;

	if (!folio_test_large(folio) || folio_test_hugetlb(folio)) {
		SetPageAnonExclusive(&folio->page);
		return;
	}

	VM_WARN_ON_FOLIO(!folio_test_anon(folio) || folio_test_ksm(folio), folio);
	idx = folio_page_idx(folio, page);
	atomic_long_or(anon_exclusive_bit(idx), anon_exclusive_word(folio, idx));
}

/**
 * folio_clear_anon_exclusive - a page of an anon folio is no longer exclusive
 * @folio: The anon folio, of any kind, but not a KSM folio.
 * @page: The page of the folio that a PTE maps, or the first one that a PMD maps.
 *
 * Context: The page table lock is held. An atomic operation without a return
 * value, so that smp_mb__after_atomic() orders it.
 */
static __always_inline void folio_clear_anon_exclusive(struct folio *folio,
						       struct page *page)
{
	unsigned int idx;

	if (!folio_test_large(folio) || folio_test_hugetlb(folio)) {
		ClearPageAnonExclusive(&folio->page);
		return;
	}

	VM_WARN_ON_FOLIO(!folio_test_anon(folio) || folio_test_ksm(folio), folio);
	idx = folio_page_idx(folio, page);
	atomic_long_andnot(anon_exclusive_bit(idx), anon_exclusive_word(folio, idx));
}

/**
 * folio_set_anon_exclusive_range - mark pages of a large anon folio as exclusive
 * @folio: The large anon folio, not hugetlb.
 * @page: The first page.
 * @nr_pages: The number of pages, at least 1.
 *
 * Context: The page table lock is held, and no other MM maps any of the pages.
 */
static inline void folio_set_anon_exclusive_range(struct folio *folio,
						  struct page *page,
						  unsigned int nr_pages)
{
	unsigned int idx = folio_page_idx(folio, page);
	const unsigned int end = idx + nr_pages;

	anon_exclusive_range_checks(folio, page, nr_pages);
	for (; idx < end; idx = anon_exclusive_next(idx))
		atomic_long_or(anon_exclusive_mask(idx, end),
			       anon_exclusive_word(folio, idx));
}

/**
 * folio_clear_anon_exclusive_range - pages of a large anon folio are no longer
 *				      exclusive
 * @folio: The large anon folio, not hugetlb.
 * @page: The first page.
 * @nr_pages: The number of pages, at least 1.
 *
 * What is clear already does not get written to.
 *
 * Context: The page table lock is held. If any of the pages was exclusive, there
 * was an atomic operation without a return value, so that smp_mb__after_atomic()
 * orders it.
 */
static inline void folio_clear_anon_exclusive_range(struct folio *folio,
						    struct page *page,
						    unsigned int nr_pages)
{
	unsigned int idx = folio_page_idx(folio, page);
	const unsigned int end = idx + nr_pages;

	anon_exclusive_range_checks(folio, page, nr_pages);
	for (; idx < end; idx = anon_exclusive_next(idx)) {
		const unsigned long mask = anon_exclusive_mask(idx, end);
		atomic_long_t *word = anon_exclusive_word(folio, idx);

		if (atomic_long_read(word) & mask)
			atomic_long_andnot(mask, word);
	}
}

/**
 * folio_anon_exclusive_run - how many pages are alike exclusive, or alike not
 * @folio: The large anon folio, not hugetlb.
 * @page: The first page.
 * @nr_pages: The number of pages to look at, at least 1.
 * @exclusive: Where to put whether these pages are exclusive.
 *
 * Context: The page table lock is held, for the answer to stay right.
 * Return: The number of pages that are as the first one, 1 to @nr_pages.
 */
static inline unsigned int folio_anon_exclusive_run(const struct folio *folio,
						    const struct page *page,
						    unsigned int nr_pages,
						    bool *exclusive)
{
	const unsigned int first = folio_page_idx(folio, page);
	const unsigned int end = first + nr_pages;
	unsigned int idx = first;

	anon_exclusive_range_checks(folio, page, nr_pages);
	*exclusive = folio_test_anon_exclusive(folio, page);
	for (; idx < end; idx = anon_exclusive_next(idx)) {
		unsigned long others = atomic_long_read(anon_exclusive_word(folio, idx));

		if (*exclusive)
			others = ~others;
		others &= anon_exclusive_mask(idx, end);
		if (others)
			return round_down(idx, BITS_PER_LONG) + __ffs(others) - first;
	}
	return nr_pages;
}

/**
 * folio_any_anon_exclusive - is any of some pages of a large anon folio exclusive?
 * @folio: The large anon folio, not hugetlb.
 * @page: The first page.
 * @nr_pages: The number of pages, at least 1.
 *
 * Context: The page table lock is held, for the answer to stay right.
 * Return: Whether at least one of the pages is exclusive.
 */
static inline bool folio_any_anon_exclusive(const struct folio *folio,
					    const struct page *page,
					    unsigned int nr_pages)
{
	unsigned int idx = folio_page_idx(folio, page);
	const unsigned int end = idx + nr_pages;

	anon_exclusive_range_checks(folio, page, nr_pages);
	for (; idx < end; idx = anon_exclusive_next(idx))
		if (atomic_long_read(anon_exclusive_word(folio, idx)) &
		    anon_exclusive_mask(idx, end))
			return true;
	return false;
}

/**
 * folio_zero_anon_exclusive - make sure that no page of a folio is exclusive
 * @folio: The folio, of any kind but hugetlb.
 * @order: Its order: the folio may not know it any more.
 *
 * Before what is the bitmap now becomes something else: when an anon folio gets
 * freed or split.
 *
 * Context: Nobody else has a reference to the folio, or it is frozen.
 */
static inline void folio_zero_anon_exclusive(struct folio *folio, unsigned int order)
{
	struct page *page = &folio->page + ANON_EXCLUSIVE_FIRST_PAGE;
	const struct page *end = page + DIV_ROUND_UP(1UL << order, 2 * BITS_PER_LONG);

	if (order < ANON_EXCLUSIVE_MIN_ORDER)
		return;
	/* Where one word is enough, nobody needs the other one either. */
	do {
		page->__folio_index = 0;
		page->private = 0;
	} while (++page < end);
}

/**
 * folio_fill_anon_exclusive - mark all pages of a new large folio as exclusive
 * @folio: The large anon folio, not hugetlb, none of whose pages is marked.
 *
 * Context: The folio is not mapped yet, so that nobody else changes a mark.
 */
static inline void folio_fill_anon_exclusive(struct folio *folio)
{
	const unsigned int end = folio_nr_pages(folio);
	unsigned int idx;

	anon_exclusive_range_checks(folio, &folio->page, end);
	for (idx = 0; idx < end; idx = anon_exclusive_next(idx))
		atomic_long_set(anon_exclusive_word(folio, idx),
				anon_exclusive_mask(idx, end));
}

#endif /* _LINUX_ANON_EXCLUSIVE_H */
