/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_FOLIO_MAPCOUNT_H
#define _LINUX_FOLIO_MAPCOUNT_H

/*
 * Who maps a large folio: the arithmetic.
 *
 * Every MM that can map folios has an ID. For each large folio we track, over
 * all page table entries that map any part of it,
 *
 *	n	their number: the total mapcount,
 *	S1	the sum of the IDs of the MMs they belong to, and
 *	S2	the sum of the squares of these IDs.
 *
 * All n entries belong to the MM with the ID c exactly when none of the IDs
 * deviates from c, that is, when
 *
 *	sum((id - c)^2) = S2 - 2 * c * S1 + n * c^2 = 0
 *
 * which is the case if and only if S1 == n * c and S2 == n * c^2. If we do not
 * know c, "all IDs are the same" is n * S2 == S1^2 (Cauchy-Schwarz).
 *
 * The answer depends on the current mappings only, not on how we got there, and
 * it is exact for any number of MMs, as long as the sums of up to
 * MM_SUMS_EXACT_MAX mappings cannot wrap. With more mappings than that, we do
 * not test but say "shared", which is always safe: the sums may then wrap, but
 * they are right again as soon as enough mappings are gone.
 *
 * This header is free of locking, struct folio and mm_types.h on purpose: it
 * compiles in user space as it is. See mm/folio_mapcount.h for the users.
 */

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/types.h>

#ifdef CONFIG_64BIT
/*
 * Four times PID_MAX_LIMIT. S2 of 2^16 mappings fits into 64 bits, S1 of 2^32
 * mappings fits into 56 bits: only S2 ever wraps.
 */
#define MM_ID_BITS		24
#define MM_SUMS_EXACT_MAX	((1U << 16) - 1)
#else /* !CONFIG_64BIT */
/*
 * More than PID_MAX_LIMIT, 15 bit, would hardly ever be used: there cannot be
 * more processes, and if there are no IDs left, creating an MM fails. S1 has 30
 * bits to itself, S2 never wraps. There is no room for the upper half of S2 in
 * an order-1 folio.
 */
#define MM_ID_BITS		15
#define MM_SUMS_EXACT_MAX	((1U << 15) - 1)
#define MM_SUMS_EXACT_MAX_ORDER1 4U
#endif /* CONFIG_64BIT */

/* We implicitly use the dummy ID for init-mm etc. where we never rmap pages. */
#define MM_ID_DUMMY		0
#define MM_ID_MIN		(MM_ID_DUMMY + 1)
#define MM_ID_MAX		((1U << MM_ID_BITS) - 1)

/*
 * S1 shares a word with the lock that protects n, S1 and S2, and with the
 * current verdict for everyone who does not hold the lock.
 */
#define FOLIO_MM_IDS_LOCK_BITNUM	(BITS_PER_LONG - 2)
#define FOLIO_MM_IDS_LOCK_BIT		BIT(FOLIO_MM_IDS_LOCK_BITNUM)
#define FOLIO_MM_IDS_SHARED_BITNUM	(BITS_PER_LONG - 1)
#define FOLIO_MM_IDS_SHARED_BIT		BIT(FOLIO_MM_IDS_SHARED_BITNUM)
#define FOLIO_MM_IDS_SUM_MASK		(FOLIO_MM_IDS_LOCK_BIT - 1)

/* Nothing wraps as long as we claim to be exact. */
static_assert(MM_ID_MIN > MM_ID_DUMMY);
static_assert((u64)MM_SUMS_EXACT_MAX * MM_ID_MAX <= FOLIO_MM_IDS_SUM_MASK);
static_assert((u64)MM_SUMS_EXACT_MAX <= (u64)-1 / MM_ID_MAX / MM_ID_MAX);
#ifndef CONFIG_64BIT
static_assert((u64)MM_SUMS_EXACT_MAX_ORDER1 * MM_ID_MAX * MM_ID_MAX <= (u32)-1);
#endif /* !CONFIG_64BIT */
static_assert(!(FOLIO_MM_IDS_SHARED_BIT & FOLIO_MM_IDS_LOCK_BIT));

/**
 * struct mm_sums - The owners of the mappings of a large folio.
 * @squares: S2, the sum of the squares of the MM IDs, modulo 2^64; modulo 2^32
 *    for order-1 folios on 32bit.
 * @ids: S1, the sum of the MM IDs, modulo FOLIO_MM_IDS_SUM_MASK + 1.
 * @mapcount: n, the number of mappings, modulo 2^32.
 * @exact_max: Up to this many mappings, @shared is exact.
 * @shared: Whether more than one MM might have mappings. Never false if more
 *    than one MM has mappings; never true if only one MM has mappings and
 *    @mapcount does not exceed @exact_max.
 */
struct mm_sums {
	u64		squares;
	unsigned long	ids;
	unsigned int	mapcount;
	unsigned int	exact_max;
	bool		shared;
};

/**
 * mm_sums_only() - Whether all mappings belong to the given MM.
 * @sums: The sums. The mapcount must not exceed the exact_max.
 * @id: The ID of the MM.
 *
 * Testing only whether the variance is zero, in 64 bits, would be wrong: two
 * MMs with IDs that differ by 2^23 and 512 mappings each give exactly 2^64.
 * Here, S1 does not wrap, and once S1 fits, the variance is smaller than 2^64.
 *
 * Return: true if there is no mapping of any other MM.
 */
static __always_inline bool mm_sums_only(const struct mm_sums *sums, unsigned int id)
{
	const u64 ids = (u64)sums->mapcount * id;

	return sums->ids == ids && sums->squares == ids * id;
}

/*
 * Rarely needed, and out of line so that what is around it does not have to make
 * room for 128 bit variables.
 */
static noinline __maybe_unused bool __mm_sums_single(u64 squares, unsigned long ids,
						     unsigned int mapcount)
{
#ifndef CONFIG_64BIT
	return mapcount * squares == (u64)ids * ids;
#elif defined(CONFIG_ARCH_SUPPORTS_INT128) && defined(__SIZEOF_INT128__)
	return (u128)mapcount * squares == (u128)ids * ids;
#else
	const u64 id = ids / mapcount;

	return ids == mapcount * id && squares == ids * id;
#endif
}

/**
 * mm_sums_single() - Whether all mappings belong to a single MM, no matter which.
 * @sums: The sums. The mapcount must not be 0 or exceed the exact_max.
 *
 * Neither S1 nor S2 can have wrapped, and the products are calculated in twice
 * the number of bits. Without 128 bit arithmetic, divide instead to obtain the
 * only ID that could be the one.
 *
 * Return: true if there are no two mappings of different MMs.
 */
static __always_inline bool mm_sums_single(const struct mm_sums *sums)
{
	return __mm_sums_single(sums->squares, sums->ids, sums->mapcount);
}

/**
 * mm_sums_add() - Account new mappings.
 * @sums: The sums to update.
 * @id: The ID of the MM that maps.
 * @nr: The number of new mappings.
 *
 * As long as the folio is not shared, all mappings belong to the MM with the ID
 * S1 / n, so one multiplication tells whether @id is a different one.
 *
 * Context: The sums of a folio must be protected by the large mapcount lock.
 */
static __always_inline void mm_sums_add(struct mm_sums *sums, unsigned int id,
					unsigned int nr)
{
	const unsigned long ids = (unsigned long)nr * id;

	if (sums->ids != (unsigned long)sums->mapcount * id)
		sums->shared = true;

	sums->mapcount += nr;
	sums->ids = (sums->ids + ids) & FOLIO_MM_IDS_SUM_MASK;
	sums->squares += (u64)ids * id;

	if (unlikely(sums->mapcount > sums->exact_max))
		sums->shared = true;
}

/**
 * mm_sums_sub() - Account the removal of mappings.
 * @sums: The sums to update.
 * @id: The ID of the MM that unmaps.
 * @nr: The number of mappings removed, all of them added before with @id.
 *
 * Whether only one MM is left has to be found out only if there were several.
 *
 * Context: The sums of a folio must be protected by the large mapcount lock.
 */
static __always_inline void mm_sums_sub(struct mm_sums *sums, unsigned int id,
					unsigned int nr)
{
	const unsigned long ids = (unsigned long)nr * id;

	sums->mapcount -= nr;
	sums->ids = (sums->ids - ids) & FOLIO_MM_IDS_SUM_MASK;
	sums->squares -= (u64)ids * id;
#ifndef CONFIG_64BIT
	/* Order-1 folios only keep the lower half. */
	if (sums->exact_max == MM_SUMS_EXACT_MAX_ORDER1)
		sums->squares = (u32)sums->squares;
#endif /* !CONFIG_64BIT */

	if (sums->shared && sums->mapcount <= sums->exact_max)
		sums->shared = sums->mapcount && !mm_sums_single(sums);
}

/*
 * How many pages of a large folio are mapped: we do not know which ones, so we
 * account, in the statistics, for as many pages as there can be. With n mappings,
 * e of them of the entire folio:
 *
 *  - Mapping pages anew might map pages that have not been mapped so far.
 *  - Duplicating mappings, during fork(), does not.
 *  - After unmapping, at most n pages remain mapped unless e > 0.
 *
 * The number is never below the number of pages that are really mapped, and 0
 * as soon as no page is mapped. It is the right one as long as no page is mapped
 * twice, in particular for anon folios that only one MM has ever mapped. And any
 * unmap that leaves no page mapped twice makes it right again.
 */

/**
 * accounted_pages_add() - Pages to account after new mappings.
 * @accounted: The number of pages accounted before.
 * @nr: The number of pages mapped anew, all of them if by an entire mapping.
 * @nr_pages: The number of pages in the folio.
 *
 * Return: The number of pages accounted now.
 */
static __always_inline unsigned int accounted_pages_add(unsigned int accounted,
							unsigned int nr,
							unsigned int nr_pages)
{
	return accounted + nr < nr_pages ? accounted + nr : nr_pages;
}

/**
 * accounted_pages_sub() - Pages to account after the removal of mappings.
 * @accounted: The number of pages accounted before.
 * @mapcount: The number of mappings now.
 * @entire_mapcount: How many of these map the entire folio.
 *
 * Return: The number of pages accounted now.
 */
static __always_inline unsigned int accounted_pages_sub(unsigned int accounted,
							unsigned int mapcount,
							unsigned int entire_mapcount)
{
	return !entire_mapcount && mapcount < accounted ? mapcount : accounted;
}

#endif /* _LINUX_FOLIO_MAPCOUNT_H */
