/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A large folio, what the kernel's functions make of its words, and beside it the
 * model: which pages are mapped how often by which MM, and which are exclusive.
 */
#ifndef _HISTORY_H
#define _HISTORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/anon_exclusive.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include "../../../mm/folio_mapcount.h"

#define MAX_ORDER	9
#define MAX_PAGES	BIT(MAX_ORDER)
#define MAX_MMS		16
/* As many pages as can have words that count, also if the folio is smaller. */
#define MIN_PAGES	4

/* Not only for the TAP runner: a fuzzer wants to see a crash. */
#define VERIFY(cond, ...) do {							\
	if (!(cond)) {								\
		printf("# %s:%d: failed: %s ", __FILE__, __LINE__, #cond);	\
		printf("" __VA_ARGS__);						\
		printf("\n");							\
		fflush(stdout);							\
		abort();							\
	}									\
} while (0)

struct history {
	/* The folio, and pages behind it that nothing may change. */
	union {
		struct folio folio;
		struct page pages[MAX_PAGES + MIN_PAGES];
	};
	unsigned int order;
	unsigned int nr_pages;
	bool anon;
	/* How often an MM may map the same thing; anon: no more than once. */
	unsigned int max_times;

	unsigned int nr_mms;
	/* All 0 without CONFIG_MM_ID. */
	unsigned int ids[MAX_MMS];
	struct mm_struct mm[MAX_MMS];
	struct vm_area_struct vma[MAX_MMS];

	/* How often each MM maps each page by PTE, and all of them by PMD. */
	u8 ptes[MAX_MMS][MAX_PAGES];
	u8 pmds[MAX_MMS];
	bool exclusive[MAX_PAGES];
	/* The pages accounted according to the documentation. */
	unsigned int accounted;
	/* Whether the documentation says that this is how many are mapped. */
	bool exact;
};

void history_init(struct history *h, unsigned int order, bool anon,
		  const unsigned int *ids, unsigned int nr_mms);
/* Make the folio what the model says. */
void history_restore(struct history *h);
/* Whether the folio is what the model says. */
void history_check(const struct history *h);
/* The same, but @accounted becomes what the folio has: only its bounds are tested. */
void history_check_bounds(struct history *h);

/*
 * Each of these does nothing and returns false if that is not what can happen to
 * a folio that is mapped like this.
 */
bool history_new(struct history *h, unsigned int mm, enum pgtable_level level);
bool history_map(struct history *h, unsigned int mm, unsigned int first, unsigned int nr);
bool history_map_pmd(struct history *h, unsigned int mm);
bool history_fork(struct history *h, unsigned int parent, unsigned int child,
		  unsigned int first, unsigned int nr);
bool history_fork_pmd(struct history *h, unsigned int parent, unsigned int child);
bool history_unmap(struct history *h, unsigned int mm, unsigned int first, unsigned int nr);
bool history_unmap_pmd(struct history *h, unsigned int mm);
bool history_split_pmd(struct history *h, unsigned int mm);
bool history_set_exclusive(struct history *h, unsigned int first, unsigned int nr);
bool history_clear_exclusive(struct history *h, unsigned int first, unsigned int nr);

/* One of all of these, as the four numbers say. */
bool history_step(struct history *h, unsigned int what, unsigned int mm,
		  unsigned int first, unsigned int nr);

/* Unmap everything; no word may have anything left. */
void history_end(struct history *h);

#endif /* _HISTORY_H */
