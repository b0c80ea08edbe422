/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_FOLIO_MAPCOUNT_H
#define _MM_FOLIO_MAPCOUNT_H

/*
 * Who maps a large folio: the words of the folio, and what changes them when page
 * table entries come and go. The arithmetic is in <linux/folio_mapcount.h>, what
 * is counted and why in Documentation/mm/folio_mapcount.rst.
 *
 * This compiles in user space as it is, see tools/testing/folio_mapcount: what
 * needs more than the words of a folio belongs into mm/rmap.c.
 */

#include <linux/atomic.h>
#include <linux/bit_spinlock.h>
#include <linux/folio_mapcount.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/pgtable.h>

/*
 * Without CONFIG_MM_ID, nobody asks who maps a folio, and all sums remain 0.
 * See __folio_rmap_sanity_checks(), we might map large folios even then.
 */
static __always_inline mm_id_t mm_rmap_id(const struct mm_struct *mm)
{
#ifdef CONFIG_MM_ID
	return mm->mm_id;
#else
	return MM_ID_DUMMY;
#endif
}

static __always_inline void folio_lock_large_mapcount(struct folio *folio)
{
	bit_spin_lock(FOLIO_MM_IDS_LOCK_BITNUM, &folio->_mm_ids);
}

static __always_inline void folio_unlock_large_mapcount(struct folio *folio)
{
	__bit_spin_unlock(FOLIO_MM_IDS_LOCK_BITNUM, &folio->_mm_ids);
}

static __always_inline void folio_read_mm_sums(const struct folio *folio,
					       struct mm_sums *sums)
{
	const unsigned long ids = READ_ONCE(folio->_mm_ids);

	/* Unlike folio_large_mapcount(), this is exact beyond INT_MAX. */
	sums->mapcount = atomic_read(&folio->_large_mapcount) + 1;
	sums->ids = ids & FOLIO_MM_IDS_SUM_MASK;
	sums->shared = ids & FOLIO_MM_IDS_SHARED_BIT;
	sums->squares = folio->_mm_id_squares;
	sums->exact_max = MM_SUMS_EXACT_MAX;
#ifndef CONFIG_64BIT
	/*
	 * The upper half of S2 is in the third tail page. Order-1 folios do not
	 * have that one: with them, the lower half alone must be sufficient.
	 */
	if (folio_large_order(folio) > 1)
		sums->squares |= (u64)folio->_mm_id_squares_high << BITS_PER_LONG;
	else
		sums->exact_max = MM_SUMS_EXACT_MAX_ORDER1;
#endif /* !CONFIG_64BIT */
}

#ifdef CONFIG_DEBUG_FOLIO_MAPCOUNT
void folio_mapcounts_changed(const struct folio *folio);
#else /* !CONFIG_DEBUG_FOLIO_MAPCOUNT */
static inline void folio_mapcounts_changed(const struct folio *folio)
{
}
#endif /* CONFIG_DEBUG_FOLIO_MAPCOUNT */

static __always_inline void folio_write_mm_sums(struct folio *folio,
						const struct mm_sums *sums)
{
	folio_mapcounts_changed(folio);
	/*
	 * The lock bit is in the same word, and only if bit spinlocks need it:
	 * leave it alone. As we have the lock, or as nobody else takes the lock
	 * of this folio yet, it cannot change. Others read the shared bit without the
	 * lock, but not together with anything else.
	 */
	WRITE_ONCE(folio->_mm_ids, sums->ids |
		   (READ_ONCE(folio->_mm_ids) & FOLIO_MM_IDS_LOCK_BIT) |
		   (unsigned long)sums->shared << FOLIO_MM_IDS_SHARED_BITNUM);
	/* Note: mapcounts start at -1. */
	atomic_set(&folio->_large_mapcount, sums->mapcount - 1);
	folio->_mm_id_squares = sums->squares;
#ifndef CONFIG_64BIT
	if (folio_large_order(folio) > 1)
		folio->_mm_id_squares_high = sums->squares >> BITS_PER_LONG;
#endif /* !CONFIG_64BIT */
}

/* Is the large folio mapped, and by the given MM only? Needs the lock. */
static inline bool folio_mapped_only_by(const struct folio *folio,
					const struct mm_struct *mm)
{
	struct mm_sums sums;

	/* All MMs look the same. */
	if (!IS_ENABLED(CONFIG_MM_ID))
		return false;

	folio_read_mm_sums(folio, &sums);
	return sums.mapcount && !sums.shared && mm_sums_only(&sums, mm_rmap_id(mm));
}

/*
 * Not inline: it is called several times, and not small with CONFIG_DEBUG_VM. Not in
 * mm/rmap.c, to be tested with the rest. Only mm/rmap.c calls it, so it is there once.
 */
static __maybe_unused
void __folio_large_mapcount_sanity_checks(const struct folio *folio, int diff, mm_id_t mm_id)
{
	VM_WARN_ON_ONCE(!folio_test_large(folio) || folio_test_hugetlb(folio));
	VM_WARN_ON_ONCE(diff <= 0);
	VM_WARN_ON_ONCE(IS_ENABLED(CONFIG_MM_ID) &&
			(mm_id < MM_ID_MIN || mm_id > MM_ID_MAX));

	/*
	 * Make sure we can detect at least one complete PTE mapping of an anon
	 * folio in a single MM as "exclusively mapped".
	 */
	VM_WARN_ON_ONCE(diff > folio_large_nr_pages(folio));
	VM_WARN_ON_ONCE(folio_test_anon(folio) &&
			folio_large_nr_pages(folio) > MM_SUMS_EXACT_MAX);

	/* Without any mappings, there is nothing to sum up. */
	VM_WARN_ON_ONCE(!folio_mapped(folio) &&
			((READ_ONCE(folio->_mm_ids) & ~FOLIO_MM_IDS_LOCK_BIT) ||
			 folio->_mm_id_squares));
}

/* The mapcounts of a large folio, as a change left them. */
struct large_mapcounts {
	int total;
	int entire;
	/* The pages to account for in the statistics, and the change of that. */
	int accounted;
	int accounted_diff;
};

/*
 * A PTE maps one page. Larger entries map the entire folio, and are one mapping
 * as well, which is counted on top by the entire mapcount.
 */
static __always_inline int folio_large_mapcount_diff(int nr_pages,
						     enum pgtable_level level)
{
	return level == PGTABLE_LEVEL_PTE ? nr_pages : 1;
}

static __always_inline void folio_write_entire_mapcount(struct folio *folio,
							int mapcount)
{
	/* Note: mapcounts start at -1. */
	atomic_set(&folio->_entire_mapcount, mapcount - 1);
}

static __always_inline void folio_write_accounted_pages(struct folio *folio,
							struct large_mapcounts *now)
{
	now->accounted_diff = now->accounted - folio->_nr_pages_accounted;
	/* Who only wants to know does not take the lock. */
	WRITE_ONCE(folio->_nr_pages_accounted, now->accounted);
}

static __always_inline void folio_set_large_mapcount(struct folio *folio,
						     int nr_pages,
						     struct vm_area_struct *vma,
						     enum pgtable_level level)
{
	const int diff = folio_large_mapcount_diff(nr_pages, level);
	const mm_id_t mm_id = mm_rmap_id(vma->vm_mm);
	/* Unlike CONFIG_INIT_STACK_ALL_ZERO, {} gets optimized away. */
	struct mm_sums sums = {};

	__folio_large_mapcount_sanity_checks(folio, diff, mm_id);
	VM_WARN_ON_ONCE(folio_mapped(folio));

	/*
	 * Nobody else can map it yet: it is new, or locked and in the swapcache.
	 * But the audit looks at what it finds, and takes the lock for that, whose
	 * bit is in a word that gets written here.
	 */
	if (IS_ENABLED(CONFIG_DEBUG_FOLIO_MAPCOUNT))
		folio_lock_large_mapcount(folio);
	folio_read_mm_sums(folio, &sums);
	mm_sums_add(&sums, mm_id, diff);
	folio_write_mm_sums(folio, &sums);
	if (level != PGTABLE_LEVEL_PTE)
		folio_write_entire_mapcount(folio, 1);
	folio->_nr_pages_accounted = nr_pages;
	if (IS_ENABLED(CONFIG_DEBUG_FOLIO_MAPCOUNT))
		folio_unlock_large_mapcount(folio);
}

/*
 * @anew: map pages, as opposed to duplicating mappings. Page table entries that
 * get duplicated map only what is accounted for already.
 */
static __always_inline struct large_mapcounts folio_add_large_mapcount(struct folio *folio,
								       int nr_pages,
								       struct vm_area_struct *vma,
								       enum pgtable_level level,
								       bool anew)
{
	const int diff = folio_large_mapcount_diff(nr_pages, level);
	const mm_id_t mm_id = mm_rmap_id(vma->vm_mm);
	struct large_mapcounts now;
	struct mm_sums sums = {};

	folio_lock_large_mapcount(folio);
	__folio_large_mapcount_sanity_checks(folio, diff, mm_id);

	folio_read_mm_sums(folio, &sums);
	mm_sums_add(&sums, mm_id, diff);
	folio_write_mm_sums(folio, &sums);

	now.total = sums.mapcount;
	now.entire = folio_entire_mapcount(folio);
	if (level != PGTABLE_LEVEL_PTE)
		folio_write_entire_mapcount(folio, ++now.entire);

	if (anew) {
		now.accounted = folio_large_nr_pages(folio);
		if (level == PGTABLE_LEVEL_PTE)
			now.accounted = accounted_pages_add(folio->_nr_pages_accounted,
							    nr_pages, now.accounted);
		folio_write_accounted_pages(folio, &now);
	}

	folio_unlock_large_mapcount(folio);
	return now;
}

static __always_inline struct large_mapcounts folio_sub_large_mapcount(struct folio *folio,
								       int nr_pages,
								       struct vm_area_struct *vma,
								       enum pgtable_level level)
{
	const int diff = folio_large_mapcount_diff(nr_pages, level);
	const mm_id_t mm_id = mm_rmap_id(vma->vm_mm);
	struct large_mapcounts now;
	struct mm_sums sums = {};

	folio_lock_large_mapcount(folio);
	__folio_large_mapcount_sanity_checks(folio, diff, mm_id);
	VM_WARN_ON_ONCE(diff > folio_large_mapcount(folio));

	folio_read_mm_sums(folio, &sums);
	/* Only who has mapped the folio can unmap it. */
	VM_WARN_ON_ONCE(!sums.shared && !mm_sums_only(&sums, mm_id));
	mm_sums_sub(&sums, mm_id, diff);
	folio_write_mm_sums(folio, &sums);

	now.total = sums.mapcount;
	now.entire = folio_entire_mapcount(folio);
	if (level != PGTABLE_LEVEL_PTE)
		folio_write_entire_mapcount(folio, --now.entire);

	now.accounted = accounted_pages_sub(folio->_nr_pages_accounted,
					    now.total, now.entire);
	folio_write_accounted_pages(folio, &now);

	folio_unlock_large_mapcount(folio);
	return now;
}

#endif /* _MM_FOLIO_MAPCOUNT_H */
