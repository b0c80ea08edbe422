/* SPDX-License-Identifier: GPL-2.0 */
/*
 * As much of struct page and struct folio as the mapcounts and the anon-exclusive
 * marks of large folios need: the words that they are in, by name and place as in
 * <linux/mm_types.h>. What kind of folio it is, is as simple as can be.
 */
#ifndef _LINUX_MM_H
#define _LINUX_MM_H

#include <linux/atomic.h>
#include <linux/bit_spinlock.h>
#include <linux/folio_mapcount.h>
#include <linux/mmdebug.h>

#ifdef CONFIG_64BIT
#define mm_id_t unsigned int
#else /* !CONFIG_64BIT */
#define mm_id_t unsigned short
#endif /* CONFIG_64BIT */

struct page {
	unsigned long flags;
	unsigned long compound_info;
	unsigned long lru_prev;
	void *mapping;
	unsigned long __folio_index;
	unsigned long private;
	atomic_t _mapcount;
	atomic_t _refcount;
	unsigned long memcg_data;
};

struct folio {
	struct page page;
	union {
		struct {
			unsigned long _flags_1;
			unsigned long _head_1;
			atomic_t _large_mapcount;
			unsigned int _nr_pages_accounted;
#ifdef CONFIG_64BIT
			atomic_t _entire_mapcount;
			atomic_t _pincount;
#endif /* CONFIG_64BIT */
			unsigned long _mm_id_squares;
			unsigned long _mm_ids;
		};
		struct page __page_1;
	};
	union {
		struct {
			unsigned long _flags_2;
			unsigned long _head_2;
			unsigned long _deferred_list[2];
#ifndef CONFIG_64BIT
			atomic_t _entire_mapcount;
			atomic_t _pincount;
#endif /* !CONFIG_64BIT */
		};
		struct page __page_2;
	};
	union {
		struct {
			unsigned long _flags_3;
			unsigned long _head_3;
#ifndef CONFIG_64BIT
			unsigned long _mm_id_squares_high;
#endif /* !CONFIG_64BIT */
		};
		struct page __page_3;
	};
};

#define FOLIO_MATCH(pg, fl)							\
	static_assert(offsetof(struct folio, fl) ==				\
		      offsetof(struct page, pg) + sizeof(struct page), #fl)
FOLIO_MATCH(flags, _flags_1);
FOLIO_MATCH(compound_info, _head_1);
FOLIO_MATCH(__folio_index, _mm_id_squares);
FOLIO_MATCH(private, _mm_ids);
#undef FOLIO_MATCH

struct mm_struct {
#ifdef CONFIG_MM_ID
	mm_id_t mm_id;
#endif /* CONFIG_MM_ID */
};

struct vm_area_struct {
	struct mm_struct *vm_mm;
};

/* In the flags of the first page; the order is where the kernel has it. */
#define PG_anon_exclusive	0
#define PG_shim_large		1
#define PG_shim_anon		2
#define PG_shim_hugetlb		3
#define PG_shim_ksm		4

static inline bool folio_test_large(const struct folio *folio)
{
	return test_bit(PG_shim_large, &folio->page.flags);
}

static inline bool folio_test_anon(const struct folio *folio)
{
	return test_bit(PG_shim_anon, &folio->page.flags);
}

static inline bool folio_test_hugetlb(const struct folio *folio)
{
	return test_bit(PG_shim_hugetlb, &folio->page.flags);
}

static inline bool folio_test_ksm(const struct folio *folio)
{
	return test_bit(PG_shim_ksm, &folio->page.flags);
}

static inline bool PageAnonExclusive(const struct page *page)
{
	return test_bit(PG_anon_exclusive, &page->flags);
}

static inline void SetPageAnonExclusive(struct page *page)
{
	__atomic_fetch_or(&page->flags, BIT(PG_anon_exclusive), __ATOMIC_RELAXED);
}

static inline void ClearPageAnonExclusive(struct page *page)
{
	__atomic_fetch_and(&page->flags, ~BIT(PG_anon_exclusive), __ATOMIC_RELAXED);
}

static inline unsigned int folio_large_order(const struct folio *folio)
{
	return folio->_flags_1 & 0xff;
}

static inline unsigned int folio_large_nr_pages(const struct folio *folio)
{
	return 1U << folio_large_order(folio);
}

static inline unsigned int folio_nr_pages(const struct folio *folio)
{
	return folio_test_large(folio) ? folio_large_nr_pages(folio) : 1;
}

#define folio_page(folio, n)		(&(folio)->page + (n))
#define folio_page_idx(folio, p)	((unsigned int)((p) - &(folio)->page))

#define FOLIO_MAPCOUNT_UNDERFLOW	0x10000

/* What has wrapped does not look unmapped, what has underflowed does. */
static inline int folio_large_mapcount(const struct folio *folio)
{
	const int mapcount = atomic_read(&folio->_large_mapcount) + 1;

	return mapcount < -FOLIO_MAPCOUNT_UNDERFLOW ? INT_MAX : mapcount;
}

static inline int folio_entire_mapcount(const struct folio *folio)
{
	/* Order-1 folios do not have the page that it is in on 32bit. */
	if (!IS_ENABLED(CONFIG_64BIT) && folio_large_order(folio) == 1)
		return 0;
	return atomic_read(&folio->_entire_mapcount) + 1;
}

static inline bool folio_mapped(const struct folio *folio)
{
	return folio_large_mapcount(folio) >= 1;
}

static inline bool folio_maybe_mapped_shared(const struct folio *folio)
{
	return test_bit(FOLIO_MM_IDS_SHARED_BITNUM, &folio->_mm_ids);
}

#endif /* _LINUX_MM_H */
