/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A folio has at least as many references as mappings, at every moment.
 *
 * A folio of two pages, which a PMD can map as a whole, and two MMs. ANON: the
 * folio is anonymous, fork() can duplicate its mappings, and a PMD is split into
 * PTEs in place. Otherwise it is in the page cache, and can be mapped again as
 * long as it is there, and truncated.
 *
 * mm: what one MM does, each time one of these, under its page table lock:
 *   map	set_pte_range(), do_set_pmd(): reference, mapcount, PTE; with the folio
 *		locked and in the page cache
 *   unmap	zap_present_folio_ptes(), zap_huge_pmd(): PTE, mapcount, page table lock
 *		dropped, reference (by mmu_gather)
 *   fork	copy_present_large_ptes(), copy_huge_pmd(): reference, mapcount, PTE
 *   split	__split_huge_pmd_locked(): anonymous: references for the PTEs but one,
 *		their mapcount, the PMD's mapcount; file: mapcount, reference
 * fault: __wp_can_reuse_large_anon_folio(), of another thread of an MM, which
 *   decides under the large mapcount lock
 * mover: migration (of either folio), which unmaps the folio from both MMs, freezes
 *   its references (folio_ref_freeze()) if nobody but the page cache has one, and
 *   if not, maps it again where it was mapped by PTEs: try_to_migrate(),
 *   folio_migrate_mapping(), remove_migration_ptes()
 * truncate: unmaps the folio and drops the page cache's references:
 *   truncate_inode_folio(), under the folio lock
 * getter: takes a reference when there is one, and drops it: GUP-fast,
 *   filemap_get_entry()
 *
 * What is checked is a bit more: each mapping has a reference of its own, beside
 * those of all others.
 *
 * The exception is in the model: "splitting" is the number of anonymous PMDs that
 * are being split. STRICT leaves it out. What the exception must not lead to is
 * that a reuse check finds as many references as mappings while somebody else
 * has a reference: it needs the page table lock, and only one MM mapping the
 * folio, so it cannot run while there is a split.
 *
 * Each counter is an atomic variable, and what changes several of them under the
 * large mapcount lock is one step, so spin's interleaving is all there is: each
 * order of two atomic operations is kept by a lock, or by the reference being
 * taken and dropped by operations that the mapcount lock orders.
 *
 * Left out: A, e, PUDs, hugetlb; the swapcache (see reuse.pml).
 */
#define NEVER(name, what)	name = (what); assert(!name); name = false

#define NR	2
#define NONE	0
#define PMD	3		/* else: how many PTEs map the folio */

#ifndef OPS
#define OPS	3		/* of each MM */
#endif

byte refs, n, by[2];		/* by: of n, how many are of each MM */
byte map[2];
byte entries[2];		/* migration entries */
bool ptl[2], folio_lock, in_cache, frozen;
byte splitting;
byte foreign;			/* references of the getter */
byte others;			/* all that are not of mappings */
byte alive[2];			/* fork() needs an MM that nobody else uses */

bool fewer_refs, none_to_get, reused_wrongly, frozen_mapped, frozen_found;

#ifdef STRICT
#define EXCEPTION	0
#else
#define EXCEPTION	splitting
#endif
#define CHECK		NEVER(fewer_refs, n + others > refs + EXCEPTION)

#define LOCK(lock)	atomic { !lock -> lock = true }
#define UNLOCK(lock)	lock = false

inline get(nr)
{
	atomic { NEVER(none_to_get, refs == 0); refs = refs + nr }
}

inline put(nr)
{
	atomic { refs = refs - nr; CHECK }
}

inline count(mm, nr)		/* folio_add_large_mapcount() */
{
	atomic { n = n + nr; by[mm] = by[mm] + nr; CHECK }
}

inline uncount(mm, nr)		/* folio_sub_large_mapcount() */
{
	atomic { n = n - nr; by[mm] = by[mm] - nr; CHECK }
}

/* The mutants: the other way round. */
#ifdef MAP_COUNT_FIRST
#define GET_COUNT(mm, nr)	count(mm, nr); get(nr)
#else
#define GET_COUNT(mm, nr)	get(nr); count(mm, nr)
#endif
#ifdef FORK_COUNT_FIRST
#define FORK_COUNT(mm, nr)	count(mm, nr); get(nr)
#else
#define FORK_COUNT(mm, nr)	get(nr); count(mm, nr)
#endif
#ifdef MOVE_PUT_FIRST
#define MOVE_UNCOUNT(mm, nr)	put(nr); uncount(mm, nr)
#else
#define MOVE_UNCOUNT(mm, nr)	uncount(mm, nr); put(nr)
#endif

inline unmap(mm)
{
	LOCK(ptl[mm]);
	if
	:: atomic { map[mm] == NONE || map[mm] == PMD && nr == 2 -> UNLOCK(ptl[mm]) }
	:: atomic { map[mm] != NONE && !(map[mm] == PMD && nr == 2) && nr <= map[mm] ->
		map[mm] = (map[mm] == PMD -> NONE : map[mm] - nr) };
#ifdef UNMAP_PUT_FIRST
		put(nr);
		uncount(mm, nr);
		UNLOCK(ptl[mm])
#else
		uncount(mm, nr);
		UNLOCK(ptl[mm]);
		put(nr)
#endif
	:: atomic { map[mm] < nr && map[mm] != NONE -> UNLOCK(ptl[mm]) }
	fi
}

/*
 * The PTE that the fault is about is one of this folio, under the page table lock
 * of the fault. By mistake: without looking at it, or at who else maps the folio.
 */
#if defined(REUSE_NO_PTL)
#define CAN_REUSE(mm)	(n == by[mm] && n && n == refs)
#elif defined(REUSE_ANYONE)
#define CAN_REUSE(mm)	(map[mm] != NONE && map[mm] != PMD && n == refs)
#else
#define CAN_REUSE(mm)	(map[mm] != NONE && map[mm] != PMD && n == by[mm] && n == refs)
#endif

/* All PTEs, or the PMD. */
inline unmap_all(mm)
{
	LOCK(ptl[mm]);
	nr = (map[mm] == PMD -> 1 : map[mm]);
	if
	:: nr ->
		map[mm] = NONE;
		MOVE_UNCOUNT(mm, nr)
	:: else
	fi;
	UNLOCK(ptl[mm])
}

proctype mm(byte me)
{
	byte ops, nr;

	alive[me];
	do
	:: ops < OPS ->
		ops++;
		if :: nr = 1 :: nr = 2 fi;
		if
#ifndef ANON
		/* A page fault: the folio lock keeps the folio in the page cache. */
		:: LOCK(folio_lock);
			LOCK(ptl[me]);
			if
			:: in_cache && map[me] == NONE ->
				GET_COUNT(me, nr);
				map[me] = nr
			:: in_cache && map[me] == NONE ->
				GET_COUNT(me, 1);
				map[me] = PMD
			:: else
			fi;
			UNLOCK(ptl[me]);
			UNLOCK(folio_lock)
#endif
		:: unmap(me)
		:: LOCK(ptl[me]);
			if
			:: map[me] == PMD && !entries[me] ->
#ifdef ANON
				splitting++;
#ifdef SPLIT_REFS_LATE
				count(me, NR);
				get(NR - 1);
#else
				get(NR - 1);
				count(me, NR);
#endif
				map[me] = NR;
				uncount(me, 1);
				atomic { splitting--; CHECK }
#else
				map[me] = NONE;
				uncount(me, 1);
				put(1)
#endif
			:: else
			fi;
			UNLOCK(ptl[me])
#ifdef ANON
		/* With the child's page tables, nobody else can unmap there. */
		:: atomic { me == 0 && !alive[1] -> skip };
			LOCK(ptl[0]);
			if
			:: map[0] != NONE ->
				nr = (map[0] == PMD -> 1 : map[0]);
				FORK_COUNT(1, nr);
				map[1] = map[0]
			:: else
			fi;
			UNLOCK(ptl[0]);
			alive[1] = true
#endif
		fi
	:: else -> break
	od;
	alive[1] = true
}

#ifdef ANON
/* A write fault of another thread. */
proctype fault(byte me)
{
#ifndef REUSE_NO_PTL
	LOCK(ptl[me]);
#endif
	atomic {
		if
		:: CAN_REUSE(me) -> NEVER(reused_wrongly, foreign)
		:: else
		fi
	};
#ifndef REUSE_NO_PTL
	UNLOCK(ptl[me])
#endif
}
#endif

active proctype getter()
{
	/* folio_try_get() */
	if
	:: atomic { refs && !frozen -> refs++; others++; foreign++ };
		atomic { refs--; others--; foreign--; CHECK }
	:: true
	fi
}

#ifdef MOVE
active proctype mover()
{
	byte nr, i;

	LOCK(folio_lock);
	if
	:: atomic { refs -> refs++; others++ }	/* isolated from the LRU */
	:: else -> goto out
	fi;
	do
	:: i < 2 ->
		LOCK(ptl[i]);
		nr = (map[i] == PMD -> 1 : map[i]);
		if
		:: nr ->
			entries[i] = map[i];
			map[i] = NONE;
			MOVE_UNCOUNT(i, nr)
		:: else
		fi;
		UNLOCK(ptl[i]);
		i++
	:: else -> break
	od;
	atomic {
		/* folio_ref_freeze() */
		if
		:: n == 0 && refs == 1 + (in_cache -> NR : 0) ->
			refs = 0;
			others = 0;
			frozen = true;
			in_cache = false;	/* the new folio is, instead */
			NEVER(frozen_mapped, n != 0);
			NEVER(frozen_found, foreign != 0);
			goto out
		:: else -> i = 0
		fi
	};
	do
	:: i < 2 ->
		LOCK(ptl[i]);
		if
		:: entries[i] && map[i] == NONE ->
			nr = (entries[i] == PMD -> 1 : entries[i]);
			GET_COUNT(i, nr);
			map[i] = entries[i]
		:: else
		fi;
		entries[i] = 0;
		UNLOCK(ptl[i]);
		i++
	:: else -> break
	od;
	atomic { refs--; others--; CHECK };
out:
	UNLOCK(folio_lock)
}
#endif

#if !defined(ANON)
active proctype truncate()
{
	byte nr;

	LOCK(folio_lock);
	if
	:: in_cache && !frozen ->
		unmap_all(0);
		unmap_all(1);
		atomic { in_cache = false; refs = refs - NR; others = others - NR; CHECK }
	:: else
	fi;
	UNLOCK(folio_lock)
}
#endif

init {
	atomic {
#ifdef ANON
		if
		:: map[0] = PMD; n = 1
		:: map[0] = 2; n = 2
		fi;
		by[0] = n;
		refs = n;
		alive[0] = true;
#else
		in_cache = true;
		refs = NR;
		others = NR;
		alive[0] = true;
		alive[1] = true;
#endif
		run mm(0);
		run mm(1);
#ifdef ANON
		run fault(0);
		run fault(1)
#endif
	}
}
