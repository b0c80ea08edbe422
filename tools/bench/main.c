// SPDX-License-Identifier: GPL-2.0
/*
 * The init of a guest that measures: fixed work between two markers, for a plugin of
 * QEMU to count what it takes. A line "row ..." for each pair of markers says what
 * it was; the last line is "end", or what went wrong.
 *
 * On the boot line: bench.mib=, bench.repeat=, bench.only=CASE[/BACKING].
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define FILE_NAME	"/mnt/file"
#define KPF_HEAD	15
#define KPF_TAIL	16

static const struct backing backings[] = {
	{ "order0", 4, ANON, CASES | ORDERS },
	{ "16K", 16, ANON, CASES | ORDERS },
	{ "32K", 32, ANON, ORDERS },
	{ "64K", 64, ANON, CASES | ORDERS | SHARERS },
	{ "128K", 128, ANON, ORDERS },
	{ "256K", 256, ANON, CASES | ORDERS },
	{ "512K", 512, ANON, ORDERS },
	{ "1M", 1024, ANON, ORDERS },
	{ "2M", 2048, ANON, ORDERS, .by_ptes = true },
	{ "2M-ptes", 2048, ANON, CASES | SHARERS, .by_ptes = true },
	{ "2M-pmds", 2048, ANON, CASES | SHARERS },
	{ "shmem-64K", 64, SHMEM, CASES },
	{ "shmem-2M", 2048, SHMEM, CASES },
	{ "file", 0, FILES, CASES },
}, nothing = { "nothing", 0, ANON };

static size_t mib = 64;
static int repeat = 3;
static char only_case[32], only_backing[32];

void die(const char *what)
{
	printf("failed: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(file);
	close(fd);
}

/* Files are only read: what a write to them takes is the file system's. */
void touch(struct area *a)
{
	size_t i;

	for (i = 0; i < a->size; i += PAGE) {
		if (a->backing->kind == FILES)
			*(volatile char *)(a->p + i);
		else
			*(volatile char *)(a->p + i) = 1;
	}
}

static void get_area(struct area *a)
{
	int flags = a->backing->kind == ANON ? MAP_PRIVATE | MAP_ANONYMOUS :
		    a->backing->kind == SHMEM ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
	char *p;

	if (!a->size)
		return;
	/* A PMD's worth of what nobody maps on either side. */
	p = mmap(NULL, a->size + 3 * PMD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	a->p = (char *)(((uintptr_t)p + 2 * PMD - 1) & ~(PMD - 1));
	a->fd = -1;
	if (a->backing->kind == FILES) {
		a->fd = open(FILE_NAME, O_RDWR);
		if (a->fd < 0)
			die(FILE_NAME);
	}
	if (mmap(a->p, a->size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, a->fd, 0) != a->p)
		die("mmap");
}

static uint64_t read_u64(const char *file, uint64_t index)
{
	int fd = open(file, O_RDONLY);
	uint64_t value;

	if (fd < 0 || pread(fd, &value, 8, index * 8) != 8)
		die(file);
	close(fd);
	return value;
}

static bool page_has(const char *p, int flag)
{
	uint64_t entry = read_u64("/proc/self/pagemap", (uintptr_t)p / PAGE);

	if (!(entry >> 63))
		die("not mapped");
	return read_u64("/proc/kpageflags", entry & ((1ull << 55) - 1)) >> flag & 1;
}

/* A number is worth nothing if the folios are not those that its row says. */
static void check_folio(const char *p, size_t size)
{
	bool good;

	if (size == PAGE)
		good = !page_has(p, KPF_HEAD) && !page_has(p, KPF_TAIL);
	else
		good = page_has(p, KPF_HEAD) && page_has(p + size - PAGE, KPF_TAIL) &&
		       page_has(p + size / 2, KPF_TAIL);
	errno = 0;
	if (!good)
		die("folios of another size");
}

void populate(struct area *a)
{
	size_t i, folio = a->backing->kib * 1024ul;

	touch(a);
	for (i = 0; a->backing->by_ptes && i < a->size; i += PMD) {
		if (mprotect(a->p + i, PAGE, PROT_READ) ||
		    mprotect(a->p + i, PAGE, PROT_READ | PROT_WRITE))
			die("mprotect");
	}
	for (i = 0; folio && i < a->size; i += PMD)
		check_folio(a->p + i, folio);
}

/* Pipes that end a child, and that say that it has begun to wait for that. */
static int life[2], ready[2];

void start_child(struct area *a, void (*first)(struct area *a))
{
	char byte = 0;

	a->child = fork();
	if (a->child < 0)
		die("fork");
	if (a->child)
		return;
	close(life[1]);
	if (first)
		first(a);
	if (write(ready[1], &byte, 1) != 1 || read(life[0], &byte, 1) != 0)
		_exit(1);
	_exit(0);
}

void end_child(struct area *a)
{
	int status;

	close(life[1]);
	if (waitpid(a->child, &status, 0) != a->child || status)
		die("child");
}

static void await_child(void)
{
	char byte;

	if (read(ready[0], &byte, 1) != 1)
		die("child");
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static void once(const struct bench_case *c, struct area *a)
{
	int sharing[2];
	long before, after;

	get_area(a);
	if (c->populated && a->size)
		populate(a);
	if (pipe(ready) || pipe(sharing))
		die("pipe");
	for (int i = 0; i < a->sharers; i++) {
		/* They end when this process has ended. */
		memcpy(life, sharing, sizeof(life));
		start_child(a, NULL);
		await_child();
	}
	a->child = 0;
	close(sharing[0]);
	if (pipe(life))
		die("pipe");
	if (c->prepare)
		c->prepare(a);
	if (a->child)
		await_child();
	before = faults();
	BENCH_MARK(MARKER_BEGIN);
	c->run(a);
	BENCH_MARK(MARKER_END);
	after = faults();
	printf("row %s %s %u %zu %d %ld\n", c->name, a->backing->name, a->backing->kib,
	       a->size >> 20, a->sharers, after - before);
	fflush(stdout);
}

static void repeated(const struct bench_case *c, const struct backing *b, size_t size, int sharers)
{
	char file[128], name[32];
	int status;

	if ((*only_case && strcmp(only_case, c->name)) ||
	    (*only_backing && strcmp(only_backing, b->name) && b != &nothing))
		return;
	if (!(c->kinds & 1 << b->kind) || (c->fits && !c->fits(b)))
		return;
	for (unsigned int kib = 16; kib <= 2048; kib *= 2) {
		sprintf(name, "hugepages-%ukB/", kib);
		sprintf(file, THP "%senabled", name);
		put(file, kib == b->kib && b->kind == ANON ? "always" : "never");
		sprintf(file, THP "%sshmem_enabled", name);
		put(file, kib == b->kib && b->kind == SHMEM ? "always" : "never");
	}
	for (int i = 0; i < repeat; i++) {
		struct area a = { .backing = b, .size = size, .sharers = sharers };
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid) {
			once(c, &a);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status) {
			errno = 0;
			die("a case");
		}
		/* Its children that are left end with it; this is their init. */
		while (waitpid(-1, NULL, 0) > 0)
			;
	}
}

static void run(char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execv(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die(argv[0]);
}

/*
 * Swap and a file system in compressed memory: when a disk has done something depends
 * on the host, and the guest would not do the same things twice.
 */
static void make_disks(void)
{
	char size[32];
	int fd;

	sprintf(size, "%zuM", 4 * mib);
	put("/sys/block/zram0/disksize", size);
	run((char *[]){ "/busybox", "mkswap", "/dev/zram0", NULL });
	if (swapon("/dev/zram0", 0))
		die("swapon");
	/* Reading this makes another one. */
	fd = open("/sys/class/zram-control/hot_add", O_RDONLY);
	if (fd < 0 || read(fd, size, sizeof(size)) <= 0 || *size != '1')
		die("zram1");
	close(fd);
	sprintf(size, "%zuM", 2 * mib + 512);
	put("/sys/block/zram1/disksize", size);
	run((char *[]){ "/mkfs.xfs", "-q", "/dev/zram1", NULL });
	if (mount("/dev/zram1", "/mnt", "xfs", 0, ""))
		die("mount xfs");
}

static void make_file(size_t size)
{
	static char block[2 << 20];
	int fd = open(FILE_NAME, O_RDWR | O_CREAT, 0600);

	if (fd < 0)
		die(FILE_NAME);
	memset(block, 1, sizeof(block));
	for (size_t i = 0; i < size; i += sizeof(block)) {
		if (write(fd, block, sizeof(block)) != sizeof(block))
			die(FILE_NAME);
	}
	fsync(fd);
	close(fd);
}

static void options(void)
{
	char line[1024] = "", *word;
	int fd = open("/proc/cmdline", O_RDONLY);

	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		die("/proc/cmdline");
	close(fd);
	for (word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
		sscanf(word, "bench.mib=%zu", &mib);
		sscanf(word, "bench.repeat=%d", &repeat);
		sscanf(word, "bench.only=%31[^/]/%31s", only_case, only_backing);
	}
}

static void setup(void)
{
	static const char *const dirs[] = { "/dev", "/proc", "/sys", "/mnt" };

	for (unsigned int i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		mkdir(dirs[i], 0755);
	if (mount("dev", "/dev", "devtmpfs", 0, ""))
		die("mount");
	/* There is no /dev/console before that. */
	for (int fd = 0; fd < 3; fd++)
		dup2(open("/dev/console", O_RDWR), fd);
	if (mount("proc", "/proc", "proc", 0, "") ||
	    mount("sys", "/sys", "sysfs", 0, ""))
		die("mount");
	options();
	put(THP "defrag", "always");
	put(THP "khugepaged/scan_sleep_millisecs", "1000000000");
	put("/proc/sys/vm/compaction_proactiveness", "0");
	make_disks();
	make_file(mib << 20);
}

static void count_part(enum part part, size_t size)
{
	for (const struct bench_case *c = cases; c->name; c++) {
		int sharers = part == SHARERS;

		if (!(c->parts & part))
			continue;
		do {
			if (c->fixed && part != ORDERS)
				repeated(c, &nothing, 0, sharers);
			for (unsigned int b = 0; b < sizeof(backings) / sizeof(*backings); b++) {
				if (backings[b].parts & part)
					repeated(c, &backings[b], size, sharers);
			}
			sharers *= 2;
		} while (sharers && sharers <= 64);
	}
}

int main(void)
{
	setup();
	count_part(CASES, mib << 20);
	printf("part orders\n");
	count_part(ORDERS, mib << 20);
	printf("part sharers\n");
	count_part(SHARERS, (mib << 20) / 8 & ~(PMD - 1));
	printf("end\n");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 0;
}
