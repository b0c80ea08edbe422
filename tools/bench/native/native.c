// SPDX-License-Identifier: GPL-2.0
/*
 * Time the rmap functions of a kernel tree over the struct pages of 1 GiB:
 *
 *	native ORDER THREADS cold|warm
 *
 * Prints the nanoseconds per folio of fork(), of the child's unmapping and of the
 * parent's. Each thread has the same number of folios, and two MMs, of its own.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <emmintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "native.h"

#define NR_PAGES	(1ul << 18)

enum { FORK, CHILD, PARENT, PHASES };

/*
 * What the kernel has per CPU, at the addresses that %gs: adds to; a thread has a
 * copy of its own.
 */
struct per_cpu {
	unsigned long preempt_count;
	char rest[1 << 14];
} __attribute__((aligned(4096)));
struct per_cpu native_per_cpu;
asm(".globl __preempt_count, mthp_stats, cpu_number, this_cpu_off, const_current_task\n"
    "__preempt_count = native_per_cpu\n"
    "this_cpu_off = native_per_cpu + 64\n"
    "cpu_number = native_per_cpu + 128\n"
    "const_current_task = native_per_cpu + 192\n"
    "mthp_stats = native_per_cpu + 256\n");

/* What statistics are made of is not measured. */
void lruvec_stat_mod_folio(void) { }
void __mod_node_page_state(void) { }
void folio_mapcounts_changed(void) { }

static pthread_barrier_t barrier;
static unsigned int order, threads;
static int cold;
static char *vmemmap;
static size_t page_size, nr_folios;
static struct timespec begin[NATIVE_THREADS], end[NATIVE_THREADS];
static double ns[PHASES];

static void die(const char *what)
{
	fprintf(stderr, "native: %s\n", what);
	exit(1);
}

static void *folio(int thread, size_t i)
{
	return vmemmap + ((nr_folios * thread + i) << order) * page_size;
}

static void flush(int thread)
{
	const char *p = folio(thread, 0), *to = folio(thread, nr_folios);

	for (; cold && p < to; p += 64)
		_mm_clflush(p);
	_mm_mfence();
}

static void check(int thread, int mapcount, int exclusive, const char *what)
{
	for (size_t i = 0; i < nr_folios; i++) {
		if (native_mapcount(folio(thread, i)) != mapcount << order)
			die(what);
		if (order && mapcount && native_exclusive(folio(thread, i)) != exclusive)
			die(what);
	}
}

static void phase(int thread, int which)
{
	int failed = 0;

	flush(thread);
	pthread_barrier_wait(&barrier);
	clock_gettime(CLOCK_MONOTONIC, &begin[thread]);
	for (size_t i = 0; i < nr_folios; i++) {
		if (which == FORK)
			failed += !native_fork(folio(thread, i), order, thread);
		else
			native_unmap(folio(thread, i), order, thread, which == CHILD);
	}
	clock_gettime(CLOCK_MONOTONIC, &end[thread]);
	if (failed)
		die("fork() refused");
	pthread_barrier_wait(&barrier);
	if (!thread) {
		for (unsigned int t = 0; t < threads; t++)
			ns[which] += ((end[t].tv_sec - begin[t].tv_sec) * 1e9 +
				      end[t].tv_nsec - begin[t].tv_nsec) / nr_folios / threads;
	}
}

static void *work(void *arg)
{
	const int thread = (intptr_t)arg;
	struct per_cpu *own = aligned_alloc(4096, sizeof(*own));

	if (!own)
		die("no memory");
	memset(own, 0, sizeof(*own));
	/* Upside down: nobody wants to schedule. */
	own->preempt_count = 1ul << 63;
	/* The compiler does not see that it gets used. */
	asm volatile("" : : "r" (own) : "memory");
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, (char *)own - (char *)&native_per_cpu))
		die("arch_prctl");

	for (size_t i = 0; i < nr_folios; i++)
		native_new_folio(folio(thread, i), order, thread);
	check(thread, 1, 1, "new folios are not as they should be");
	phase(thread, FORK);
	check(thread, 2, 0, "fork() did not do what it should");
	phase(thread, CHILD);
	/* The order in which base forgets who mapped a folio is its own. */
	check(thread, 1, 1, "the child's unmapping did not do what it should");
	phase(thread, PARENT);
	check(thread, 0, 0, "the parent's unmapping did not do what it should");
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t id[NATIVE_THREADS];
	/* Its lowest bits are used. */
	static _Alignas(64) char anon_vma[4096];

	if (argc != 4)
		die("usage: native ORDER THREADS cold|warm");
	order = atoi(argv[1]);
	threads = atoi(argv[2]);
	cold = !strcmp(argv[3], "cold");
	if (order > 9 || order == 1 || threads < 1 || threads > NATIVE_THREADS)
		die("order 0 or 2 to 9 (there are no anon folios of order 1), 1 or 2 threads");
	page_size = native_page_size();
	nr_folios = (NR_PAGES >> order) / threads;
	vmemmap = mmap(NULL, NR_PAGES * page_size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (vmemmap == MAP_FAILED)
		die("no memory");
	madvise(vmemmap, NR_PAGES * page_size, MADV_HUGEPAGE);
	native_init(anon_vma);
	pthread_barrier_init(&barrier, NULL, threads);
	for (unsigned int t = 0; t < threads; t++) {
		if (pthread_create(&id[t], NULL, work, (void *)(intptr_t)t))
			die("no thread");
	}
	for (unsigned int t = 0; t < threads; t++)
		pthread_join(id[t], NULL);
	printf("%.2f %.2f %.2f\n", ns[FORK], ns[CHILD], ns[PARENT]);
	return 0;
}
