// SPDX-License-Identifier: GPL-2.0
/* What gets counted. */
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bench.h"

static void start(struct area *a)
{
	start_child(a, NULL);
}

static void start_populated(struct area *a)
{
	start_child(a, populate);
}

static void start_and_end(struct area *a)
{
	start_child(a, NULL);
	end_child(a);
}

static bool mapped_by_pmds(const struct backing *b)
{
	return b->kib == PMD >> 10 && !b->by_ptes;
}

static void split_pmds(struct area *a)
{
	size_t i;

	for (i = 0; i < a->size; i += PMD) {
		if (mprotect(a->p + i, PAGE, PROT_READ))
			die("mprotect");
	}
}

static void protect_half(struct area *a)
{
	if (mprotect(a->p, a->size / 2, PROT_READ) ||
	    mprotect(a->p, a->size / 2, PROT_READ | PROT_WRITE))
		die("mprotect");
}

static void drop_half(struct area *a)
{
	size_t i;

	for (i = 0; i < a->size; i += PMD) {
		if (madvise(a->p + i + PMD / 2, PMD / 2, MADV_DONTNEED))
			die("madvise");
	}
}

static char *to;

static void reserve(struct area *a)
{
	to = mmap(NULL, a->size + 2 * PMD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		die("mmap");
	to = (char *)(((size_t)to + PMD - 1) & ~(PMD - 1)) + PAGE;
}

static void move(struct area *a)
{
	a->p = mremap(a->p, a->size, a->size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (a->p == MAP_FAILED)
		die("mremap");
}

static void page_out(struct area *a)
{
	if (madvise(a->p, a->size, MADV_PAGEOUT))
		die("madvise");
}

static void migrate(struct area *a)
{
	unsigned long nodes = 1ul << 1;

	if (syscall(SYS_mbind, a->p, a->size, MPOL_BIND, &nodes, sizeof(nodes) * 8,
		    MPOL_MF_MOVE | MPOL_MF_STRICT))
		die("mbind");
}

static void unmap(struct area *a)
{
	if (munmap(a->p, a->size))
		die("munmap");
}

#define MEMORY	(1 << ANON | 1 << SHMEM)
#define ALL	(MEMORY | 1 << FILES)

const struct bench_case cases[] = {
	{ "touch", ALL, CASES, .run = touch },
	{ "fork", 1 << ANON, CASES | ORDERS | SHARERS, .populated = true, .fixed = true,
	  .run = start },
	{ "child_exit", 1 << ANON, CASES | ORDERS | SHARERS, .populated = true, .fixed = true,
	  .prepare = start, .run = end_child },
	/* Writing to all of it after fork(), with the child there and with it gone. */
	{ "cow_alive", 1 << ANON, CASES, .populated = true, .prepare = start, .run = touch },
	{ "cow_gone", 1 << ANON, CASES | ORDERS, .populated = true,
	  .prepare = start_and_end, .run = touch },
	/* Another protection for one page in each PMD: the VMA is split, and so is the PMD. */
	{ "split", MEMORY, CASES, .populated = true, .fits = mapped_by_pmds,
	  .run = split_pmds },
	{ "mprotect", ALL, CASES, .populated = true, .run = protect_half },
	/* The second half of every 2 MiB: folios as large as that become partially mapped. */
	{ "dontneed", ALL, CASES, .populated = true, .run = drop_half },
	/* To one page after a PMD's boundary, so that PTEs and not page tables are moved. */
	{ "mremap", ALL, CASES, .populated = true, .prepare = reserve, .run = move },
	/* To zram and back. */
	{ "pageout", MEMORY, CASES, .populated = true, .run = page_out },
	{ "swapin", MEMORY, CASES, .populated = true, .prepare = page_out, .run = touch },
	/* To the other node. */
	{ "migrate", MEMORY, CASES, .populated = true, .run = migrate },
	{ "munmap", ALL, CASES | ORDERS, .populated = true, .run = unmap },
	/* The end of a process that nobody shares its memory with. */
	{ "exit", ALL, CASES, .prepare = start_populated, .run = end_child },
	{ NULL }
};
