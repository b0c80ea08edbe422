// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does tools/mm/folio-mapcount show what is there?
 *
 * First, it reads files that this test has written, in place of those in /proc and
 * /sys: what it prints must be exactly what is in these files, and it must not be
 * confused by files that are missing, cut off, or full of nonsense. This needs no
 * privileges, and it does not depend on the kernel that runs.
 *
 * Second, as root, it looks at a process that maps a THP in a known way, and at one
 * that changes all the time, or exits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "hugepage_settings.h"
#include "kselftest.h"
#include "vm_util.h"

#define SUMMARY_FILE	"sys/kernel/debug/folio_mapcount/summary"
#define SUMMARY		"/" SUMMARY_FILE
#define SEED		20261123
#define NR_FUZZ		100
#define NR_FRAMES	131072
#define NR_VIRT		8192
#define MAX_REGIONS	1024
#define OUTPUT_SIZE	(1024 * 1024)
/* What the tool never needs, however busy the machine is. */
#define TIMEOUT		300
/* For those who look at the same folio to be done: reclaim, compaction, ... */
#define MAX_TRIES	20
#define NOBODY		65534

/* See "EXIT STATUS" of folio-mapcount.8. */
enum { OK, FAILURE, USAGE, PRIVILEGE, FEATURE, PROCESS };

/* Of kpageflags; vm_util.h has HEAD, TAIL and THP. */
#define UPTODATE	BIT_ULL(3)
#define LRU		BIT_ULL(5)
#define SLAB		BIT_ULL(7)
#define BUDDY		BIT_ULL(10)
#define MMAP		BIT_ULL(11)
#define ANON		BIT_ULL(12)
#define SWAPCACHE	BIT_ULL(13)
#define SWAPBACKED	BIT_ULL(14)
#define HEAD		KPF_COMPOUND_HEAD
#define TAIL		KPF_COMPOUND_TAIL
#define HUGE		BIT_ULL(17)
#define NOPAGE		BIT_ULL(20)
#define THP		KPF_THP
#define OFFLINE		BIT_ULL(23)
#define ZERO_PAGE	BIT_ULL(24)
#define PGTABLE		BIT_ULL(26)
#define RESERVED	BIT_ULL(32)

#define ANON_THP	(ANON | THP | SWAPBACKED | UPTODATE | LRU)
#define FILE_THP	(THP | UPTODATE | LRU)

/* Of pagemap. */
#define PRESENT		PM_PRESENT
#define EXCLUSIVE	(PM_PRESENT | PM_MMAP_EXCLUSIVE)

static char tool[PATH_MAX];
static int tool_fd;
static char tree[PATH_MAX];
static size_t pagesize;
static char out[OUTPUT_SIZE], errors[OUTPUT_SIZE], expected[OUTPUT_SIZE];

/* The memory of the machine, and of the process 100, that the tool gets to see. */
static uint64_t frame_flags[NR_FRAMES], frame_counts[NR_FRAMES];
static uint64_t pagemap[NR_VIRT];
static struct page_region regions[MAX_REGIONS + 1];
static unsigned int nr_regions;
static char maps[4096];

static const char meminfo[] =
	"MemTotal:       24685160 kB\n"
	"AnonHugePages:     4096 kB\n"
	"ShmemPmdMapped:        0 kB\n"
	"HugePages_Total:       0\n";

static const char summary_header[] =
	"type order folios pmd_mapped pte_mapped exclusive shared partly_mapped accounted mapped\n";

static const char summary_rows[] =
	"anon     1      0          0          0         0      0             0         0      0\n"
	"anon     4      3          0          3         2      1             1        40     37\n"
	"anon     9      3          2          2         3      0             1      1535   1535\n"
	"file     2 123456          0     123456         0 123456             1    500000 493824\n"
	"file     9      0          0          0         0      0             0         0      0\n";

/* "@@@@4" is the size of order 4, which depends on the size of a page. */
static const char process_table[] =
	"Process 100\n"
	"type      order  size  folios  pmd  pte  both  exclusive  shared  partly  pages  mapped  mapped_exclusive\n"
	"anon          0 @@@@0       2    0    2     0          1       1       0      2       2                 1\n"
	"anon          4 @@@@4       4    0    4     0          2       2       1     64      53                35\n"
	"anon          9 @@@@9       3    1    1     1          3       0       1   1536    1535              1535\n"
	"shmem         0 @@@@0       1    0    1     0          0       1       0      1       1                 0\n"
	"shmem         2 @@@@2       1    0    1     0          1       0       1      4       1                 1\n"
	"file          0 @@@@0       1    0    1     0          1       0       0      1       1                 1\n"
	"file          2 @@@@2       1    0    1     0          0       1       1      4       2                 1\n"
	"hugetlb       9 @@@@9       1    -    -     -          0       1       0    512     512                 0\n"
	"hugetlb      16 @@@16       1    -    -     -          0       1       1  65536       1                 0\n"
	"other         0 @@@@0       1    0    1     0          0       1       0      1       1                 0\n"
	"other         2 @@@@2       1    0    1     0          0       1       1      4       1                 0\n"
	"Other pages: 516 zero, 3 special, 5 changed\n";

static const char machine_table[] =
	"Machine, 131072 page frames\n"
	"type      order  size  folios  mapped  partly  once  several  pages  mapped_pages\n"
	"anon          0 @@@@0       3       2       0     1        1      3             2\n"
	"anon          4 @@@@4       4       4       1     3        1     64            53\n"
	"anon          9 @@@@9       3       3       1     2        1   1536          1535\n"
	"shmem         0 @@@@0       1       1       0     0        1      1             1\n"
	"shmem         2 @@@@2       1       0       0     0        0      4             0\n"
	"file          0 @@@@0       3       1       0     1        0      3             1\n"
	"file          2 @@@@2       2       1       1     0        1      8             2\n"
	"swapcache     0 @@@@0       1       0       0     0        0      1             0\n"
	"hugetlb       9 @@@@9       2       1       0     1        0   1024           512\n"
	"hugetlb      16 @@@16       1       1       0     0        1  65536         65536\n"
	"other         0 @@@@0       1       1       0     0        1      1             1\n"
	"other         2 @@@@2       1       1       0     1        0      4             4\n"
	"Other page frames: 18 changed\n"
	"Mapped by PMDs: anon 4096 kB, shmem 0 kB, file - kB\n";

static const char audit_table[] =
	"\nAudit\n"
	"type      order  size  folios  pmd_mapped  pte_mapped  exclusive  shared  partly  accounted  mapped  excess\n"
	"anon          4 @@@@4       3           0           3          2       1       1         40      37       3\n"
	"anon          9 @@@@9       3           2           2          3       0       1       1535    1535       0\n"
	"file          2 @@@@2  123456           0      123456          0  123456       1     500000  493824    6176\n"
	;

static const char no_counts_table[] =
	"Machine, 131072 page frames\n"
	"type      order  size  folios  mapped  partly  once  several  pages  mapped_pages\n"
	"anon          0 @@@@0       3       2       -     -        -      3             -\n"
	"anon          4 @@@@4       4       4       -     -        -     64             -\n"
	"anon          9 @@@@9       3       3       -     -        -   1536             -\n"
	"shmem         0 @@@@0       1       1       -     -        -      1             -\n"
	"shmem         2 @@@@2       1       1       -     -        -      4             -\n"
	"file          0 @@@@0       3       1       -     -        -      3             -\n"
	"file          2 @@@@2       2       1       -     -        -      8             -\n"
	"swapcache     0 @@@@0       1       0       -     -        -      1             -\n"
	"hugetlb       9 @@@@9       2       1       -     -        -   1024             -\n"
	"hugetlb      16 @@@16       1       1       -     -        -  65536             -\n"
	"other         0 @@@@0       1       1       -     -        -      1             -\n"
	"other         2 @@@@2       1       1       -     -        -      4             -\n"
	"Other page frames: 18 changed\n"
	"Mapped by PMDs: anon - kB, shmem - kB, file - kB\n";

static void set_folio(unsigned int first, unsigned int nr, uint64_t flags, uint64_t count)
{
	unsigned int i;

	for (i = first; i < first + nr; i++) {
		frame_flags[i] = flags;
		if (nr > 1)
			frame_flags[i] |= i == first ? HEAD : TAIL;
		frame_counts[i] = count;
	}
}

static void set_counts(unsigned int first, unsigned int nr, uint64_t count)
{
	while (nr--)
		frame_counts[first++] = count;
}

static void set_frames(void)
{
	memset(frame_flags, 0, sizeof(frame_flags));
	memset(frame_counts, 0, sizeof(frame_counts));

	/* Pages on their own; the first of a file is not mapped. */
	set_folio(0, 1, RESERVED, 0);
	set_folio(1, 1, ANON | MMAP | LRU | SWAPBACKED | UPTODATE, 1);
	set_folio(2, 1, ANON | MMAP | SWAPBACKED, 3);
	set_folio(3, 1, LRU | UPTODATE, 0);
	set_folio(4, 1, MMAP | UPTODATE, 1);
	set_folio(5, 1, MMAP | SWAPBACKED | LRU, 7);
	set_folio(6, 1, SWAPCACHE | SWAPBACKED | LRU, 0);
	set_folio(7, 1, ZERO_PAGE | RESERVED, 0);
	set_folio(8, 1, BUDDY, 0);
	set_folio(9, 1, BUDDY, 0);
	set_folio(10, 1, PGTABLE, 0);
	set_folio(11, 1, SLAB, 0);
	set_folio(12, 1, MMAP | RESERVED, 5);
	set_folio(14, 1, OFFLINE, 0);
	set_folio(15, 1, NOPAGE, 0);
	set_folio(91, 1, LRU, 0);
	set_folio(95, 1, ANON, 0);

	/* All pages are mapped, some, and all by two processes. */
	set_folio(16, 16, ANON_THP | MMAP, 1);
	set_folio(32, 16, ANON_THP | MMAP, 0);
	set_counts(34, 5, 1);
	set_folio(48, 16, ANON_THP | MMAP, 2);
	set_folio(112, 16, ANON_THP | MMAP, 1);

	/* The pages of a file are not all mapped as often. Some are unmapped just now. */
	set_folio(64, 4, FILE_THP | MMAP, 0);
	set_counts(64, 1, 1);
	set_counts(65, 1, 2);
	set_folio(68, 4, FILE_THP, 0);
	set_folio(72, 4, FILE_THP | SWAPBACKED | MMAP, 0);

	/* Of the kernel, and of drivers. */
	set_folio(76, 4, SLAB, 0);
	set_folio(80, 4, MMAP, 1);
	set_folio(84, 4, 0, 0);

	/* None of these can be: three pages, no head, no tail, at 97, half of it anon. */
	set_folio(88, 3, ANON_THP | MMAP, 1);
	set_folio(91, 3, ANON_THP | MMAP, 1);
	set_folio(91, 1, LRU, 0);
	set_folio(94, 1, ANON_THP | HEAD, 0);
	set_folio(97, 4, ANON_THP, 0);
	set_folio(104, 8, FILE_THP | MMAP, 1);
	frame_flags[104] |= ANON;

	/* What PMDs map, of hugetlb too. */
	set_folio(512, 512, ANON_THP | MMAP, 1);
	set_counts(512, 4, 2);
	set_folio(1024, 512, HUGE | MMAP, 1);
	set_folio(1536, 512, HUGE, 0);
	set_folio(2048, 512, ZERO_PAGE | THP, 0);
	set_folio(2560, 512, ANON_THP | MMAP, 1);
	set_folio(3072, 512, ANON_THP | MMAP, 1);
	set_counts(3583, 1, 0);
	set_folio(65536, 65536, HUGE | MMAP, 2);
}

static void add_maps_line(uint64_t start, uint64_t end, const char *name)
{
	const size_t len = strlen(maps);

	snprintf(maps + len, sizeof(maps) - len,
		 "%08llx-%08llx rw-p 7fffffffff000 fe:01 18446744073709551615          %s\n",
		 (unsigned long long)start, (unsigned long long)end, name);
}

static void add_vma(unsigned int first, unsigned int nr, const char *name)
{
	add_maps_line(first * pagesize, (first + nr) * pagesize, name);
}

static void map_pages(unsigned int first, unsigned int nr, uint64_t pfn, uint64_t flags)
{
	for (; nr; first++, pfn++, nr--)
		pagemap[first] = pfn | flags;
}

static void add_region(unsigned int first, unsigned int nr, uint64_t categories)
{
	regions[nr_regions].start = first * pagesize;
	regions[nr_regions].end = (first + nr) * pagesize;
	regions[nr_regions++].categories = categories;
}

static void set_process(void)
{
	const uint64_t vsyscall = 0xffffffffff600000;

	memset(pagemap, 0, sizeof(pagemap));
	nr_regions = 0;
	maps[0] = 0;

	add_vma(16, 16, "");
	map_pages(16, 16, 16, EXCLUSIVE);
	add_region(16, 16, 0);

	/* In part, from a tail page on; and all of it, shared. */
	add_vma(64, 96, "[heap]");
	map_pages(64, 3, 34, EXCLUSIVE);
	map_pages(67, 2, 37, PRESENT);
	add_region(64, 5, 0);
	map_pages(80, 16, 48, PRESENT);
	add_region(80, 16, 0);

	/* By a PMD and by PTEs, by a PMD, by a PMD that gets split just now. */
	add_vma(512, 512, "/a file with spaces, and [vsyscall]");
	map_pages(512, 512, 512, EXCLUSIVE);
	add_region(512, 512, PAGE_IS_HUGE);
	add_vma(1024, 4, "");
	map_pages(1024, 4, 512, EXCLUSIVE);
	add_region(1024, 4, 0);
	add_vma(1536, 512, "");
	map_pages(1536, 512, 2560, EXCLUSIVE);
	add_region(1536, 512, PAGE_IS_HUGE);
	add_vma(2048, 512, "");
	map_pages(2048, 511, 3072, EXCLUSIVE);
	add_region(2048, 512, PAGE_IS_HUGE);
	add_vma(2560, 512, "/dev/hugepages/file (deleted)");
	map_pages(2560, 512, 1024, PRESENT);
	add_region(2560, 512, PAGE_IS_HUGE);

	/* Pages on their own, and a swap entry. */
	add_vma(3072, 12, "");
	map_pages(3072, 1, 1, EXCLUSIVE);
	map_pages(3073, 1, 2, PRESENT);
	map_pages(3074, 1, 4, EXCLUSIVE);
	map_pages(3075, 1, 5, PRESENT);
	map_pages(3076, 1, 7, PRESENT);
	map_pages(3077, 1, 7, PRESENT);
	map_pages(3078, 1, 16, PM_SWAP);
	map_pages(3079, 1, 12, PRESENT);
	add_region(3072, 6, 0);
	add_region(3079, 1, 0);

	/* One page of the file in two places. */
	add_vma(3084, 6, "/file");
	map_pages(3084, 2, 64, EXCLUSIVE);
	map_pages(3086, 1, 64, PRESENT);
	add_region(3084, 3, 0);

	add_vma(4096, 512, "");
	map_pages(4096, 512, 2048, PRESENT);
	add_region(4096, 512, PAGE_IS_HUGE);

	/* Special ones, what changes, and some more that is mapped in part. */
	add_vma(5200, 300, "");
	map_pages(5200, 1, 0x7fffff, PRESENT);
	map_pages(5201, 1, 13, PRESENT);
	map_pages(5202, 1, 3, PRESENT);
	map_pages(5203, 1, 8, PRESENT);
	map_pages(5204, 1, 92, EXCLUSIVE);
	map_pages(5205, 1, 89, EXCLUSIVE);
	map_pages(5206, 1, 11, PRESENT);
	map_pages(5207, 1, 106, PRESENT);
	map_pages(5208, 1, 74, EXCLUSIVE);
	map_pages(5209, 1, 80, PRESENT);
	add_region(5200, 10, 0);
	map_pages(5300, 1, 65536 + 40000, PRESENT);
	add_region(5300, 1, 0);
	/* It has grown since it was read, and is there once more. */
	add_vma(5200, 400, "");

	/* Nothing is there. */
	add_vma(6000, 100, "[stack]");

	/* A folio that gets mapped when the regions are known: not by a PMD. */
	add_vma(7000, 100, "");
	map_pages(7000, 1, 7, PRESENT);
	add_region(7000, 1, 0);
	map_pages(7001, 16, 112, EXCLUSIVE);
	map_pages(7017, 1, 7, PRESENT);
	add_region(7017, 1, PAGE_IS_HUGE);

	/* Where nobody can look. */
	add_maps_line(vsyscall, vsyscall + pagesize, "[vsyscall]");
	regions[nr_regions].start = vsyscall;
	regions[nr_regions].end = vsyscall + pagesize;
	regions[nr_regions++].categories = 0;
}

static const char *tree_path(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	return path;
}

static void write_tree(const char *name, const void *data, size_t size)
{
	const int fd = open(tree_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd))
		ksft_exit_fail_perror(tree_path(name));
}

static void write_tree_string(const char *name, const char *string)
{
	write_tree(name, string, strlen(string));
}

static void make_dir(const char *name)
{
	if (mkdir(tree_path(name), 0755))
		ksft_exit_fail_perror(tree_path(name));
}

static void rename_in_tree(const char *from, const char *to)
{
	char old[2 * PATH_MAX];

	snprintf(old, sizeof(old), "%s", tree_path(from));
	if (rename(old, tree_path(to)))
		ksft_exit_fail_perror(old);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(void)
{
	if (nftw(tree, remove_entry, 16, FTW_DEPTH | FTW_PHYS))
		ksft_exit_fail_perror(tree);
}

static void write_process(const char *pid)
{
	char name[64];

	snprintf(name, sizeof(name), "proc/%s", pid);
	make_dir(name);
	snprintf(name, sizeof(name), "proc/%s/maps", pid);
	write_tree_string(name, maps);
	snprintf(name, sizeof(name), "proc/%s/pagemap", pid);
	write_tree(name, pagemap, sizeof(pagemap));
	snprintf(name, sizeof(name), "proc/%s/pagemap_scan", pid);
	write_tree(name, regions, nr_regions * sizeof(regions[0]));
}

static void make_summary_dir(void)
{
	make_dir("sys");
	make_dir("sys/kernel");
	make_dir("sys/kernel/debug");
	make_dir("sys/kernel/debug/folio_mapcount");
}

/* Everything that there can be, as it has to be. */
static void make_tree(void)
{
	char summary[1024];

	if (mkdir(tree, 0755) || chmod(tree, 0755))
		ksft_exit_fail_perror(tree);
	make_dir("proc");
	write_tree("proc/kpageflags", frame_flags, sizeof(frame_flags));
	write_tree("proc/kpagecount", frame_counts, sizeof(frame_counts));
	write_tree_string("proc/meminfo", meminfo);
	write_process("100");
	write_process("101");
	make_summary_dir();
	snprintf(summary, sizeof(summary), "%s%s", summary_header, summary_rows);
	write_tree_string(SUMMARY_FILE, summary);
}

enum {
	/* Does not read the tree, but what there really is. */
	REAL = 0x1,
	/* As somebody without privileges. */
	UNPRIVILEGED = 0x2,
	/* As root without CAP_SYS_ADMIN. */
	NO_ADMIN = 0x4,
};

/* Never returns. */
static void exec_tool(const char *args, unsigned int how)
{
	char copy[1024], root[PATH_MAX + 16], *argv[32], *arg;
	int argc = 0;

	argv[argc++] = "folio-mapcount";
	if (!(how & REAL)) {
		snprintf(root, sizeof(root), "--root=%s", tree);
		argv[argc++] = root;
	}
	snprintf(copy, sizeof(copy), "%s", args);
	for (arg = strtok(copy, " "); arg; arg = strtok(NULL, " "))
		argv[argc++] = arg;
	argv[argc] = NULL;

	/* Messages of the C library are compared. */
	setenv("LC_ALL", "C", 1);
	alarm(TIMEOUT);
	if (how & NO_ADMIN && prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN))
		_exit(100);
	if (how & UNPRIVILEGED && !geteuid() &&
	    (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY)))
		_exit(101);
	fexecve(tool_fd, argv, environ);
	_exit(102);
}

/* Signals count from 1000, so that they are not what is expected. */
static int wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		ksft_exit_fail_perror("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void read_all(int fd, char *buf)
{
	const ssize_t len = pread(fd, buf, OUTPUT_SIZE - 1, 0);

	if (len < 0)
		ksft_exit_fail_perror("pread");
	buf[len] = 0;
	close(fd);
}

/* Returns its exit code, with what it has printed in @out and @errors. */
static int run_tool(const char *args, unsigned int how)
{
	const int out_fd = memfd_create("stdout", MFD_CLOEXEC);
	const int err_fd = memfd_create("stderr", MFD_CLOEXEC);
	pid_t pid;
	int code;

	if (out_fd < 0 || err_fd < 0)
		ksft_exit_fail_perror("memfd_create");
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid) {
		dup2(out_fd, STDOUT_FILENO);
		dup2(err_fd, STDERR_FILENO);
		exec_tool(args, how);
	}
	code = wait_for(pid);
	read_all(out_fd, out);
	read_all(err_fd, errors);
	return code;
}

/* Returns the tool, which runs, and what it prints. */
static pid_t start_tool(const char *args, unsigned int how, FILE **output)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		ksft_exit_fail_perror("pipe2");
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		/* Processes that go are none of the reader's errors. */
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		exec_tool(args, how);
	}
	close(fds[1]);
	*output = fdopen(fds[0], "r");
	if (!*output)
		ksft_exit_fail_perror("fdopen");
	return pid;
}

static void print_lines(const char *what, const char *text)
{
	ksft_print_msg("%s:\n", what);
	while (*text) {
		const int len = strcspn(text, "\n");

		ksft_print_msg("%.*s\n", len, text);
		text += len + (text[len] == '\n');
	}
}

static bool is_code(int code, int expected_code)
{
	if (code != expected_code) {
		ksft_print_msg("exit code %d instead of %d\n", code, expected_code);
		print_lines("errors", errors);
		return false;
	}
	/* Each failure has a reason. */
	if (!code == !*errors)
		return true;
	print_lines("errors", errors);
	return false;
}

static void expect_begin(void)
{
	expected[0] = 0;
}

static void __printf(1, 2) expect(const char *format, ...)
{
	const size_t len = strlen(expected);
	va_list args;

	va_start(args, format);
	vsnprintf(expected + len, sizeof(expected) - len, format, args);
	va_end(args);
}

static unsigned long order_kb(unsigned long order)
{
	return (pagesize << order) / 1024;
}

static void expect_table(const char *table)
{
	unsigned long kb;
	char *end;

	while (*table) {
		if (*table != '@') {
			expect("%c", *table++);
			continue;
		}
		kb = order_kb(strtoul(table + strspn(table, "@"), &end, 10));
		table = end;
		if (kb < 1024)
			expect("%4luK", kb);
		else if (kb < 1024 * 1024)
			expect("%4luM", kb / 1024);
		else
			expect("%4luG", kb / 1024 / 1024);
	}
}

/* JSON has the same, by the names of the columns. */
static void expect_rows(const char *table)
{
	char copy[4096], *line, *next_line, *word, *next_word, *names[16];
	unsigned int column, row = 0;

	snprintf(copy, sizeof(copy), "%s", strstr(table, "type "));
	line = strtok_r(copy, "\n", &next_line);
	column = 0;
	for (word = strtok_r(line, " ", &next_word); word; word = strtok_r(NULL, " ", &next_word))
		names[column++] = word;

	expect("[");
	while ((line = strtok_r(NULL, "\n", &next_line)) && !strchr(line, ':')) {
		expect("%s{", row++ ? "," : "");
		column = 0;
		for (word = strtok_r(line, " ", &next_word); word;
		     word = strtok_r(NULL, " ", &next_word)) {
			if (!column)
				expect("\"%s\":\"%s\"", names[column], word);
			else if (*word == '@')
				expect(",\"%s_kb\":%lu", names[column],
				       order_kb(strtoul(word + strspn(word, "@"), NULL, 10)));
			else
				expect(",\"%s\":%s", names[column], *word == '-' ? "null" : word);
			column++;
		}
		expect("}");
	}
	expect("]");
}

static void expect_process(void)
{
	expect("{\"pid\":100,\"rows\":");
	expect_rows(process_table);
	expect(",\"zero\":516,\"special\":3,\"changed\":5}");
}

static bool is_expected(void)
{
	if (!strcmp(out, expected))
		return true;
	print_lines("got", out);
	print_lines("expected", expected);
	return false;
}

#define NOT_KNOWN	(-1)

/* The value of the first @key from @json on. */
static long long value(const char *json, const char *key)
{
	char pattern[64];

	snprintf(pattern, sizeof(pattern), "\"%s\":", key);
	json = strstr(json, pattern);
	if (!json)
		return NOT_KNOWN - 1;
	json += strlen(pattern);
	return strncmp(json, "null", 4) ? strtoll(json, NULL, 10) : NOT_KNOWN;
}

static bool has_key(const char *row, const char *key)
{
	char pattern[64];

	snprintf(pattern, sizeof(pattern), "\"%s\":", key);
	return memmem(row, strcspn(row, "}"), pattern, strlen(pattern));
}

static bool is_sane_use(const char *row)
{
	const long long folios = value(row, "folios"), pages = value(row, "pages");
	const long long used = value(row, "mapped"), partly = value(row, "partly");

	if (value(row, "pmd") != NOT_KNOWN &&
	    value(row, "pmd") + value(row, "pte") + value(row, "both") != folios)
		return false;
	return folios > 0 && pages == folios << value(row, "order") &&
	       value(row, "exclusive") + value(row, "shared") == folios &&
	       partly >= 0 && partly <= folios && !partly == (used == pages) &&
	       used >= folios && used <= pages && value(row, "mapped_exclusive") >= 0 &&
	       value(row, "mapped_exclusive") <= used;
}

static bool is_sane_machine(const char *row)
{
	const long long folios = value(row, "folios"), pages = value(row, "pages");
	const long long used = value(row, "mapped_pages"), partly = value(row, "partly");

	return folios > 0 && pages == folios << value(row, "order") &&
	       value(row, "mapped") >= 0 && value(row, "mapped") <= folios &&
	       value(row, "once") + value(row, "several") == value(row, "mapped") &&
	       partly >= 0 && partly <= value(row, "mapped") &&
	       used >= value(row, "mapped") && used <= pages;
}

static bool is_sane_audit(const char *row)
{
	return value(row, "folios") > 0 && value(row, "mapped") > 0 &&
	       value(row, "accounted") - value(row, "mapped") == value(row, "excess") &&
	       value(row, "excess") >= 0 &&
	       value(row, "exclusive") + value(row, "shared") == value(row, "folios");
}

/* Can it be what is in @json? Each row has to agree with itself. */
static bool is_sane(const char *json)
{
	const char *row = json;
	bool sane;

	while ((row = strstr(row, "{\"type\":\""))) {
		if (has_key(row, "both"))
			sane = is_sane_use(row);
		else if (has_key(row, "once"))
			sane = is_sane_machine(row);
		else
			sane = is_sane_audit(row);
		if (!sane) {
			ksft_print_msg("not sane: %.*s\n", (int)strcspn(row, "}"), row);
			return false;
		}
		row++;
	}
	return *json == '{';
}

static void test_output(void)
{
	bool ok;
	int i;

	set_frames();
	set_process();
	make_tree();

	ok = is_code(run_tool("-p 100", UNPRIVILEGED), OK);
	expect_begin();
	expect_table(process_table);
	ksft_test_result(is_expected() && ok, "table of a process\n");

	ok = is_code(run_tool("--json -p 100", UNPRIVILEGED), OK);
	expect_begin();
	expect("{\"page_size\":%zu,\"processes\":[", pagesize);
	expect_process();
	expect("]}\n");
	ksft_test_result(is_expected() && ok, "JSON of a process\n");

	ok = is_code(run_tool("", UNPRIVILEGED), OK);
	expect_begin();
	expect_table(machine_table);
	expect_table(audit_table);
	ksft_test_result(is_expected() && ok, "table of the machine\n");

	ok = is_code(run_tool("--json", UNPRIVILEGED), OK);
	expect_begin();
	expect("{\"page_size\":%zu,\"machine\":{\"page_frames\":131072,\"rows\":", pagesize);
	expect_rows(machine_table);
	expect(",\"changed\":18,\"pmd_mapped_kb\":{\"anon\":4096,\"shmem\":0,\"file\":null}");
	expect(",\"audit\":");
	expect_rows(audit_table);
	expect("}}\n");
	ksft_test_result(is_expected() && ok, "JSON of the machine\n");

	ok = is_code(run_tool("--json --watch=0 --count=3 --pid=100 --pid 100", UNPRIVILEGED), OK);
	expect_begin();
	for (i = 0; i < 3; i++) {
		expect("{\"page_size\":%zu,\"processes\":[", pagesize);
		expect_process();
		expect(",");
		expect_process();
		expect("]}\n");
	}
	ksft_test_result(is_expected() && ok, "--watch and --count\n");

	ok = is_code(run_tool("--watch=0.001 --count=2 -p100", UNPRIVILEGED), OK);
	expect_begin();
	expect_table(process_table);
	expect("\n");
	expect_table(process_table);
	ksft_test_result(is_expected() && ok, "--watch with tables\n");

	ok = is_code(run_tool("--watch=0 --count=2", UNPRIVILEGED), OK);
	expect_begin();
	expect_table(machine_table);
	expect_table(audit_table);
	expect("\n");
	expect_table(machine_table);
	expect_table(audit_table);
	ksft_test_result(is_expected() && ok, "--watch with the machine\n");

	/* Nothing but kpageflags. */
	unlink(tree_path("proc/meminfo"));
	unlink(tree_path("proc/kpagecount"));
	ok = is_code(run_tool("--no-counts --no-audit", UNPRIVILEGED), OK);
	expect_begin();
	expect_table(no_counts_table);
	ksft_test_result(is_expected() && ok, "--no-counts and --no-audit\n");

	unlink(tree_path(SUMMARY_FILE));
	ok = is_code(run_tool("--no-counts", UNPRIVILEGED), OK);
	expect_begin();
	expect_table(no_counts_table);
	expect("\nNo audit: " SUMMARY ": No such file or directory\n");
	ksft_test_result(is_expected() && ok, "no audit\n");

	ok = is_code(run_tool("--json --no-counts", UNPRIVILEGED), OK);
	expect_begin();
	expect("{\"page_size\":%zu,\"machine\":{\"page_frames\":131072,\"rows\":", pagesize);
	expect_rows(no_counts_table);
	expect(",\"changed\":18,\"pmd_mapped_kb\":{\"anon\":null,\"shmem\":null,\"file\":null}");
	expect(",\"audit\":null}}\n");
	ksft_test_result(is_expected() && ok, "JSON without any of that\n");
	remove_tree();
}

static void test_several_processes(void)
{
	static const char whole[] = "2       2       1     64      53                35\n";
	static const char less[] = "2       2       2     64      52                34\n";
	char second[sizeof(process_table)];
	bool ok;

	/* The other one has a page less. */
	pagemap[16] = 0;
	make_tree();
	set_process();
	write_tree("proc/100/pagemap", pagemap, sizeof(pagemap));

	ok = is_code(run_tool("-p 100 -p 101", UNPRIVILEGED), OK);
	expect_begin();
	expect_table(process_table);
	snprintf(second, sizeof(second), "%s", strchr(process_table, '\n'));
	memcpy(strstr(second, whole), less, strlen(less));
	expect("\nProcess 101");
	expect_table(second);
	ksft_test_result(is_expected() && ok, "two processes\n");

	ok = is_code(run_tool("-p 102 -p 100 -p 103", UNPRIVILEGED), PROCESS);
	expect_begin();
	expect_table(process_table);
	ksft_test_result(is_expected() && ok && strstr(errors, "102") && strstr(errors, "103"),
			 "two processes do not exist\n");
	remove_tree();
}

enum damage_type { REMOVE, TRUNCATE, WRITE, DIRECTORY, NOTHING };

struct damage {
	const char *what;
	const char *args;
	int code;
	const char *file;
	enum damage_type type;
	size_t size;
	const char *content;
};

static const struct damage damages[] = {
	{ "no kpageflags", "", FEATURE, "proc/kpageflags", REMOVE },
	{ "no kpageflags for a process", "-p 100", FEATURE, "proc/kpageflags", REMOVE },
	{ "no kpagecount", "", FEATURE, "proc/kpagecount", REMOVE },
	{ "no kpagecount, not needed", "--no-counts", OK, "proc/kpagecount", REMOVE },
	{ "no kpagecount for a process", "-p 100", OK, "proc/kpagecount", REMOVE },
	{ "no pagemap_scan", "-p 100", FEATURE, "proc/100/pagemap_scan", REMOVE },

	{ "no process", "-p 102", PROCESS, NULL, NOTHING },
	{ "no maps", "-p 100", PROCESS, "proc/100/maps", REMOVE },
	{ "no pagemap", "-p 100", PROCESS, "proc/100/pagemap", REMOVE },
	{ "no memory", "-p 100", PROCESS, "proc/100/maps", TRUNCATE },
	{ "pagemap ends", "-p 100", PROCESS, "proc/100/pagemap", TRUNCATE, 800 },

	{ "kpageflags is empty", "", FAILURE, "proc/kpageflags", TRUNCATE },
	{ "kpageflags is cut off", "", FAILURE, "proc/kpageflags", TRUNCATE, 99999 },
	{ "kpageflags is cut off for a process", "-p 100", FAILURE, "proc/kpageflags",
	  TRUNCATE, 3333 },
	{ "kpageflags is a directory", "", FAILURE, "proc/kpageflags", DIRECTORY },
	{ "kpageflags ends", "-p 100", OK, "proc/kpageflags", TRUNCATE, 800 },
	{ "kpagecount is cut off", "", FAILURE, "proc/kpagecount", TRUNCATE, 33333 },
	{ "kpagecount ends", "", FAILURE, "proc/kpagecount", TRUNCATE, 4096 },
	{ "kpagecount is empty", "", FAILURE, "proc/kpagecount", TRUNCATE },
	{ "pagemap is cut off", "-p 100", FAILURE, "proc/100/pagemap", TRUNCATE, 4801 },
	{ "pagemap is a directory", "-p 100", FAILURE, "proc/100/pagemap", DIRECTORY },
	{ "pagemap_scan is cut off", "-p 100", FAILURE, "proc/100/pagemap_scan", TRUNCATE, 25 },
	{ "pagemap_scan is a directory", "-p 100", FAILURE, "proc/100/pagemap_scan", DIRECTORY },

	{ "maps is a directory", "-p 100", FAILURE, "proc/100/maps", DIRECTORY },
	{ "maps: no addresses", "-p 100", FAILURE, "proc/100/maps", WRITE,
	  .content = "nonsense\n" },
	{ "maps: an empty line", "-p 100", FAILURE, "proc/100/maps", WRITE, .content = "\n" },
	{ "maps: cut off", "-p 100", FAILURE, "proc/100/maps", WRITE,
	  .content = "100000-200000 rw-p 0 00:00" },
	{ "maps: wrong way round", "-p 100", FAILURE, "proc/100/maps", WRITE,
	  .content = "200000-100000 rw-p 0 00:00 0\n" },
	{ "maps: nothing", "-p 100", FAILURE, "proc/100/maps", WRITE,
	  .content = "100000-100000 rw-p 0 00:00 0\n" },
	{ "maps: not aligned", "-p 100", FAILURE, "proc/100/maps", WRITE,
	  .content = "100000-200001 rw-p 0 00:00 0\n" },
	{ "maps: twice", "-p 100", OK, "proc/100/maps", WRITE,
	  .content = "100000-200000 rw-p 0 00:00 0\n100000-200000 rw-p 0 00:00 0\n" },
	{ "maps: no end of the line", "-p 100", OK, "proc/100/maps", WRITE,
	  .content = "100000-200000 rw-p 0 00:00 0" },

	{ "no summary", "", OK, SUMMARY_FILE, REMOVE },
	{ "summary is empty", "", FAILURE, SUMMARY_FILE, TRUNCATE },
	{ "summary is a directory", "", FAILURE, SUMMARY_FILE, DIRECTORY },
	{ "summary is cut off", "", FAILURE, SUMMARY_FILE, TRUNCATE, 150 },
	{ "summary is not read", "--no-audit", OK, SUMMARY_FILE, TRUNCATE },
	{ "summary: other columns", "", FAILURE, SUMMARY_FILE, WRITE,
	  .content = "type order folios\n" },
	{ "summary: too few numbers", "", FAILURE, SUMMARY_FILE, WRITE, 1,
	  .content = "anon 4 3 0 3 2 1 1 40\n" },
	{ "summary: too many numbers", "", FAILURE, SUMMARY_FILE, WRITE, 1,
	  .content = "anon 4 3 0 3 2 1 1 40 37 12\n" },
	{ "summary: no number", "", FAILURE, SUMMARY_FILE, WRITE, 1,
	  .content = "anon 4 3 0 3 2 1 1 40 many\n" },
	{ "summary: other type", "", FAILURE, SUMMARY_FILE, WRITE, 1,
	  .content = "shmem 4 3 0 3 2 1 1 40 37\n" },
	{ "summary: order 32", "", FAILURE, SUMMARY_FILE, WRITE, 1,
	  .content = "anon 32 3 0 3 2 1 1 40 37\n" },
	{ "summary: order -1", "", FAILURE, SUMMARY_FILE, WRITE, 1,
	  .content = "anon -1 3 0 3 2 1 1 40 37\n" },
	{ "meminfo is empty", "", OK, "proc/meminfo", TRUNCATE },
	{ "meminfo: nonsense", "", OK, "proc/meminfo", WRITE, .content = "AnonHugePages:\n:\n\n" },

	{ "help", "--help", OK, NULL, NOTHING },
	{ "help, short", "-h", OK, NULL, NOTHING },
	{ "usage: unknown option", "--nonsense", USAGE, NULL, NOTHING },
	{ "usage: no option", "100", USAGE, NULL, NOTHING },
	{ "usage: no PID", "-p", USAGE, NULL, NOTHING },
	{ "usage: PID 0", "-p 0", USAGE, NULL, NOTHING },
	{ "usage: PID -1", "-p -1", USAGE, NULL, NOTHING },
	{ "usage: PID 1x", "-p 1x", USAGE, NULL, NOTHING },
	{ "usage: PID too large", "-p 2147483648", USAGE, NULL, NOTHING },
	{ "usage: PID far too large", "-p 99999999999999999999999", USAGE, NULL, NOTHING },
	{ "usage: --count alone", "--count=1", USAGE, NULL, NOTHING },
	{ "usage: --count=0", "--watch --count=0", USAGE, NULL, NOTHING },
	{ "usage: --count=", "--watch --count=", USAGE, NULL, NOTHING },
	{ "usage: --watch=", "--watch=", USAGE, NULL, NOTHING },
	{ "usage: --watch=-1", "--watch=-1", USAGE, NULL, NOTHING },
	{ "usage: --watch=nan", "--watch=nan", USAGE, NULL, NOTHING },
	{ "usage: --watch=1e99", "--watch=1e99", USAGE, NULL, NOTHING },
	{ "usage: --watch=1s", "--watch=1s", USAGE, NULL, NOTHING },
	{ "usage: -p with --no-counts", "-p 100 --no-counts", USAGE, NULL, NOTHING },
	{ "usage: -p with --no-audit", "-p 100 --no-audit", USAGE, NULL, NOTHING },
};

static void do_damage(const struct damage *damage)
{
	char content[1024];

	switch (damage->type) {
	case REMOVE:
		if (unlink(tree_path(damage->file)))
			ksft_exit_fail_perror(damage->file);
		break;
	case TRUNCATE:
		if (truncate(tree_path(damage->file), damage->size))
			ksft_exit_fail_perror(damage->file);
		break;
	case WRITE:
		/* With a size: after the header. */
		snprintf(content, sizeof(content), "%s%s", damage->size ? summary_header : "",
			 damage->content);
		write_tree_string(damage->file, content);
		break;
	case DIRECTORY:
		if (unlink(tree_path(damage->file)))
			ksft_exit_fail_perror(damage->file);
		make_dir(damage->file);
		break;
	case NOTHING:
		break;
	}
}

static void test_damages(void)
{
	unsigned int i;
	bool ok;

	for (i = 0; i < ARRAY_SIZE(damages); i++) {
		make_tree();
		do_damage(&damages[i]);
		ok = is_code(run_tool(damages[i].args, UNPRIVILEGED), damages[i].code);
		/* Something is printed if all is well, and nothing by halves if not. */
		ok = ok && !*out == !!damages[i].code;
		ksft_test_result(ok, "%s\n", damages[i].what);
		remove_tree();
	}
}

static void test_regions(const char *what)
{
	make_tree();
	ksft_test_result(is_code(run_tool("-p 100", UNPRIVILEGED), FAILURE) && !*out,
			 "regions: %s\n", what);
	remove_tree();
	set_process();
}

static void test_bad_regions(void)
{
	regions[1].end += pagesize / 2;
	test_regions("not aligned");
	regions[2].start = regions[1].end - pagesize;
	test_regions("overlap");
	for (nr_regions = 0; nr_regions <= MAX_REGIONS; )
		add_region(16 + nr_regions, 1, 0);
	test_regions("too many");
}

static void test_privileges(void)
{
	unsigned int i;
	bool ok;

	make_tree();
	/* As pagemap is without CAP_SYS_ADMIN. */
	for (i = 0; i < NR_VIRT; i++)
		if (pagemap[i] & PRESENT)
			pagemap[i] &= ~((1ULL << 55) - 1);
	write_tree("proc/100/pagemap", pagemap, sizeof(pagemap));
	set_process();
	ok = is_code(run_tool("-p 100", UNPRIVILEGED), PRIVILEGE) && !*out;
	ksft_test_result(ok, "pagemap without page frame numbers\n");
	remove_tree();

	/* There is a page with the number 0, if others have numbers. */
	make_tree();
	pagemap[3079] = PRESENT;
	write_tree("proc/100/pagemap", pagemap, sizeof(pagemap));
	set_process();
	ok = is_code(run_tool("--json -p 100", UNPRIVILEGED), OK);
	ksft_test_result(ok && strstr(out, "\"special\":4,"), "page frame number 0\n");
	remove_tree();

	make_tree();
	chmod(tree_path("proc/kpageflags"), 0);
	ok = is_code(run_tool("", UNPRIVILEGED), PRIVILEGE) && !*out;
	ksft_test_result(ok, "kpageflags cannot be opened\n");
	ok = is_code(run_tool("-p 100", UNPRIVILEGED), PRIVILEGE) && !*out;
	ksft_test_result(ok, "kpageflags cannot be opened for a process\n");
	remove_tree();

	make_tree();
	chmod(tree_path("proc/kpagecount"), 0);
	ok = is_code(run_tool("", UNPRIVILEGED), PRIVILEGE) && !*out;
	ksft_test_result(ok, "kpagecount cannot be opened\n");
	chmod(tree_path("proc/100/pagemap"), 0);
	ok = is_code(run_tool("-p 100", UNPRIVILEGED), PRIVILEGE) && !*out;
	ksft_test_result(ok, "pagemap cannot be opened\n");
	chmod(tree_path("proc/101/maps"), 0);
	ok = is_code(run_tool("-p 101", UNPRIVILEGED), PRIVILEGE) && !*out;
	ksft_test_result(ok, "maps cannot be opened\n");
	chmod(tree_path(SUMMARY_FILE), 0);
	ok = is_code(run_tool("--no-counts", UNPRIVILEGED), OK);
	ksft_test_result(ok && strstr(out, "\nNo audit: " SUMMARY ": Permission denied\n"),
			 "the summary cannot be opened\n");
	remove_tree();
}

static void test_no_output(void)
{
	FILE *output;
	pid_t pid;
	int code;

	make_tree();
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (!pid) {
		dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		exec_tool("-p 100", UNPRIVILEGED);
	}
	code = wait_for(pid);
	ksft_test_result(code == FAILURE, "no space for the output (exit code %d)\n", code);

	/* It has somebody to write to, who then leaves. */
	pid = start_tool("--json --watch=0 -p 100", UNPRIVILEGED, &output);
	if (!fgets(out, sizeof(out), output))
		ksft_print_msg("no output\n");
	fclose(output);
	code = wait_for(pid);
	ksft_test_result(code == 1000 + SIGPIPE, "nobody reads (exit code %d)\n", code);
	remove_tree();
}

static bool sleeps(pid_t pid)
{
	char path[64], stat[256] = "";
	const char *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(stat, sizeof(stat), file))
		stat[0] = 0;
	fclose(file);
	state = strrchr(stat, ')');
	return state && !strncmp(state, ") S", 3);
}

/* Does it still run? It may take a moment to do what is waited for. */
static bool runs(int output_fd)
{
	struct pollfd pollfd = { .fd = output_fd };

	poll(NULL, 0, 1);
	return poll(&pollfd, 1, 0) >= 0 && !(pollfd.revents & POLLHUP);
}

/* Waits until the tool is writing, and cannot go on, as the pipe is full. */
static void wait_until_stuck(pid_t pid, int fd)
{
	int bytes = 0, size;

	fcntl(fd, F_SETPIPE_SZ, 1);
	size = fcntl(fd, F_GETPIPE_SZ);
	while (runs(fd)) {
		if (ioctl(fd, FIONREAD, &bytes) || (bytes >= size && sleeps(pid)))
			break;
	}
}

/* A signal that it got has no handler any more. */
static void wait_until_handled(pid_t pid, int fd, int signal)
{
	unsigned long long handlers = 1;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	while (handlers && runs(fd)) {
		handlers = 0;
		file = fopen(path, "r");
		if (!file)
			break;
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "SigCgt: %llx", &handlers) == 1)
				handlers &= 1ULL << (signal - 1);
		fclose(file);
	}
}

static void test_signal(int signal, const char *name)
{
	static const char long_report[] =
		"--json --watch=0 -p 100 -p 100 -p 100 -p 100 -p 100 -p 100";
	siginfo_t info;
	FILE *output;
	bool ok;
	int code, i;
	pid_t pid;

	make_tree();
	pid = start_tool("--json --watch=1000000 -p 100", UNPRIVILEGED, &output);
	ok = fgets(out, sizeof(out), output) && is_sane(out) && strchr(out, '\n');
	kill(pid, signal);
	ok = !fgets(out, sizeof(out), output) && ok;
	code = wait_for(pid);
	fclose(output);
	ksft_test_result(ok && code == OK, "%s ends --watch (exit code %d)\n", name, code);

	/* Longer than what stdio writes at once. */
	expect_begin();
	expect("{\"page_size\":%zu,\"processes\":[", pagesize);
	for (i = 0; i < 6; i++) {
		expect("%s", i ? "," : "");
		expect_process();
	}
	expect("]}\n");
	pid = start_tool(long_report, UNPRIVILEGED, &output);
	wait_until_stuck(pid, fileno(output));
	kill(pid, signal);
	wait_until_handled(pid, fileno(output), signal);
	ok = true;
	while (ok && fgets(out, sizeof(out), output))
		ok = is_expected();
	fclose(output);
	code = wait_for(pid);
	ksft_test_result(ok && code == OK, "%s does not cut a report (exit code %d)\n", name,
			 code);

	/* Nobody reads it. */
	pid = start_tool(long_report, UNPRIVILEGED, &output);
	wait_until_stuck(pid, fileno(output));
	do {
		kill(pid, signal);
		poll(NULL, 0, 1);
	} while (!waitid(P_PID, pid, memset(&info, 0, sizeof(info)),
			 WEXITED | WNOHANG | WNOWAIT) && !info.si_pid);
	code = wait_for(pid);
	fclose(output);
	ksft_test_result(code == 1000 + signal, "%s, more than once (exit code %d)\n", name,
			 code);
	remove_tree();
}

/* What a pipe holds is much less. */
#define MAX_REPORTS	2000

/* Reads reports until one has @what, or not. Have there been no others but sane ones? */
static bool read_until(FILE *output, const char *what, bool has)
{
	int i;

	for (i = 0; i < MAX_REPORTS && fgets(out, sizeof(out), output); i++) {
		if (!is_sane(out))
			return false;
		if (!strstr(out, what) == !has)
			return true;
	}
	return false;
}

static void test_process_goes(void)
{
	FILE *output;
	bool ok;
	int code;
	pid_t pid;

	make_tree();
	rename_in_tree("proc/100", "proc/first");
	write_process("second");
	if (symlink("first", tree_path("proc/100")) || symlink("second", tree_path("proc/next")))
		ksft_exit_fail_perror("symlink");
	pid = start_tool("--json --watch=0 -p 100 -p 101", UNPRIVILEGED, &output);
	ok = read_until(output, "\"pid\":100,", true) && strstr(out, "\"pid\":101,");
	/* Another process has the PID before this one is found to be gone. */
	rename_in_tree("proc/next", "proc/100");
	unlink(tree_path("proc/first/maps"));
	ok = ok && read_until(output, "\"pid\":100,", false) && strstr(out, "\"pid\":101,");
	/* Nor is it back when it has memory again. */
	write_tree_string("proc/first/maps", maps);
	ok = ok && read_until(output, "\"pid\":100,", false);
	unlink(tree_path("proc/101/pagemap"));
	while (ok && fgets(out, sizeof(out), output))
		ok = is_sane(out);
	fclose(output);
	code = wait_for(pid);
	ksft_test_result(ok && code == PROCESS, "processes go, one by one (exit code %d)\n",
			 code);
	remove_tree();
}

/* What has been read for one report must not get into the next. */
static void test_memory_changes(void)
{
	const uint64_t none = 0;
	FILE *output;
	bool ok;
	int fd;
	pid_t pid;

	/* A single folio, the first page of which is then gone. */
	nr_regions = 1;
	make_tree();
	set_process();
	pid = start_tool("--json --watch=0 -p 100", UNPRIVILEGED, &output);
	ok = read_until(output, "\"order\":4,", true);
	fd = open(tree_path("proc/kpageflags"), O_WRONLY);
	ok = pwrite(fd, &none, sizeof(none), 16 * sizeof(none)) == sizeof(none) && ok;
	close(fd);
	ok = ok && read_until(output, "\"special\":1,\"changed\":15}", true);
	kill(pid, SIGKILL);
	fclose(output);
	wait_for(pid);
	ksft_test_result(ok, "memory changes between reports\n");
	remove_tree();
}

static uint64_t random_flags(void)
{
	static const uint64_t kinds[] = {
		0, LRU, ANON_THP, ANON_THP | MMAP, FILE_THP | MMAP, FILE_THP | SWAPBACKED, SLAB,
		HUGE | MMAP, MMAP, ZERO_PAGE | THP, BUDDY, SWAPCACHE | SWAPBACKED | THP,
	};
	uint64_t flags = kinds[random() % ARRAY_SIZE(kinds)];

	if (!(random() % 50))
		flags ^= 1ULL << random() % 34;
	return flags;
}

static void randomize(void)
{
	unsigned int i, n;
	uint64_t flags;

	/* Mostly folios, so that there are some, and then single pages. */
	for (i = 0; i < NR_FRAMES / 16; i += n) {
		n = 1U << random() % 8;
		if (random() % 4)
			i = (i + n - 1) & ~(n - 1);
		if (i + n > NR_FRAMES / 16)
			break;
		flags = random_flags();
		set_folio(i, n, flags, random() % 3);
		if (!(random() % 4))
			set_counts(i + random() % n, 1, random() % 3);
	}
	for (i = 0; i < 50; i++)
		frame_flags[random() % (NR_FRAMES / 16)] = random_flags() |
			(random() % 2 ? TAIL : random() % 2 ? HEAD : 0);

	for (i = 0; i < NR_VIRT; i++) {
		if (!i || !(random() % 40))
			pagemap[i] = random() % (NR_FRAMES / 15) |
				     (random() % 8 ? PRESENT : PM_SWAP);
		else
			pagemap[i] = pagemap[i - 1] + 1;
		if (random() % 8)
			pagemap[i] ^= PM_MMAP_EXCLUSIVE;
	}
	nr_regions = 0;
	for (i = 0; i < NR_VIRT && nr_regions < MAX_REGIONS; i += n + random() % 20) {
		n = 1 + random() % 600;
		if (i + n > NR_VIRT)
			break;
		add_region(i, n, random() % 2 ? PAGE_IS_HUGE : 0);
	}
}

static void test_nonsense(void)
{
	int i, processes = 0, machines = 0;

	srandom(SEED);
	for (i = 0; i < NR_FUZZ; i++) {
		randomize();
		make_tree();
		processes += is_code(run_tool("--json -p 100", UNPRIVILEGED), OK) && is_sane(out);
		machines += is_code(run_tool("--json", UNPRIVILEGED), OK) && is_sane(out);
		remove_tree();
	}
	ksft_test_result(processes == NR_FUZZ, "random processes (%d of %d)\n", processes,
			 NR_FUZZ);
	ksft_test_result(machines == NR_FUZZ, "random memory (%d of %d)\n", machines, NR_FUZZ);
}

/* What a process is told to do. Its answer is one byte, too: did that work? */
enum step {
	STEP_ALLOCATE,
	STEP_SPLIT,
	STEP_UNMAP,
	STEP_FORK,
	STEP_EXIT,
	STEP_SHMEM,
	STEP_CHANGE,
};

#define NR_UNMAPPED	3

static struct {
	pid_t pid;
	int in, out;
} worker;

static size_t live_size;
static bool live_pmd;
static char *live_mem;
static pid_t other;

static char *map_aligned(size_t size, size_t align, int fd)
{
	char *mem;

	mem = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return NULL;
	mem = (char *)(((uintptr_t)mem + align - 1) & ~(align - 1));
	mem = mmap(mem, size, PROT_READ | PROT_WRITE,
		   MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0);
	return mem == MAP_FAILED ? NULL : mem;
}

static bool is_one_folio(const char *mem)
{
	const int fd = open("/proc/self/pagemap", O_RDONLY);
	const unsigned long pfn = pagemap_get_pfn(fd, (char *)mem);
	size_t i;

	for (i = 0; i < live_size / pagesize; i++)
		if (pagemap_get_pfn(fd, (char *)mem + i * pagesize) != pfn + i)
			break;
	close(fd);
	return i == live_size / pagesize && pfn != -1ul && !(pfn % i);
}

static bool allocate(void)
{
	live_mem = map_aligned(live_size, live_size, -1);
	if (!live_mem || madvise(live_mem, live_size, MADV_HUGEPAGE))
		return false;
	live_mem[0] = 1;
	/* Nothing for khugepaged. */
	if (madvise(live_mem, live_size, MADV_NOHUGEPAGE) || !is_one_folio(live_mem))
		return false;
	return !live_pmd || check_huge_anon(live_mem, live_size, 1, live_size);
}

static bool map_shmem(void)
{
	const int fd = memfd_create("folio", MFD_CLOEXEC);
	char *mem, *second;

	if (fd < 0 || ftruncate(fd, live_size))
		return false;
	mem = map_aligned(live_size, live_size, fd);
	if (!mem || madvise(mem, live_size, MADV_HUGEPAGE))
		return false;
	mem[0] = 1;
	if (!is_one_folio(mem) || !check_huge_shmem(mem, live_size, 1, live_size))
		return false;
	/* Where no PMD can map it. */
	second = map_aligned(live_size + 2 * live_size, live_size, -1);
	if (!second)
		return false;
	second = mmap(second + pagesize, live_size, PROT_READ | PROT_WRITE,
		      MAP_FIXED | MAP_SHARED, fd, 0);
	if (second == MAP_FAILED)
		return false;
	force_read_pages(second, live_size / pagesize, pagesize);
	return true;
}

static bool fork_other(void)
{
	const pid_t parent = getpid();

	other = fork();
	if (other)
		return other > 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		pause();
	_exit(0);
}

/* Never returns. It has several folios that never stay as they are. */
static void change_forever(void)
{
	char *mem = map_aligned(4 * live_size, live_size, -1);
	unsigned int seed = SEED;
	size_t offset;
	pid_t pid;

	if (!mem)
		_exit(1);
	for (;;) {
		offset = (rand_r(&seed) % (4 * live_size / pagesize)) * pagesize;
		switch (rand_r(&seed) % 8) {
		case 0:
			madvise(mem, 4 * live_size, MADV_DONTNEED);
			madvise(mem, 4 * live_size, MADV_HUGEPAGE);
			break;
		case 1:
			madvise(mem + offset, pagesize, MADV_DONTNEED);
			break;
		case 2:
			mprotect(mem + offset, pagesize, PROT_READ);
			mprotect(mem + offset, pagesize, PROT_READ | PROT_WRITE);
			break;
		case 3:
			madvise(mem, 4 * live_size, MADV_NOHUGEPAGE);
			break;
		case 4:
			pid = fork();
			if (!pid)
				_exit(0);
			waitpid(pid, NULL, 0);
			break;
		default:
			mem[offset] = 1;
			break;
		}
	}
}

static bool do_step(enum step step)
{
	switch (step) {
	case STEP_ALLOCATE:
		return allocate();
	case STEP_SPLIT:
		return !mprotect(live_mem, pagesize, PROT_READ) &&
		       !mprotect(live_mem, pagesize, PROT_READ | PROT_WRITE);
	case STEP_UNMAP:
		return !madvise(live_mem + pagesize, NR_UNMAPPED * pagesize, MADV_DONTNEED);
	case STEP_FORK:
		return fork_other();
	case STEP_EXIT:
		return !kill(other, SIGKILL) && waitpid(other, NULL, 0) == other;
	case STEP_SHMEM:
		return map_shmem();
	case STEP_CHANGE:
		/* The answer comes first. */
		return true;
	}
	return false;
}

static void start_worker(void)
{
	const pid_t parent = getpid();
	int in[2], answers[2];
	char step, answer;

	if (pipe2(in, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		ksft_exit_fail_perror("pipe2");
	worker.pid = fork();
	if (worker.pid < 0)
		ksft_exit_fail_perror("fork");
	if (worker.pid) {
		close(in[0]);
		close(answers[1]);
		worker.in = in[1];
		worker.out = answers[0];
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	close(in[1]);
	while (read(in[0], &step, 1) == 1) {
		answer = do_step(step);
		if (write(answers[1], &answer, 1) != 1)
			break;
		if (step == STEP_CHANGE)
			change_forever();
	}
	_exit(0);
}

static bool tell_worker(enum step step)
{
	char byte = step;

	return write(worker.in, &byte, 1) == 1 && read(worker.out, &byte, 1) == 1 && byte;
}

static void end_worker(void)
{
	kill(worker.pid, SIGKILL);
	waitpid(worker.pid, NULL, 0);
	close(worker.in);
	close(worker.out);
}

static const char * const live_keys[] = {
	"folios", "pmd", "pte", "both", "exclusive", "shared", "partly", "pages", "mapped",
	"mapped_exclusive",
};

struct live_row {
	long long values[ARRAY_SIZE(live_keys)];
};

static bool read_live_row(const char *type, struct live_row *row)
{
	char args[64], pattern[64];
	const char *json;
	unsigned int i;

	memset(row, 0, sizeof(*row));
	snprintf(args, sizeof(args), "--json -p %d", worker.pid);
	if (!is_code(run_tool(args, REAL), OK) || !is_sane(out))
		return false;
	snprintf(pattern, sizeof(pattern), "{\"type\":\"%s\",\"order\":%d,", type,
		 sz2ord(live_size, pagesize));
	json = strstr(out, pattern);
	for (i = 0; json && i < ARRAY_SIZE(live_keys); i++)
		row->values[i] = value(json, live_keys[i]);
	return true;
}

/* The rows without what the process has mapped before. */
static bool is_live_row(const char *type, const struct live_row *before,
			const struct live_row *wanted)
{
	struct live_row row;
	unsigned int i;
	int try;

	for (try = 0; try < MAX_TRIES; try++) {
		if (!read_live_row(type, &row))
			return false;
		for (i = 0; i < ARRAY_SIZE(live_keys); i++)
			row.values[i] -= before->values[i];
		if (!memcmp(&row, wanted, sizeof(row)))
			return true;
	}
	for (i = 0; i < ARRAY_SIZE(live_keys); i++)
		if (row.values[i] != wanted->values[i])
			ksft_print_msg("%s: %lld instead of %lld\n", live_keys[i],
				       row.values[i], wanted->values[i]);
	return false;
}

/* The audit is a part of it if there is one. */
static bool is_live_machine(void)
{
	char pattern[64];
	const char *row;

	if (!is_code(run_tool("--json", REAL), OK) || !is_sane(out))
		return false;
	snprintf(pattern, sizeof(pattern), "{\"type\":\"anon\",\"order\":%d,",
		 sz2ord(live_size, pagesize));
	row = strstr(out, pattern);
	if (!row || value(row, "mapped") < 1)
		return false;
	if (access(SUMMARY, R_OK))
		return strstr(out, "\"audit\":null}}\n");
	row = strstr(row + 1, pattern);
	return row && value(row, "folios") >= 1 && has_key(row, "excess");
}

#define TESTS_PER_SIZE	6

static void run_live_steps(const char *name)
{
	const long long nr = live_size / pagesize, rest = nr - NR_UNMAPPED;
	const struct live_row whole = { { 1, live_pmd, !live_pmd, 0, 1, 0, 0, nr, nr, nr } };
	const struct live_row split = { { 1, 0, 1, 0, 1, 0, 0, nr, nr, nr } };
	const struct live_row part = { { 1, 0, 1, 0, 1, 0, 1, nr, rest, rest } };
	const struct live_row shared = { { 1, 0, 1, 0, 0, 1, 1, nr, rest, 0 } };
	struct live_row before;

	if (!read_live_row("anon", &before) || !tell_worker(STEP_ALLOCATE)) {
		for (int i = 0; i < TESTS_PER_SIZE; i++)
			ksft_test_result_skip("%s: there is no such folio\n", name);
		return;
	}
	ksft_test_result(is_live_row("anon", &before, &whole), "%s: mapped\n", name);
	ksft_test_result(is_live_machine(), "%s: known in the machine\n", name);
	ksft_test_result(tell_worker(STEP_SPLIT) && is_live_row("anon", &before, &split),
			 "%s: mapped by PTEs\n", name);
	ksft_test_result(tell_worker(STEP_UNMAP) && is_live_row("anon", &before, &part),
			 "%s: mapped in part\n", name);
	ksft_test_result(tell_worker(STEP_FORK) && is_live_row("anon", &before, &shared),
			 "%s: shared\n", name);
	ksft_test_result(tell_worker(STEP_EXIT) && is_live_row("anon", &before, &part),
			 "%s: not shared any more\n", name);
}

static void run_live_shmem(const char *name)
{
	const long long nr = live_size / pagesize;
	const struct live_row both = { { 1, 0, 0, 1, 1, 0, 0, nr, nr, nr } };
	struct live_row before;

	start_worker();
	if (!read_live_row("shmem", &before) || !tell_worker(STEP_SHMEM))
		ksft_test_result_skip("%s of shmem: there is no such folio\n", name);
	else
		ksft_test_result(is_live_row("shmem", &before, &both),
				 "%s of shmem: mapped by a PMD and by PTEs\n", name);
	end_worker();
}

static void run_live_changes(const char *name)
{
	char args[64], *line, *next;
	int code, reports = 0;
	FILE *output;
	bool ok;
	pid_t pid;

	start_worker();
	ok = tell_worker(STEP_CHANGE);
	snprintf(args, sizeof(args), "--json --watch=0 --count=50 -p %d", worker.pid);
	ok = is_code(run_tool(args, REAL), OK) && ok;
	for (line = out; *line; line = next) {
		next = strchrnul(line, '\n');
		if (*next)
			*next++ = 0;
		ok = is_sane(line) && ok;
		reports++;
	}
	ksft_test_result(ok && reports == 50, "%s: a process that changes\n", name);

	snprintf(args, sizeof(args), "--json --watch=0 -p %d", worker.pid);
	pid = start_tool(args, REAL, &output);
	ok = fgets(out, sizeof(out), output) && is_sane(out);
	end_worker();
	while (fgets(out, sizeof(out), output))
		ok = is_sane(out) && ok;
	code = wait_for(pid);
	fclose(output);
	ksft_test_result(ok && code == PROCESS, "%s: a process that exits (exit code %d)\n",
			 name, code);
}

#define TESTS_LIVE	(2 * TESTS_PER_SIZE + 3)

/* Of a PMD, and of the smallest size that there is below it. */
static void run_live(void)
{
	const size_t pmdsize = read_pmd_pagesize();
	const unsigned long orders = thp_supported_orders();
	const int order = orders ? __builtin_ctzl(orders) : 0;
	struct thp_settings settings;
	int i;

	/* Restored when the test exits. */
	thp_save_settings();
	thp_read_settings(&settings);
	settings.thp_enabled = THP_MADVISE;
	settings.thp_defrag = THP_DEFRAG_ALWAYS;
	settings.shmem_enabled = SHMEM_WITHIN_SIZE;
	for (i = 0; i < NR_ORDERS; i++)
		settings.hugepages[i].enabled = THP_NEVER;
	settings.hugepages[sz2ord(pmdsize, pagesize)].enabled = THP_INHERIT;
	if (order)
		settings.hugepages[order].enabled = THP_MADVISE;
	thp_push_settings(&settings);

	live_size = pmdsize;
	live_pmd = true;
	start_worker();
	run_live_steps("PMD size");
	end_worker();
	run_live_shmem("PMD size");
	run_live_changes("PMD size");

	live_size = pagesize << order;
	live_pmd = false;
	if (order && live_size < pmdsize) {
		start_worker();
		run_live_steps("mTHP");
		end_worker();
	} else {
		for (i = 0; i < TESTS_PER_SIZE; i++)
			ksft_test_result_skip("mTHP: the kernel has none\n");
	}
}

#define TESTS_REAL	3

static void run_real(void)
{
	const int denied = access("/proc/kpageflags", F_OK) ? FEATURE : PRIVILEGE;
	char args[64], comm[16] = "";
	FILE *file;
	bool ok;

	ok = is_code(run_tool("", REAL | UNPRIVILEGED), denied) && !*out;
	ksft_test_result(ok, "without privileges\n");
	if (geteuid() || denied == FEATURE) {
		ksft_test_result_skip("without CAP_SYS_ADMIN: needs root and kpageflags\n");
		ksft_test_result_skip("a kernel thread: needs root and kpageflags\n");
		return;
	}
	snprintf(args, sizeof(args), "-p %d", getpid());
	ok = is_code(run_tool(args, REAL | NO_ADMIN), PRIVILEGE) && !*out;
	ksft_test_result(ok, "without CAP_SYS_ADMIN\n");

	file = fopen("/proc/2/comm", "r");
	if (file && !fgets(comm, sizeof(comm), file))
		comm[0] = 0;
	if (file)
		fclose(file);
	if (strcmp(comm, "kthreadd\n"))
		ksft_test_result_skip("a kernel thread: there is none\n");
	else
		ksft_test_result(is_code(run_tool("-p 2", REAL), PROCESS) && !*out,
				 "a kernel thread\n");
}

static void find_tool(void)
{
	const ssize_t len = readlink("/proc/self/exe", tool, sizeof(tool) - 1);
	char *slash = len > 0 ? strrchr(tool, '/') : NULL;

	if (!slash)
		ksft_exit_fail_msg("Cannot tell where the tool is\n");
	snprintf(slash, sizeof(tool) - (slash - tool), "/folio-mapcount");
	/* Others may not have access to the directory. */
	tool_fd = open(tool, O_PATH | O_CLOEXEC);
	if (tool_fd < 0)
		ksft_exit_fail_msg("Cannot open %s: %s\n", tool, strerror(errno));
}

static void name_tree(void)
{
	const char *dir = getenv("TMPDIR");

	snprintf(tree, sizeof(tree), "%s/folio_mapcount_tool.XXXXXX", dir ? dir : "/tmp");
	/* A name is enough: it is made anew for each test. */
	if (!mkdtemp(tree) || rmdir(tree))
		ksft_exit_fail_perror(tree);
}

/* All but the damages. */
#define TESTS_FAKE	35

int main(void)
{
	const char *reason = NULL;
	int i;

	ksft_print_header();
	ksft_set_plan(TESTS_FAKE + ARRAY_SIZE(damages) + TESTS_REAL + TESTS_LIVE);
	pagesize = getpagesize();
	/* Somebody without privileges reads what we write. */
	umask(022);
	find_tool();
	name_tree();

	test_output();
	test_several_processes();
	test_damages();
	test_bad_regions();
	test_privileges();
	test_no_output();
	test_signal(SIGINT, "SIGINT");
	test_signal(SIGTERM, "SIGTERM");
	test_process_goes();
	test_memory_changes();
	test_nonsense();
	run_real();

	if (geteuid())
		reason = "needs root";
	else if (access("/proc/kpageflags", R_OK))
		reason = "needs CONFIG_PROC_PAGE_MONITOR";
	else if (!thp_is_enabled())
		reason = "THP is off";
	if (reason)
		for (i = 0; i < TESTS_LIVE; i++)
			ksft_test_result_skip("a process with a THP: %s\n", reason);
	else
		run_live();
	ksft_finished();
}
