// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who is the only one left to map a large anon folio after fork() gets it back with
 * one write fault, and not with one for each page: as far as a page table and a VMA
 * reach, and not where something else than fork() demands a fault.
 *
 * Faults are counted: one too few, and something was not noticed that has to be;
 * one too many, and somebody pays for nothing.
 */
#define _GNU_SOURCE
/* Addresses are offsets in /proc/self/mem. */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../../../../mm/gup_test.h"
#include "hugepage_settings.h"
#include "kselftest_harness.h"
#include "vm_util.h"

#define PMD_ORDER	(-1)

static size_t pagesize, pmdsize;
static struct thp_settings settings;

static long nr_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* How many faults does it take to write to each of the pages? */
static long write_pages(char *mem, unsigned int nr, char value)
{
	unsigned int i;
	long before;

	/* The stack may be shared with a child. */
	nr_faults();
	before = nr_faults();
	for (i = 0; i < nr; i++)
		__atomic_store_n(mem + i * pagesize, value, __ATOMIC_RELAXED);
	return nr_faults() - before;
}

static unsigned int count_pages(const char *mem, unsigned int nr, char value)
{
	unsigned int i, count = 0;

	for (i = 0; i < nr; i++)
		count += FORCE_READ(mem[i * pagesize]) == value;
	return count;
}

static sigjmp_buf on_signal;

static void got_signal(int sig)
{
	siglongjmp(on_signal, sig);
}

/* Returns the signal that the write to the page ended with, or 0. */
static int try_write(char *mem, char value)
{
	const int sig = sigsetjmp(on_signal, 1);

	if (!sig)
		__atomic_store_n(mem, value, __ATOMIC_RELAXED);
	return sig;
}

/* A child that does nothing but to exit, or to wait until @fd[1] is closed. */
static pid_t start_child(int fd[2], int (*first)(void *), void *arg)
{
	pid_t pid;
	char c;

	if (pipe(fd))
		return -1;
	pid = fork();
	if (!pid) {
		close(fd[1]);
		if (read(fd[0], &c, 1))
			_exit(2);
		_exit(first(arg));
	}
	close(fd[0]);
	return pid;
}

static int end_child(pid_t pid, int fd[2])
{
	int status;

	close(fd[1]);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

FIXTURE(cow_reuse)
{
	char *area, *mem;
	size_t size;
	unsigned int nr;
	int order;
};

FIXTURE_VARIANT(cow_reuse)
{
	int order;
};

FIXTURE_VARIANT_ADD(cow_reuse, order2) {
	.order = 2,
};

FIXTURE_VARIANT_ADD(cow_reuse, order4) {
	.order = 4,
};

FIXTURE_VARIANT_ADD(cow_reuse, pmd_order) {
	.order = PMD_ORDER,
};

/* Nobody but this process maps the folio any more, but it does not know that. */
static bool fork_and_exit(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

static bool is_folio(const char *mem, unsigned int nr)
{
	const int fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned long pfn;
	unsigned int i;

	if (fd < 0)
		return false;
	pfn = pagemap_get_pfn(fd, (char *)mem);
	for (i = 0; i < nr; i++)
		if (pfn % nr || pagemap_get_pfn(fd, (char *)mem + i * pagesize) != pfn + i)
			break;
	close(fd);
	return i == nr;
}

FIXTURE_SETUP(cow_reuse)
{
	self->order = variant->order == PMD_ORDER ? sz2ord(pmdsize, pagesize) : variant->order;
	self->nr = 1U << self->order;
	self->size = self->nr * pagesize;
	if (!(thp_supported_orders() & 1UL << self->order))
		SKIP(return, "no folios of order %d", self->order);

	settings.hugepages[self->order].enabled = THP_MADVISE;
	thp_write_settings(&settings);

	/* With page tables of its own. */
	self->area = mmap(NULL, 4 * pmdsize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(self->area, MAP_FAILED);
	self->mem = (char *)(((uintptr_t)self->area + pmdsize - 1) & ~(pmdsize - 1));
	ASSERT_EQ(mmap(self->mem, self->size, PROT_READ | PROT_WRITE,
		       MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), self->mem);
	ASSERT_EQ(madvise(self->mem, self->size, MADV_HUGEPAGE), 0);
	self->mem[0] = 1;
	/* What gets copied, or filled again, is to be small. */
	ASSERT_EQ(madvise(self->mem, self->size, MADV_NOHUGEPAGE), 0);
	/* Changing the protection of a single page splits the PMD. */
	ASSERT_EQ(mprotect(self->mem, pagesize, PROT_READ), 0);
	ASSERT_EQ(mprotect(self->mem, pagesize, PROT_READ | PROT_WRITE), 0);
	write_pages(self->mem, self->nr, 1);
	if (!is_folio(self->mem, self->nr))
		SKIP(return, "not a large folio: memory is fragmented?");

	ASSERT_NE(signal(SIGSEGV, got_signal), SIG_ERR);
	ASSERT_NE(signal(SIGBUS, got_signal), SIG_ERR);
}

FIXTURE_TEARDOWN(cow_reuse)
{
	munmap(self->area, 4 * pmdsize);
	settings.hugepages[self->order].enabled = THP_NEVER;
	thp_write_settings(&settings);
}

/* From wherever in the folio the first write is. */
TEST_F(cow_reuse, one_fault)
{
	const unsigned int first[] = { 0, 1, self->nr / 2, self->nr - 1 };
	unsigned int i;

	EXPECT_EQ(write_pages(self->mem, self->nr, 1), 0);
	for (i = 0; i < ARRAY_SIZE(first); i++) {
		ASSERT_TRUE(fork_and_exit());
		EXPECT_EQ(write_pages(self->mem + first[i] * pagesize, 1, 2), 1);
		EXPECT_EQ(write_pages(self->mem, self->nr, 3), 0);
		EXPECT_EQ(count_pages(self->mem, self->nr, 3), self->nr);
	}
	EXPECT_TRUE(is_folio(self->mem, self->nr));
}

struct expected {
	char *mem;
	unsigned int nr;
	char value;
};

static int has_expected(void *arg)
{
	const struct expected *e = arg;

	return count_pages(e->mem, e->nr, e->value) == e->nr ? 0 : 1;
}

TEST_F(cow_reuse, child_alive)
{
	struct expected old = { self->mem, self->nr, 1 };
	int fd[2];
	pid_t pid;

	pid = start_child(fd, has_expected, &old);
	ASSERT_GT(pid, 0);
	EXPECT_EQ(write_pages(self->mem, self->nr, 2), self->nr);
	EXPECT_EQ(end_child(pid, fd), 0);
	EXPECT_EQ(count_pages(self->mem, self->nr, 2), self->nr);
}

/* What was shared, became exclusive and is shared again has to be copied. */
TEST_F(cow_reuse, fork_again)
{
	struct expected old = { self->mem, self->nr, 2 };
	int fd[2];
	pid_t pid;

	ASSERT_TRUE(fork_and_exit());
	EXPECT_EQ(write_pages(self->mem, self->nr, 2), 1);
	pid = start_child(fd, has_expected, &old);
	ASSERT_GT(pid, 0);
	EXPECT_EQ(write_pages(self->mem, self->nr, 3), self->nr);
	EXPECT_EQ(end_child(pid, fd), 0);
}

static int write_all(void *arg)
{
	const struct expected *e = arg;

	/* Where hardware does not do it, a fault sets the accessed bit. */
	if (count_pages(e->mem, e->nr, 1) != e->nr)
		return 1;
	return write_pages(e->mem, e->nr, 2) == e->value ? 0 : 1;
}

/* Who is left need not be who was there first. */
TEST_F(cow_reuse, only_the_child_is_left)
{
	struct expected one = { self->mem, self->nr, 1 };
	int fd[2];
	pid_t pid;

	pid = start_child(fd, write_all, &one);
	ASSERT_GT(pid, 0);
	ASSERT_EQ(munmap(self->mem, self->size), 0);
	EXPECT_EQ(end_child(pid, fd), 0);
}

/* A child that has any page of it has it all be shared. */
TEST_F(cow_reuse, child_has_one_page)
{
	struct expected old = { self->mem, 1, 1 };
	int fd[2];
	pid_t pid;

	ASSERT_EQ(madvise(self->mem + pagesize, self->size - pagesize, MADV_DONTFORK), 0);
	pid = start_child(fd, has_expected, &old);
	ASSERT_GT(pid, 0);
	/* These never were write-protected. */
	EXPECT_EQ(write_pages(self->mem + pagesize, self->nr - 1, 2), 0);
	EXPECT_EQ(write_pages(self->mem, 1, 2), 1);
	EXPECT_EQ(end_child(pid, fd), 0);
	EXPECT_FALSE(is_folio(self->mem, self->nr));
}

/* The page table entries of a page that is gone, and of its successor. */
TEST_F(cow_reuse, holes)
{
	const unsigned int hole = self->nr / 2;

	ASSERT_EQ(madvise(self->mem + hole * pagesize, pagesize, MADV_DONTNEED), 0);
	ASSERT_TRUE(fork_and_exit());
	EXPECT_EQ(write_pages(self->mem, hole, 2), 1);
	EXPECT_EQ(write_pages(self->mem + (hole + 1) * pagesize, self->nr - hole - 1, 2), 0);
	EXPECT_EQ(FORCE_READ(self->mem[hole * pagesize]), 0);

	/* A page that is not the folio's is none of its business. */
	EXPECT_EQ(write_pages(self->mem + hole * pagesize, 1, 2), 1);
	ASSERT_TRUE(fork_and_exit());
	EXPECT_EQ(write_pages(self->mem, self->nr, 3), 2);
	EXPECT_EQ(count_pages(self->mem, self->nr, 3), self->nr);
}

/* Half of it in another VMA, which is mapped by another page table. */
TEST_F(cow_reuse, moved_half)
{
	char *half = self->mem + self->size / 2, *to = self->mem + pmdsize;

	ASSERT_EQ(mremap(half, self->size / 2, self->size / 2,
			 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	ASSERT_TRUE(fork_and_exit());
	EXPECT_EQ(write_pages(self->mem, self->nr / 2, 2), 1);
	EXPECT_EQ(write_pages(to, self->nr / 2, 2), 1);
	EXPECT_EQ(count_pages(to, self->nr / 2, 2), self->nr / 2);
}

/* Two page tables, but one VMA; what is next to the folio belongs to another one. */
TEST_F(cow_reuse, two_page_tables)
{
	char *to = self->mem + 2 * pmdsize - self->size / 2;
	unsigned int round;

	ASSERT_EQ(mremap(self->mem, self->size, self->size,
			 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	for (round = 0; round < 2; round++) {
		char *half = to + (round ? self->size / 2 : 0);
		char *other = to + (round ? 0 : self->size / 2);

		ASSERT_TRUE(fork_and_exit());
		EXPECT_EQ(write_pages(half, self->nr / 2, 2), 1);
		EXPECT_EQ(write_pages(other, self->nr / 2, 2), 1);
		EXPECT_EQ(count_pages(to, self->nr, 2), self->nr);
	}
}

/* Half of it in another VMA, which is read-only, in the same page table. */
TEST_F(cow_reuse, read_only_half)
{
	unsigned int round, i;

	for (round = 0; round < 2; round++) {
		char *half = self->mem + (round ? 0 : self->size / 2);
		char *other = self->mem + (round ? self->size / 2 : 0);

		ASSERT_TRUE(fork_and_exit());
		ASSERT_EQ(mprotect(half, self->size / 2, PROT_READ), 0);
		EXPECT_EQ(write_pages(other, self->nr / 2, 2), 1);
		for (i = 0; i < self->nr / 2; i++)
			EXPECT_EQ(try_write(half + i * pagesize, 2), SIGSEGV);

		/* It is not in TLBs either, where it would be read-only for some time. */
		ASSERT_EQ(mprotect(half, self->size / 2, PROT_NONE), 0);
		ASSERT_EQ(mprotect(half, self->size / 2, PROT_READ | PROT_WRITE), 0);
		EXPECT_EQ(write_pages(half, self->nr / 2, 2), 1);
	}
}

/* A write by ptrace, or /proc/self/mem, makes nothing writable that is not to be. */
TEST_F(cow_reuse, forced_write)
{
	const int fd = open("/proc/self/mem", O_RDWR);
	unsigned int i;

	ASSERT_GE(fd, 0);
	ASSERT_TRUE(fork_and_exit());
	ASSERT_EQ(mprotect(self->mem, self->size, PROT_READ), 0);
	if (pwrite(fd, "\2", 1, (uintptr_t)self->mem) != 1)
		SKIP(return, "need CONFIG_PROC_MEM_ALWAYS_FORCE");
	close(fd);
	EXPECT_EQ(count_pages(self->mem, 1, 2), 1);
	for (i = 0; i < self->nr; i++)
		EXPECT_EQ(try_write(self->mem + i * pagesize, 3), SIGSEGV);
	EXPECT_TRUE(is_folio(self->mem, self->nr));

	/* All of it is known to be exclusive, though; and see read_only_half. */
	ASSERT_EQ(mprotect(self->mem, self->size, PROT_NONE), 0);
	ASSERT_EQ(mprotect(self->mem, self->size, PROT_READ | PROT_WRITE), 0);
	EXPECT_EQ(write_pages(self->mem, self->nr, 3), 0);
}

TEST_F(cow_reuse, soft_dirty)
{
	const unsigned int written[] = { 0, self->nr / 2 };
	unsigned int round, i;
	int fd;

	if (!softdirty_supported())
		SKIP(return, "no soft-dirty tracking");
	fd = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_GE(fd, 0);
	for (round = 0; round < 2 * ARRAY_SIZE(written); round++) {
		char *page = self->mem + written[round / 2] * pagesize;
		unsigned int dirty = 0;

		/* The first time, none is soft-dirty, and the second time, one is. */
		ASSERT_TRUE(fork_and_exit());
		if (!(round % 2))
			clear_softdirty();
		EXPECT_EQ(write_pages(page, 1, 2), 1);
		for (i = 0; i < self->nr; i++)
			dirty += pagemap_is_softdirty(fd, self->mem + i * pagesize);
		EXPECT_EQ(dirty, 1);
		EXPECT_TRUE(pagemap_is_softdirty(fd, page));
		if (!(round % 2))
			continue;

		EXPECT_EQ(write_pages(self->mem, self->nr, 3), self->nr - 1);
		for (i = 0; i < self->nr; i++)
			EXPECT_TRUE(pagemap_is_softdirty(fd, self->mem + i * pagesize));
	}
	close(fd);
}

/* Pages that userfaultfd has write-protected, beside some that it has not. */
TEST_F(cow_reuse, uffd_wp)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	char *half = self->mem + self->size / 2;
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)half, .len = self->size / 2 },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	unsigned int i;
	int uffd;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (uffd < 0)
		SKIP(return, "no userfaultfd");
	if (ioctl(uffd, UFFDIO_API, &api))
		SKIP(return, "userfaultfd cannot write-protect");
	ASSERT_EQ(uffd_register(uffd, self->mem, self->size, false, true, false), 0);
	ASSERT_TRUE(fork_and_exit());
	ASSERT_EQ(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp), 0);

	EXPECT_EQ(write_pages(self->mem, self->nr / 2, 2), 1);
	for (i = 0; i < self->nr / 2; i++)
		EXPECT_EQ(try_write(half + i * pagesize, 2), SIGBUS);
	EXPECT_EQ(count_pages(half, self->nr / 2, 1), self->nr / 2);
	close(uffd);
}

/* Somebody else who has a reference is to keep what there was. */
TEST_F(cow_reuse, reference)
{
	struct iovec iov = { .iov_base = self->mem, .iov_len = pagesize };
	int fd[2];
	char c = 0;

	ASSERT_EQ(pipe(fd), 0);
	ASSERT_TRUE(fork_and_exit());
	ASSERT_EQ(vmsplice(fd[1], &iov, 1, 0), pagesize);
	EXPECT_EQ(write_pages(self->mem, self->nr, 2), self->nr);
	ASSERT_EQ(read(fd[0], &c, 1), 1);
	EXPECT_EQ(c, 1);
	close(fd[0]);
	close(fd[1]);
}

/* Who has pinned a page is to see what gets written to it, by whichever fault. */
TEST_F(cow_reuse, pinned)
{
	const int fd = open("/sys/kernel/debug/gup_test", O_RDWR);
	struct pin_longterm_test args = {
		.addr = (uintptr_t)self->mem,
		.size = pagesize,
	};
	char page[pagesize];
	uint64_t to = (uintptr_t)page;

	if (fd < 0)
		SKIP(return, "need root, debugfs and CONFIG_GUP_TEST");
	ASSERT_TRUE(fork_and_exit());
	ASSERT_EQ(ioctl(fd, PIN_LONGTERM_TEST_START, &args), 0);
	EXPECT_LE(write_pages(self->mem, self->nr, 2), self->nr);
	ASSERT_EQ(ioctl(fd, PIN_LONGTERM_TEST_READ, &to), 0);
	EXPECT_EQ(page[0], 2);
	EXPECT_TRUE(is_folio(self->mem, self->nr));
	ASSERT_EQ(ioctl(fd, PIN_LONGTERM_TEST_STOP), 0);
	close(fd);
}

int main(int argc, char **argv)
{
	int i;

	if (!thp_available())
		ksft_exit_skip("Transparent hugepages are not available\n");
	if (geteuid())
		ksft_exit_skip("Need root\n");

	pagesize = getpagesize();
	pmdsize = read_pmd_pagesize();
	thp_save_settings();
	thp_read_settings(&settings);
	settings.thp_enabled = THP_MADVISE;
	settings.thp_defrag = THP_DEFRAG_ALWAYS;
	/* It would collapse what gets copied. */
	settings.khugepaged.scan_sleep_millisecs = 24 * 60 * 60 * 1000;
	for (i = 0; i < NR_ORDERS; i++)
		settings.hugepages[i].enabled = THP_NEVER;
	thp_write_settings(&settings);

	return test_harness_run(argc, argv);
}
