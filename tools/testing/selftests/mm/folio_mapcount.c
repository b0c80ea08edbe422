// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does the kernel know that a large anon folio is mapped by one process only?
 *
 * Several processes share a folio after fork(), and all but one stop mapping it,
 * in any order. When the one that is left writes, nobody else can be interested
 * in the old content any more: its page tables must still map the very same
 * pages afterwards. As long as there is another process, on the other hand, the
 * pages must be copied, and that process must not see what gets written.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "hugepage_settings.h"
#include "kselftest.h"
#include "vm_util.h"

#define MAX_PROCS	8
#define SEED		20261121

enum leave {
	LEAVE_EXIT,
	LEAVE_MUNMAP,
	LEAVE_DONTNEED,
	NR_LEAVE,
};

static const char * const leave_names[NR_LEAVE] = {
	[LEAVE_EXIT] = "exit",
	[LEAVE_MUNMAP] = "munmap",
	[LEAVE_DONTNEED] = "dontneed",
};

/* What a process can be told to do; the answer is a number, negative: failed. */
enum cmd {
	CMD_EXIT,
	CMD_MUNMAP,
	CMD_DONTNEED,
	CMD_WRITE,	/* Returns the number of pages that were replaced. */
	CMD_CHECK,	/* Returns the number of pages with unexpected content. */
};

struct proc {
	int cmd[2];
	int reply[2];
	bool present;
};

static struct proc procs[MAX_PROCS];
static size_t pagesize, pmdsize;
static unsigned int nr_pages;
static size_t thpsize;
static char *mem;

static char content(unsigned int page, bool written)
{
	return (page * 7 + 1) ^ (written ? 0x80 : 0);
}

static int count_unexpected(bool written)
{
	unsigned int i;
	int count = 0;

	for (i = 0; i < nr_pages; i++)
		count += mem[i * pagesize] != content(i, written);
	return count;
}

static int write_all(int pagemap_fd)
{
	unsigned long before, after;
	unsigned int i;
	int count = 0;

	for (i = 0; i < nr_pages; i++) {
		before = pagemap_get_pfn(pagemap_fd, mem + i * pagesize);
		mem[i * pagesize] = content(i, true);
		after = pagemap_get_pfn(pagemap_fd, mem + i * pagesize);
		if (before == -1ul || after == -1ul)
			return -1;
		count += before != after;
	}
	return count_unexpected(true) ? -1 : count;
}

/* Serves until told to exit. Never returns. */
static void serve(int me)
{
	const int pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
	bool written = false;
	int cmd, ret;

	while (read(procs[me].cmd[0], &cmd, sizeof(cmd)) == sizeof(cmd)) {
		switch (cmd) {
		case CMD_MUNMAP:
			ret = munmap(mem, thpsize);
			break;
		case CMD_DONTNEED:
			ret = madvise(mem, thpsize, MADV_DONTNEED);
			break;
		case CMD_WRITE:
			ret = write_all(pagemap_fd);
			written = true;
			break;
		case CMD_CHECK:
			ret = count_unexpected(written);
			break;
		default:
			_exit(0);
		}
		if (write(procs[me].reply[1], &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	_exit(1);
}

/* A process that exits answers by closing its pipe, after its MM is gone. */
static int tell(int who, int cmd)
{
	int ret = -1;

	if (write(procs[who].cmd[1], &cmd, sizeof(cmd)) != sizeof(cmd))
		return -1;
	if (read(procs[who].reply[0], &ret, sizeof(ret)) == 0 && cmd == CMD_EXIT)
		ret = 0;
	return ret;
}

/*
 * A folio of our size, and not in the hands of khugepaged. Returns what the test
 * should return if that does not work.
 */
static int populate(bool pte_mapped)
{
	char *area = mmap(NULL, 2 * thpsize, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const int pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned long pfn;
	unsigned int i;

	if (area == MAP_FAILED || pagemap_fd < 0)
		return KSFT_FAIL;
	mem = (char *)(((uintptr_t)area + thpsize - 1) & ~(thpsize - 1));
	if (madvise(mem, thpsize, MADV_HUGEPAGE))
		return KSFT_FAIL;
	mem[0] = 1;
	if (madvise(mem, thpsize, MADV_NOHUGEPAGE))
		return KSFT_FAIL;

	/* There may not be enough contiguous memory. */
	pfn = pagemap_get_pfn(pagemap_fd, mem);
	if (!pfn || pfn % nr_pages)
		return KSFT_SKIP;
	for (i = 0; i < nr_pages; i++)
		if (pagemap_get_pfn(pagemap_fd, mem + i * pagesize) != pfn + i)
			return KSFT_SKIP;
	close(pagemap_fd);

	/* Changing the protection of a single page splits the PMD. */
	if (pte_mapped &&
	    (mprotect(mem, pagesize, PROT_READ) ||
	     mprotect(mem, pagesize, PROT_READ | PROT_WRITE)))
		return KSFT_FAIL;
	for (i = 0; i < nr_pages; i++)
		mem[i * pagesize] = content(i, false);
	return KSFT_PASS;
}

/*
 * The first process has all others as children: it maps the folio first. Returns
 * KSFT_PASS, or what the test should return.
 */
static int start(int nr, bool pte_mapped)
{
	int i, j, ret;

	for (i = 0; i < nr; i++) {
		if (pipe(procs[i].cmd) || pipe(procs[i].reply))
			ksft_exit_fail_perror("pipe");
		procs[i].present = true;
	}

	switch (fork()) {
	case -1:
		ksft_exit_fail_perror("fork");
		break;
	case 0:
		for (i = 0; i < nr; i++)
			close(procs[i].cmd[1]);
		ret = populate(pte_mapped);
		for (i = 1; ret == KSFT_PASS && i < nr; i++) {
			switch (fork()) {
			case -1:
				ret = KSFT_FAIL;
				break;
			case 0:
				/* Others have to see that a process is gone. */
				for (j = 0; j < nr; j++)
					if (j != i)
						close(procs[j].reply[1]);
				serve(i);
			}
		}
		if (write(procs[0].reply[1], &ret, sizeof(ret)) != sizeof(ret) ||
		    ret != KSFT_PASS)
			_exit(1);
		for (i = 1; i < nr; i++)
			close(procs[i].reply[1]);
		serve(0);
	}

	for (i = 0; i < nr; i++) {
		close(procs[i].cmd[0]);
		close(procs[i].reply[1]);
	}
	if (read(procs[0].reply[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = KSFT_FAIL;
	if (ret != KSFT_PASS)
		ksft_print_msg("Could not set up the processes and the folio\n");
	return ret;
}

static void finish(int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		if (procs[i].present)
			tell(i, CMD_EXIT);
		close(procs[i].cmd[1]);
		close(procs[i].reply[0]);
	}
	/* We are the subreaper. */
	while (wait(NULL) > 0)
		;
}

static int leave(int who, enum leave how)
{
	static const int cmds[NR_LEAVE] = {
		[LEAVE_EXIT] = CMD_EXIT,
		[LEAVE_MUNMAP] = CMD_MUNMAP,
		[LEAVE_DONTNEED] = CMD_DONTNEED,
	};

	if (how == LEAVE_EXIT)
		procs[who].present = false;
	return tell(who, cmds[how]);
}

/* All but the last in @order leave; nothing is shared then. */
static void test_last_one(const char *desc, int nr, const int *order,
			  enum leave how, bool pte_mapped)
{
	char order_str[2 * MAX_PROCS + 1] = "";
	int i, ret, copied, last = order[nr - 1];

	for (i = 0; i < nr; i++)
		sprintf(order_str + 2 * i, " %d", order[i]);
	log_test_start("last of%s, %s, %s", order_str, desc, leave_names[how]);
	ret = start(nr, pte_mapped);
	if (ret != KSFT_PASS) {
		log_test_result(ret);
		goto out;
	}
	for (i = 0; i < nr - 1; i++) {
		if (leave(order[i], how)) {
			ksft_print_msg("Process %d failed to leave\n", order[i]);
			log_test_result(KSFT_FAIL);
			goto out;
		}
	}
	if (tell(last, CMD_CHECK) != 0) {
		ksft_print_msg("Process %d has lost its data\n", last);
		log_test_result(KSFT_FAIL);
		goto out;
	}
	copied = tell(last, CMD_WRITE);
	if (copied)
		ksft_print_msg("%d of %u pages were copied\n", copied, nr_pages);
	log_test_result(copied ? KSFT_FAIL : KSFT_PASS);
out:
	finish(nr);
}

/* One of three leaves, another one writes: the third must not see that. */
static void test_still_shared(const char *desc, int gone, bool pte_mapped)
{
	const int writer = (gone + 1) % 3, reader = (gone + 2) % 3;
	int ret, copied;

	log_test_start("still shared, %s, writes: %d, reads: %d", desc, writer, reader);
	ret = start(3, pte_mapped);
	if (ret == KSFT_PASS && leave(gone, LEAVE_MUNMAP)) {
		ksft_print_msg("Process %d failed to leave\n", gone);
		ret = KSFT_FAIL;
	}
	if (ret != KSFT_PASS) {
		log_test_result(ret);
		goto out;
	}
	copied = tell(writer, CMD_WRITE);
	if (copied != nr_pages)
		ksft_print_msg("%d of %u pages were copied\n", copied, nr_pages);
	if (tell(reader, CMD_CHECK)) {
		ksft_print_msg("The write is visible to somebody else\n");
		copied = -1;
	}
	log_test_result(copied == nr_pages ? KSFT_PASS : KSFT_FAIL);
out:
	finish(3);
}

static const int orders_of_three[][3] = {
	{ 0, 1, 2 }, { 1, 0, 2 }, { 0, 2, 1 }, { 2, 0, 1 }, { 1, 2, 0 }, { 2, 1, 0 },
};

#define NR_MANY 4
#define TESTS_PER_MODE (ARRAY_SIZE(orders_of_three) * NR_LEAVE + 3 + NR_MANY)

static void run_mode(bool pte_mapped)
{
	const char *desc_mode = pte_mapped ? "PTE-mapped" : "PMD-mapped";
	int order[MAX_PROCS];
	char desc[64];
	int how, i, j, k;

	snprintf(desc, sizeof(desc), "%s %zu KiB", desc_mode, thpsize / 1024);
	for (how = 0; how < NR_LEAVE; how++)
		for (i = 0; i < ARRAY_SIZE(orders_of_three); i++)
			test_last_one(desc, 3, orders_of_three[i], how, pte_mapped);
	for (i = 0; i < 3; i++)
		test_still_shared(desc, i, pte_mapped);

	for (k = 0; k < NR_MANY; k++) {
		for (i = 0; i < MAX_PROCS; i++) {
			j = random() % (i + 1);
			order[i] = order[j];
			order[j] = i;
		}
		test_last_one(desc, MAX_PROCS, order, k % NR_LEAVE, pte_mapped);
	}
}

int main(void)
{
	struct thp_settings settings;
	unsigned long orders;
	int order, nr_modes;

	ksft_print_header();
	if (!thp_available())
		ksft_exit_skip("Transparent hugepages are not available\n");
	if (geteuid())
		ksft_exit_skip("Need root to read PFNs from the pagemap\n");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		ksft_exit_fail_perror("PR_SET_CHILD_SUBREAPER");

	/* A process that is not there does not read what we tell it. */
	signal(SIGPIPE, SIG_IGN);

	thp_save_settings();
	pagesize = getpagesize();
	pmdsize = read_pmd_pagesize();
	orders = thp_supported_orders() | 1UL << sz2ord(pmdsize, pagesize);
	/* The PMD size is tested mapped in both ways. */
	nr_modes = __builtin_popcountl(orders) + 1;
	ksft_set_plan(nr_modes * TESTS_PER_MODE);
	ksft_print_msg("[INFO] seed: %d\n", SEED);
	srandom(SEED);
	thp_read_settings(&settings);
	settings.thp_enabled = THP_MADVISE;
	settings.thp_defrag = THP_DEFRAG_ALWAYS;
	for (int i = 0; i < NR_ORDERS; i++)
		settings.hugepages[i].enabled = THP_NEVER;
	thp_push_settings(&settings);

	for (order = 0; orders >> order; order++) {
		if (!(orders & 1UL << order))
			continue;
		thpsize = pagesize << order;
		nr_pages = 1U << order;

		settings.hugepages[order].enabled = THP_MADVISE;
		thp_push_settings(&settings);
		settings.hugepages[order].enabled = THP_NEVER;

		run_mode(true);
		if (thpsize == pmdsize)
			run_mode(false);
		thp_pop_settings();
	}

	ksft_finished();
}
