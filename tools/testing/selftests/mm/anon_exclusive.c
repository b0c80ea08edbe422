// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whatever happens to a large anon folio, the processes that share it after
 * fork() must not see each other's writes, and who has its pages pinned must see
 * every write of the owner.
 *
 * Threads do everything to the same pages at the same time: write, fork(), move
 * parts of a folio to another page table, change the protection, reclaim,
 * migrate, split, collapse, pin, and start again with a new folio. Each page
 * always contains who wrote it last, which page it is and how often it was
 * written, so it can be checked any time. The children write to some pages and
 * check all of them, again and again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "local_config.h_gen"
#ifdef LOCAL_CONFIG_HAVE_LIBURING
#include <liburing.h>
#endif /* LOCAL_CONFIG_HAVE_LIBURING */

#include "../../../../mm/gup_test.h"
#include "hugepage_settings.h"
#include "kselftest.h"
#include "vm_util.h"

#define SEED		20261121
#define NR_FORKS	60
/* So many times more, if something was not done at all. */
#define MAX_MORE	20
#define MAX_CHILDREN	3
#define NR_ROUNDS	3
/* What is locked together: pages that never move or get pinned apart. */
#define CHUNK		16
#define MAX_PAGES	2048
#define MAX_NODES	64

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MPOL_MF_MOVE_ALL
#define MPOL_MF_MOVE_ALL 4
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

enum op {
	OP_WRITE,
	OP_FORK,
	OP_MOVE,
	OP_PROTECT,
	OP_RECLAIM,
	OP_MIGRATE,
	OP_SPLIT,
	OP_COLLAPSE,
	OP_PIN,
	OP_URING,
	OP_RENEW,
	NR_OPS,
};

static const char * const op_names[NR_OPS] = {
	"write", "fork", "move", "protect", "reclaim", "migrate", "split",
	"collapse", "pin", "io_uring", "new large folio",
};

static size_t pagesize, pmdsize;
static unsigned int nr_pages, nr_chunks, folio_pages;
static unsigned long nr_forks = NR_FORKS;
static unsigned int nr_nodes;
static int nodes[MAX_NODES];
static int gup_fd, split_fd, pagemap_fd, kpageflags_fd;
static char *region[2];
static atomic_bool stop;
static atomic_bool needed[NR_OPS];
static atomic_ulong done[NR_OPS];
static atomic_ulong failures;

/* Under the lock of the chunk: where each page is, and what it contains. */
static unsigned char place[MAX_PAGES];
static uint64_t content[MAX_PAGES];
static unsigned char pins[MAX_PAGES / CHUNK];
static pthread_mutex_t chunk_lock[MAX_PAGES / CHUNK];
/* Nobody may fork() while a page is neither here nor there, or is read-only. */
static pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER;

/* Not rand_r(): the same numbers wherever this runs. */
static uint32_t rnd(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static uint64_t stamp(unsigned int who, unsigned int page, uint32_t count)
{
	return (uint64_t)who << 48 | (uint64_t)page << 32 | count;
}

static uint64_t *page_addr(unsigned int page)
{
	return (uint64_t *)(region[place[page]] + page * pagesize);
}

static void fail(const char *what, unsigned int page, uint64_t is, uint64_t expected)
{
	if (atomic_fetch_add(&failures, 1) < 10)
		ksft_print_msg("%s: page %u is %llx, expected %llx\n", what, page,
			       (unsigned long long)is, (unsigned long long)expected);
}

/* With the lock of its chunk. */
static void check_page(const char *what, unsigned int page)
{
	const uint64_t is = FORCE_READ(*page_addr(page));

	if (is != content[page])
		fail(what, page, is, content[page]);
}

static void lock_chunk(unsigned int chunk)
{
	pthread_mutex_lock(&chunk_lock[chunk]);
}

static void unlock_chunk(unsigned int chunk)
{
	pthread_mutex_unlock(&chunk_lock[chunk]);
}

/* Give the others a chance, until some of them has done something. */
static void let_others_run(enum op op, unsigned long how_often)
{
	const unsigned long until = atomic_load(&done[op]) + how_often;

	while (!atomic_load(&stop) && atomic_load(&done[op]) < until)
		sched_yield();
}

static void *writer(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;

	while (!atomic_load(&stop)) {
		const unsigned int chunk = rnd(&state) % nr_chunks;
		unsigned int i;

		lock_chunk(chunk);
		for (i = 0; i < 4; i++) {
			const unsigned int page = chunk * CHUNK + rnd(&state) % CHUNK;

			check_page("writer", page);
			content[page] = stamp(1, page, (uint32_t)content[page] + 1);
			*page_addr(page) = content[page];
			check_page("written", page);
			atomic_fetch_add(&done[OP_WRITE], 1);
		}
		unlock_chunk(chunk);
	}
	return NULL;
}

/*
 * In the child, which has a copy of what the parent had when it called fork().
 * Only what is safe after fork() in a process with threads.
 */
static int child_main(uint32_t state)
{
	static uint64_t mine[MAX_PAGES];
	const unsigned int who = 2 + rnd(&state) % 1000;
	unsigned int round, page, i;

	for (page = 0; page < nr_pages; page++) {
		mine[page] = FORCE_READ(*page_addr(page));
		/* The parent might just have been about to write it. */
		if (mine[page] >> 32 != stamp(1, page, 0) >> 32)
			return 1;
	}
	for (round = 0; round < NR_ROUNDS; round++) {
		for (i = 0; i < nr_pages / 8; i++) {
			page = rnd(&state) % nr_pages;
			mine[page] = stamp(who, page, round);
			*page_addr(page) = mine[page];
		}
		page = rnd(&state) % nr_pages;
		switch (rnd(&state) % 4) {
		case 0:
			madvise((void *)page_addr(page - page % CHUNK), CHUNK * pagesize,
				MADV_PAGEOUT);
			break;
		case 1:
			page -= page % CHUNK;
			for (i = page; i < page + CHUNK; i++)
				mine[i] = 0;
			madvise(region[place[page]] + page * pagesize, CHUNK * pagesize,
				MADV_DONTNEED);
			break;
		case 2:
			mprotect((void *)page_addr(page), pagesize, PROT_READ);
			mprotect((void *)page_addr(page), pagesize, PROT_READ | PROT_WRITE);
			break;
		}
		for (page = 0; page < nr_pages; page++)
			if (FORCE_READ(*page_addr(page)) != mine[page])
				return 2;
		sched_yield();
	}
	return 0;
}

static void reap(int *nr_children, int max)
{
	int status;

	while (*nr_children > max && waitpid(-1, &status, 0) > 0) {
		--*nr_children;
		if (status)
			fail(WIFEXITED(status) && WEXITSTATUS(status) == 1 ?
			     "child, at the beginning" : "child", 0, status, 0);
	}
}

/* Whether all that can be done has been done at least once. */
static bool all_done(void)
{
	int op;

	for (op = 0; op < NR_OPS; op++)
		if (needed[op] && !atomic_load(&done[op]))
			return false;
	return true;
}

/* The others end when this one does. On a slow machine, they need more time. */
static void *forker(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;
	int nr_children = 0;
	unsigned long i;

	for (i = 0; !atomic_load(&failures) &&
	     (i < nr_forks || (i < MAX_MORE * nr_forks && !all_done())); i++) {
		const uint32_t seed = rnd(&state);
		pid_t pid;

		if (i && i % nr_forks == 0)
			ksft_print_msg("after %lu forks, not everything was done\n", i);
		pthread_mutex_lock(&state_lock);
		pid = fork();
		pthread_mutex_unlock(&state_lock);
		if (!pid) {
			/* The child of a child shares its pages with two others. */
			if (seed % 4 == 0 && fork())
				_exit(0);
			_exit(child_main(seed));
		}
		if (pid < 0) {
			fail("fork", 0, errno, 0);
			break;
		}
		/* And the grandchild is reaped instead of it. */
		nr_children += 1 + (seed % 4 == 0);
		atomic_fetch_add(&done[OP_FORK], 1);
		reap(&nr_children, MAX_CHILDREN);
		/* MADV_PAGEOUT leaves alone what children have mapped, too. */
		if (i % 4 == 0) {
			reap(&nr_children, 0);
			let_others_run(OP_WRITE, 300);
		}
	}
	reap(&nr_children, 0);
	atomic_store(&stop, true);
	return NULL;
}

/* Parts of folios to the other region, where they are in another page table. */
static void *mover(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;

	while (!atomic_load(&stop)) {
		const unsigned int chunk = rnd(&state) % nr_chunks;
		const unsigned int first = chunk * CHUNK;
		char *old, *new, *ret;
		unsigned int from, to, i;

		lock_chunk(chunk);
		pthread_mutex_lock(&state_lock);
		from = place[first];
		to = !from;
		old = region[from] + first * pagesize;
		new = region[to] + first * pagesize;
		ret = sys_mremap(old, CHUNK * pagesize, CHUNK * pagesize,
				 MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, new);
		if (ret == new) {
			for (i = 0; i < CHUNK; i++)
				place[first + i] = to;
			atomic_fetch_add(&done[OP_MOVE], 1);
		} else {
			fail("mremap", first, errno, 0);
		}
		pthread_mutex_unlock(&state_lock);
		for (i = 0; i < CHUNK; i++)
			check_page("moved", first + i);
		unlock_chunk(chunk);
		let_others_run(OP_WRITE, 50);
	}
	return NULL;
}

/* mprotect() makes writable what is exclusive, page by page. */
static void *protector(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;

	while (!atomic_load(&stop)) {
		const unsigned int chunk = rnd(&state) % nr_chunks;
		unsigned int first, nr;
		char *addr;

		lock_chunk(chunk);
		first = rnd(&state) % CHUNK;
		nr = 1 + rnd(&state) % (CHUNK - first);
		first += chunk * CHUNK;
		addr = (char *)page_addr(first);
		pthread_mutex_lock(&state_lock);
		if (mprotect(addr, nr * pagesize, PROT_READ) ||
		    mprotect(addr, nr * pagesize, PROT_READ | PROT_WRITE))
			fail("mprotect", first, errno, 0);
		pthread_mutex_unlock(&state_lock);
		atomic_fetch_add(&done[OP_PROTECT], 1);
		unlock_chunk(chunk);
		let_others_run(OP_WRITE, 20);
	}
	return NULL;
}

/* Whether a page is present and belongs to a large folio, and its PFN. */
static bool is_large(char *addr, unsigned long *pfn)
{
	uint64_t flags;

	*pfn = pagemap_get_pfn(pagemap_fd, addr);
	return *pfn != -1UL && !pageflags_get(*pfn, kpageflags_fd, &flags) && flags & KPF_THP;
}

/* One page of each chunk: its PFN if its folio is large, or 0. */
static void find_large(char *addr, unsigned int nr, unsigned long *pfns)
{
	unsigned int i;

	for (i = 0; i < nr; i += CHUNK)
		if (!is_large(addr + i * pagesize, &pfns[i / CHUNK]))
			pfns[i / CHUNK] = 0;
}

/* How many folios of this size this was counted for since boot. */
static unsigned long folio_stat(const char *stat)
{
	const size_t kb = folio_pages * pagesize / 1024;
	char name[64];

	snprintf(name, sizeof(name), "hugepages-%zukB/stats/%s", kb, stat);
	return thp_read_num(name);
}

/* Some of it, or anything. */
static void *reclaimer(void *arg)
{
	const int fd = open("/sys/fs/cgroup/memory.reclaim", O_WRONLY);
	const char *amount = "4M swappiness=max";
	const unsigned long before = folio_stat("swpout");
	const unsigned long split_before = folio_stat("swpout_fallback");
	uint32_t state = SEED + (uintptr_t)arg;

	while (!atomic_load(&stop)) {
		const unsigned int first = rnd(&state) % nr_pages;
		const unsigned int nr = 1 + rnd(&state) % (nr_pages - first);
		char *start = region[rnd(&state) % 2];

		/* Only memory.reclaim reclaims what children have mapped, too. */
		if (rnd(&state) % 2)
			madvise(start + first * pagesize, nr * pagesize, MADV_PAGEOUT);
		else if (fd < 0)
			madvise(start, nr_pages * pagesize, MADV_PAGEOUT);
		else if (write(fd, amount, strlen(amount)) < 0 && errno != EAGAIN)
			fail("memory.reclaim", 0, errno, 0);
		atomic_store(&done[OP_RECLAIM], folio_stat("swpout") - before);
		/* Not all architectures can: they split folios that get swapped out. */
		if (!atomic_load(&done[OP_RECLAIM]) &&
		    folio_stat("swpout_fallback") - split_before >= 10)
			needed[OP_RECLAIM] = false;
		let_others_run(OP_WRITE, 200);
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void *migrator(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;
	unsigned int round = 0;

	while (!atomic_load(&stop)) {
		const unsigned int chunk = rnd(&state) % nr_chunks;
		const unsigned int first = chunk * CHUNK;
		unsigned long pfn, new_pfn;
		int to[CHUNK], status[CHUNK];
		void *pages[CHUNK];
		bool was_large;
		unsigned int i;

		round++;
		lock_chunk(chunk);
		for (i = 0; i < CHUNK; i++) {
			pages[i] = (void *)page_addr(first + i);
			to[i] = nodes[round % nr_nodes];
			status[i] = -1;
		}
		unlock_chunk(chunk);
		was_large = is_large(pages[0], &pfn);
		/* Pages that children have mapped, too. */
		syscall(SYS_move_pages, 0, CHUNK, pages, to, status, MPOL_MF_MOVE_ALL);
		if (was_large && status[0] == to[0] && is_large(pages[0], &new_pfn) &&
		    new_pfn != pfn)
			atomic_fetch_add(&done[OP_MIGRATE], 1);
		let_others_run(OP_WRITE, 20);
	}
	return NULL;
}

static void *splitter(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;

	while (!atomic_load(&stop)) {
		const size_t size = nr_pages * pagesize;
		const unsigned int order = rnd(&state) % 3 * 2;
		unsigned long pfns[MAX_PAGES / CHUNK], pfn;
		char *addr = region[rnd(&state) % 2];
		char buf[100];
		unsigned int i;
		int len;

		if (rnd(&state) % 4) {
			find_large(addr, nr_pages, pfns);
			len = snprintf(buf, sizeof(buf), "%d,0x%lx,0x%lx,%u", getpid(),
				       (unsigned long)addr, (unsigned long)addr + size, order);
			if (write(split_fd, buf, len) != len)
				continue;
			/* Only those that are small now are sure to have been split. */
			for (i = 0; i < nr_pages; i += CHUNK)
				if (pfns[i / CHUNK] && !is_large(addr + i * pagesize, &pfn) &&
				    pfn == pfns[i / CHUNK])
					atomic_fetch_add(&done[OP_SPLIT], 1);
		} else {
			/* Only the first region is aligned. */
			addr = region[0] + rnd(&state) % (size / pmdsize) * pmdsize;
			if (!madvise(addr, pmdsize, MADV_COLLAPSE))
				atomic_fetch_add(&done[OP_COLLAPSE], 1);
		}
		let_others_run(OP_WRITE, 300);
	}
	return NULL;
}

/*
 * A new folio in place of what has become of the old one, but not of what is
 * pinned. Count what really is large.
 */
static void *renewer(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;

	while (!atomic_load(&stop)) {
		const unsigned int nr_folios = nr_pages / folio_pages;
		const unsigned int first = rnd(&state) % nr_folios * folio_pages;
		const unsigned int last = first + folio_pages - 1;
		const size_t size = folio_pages * pagesize;
		bool pinned = false;
		unsigned long pfn;
		unsigned int i;

		for (i = first / CHUNK; i <= last / CHUNK; i++) {
			lock_chunk(i);
			pinned |= pins[i];
		}
		pthread_mutex_lock(&state_lock);
		/* A chunk is in one place, and can be larger than a folio. */
		for (i = first / CHUNK * CHUNK; i < (last / CHUNK + 1) * CHUNK; i++)
			pinned |= folio_pages < CHUNK && place[i];
		if (!pinned) {
			madvise(region[0] + first * pagesize, size, MADV_DONTNEED);
			madvise(region[1] + first * pagesize, size, MADV_DONTNEED);
			for (i = first; i <= last; i++) {
				place[i] = 0;
				*page_addr(i) = content[i];
			}
			if (is_large((char *)page_addr(first), &pfn))
				atomic_fetch_add(&done[OP_RENEW], 1);
		}
		pthread_mutex_unlock(&state_lock);
		for (i = first / CHUNK; i <= last / CHUNK; i++)
			unlock_chunk(i);
		let_others_run(OP_WRITE, 100);
	}
	return NULL;
}

/* What a pin reads must be what the owner wrote after it was taken. */
static void *pinner(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;
	uint64_t *buf = malloc(CHUNK * pagesize);

	while (!atomic_load(&stop)) {
		const unsigned int chunk = rnd(&state) % nr_chunks;
		const unsigned int first = chunk * CHUNK;
		struct pin_longterm_test args;
		__u64 to = (uintptr_t)buf;
		unsigned int i;

		lock_chunk(chunk);
		args.addr = (uintptr_t)page_addr(first);
		args.size = CHUNK * pagesize;
		args.flags = rnd(&state) % 4;
		if (ioctl(gup_fd, PIN_LONGTERM_TEST_START, &args)) {
			unlock_chunk(chunk);
			/* Cannot be moved to where it may be pinned, this time. */
			if (errno == EAGAIN || errno == ENOMEM)
				continue;
			fail("pin", first, errno, 0);
			break;
		}
		pins[chunk]++;
		unlock_chunk(chunk);

		let_others_run(OP_FORK, 1 + rnd(&state) % 2);

		lock_chunk(chunk);
		if (ioctl(gup_fd, PIN_LONGTERM_TEST_READ, &to))
			fail("read pinned", first, errno, 0);
		for (i = 0; i < CHUNK; i++) {
			const uint64_t is = buf[i * pagesize / sizeof(*buf)];

			check_page("while pinned", first + i);
			if (is != content[first + i])
				fail("pin", first + i, is, content[first + i]);
		}
		ioctl(gup_fd, PIN_LONGTERM_TEST_STOP);
		pins[chunk]--;
		atomic_fetch_add(&done[OP_PIN], 1);
		unlock_chunk(chunk);
	}
	free(buf);
	return NULL;
}

#ifdef LOCAL_CONFIG_HAVE_LIBURING
/* Write from registered buffers to a file, which must get what the owner wrote. */
static void *uring(void *arg)
{
	uint32_t state = SEED + (uintptr_t)arg;
	uint64_t *buf = malloc(CHUNK * pagesize);
	FILE *file = tmpfile();
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int ret;

	ret = io_uring_queue_init(1, &ring, 0);
	if (ret < 0 || !file || !buf) {
		fail("io_uring", 0, -ret, 0);
		return NULL;
	}
	while (!atomic_load(&stop)) {
		const unsigned int chunk = rnd(&state) % nr_chunks;
		const unsigned int first = chunk * CHUNK;
		struct iovec iov = { .iov_len = CHUNK * pagesize };
		struct io_uring_sqe *sqe;
		unsigned int i;

		lock_chunk(chunk);
		iov.iov_base = (void *)page_addr(first);
		ret = io_uring_register_buffers(&ring, &iov, 1);
		pins[chunk] += ret >= 0;
		unlock_chunk(chunk);
		if (ret == -EAGAIN || ret == -ENOMEM)
			continue;
		if (ret < 0) {
			fail("register buffers", first, -ret, 0);
			break;
		}

		let_others_run(OP_FORK, 1 + rnd(&state) % 2);

		lock_chunk(chunk);
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_write_fixed(sqe, fileno(file), iov.iov_base, iov.iov_len, 0, 0);
		ret = io_uring_submit(&ring);
		ret = ret == 1 ? io_uring_wait_cqe(&ring, &cqe) : -EIO;
		if (ret || cqe->res != (int)iov.iov_len ||
		    pread(fileno(file), buf, iov.iov_len, 0) != (ssize_t)iov.iov_len)
			fail("io_uring write", first, -ret, 0);
		if (!ret)
			io_uring_cqe_seen(&ring, cqe);
		for (i = 0; i < CHUNK; i++) {
			const uint64_t is = buf[i * pagesize / sizeof(*buf)];

			if (is != content[first + i])
				fail("io_uring", first + i, is, content[first + i]);
		}
		io_uring_unregister_buffers(&ring);
		pins[chunk]--;
		atomic_fetch_add(&done[OP_URING], 1);
		unlock_chunk(chunk);
	}
	io_uring_queue_exit(&ring);
	fclose(file);
	free(buf);
	return NULL;
}

static bool have_uring(void)
{
	struct io_uring ring;

	if (io_uring_queue_init(1, &ring, 0) < 0)
		return false;
	io_uring_queue_exit(&ring);
	return true;
}
#else
#define uring NULL

static bool have_uring(void)
{
	return false;
}
#endif /* LOCAL_CONFIG_HAVE_LIBURING */

static bool have_swap(void)
{
	char line[200];
	FILE *file = fopen("/proc/swaps", "r");
	int lines = 0;

	while (file && fgets(line, sizeof(line), file))
		lines++;
	if (file)
		fclose(file);
	return lines > 1;
}

/* From a list of ranges. */
static unsigned int find_nodes(void)
{
	FILE *file = fopen("/sys/devices/system/node/has_memory", "r");
	unsigned int nr = 0;
	int first, last;

	while (file && fscanf(file, "%d", &first) == 1) {
		last = first;
		if (fscanf(file, "-%d", &last) < 0)
			last = first;
		for (; first <= last && nr < MAX_NODES; first++)
			nodes[nr++] = first;
		if (fgetc(file) != ',')
			break;
	}
	if (file)
		fclose(file);
	return nr;
}

/* Each with a thread of its own, and a test result. */
static const struct {
	enum op op;
	void *(*fn)(void *arg);
	const char *needs;
} ops[] = {
	{ OP_FORK, forker },
	{ OP_WRITE, writer },
	{ OP_RENEW, renewer },
	{ OP_MOVE, mover },
	{ OP_PROTECT, protector },
	{ OP_RECLAIM, reclaimer, "swap, of large folios as a whole" },
	{ OP_MIGRATE, migrator, "two nodes" },
	{ OP_SPLIT, splitter, "debugfs" },
	{ OP_PIN, pinner, "CONFIG_GUP_TEST" },
	{ OP_URING, uring, "liburing and io_uring" },
};

static bool can_do(enum op op)
{
	switch (op) {
	case OP_RECLAIM:
		return have_swap();
	case OP_MIGRATE:
		return nr_nodes > 1;
	case OP_SPLIT:
		return split_fd >= 0;
	case OP_PIN:
		return gup_fd >= 0;
	case OP_URING:
		return have_uring();
	default:
		return true;
	}
}

static void torture(size_t size)
{
	const size_t len = 2 * pmdsize;
	struct thp_settings settings = *thp_current_settings();
	pthread_t ids[ARRAY_SIZE(ops)];
	bool runs[ARRAY_SIZE(ops)];
	char *mem;
	int i;

	settings.thp_enabled = THP_MADVISE;
	settings.thp_defrag = THP_DEFRAG_ALWAYS;
	for (i = 0; i < NR_ORDERS; i++)
		settings.hugepages[i].enabled = THP_NEVER;
	settings.hugepages[sz2ord(size, pagesize)].enabled = THP_MADVISE;
	thp_push_settings(&settings);

	/* The second region: where it begins, the first one is half through a PMD. */
	mem = mmap(NULL, 3 * len + pmdsize, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	region[0] = (char *)(((uintptr_t)mem + pmdsize - 1) & ~(pmdsize - 1));
	region[1] = region[0] + len + pmdsize / 2;
	madvise(region[0], 2 * len + pmdsize / 2, MADV_HUGEPAGE);

	nr_pages = len / pagesize;
	nr_chunks = nr_pages / CHUNK;
	folio_pages = size / pagesize;
	memset(pins, 0, sizeof(pins));
	atomic_store(&stop, false);
	atomic_store(&failures, 0);
	for (i = 0; i < NR_OPS; i++)
		atomic_store(&done[i], 0);
	for (i = 0; i < (int)nr_pages; i++) {
		place[i] = 0;
		content[i] = stamp(1, i, 0);
		*page_addr(i) = content[i];
	}

	for (i = 0; i < (int)ARRAY_SIZE(ops); i++) {
		runs[i] = can_do(ops[i].op);
		needed[ops[i].op] = runs[i];
	}
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++)
		if (runs[i] &&
		    pthread_create(&ids[i], NULL, ops[i].fn, (void *)(uintptr_t)i))
			ksft_exit_fail_msg("no thread: %s\n", strerror(errno));
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++)
		if (runs[i])
			pthread_join(ids[i], NULL);

	for (i = 0; i < (int)nr_pages; i++)
		check_page("at the end", i);
	ksft_test_result(!atomic_load(&failures), "%zu KiB folios: contents\n", size / 1024);

	/* Nothing was proven by what was never done. */
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++) {
		const unsigned long nr = atomic_load(&done[ops[i].op]);

		ksft_print_msg("%s: %lu times\n", op_names[ops[i].op], nr);
		if (needed[ops[i].op] || nr)
			ksft_test_result(nr, "%zu KiB folios: %s\n", size / 1024,
					 op_names[ops[i].op]);
		else
			ksft_test_result_skip("%zu KiB folios: %s: needs %s\n", size / 1024,
					      op_names[ops[i].op], ops[i].needs);
	}
	/* With pins and children all the time, maybe nothing collapses. */
	ksft_print_msg("%s: %lu times\n", op_names[OP_COLLAPSE], atomic_load(&done[OP_COLLAPSE]));
	munmap(mem, 3 * len + pmdsize);
	thp_pop_settings();
}

int main(int argc, char **argv)
{
	struct thp_settings settings;
	unsigned long orders;
	unsigned int i, nr = 0;

	if (argc == 2)
		nr_forks = strtoul(argv[1], NULL, 10);
	if (argc > 2 || !nr_forks) {
		fprintf(stderr, "usage: %s [how often to fork, default %d]\n", argv[0], NR_FORKS);
		return KSFT_FAIL;
	}
	ksft_print_header();
	if (geteuid() || !thp_available())
		ksft_exit_skip("needs root, and transparent huge pages\n");
	pagesize = getpagesize();
	pmdsize = read_pmd_pagesize();
	if (!pmdsize || 2 * pmdsize / pagesize > MAX_PAGES)
		ksft_exit_skip("huge pages are too large\n");
	gup_fd = open("/sys/kernel/debug/gup_test", O_RDWR);
	split_fd = open("/sys/kernel/debug/split_huge_pages", O_WRONLY);
	pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
	kpageflags_fd = open("/proc/kpageflags", O_RDONLY);
	if (pagemap_fd < 0 || kpageflags_fd < 0)
		ksft_exit_skip("needs pagemap and kpageflags\n");
	nr_nodes = find_nodes();

	orders = (thp_supported_orders() | 1UL << sz2ord(pmdsize, pagesize));
	/* Marks in a part of a word, in several struct pages' words, in all of them. */
	orders &= 1UL << 4 | 1UL << (sz2ord(pmdsize, pagesize) - 1) |
		  1UL << sz2ord(pmdsize, pagesize);
	for (i = 0; i < NR_ORDERS; i++)
		nr += (orders >> i) & 1;
	/* The contents, and whether each operation ever succeeded. */
	ksft_set_plan(nr * (1 + ARRAY_SIZE(ops)));
	ksft_print_msg("seed %d, %lu forks\n", SEED, nr_forks);
	for (i = 0; i < MAX_PAGES / CHUNK; i++)
		pthread_mutex_init(&chunk_lock[i], NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	thp_save_settings();
	/* The children do not run this. */
	atexit(thp_restore_settings);
	thp_read_settings(&settings);
	thp_push_settings(&settings);
	for (i = 0; i < NR_ORDERS; i++)
		if ((orders >> i) & 1)
			torture(pagesize << i);
	ksft_finished();
}
