/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The word with S1, the shared bit and the lock bit, and n beside it.
 *
 * writer: one for each of two MMs, with the IDs 1 and 2, maps and unmaps a page:
 * folio_add_large_mapcount() and folio_sub_large_mapcount(), mm/rmap.c. Under
 * the lock:
 *
 *  L	test_and_set_bit_lock(), by bit_spin_lock(): acquire
 *  RW	folio_read_mm_sums(): _mm_ids
 *  RN	folio_read_mm_sums(): _large_mapcount and _mm_id_squares, which nobody
 *	else reads, so that they can be one word here
 *  K	folio_write_mm_sums(): the lock bit, which is kept as it is
 *  W	folio_write_mm_sums(): WRITE_ONCE(_mm_ids)
 *  N	folio_write_mm_sums(): _large_mapcount and _mm_id_squares
 *  U1	__bit_spin_unlock(): loads the word,
 *  U2	and stores it without the lock bit: not atomic, but a release
 *
 * As everything else in the word changes under the lock only, and a CPU that
 * does not get the lock sets a bit that is set, nothing can be lost between U1
 * and U2. OTHER_BIT is what would happen if somebody changed a bit of the word
 * without the lock (which folio_write_mm_sums() here keeps as well).
 *
 * reader: asks for the shared bit at any time, without the lock:
 * folio_maybe_mapped_shared().
 *
 * Never: two are in the critical section; a change of the counters gets lost; the
 * shared bit of an unlocked word is not what the mappings counted say; or it is
 * clear while PTEs of two MMs exist. For the last one, page tables change in the
 * same order as the counters do, which is what page table locks are for.
 *
 * Left out: A, the entire mapcount, more than one page for each MM.
 */
#include "order.pml"

#define LOCK	16
#define SHARED	32
#define OTHER	64
#define SUM	15

#ifndef ROUNDS
#define ROUNDS	2
#endif

byte word, n, s2;
byte counted[2];		/* what was counted, for comparison */
bool pte[2];
byte inside, finished;

bool two_inside, count_lost, wrong_verdict, shared_missed, bit_lost, torn;

/* The order of the steps. */
#ifdef NO_LOCK			/* the counters are read before the lock is taken */
#define RN	1
#define L	2
#define RW	4
#else
#define L	1
#define RW	2
#define RN	4
#endif
#define K	8
#define W	16
#define N	32
#define U1	64
#define U2	128
#define W_ALL	255

#ifdef NO_ACQUIRE
#define ACQ	0
#else
#define ACQ	L
#endif
#ifdef NO_RELEASE		/* WRITE_ONCE() */
#define REL	(U1 | W)
#else
#define REL	(U1 | W | RW | RN | K | N)
#endif
/* What is left of a word when its lock bit is given back. */
#ifdef STALE_UNLOCK		/* the word is not loaded again */
#define UNLOCKED	(ids & ~LOCK)
#else
#define UNLOCKED	(t & ~LOCK)
#endif
/* What is kept of the word when it is written. */
#ifdef LOCK_BIT_DROPPED
#define KEEP	0
#else
#define KEEP	(t & (LOCK | OTHER))
#endif

/* mm_sums_add() and mm_sums_sub(): n and S2 have changed already. */
#define SET_SHARED(sum)								\
	if									\
	:: add -> shared = shared || (sum != (m - 1) * (me + 1))		\
	:: else -> shared = shared && m != 0 &&					\
			m * sq != (sum - (me + 1)) * (sum - (me + 1))		\
	fi

inline change(add)
{
	d = 0;
	do
	:: atomic { STEP(L, 0, 0) && !(word & LOCK) ->
		word = word | LOCK;
		inside++;
		NEVER(two_inside, inside > 1);
		DONE(L) }
	:: atomic { STEP(RW, 0, ACQ) -> ids = word; DONE(RW) }
	:: atomic { STEP(RN, 0, ACQ) -> m = n; sq = s2; DONE(RN) }
	:: atomic { STEP(K, 0, ACQ | RW) -> t = word; DONE(K) }
	:: atomic { STEP(W, 0, RW | RN | K | L) ->
		m = (add -> m + 1 : m - 1);
		sq = (add -> sq + (me + 1) * (me + 1) : sq - (me + 1) * (me + 1));
		shared = (ids & SHARED) != 0;
		SET_SHARED((ids & SUM));
		word = KEEP | (shared -> SHARED : 0) |
		       (add -> (ids & SUM) + (me + 1) : (ids & SUM) - (me + 1));
		counted[me] = (add -> counted[me] + 1 : counted[me] - 1);
		DONE(W) }
	/* With data dependencies, on RN. */
	:: atomic { STEP(N, 0, RN | L) && (d & W) -> n = m; s2 = sq; DONE(N) }
	:: atomic { STEP(N, 0, RN | L) && !(d & W) ->
		n = (add -> m + 1 : m - 1);
		s2 = (add -> sq + (me + 1) * (me + 1) : sq - (me + 1) * (me + 1));
		DONE(N) }
#ifdef ATOMIC_UNLOCK		/* bit_spin_unlock() */
	:: atomic { STEP(U1, 0, W) -> DONE(U1) }
	:: atomic { STEP(U2, 0, REL) -> word = word & ~LOCK; inside--; DONE(U2) }
#else
	:: atomic { STEP(U1, 0, W) -> t = word; DONE(U1) }
	:: atomic { STEP(U2, 0, REL) -> word = UNLOCKED; inside--; DONE(U2) }
#endif
	:: atomic { d == W_ALL -> d = 0; ids = 0; m = 0; sq = 0; t = 0; shared = false; break }
	od
}

proctype writer(byte me)
{
	byte d, ids, m, sq, t, round;
	bool shared;

	do
	:: round < ROUNDS ->
#ifdef PTE_FIRST
		pte[me] = true;
		change(true);
#else
		change(true);
		pte[me] = true;
#endif
#ifdef UNMAP_LATE
		change(false);
		pte[me] = false;
#else
		pte[me] = false;
		change(false);
#endif
		round++
	:: else -> break
	od;
	finished++
}

active proctype reader()
{
	byte m;

#ifdef READS_BOTH
	/* n says that there are two; does the shared bit, which is read next? */
	m = n;
	atomic { NEVER(torn, m == 2 && !(word & SHARED)); m = 0 };
#else
	atomic {
		NEVER(wrong_verdict, !(word & LOCK) &&
		      ((word & SHARED) != 0) != (counted[0] && counted[1]));
		NEVER(shared_missed, pte[0] && pte[1] && !(word & SHARED))
	}
#endif
}

#ifdef OTHER_BIT
active proctype other()
{
#ifdef OTHER_LOCKED
	atomic { !(word & LOCK) -> word = word | LOCK };
#endif
	atomic { word = word | OTHER };
#ifdef OTHER_LOCKED
	atomic { word = word & ~LOCK };
#endif
	finished++
}
#define PROCESSES	3
#else
#define PROCESSES	2
#endif

init {
	atomic { run writer(0); run writer(1) };
	atomic {
		finished == PROCESSES ->
		NEVER(count_lost, n != 0 || s2 != 0 || (word & (SUM | LOCK | SHARED)));
#ifdef OTHER_BIT
		NEVER(bit_lost, !(word & OTHER))
#endif
	}
}
