/* SPDX-License-Identifier: GPL-2.0 */
/* Between the program and the kernel's functions: no type of the one in the other. */
#ifndef NATIVE_H
#define NATIVE_H

#define NATIVE_THREADS	2

/* __SIZE_TYPE__: the kernel has a size_t of its own. */
__SIZE_TYPE__ native_page_size(void);
void native_init(void *anon_vma);
void native_new_folio(void *page, unsigned int order, int thread);
int native_fork(void *page, unsigned int order, int thread);
void native_unmap(void *page, unsigned int order, int thread, int child);
int native_mapcount(void *page);
int native_exclusive(void *page);

#endif
