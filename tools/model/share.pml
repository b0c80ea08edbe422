/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Clearing anon-exclusive marks (AE) against GUP-fast.
 *
 * unmapper: who replaces PTEs for some time: swap-out, migration, KSM. It holds
 * the page table lock, but GUP-fast takes none. Two pages of one large folio are
 * unmapped as a batch; their marks are in different words of the bitmap.
 * From ttu_anon_swapbacked_folio() and try_to_migrate, mm/rmap.c,
 * write_protect_page(), mm/ksm.c, and __folio_try_share_anon_rmap(),
 * include/linux/rmap.h, whose (A1) to (A4) and (B1) to (B5) these are:
 *
 *  A1	ptep_get_and_clear(), for each page. An xchg() on x86, a plain store where
 *	the architecture has nothing better: PTE_RMW.
 *	flush_tlb_range(): left out, or, with FLUSH, it waits for IPIs, and so for
 *	each GUP-fast that is at work, which has interrupts disabled.
 *	smp_mb()
 *  A2	folio_maybe_dma_pinned(): back off if so, and restore the PTEs
 *  A3	atomic_long_andnot(), for each word of the bitmap
 *	smp_mb__after_atomic()
 *  A4	set_pte_at(), for each page: a swap or migration entry, or (KSM) the PTE
 *	again, not writable, which may be what it was before
 *
 * gup: gup_fast_pte_range(), mm/gup.c, FOLL_PIN, FOLL_WRITE or not, for one page:
 *
 *  B1	ptep_get_lockless()
 *  B3	atomic_add(refs, &folio->_pincount); the reference to the folio, which it
 *	takes before, nobody here looks at
 *	smp_mb__after_atomic()
 *  B4	ptep_get_lockless() again; back off if it has changed
 *	smp_rmb(), in gup_must_unshare()
 *  B5	folio_test_anon_exclusive(), decides if the PTE is not writable
 *
 * gup_fast_pmd_leaf() is the same with one PMD and the first page's mark.
 *
 * neighbour: sets and clears the marks of other pages, in the same two words,
 * under another page table lock.
 *
 * Never: a page is pinned that is no longer marked, as it may be shared then, or
 * replaced in the page table; or anybody's change to a mark gets lost.
 *
 * Left out: other levels of the page table, and PTEs changing for more reasons.
 */
#include "order.pml"

/* PTEs */
#define NONE	0
#define RO	1
#define RW	2
#define ENTRY	3	/* swap or migration entry */

#ifndef GUPS
#define GUPS	2
#endif

byte pte[2], pincount;
byte ae[2] = 3;			/* two words: bit 0 is ours, bit 1 the neighbour's */
bool want[2] = true;		/* what the neighbour wants of bit 1 */
bool shared, irq_off[GUPS];
bool pinned[2];
bool done_unmap, done_neighbour;

bool pinned_and_shared, neighbour_lost, clear_lost;

#define CHECK	NEVER(pinned_and_shared, shared && (pinned[0] || pinned[1]))

/* The order of the steps of the unmapper, which are two where pages are. */
#if defined(PINS_FIRST)
#define A2	1
#define A1a	2
#define A1b	4
#define A3a	8
#define A3b	16
#elif defined(BATCH_TORN)	/* the second PTE is cleared after the check */
#define A1a	1
#define A2	2
#define A1b	4
#define A3a	8
#define A3b	16
#else
#define A1a	1
#define A1b	2
#define A2	4
#define A3a	8
#define A3b	16
#endif
#if defined(RESTORE_FIRST)	/* PTE before mark */
#undef A3a
#undef A3b
#define A4a	8
#define A4b	16
#define A3a	32
#define A3b	64
#else
#define A4a	32
#define A4b	64
#endif
#define A_ALL	127

/* smp_mb() after (A1): what (A2) waits for. */
#if defined(NO_MB)		/* also: a barrier that comes before (A1) */
#define WEAK_A2	0
#ifdef PTE_RMW
#define TSO_A2	0
#else
#define TSO_A2	(A1a | A1b)
#endif
#elif defined(PINS_FIRST)
#define WEAK_A2	0
#define TSO_A2	0
#elif defined(BATCH_TORN)
#define WEAK_A2	A1a
#define TSO_A2	0
#else
#define WEAK_A2	(A1a | A1b)
#define TSO_A2	0
#endif
/* smp_mb__after_atomic() after (A3): what (A4) waits for. */
#if defined(NO_MB_AFTER_ATOMIC)	/* also: a barrier between (A2) and (A3) */
#define WEAK_A4	A2
#elif defined(RESTORE_FIRST)
#define WEAK_A4	A2
#else
#define WEAK_A4	(A2 | A3a | A3b)
#endif

proctype unmapper()
{
	byte d, old[2], new[2], t;
	bool busy;

#ifdef TWICE
again:
#endif
	atomic {
		old[0] = pte[0];
		old[1] = pte[1];
		d = 0;
		if
		:: new[0] = ENTRY; new[1] = ENTRY
		:: new[0] = RO; new[1] = RO
		fi
	}
	do
	:: atomic { STEP(A1a, 0, 0) -> pte[0] = NONE; DONE(A1a) }
	:: atomic { STEP(A1b, 0, 0) -> pte[1] = NONE; DONE(A1b) }
#ifdef FLUSH
	/* The IPI has been handled by all that had interrupts disabled. */
	:: atomic { WAITS(A2, A1a | A1b) -> skip };
		!irq_off[0];
#if GUPS == 2
		!irq_off[1];
#endif
		atomic { busy = (pincount > 0); DONE(A2) }
#else
	:: atomic { STEP(A2, TSO_A2, WEAK_A2) -> busy = (pincount > 0); DONE(A2) }
#endif
	/* If it is pinned: back off, (A3) is not done. */
	:: atomic { STEP(A3a, 0, A2) && busy -> DONE(A3a) }
	:: atomic { STEP(A3b, 0, A2) && busy -> DONE(A3b) }
#ifdef CLEAR_NONATOMIC		/* __clear_bit() */
	:: atomic { STEP(A3a, 0, A2) && !busy -> t = ae[0] };
		atomic { ae[0] = t & 2; t = 0; DONE(A3a) }
#else
	:: atomic { STEP(A3a, 0, A2) && !busy -> ae[0] = ae[0] & 2; DONE(A3a) }
#endif
	:: atomic { STEP(A3b, 0, A2) && !busy -> ae[1] = ae[1] & 2; DONE(A3b) }
	:: atomic { STEP(A4a, 0, A1a | WEAK_A4) ->
		pte[0] = (busy -> old[0] : new[0]); DONE(A4a) }
	:: atomic { STEP(A4b, 0, A1b | WEAK_A4) ->
		pte[1] = (busy -> old[1] : new[1]); DONE(A4b) }
	:: atomic { d == A_ALL -> break }
	od;
#ifdef TWICE
	/* Reclaim tries again later. */
	if
	:: busy -> goto again
	:: true
	fi;
#endif
	atomic {
		shared = !busy;
		done_unmap = true;
		CHECK
	}
}

/* The order of the steps of GUP-fast. */
#define B1	1
#if defined(MARK_FIRST)
#define B5	2
#define B3	4
#define B4	8
#elif defined(PIN_LAST)		/* the PTE is read again before the pin is counted */
#define B4	2
#define B3	4
#define B5	8
#else
#define B3	2
#define B4	4
#define B5	8
#endif
#define B_ALL	15

/* smp_mb__after_atomic() after (B3), smp_rmb() before (B5). */
#if defined(NO_GUP_MB) || defined(PIN_LAST)
#define MB_B	0
#else
#define MB_B	B3
#endif
#if defined(NO_RMB) || defined(MARK_FIRST)
#define RMB_B	0
#else
#define RMB_B	B4
#endif
#if defined(MARK_FIRST)
#define WEAK_B5	B1
#else
#define WEAK_B5	(B1 | MB_B | RMB_B)
#endif

proctype gup(byte me)
{
	byte d, page, first, second;
	bool mark, foll_write, ok;

	atomic {
		irq_off[me] = true;		/* local_irq_save() */
		if :: page = 0 :: page = 1 fi;
		if :: foll_write = true :: foll_write = false fi
	}
	do
	:: atomic { STEP(B1, 0, 0) ->
		first = pte[page]; DONE(B1);
		if
		:: first == RW || first == RO && !foll_write
		:: else -> goto out
		fi }
	:: atomic { STEP(B3, 0, B1) -> pincount++; DONE(B3) }
	:: atomic { STEP(B4, 0, B1 | MB_B) -> second = pte[page]; DONE(B4) }
	:: atomic { STEP(B5, 0, WEAK_B5) -> mark = ae[page] & 1; DONE(B5) }
	:: atomic { d == B_ALL -> break }
	od;
#ifdef NO_RECHECK
	second = first;
#endif
	atomic {
		ok = second == first && (first == RW || mark);
		if
		:: ok -> pinned[page] = true
		:: else
		fi;
		CHECK
	}
	if
	:: !ok -> pincount--		/* gup_put_folio() */
	:: else
	fi;
out:
	atomic { irq_off[me] = false; d = 0; first = 0; second = 0; mark = 0 }
}

/*
 * Another MM's page, or one of another page table: both words, set and clear.
 * The clear is folio_clear_anon_exclusive_range(), the set
 * folio_set_anon_exclusive().
 */
proctype neighbour()
{
	byte t;

	atomic { ae[0] = ae[0] & 1; want[0] = false };
#ifdef SET_NONATOMIC		/* __set_bit() */
	t = ae[0];
	atomic { ae[0] = t | 2; t = 0; want[0] = true };
#else
	atomic { ae[0] = ae[0] | 2; want[0] = true };
#endif
	atomic { ae[1] = ae[1] & 1; want[1] = false; done_neighbour = true }
}

init {
	atomic {
		if :: pte[0] = RW :: pte[0] = RO fi;
		if :: pte[1] = RW :: pte[1] = RO fi;
		run unmapper();
		run gup(0);
#if GUPS == 2
		run gup(1);
#endif
		run neighbour()
	};
	atomic {
		done_unmap && done_neighbour ->
		NEVER(neighbour_lost,
		      ((ae[0] & 2) != 0) != want[0] || ((ae[1] & 2) != 0) != want[1]);
		NEVER(clear_lost, shared && ((ae[0] & 1) || (ae[1] & 1)))
	}
}
