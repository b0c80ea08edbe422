/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Copy-on-write: reuse of a page against everything that maps and unmaps it.
 *
 * An anonymous folio of two pages, a parent with two threads, and a child. What
 * a thread does, each time one of these, for one of the pages:
 *
 *   fault	do_wp_page(), mm/memory.c: reuse the page if it is marked, or if
 *		__wp_can_reuse_large_anon_folio() says so, which marks it; else
 *		copy it, which unmaps it
 *   unmap	zap_present_folio_ptes(): PTE, mapcount, page table lock dropped,
 *		reference
 *   get	GUP, FOLL_GET, for reading: a reference, with the PTE present
 *   pin	GUP, FOLL_PIN: if the page is marked; the slow path, with the page
 *		table lock (see share.pml and fork.pml for GUP-fast)
 *   drop	give one of these back
 *   fork	copy_present_large_ptes(), copy_nonpresent_pte(): reference, then
 *		mapcount, both pages; a page that is marked and may be pinned is
 *		copied, any other loses its mark
 *   swapin	do_swap_page(), from the swapcache: reference, then mapcount
 *
 * reclaim puts the folio into the swapcache, and replaces PTEs by swap entries,
 * which remember the mark, try_to_unmap_one().
 *
 * PTEs have a lock each, as if the pages were in different page tables, which
 * mremap() can do to a folio. The child's are not visible before fork() is over.
 * _large_mapcount and the sums change in one step, under the large mapcount lock;
 * here they are n and, of those, the entries of each MM. That this is the same is
 * for the tests of the arithmetic. The reuse check has the lock, and reads the
 * counters and the references in two steps.
 *
 * Never: a page is marked and mapped in one MM, and another one maps it as well, or
 * can get at it from the swapcache, or has a reference that it took to read it; a
 * page is pinned, and another MM maps it, or the one that pinned it does so without
 * the mark.
 *
 * Spin's interleaving is all there is here: what is read is protected by locks,
 * except for the reference count. To be missed, a reference must have been taken
 * after the mapping that it was taken through was counted, which the lock orders.
 *
 * Left out: PMDs, KSM, migration, folio_trylock() failing, file folios, more than
 * two MMs at once (as the child's child is to the child what the child is to the
 * parent, and counts are all that matters).
 */
#define NEVER(name, what)	name = (what); assert(!name); name = false

#define NONE	0
#define RO	1
#define RW	2
#define ENTRY	3		/* swap entry */
#define ENTRY_EXCL	4	/* swap entry that remembers the mark */
#define PRESENT(x)	(x == RO || x == RW)

#ifndef OPS_A
#define OPS_A	2
#endif
#ifndef OPS_B
#define OPS_B	1
#endif
#ifndef OPS_C
#define OPS_C	3
#endif

/* PTEs and what belongs to them, by MM and page: 0 and 1 are the parent's. */
#define AT(mm, p)	(2 * (mm) + (p))
byte pte[4];
bool ptl[4];
byte got[4], pins[4];
bool ae[2];
byte refs, n, by[2];
bool mapcount_lock, folio_lock, swapcache;
bool child;			/* fork() has been done */

bool mapped_by_two, read_by_other, pinned_and_shared, reuse_found;

#define EXCLUSIVE(mm, p)	(ae[p] && PRESENT(pte[AT(mm, p)]))
#define CHECK_PAGE(p)								\
	NEVER(mapped_by_two, EXCLUSIVE(0, p) && pte[AT(1, p)] != NONE ||	\
			     EXCLUSIVE(1, p) && pte[AT(0, p)] != NONE);		\
	NEVER(read_by_other, EXCLUSIVE(0, p) && got[AT(1, p)] ||		\
			     EXCLUSIVE(1, p) && got[AT(0, p)]);			\
	NEVER(pinned_and_shared,						\
		pins[AT(0, p)] && (pte[AT(1, p)] != NONE ||			\
				   PRESENT(pte[AT(0, p)]) && !ae[p]) ||		\
		pins[AT(1, p)] && (pte[AT(0, p)] != NONE ||			\
				   PRESENT(pte[AT(1, p)]) && !ae[p]))

#define LOCK(lock)	atomic { !lock -> lock = true }
#define UNLOCK(lock)	lock = false

inline count(mm)		/* folio_add_large_mapcount() */
{
	atomic { !mapcount_lock -> n++; by[mm]++ }
}

inline uncount(mm)		/* folio_sub_large_mapcount() */
{
	atomic { !mapcount_lock -> n--; by[mm]-- }
}

/* With the page table lock, which is dropped. */
inline unmap_unlock(mm, p)
{
	pte[AT(mm, p)] = NONE;
#ifdef UNMAP_PUT_FIRST
	refs--;
	uncount(mm);
	UNLOCK(ptl[AT(mm, p)])
#else
	uncount(mm);
	UNLOCK(ptl[AT(mm, p)]);
	refs--
#endif
}

#ifdef NO_ONLY_BY
#define ONLY_BY(mm)	true
#else
#define ONLY_BY(mm)	(n == by[mm])
#endif
#if defined(NO_REFS)
#define REFS		m
#elif defined(IGNORE_SWAPCACHE)
#define REFS		(refs - (swapcache -> 1 : 0))
#else
#define REFS		refs
#endif

/* __wp_can_reuse_large_anon_folio(); the checks before the lock do not matter. */
inline can_reuse(mm, answer)
{
	/* folio_free_swap() */
	atomic {
		if
		:: swapcache && !folio_lock &&
		   pte[0] < ENTRY && pte[1] < ENTRY && pte[2] < ENTRY && pte[3] < ENTRY ->
			swapcache = false;
			refs--
		:: else
		fi
	};
#if defined(REFS_BEFORE_LOCK)
	/* The references are not read again with the lock held. */
	r = refs;
	LOCK(mapcount_lock);
	atomic { answer = ONLY_BY(mm) && n == r; r = 0 };
	UNLOCK(mapcount_lock)
#elif defined(NO_LOCK)
	atomic { m = n; answer = ONLY_BY(mm) };
	atomic { answer = answer && m == REFS; m = 0 }
#else
	LOCK(mapcount_lock);
	atomic { m = n; answer = ONLY_BY(mm) };
	atomic { answer = answer && m == REFS; m = 0 };
	UNLOCK(mapcount_lock)
#endif
}

inline wp_fault(mm, p)
{
#ifdef REUSE_NO_PTL
	if
	:: atomic { PRESENT(pte[AT(mm, p)]) && !ae[p] -> skip };
		can_reuse(mm, ok);
		LOCK(ptl[AT(mm, p)])
	:: LOCK(ptl[AT(mm, p)])
	fi;
#else
	LOCK(ptl[AT(mm, p)]);
#endif
	if
	:: PRESENT(pte[AT(mm, p)]) ->
#ifndef REUSE_NO_PTL
		if
		:: !ae[p] -> can_reuse(mm, ok)
		:: else
		fi;
#endif
		if
		:: atomic { ae[p] || ok ->
			ok = false;
#ifdef REACH
			NEVER(reuse_found, !ae[p] && child);
#endif
			ae[p] = true;
			pte[AT(mm, p)] = RW;
			CHECK_PAGE(p);
			UNLOCK(ptl[AT(mm, p)]) }
		:: else -> unmap_unlock(mm, p)
		fi
	:: else -> atomic { ok = false; UNLOCK(ptl[AT(mm, p)]) }
	fi
}

inline fork_page(p)
{
	LOCK(ptl[AT(0, p)]);
	if
	:: PRESENT(pte[AT(0, p)]) ->
#ifdef FORK_COUNT_FIRST
		count(1);
		refs++;
#else
		refs++;
#endif
		if
#ifndef FORK_SHARES_PINNED
		:: pins[0] + pins[1] + pins[2] + pins[3] && ae[p] ->
#ifdef FORK_COUNT_FIRST
			uncount(1);
#endif
			refs--
		:: else ->
#else
		:: true ->
#endif
#ifndef FORK_KEEPS_MARK
			ae[p] = false;
#endif
#ifndef FORK_COUNT_FIRST
			count(1);
#endif
			atomic { pte[AT(0, p)] = RO; pte[AT(1, p)] = RO; CHECK_PAGE(p) }
		fi
	:: pte[AT(0, p)] >= ENTRY ->
#ifdef FORK_KEEPS_ENTRY
		atomic { pte[AT(1, p)] = pte[AT(0, p)]; CHECK_PAGE(p) }
#else
		atomic { pte[AT(0, p)] = ENTRY; pte[AT(1, p)] = ENTRY; CHECK_PAGE(p) }
#endif
	:: else
	fi;
	UNLOCK(ptl[AT(0, p)])
}

inline swapin(mm, p)
{
	LOCK(folio_lock);
	if
	:: swapcache ->
#ifndef SWAPIN_COUNT_FIRST
		refs++;
#endif
		LOCK(ptl[AT(mm, p)]);
		if
		:: pte[AT(mm, p)] >= ENTRY ->
			count(mm);
#ifdef SWAPIN_COUNT_FIRST
			atomic { true };
			refs++;
#endif
			atomic {
				if
				:: pte[AT(mm, p)] == ENTRY_EXCL -> ae[p] = true
				:: else
				fi;
				pte[AT(mm, p)] = RO;
				CHECK_PAGE(p);
				UNLOCK(ptl[AT(mm, p)])
			}
		:: else ->
			UNLOCK(ptl[AT(mm, p)]);
#ifndef SWAPIN_COUNT_FIRST
			refs--
#endif
		fi
	:: else
	fi;
	UNLOCK(folio_lock)
}

proctype thread(byte mm, ops; bool forks)
{
	byte p, m, r;
	bool ok;

end:	mm == 0 || child;
	do
	:: ops ->
		ops--;
		if
		:: p = 0
		:: p = 1
		fi;
		if
		:: PRESENT(pte[AT(mm, p)]) -> wp_fault(mm, p)
		:: PRESENT(pte[AT(mm, p)]) ->
			LOCK(ptl[AT(mm, p)]);
			if
			:: PRESENT(pte[AT(mm, p)]) -> unmap_unlock(mm, p)
			:: else -> UNLOCK(ptl[AT(mm, p)])
			fi
		:: atomic { PRESENT(pte[AT(mm, p)]) && !ptl[AT(mm, p)] && !got[AT(mm, p)] ->
			refs++;
			got[AT(mm, p)]++;
			CHECK_PAGE(p) }
		:: atomic { PRESENT(pte[AT(mm, p)]) && !ptl[AT(mm, p)] &&
			    !pins[AT(mm, p)] && ae[p] ->
			refs++;
			pins[AT(mm, p)]++;
			CHECK_PAGE(p) }
		:: atomic { got[AT(mm, p)] -> got[AT(mm, p)]--; refs-- }
		:: atomic { pins[AT(mm, p)] -> pins[AT(mm, p)]--; refs-- }
		:: pte[AT(mm, p)] >= ENTRY -> swapin(mm, p)
#ifdef FORK
		/* Only one thread of the parent does this, with the mmap lock. */
		:: forks && !child ->
			fork_page(0);
			fork_page(1);
			child = true
#endif
		:: true		/* nothing */
		fi
	:: else -> break
	od;
	p = 0
}

#ifdef SWAP
/* Of pages that are not mapped here, nothing happens. */
inline swap_out(mm, p)
{
	LOCK(ptl[AT(mm, p)]);
	if
	:: PRESENT(pte[AT(mm, p)]) &&
	   !(ae[p] && pins[0] + pins[1] + pins[2] + pins[3]) ->
		atomic {
			pte[AT(mm, p)] = (ae[p] -> ENTRY_EXCL : ENTRY);
			ae[p] = false;
			CHECK_PAGE(p)
		};
		uncount(mm);
		refs--;
	:: else
	fi;
	UNLOCK(ptl[AT(mm, p)])
}

active proctype reclaim()
{
	LOCK(folio_lock);
	if
	:: atomic { refs -> refs = refs + 2; swapcache = true };	/* isolated */
		swap_out(0, 0);
		if
		:: swap_out(0, 1)
		:: true
		fi;
		if
		:: child -> swap_out(1, 0); swap_out(1, 1)
		:: true
		fi;
		refs--
	:: else
	fi;
	UNLOCK(folio_lock)
}
#endif

init {
	atomic {
		ae[0] = true;
		ae[1] = true;
		pte[AT(0, 0)] = RW;
		pte[AT(0, 1)] = RW;
		n = 2;
		by[0] = 2;
		refs = 2;
#ifdef FORK
		/* Or there was a child before. */
		if
		:: ae[0] = false; ae[1] = false; pte[AT(0, 0)] = RO; pte[AT(0, 1)] = RO
		:: true
		fi;
#else
		/* It has happened. */
		ae[0] = false;
		ae[1] = false;
		pte[AT(0, 0)] = RO;
		pte[AT(0, 1)] = RO;
		pte[AT(1, 0)] = RO;
		pte[AT(1, 1)] = RO;
		n = 4;
		by[1] = 2;
		refs = 4;
		child = true;
#endif
		run thread(0, OPS_A, true);
		run thread(0, OPS_B, false);
		run thread(1, OPS_C, false)
	}
}
