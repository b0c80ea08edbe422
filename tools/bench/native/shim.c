// SPDX-License-Identifier: GPL-2.0
/*
 * The rmap functions of a kernel tree, for a program in user space: this is compiled
 * with the flags that the tree's own mm/rmap.c was compiled with. What these functions
 * need of the rest of the kernel is at the end; calling anything else is a crash.
 */
#include "rmap.c"
#include "native.h"

static struct mm_struct mms[2 * NATIVE_THREADS];
static struct vm_area_struct vmas[2 * NATIVE_THREADS];

size_t native_page_size(void)
{
	return sizeof(struct page);
}

void native_init(void *anon_vma)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(mms); i++) {
		mms[i].mm_id = i + 5;
		vmas[i].vm_mm = &mms[i];
		vmas[i].anon_vma = anon_vma;
		vmas[i].vm_start = 0;
		vmas[i].vm_end = 1UL << 46;
	}
}

/* A new folio of the first MM of the thread, all of it mapped by PTEs, exclusive. */
void native_new_folio(void *p, unsigned int order, int thread)
{
	struct page *page = p;
	unsigned int i;

	for (i = 0; i < 1U << order; i++) {
		memset(page + i, 0, sizeof(*page));
		atomic_set(&page[i]._mapcount, -1);
	}
	set_page_count(page, 1 << order);
	if (order) {
		__SetPageHead(page);
		for (i = 1; i < 1U << order; i++)
			prep_compound_tail(page + i, page, order);
		prep_compound_head(page, order);
	}
	__folio_set_swapbacked(page_folio(page));
	folio_add_new_anon_rmap(page_folio(page), &vmas[2 * thread], 0, RMAP_EXCLUSIVE);
	if (order < HPAGE_PMD_ORDER)
		return;
	/* That was as by a PMD, which gets split now. */
	folio_add_anon_rmap_ptes(page_folio(page), page, HPAGE_PMD_NR, &vmas[2 * thread], 0,
				 RMAP_EXCLUSIVE);
	folio_remove_rmap_pmd(page_folio(page), page, &vmas[2 * thread]);
}

/* What fork() does of rmap's for all PTEs of the folio. Returns whether it could. */
int native_fork(void *p, unsigned int order, int thread)
{
	struct folio *folio = p;

	folio_ref_add(folio, 1 << order);
	if (!order)
		return !folio_try_dup_anon_rmap_pte(folio, &folio->page, &vmas[2 * thread + 1],
						    &vmas[2 * thread]);
	return !folio_try_dup_anon_rmap_ptes(folio, &folio->page, 1 << order,
					     &vmas[2 * thread + 1], &vmas[2 * thread]);
}

/* The child's, or else the parent's, unmapping of all PTEs of the folio. */
void native_unmap(void *p, unsigned int order, int thread, int child)
{
	struct folio *folio = p;

	folio_remove_rmap_ptes(folio, &folio->page, 1 << order, &vmas[2 * thread + child]);
	folio_ref_sub(folio, 1 << order);
}

/* Whether all is as it has to be before, between and after. */
int native_mapcount(void *p)
{
	return folio_mapcount(p);
}

int native_exclusive(void *p)
{
	return !folio_maybe_mapped_shared(p);
}
