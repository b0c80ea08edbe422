// SPDX-License-Identifier: GPL-2.0-only
/*
 * What does the kernel know about who maps which parts of a large folio?
 *
 * First, is a large anon folio mapped by one process only? Several processes
 * share a folio after fork(), and all but one stop mapping it, in any order.
 * When the one that is left writes, nobody else can be interested in the old
 * content any more: its page tables must still map the very same pages
 * afterwards. As long as there is another process, on the other hand, the pages
 * must be copied, and that process must not see what gets written.
 *
 * Second, processes map, unmap, move, copy and lose parts of a folio. After each
 * step, everything that the kernel tells about mappings must agree with what the
 * page tables of all the processes contain.
 *
 * Third, reclaim has to find pages of an anon folio that nobody maps any more.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "hugepage_settings.h"
#include "kselftest.h"
#include "vm_util.h"

#define MANY_PROCS	8
#define MAX_PROCS	18
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

/*
 * What a process can be told to do with a range of its memory; the answer is a
 * number, negative: failed.
 */
enum cmd {
	CMD_END,
	CMD_EXIT,
	CMD_NOP,
	CMD_MAP,
	CMD_FAULT,
	CMD_SETTLE,	/* Returns what the test should return. */
	CMD_FORK,	/* Returns the PID of the child, which serves as well. */
	CMD_MUNMAP,
	CMD_MADVISE,
	CMD_MPROTECT,
	CMD_MLOCK,
	CMD_MREMAP,
	CMD_READ,
	CMD_STORE,	/* Writes what is expected there afterwards. */
	CMD_UFFD,
	CMD_CONTINUE,
	CMD_WRITE,	/* Returns the number of pages that were replaced. */
	CMD_CHECK,	/* Returns the number of pages with unexpected content. */
	CMD_VERIFY,	/* The same, for pages in all places. */
	CMD_PUNCH,	/* Not for a process, but for the file. */
	CMD_TRUNCATE,
};

struct msg {
	enum cmd cmd;
	char *addr;
	size_t size;
	long arg;
};

struct proc {
	int cmd[2];
	int reply[2];
	int pidfd;
	pid_t pid;
	bool present;
};

/* Flags, as a use case is for several of them. */
enum type {
	TYPE_ANON = 0x1,
	TYPE_SHMEM = 0x2,
	TYPE_SHMEM_PRIVATE = 0x4,
	TYPE_FILE = 0x8,
};

static const char * const type_names[] = {
	[TYPE_ANON] = "anon",
	[TYPE_SHMEM] = "shmem",
	[TYPE_SHMEM_PRIVATE] = "private shmem",
	[TYPE_FILE] = "file",
};

/* Where in the address space; a folio that straddles is in two page tables. */
enum place {
	HOME,
	STRADDLE,
	AWAY,
	NR_PLACES,
};

static struct proc procs[MAX_PROCS];
static int nr_procs;
static size_t pagesize, pmdsize;
static unsigned int nr_pages;
static size_t thpsize;
static enum type type;
static bool pmd_mapped;
static int mem_fd = -1;
static char *arena;
static size_t arena_size;
static char *mem;
static char *places[NR_PLACES];
static char *file_content;
static int uffd;
/* Shared with all processes: the content of each page, 0 if not of interest. */
static unsigned char *wanted;

static unsigned char *want(int who, enum place place)
{
	return wanted + (who * NR_PLACES + place) * (pmdsize / pagesize);
}

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

static char pattern(unsigned int page, unsigned char version)
{
	return ((page * 7 + version * 11) & 0x7f) | 0x80;
}

/* Everything about the folio except for its allocation. */
static int map_folio(void)
{
	int flags = MAP_FIXED;

	if (type == TYPE_ANON)
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	else
		flags |= type == TYPE_SHMEM_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
	if (mmap(mem, thpsize, PROT_READ | PROT_WRITE, flags, mem_fd, 0) == MAP_FAILED)
		return -1;
	if (type == TYPE_ANON)
		return madvise(mem, thpsize, MADV_HUGEPAGE);
	/* No PMD maps across two VMAs. */
	return pmd_mapped ? 0 : madvise(mem, pagesize, MADV_DONTDUMP);
}

static int fault_folio(void)
{
	if (type == TYPE_ANON) {
		mem[0] = 1;
		return 0;
	}
	/* A single write, so that the page cache knows how much is to come. */
	return pwrite(mem_fd, file_content, thpsize, 0) == thpsize ? 0 : -1;
}

/*
 * A folio of our size, and nothing that khugepaged works on. Returns what the test
 * should return if that does not work.
 */
static int settle_folio(int pagemap_fd)
{
	unsigned long pfn;
	unsigned int i;

	if (type == TYPE_ANON && madvise(mem, thpsize, MADV_NOHUGEPAGE))
		return KSFT_FAIL;
	if (type != TYPE_ANON)
		force_read_pages(mem, nr_pages, pagesize);
	if (type != TYPE_ANON && !pmd_mapped && madvise(mem, pagesize, MADV_DODUMP))
		return KSFT_FAIL;

	/* There may not be enough contiguous memory. */
	pfn = pagemap_get_pfn(pagemap_fd, mem);
	if (!pfn || pfn % nr_pages)
		return KSFT_SKIP;
	for (i = 0; i < nr_pages; i++)
		if (pagemap_get_pfn(pagemap_fd, mem + i * pagesize) != pfn + i)
			return KSFT_SKIP;
	if (type != TYPE_ANON)
		return KSFT_PASS;

	/* Changing the protection of a single page splits the PMD. */
	if (!pmd_mapped &&
	    (mprotect(mem, pagesize, PROT_READ) ||
	     mprotect(mem, pagesize, PROT_READ | PROT_WRITE)))
		return KSFT_FAIL;
	for (i = 0; i < nr_pages; i++)
		mem[i * pagesize] = content(i, false);
	return KSFT_PASS;
}

static int store(int me, const struct msg *msg)
{
	enum place place;
	unsigned int i;

	for (place = 0; place < NR_PLACES; place++)
		for (i = 0; i < nr_pages; i++) {
			char *addr = places[place] + i * pagesize;

			if (addr >= msg->addr && addr < msg->addr + msg->size)
				*addr = want(me, place)[i];
		}
	return 0;
}

static int verify(int me)
{
	enum place place;
	unsigned int i;
	int count = 0;

	for (place = 0; place < NR_PLACES; place++)
		for (i = 0; i < nr_pages; i++) {
			const unsigned char byte = want(me, place)[i];

			if (byte && (unsigned char)places[place][i * pagesize] != byte)
				count++;
		}
	return count;
}

/* Not every architecture has minor faults. */
static bool open_minor(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MINOR_SHMEM,
	};

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	return uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) &&
	       api.features & UFFD_FEATURE_MINOR_SHMEM;
}

static bool have_minor(void)
{
	const bool have = open_minor();

	if (uffd >= 0)
		close(uffd);
	return have;
}

static int register_minor(const struct msg *msg)
{
	if (!open_minor())
		return -1;
	return uffd_register(uffd, msg->addr, msg->size, false, false, true);
}

/* Page by page, and backwards: the next page to map is never where we look. */
static int continue_pages(const struct msg *msg)
{
	char *addr = msg->addr + msg->size;

	while (addr > msg->addr) {
		struct uffdio_continue cont = {
			.range.start = (uintptr_t)(addr -= pagesize),
			.range.len = pagesize,
		};

		if (ioctl(uffd, UFFDIO_CONTINUE, &cont) || cont.mapped != pagesize)
			return -1;
	}
	return 0;
}

/* Serves until told to exit. Never returns. */
static void serve(int me)
{
	int pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
	bool written = false;
	struct msg msg;
	int ret;

	signal(SIGCHLD, SIG_IGN);
	while (read(procs[me].cmd[0], &msg, sizeof(msg)) == sizeof(msg)) {
		ret = 0;
		switch (msg.cmd) {
		case CMD_NOP:
			break;
		case CMD_MAP:
			ret = map_folio();
			break;
		case CMD_FAULT:
			ret = fault_folio();
			break;
		case CMD_SETTLE:
			ret = settle_folio(pagemap_fd);
			break;
		case CMD_FORK:
			ret = fork();
			if (ret)
				break;
			me = msg.arg;
			close(pagemap_fd);
			pagemap_fd = open("/proc/self/pagemap", O_RDONLY);
			continue;
		case CMD_MUNMAP:
			ret = munmap(msg.addr, msg.size);
			break;
		case CMD_MADVISE:
			ret = madvise(msg.addr, msg.size, msg.arg);
			break;
		case CMD_MPROTECT:
			ret = mprotect(msg.addr, msg.size, msg.arg);
			break;
		case CMD_MLOCK:
			ret = mlock2(msg.addr, msg.size, MLOCK_ONFAULT);
			break;
		case CMD_MREMAP:
			if (mremap(msg.addr, msg.size, msg.size,
				   MREMAP_MAYMOVE | MREMAP_FIXED,
				   (char *)msg.arg) == MAP_FAILED)
				ret = -1;
			break;
		case CMD_READ:
			force_read_pages(msg.addr, msg.size / pagesize, pagesize);
			break;
		case CMD_STORE:
			ret = store(me, &msg);
			break;
		case CMD_UFFD:
			ret = register_minor(&msg);
			break;
		case CMD_CONTINUE:
			ret = continue_pages(&msg);
			break;
		case CMD_WRITE:
			ret = write_all(pagemap_fd);
			written = true;
			break;
		case CMD_CHECK:
			ret = count_unexpected(written);
			break;
		case CMD_VERIFY:
			ret = verify(me);
			break;
		default:
			_exit(0);
		}
		if (write(procs[me].reply[1], &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	_exit(1);
}

/* A process that exits answers by that, after its MM is gone. */
static int tell_range(int who, enum cmd cmd, void *addr, size_t size, long arg)
{
	struct pollfd fds[] = {
		{ .fd = procs[who].reply[0], .events = POLLIN },
		{ .fd = procs[who].pidfd, .events = POLLIN },
	};
	const struct msg msg = {
		.cmd = cmd,
		.addr = addr,
		.size = size,
		.arg = arg,
	};
	int ret = -1;

	if (cmd == CMD_EXIT)
		procs[who].present = false;
	if (write(procs[who].cmd[1], &msg, sizeof(msg)) != sizeof(msg))
		return -1;
	while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		if (errno != EINTR)
			return -1;
	if (!(fds[0].revents & POLLIN)) {
		procs[who].present = false;
		return cmd == CMD_EXIT ? 0 : -1;
	}
	if (read(procs[who].reply[0], &ret, sizeof(ret)) != sizeof(ret))
		return -1;
	return ret;
}

static int tell(int who, enum cmd cmd)
{
	return tell_range(who, cmd, NULL, 0, 0);
}

static int add_proc(pid_t pid)
{
	struct proc *proc = procs + nr_procs;

	if (pid <= 0)
		return -1;
	proc->pid = pid;
	proc->pidfd = syscall(__NR_pidfd_open, pid, 0);
	if (proc->pidfd < 0)
		ksft_exit_fail_perror("pidfd_open");
	proc->present = true;
	nr_procs++;
	return 0;
}

/* The new process has the number nr_procs. */
static int fork_proc(int parent)
{
	return add_proc(tell_range(parent, CMD_FORK, NULL, 0, nr_procs));
}

/* The first process, which has all others as descendants. */
static void start_first(void)
{
	pid_t pid;
	int i;

	for (i = 0; i < MAX_PROCS; i++)
		if (pipe(procs[i].cmd) || pipe(procs[i].reply))
			ksft_exit_fail_perror("pipe");

	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid) {
		/* They should all exit if we do. */
		for (i = 0; i < MAX_PROCS; i++)
			close(procs[i].cmd[1]);
		serve(0);
	}
	nr_procs = 0;
	add_proc(pid);
}

static int start_sharing(int nr, bool pte_mapped)
{
	int ret = KSFT_FAIL;

	type = TYPE_ANON;
	pmd_mapped = !pte_mapped;
	start_first();
	if (!tell(0, CMD_MAP) && !tell(0, CMD_FAULT))
		ret = tell(0, CMD_SETTLE);
	while (ret == KSFT_PASS && nr_procs < nr)
		if (fork_proc(0))
			ret = KSFT_FAIL;
	if (ret != KSFT_PASS)
		ksft_print_msg("Could not set up the processes and the folio\n");
	return ret;
}

static void finish(void)
{
	int i;

	/* Skipped? */
	if (!nr_procs)
		return;
	for (i = 0; i < nr_procs; i++) {
		if (procs[i].present)
			tell(i, CMD_EXIT);
		close(procs[i].pidfd);
	}
	for (i = 0; i < MAX_PROCS; i++) {
		close(procs[i].cmd[0]);
		close(procs[i].cmd[1]);
		close(procs[i].reply[0]);
		close(procs[i].reply[1]);
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
		[LEAVE_DONTNEED] = CMD_MADVISE,
	};

	return tell_range(who, cmds[how], mem, thpsize, MADV_DONTNEED);
}

/* All but the last in @order leave; nothing is shared then. */
static void test_last_one(const char *desc, int nr, const int *order,
			  enum leave how, bool pte_mapped)
{
	char order_str[2 * MANY_PROCS + 1] = "";
	int i, ret, copied, last = order[nr - 1];

	for (i = 0; i < nr; i++)
		sprintf(order_str + 2 * i, " %d", order[i]);
	log_test_start("last of%s, %s, %s", order_str, desc, leave_names[how]);
	ret = start_sharing(nr, pte_mapped);
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
	finish();
}

/* One of three leaves, another one writes: the third must not see that. */
static void test_still_shared(const char *desc, int gone, bool pte_mapped)
{
	const int writer = (gone + 1) % 3, reader = (gone + 2) % 3;
	int ret, copied;

	log_test_start("still shared, %s, writes: %d, reads: %d", desc, writer, reader);
	ret = start_sharing(3, pte_mapped);
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
	finish();
}

static const int orders_of_three[][3] = {
	{ 0, 1, 2 }, { 1, 0, 2 }, { 0, 2, 1 }, { 2, 0, 1 }, { 1, 2, 0 }, { 2, 1, 0 },
};

#define NR_MANY 4
#define TESTS_PER_MODE (ARRAY_SIZE(orders_of_three) * NR_LEAVE + 3 + NR_MANY)

static void run_mode(bool pte_mapped)
{
	const char *desc_mode = pte_mapped ? "PTE-mapped" : "PMD-mapped";
	int order[MANY_PROCS];
	char desc[64];
	int how, i, j, k;

	snprintf(desc, sizeof(desc), "%s %zu KiB", desc_mode, thpsize / 1024);
	for (how = 0; how < NR_LEAVE; how++)
		for (i = 0; i < ARRAY_SIZE(orders_of_three); i++)
			test_last_one(desc, 3, orders_of_three[i], how, pte_mapped);
	for (i = 0; i < 3; i++)
		test_still_shared(desc, i, pte_mapped);

	for (k = 0; k < NR_MANY; k++) {
		for (i = 0; i < MANY_PROCS; i++) {
			j = random() % (i + 1);
			order[i] = order[j];
			order[j] = i;
		}
		test_last_one(desc, MANY_PROCS, order, k % NR_LEAVE, pte_mapped);
	}
}

enum aspect {
	STATISTICS,
	SMAPS,
	PAGEMAP,
	KPAGECOUNT,
	CONTENT,
	NR_ASPECTS,
};

static const char * const aspect_names[NR_ASPECTS] = {
	[STATISTICS] = "statistics",
	[SMAPS] = "smaps",
	[PAGEMAP] = "pagemap",
	[KPAGECOUNT] = "kpagecount",
	[CONTENT] = "content",
};

/* What one process must see in a page; 0: nothing, or what is in the file. */
struct page_model {
	unsigned char version;
	/* Written, without having been copied, since the last fork(). */
	bool exclusive;
};

/* What the page tables tell about a page of the folio. */
struct page_truth {
	unsigned int mappings;
	unsigned int mappers;	/* One bit per process */
};

struct step {
	int who;
	enum cmd cmd;
	enum place place;
	/* In sixteenths of the folio. */
	int first;
	int nr;
	long arg;
	/* Then the range before that one, and so on. */
	int times;
};

#define CGROUP_ROOT	"/sys/fs/cgroup"
#define ALL		(-1)
#define MAX_STEPS	16

/* Have memory of the cgroup reclaimed: on demand, by a limit, or as part of all. */
enum pressure { PRESSURE_CGROUP, PRESSURE_LIMIT, PRESSURE_ALL };

struct usecase {
	const char *name;
	unsigned int types;
	struct step steps[MAX_STEPS];
	enum pressure pressure;
	bool locked;	/* The folio cannot be reclaimed. */
	bool minor;	/* CMD_UFFD is one of the steps. */
};

static struct page_model *model[MAX_PROCS];
static unsigned char *file_version;
static bool *page_gone;
static unsigned char last_version;
static struct page_truth *truth;
static unsigned int folio_mappers;
static uint64_t *entries, *kpagecounts;
static unsigned long folio_pfn;
static int kpagecount_fd;
static char failed[NR_ASPECTS][256];
static char step_name[64];
/* Can more pages be mapped than there were? */
static bool may_grow;
static long last_statistic;
static const char *skip_reason, *file_dir;
static const char *no_cgroup_reason;
static char cgroup_home[PATH_MAX], cgroup_top[64];
static char cgroup_test[80], cgroup_flush[80];
static char *flush_area;

static __printf(2, 3)
void fail(enum aspect aspect, const char *fmt, ...)
{
	const size_t size = sizeof(failed[aspect]);
	va_list args;
	int len;

	/* The first one tells most. */
	if (failed[aspect][0])
		return;
	len = snprintf(failed[aspect], size, "after %s: ", step_name);
	va_start(args, fmt);
	vsnprintf(failed[aspect] + len, size - len, fmt, args);
	va_end(args);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int put_string(const char *dir, const char *name, const char *string)
{
	char path[PATH_MAX + 64];
	int fd, ret;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -1;
	ret = write(fd, string, strlen(string)) == strlen(string) ? 0 : -1;
	close(fd);
	return ret;
}

static int join_cgroup(pid_t pid, const char *dir)
{
	char string[16];

	snprintf(string, sizeof(string), "%d", pid);
	return put_string(dir, "cgroup.procs", string);
}

/*
 * Statistics of a cgroup are only brought up to date, when somebody reads them,
 * after a certain number of updates. So have another folio that is charged to a
 * child cgroup be mapped and unmapped.
 */
static void flush_statistics(void)
{
	const long updates = 64 * (2 * sysconf(_SC_NPROCESSORS_CONF) + 1);
	long i;

	for (i = 0; i < updates; i += pmdsize / pagesize) {
		madvise(flush_area, pmdsize, MADV_POPULATE_READ);
		madvise(flush_area, pmdsize, MADV_DONTNEED);
	}
}

/* Returns -1 if there is no such line. */
static long read_key(const char *dir, const char *name, const char *wanted_key)
{
	char path[PATH_MAX + 64], key[64];
	long value, ret = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "r");
	if (!file)
		return -1;
	while (ret < 0 && fscanf(file, "%63s %ld", key, &value) == 2)
		if (!strcmp(key, wanted_key))
			ret = value;
	fclose(file);
	return ret;
}

/* Wait for the periodic update at most, and not for that again and again. */
static long wait_statistic(const char *name, long min, long max)
{
	static double patience = 30;
	const double start = seconds();
	const double end = start + (patience < 3 ? patience : 3);
	long value;

	do {
		flush_statistics();
		value = read_key(cgroup_top, "memory.stat", name);
		/* No such line is no number of pages. */
		if (value > 0)
			value /= (long)pagesize;
	} while ((value < min || value > max) && seconds() < end);
	if (value < min || value > max)
		patience -= seconds() - start;
	return value;
}

static const char *mapped_name(void)
{
	return type == TYPE_ANON ? "anon" : "file_mapped";
}

static const char *setup_cgroup(void)
{
	char buf[PATH_MAX], *line;
	int fd, ret;

	if (!read_file(CGROUP_ROOT "/cgroup.controllers", buf, sizeof(buf)) ||
	    !strstr(buf, "memory"))
		return "no memory controller in " CGROUP_ROOT;
	if (!read_file("/proc/self/cgroup", buf, sizeof(buf)))
		return "no cgroups";
	line = strstr(buf, "0::");
	if (!line)
		return "not in a cgroup";
	line[strcspn(line, "\n")] = 0;
	snprintf(cgroup_home, sizeof(cgroup_home), CGROUP_ROOT "%.2000s", line + 3);
	snprintf(cgroup_top, sizeof(cgroup_top), CGROUP_ROOT "/folio_mapcount.%d", getpid());
	put_string(CGROUP_ROOT, "cgroup.subtree_control", "+memory");
	if (mkdir(cgroup_top, 0755))
		return "cannot make a cgroup";
	if (put_string(cgroup_top, "cgroup.subtree_control", "+memory"))
		return "cannot use the memory controller";
	snprintf(cgroup_test, sizeof(cgroup_test), "%s/test", cgroup_top);
	snprintf(cgroup_flush, sizeof(cgroup_flush), "%s/flush", cgroup_top);
	if (mkdir(cgroup_test, 0755) || mkdir(cgroup_flush, 0755) ||
	    join_cgroup(getpid(), cgroup_flush))
		return "cannot use a cgroup";

	fd = memfd_create("flush", 0);
	ret = fd < 0 || ftruncate(fd, pmdsize) || fallocate(fd, 0, 0, pmdsize);
	if (join_cgroup(getpid(), cgroup_home) || ret)
		return "cannot charge memory to a cgroup";
	flush_area = mmap(NULL, pmdsize, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (flush_area == MAP_FAILED) {
		flush_area = NULL;
		return "cannot map memory";
	}
	return NULL;
}

/*
 * A cgroup goes away in the background, and patches the code of the page allocator
 * if it was the last one with a cpuset. Have that done when we are.
 */
static void remove_cgroup(void)
{
	const char *key = "nr_dying_subsys_cpuset";
	const long before = read_key(CGROUP_ROOT, "cgroup.stat", key);
	const double end = seconds() + 3;

	if (flush_area)
		munmap(flush_area, pmdsize);
	rmdir(cgroup_test);
	rmdir(cgroup_flush);
	rmdir(cgroup_top);
	while (read_key(CGROUP_ROOT, "cgroup.stat", key) > before && seconds() < end)
		poll(NULL, 0, 10);
}

static uint64_t *entry(int who, enum place place)
{
	return entries + (who * NR_PLACES + place) * (pmdsize / pagesize);
}

static bool in_folio(uint64_t entry)
{
	const unsigned long pfn = PAGEMAP_PFN(entry);

	return PAGEMAP_PRESENT(entry) && pfn >= folio_pfn && pfn < folio_pfn + nr_pages;
}

static void read_entries(int who)
{
	const size_t size = nr_pages * sizeof(*entries), part = size / 16 * 5;
	enum place place;
	char path[64];
	off_t pos;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", procs[who].pid);
	fd = open(path, O_RDONLY);
	for (place = 0; place < NR_PLACES; place++) {
		pos = (uintptr_t)places[place] / pagesize * sizeof(*entries);
		/* Begin in the middle of a PMD as well. */
		if (pread(fd, entry(who, place), part, pos) != part ||
		    pread(fd, entry(who, place) + part / sizeof(*entries), size - part,
			  pos + part) != size - part)
			ksft_exit_fail_perror(path);
	}
	close(fd);
}

/* Read what all page tables contain. */
static void look(void)
{
	enum place place;
	unsigned int i;
	int who;

	memset(truth, 0, nr_pages * sizeof(*truth));
	folio_mappers = 0;
	for (who = 0; who < nr_procs; who++) {
		memset(entry(who, 0), 0, NR_PLACES * pmdsize / pagesize * sizeof(*entries));
		if (!procs[who].present)
			continue;
		read_entries(who);
		for (place = 0; place < NR_PLACES; place++)
			for (i = 0; i < nr_pages; i++) {
				const uint64_t pme = entry(who, place)[i];
				const unsigned long page = PAGEMAP_PFN(pme) - folio_pfn;

				if (!in_folio(pme) || page_gone[page])
					continue;
				truth[page].mappings++;
				truth[page].mappers |= 1U << who;
				folio_mappers |= 1U << who;
			}
	}
}

/* How often is a page that is not part of the folio mapped? */
static unsigned int count_copies(uint64_t pme, unsigned int page)
{
	unsigned int count = 0;
	enum place place;
	int who;

	for (who = 0; who < nr_procs; who++)
		for (place = 0; place < NR_PLACES; place++)
			if (PAGEMAP_PRESENT(entry(who, place)[page]) &&
			    PAGEMAP_PFN(entry(who, place)[page]) == PAGEMAP_PFN(pme))
				count++;
	return count;
}

/* A page that a process maps: what must be, and what must not be. */
struct verdict {
	bool private;
	bool shared;
	unsigned int mappings;	/* 0 if others need not know */
};

static struct verdict judge(int who, uint64_t pme, unsigned int page, bool uniform)
{
	struct verdict verdict = {};

	if (!in_folio(pme)) {
		verdict.mappings = count_copies(pme, page);
		verdict.private = verdict.mappings == 1;
		verdict.shared = !verdict.private;
		return verdict;
	}
	page = PAGEMAP_PFN(pme) - folio_pfn;
	verdict.private = folio_mappers == 1U << who || model[who][page].exclusive;
	verdict.shared = truth[page].mappers != 1U << who;
	if (verdict.private || uniform)
		verdict.mappings = truth[page].mappings;
	return verdict;
}

/* Are all pages mapped equally often? The average is the right number then. */
static bool is_uniform(void)
{
	unsigned int i;

	for (i = 1; i < nr_pages; i++)
		if (truth[i].mappings != truth[0].mappings)
			return false;
	return true;
}

/* @pmds: How many PMDs map the folio */
static void check_statistics(unsigned int pmds)
{
	long min = 0, max = 0, value;
	unsigned int i;

	if (no_cgroup_reason || failed[STATISTICS][0])
		return;
	for (i = 0; i < nr_pages; i++) {
		min += truth[i].mappings > 0;
		max += truth[i].mappings;
	}
	/* So it is exact unless there is a page that is mapped twice. */
	if (max > (may_grow ? nr_pages : last_statistic))
		max = may_grow ? nr_pages : last_statistic;
	value = wait_statistic(mapped_name(), min, max);
	if (value < min || value > max)
		fail(STATISTICS, "%ld pages mapped, not %ld to %ld", value, min, max);
	last_statistic = value;

	if (type != TYPE_ANON)
		return;
	max = pmds ? nr_pages : 0;
	value = wait_statistic("anon_thp", max, max);
	if (value != max)
		fail(STATISTICS, "%ld pages mapped by PMDs, not %ld", value, max);
}

static void check_pagemap(int who, bool uniform)
{
	unsigned int i, wrong = 0, first = 0;
	enum place place;

	for (place = 0; place < NR_PLACES; place++)
		for (i = 0; i < nr_pages; i++) {
			const uint64_t pme = entry(who, place)[i];
			const struct verdict verdict = judge(who, pme, i, uniform);

			if (!PAGEMAP_PRESENT(pme))
				continue;
			if (pme & PM_MMAP_EXCLUSIVE ? !verdict.shared : !verdict.private)
				continue;
			if (!wrong++)
				first = i;
		}
	if (wrong)
		fail(PAGEMAP, "process %d: %u pages, first %u, wrong in bit 56",
		     who, wrong, first);
}

/* Returns the number of pages with the wrong count. */
static int compare_kpagecounts(unsigned int *first)
{
	const size_t size = nr_pages * sizeof(*kpagecounts);
	unsigned int i;
	int wrong = 0;

	if (pread(kpagecount_fd, kpagecounts, size,
		  folio_pfn * sizeof(*kpagecounts)) != size)
		ksft_exit_fail_perror("/proc/kpagecount");
	for (i = 0; i < nr_pages; i++)
		if (!page_gone[i] && kpagecounts[i] != truth[i].mappings && !wrong++)
			*first = i;
	return wrong;
}

static void check_kpagecount(void)
{
	unsigned int first = 0;
	int tries = 10;
	int wrong;

	/* Only an average is available while the kernel works on the folio. */
	do {
		wrong = compare_kpagecounts(&first);
	} while (wrong && --tries);
	if (wrong)
		fail(KPAGECOUNT, "%d pages wrong, first %u: mapped %u times, not %u", wrong,
		     first, truth[first].mappings, (unsigned int)kpagecounts[first]);
}

struct smaps {
	long rss, pss, private, pmd;
	int vmas;
};

static void parse_smaps_line(const char *line, struct smaps *smaps)
{
	static const struct {
		const char *key;
		size_t offset;
	} keys[] = {
		{ "Rss:", offsetof(struct smaps, rss) },
		{ "Pss:", offsetof(struct smaps, pss) },
		{ "Private_Clean:", offsetof(struct smaps, private) },
		{ "Private_Dirty:", offsetof(struct smaps, private) },
		{ "AnonHugePages:", offsetof(struct smaps, pmd) },
		{ "ShmemPmdMapped:", offsetof(struct smaps, pmd) },
		{ "FilePmdMapped:", offsetof(struct smaps, pmd) },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strncmp(line, keys[i].key, strlen(keys[i].key)))
			*(long *)((char *)smaps + keys[i].offset) +=
				strtol(line + strlen(keys[i].key), NULL, 10) * 1024;
	/* Only those that contain anything. */
	smaps->vmas += !strncmp(line, "Rss:", 4) && !strstr(line, " 0 kB");
}

/* What smaps tells about the VMAs in the arena, and about all of them. */
static void read_smaps(int who, struct smaps *ours, struct smaps *all)
{
	bool in_arena = false;
	unsigned long start;
	char line[512];
	FILE *file;
	char *end;

	memset(ours, 0, sizeof(*ours));
	memset(all, 0, sizeof(*all));
	snprintf(line, sizeof(line), "/proc/%d/smaps", procs[who].pid);
	file = fopen(line, "r");
	if (!file)
		ksft_exit_fail_perror(line);
	while (fgets(line, sizeof(line), file)) {
		start = strtoul(line, &end, 16);
		if (end != line && *end == '-') {
			in_arena = start >= (uintptr_t)arena &&
				   start < (uintptr_t)arena + arena_size;
			continue;
		}
		parse_smaps_line(line, all);
		if (in_arena)
			parse_smaps_line(line, ours);
	}
	fclose(file);
}

static void read_rollup(int who, struct smaps *rollup)
{
	char line[256];
	FILE *file;

	memset(rollup, 0, sizeof(*rollup));
	snprintf(line, sizeof(line), "/proc/%d/smaps_rollup", procs[who].pid);
	file = fopen(line, "r");
	if (!file)
		ksft_exit_fail_perror(line);
	while (fgets(line, sizeof(line), file))
		parse_smaps_line(line, rollup);
	fclose(file);
}

/* The largest mapmax of the VMAs in the arena, or -1 without numa_maps. */
static int read_mapmax(int who)
{
	unsigned long start;
	char line[4096], *word;
	int max = 1;
	FILE *file;

	snprintf(line, sizeof(line), "/proc/%d/numa_maps", procs[who].pid);
	file = fopen(line, "r");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		start = strtoul(line, NULL, 16);
		word = strstr(line, " mapmax=");
		if (word && start >= (uintptr_t)arena &&
		    start < (uintptr_t)arena + arena_size && atoi(word + 8) > max)
			max = atoi(word + 8);
	}
	fclose(file);
	return max;
}

/* The PSS of each VMA is rounded down to KiB. */
static bool is_sum(const struct smaps *rollup, const struct smaps *all)
{
	return rollup->rss == all->rss && rollup->private == all->private &&
	       rollup->pss >= all->pss && rollup->pss <= all->pss + all->vmas * 1024;
}

/* Returns whether the process maps the folio by a PMD. */
static bool check_smaps(int who, bool uniform)
{
	long pages = 0, private_pages = 0, shared_pages = 0;
	unsigned int i, max = 1, folio_max = 1;
	struct smaps ours, all, rollup;
	double pss_min = 0, pss_max = 0;
	enum place place;
	bool known = true;
	int mapmax;

	for (i = 0; i < nr_pages; i++)
		if (truth[i].mappings > folio_max)
			folio_max = truth[i].mappings;

	for (place = 0; place < NR_PLACES; place++)
		for (i = 0; i < nr_pages; i++) {
			const uint64_t pme = entry(who, place)[i];
			const struct verdict verdict = judge(who, pme, i, uniform);

			if (!PAGEMAP_PRESENT(pme))
				continue;
			pages++;
			private_pages += verdict.private;
			shared_pages += verdict.shared;
			known &= !!verdict.mappings;
			if (verdict.mappings > max)
				max = verdict.mappings;
			pss_min += (double)pagesize / (verdict.mappings ?: folio_max);
			pss_max += (double)pagesize / (verdict.mappings ?: 1);
		}

	/* Others keep mapping pages of the program itself. */
	for (i = 0; i < 10; i++) {
		read_smaps(who, &ours, &all);
		read_rollup(who, &rollup);
		if (is_sum(&rollup, &all))
			break;
	}
	if (i == 10)
		fail(SMAPS, "process %d: smaps_rollup is not the sum of smaps", who);

	if (ours.rss != pages * pagesize)
		fail(SMAPS, "process %d: RSS is %ld KiB, not %ld", who, ours.rss / 1024,
		     pages * pagesize / 1024);
	if (ours.private < private_pages * pagesize ||
	    ours.private > (pages - shared_pages) * pagesize)
		fail(SMAPS, "process %d: USS is %ld KiB, not %ld to %ld", who,
		     ours.private / 1024, private_pages * pagesize / 1024,
		     (pages - shared_pages) * pagesize / 1024);
	if (ours.pss + ours.vmas * 1024 < pss_min || ours.pss > pss_max)
		fail(SMAPS, "process %d: PSS is %ld KiB, not %ld to %ld", who,
		     ours.pss / 1024, (long)pss_min / 1024, (long)pss_max / 1024);

	mapmax = read_mapmax(who);
	if (known && mapmax >= 0 && mapmax != max)
		fail(SMAPS, "process %d: mapmax is %d, not %u", who, mapmax, max);
	return ours.pmd > 0;
}

/* Does each process map what it has to, and see what it has to? */
static void check_content(int who)
{
	unsigned int i, mapped;
	unsigned char version;
	enum place place;
	int wrong;

	for (i = 0; i < nr_pages; i++) {
		mapped = 0;
		for (place = 0; place < NR_PLACES; place++) {
			const uint64_t pme = entry(who, place)[i];

			want(who, place)[i] = 0;
			if (!PAGEMAP_PRESENT(pme))
				continue;
			mapped++;
			if (in_folio(pme) && PAGEMAP_PFN(pme) != folio_pfn + i)
				fail(CONTENT, "process %d: page %u is the wrong one", who, i);
			version = model[who][i].version ?: file_version[i];
			want(who, place)[i] = version ? pattern(i, version) : 0;
		}
		if (type == TYPE_ANON && mapped != !!model[who][i].version)
			fail(CONTENT, "process %d maps page %u %u times", who, i, mapped);
	}
	wrong = tell(who, CMD_VERIFY);
	if (wrong)
		fail(CONTENT, "process %d: %d pages with wrong content", who, wrong);
}

static void check_all(void)
{
	unsigned int pmds = 0;
	bool uniform;
	int who;

	look();
	uniform = is_uniform();
	for (who = 0; who < nr_procs; who++) {
		if (!procs[who].present)
			continue;
		check_content(who);
		check_pagemap(who, uniform);
		pmds += check_smaps(who, uniform);
	}
	check_kpagecount();
	check_statistics(pmds);
}

static void range_of(const struct step *step, int back, unsigned int *first,
		     unsigned int *end)
{
	*first = (step->first - back) * (nr_pages / 16);
	*end = *first + step->nr * (nr_pages / 16);
}

static int do_fork(int parent)
{
	const int child = nr_procs;
	unsigned int i;
	enum place place;

	if (fork_proc(parent))
		return -1;
	look();
	for (i = 0; i < nr_pages; i++) {
		model[child][i] = (struct page_model){};
		for (place = 0; place < NR_PLACES; place++) {
			if (!PAGEMAP_PRESENT(entry(child, place)[i]))
				continue;
			model[parent][i].exclusive = false;
			model[child][i] = model[parent][i];
		}
	}
	return 0;
}

/* Must it write to the page itself, to a copy of it, or don't we know? */
static void check_store(int who, unsigned int page, uint64_t before, uint64_t after)
{
	const bool same = in_folio(before) && PAGEMAP_PFN(before) == PAGEMAP_PFN(after);
	const bool lone = folio_mappers == 1U << who;

	if (type != TYPE_ANON || !in_folio(before))
		return;
	if (same && truth[page].mappers != 1U << who)
		fail(CONTENT, "process %d: shared page %u was not copied", who, page);
	if (!same && (lone || model[who][page].exclusive))
		fail(CONTENT, "process %d: page %u was copied", who, page);
	model[who][page].exclusive = same;
}

static int do_store(int who, const struct step *step, int back)
{
	const size_t size = nr_pages * sizeof(*entries);
	uint64_t *before = malloc(size);
	unsigned int first, end, i;
	int ret;

	look();
	memcpy(before, entry(who, step->place), size);
	last_version++;
	range_of(step, back, &first, &end);
	for (i = first; i < end; i++) {
		want(who, step->place)[i] = pattern(i, last_version);
		if (type == TYPE_SHMEM || type == TYPE_FILE)
			file_version[i] = last_version;
		else
			model[who][i].version = last_version;
	}
	ret = tell_range(who, CMD_STORE, places[step->place] + first * pagesize,
			 (end - first) * pagesize, 0);
	/* The truth remains that of before. */
	read_entries(who);
	for (i = first; i < end; i++)
		check_store(who, i, before[i], entry(who, step->place)[i]);
	free(before);
	return ret;
}

static int change_file(const struct step *step, int back)
{
	unsigned int first, end, i;

	range_of(step, back, &first, &end);
	for (i = first; i < end; i++) {
		page_gone[i] = true;
		file_version[i] = 0;
	}
	if (step->cmd == CMD_TRUNCATE)
		return ftruncate(mem_fd, first * pagesize);
	return fallocate(mem_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 first * pagesize, (end - first) * pagesize);
}

static int do_step_for(int who, const struct step *step, int back)
{
	unsigned int first, end, i;
	int ret = 0;
	long arg;

	range_of(step, back, &first, &end);
	arg = step->cmd == CMD_MREMAP ? (long)places[step->arg] + first * pagesize :
		step->arg;
	switch (step->cmd) {
	case CMD_FORK:
		for (i = 0; !ret && i < step->arg; i++)
			ret = do_fork(who);
		return ret;
	case CMD_STORE:
		return do_store(who, step, back);
	case CMD_PUNCH:
	case CMD_TRUNCATE:
		return change_file(step, back);
	case CMD_MUNMAP:
	case CMD_MADVISE:
		for (i = first; i < end; i++)
			if (step->cmd == CMD_MUNMAP || step->arg == MADV_DONTNEED)
				model[who][i] = (struct page_model){};
		break;
	default:
		break;
	}
	return tell_range(who, step->cmd, places[step->place] + first * pagesize,
			  (end - first) * pagesize, arg);
}

static int do_step(const struct step *step, int nr, int back)
{
	int who, ret = 0, done = 0;

	snprintf(step_name, sizeof(step_name), "step %d.%d", nr, back);
	may_grow = step->cmd == CMD_READ || step->cmd == CMD_CONTINUE ||
		   (step->cmd == CMD_STORE && type != TYPE_ANON);
	for (who = 0; !ret && who < nr_procs; who++)
		if (procs[who].present && (step->who == ALL || step->who == who)) {
			ret = do_step_for(who, step, back);
			done++;
		}
	if (!done)
		ret = -1;
	if (ret)
		ksft_print_msg("Step %d.%d failed\n", nr, back);
	return ret;
}

/* Until they are all done or one fails. */
static int do_steps(const struct usecase *usecase, bool check)
{
	const struct step *step;
	int i, back;

	for (i = 0; i < MAX_STEPS && usecase->steps[i].cmd != CMD_END; i++) {
		step = usecase->steps + i;
		for (back = 0; back == 0 || back < step->times; back++) {
			if (do_step(step, i + 1, back))
				return KSFT_FAIL;
			if (check)
				check_all();
		}
	}
	return KSFT_PASS;
}

static int open_file(void)
{
	char path[PATH_MAX];
	int fd;

	if (type != TYPE_FILE)
		return memfd_create("folio_mapcount", 0);
	snprintf(path, sizeof(path), "%s/folio_mapcount.XXXXXX", file_dir);
	fd = mkstemp(path);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static int make_file(void)
{
	unsigned int i;

	mem_fd = open_file();
	if (mem_fd < 0 || ftruncate(mem_fd, thpsize))
		return -1;
	for (i = 0; i < nr_pages; i++) {
		file_version[i] = last_version;
		file_content[i * pagesize] = pattern(i, last_version);
	}
	return 0;
}

static void reset(void)
{
	int i;

	memset(failed, 0, sizeof(failed));
	memset(page_gone, 0, nr_pages * sizeof(*page_gone));
	memset(file_version, 0, nr_pages);
	for (i = 0; i < MAX_PROCS; i++)
		memset(model[i], 0, nr_pages * sizeof(*model[i]));
	last_version = 1;
	mem_fd = -1;
	nr_procs = 0;
	skip_reason = "";
}

/* Unless it is to @stay, the process is in the cgroup for the allocation only. */
static int allocate_folio(bool stay)
{
	/* By now, it should have a stack and data of its own. */
	if (tell(0, CMD_MAP) || tell(0, CMD_NOP))
		return -1;
	if (!no_cgroup_reason && (join_cgroup(procs[0].pid, cgroup_test)))
		return -1;
	if (tell(0, CMD_FAULT))
		return -1;
	if (!no_cgroup_reason && !stay && join_cgroup(procs[0].pid, cgroup_home))
		return -1;
	/* Nobody should write it back while we look at it. */
	return type == TYPE_FILE ? fsync(mem_fd) : 0;
}

/*
 * One process with a folio, and with nothing else that counts for the cgroup.
 * Returns what the test should return.
 */
static int start_alone(bool stay)
{
	static const struct step store_all = { 0, CMD_STORE, HOME, 0, 16 };
	struct smaps ours, all;
	unsigned int i;
	int ret;

	if (type == TYPE_FILE && !file_dir) {
		skip_reason = "no directory of a file system with large folios";
		return KSFT_SKIP;
	}
	if (type != TYPE_ANON && make_file()) {
		ksft_perror("cannot make a file");
		return KSFT_FAIL;
	}
	if (!no_cgroup_reason && !stay && wait_statistic(mapped_name(), 0, 0)) {
		ksft_print_msg("Something else is in the cgroup\n");
		return KSFT_FAIL;
	}
	start_first();
	if (allocate_folio(stay))
		return KSFT_FAIL;
	ret = tell(0, CMD_SETTLE);
	if (ret == KSFT_SKIP)
		skip_reason = "no large folio of that size";
	if (ret != KSFT_PASS)
		return ret;

	read_entries(0);
	folio_pfn = PAGEMAP_PFN(entry(0, HOME)[0]);
	read_smaps(0, &ours, &all);
	if (ours.pmd != (pmd_mapped ? thpsize : 0)) {
		skip_reason = pmd_mapped ? "not mapped by a PMD" : "mapped by a PMD";
		return KSFT_SKIP;
	}
	if (type == TYPE_ANON) {
		for (i = 0; i < nr_pages; i++)
			model[0][i].exclusive = true;
		return do_step(&store_all, 0, 0) ? KSFT_FAIL : KSFT_PASS;
	}
	return KSFT_PASS;
}

static void report(int result, const char *desc, const char *name, const char *what)
{
	char test[256];

	snprintf(test, sizeof(test), "%s: %s: %s", desc, name, what);
	if (result == KSFT_SKIP)
		ksft_test_result_code(result, test, "%s", skip_reason);
	else
		ksft_test_result_report(result, "%s\n", test);
}

static void run_usecase(const struct usecase *usecase, const char *desc)
{
	enum aspect aspect;
	int ret, result;

	ksft_print_msg("[RUN] %s: %s\n", desc, usecase->name);
	reset();
	if (usecase->minor && !have_minor()) {
		skip_reason = "userfaultfd has no minor faults of shmem";
		ret = KSFT_SKIP;
	} else {
		ret = start_alone(false);
	}
	if (ret == KSFT_PASS) {
		snprintf(step_name, sizeof(step_name), "the start");
		may_grow = true;
		check_all();
		ret = do_steps(usecase, true);
	}
	finish();
	if (ret == KSFT_PASS) {
		snprintf(step_name, sizeof(step_name), "the last exit");
		look();
		check_statistics(0);
	}
	if (mem_fd >= 0)
		close(mem_fd);
	for (aspect = 0; aspect < NR_ASPECTS; aspect++) {
		result = ret;
		if (ret == KSFT_PASS && failed[aspect][0]) {
			ksft_print_msg("%s\n", failed[aspect]);
			result = KSFT_FAIL;
		} else if (ret == KSFT_PASS && aspect == STATISTICS && no_cgroup_reason) {
			skip_reason = no_cgroup_reason;
			result = KSFT_SKIP;
		}
		report(result, desc, usecase->name, aspect_names[aspect]);
	}
}

#define A	TYPE_ANON
#define S	TYPE_SHMEM
#define P	TYPE_SHMEM_PRIVATE
#define F	TYPE_FILE
#define RW	(PROT_READ | PROT_WRITE)

static const struct usecase usecases[] = {
	{ "parts unmapped", A | S | P | F, {
		{ 0, CMD_MUNMAP, HOME, 4, 4 },
		{ 0, CMD_MADVISE, HOME, 12, 2, MADV_DONTNEED },
		{ 0, CMD_MADVISE, HOME, 0, 1, MADV_DONTNEED },
		{ 0, CMD_MUNMAP, HOME, 1, 3 },
		{ 0, CMD_MUNMAP, HOME, 0, 16 },
	} },
	{ "parts mapped again", S | P | F, {
		{ 0, CMD_MADVISE, HOME, 0, 16, MADV_DONTNEED },
		{ 0, CMD_READ, HOME, 3, 1 },
		{ 0, CMD_READ, HOME, 0, 16 },
		{ 0, CMD_MADVISE, HOME, 8, 8, MADV_DONTNEED },
		{ 0, CMD_READ, HOME, 8, 8 },
		{ 0, CMD_MADVISE, HOME, 2, 4, MADV_DONTNEED },
	} },
	{ "both unmap the same half", A | S | P | F, {
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_READ, HOME, 0, 16 },
		{ 0, CMD_MUNMAP, HOME, 0, 8 },
		{ 1, CMD_MUNMAP, HOME, 0, 8 },
		{ 0, CMD_EXIT },
		{ 1, CMD_MADVISE, HOME, 8, 4, MADV_DONTNEED },
		{ 1, CMD_EXIT },
	} },
	{ "unmap different parts", A | S | P | F, {
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_READ, HOME, 0, 16 },
		{ 0, CMD_MUNMAP, HOME, 0, 8 },
		{ 1, CMD_MADVISE, HOME, 4, 8, MADV_DONTNEED },
		{ 0, CMD_MUNMAP, HOME, 8, 8 },
		{ 1, CMD_STORE, HOME, 2, 2 },
		{ 1, CMD_EXIT },
	} },
	{ "a grandchild is left", A | S | P | F, {
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_FORK, .arg = 1 },
		{ ALL, CMD_READ, HOME, 0, 16 },
		{ 0, CMD_EXIT },
		{ 1, CMD_MADVISE, HOME, 2, 4, MADV_DONTNEED },
		{ 1, CMD_EXIT },
		{ 2, CMD_STORE, HOME, 0, 16 },
		{ 2, CMD_MUNMAP, HOME, 8, 8 },
	} },
	{ "forked when partly mapped", A | P, {
		{ 0, CMD_STORE, HOME, 15, 1 },
		{ 0, CMD_MUNMAP, HOME, 4, 4 },
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_MUNMAP, HOME, 0, 2 },
		{ 1, CMD_FORK, .arg = 1 },
		{ 0, CMD_MADVISE, HOME, 0, 4, MADV_DONTNEED },
		{ 0, CMD_EXIT },
		{ 1, CMD_EXIT },
		{ 2, CMD_STORE, HOME, 8, 8 },
	} },
	{ "copied on write", A, {
		{ 0, CMD_FORK, .arg = 1 },
		{ 0, CMD_STORE, HOME, 0, 4 },
		{ 1, CMD_MADVISE, HOME, 2, 4, MADV_DONTNEED },
		{ 1, CMD_STORE, HOME, 8, 2 },
		{ 1, CMD_EXIT },
		{ 0, CMD_STORE, HOME, 0, 16 },
	} },
	{ "copies of file pages", P, {
		{ 0, CMD_STORE, HOME, 0, 1 },
		{ 0, CMD_FORK, .arg = 1 },
		{ 0, CMD_MUNMAP, HOME, 4, 4 },
		{ 1, CMD_MUNMAP, HOME, 4, 4 },
		{ 1, CMD_STORE, HOME, 8, 2 },
		{ 0, CMD_EXIT },
		{ 1, CMD_MADVISE, HOME, 0, 1, MADV_DONTNEED },
		{ 1, CMD_READ, HOME, 0, 1 },
	} },
	/* What a child does not get remains exclusive to the parent. */
	{ "exclusive among shared pages", A, {
		{ 0, CMD_MADVISE, HOME, 0, 4, MADV_DONTFORK },
		{ 0, CMD_FORK, .arg = 1 },
		{ 0, CMD_STORE, HOME, 0, 6 },
		{ 1, CMD_STORE, HOME, 8, 2 },
		{ 0, CMD_MUNMAP, HOME, 12, 2 },
		{ 1, CMD_EXIT },
		{ 0, CMD_STORE, HOME, 4, 4 },
		{ 0, CMD_MADVISE, HOME, 0, 10, MADV_DONTFORK },
		{ 0, CMD_FORK, .arg = 1 },
		{ 2, CMD_MADVISE, HOME, 10, 1, MADV_DONTNEED },
		{ 0, CMD_EXIT },
		{ 2, CMD_STORE, HOME, 11, 1 },
	} },
	{ "across two page tables", A | S | P | F, {
		{ 0, CMD_MREMAP, HOME, 0, 16, STRADDLE },
		{ 0, CMD_STORE, STRADDLE, 4, 4 },
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_READ, STRADDLE, 0, 16 },
		{ 0, CMD_MUNMAP, STRADDLE, 0, 4 },
		{ 1, CMD_MADVISE, STRADDLE, 10, 6, MADV_DONTNEED },
		{ 0, CMD_STORE, STRADDLE, 8, 1 },
		{ 1, CMD_MUNMAP, STRADDLE, 0, 5 },
		{ 1, CMD_EXIT },
		{ 0, CMD_STORE, STRADDLE, 4, 12 },
		{ 0, CMD_MUNMAP, STRADDLE, 6, 10 },
	} },
	{ "middle moved", A | S | P | F, {
		{ 0, CMD_MREMAP, HOME, 6, 4, AWAY },
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_READ, HOME, 0, 6 },
		{ 1, CMD_READ, AWAY, 6, 4 },
		{ 0, CMD_STORE, AWAY, 7, 2 },
		{ 1, CMD_MUNMAP, AWAY, 6, 1 },
		{ 1, CMD_STORE, HOME, 1, 2 },
		{ 0, CMD_MREMAP, AWAY, 6, 4, HOME },
		{ 1, CMD_EXIT },
		{ 0, CMD_STORE, HOME, 0, 16 },
	} },
	{ "middle moved by the child", A | P, {
		{ 0, CMD_STORE, HOME, 5, 1 },
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_MREMAP, HOME, 6, 4, AWAY },
		{ 1, CMD_STORE, AWAY, 6, 1 },
		{ 0, CMD_MUNMAP, HOME, 4, 4 },
		{ 0, CMD_EXIT },
		{ 1, CMD_STORE, AWAY, 7, 3 },
	} },
	{ "VMA split and merged", A | P, {
		{ 0, CMD_STORE, HOME, 4, 2 },
		{ 0, CMD_FORK, .arg = 1 },
		{ 0, CMD_STORE, HOME, 5, 2 },
		{ 0, CMD_MPROTECT, HOME, 6, 4, PROT_READ },
		{ 0, CMD_STORE, HOME, 0, 2 },
		{ 1, CMD_MADVISE, HOME, 9, 2, MADV_DONTNEED },
		{ 0, CMD_MPROTECT, HOME, 6, 4, RW },
		{ 0, CMD_STORE, HOME, 9, 3 },
		{ 1, CMD_EXIT },
		{ 0, CMD_MPROTECT, HOME, 2, 3, PROT_READ },
		{ 0, CMD_MPROTECT, HOME, 2, 3, RW },
		{ 0, CMD_STORE, HOME, 0, 16 },
	} },
	{ "hole punched", S | P | F, {
		{ 0, CMD_STORE, HOME, 2, 1 },
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_READ, HOME, 0, 16 },
		{ 0, CMD_PUNCH, HOME, 4, 4 },
		{ ALL, CMD_READ, HOME, 0, 4 },
		{ 1, CMD_MUNMAP, HOME, 4, 8 },
		{ 0, CMD_READ, HOME, 12, 4 },
		{ 0, CMD_PUNCH, HOME, 0, 1 },
		{ 1, CMD_EXIT },
	} },
	{ "truncated", S | P | F, {
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_READ, HOME, 0, 16 },
		{ 0, CMD_TRUNCATE, HOME, 8, 8 },
		{ ALL, CMD_READ, HOME, 0, 8 },
		{ 0, CMD_MADVISE, HOME, 0, 4, MADV_DONTNEED },
		{ 1, CMD_EXIT },
		{ 0, CMD_TRUNCATE, HOME, 0, 16 },
	} },
	{ "minor faults", S, {
		{ 0, CMD_MADVISE, HOME, 0, 16, MADV_DONTNEED },
		{ 0, CMD_UFFD, HOME, 0, 16 },
		{ 0, CMD_CONTINUE, HOME, 15, 1, .times = 16 },
		{ 0, CMD_MADVISE, HOME, 4, 4, MADV_DONTNEED },
		{ 0, CMD_CONTINUE, HOME, 7, 1, .times = 2 },
		{ 0, CMD_FORK, .arg = 1 },
		{ 1, CMD_READ, HOME, 0, 16 },
		{ 1, CMD_MUNMAP, HOME, 0, 4 },
		{ 0, CMD_MUNMAP, HOME, 6, 8 },
	}, .minor = true },
	{ "many children", A, {
		{ 0, CMD_FORK, .arg = MAX_PROCS - 1 },
		{ ALL, CMD_MUNMAP, HOME, 0, 5 },
		{ ALL, CMD_MADVISE, HOME, 6, 10, MADV_DONTNEED },
		{ 0, CMD_EXIT },
	} },
};

/* The types say whether there are pages that nobody maps afterwards. */
static const struct usecase reclaim_usecases[] = {
	{ "nothing unmapped", 0, {
		{ 0, CMD_FORK, .arg = 1 },
	} },
	/* Only locking all of it at once marks the folio as mlocked. */
	{ "one page unmapped, locked in two steps", 0, {
		{ 0, CMD_FORK, .arg = 1 },
		{ 0, CMD_MADVISE, HOME, 3, 1, MADV_DONTNEED },
		{ 1, CMD_MLOCK, HOME, 0, 8 },
		{ 1, CMD_MLOCK, HOME, 8, 8 },
	}, .locked = true },
	{ "both unmap the same half", A, {
		{ 0, CMD_FORK, .arg = 1 },
		{ ALL, CMD_MUNMAP, HOME, 0, 8 },
	} },
	{ "both unmap the same half, limit", A, {
		{ 0, CMD_FORK, .arg = 1 },
		{ ALL, CMD_MUNMAP, HOME, 0, 8 },
	}, PRESSURE_LIMIT },
	{ "both unmap the same half, of all", A, {
		{ 0, CMD_FORK, .arg = 1 },
		{ ALL, CMD_MUNMAP, HOME, 0, 8 },
	}, PRESSURE_ALL },
	{ "one copies what the other unmaps", A, {
		{ 0, CMD_FORK, .arg = 1 },
		{ 0, CMD_STORE, HOME, 4, 8 },
		{ 1, CMD_MUNMAP, HOME, 4, 8 },
	} },
	{ "all but one part unmapped by many", A, {
		{ 0, CMD_FORK, .arg = MAX_PROCS - 1 },
		{ ALL, CMD_MUNMAP, HOME, 0, 5 },
		{ ALL, CMD_MADVISE, HOME, 6, 10, MADV_DONTNEED },
	} },
};

static const char * const reclaim_results[] = { "deferred split", "split", "content" };

static long read_mthp_stat(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "hugepages-%zukB/stats/%s", thpsize / 1024, name);
	return thp_read_num(path);
}

static bool have_swap(void)
{
	char buf[1024];

	return read_file("/proc/swaps", buf, sizeof(buf)) && strstr(buf, "\n/");
}

/* Is a page of the folio, or of what has become of it, part of a large folio? */
static bool any_large(void)
{
	static int kpageflags_fd = -1;
	enum place place;
	uint64_t flags;
	unsigned int i;
	int who;

	if (kpageflags_fd < 0)
		kpageflags_fd = open("/proc/kpageflags", O_RDONLY);
	look();
	for (who = 0; who < nr_procs; who++)
		for (place = 0; place < NR_PLACES; place++)
			for (i = 0; i < nr_pages; i++) {
				const uint64_t pme = entry(who, place)[i];

				if (!PAGEMAP_PRESENT(pme))
					continue;
				if (pageflags_get(PAGEMAP_PFN(pme), kpageflags_fd, &flags) ||
				    flags & (KPF_COMPOUND_HEAD | KPF_COMPOUND_TAIL))
					return true;
			}
	return false;
}

/* Only anon memory; it fails if there is less to reclaim. */
#define RECLAIM_ANON	"16M swappiness=max"
#define RECLAIM_TRIES	200

static void reclaim_some(enum pressure pressure)
{
	switch (pressure) {
	case PRESSURE_CGROUP:
		put_string(cgroup_test, "memory.reclaim", RECLAIM_ANON);
		break;
	case PRESSURE_LIMIT:
		put_string(cgroup_test, "memory.high", "0");
		put_string(cgroup_test, "memory.high", "max");
		break;
	case PRESSURE_ALL:
		put_string(CGROUP_ROOT, "memory.reclaim", RECLAIM_ANON);
		break;
	}
}

static int count_lost(void)
{
	int who, count = 0;
	unsigned int i;

	for (who = 0; who < nr_procs; who++) {
		memset(want(who, 0), 0, NR_PLACES * pmdsize / pagesize);
		for (i = 0; i < nr_pages; i++)
			if (model[who][i].version)
				want(who, HOME)[i] = pattern(i, model[who][i].version);
		count += tell(who, CMD_VERIFY) != 0;
	}
	return count;
}

/*
 * Reclaim looks at the mappings of MMs of its cgroup only: the processes stay.
 * There is no way to see that it has looked at a folio that is fine, except for
 * the folio being gone in the end.
 */
static void run_reclaim(const struct usecase *usecase, const char *desc)
{
	const bool partial = usecase->types;
	long deferred = 0, split = 0, queued = 0;
	int lost, ret = KSFT_SKIP, tries = 0;
	char name[128];

	snprintf(name, sizeof(name), "reclaim, %s", usecase->name);
	ksft_print_msg("[RUN] %s: %s\n", desc, name);
	reset();
	if (no_cgroup_reason)
		skip_reason = no_cgroup_reason;
	else if (!have_swap())
		skip_reason = "no swap";
	else
		ret = start_alone(true);
	if (ret == KSFT_PASS) {
		deferred = read_mthp_stat("split_deferred");
		split = read_mthp_stat("split");
		queued = read_mthp_stat("nr_anon_partially_mapped");
		ret = do_steps(usecase, false);
	}
	if (ret != KSFT_PASS) {
		report(ret, desc, name, reclaim_results[0]);
		report(ret, desc, name, reclaim_results[1]);
		report(ret, desc, name, reclaim_results[2]);
		goto out;
	}

	do {
		reclaim_some(usecase->pressure);
		look();
	} while ((partial ? read_mthp_stat("split") == split : folio_mappers) &&
		 ++tries < (usecase->locked ? RECLAIM_TRIES / 10 : RECLAIM_TRIES));

	deferred = read_mthp_stat("split_deferred") - deferred;
	split = read_mthp_stat("split") - split;
	if (partial) {
		ret = deferred ? KSFT_PASS : KSFT_FAIL;
	} else if (deferred && split) {
		/* A split unmaps the folio first, and if not at once, it is queued. */
		skip_reason = "split, as it cannot be swapped out as a whole";
		ret = KSFT_SKIP;
	} else {
		ret = !deferred && !folio_mappers == !usecase->locked ? KSFT_PASS : KSFT_FAIL;
	}
	if (ret)
		ksft_print_msg("Folios queued: %ld, processes with mappings: 0x%x\n",
			       deferred, folio_mappers);
	report(ret, desc, name, reclaim_results[0]);

	lost = count_lost();
	/* Reclaim may also split what it cannot swap out in one piece. */
	queued = read_mthp_stat("nr_anon_partially_mapped") - queued;
	ret = !partial || (split && !queued && !any_large()) ? KSFT_PASS : KSFT_FAIL;
	if (ret)
		ksft_print_msg("Folios split: %ld, still queued: %ld\n", split, queued);
	report(ret, desc, name, reclaim_results[1]);
	if (lost)
		ksft_print_msg("%d processes have lost their data\n", lost);
	report(lost ? KSFT_FAIL : KSFT_PASS, desc, name, reclaim_results[2]);
out:
	finish();
}

/* Returns the number of results, and only that if @plan. */
static int run_backing(enum type what, bool pmd, bool plan)
{
	int count = 0;
	char desc[64];
	int i;

	type = what;
	pmd_mapped = pmd;
	snprintf(desc, sizeof(desc), "%s, %s-mapped %zu KiB", type_names[type],
		 pmd ? "PMD" : "PTE", thpsize / 1024);
	for (i = 0; i < ARRAY_SIZE(usecases); i++) {
		if (!(usecases[i].types & type))
			continue;
		count += NR_ASPECTS;
		if (!plan)
			run_usecase(usecases + i, desc);
	}
	if (type != TYPE_ANON || pmd)
		return count;
	for (i = 0; i < ARRAY_SIZE(reclaim_usecases); i++) {
		count += ARRAY_SIZE(reclaim_results);
		if (!plan)
			run_reclaim(reclaim_usecases + i, desc);
	}
	return count;
}

static int run_backings(bool plan)
{
	int count = 0;
	enum type what;

	for (what = TYPE_ANON; what <= TYPE_FILE; what <<= 1) {
		/* Files are not that different: the smallest and largest size do. */
		if (what != TYPE_ANON && thpsize == pagesize << 7)
			continue;
		count += run_backing(what, false, plan);
		if (thpsize == pmdsize && what != TYPE_SHMEM_PRIVATE)
			count += run_backing(what, true, plan);
	}
	return count;
}

static void allocate(void)
{
	const size_t pages = pmdsize / pagesize;
	int i;

	arena_size = 8 * pmdsize;
	arena = mmap(NULL, arena_size, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	wanted = mmap(NULL, MAX_PROCS * NR_PLACES * pages, RW,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	file_content = mmap(NULL, pmdsize, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	entries = calloc(MAX_PROCS * NR_PLACES * pages, sizeof(*entries));
	kpagecounts = calloc(pages, sizeof(*kpagecounts));
	truth = calloc(pages, sizeof(*truth));
	file_version = calloc(pages, 1);
	page_gone = calloc(pages, sizeof(*page_gone));
	for (i = 0; i < MAX_PROCS; i++) {
		model[i] = calloc(pages, sizeof(*model[i]));
		if (!model[i])
			ksft_exit_fail_perror("calloc");
	}
	if (arena == MAP_FAILED || wanted == MAP_FAILED || file_content == MAP_FAILED ||
	    !entries || !kpagecounts || !truth || !file_version || !page_gone)
		ksft_exit_fail_perror("memory");
}

static void place(void)
{
	char *start = (char *)(((uintptr_t)arena + pmdsize - 1) & ~(pmdsize - 1));

	places[HOME] = start + pmdsize;
	places[STRADDLE] = start + 4 * pmdsize - thpsize * 6 / 16;
	/* Not where a PMD could map it. */
	places[AWAY] = start + 5 * pmdsize + 3 * pagesize;
	mem = places[HOME];
}

static const char *find_file_dir(const char *dir)
{
	struct stat st;

	if (!dir)
		dir = getenv("SPLIT_HUGE_PAGE_TEST_XFS_PATH");
	return dir && !stat(dir, &st) && S_ISDIR(st.st_mode) ? dir : NULL;
}

int main(int argc, char **argv)
{
	unsigned long orders, backing_orders;
	struct thp_settings settings;
	int order, nr_modes, plan;

	ksft_print_header();
	if (!thp_available())
		ksft_exit_skip("Transparent hugepages are not available\n");
	if (geteuid())
		ksft_exit_skip("Need root to read PFNs from the pagemap\n");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		ksft_exit_fail_perror("PR_SET_CHILD_SUBREAPER");
	kpagecount_fd = open("/proc/kpagecount", O_RDONLY);
	if (kpagecount_fd < 0)
		ksft_exit_skip("Need /proc/kpagecount\n");

	/* A process that is not there does not read what we tell it. */
	signal(SIGPIPE, SIG_IGN);

	thp_save_settings();
	pagesize = getpagesize();
	pmdsize = read_pmd_pagesize();
	orders = thp_supported_orders() | 1UL << sz2ord(pmdsize, pagesize);
	/* The PMD size is tested mapped in both ways. */
	nr_modes = __builtin_popcountl(orders) + 1;
	plan = nr_modes * TESTS_PER_MODE;
	/* We need sixteenths. */
	backing_orders = (orders & (1UL << 4 | 1UL << 7)) |
			 1UL << sz2ord(pmdsize, pagesize);
	for (order = 0; backing_orders >> order; order++) {
		thpsize = pagesize << order;
		if (backing_orders & 1UL << order)
			plan += run_backings(true);
	}
	ksft_set_plan(plan);
	ksft_print_msg("[INFO] seed: %d\n", SEED);
	srandom(SEED);

	allocate();
	file_dir = find_file_dir(argc > 1 ? argv[1] : NULL);
	thp_read_settings(&settings);
	settings.thp_enabled = THP_MADVISE;
	settings.thp_defrag = THP_DEFRAG_ALWAYS;
	settings.shmem_enabled = SHMEM_WITHIN_SIZE;
	/* It would collapse what we split, and unmap it. */
	settings.khugepaged.scan_sleep_millisecs = 24 * 60 * 60 * 1000;
	for (int i = 0; i < NR_ORDERS; i++)
		settings.hugepages[i].enabled = THP_NEVER;
	thp_push_settings(&settings);
	no_cgroup_reason = setup_cgroup();
	if (no_cgroup_reason)
		ksft_print_msg("No statistics: %s\n", no_cgroup_reason);

	for (order = 0; orders >> order; order++) {
		if (!(orders & 1UL << order))
			continue;
		thpsize = pagesize << order;
		nr_pages = 1U << order;
		place();

		settings.hugepages[order].enabled = THP_MADVISE;
		thp_push_settings(&settings);
		settings.hugepages[order].enabled = THP_NEVER;

		run_mode(true);
		if (thpsize == pmdsize)
			run_mode(false);
		if (backing_orders & 1UL << order)
			run_backings(false);
		thp_pop_settings();
	}

	remove_cgroup();
	ksft_finished();
}
