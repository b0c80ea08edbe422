// SPDX-License-Identifier: GPL-2.0-only
/*
 * Several threads at a time: the lock of the counters, the marks in one word that
 * belong to several page tables, and lockless readers. ThreadSanitizer knows a plain
 * access that lacks the lock even if it did no harm.
 */
#include <kunit/test.h>
#include <pthread.h>

#include "history.h"

#define NR_THREADS	4
#define NR_LOOPS	2000

static struct history history;
static const unsigned int ids[] = {
	MM_ID_MIN, MM_ID_MAX, 4711, 4711 + (1U << (MM_ID_BITS - 1)), 815, 816,
};

struct thread {
	pthread_t pthread;
	unsigned int nr;
	struct rnd_state rnd;
};

static struct thread threads[NR_THREADS + 1];
static pthread_barrier_t barrier;
static __thread unsigned int accesses;

/*
 * However few CPUs there are: every now and then, be interrupted right after an
 * access, so that whatever should have been atomic, or under the lock, is not.
 */
static void interrupt(enum shim_access access, const void *addr)
{
	if (++accesses % 7 == 0)
		sched_yield();
}

static unsigned int rnd(struct thread *t, unsigned int below)
{
	return prandom_u32_state(&t->rnd) % below;
}

static void run_threads(unsigned int nr, void *(*fn)(void *thread))
{
	unsigned int i;

	printf("# seed %llu\n", kunit_seed);
	VERIFY(!pthread_barrier_init(&barrier, NULL, nr));
	shim_hook = interrupt;
	for (i = 0; i < nr; i++) {
		threads[i].nr = i;
		prandom_seed_state(&threads[i].rnd, kunit_seed * 100 + i);
		VERIFY(!pthread_create(&threads[i].pthread, NULL, fn, &threads[i]));
	}
	for (i = 0; i < nr; i++)
		VERIFY(!pthread_join(threads[i].pthread, NULL));
	shim_hook = NULL;
}

/* Protected by nothing but the lock. */
static unsigned long counter;

static void *lock_and_count(void *thread)
{
	struct folio *folio = &history.folio;
	unsigned int i;

	pthread_barrier_wait(&barrier);
	for (i = 0; i < NR_LOOPS; i++) {
		const unsigned long *value = &counter;

		folio_lock_large_mapcount(folio);
		counter = READ_ONCE(*value) + 1;
		folio_unlock_large_mapcount(folio);
	}
	return NULL;
}

static void threads_lock(struct kunit *test)
{
	history_init(&history, 2, false, ids, ARRAY_SIZE(ids));
	run_threads(NR_THREADS, lock_and_count);
	VERIFY(counter == NR_THREADS * NR_LOOPS, "%lu", counter);
	history_check(&history);
}

/*
 * Each thread maps and unmaps pages of one MM. Another MM maps the folio all the
 * time: whoever maps it must see that it is shared.
 */
static void *map_and_unmap(void *thread)
{
	struct folio *folio = &history.folio;
	struct thread *t = thread;
	struct vm_area_struct *vma = &history.vma[t->nr];
	u8 *ptes = history.ptes[t->nr];
	unsigned int i, step, total = 0;

	pthread_barrier_wait(&barrier);
	for (step = 0; step < NR_LOOPS; step++) {
		const unsigned int first = rnd(t, history.nr_pages);
		const unsigned int nr = rnd(t, history.nr_pages - first) + 1;
		bool map = true, unmap = true;

		for (i = first; i < first + nr; i++) {
			map &= ptes[i] < 3;
			unmap &= ptes[i] > 0;
		}
		if (unmap && rnd(t, 2)) {
			folio_sub_large_mapcount(folio, nr, vma, PGTABLE_LEVEL_PTE);
			for (i = first; i < first + nr; i++)
				ptes[i]--;
			total -= nr;
		} else if (map) {
			/* Only what always is mapped, the first page, can be duplicated. */
			const bool anew = nr > 1 || first || rnd(t, 4);

			folio_add_large_mapcount(folio, nr, vma, PGTABLE_LEVEL_PTE, anew);
			for (i = first; i < first + nr; i++)
				ptes[i]++;
			total += nr;
		}
		if (history.pmds[t->nr]) {
			folio_sub_large_mapcount(folio, history.nr_pages, vma,
						 PGTABLE_LEVEL_PMD);
			history.pmds[t->nr]--;
		} else if (rnd(t, 4) == 0) {
			folio_add_large_mapcount(folio, history.nr_pages, vma,
						 PGTABLE_LEVEL_PMD, true);
			history.pmds[t->nr]++;
		}
		if (total || history.pmds[t->nr]) {
			VERIFY(folio_maybe_mapped_shared(folio));
			VERIFY(folio_large_mapcount(folio) > 0);
		}
	}
	return NULL;
}

/* In the end, it must be what all of them together did, but for what is accounted. */
static void threads_mappers(struct kunit *test)
{
	history_init(&history, 4, false, ids, ARRAY_SIZE(ids));
	VERIFY(history_map(&history, NR_THREADS, 0, 1));
	run_threads(NR_THREADS, map_and_unmap);
	history_check_bounds(&history);
	history_end(&history);
}

/*
 * While the first thread unmaps and maps again, what the second one maps all the
 * time, the others read: whenever the first one has the folio mapped from before
 * they look until after they have looked, it must look shared; and with the lock,
 * exclusive to the second one whenever the first one had nothing mapped.
 */
static unsigned int generation, nr_seen;
static bool stop;

static void *map_or_read(void *thread)
{
	struct folio *folio = &history.folio;
	struct thread *t = thread;
	unsigned int step, before, after;
	bool shared;

	pthread_barrier_wait(&barrier);
	if (!t->nr) {
		/* And until somebody has seen it at least once; the runner has a limit. */
		for (step = 0; step < 4 * NR_LOOPS ||
		     !__atomic_load_n(&nr_seen, __ATOMIC_RELAXED); step++) {
			const unsigned int nr = rnd(t, history.nr_pages) + 1;

			folio_add_large_mapcount(folio, nr, &history.vma[0],
						 PGTABLE_LEVEL_PTE, true);
			/* Odd: mapped. */
			__atomic_fetch_add(&generation, 1, __ATOMIC_SEQ_CST);
			sched_yield();
			__atomic_fetch_add(&generation, 1, __ATOMIC_SEQ_CST);
			folio_sub_large_mapcount(folio, nr, &history.vma[0],
						 PGTABLE_LEVEL_PTE);
		}
		__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
		return NULL;
	}
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		before = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
		shared = folio_maybe_mapped_shared(folio);
		/* Not a load: what was read before remains before it. */
		after = __atomic_fetch_add(&generation, 0, __ATOMIC_SEQ_CST);
		if (before == after && before % 2) {
			VERIFY(shared);
			__atomic_fetch_add(&nr_seen, 1, __ATOMIC_RELAXED);
		}
		VERIFY(folio_mapped(folio));
		VERIFY(READ_ONCE(folio->_nr_pages_accounted) <= history.nr_pages);

		/* What copy-on-write does: with the lock, there is no "maybe". */
		folio_lock_large_mapcount(folio);
		shared = folio_large_mapcount(folio) > 1;
		VERIFY(folio_mapped_only_by(folio, &history.mm[1]) == !shared);
		VERIFY(!folio_mapped_only_by(folio, &history.mm[0]));
		folio_unlock_large_mapcount(folio);
	}
	return NULL;
}

static void threads_readers(struct kunit *test)
{
	history_init(&history, 4, false, ids, ARRAY_SIZE(ids));
	VERIFY(history_map(&history, 1, 0, 1));
	run_threads(3, map_or_read);
	history_check_bounds(&history);
	history_end(&history);
}

/*
 * Two MMs, each mapped by one of two threads at some time; the third reads. The
 * one before maps until the next one has: there are always mappings, sometimes of
 * one MM and sometimes of two, so that the owner changes without end.
 */
static unsigned int turn;

static void *pass_on(void *thread)
{
	struct folio *folio = &history.folio;
	struct thread *t = thread;
	struct vm_area_struct *vma = &history.vma[t->nr];
	unsigned int step;

	pthread_barrier_wait(&barrier);
	for (step = 0; step < NR_LOOPS; step++) {
		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != 2 * step + t->nr)
			sched_yield();
		folio_add_large_mapcount(folio, history.nr_pages, vma, PGTABLE_LEVEL_PTE, true);
		/* Whoever comes next has not mapped it yet, who came before still has. */
		VERIFY(folio_maybe_mapped_shared(folio));
		VERIFY(!folio_mapped_only_by(folio, &history.mm[0]) &&
		       !folio_mapped_only_by(folio, &history.mm[1]));
		folio_sub_large_mapcount(folio, history.nr_pages, &history.vma[!t->nr],
					 PGTABLE_LEVEL_PTE);
		VERIFY(!folio_maybe_mapped_shared(folio));
		VERIFY(folio_mapped_only_by(folio, &history.mm[t->nr]));
		__atomic_store_n(&turn, turn + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void threads_pass_on(struct kunit *test)
{
	history_init(&history, 4, false, ids, ARRAY_SIZE(ids));
	VERIFY(history_map(&history, 1, 0, history.nr_pages));
	run_threads(2, pass_on);
	history_check(&history);
	history_end(&history);
}

/* Pages that belong to the page tables of different threads, all in the same words. */
static void *set_and_clear(void *thread)
{
	struct folio *folio = &history.folio;
	struct thread *t = thread;
	bool *exclusive = history.exclusive;
	unsigned int step, i, j;

	pthread_barrier_wait(&barrier);
	for (step = 0; step < NR_LOOPS / 8; step++) {
		for (i = 2 * t->nr; i < history.nr_pages; i += 2 * NR_THREADS) {
			struct page *page = history.pages + i;
			const unsigned int what = rnd(t, 6);

			if (what == 0) {
				folio_set_anon_exclusive(folio, page);
				exclusive[i] = true;
			} else if (what == 1) {
				folio_clear_anon_exclusive(folio, page);
				exclusive[i] = false;
			} else if (what < 4) {
				folio_set_anon_exclusive_range(folio, page, 2);
				exclusive[i] = true;
				exclusive[i + 1] = true;
			} else {
				folio_clear_anon_exclusive_range(folio, page, 2);
				exclusive[i] = false;
				exclusive[i + 1] = false;
			}
			/* Nobody else changes it. */
			for (j = i; j < i + 2; j++)
				VERIFY(folio_test_anon_exclusive(folio, history.pages + j) ==
				       exclusive[j], "page %u", j);
			VERIFY(folio_any_anon_exclusive(folio, page, 2) ==
			       (exclusive[i] || exclusive[i + 1]));
		}
	}
	return NULL;
}

static void threads_marks(struct kunit *test)
{
	history_init(&history, 8, true, ids, ARRAY_SIZE(ids));
	run_threads(NR_THREADS, set_and_clear);
	history_check(&history);
}

/* Lockless readers, as GUP-fast: marks that nobody changes, or any value. */
static void *mark_or_read(void *thread)
{
	struct folio *folio = &history.folio;
	struct thread *t = thread;
	const unsigned int nr_pages = history.nr_pages;
	unsigned int i;
	bool exclusive;

	pthread_barrier_wait(&barrier);
	if (!t->nr) {
		for (i = 0; i < NR_LOOPS; i++) {
			const unsigned int first = 1 + rnd(t, nr_pages / 2 - 1);
			const unsigned int nr = 1 + rnd(t, nr_pages / 2 - first);

			folio_set_anon_exclusive_range(folio, history.pages + first, nr);
			folio_clear_anon_exclusive_range(folio, history.pages + 1,
							 nr_pages / 2 - 1);
		}
		__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
		return NULL;
	}
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		VERIFY(folio_test_anon_exclusive(folio, history.pages));
		VERIFY(!folio_test_anon_exclusive(folio, history.pages + nr_pages - 1));
		folio_test_anon_exclusive(folio, history.pages + 1 + rnd(t, nr_pages / 2));
		VERIFY(folio_any_anon_exclusive(folio, history.pages, nr_pages));
		VERIFY(folio_anon_exclusive_run(folio, history.pages + nr_pages / 2,
						nr_pages / 2, &exclusive) == nr_pages / 2);
		VERIFY(!exclusive);
	}
	return NULL;
}

static void threads_marks_readers(struct kunit *test)
{
	history_init(&history, 8, true, ids, ARRAY_SIZE(ids));
	folio_set_anon_exclusive(&history.folio, history.pages);
	history.exclusive[0] = true;
	run_threads(3, mark_or_read);
	history_check(&history);
}

static struct kunit_case threads_cases[] = {
	KUNIT_CASE(threads_lock),
	KUNIT_CASE(threads_mappers),
	KUNIT_CASE(threads_readers),
	KUNIT_CASE(threads_pass_on),
	KUNIT_CASE(threads_marks),
	KUNIT_CASE(threads_marks_readers),
	{}
};

static struct kunit_suite threads_suite = {
	.name = "threads",
	.test_cases = threads_cases,
};

kunit_test_suite(threads_suite);
