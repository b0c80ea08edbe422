/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fork() of a page that is marked anon-exclusive (AE), against GUP-fast.
 *
 * parent: copy_page_range(), copy_present_ptes() or copy_present_large_ptes(),
 * mm/memory.c, and __folio_try_dup_anon_rmap(), include/linux/rmap.h:
 *
 *  F1	raw_write_seqcount_begin(&mm->write_protect_seq): a plain store
 *	smp_wmb()
 *	the page table locks: atomic operations on x86; elsewhere they are acquire
 *	operations, which order nothing that came before them. Nobody else here
 *	looks at them, so they are no steps of their own.
 *  F2	folio_get() or folio_ref_add(): no value returned, hence not ordered
 *  F3	folio_needs_cow_for_dma(): MMF_HAS_PINNED; if it is clear, F4 is not asked
 *  F4	folio_maybe_dma_pinned(): of a large folio, _pincount; of a small one
 *	(SMALL), the reference count, which is the word that F2 changes.
 *	If it is pinned, and AE: back off, the child gets a copy.
 *  F5	folio_clear_anon_exclusive_range(), and the mapcounts, under their lock
 *  F6	wrprotect_ptes(), the parent's PTE
 *  F7	set_ptes(), the child's PTE
 *	smp_wmb()
 *  F8	raw_write_seqcount_end()
 *
 * gup: gup_fast_fallback(), gup_fast(), gup_fast_pte_range(), mm/gup.c:
 *
 *  G1	mm_set_has_pinned_flag()
 *  G2	raw_seqcount_try_begin(): smp_load_acquire(); give up if odd
 *  B1	ptep_get_lockless()
 *	try_get_folio() returns a value: fully ordered
 *  B3	the pin: atomic_add(), smp_mb__after_atomic()
 *  B4	ptep_get_lockless() again
 *	smp_rmb(), in gup_must_unshare()
 *  B5	folio_test_anon_exclusive(), decides if the PTE is not writable
 *	smp_rmb()
 *  G3	read_seqcount_retry()
 *
 * Never: a page is pinned and the child maps it as well.
 *
 * On a weakly ordered CPU, as far as this model goes, that does happen: what is
 * between F1 and F3 or F4 does not keep the loads from being done before others
 * see the odd sequence count. F2 does, of small folios, for F4 only. It has been
 * like that before the mapcounts and the marks changed. This was not seen on
 * hardware: other things between F1 and F3 (the child's page table gets
 * allocated) are likely to have a full barrier by chance. FULL_MB puts smp_mb()
 * after F1.
 *
 * Left out: more than one page, what fork() does with other PTEs, and that the
 * sequence count could wrap.
 */
#include "order.pml"

#define NONE	0
#define RO	1
#define RW	2

#ifndef HAS_PINNED		/* MMF_HAS_PINNED, before: 0 or 1 */
#define HAS_PINNED	0
#endif

byte seq, pte, pins, child_pte;
bool ae = true;
bool has_pinned = HAS_PINNED;
bool pinned;
bool forked;

bool pinned_and_shared, copied, both_succeed;

#define CHECK	NEVER(pinned_and_shared, pinned && child_pte != NONE)

/* The order of the steps of fork(). */
#if defined(CHECK_FIRST)	/* the pin count is read before the sequence count */
#define F3	1		/* is changed */
#define F4	2
#define F1	4
#define F2	8
#elif defined(CHECK_UNLOCKED)	/* ... is read before the page table lock is taken */
#define F1	1
#define F3	2
#define F4	4
#define F2	8
#else
#define F1	1
#define F2	2
#define F3	4
#define F4	8
#endif
#define F5	16
#define F6	32
#define F7	64
#define F8	128
#define F_ALL	255

#ifdef FULL_MB
#define MB_F1	F1
#else
#define MB_F1	0
#endif
#ifdef SMALL
#define SAME_WORD	F2
#else
#define SAME_WORD	0
#endif
/* With the locks as atomic operations after F1, no load passes it on x86. */
#ifdef CHECK_UNLOCKED
#define TSO_LOAD	F1
#else
#define TSO_LOAD	0
#endif

proctype parent()
{
	byte d;
	bool flag, busy;

	do
#ifdef NO_SEQ
	:: atomic { STEP(F1, 0, 0) -> DONE(F1) }
	:: atomic { STEP(F8, 0, F1 | F2 | F5 | F6 | F7) -> DONE(F8) }
#else
	:: atomic { STEP(F1, 0, 0) -> seq++; DONE(F1) }
	:: atomic { STEP(F8, 0, F1 | F2 | F5 | F6 | F7) -> seq++; DONE(F8) }
#endif
	/* The pins of a small folio are counted in units that F2 does not matter to. */
	:: atomic { STEP(F2, 0, F1) -> DONE(F2) }
	:: atomic { STEP(F3, TSO_LOAD, MB_F1) -> flag = has_pinned; DONE(F3) }
	:: atomic { STEP(F4, TSO_LOAD, MB_F1 | SAME_WORD) -> busy = (pins > 0); DONE(F4) }
	/* Control dependencies: these are stores. */
	:: atomic { STEP(F5, 0, F1 | F3 | F4) ->
		busy = flag && busy && ae;
		if
		:: busy -> copied = true
		:: else -> ae = false
		fi;
		DONE(F5) }
	:: atomic { STEP(F6, 0, F1 | F3 | F4) && !(flag && busy) ->
		pte = RO; DONE(F6) }
	:: atomic { STEP(F7, 0, F1 | F3 | F4) && !(flag && busy) ->
		child_pte = RO; CHECK; DONE(F7) }
	/* If pinned, whether that matters is known after F5. */
	:: atomic { WAITS(F6, F3 | F4 | F5) && flag && busy -> DONE(F6) }
	:: atomic { WAITS(F7, F3 | F4 | F5) && flag && busy -> DONE(F7) }
	:: atomic { d == F_ALL -> break }
	od;
	forked = true
}

/* The order of the steps of GUP-fast. */
#if defined(FLAG_LAST)
#define G2	1
#define B1	2
#define B3	4
#define B4	8
#define B5	16
#define G3	32
#define G1	64
#elif defined(RETRY_BEFORE_PIN)
#define G1	1
#define G2	2
#define B1	4
#define G3	8
#define B3	16
#define B4	32
#define B5	64
#else
#define G1	1
#define G2	2
#define B1	4
#define B3	8
#define B4	16
#define B5	32
#define G3	64
#endif
#define G_ALL	127

#ifdef FLAG_LAST
#define WEAK_B3	(G2 | B1)
#else
#define WEAK_B3	(G1 | G2 | B1)
#endif
#ifdef RETRY_BEFORE_PIN
#define WEAK_G3	(G2 | B1)
#else
#define WEAK_G3	(G2 | MB_B3 | B4 | B5)
#endif
#ifdef NO_GUP_MB
#define MB_B3	B1
#else
#define MB_B3	B3
#endif

proctype gup()
{
	byte d, start, first, second, end;
	bool mark, foll_write, ok;

	if :: foll_write = true :: foll_write = false fi;
	do
	:: atomic { STEP(G1, 0, 0) -> has_pinned = true; DONE(G1) }
	:: atomic { STEP(G2, 0, 0) -> start = seq; DONE(G2);
#ifndef NO_ODD_CHECK
		if
		:: start & 1 -> goto out
		:: else
		fi
#endif
		}
	:: atomic { STEP(B1, 0, G2) ->
		first = pte; DONE(B1);
		if
		:: first == RW || first == RO && !foll_write
		:: else -> goto out
		fi }
	:: atomic { STEP(B3, 0, WEAK_B3) -> pins++; DONE(B3) }
	:: atomic { STEP(B4, 0, G2 | B1 | MB_B3) -> second = pte; DONE(B4) }
	:: atomic { STEP(B5, 0, G2 | B4 | MB_B3) -> mark = ae; DONE(B5) }
	:: atomic { STEP(G3, 0, WEAK_G3) -> end = seq; DONE(G3) }
	:: atomic { d == G_ALL -> break }
	od;
#ifdef NO_RETRY
	end = start;
#endif
	atomic {
		ok = second == first && (first == RW || mark) && start == end;
		if
		:: ok -> pinned = true
		:: else -> pins--
		fi;
		CHECK
#ifdef REACH
		/* Not a fault: to show that a pin is seen, and both go on. */
		;NEVER(both_succeed, ok && copied && forked)
#endif
	};
out:
	skip
}

init {
	atomic {
		if :: pte = RW :: pte = RO fi;
		run parent();
		run gup()
	}
}
