// SPDX-License-Identifier: GPL-2.0
/*
 * Audit of the mapcounts and the anon-exclusive marks of large folios: look at
 * all page table entries that the rmap finds, and compare what they are with what
 * the folios have stored. See Documentation/mm/folio_mapcount.rst.
 *
 * The audit holds the folio lock and a reference. So nobody else splits or frees
 * the folio, migrates, reclaims, collapses or moves it by userfaultfd, or maps it
 * by swap-in, by a fault on the page cache, or in place of migration entries. What
 * remains is fork(), the splitting of PMDs, and what unmaps, all of which change
 * the mapcounts; mremap(), which moves page table entries; and write faults, which
 * set marks.
 *
 * None of that stops while page table after page table is locked and looked at.
 * To compare the counters from before and after would not do: a child exits while
 * another one, which got the free MM ID, is being forked. Therefore, whatever
 * changes the mapcounts says so, by folio_mapcounts_changed(), and what moves page
 * table entries by folio_mappings_move_begin(). If there was nothing of that since
 * before the counters were read, the entries that belong to the counters are there
 * for the whole time: an entry and the counters change under one hold of the page
 * table lock, which the walk takes for each place where there may be an entry.
 *
 * There is one gap in that: page_vma_mapped_walk() sees without the lock that there
 * is no PMD. It waits for who has the lock then, but does not look again. So what
 * is wrong has to be the same for CONFIRM looks in a row, nothing having changed
 * since the begin of the first: who was half-way through during the first one is
 * done by the second.
 *
 * The counters are read under the large mapcount lock. With the option, also
 * folio_set_large_mapcount() takes it, for folios that nobody else maps yet: the
 * audit finds them nevertheless.
 */

#include <linux/atomic.h>
#include <linux/bit_spinlock.h>
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/init.h>
#include <linux/ktime.h>
#include <linux/leafops.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>
#include <linux/panic.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_buf.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "folio_mapcount.h"
#include "internal.h"

#define CONFIRM		3
/* Looks at a folio until it is unstable; after the first half, sleep in between. */
#define TRIES		32
/* How long to wait for the large mapcount lock: nobody sleeps with it. */
#define LOCK_MSECS	200
#define LOCK_USECS	100
/* Mappings by more VMAs than that are too many to tell which of those overlap. */
#define MAX_PLACES	4096
#define REPORT_SIZE	SZ_512K
/* More than what there is to tell about a single folio, and the last lines. */
#define REPORT_RESERVE	SZ_64K

/*
 * Several folios may share a counter. That one of the others changes only makes
 * the audit look again.
 */
#define CHANGES_BITS	10

static atomic_t changes[1 << CHANGES_BITS];
static atomic_t moves_begun, moves_ended;

static DEFINE_MUTEX(audit_lock);

static atomic_t *folio_changes(const struct folio *folio)
{
	return &changes[hash_ptr(folio, CHANGES_BITS)];
}

/**
 * folio_mapcounts_changed() - The mapcounts of a large folio change.
 * @folio: The large folio, not a hugetlb folio.
 *
 * Context: The large mapcount lock is held, or nobody else can map @folio.
 */
void folio_mapcounts_changed(const struct folio *folio)
{
	atomic_inc(folio_changes(folio));
}

/**
 * folio_mappings_move_begin() - Page table entries are about to move.
 *
 * They can be found in two places by who looks at both, or in none, without a
 * change of any mapcount.
 */
void folio_mappings_move_begin(void)
{
	atomic_inc(&moves_begun);
	/* Pairs with smp_rmb() in folio_look_end(). */
	smp_mb__after_atomic();
}

/**
 * folio_mappings_move_end() - Page table entries have been moved.
 */
void folio_mappings_move_end(void)
{
	/* Pairs with atomic_read_acquire() in folio_look_begin(). */
	smp_mb__before_atomic();
	atomic_inc(&moves_ended);
}

enum kind {
	KIND_MAPCOUNT,
	KIND_ENTIRE,
	KIND_IDS,
	KIND_SQUARES,
	KIND_SHARED,
	KIND_ACCOUNTED,
	KIND_REFERENCES,
	KIND_EXCLUSIVE,
	KIND_WRITABLE,
	KIND_BITMAP,
	KIND_LOCK,
	NR_KINDS,
};

static const char * const kind_names[NR_KINDS] = {
	[KIND_MAPCOUNT] = "mapcount",
	[KIND_ENTIRE] = "entire mapcount",
	[KIND_IDS] = "sum of IDs",
	[KIND_SQUARES] = "sum of squares",
	[KIND_SHARED] = "shared",
	[KIND_ACCOUNTED] = "accounted pages",
	[KIND_REFERENCES] = "references",
	/* Pages that are marked but mapped by more than one entry. */
	[KIND_EXCLUSIVE] = "exclusive but mapped again",
	/* Writable entries of pages that are not marked. */
	[KIND_WRITABLE] = "writable but not exclusive",
	/* Marks of no page. */
	[KIND_BITMAP] = "marks of no page",
	[KIND_LOCK] = "locked mapcounts",
};

/* What the folio has stored. */
struct stored {
	struct mm_sums sums;
	unsigned int entire;
	unsigned int accounted;
	/* Up to as many as there have to be, and of these, the ones of no mapping. */
	unsigned int references;
	unsigned int cache_references;
	unsigned int stray_marks;
	bool locked;
};

/* What there is in the page tables. */
struct found {
	unsigned int mapcount;
	unsigned int entire;
	unsigned long ids;
	u64 squares;
	mm_id_t mm_id;
	bool several;
	unsigned int writable;
	/* By what is mapped, mapped by several entries, or mapped and marked. */
	DECLARE_BITMAP(mapped, MAX_ORDER_NR_PAGES);
	DECLARE_BITMAP(again, MAX_ORDER_NR_PAGES);
	DECLARE_BITMAP(marked, MAX_ORDER_NR_PAGES);
};

struct difference {
	bool is;
	u64 stored;
	/* Not always is it known exactly what has to be stored. */
	u64 min;
	u64 max;
};

struct look {
	unsigned int nr_pages;
	int changes;
	int moves;
	/* More VMAs map it than we look at. */
	bool cut;
	/* What was found is not all there is, and that need not be wrong. */
	bool missed;
	bool walked;
	struct stored stored;
	struct found found;
	struct difference differences[NR_KINDS];
};

enum outcome {
	OUTCOME_NOTHING,	/* Not mapped, or nothing that we audit. */
	OUTCOME_AGREES,
	OUTCOME_NOT_WALKED,
	OUTCOME_UNSTABLE,
	OUTCOME_DIFFERS,
	OUTCOME_STOPPED,
};

struct per_order {
	unsigned long folios, pmd_mapped, pte_mapped, exclusive, shared, partly_mapped;
	unsigned long accounted, mapped;
};

/* Where a look has found something. */
struct place {
	const struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
};

struct audit {
	struct look look, last;
	struct place places[MAX_PLACES];
	unsigned int nr_places;
	unsigned long folios, differences, unstable, not_walked;
	/* Of files, and anon. */
	struct per_order orders[2][NR_PAGE_ORDERS];
	struct seq_buf report;
	char text[REPORT_SIZE];
};

static void folio_look_begin(const struct folio *folio, struct look *look)
{
	/* Pairs with folio_mappings_move_end(): whoever has ended is done. */
	look->moves = atomic_read_acquire(&moves_ended);
	look->changes = atomic_read(folio_changes(folio));
}

/* Was there no change of the mapcounts, and nobody moving page table entries? */
static bool folio_look_end(const struct folio *folio, const struct look *look)
{
	/*
	 * Pairs with folio_mappings_move_begin(): we may have read without a lock
	 * that there is no page table entry any more. If somebody had begun before
	 * we did, and had not ended, the numbers are different as well.
	 */
	smp_rmb();
	return atomic_read(&moves_begun) == look->moves &&
	       atomic_read(folio_changes(folio)) == look->changes;
}

/* Marks that are in the words of the bitmap, but for pages that do not exist. */
static unsigned int count_stray_marks(const struct folio *folio)
{
	const unsigned int words = round_up(DIV_ROUND_UP(folio_nr_pages(folio),
							 BITS_PER_LONG), 2);
	unsigned int nr = folio_test_anon(folio) ? folio_nr_pages(folio) : 0;
	const unsigned int end = words * BITS_PER_LONG;
	unsigned int count = 0;

	if (folio_order(folio) < ANON_EXCLUSIVE_MIN_ORDER)
		return 0;
	for (; nr < end; nr = anon_exclusive_next(nr))
		count += hweight_long(atomic_long_read(anon_exclusive_word(folio, nr)) &
				      anon_exclusive_mask(nr, end));
	return count;
}

/*
 * Does ->mapping say who maps the folio? Drivers may have something else there, if
 * they have allocated the folio, and never put it on an LRU.
 */
static bool has_mapping(const struct folio *folio)
{
	return folio_test_lru(folio) || folio_test_large_rmappable(folio);
}

/*
 * The folio lock keeps a folio in the caches that it is in. Mappings need not be
 * stable, but if they change, folio_mapcounts_changed() has been called.
 */
static void read_references(struct folio *folio, struct stored *stored)
{
	/* Without the audit's. */
	const int references = folio_ref_count(folio) - 1;

	if (has_mapping(folio))
		stored->cache_references = folio_expected_ref_count(folio) -
					   folio_mapcount(folio);
	/* Others come and go, which must not make one look different from another. */
	stored->references = min_t(unsigned int, references,
				   stored->cache_references + stored->sums.mapcount);
}

static void read_stored(struct folio *folio, struct stored *stored)
{
	const ktime_t end = ktime_add_ms(ktime_get(), LOCK_MSECS);

	while (!bit_spin_trylock(FOLIO_MM_IDS_LOCK_BITNUM, &folio->_mm_ids)) {
		if (fatal_signal_pending(current) || ktime_after(ktime_get(), end)) {
			stored->locked = true;
			return;
		}
		usleep_range(LOCK_USECS, 2 * LOCK_USECS);
	}
	folio_read_mm_sums(folio, &stored->sums);
	stored->entire = folio_entire_mapcount(folio);
	stored->accounted = folio->_nr_pages_accounted;
	folio_unlock_large_mapcount(folio);

	read_references(folio, stored);
	if (folio_test_large_rmappable(folio))
		stored->stray_marks = count_stray_marks(folio);
}

static void found_entry(struct found *found, struct vm_area_struct *vma,
			unsigned int first, unsigned int nr, bool writable,
			bool anon, bool marked)
{
	const mm_id_t mm_id = mm_rmap_id(vma->vm_mm);
	unsigned int i;

	if (found->mapcount && mm_id != found->mm_id)
		found->several = true;
	found->mm_id = mm_id;
	found->mapcount++;
	found->ids += mm_id;
	found->squares += (u64)mm_id * mm_id;

	for (i = first; i < first + nr; i++)
		if (__test_and_set_bit(i, found->mapped))
			__set_bit(i, found->again);
	if (marked)
		bitmap_set(found->marked, first, nr);
	if (anon && writable && !marked)
		found->writable++;
}

static void found_pte(struct folio *folio, struct page_vma_mapped_walk *pvmw,
		      struct found *found)
{
	const pte_t pte = ptep_get(pvmw->pte);
	const bool anon = folio_test_anon(folio);
	bool writable = false;
	struct page *page;

	/* An entry for a device (see mm/hmm.c) is a mapping all the same. */
	if (pte_present(pte)) {
		if (pte_special(pte))
			return;
		page = pfn_to_page(pte_pfn(pte));
		writable = pte_write(pte);
	} else {
		page = softleaf_to_page(softleaf_from_pte(pte));
	}
	found_entry(found, pvmw->vma, folio_page_idx(folio, page), 1, writable, anon,
		    anon && folio_test_anon_exclusive(folio, page));
}

static void found_pmd(struct folio *folio, struct page_vma_mapped_walk *pvmw,
		      struct found *found)
{
	const pmd_t pmd = pmdp_get(pvmw->pmd);
	const bool anon = folio_test_anon(folio);

	if (pmd_present(pmd) && pmd_special(pmd))
		return;
	found->entire++;
	found_entry(found, pvmw->vma, 0, folio_nr_pages(folio),
		    pmd_present(pmd) && pmd_write(pmd), anon,
		    anon && folio_test_anon_exclusive(folio, &folio->page));
}

/*
 * While a VMA is split or merged, the rmap has two VMAs of an MM that contain the
 * same addresses: before the one is made smaller, or after the other one was made
 * larger. The anon_vma is not locked in between, and no mapcount changes, so that
 * all looks might agree on having found the same entries twice. With files, that is
 * done under one hold of the i_mmap lock.
 */
static bool been_there(const struct audit *a, const struct mm_struct *mm,
		       unsigned long start, unsigned long end)
{
	unsigned int i;

	for (i = 0; i < a->nr_places; i++)
		if (a->places[i].mm == mm && a->places[i].start < end &&
		    a->places[i].end > start)
			return true;
	return false;
}

/*
 * The marks are those that the page table lock protects, together with the entry.
 * What drivers map by PFN is not counted, even if it is the page cache of the file
 * that is mapped; only private pages are.
 */
static bool look_at_vma(struct folio *folio, struct vm_area_struct *vma,
			unsigned long address, void *arg)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, address, PVMW_SYNC);
	const unsigned long end = vma_address_end(&pvmw);
	struct audit *a = arg;
	const unsigned int mapcount = a->look.found.mapcount;
	struct place *place;
	bool overlaps;

	if (vma_test(vma, VMA_PFNMAP_BIT) && !folio_test_anon(folio))
		return true;

	overlaps = been_there(a, vma->vm_mm, address, end);
	while (page_vma_mapped_walk(&pvmw)) {
		const unsigned long size = pvmw.pte ? PAGE_SIZE : PMD_SIZE;

		if (overlaps && been_there(a, vma->vm_mm, pvmw.address, pvmw.address + size))
			continue;
		if (a->nr_places == MAX_PLACES) {
			a->look.cut = true;
			page_vma_mapped_walk_done(&pvmw);
			return false;
		}
		if (pvmw.pte)
			found_pte(folio, &pvmw, &a->look.found);
		else
			found_pmd(folio, &pvmw, &a->look.found);
	}
	if (a->look.found.mapcount == mapcount)
		return !fatal_signal_pending(current);
	/* The rmap lock keeps the MM, as it keeps the VMA. */
	place = &a->places[a->nr_places++];
	place->mm = vma->vm_mm;
	place->start = address;
	place->end = end;
	return !fatal_signal_pending(current);
}

static void differ(struct look *look, enum kind kind, u64 stored, u64 min, u64 max)
{
	if (stored >= min && stored <= max)
		return;
	/* Member by member: looks get compared, with what is between the members. */
	look->differences[kind].is = true;
	look->differences[kind].stored = stored;
	look->differences[kind].min = min;
	look->differences[kind].max = max;
}

/*
 * A is at least the number of mapped pages, and it is all pages as long as e > 0.
 * With e = 0, A does not exceed n: mapping pages anew adds the same to both of
 * them, at most, fork() to n only, and the removal of a mapping, such as of the
 * last PMD, has A at n or below. If no page is mapped by more than one entry, n
 * is the number of mapped pages, which leaves only that.
 */
static void compare_accounted(struct look *look, unsigned int mapped,
			      unsigned int mapcount, unsigned int entire)
{
	const unsigned int nr_pages = look->nr_pages;

	differ(look, KIND_ACCOUNTED, look->stored.accounted, entire ? nr_pages : mapped,
	       entire ? nr_pages : min(nr_pages, mapcount));
}

static void compare(struct look *look)
{
	const struct stored *stored = &look->stored;
	const struct found *found = &look->found;
	const unsigned long ids = found->ids & FOLIO_MM_IDS_SUM_MASK;
	u64 squares = found->squares;
	bool shared;

#ifndef CONFIG_64BIT
	/* Order-1 folios only keep the lower half. */
	if (stored->sums.exact_max == MM_SUMS_EXACT_MAX_ORDER1)
		squares = (u32)squares;
#endif /* !CONFIG_64BIT */

	/* A function of what is mapped now, unless the sums might have wrapped. */
	shared = found->several || found->mapcount > stored->sums.exact_max;

	differ(look, KIND_MAPCOUNT, stored->sums.mapcount, found->mapcount, found->mapcount);
	differ(look, KIND_ENTIRE, stored->entire, found->entire, found->entire);
	differ(look, KIND_IDS, stored->sums.ids, ids, ids);
	differ(look, KIND_SQUARES, stored->sums.squares, squares, squares);
	differ(look, KIND_SHARED, stored->sums.shared, shared, shared);
	compare_accounted(look, bitmap_weight(found->mapped, look->nr_pages),
			  found->mapcount, found->entire);
	/* Nobody is between a PMD and its PTEs any more, or the counters had changed. */
	differ(look, KIND_REFERENCES, stored->references, stored->cache_references +
	       min(found->mapcount, stored->sums.mapcount), U64_MAX);

	/*
	 * The mark of a page that is not mapped means nothing: who unmaps it leaves
	 * the mark as it is.
	 */
	differ(look, KIND_EXCLUSIVE,
	       bitmap_weight_and(found->marked, found->again, look->nr_pages), 0, 0);
	differ(look, KIND_WRITABLE, found->writable, 0, 0);
}

/* What is true whoever maps the folio. */
static void compare_stored(struct look *look)
{
	const struct stored *stored = &look->stored;

	differ(look, KIND_ENTIRE, stored->entire, 0, stored->sums.mapcount);
	compare_accounted(look, 1, stored->sums.mapcount, stored->entire);
	differ(look, KIND_REFERENCES, stored->references,
	       stored->cache_references + stored->sums.mapcount, U64_MAX);
}

static bool has_differences(const struct look *look)
{
	unsigned int kind;

	for (kind = 0; kind < NR_KINDS; kind++)
		if (look->differences[kind].is)
			return true;
	return false;
}

/*
 * Can we find who maps the folio? Not if that is a driver: pages of its own have
 * no mapping, and those of a GEM object, which is shmem, are mapped by another
 * file. As long as they are in use, the page cache does not let go of them.
 */
static bool can_walk(struct folio *folio)
{
	if (!has_mapping(folio) || folio_test_ksm(folio))
		return false;
	if (folio_test_anon(folio))
		return true;
	return folio->mapping && !folio_test_swapcache(folio);
}

/* SHM_LOCK looks the same as a GEM object. What is missed is printed nevertheless. */
static bool may_miss_mappings(const struct folio *folio)
{
	return !folio_test_anon(folio) && shmem_mapping(folio->mapping) &&
	       mapping_unevictable(folio->mapping);
}

/*
 * What claims not to be mapped is looked for if that is not in vain most of the
 * time: the pages of a file that nobody maps are found out to be that quickly.
 */
static bool should_walk(struct folio *folio, const struct stored *stored)
{
	if (!stored->sums.mapcount && folio_test_anon(folio))
		return false;
	return can_walk(folio);
}

/*
 * The folio is locked. Returns OUTCOME_UNSTABLE if there is a difference, but not
 * for sure.
 */
static enum outcome look_at_folio(struct audit *a, struct folio *folio)
{
	struct rmap_walk_control rwc = {
		.rmap_one = look_at_vma,
		.arg = a,
		.anon_lock = folio_lock_anon_vma_read,
	};
	struct look *look = &a->look;

	memset(look, 0, sizeof(*look));
	a->nr_places = 0;
	look->nr_pages = folio_nr_pages(folio);
	folio_look_begin(folio, look);
	read_stored(folio, &look->stored);
	if (fatal_signal_pending(current))
		return OUTCOME_STOPPED;
	if (look->stored.locked) {
		differ(look, KIND_LOCK, 1, 0, 0);
		return folio_look_end(folio, look) ? OUTCOME_DIFFERS : OUTCOME_UNSTABLE;
	}

	/*
	 * All words are 0 if nothing is mapped. What is new might be just about to
	 * become anonymous; once it is on an LRU, that has happened. What is not on
	 * an LRU need not have been allocated to be mapped.
	 */
	if (!look->stored.sums.mapcount &&
	    (!folio_test_lru(folio) || !folio_test_large_rmappable(folio)))
		return OUTCOME_NOTHING;

	look->walked = should_walk(folio, &look->stored);
	if (look->walked)
		rmap_walk(folio, &rwc);
	if (fatal_signal_pending(current))
		return OUTCOME_STOPPED;

	look->missed = look->walked && (may_miss_mappings(folio) || look->cut) &&
		       look->found.mapcount < look->stored.sums.mapcount;
	if (look->missed)
		look->walked = false;
	if (look->walked || !look->stored.sums.mapcount)
		compare(look);
	else
		compare_stored(look);
	differ(look, KIND_BITMAP, look->stored.stray_marks, 0, 0);

	if (has_differences(look))
		return folio_look_end(folio, look) ? OUTCOME_DIFFERS : OUTCOME_UNSTABLE;
	if (!look->stored.sums.mapcount)
		return OUTCOME_NOTHING;
	return look->walked ? OUTCOME_AGREES : OUTCOME_NOT_WALKED;
}

static bool is_ours(struct folio *folio)
{
	return folio_test_large(folio) && !page_has_type(&folio->page) &&
	       folio_order(folio) <= MAX_PAGE_ORDER;
}

/* The caller's reference keeps the folio from being split. */
static enum outcome audit_folio(struct audit *a, struct folio *folio)
{
	enum outcome outcome = OUTCOME_NOTHING;
	unsigned int try, same = 0;

	for (try = 0; try < TRIES; try++) {
		if (try > TRIES / 2)
			schedule_timeout_killable(1);
		else
			cond_resched();
		if (fatal_signal_pending(current))
			return OUTCOME_STOPPED;
		if (!folio_trylock(folio)) {
			/* As if locked for I/O: what is not mapped is not missed. */
			outcome = folio_mapped(folio) ? OUTCOME_UNSTABLE : OUTCOME_NOTHING;
			same = 0;
			continue;
		}
		outcome = look_at_folio(a, folio);
		folio_unlock(folio);

		if (outcome == OUTCOME_UNSTABLE) {
			same = 0;
			continue;
		}
		if (outcome != OUTCOME_DIFFERS)
			return outcome;
		if (same && memcmp(&a->look, &a->last, sizeof(a->look)))
			same = 0;
		if (++same == CONFIRM)
			return outcome;
		/* With what is between the members, as that gets compared. */
		memcpy(&a->last, &a->look, sizeof(a->last));
		outcome = OUTCOME_UNSTABLE;
	}
	return outcome;
}

static void report_difference(struct audit *a, enum kind kind)
{
	const struct difference *d = &a->look.differences[kind];

	seq_buf_printf(&a->report, "difference: %s: stored %llu, recomputed %llu",
		       kind_names[kind], d->stored, d->min);
	if (d->max == U64_MAX)
		seq_buf_puts(&a->report, " or more");
	else if (d->max != d->min)
		seq_buf_printf(&a->report, " to %llu", d->max);
	seq_buf_putc(&a->report, '\n');
}

static void report_folio(struct audit *a, struct folio *folio, const char *what)
{
	const struct stored *stored = &a->look.stored;
	const struct found *found = &a->look.found;
	unsigned long flags = folio->flags.f;

	seq_buf_printf(&a->report, "%s: pfn %#lx order %u refs %d %s index %#lx flags %pGp",
		       what, folio_pfn(folio), folio_order(folio), folio_ref_count(folio) - 1,
		       folio_test_anon(folio) ? "anon" : "file", folio->index, &flags);
	seq_buf_printf(&a->report, " n %u e %u S1 %lu S2 %llu%s A %u",
		       stored->sums.mapcount, stored->entire, stored->sums.ids,
		       stored->sums.squares, stored->sums.shared ? " shared" : "",
		       stored->accounted);
	if (a->look.walked || a->look.missed)
		seq_buf_printf(&a->report,
			       ", found n %u e %u S1 %lu S2 %llu%s pages %u (%*pbl) again %*pbl marked %*pbl",
			       found->mapcount, found->entire, found->ids, found->squares,
			       found->several ? " shared" : "",
			       bitmap_weight(found->mapped, a->look.nr_pages),
			       a->look.nr_pages, found->mapped,
			       a->look.nr_pages, found->again,
			       a->look.nr_pages, found->marked);
	seq_buf_putc(&a->report, '\n');
}

static bool has_room(struct audit *a)
{
	return seq_buf_buffer_left(&a->report) > REPORT_RESERVE;
}

static void account_differences(struct audit *a, struct folio *folio)
{
	const bool room = has_room(a);
	unsigned int kind;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!a->look.differences[kind].is)
			continue;
		a->differences++;
		if (room)
			report_difference(a, kind);
	}
	if (room)
		report_folio(a, folio, "folio");
}

static void account_not_walked(struct audit *a, struct folio *folio)
{
	a->not_walked++;
	if (a->look.missed && has_room(a))
		report_folio(a, folio, "not all found");
}

static void account_order(struct audit *a, const struct folio *folio)
{
	const struct stored *stored = &a->look.stored;
	const struct found *found = &a->look.found;
	struct per_order *order = &a->orders[folio_test_anon(folio)][ilog2(a->look.nr_pages)];
	const unsigned int mapped = bitmap_weight(found->mapped, a->look.nr_pages);

	order->folios++;
	order->pmd_mapped += found->entire > 0;
	order->pte_mapped += found->mapcount > found->entire;
	order->exclusive += !stored->sums.shared;
	order->shared += stored->sums.shared;
	order->partly_mapped += mapped < a->look.nr_pages;
	order->accounted += stored->accounted;
	order->mapped += mapped;
}

static int account_folio(struct audit *a, struct folio *folio)
{
	const enum outcome outcome = audit_folio(a, folio);

	switch (outcome) {
	case OUTCOME_NOTHING:
		return 0;
	case OUTCOME_STOPPED:
		return -EINTR;
	case OUTCOME_UNSTABLE:
		a->unstable++;
		break;
	case OUTCOME_NOT_WALKED:
		account_not_walked(a, folio);
		break;
	case OUTCOME_DIFFERS:
		account_differences(a, folio);
		fallthrough;
	case OUTCOME_AGREES:
		if (a->look.walked)
			account_order(a, folio);
		break;
	}
	a->folios++;
	return 0;
}

/* A folio that we may audit, with a reference, if it begins at the PFN. */
static struct folio *get_folio(struct zone *zone, unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);
	struct folio *folio;

	if (!page || !PageHead(page))
		return NULL;
	folio = page_folio(page);
	if (!folio_try_get(folio))
		return NULL;
	/* Zones can overlap: each folio is to be found once. */
	if (page_folio(page) == folio && folio_zone(folio) == zone && is_ours(folio))
		return folio;
	folio_put(folio);
	return NULL;
}

/*
 * The next folio from *@pfn on, and the PFN after that, or NULL at @end or in
 * between. Once there is a reference, memory does not go offline.
 */
static struct folio *next_folio(struct zone *zone, unsigned long *pfn, unsigned long end)
{
	struct folio *folio = NULL;

	end = min(end, *pfn + MAX_ORDER_NR_PAGES);
	get_online_mems();
	while (!folio && *pfn < end) {
		folio = get_folio(zone, *pfn);
		*pfn += folio ? folio_nr_pages(folio) : 1;
	}
	put_online_mems();
	return folio;
}

static int audit_zone(struct audit *a, struct zone *zone)
{
	const unsigned long end = zone_end_pfn(zone);
	unsigned long pfn = zone->zone_start_pfn;
	struct folio *folio;
	int ret = 0;

	while (!ret && pfn < end) {
		folio = next_folio(zone, &pfn, end);
		if (folio) {
			ret = account_folio(a, folio);
			folio_put(folio);
		}
		cond_resched();
		if (fatal_signal_pending(current))
			ret = -EINTR;
	}
	return ret;
}

static int audit_all(struct audit *a)
{
	struct zone *zone;
	int ret;

	/* One at a time: to each other, they are who has the folio locked. */
	ret = mutex_lock_killable(&audit_lock);
	if (ret)
		return ret;
	for_each_populated_zone(zone) {
		ret = audit_zone(a, zone);
		if (ret)
			break;
	}
	mutex_unlock(&audit_lock);
	return ret;
}

/* Everything is done when the file is opened. What gets read is the result. */
static int open_audit(struct file *file, void (*finish)(struct audit *a))
{
	struct audit *a;
	int ret;

	a = kvzalloc_obj(*a);
	if (!a)
		return -ENOMEM;
	seq_buf_init(&a->report, a->text, sizeof(a->text));

	ret = audit_all(a);
	if (ret) {
		kvfree(a);
		return ret;
	}
	finish(a);
	file->private_data = a;
	return 0;
}

static ssize_t read_audit(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	struct audit *a = file->private_data;

	return simple_read_from_buffer(buf, count, pos, a->text, seq_buf_used(&a->report));
}

static int release_audit(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);
	return 0;
}

static void finish_audit(struct audit *a)
{
	if (a->not_walked)
		seq_buf_printf(&a->report, "not found by the rmap: mappings of %lu folios\n",
			       a->not_walked);
	seq_buf_printf(&a->report, "folios %lu, differences %lu, unstable %lu\n",
		       a->folios, a->differences, a->unstable);
}

static int open_audit_audit(struct inode *inode, struct file *file)
{
	return open_audit(file, finish_audit);
}

static const struct file_operations audit_fops = {
	.owner = THIS_MODULE,
	.open = open_audit_audit,
	.read = read_audit,
	.llseek = default_llseek,
	.release = release_audit,
};

static void summarize(struct audit *a, const char *type, const struct per_order *orders)
{
	unsigned int order;

	for (order = 1; order < NR_PAGE_ORDERS; order++) {
		const struct per_order *o = &orders[order];

		seq_buf_printf(&a->report, "%s %5u %6lu %10lu %10lu %9lu %6lu %13lu %9lu %6lu\n",
			       type, order, o->folios, o->pmd_mapped, o->pte_mapped,
			       o->exclusive, o->shared, o->partly_mapped, o->accounted,
			       o->mapped);
	}
}

static void finish_summary(struct audit *a)
{
	seq_buf_clear(&a->report);
	seq_buf_puts(&a->report,
		     "type order folios pmd_mapped pte_mapped exclusive shared partly_mapped accounted mapped\n");
	summarize(a, "anon", a->orders[true]);
	summarize(a, "file", a->orders[false]);
}

static int open_summary(struct inode *inode, struct file *file)
{
	return open_audit(file, finish_summary);
}

static const struct file_operations summary_fops = {
	.owner = THIS_MODULE,
	.open = open_summary,
	.read = read_audit,
	.llseek = default_llseek,
	.release = release_audit,
};

#ifdef CONFIG_DEBUG_FOLIO_MAPCOUNT_CORRUPT
/*
 * To see that the audit notices: make folios wrong on purpose. Nobody may map or
 * unmap them, or write to them, until they are right again. That is when the file
 * gets closed, at the latest, and up to then the MM keeps what it has mapped, even
 * if the process is killed.
 */
enum corruption {
	CORRUPT_MAPCOUNT,
	CORRUPT_MAPCOUNT_LOW,
	CORRUPT_UNMAPPED,
	CORRUPT_ENTIRE,
	CORRUPT_IDS,
	CORRUPT_SQUARES,
	CORRUPT_SHARED,
	CORRUPT_TOO_FEW,
	CORRUPT_TOO_MANY,
	CORRUPT_REFERENCES,
	CORRUPT_MARK,
	CORRUPT_STRAY,
	CORRUPT_LOCKED,
	NR_CORRUPTIONS,
};

static const char * const corruption_names[NR_CORRUPTIONS] = {
	[CORRUPT_MAPCOUNT] = "mapcount",
	[CORRUPT_MAPCOUNT_LOW] = "mapcount-low",
	[CORRUPT_UNMAPPED] = "unmapped",
	[CORRUPT_ENTIRE] = "entire",
	[CORRUPT_IDS] = "ids",
	[CORRUPT_SQUARES] = "squares",
	[CORRUPT_SHARED] = "shared",
	[CORRUPT_TOO_FEW] = "too-few",
	[CORRUPT_TOO_MANY] = "too-many",
	[CORRUPT_REFERENCES] = "references",
	[CORRUPT_MARK] = "mark",
	[CORRUPT_STRAY] = "stray",
	[CORRUPT_LOCKED] = "locked",
};

/*
 * One of each at a time, with a reference to the folio, which must not be freed, and
 * one to the MM, which must not be torn down.
 */
struct corrupted {
	struct file *file;
	struct mm_struct *mm;
	struct folio *folio;
	unsigned int mark;
	int references;
	/* What there was, if that cannot be found out from what there is. */
	struct mm_sums sums;
	int entire;
	int accounted;
};

static struct corrupted corrupted[NR_CORRUPTIONS];
static DEFINE_MUTEX(corrupted_lock);

static bool is_corrupted(const struct folio *folio)
{
	unsigned int what;

	for (what = 0; what < NR_CORRUPTIONS; what++)
		if (corrupted[what].folio == folio)
			return true;
	return false;
}

/*
 * The page table lock is held. Whatever one corruption needs, another one must not
 * have taken away.
 */
static bool can_corrupt(enum corruption what, struct corrupted *c)
{
	struct folio *folio = c->folio;
	const unsigned int nr_pages = folio_nr_pages(folio);
	const int references = folio_expected_ref_count(folio);

	/* We would not get the lock. */
	if (corrupted[CORRUPT_LOCKED].folio == folio)
		return false;
	/* All of the words have to be the same again. */
	if (corrupted[CORRUPT_UNMAPPED].folio == folio)
		return false;

	switch (what) {
	case CORRUPT_MAPCOUNT_LOW:
		/* With 0, the audit would not look for who maps an anon folio. */
		return folio_large_mapcount(folio) > 1 || !folio_test_anon(folio);
	case CORRUPT_UNMAPPED:
		return !folio_test_anon(folio) && !is_corrupted(folio);
	case CORRUPT_ENTIRE:
		/* There is none in order-1 folios of 32-bit kernels. */
		return folio_order(folio) > 1;
	case CORRUPT_REFERENCES:
		/* One too few, without the audit's own. If that is 0, it is free. */
		c->references = folio_ref_count(folio) - references + 1;
		return references > 1;
	case CORRUPT_MARK:
		return folio_test_anon(folio);
	case CORRUPT_STRAY:
		/* The words are there in pairs. */
		c->mark = nr_pages;
		return folio_test_anon(folio) && nr_pages % (2 * BITS_PER_LONG);
	case CORRUPT_LOCKED:
		/* Nobody gets to undo what needs the lock. */
		if (is_corrupted(folio))
			return false;
		/* Otherwise, it does without the bit. */
		return IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_DEBUG_SPINLOCK);
	default:
		return true;
	}
}

static void corrupt_counter(struct folio *folio, enum corruption what, int by)
{
	unsigned long ids;

	folio_lock_large_mapcount(folio);
	ids = READ_ONCE(folio->_mm_ids);
	switch (what) {
	case CORRUPT_MAPCOUNT:
		atomic_add(by, &folio->_large_mapcount);
		break;
	case CORRUPT_MAPCOUNT_LOW:
		atomic_sub(by, &folio->_large_mapcount);
		break;
	case CORRUPT_ENTIRE:
		atomic_add(by, &folio->_entire_mapcount);
		break;
	case CORRUPT_IDS:
		WRITE_ONCE(folio->_mm_ids, (ids & ~FOLIO_MM_IDS_SUM_MASK) |
			   ((ids + by) & FOLIO_MM_IDS_SUM_MASK));
		break;
	case CORRUPT_SQUARES:
		folio->_mm_id_squares += by;
		break;
	case CORRUPT_SHARED:
		WRITE_ONCE(folio->_mm_ids, ids ^ FOLIO_MM_IDS_SHARED_BIT);
		break;
	case CORRUPT_TOO_FEW:
		WRITE_ONCE(folio->_nr_pages_accounted, folio->_nr_pages_accounted - by);
		break;
	default:
		WRITE_ONCE(folio->_nr_pages_accounted, folio->_nr_pages_accounted + by);
		break;
	}
	folio_unlock_large_mapcount(folio);
}

static void corrupt_all(struct corrupted *c, int by)
{
	const struct mm_sums none = { .exact_max = MM_SUMS_EXACT_MAX };
	struct folio *folio = c->folio;

	folio_lock_large_mapcount(folio);
	if (by > 0) {
		folio_read_mm_sums(folio, &c->sums);
		c->entire = folio_entire_mapcount(folio);
		c->accounted = folio->_nr_pages_accounted;
	}
	folio_write_mm_sums(folio, by > 0 ? &none : &c->sums);
	if (folio_order(folio) > 1)
		folio_write_entire_mapcount(folio, by > 0 ? 0 : c->entire);
	WRITE_ONCE(folio->_nr_pages_accounted, by > 0 ? 0 : c->accounted);
	folio_unlock_large_mapcount(folio);
}

/* @by: 1 to make it wrong, -1 to make it right again */
static void corrupt(struct corrupted *c, enum corruption what, int by)
{
	struct folio *folio = c->folio;

	folio_mapcounts_changed(folio);
	switch (what) {
	case CORRUPT_UNMAPPED:
		corrupt_all(c, by);
		break;
	case CORRUPT_REFERENCES:
		folio_ref_add(folio, -by * c->references);
		break;
	case CORRUPT_MARK:
	case CORRUPT_STRAY:
		atomic_long_xor(anon_exclusive_bit(c->mark),
				anon_exclusive_word(folio, c->mark));
		break;
	case CORRUPT_LOCKED:
		/* As bit_spin_lock() does, but it is not us who would spin. */
		if (by > 0)
			while (test_and_set_bit_lock(FOLIO_MM_IDS_LOCK_BITNUM,
						     &folio->_mm_ids))
				cpu_relax();
		else
			clear_bit_unlock(FOLIO_MM_IDS_LOCK_BITNUM, &folio->_mm_ids);
		break;
	default:
		corrupt_counter(folio, what, by);
		break;
	}
}

static int undo_corruption(struct file *file, enum corruption what)
{
	struct corrupted *c = &corrupted[what];
	struct mm_struct *mm = c->mm;

	if (!c->folio || c->file != file)
		return -ENOENT;
	corrupt(c, what, -1);
	folio_put(c->folio);
	memset(c, 0, sizeof(*c));
	/* Everything is right again when the MM goes. */
	mmput(mm);
	return 0;
}

static int corrupt_at(struct file *file, struct mm_struct *mm, unsigned long address,
		      enum corruption what)
{
	struct corrupted c = { .file = file, .mm = mm };
	struct vm_area_struct *vma;
	struct folio_walk fw;
	int ret = -EINVAL;

	vma = vma_lookup(mm, address);
	if (!vma)
		return -EFAULT;
	/* Takes the page table lock, which marks need. */
	c.folio = folio_walk_start(&fw, vma, address, 0);
	if (!c.folio)
		return -EFAULT;
	if (is_ours(c.folio)) {
		folio_get(c.folio);
		/* The one that speaks for this page. */
		if (fw.level == FW_LEVEL_PTE)
			c.mark = folio_page_idx(c.folio, fw.page);
		if (can_corrupt(what, &c)) {
			corrupt(&c, what, 1);
			corrupted[what] = c;
			ret = 0;
		} else {
			folio_put(c.folio);
		}
	}
	folio_walk_end(&fw, vma);
	return ret;
}

static int corrupt_process(struct file *file, pid_t pid, unsigned long address,
			   enum corruption what)
{
	struct task_struct *task;
	struct mm_struct *mm;
	int ret;

	if (corrupted[what].folio)
		return -EBUSY;
	task = find_get_task_by_vpid(pid);
	if (!task)
		return -ESRCH;
	mm = get_task_mm(task);
	put_task_struct(task);
	if (!mm)
		return -ESRCH;

	ret = mmap_read_lock_killable(mm);
	if (!ret) {
		ret = corrupt_at(file, mm, address, what);
		mmap_read_unlock(mm);
	}
	/* Otherwise, until it is undone. */
	if (ret)
		mmput(mm);
	return ret;
}

/* "PID ADDRESS NAME", and "-NAME" to undo that, which takes the same open file. */
static ssize_t write_corrupt(struct file *file, const char __user *user_buf,
			     size_t count, loff_t *pos)
{
	char buf[64], name[16], *p;
	unsigned long address;
	int what, ret;
	bool undo;
	pid_t pid;

	if (*pos || count >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, user_buf, count))
		return -EFAULT;
	buf[count] = 0;
	p = strim(buf);
	undo = *p == '-';
	if (!undo && sscanf(p, "%d %lx %15s", &pid, &address, name) != 3)
		return -EINVAL;
	what = match_string(corruption_names, NR_CORRUPTIONS, undo ? p + 1 : name);
	if (what < 0)
		return -EINVAL;

	/* Whatever happens to this kernel now: it was asked for. */
	add_taint(TAINT_TEST, LOCKDEP_STILL_OK);
	ret = mutex_lock_killable(&corrupted_lock);
	if (ret)
		return ret;
	ret = undo ? undo_corruption(file, what) :
		     corrupt_process(file, pid, address, what);
	mutex_unlock(&corrupted_lock);
	return ret ? ret : count;
}

static int release_corrupt(struct inode *inode, struct file *file)
{
	enum corruption what;

	mutex_lock(&corrupted_lock);
	for (what = 0; what < NR_CORRUPTIONS; what++)
		undo_corruption(file, what);
	mutex_unlock(&corrupted_lock);
	return 0;
}

static const struct file_operations corrupt_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.write = write_corrupt,
	.release = release_corrupt,
};

static void __init create_corrupt(struct dentry *dir)
{
	debugfs_create_file("corrupt", 0200, dir, NULL, &corrupt_fops);
}
#else /* !CONFIG_DEBUG_FOLIO_MAPCOUNT_CORRUPT */
static void __init create_corrupt(struct dentry *dir)
{
}
#endif /* CONFIG_DEBUG_FOLIO_MAPCOUNT_CORRUPT */

static int __init debug_folio_mapcount_init(void)
{
	struct dentry *dir = debugfs_create_dir("folio_mapcount", NULL);

	debugfs_create_file("audit", 0400, dir, NULL, &audit_fops);
	debugfs_create_file("summary", 0400, dir, NULL, &summary_fops);
	create_corrupt(dir);
	return 0;
}
late_initcall(debug_folio_mapcount_init);
