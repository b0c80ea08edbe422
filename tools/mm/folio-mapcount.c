// SPDX-License-Identifier: GPL-2.0
/*
 * Which folios are there, how large are they, and who maps how much of them?
 *
 * What the columns mean, where they come from and how exact they are is in the
 * man page, folio-mapcount.8.
 */
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../include/uapi/linux/fs.h"
#include "../../include/uapi/linux/kernel-page-flags.h"

/* Entries of 64 bits that are read at once, and around a page that is looked up. */
#define CHUNK		32768
#define WINDOW		512
#define MAX_REGIONS	1024
/* Reading that many entries in vain costs less than another system call. */
#define MAX_GAP		512
/* How often to look again at a process that has replaced its memory: exec(). */
#define MAX_TRIES	3

#define NR_ORDERS	32
#define MAX_COLUMNS	10
#define UNKNOWN		LLONG_MIN

#define SUMMARY		"/sys/kernel/debug/folio_mapcount/summary"

#define KPF(name)	(UINT64_C(1) << KPF_##name)

#define PM_PFN(entry)	((entry) & ((UINT64_C(1) << 55) - 1))
#define PM_EXCLUSIVE	(UINT64_C(1) << 56)
#define PM_PRESENT	(UINT64_C(1) << 63)

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Part of the interface: see EXIT STATUS in the man page. */
enum exit_code {
	CODE_OK,
	CODE_FAILURE,
	CODE_USAGE,
	CODE_PRIVILEGE,
	CODE_FEATURE,
	CODE_PROCESS,
};

enum type {
	TYPE_ANON,
	TYPE_SHMEM,
	TYPE_FILE,
	TYPE_SWAPCACHE,
	TYPE_HUGETLB,
	TYPE_OTHER,
	NR_TYPES,
	TYPE_NONE = NR_TYPES,
};

static const char * const type_names[NR_TYPES] = {
	[TYPE_ANON] = "anon",
	[TYPE_SHMEM] = "shmem",
	[TYPE_FILE] = "file",
	[TYPE_SWAPCACHE] = "swapcache",
	[TYPE_HUGETLB] = "hugetlb",
	[TYPE_OTHER] = "other",
};

enum process_column {
	PROCESS_FOLIOS,
	PROCESS_PMD,
	PROCESS_PTE,
	PROCESS_BOTH,
	PROCESS_EXCLUSIVE,
	PROCESS_SHARED,
	PROCESS_PARTLY,
	PROCESS_PAGES,
	PROCESS_MAPPED,
	PROCESS_MAPPED_EXCLUSIVE,
	NR_PROCESS_COLUMNS,
};

static const char * const process_columns[] = {
	[PROCESS_FOLIOS] = "folios",
	[PROCESS_PMD] = "pmd",
	[PROCESS_PTE] = "pte",
	[PROCESS_BOTH] = "both",
	[PROCESS_EXCLUSIVE] = "exclusive",
	[PROCESS_SHARED] = "shared",
	[PROCESS_PARTLY] = "partly",
	[PROCESS_PAGES] = "pages",
	[PROCESS_MAPPED] = "mapped",
	[PROCESS_MAPPED_EXCLUSIVE] = "mapped_exclusive",
};

enum machine_column {
	MACHINE_FOLIOS,
	MACHINE_MAPPED,
	MACHINE_PARTLY,
	MACHINE_ONCE,
	MACHINE_SEVERAL,
	MACHINE_PAGES,
	MACHINE_MAPPED_PAGES,
	NR_MACHINE_COLUMNS,
};

static const char * const machine_columns[] = {
	[MACHINE_FOLIOS] = "folios",
	[MACHINE_MAPPED] = "mapped",
	[MACHINE_PARTLY] = "partly",
	[MACHINE_ONCE] = "once",
	[MACHINE_SEVERAL] = "several",
	[MACHINE_PAGES] = "pages",
	[MACHINE_MAPPED_PAGES] = "mapped_pages",
};

enum audit_column {
	AUDIT_FOLIOS,
	AUDIT_PMD_MAPPED,
	AUDIT_PTE_MAPPED,
	AUDIT_EXCLUSIVE,
	AUDIT_SHARED,
	AUDIT_PARTLY,
	AUDIT_ACCOUNTED,
	AUDIT_MAPPED,
	AUDIT_EXCESS,
	NR_AUDIT_COLUMNS,
};

static const char * const audit_columns[] = {
	[AUDIT_FOLIOS] = "folios",
	[AUDIT_PMD_MAPPED] = "pmd_mapped",
	[AUDIT_PTE_MAPPED] = "pte_mapped",
	[AUDIT_EXCLUSIVE] = "exclusive",
	[AUDIT_SHARED] = "shared",
	[AUDIT_PARTLY] = "partly",
	[AUDIT_ACCOUNTED] = "accounted",
	[AUDIT_MAPPED] = "mapped",
	[AUDIT_EXCESS] = "excess",
};

static const char audit_header[] =
	"type order folios pmd_mapped pte_mapped exclusive shared partly_mapped accounted mapped\n";

/* A row is printed if its first column, the number of folios, is not 0. */
struct table {
	const char * const *columns;
	unsigned int nr_columns;
	long long rows[NR_TYPES][NR_ORDERS][MAX_COLUMNS];
};

/* What its pages say about a folio. They can change while they are read. */
struct folio {
	uint64_t first;
	uint64_t nr;
	uint64_t flags;
	bool torn;
};

struct process {
	pid_t pid;
	/* Stays the one of this process, even if another one gets its PID. */
	int dir;
	int pagemap;
	bool gone;
	struct table table;
	/* In pages of its address space. */
	unsigned long long zero, special, changed;
};

struct range {
	uint64_t start;
	uint64_t end;
};

/* How a process maps a folio, in pages of the folio. */
struct use {
	uint64_t entries;
	uint64_t mapped;
	uint64_t exclusive;
	uint64_t pmd;
	uint64_t pte;
};

static const char * const meminfo_keys[] = {
	"AnonHugePages", "ShmemPmdMapped", "FilePmdMapped",
};

static const char * const meminfo_types[ARRAY_SIZE(meminfo_keys)] = {
	"anon", "shmem", "file",
};

struct machine {
	struct table table;
	struct table audit;
	bool has_audit;
	int audit_error;
	/* In page frames. */
	unsigned long long frames, changed;
	long long pmd_kb[ARRAY_SIZE(meminfo_keys)];
	/* The folio that is being read, and how many of its pages are mapped. */
	struct folio folio;
	uint64_t mapped_pages;
	uint64_t max_count;
};

static const char *root = "";
static bool json, watch;
static bool use_counts = true, use_audit = true;
static double seconds = 2;
static unsigned long max_reports;
static struct process *processes;
static unsigned int nr_processes;

static unsigned long long page_size;
static int kpageflags_fd, kpagecount_fd = -1;
static struct machine machine;
static atomic_bool stopped;

/* Of a process: page frame numbers, and how each of them is mapped. */
#define MAPPED_EXCLUSIVE	1
#define MAPPED_PMD		2
#define MAPPED_SHIFT		2

static struct {
	uint64_t *entries;
	size_t nr;
	size_t max;
	uint64_t nonzero_pfns;
} mapped;

static uint64_t chunk[CHUNK], chunk_counts[CHUNK];

static struct {
	uint64_t first;
	size_t nr;
	uint64_t flags[WINDOW];
} window;

static bool is_denied(int error)
{
	return error == EACCES || error == EPERM;
}

static bool is_missing(int error)
{
	return error == ENOENT || error == ESRCH;
}

static const char *full_path(const char *path)
{
	static char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		errx(CODE_USAGE, "the path of --root is too long");
	return full;
}

static int open_kpage_file(const char *path)
{
	const int fd = open(full_path(path), O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (is_denied(errno))
		err(CODE_PRIVILEGE, "only root may do that: %s", path);
	if (is_missing(errno))
		err(CODE_FEATURE, "the kernel lacks CONFIG_PROC_PAGE_MONITOR: %s", path);
	err(CODE_FAILURE, "%s", path);
}

/* Returns less than @nr at the end of the file only. */
static size_t read_entries(int fd, const char *name, uint64_t first, uint64_t *entries, size_t nr)
{
	const size_t size = nr * sizeof(*entries);
	size_t done = 0;
	ssize_t ret;

	while (done < size) {
		ret = pread(fd, (char *)entries + done, size - done,
			    first * sizeof(*entries) + done);
		if (!ret)
			break;
		if (ret > 0)
			done += ret;
		else if (errno != EINTR)
			err(CODE_FAILURE, "%s", name);
	}
	if (done % sizeof(*entries))
		errx(CODE_FAILURE, "%s: ends in the middle of an entry", name);
	return done / sizeof(*entries);
}

/*
 * What kind of folio a page belongs to, by the flags of the page. Flags of tail pages
 * are those of the folio. New folios are not on an LRU list for some time. So what
 * tells a page of the page cache from one that a driver has mapped is, in addition,
 * that it is uptodate, or else it would not be mapped.
 */
static enum type folio_type(uint64_t flags)
{
	if (flags & (KPF(NOPAGE) | KPF(BUDDY) | KPF(SLAB) | KPF(PGTABLE) | KPF(OFFLINE) |
		     KPF(ZERO_PAGE)))
		return TYPE_NONE;
	if (flags & KPF(HUGE))
		return TYPE_HUGETLB;
	if (flags & (KPF(COMPOUND_HEAD) | KPF(COMPOUND_TAIL)) && !(flags & KPF(THP)))
		return flags & KPF(MMAP) ? TYPE_OTHER : TYPE_NONE;
	if (flags & KPF(ANON))
		return TYPE_ANON;
	if (flags & KPF(SWAPCACHE))
		return TYPE_SWAPCACHE;
	if (flags & KPF(SWAPBACKED))
		return TYPE_SHMEM;
	if (flags & (KPF(THP) | KPF(LRU) | KPF(UPTODATE)))
		return TYPE_FILE;
	return flags & KPF(MMAP) ? TYPE_OTHER : TYPE_NONE;
}

static void start_folio(struct folio *folio, uint64_t pfn, uint64_t flags)
{
	folio->first = pfn;
	folio->nr = 1;
	folio->flags = flags;
	folio->torn = flags & KPF(COMPOUND_TAIL);
}

static void extend_folio(struct folio *folio, uint64_t flags)
{
	folio->nr++;
	if ((folio->flags ^ flags) & (KPF(ANON) | KPF(HUGE) | KPF(THP)))
		folio->torn = true;
}

/* Returns -1 if no folio looks like that: it was split, freed or allocated meanwhile. */
static int folio_order(const struct folio *folio)
{
	int order;

	if (folio->torn)
		return -1;
	if (!(folio->flags & KPF(COMPOUND_HEAD)))
		return 0;
	if (folio->nr < 2 || folio->nr & (folio->nr - 1) || folio->first & (folio->nr - 1))
		return -1;
	order = __builtin_ctzll(folio->nr);
	return order < NR_ORDERS ? order : -1;
}

/* Pages that are not there have no flags. */
static uint64_t page_flags(uint64_t pfn)
{
	if (pfn - window.first >= window.nr) {
		window.first = pfn & ~(uint64_t)(WINDOW - 1);
		window.nr = read_entries(kpageflags_fd, "/proc/kpageflags", window.first,
					 window.flags, WINDOW);
		memset(window.flags + window.nr, 0,
		       (WINDOW - window.nr) * sizeof(window.flags[0]));
		window.nr = WINDOW;
	}
	return window.flags[pfn - window.first];
}

/* What is found contains @pfn in any case. */
static void find_folio(uint64_t pfn, struct folio *folio)
{
	uint64_t first = pfn, next;

	while (first && page_flags(first) & KPF(COMPOUND_TAIL) &&
	       page_flags(first - 1) & (KPF(COMPOUND_HEAD) | KPF(COMPOUND_TAIL)))
		first--;
	start_folio(folio, first, page_flags(first));
	if (folio->flags & (KPF(COMPOUND_HEAD) | KPF(COMPOUND_TAIL)))
		for (next = first + 1; page_flags(next) & KPF(COMPOUND_TAIL); next++)
			extend_folio(folio, page_flags(next));
	/* What is read again can be different. */
	if (folio->first + folio->nr <= pfn) {
		folio->nr = pfn - folio->first + 1;
		folio->torn = true;
	}
}

static void *grow(void *array, size_t *max, size_t size)
{
	*max = *max ? *max * 2 : 1024;
	array = *max <= SIZE_MAX / size ? realloc(array, *max * size) : NULL;
	if (!array)
		errx(CODE_FAILURE, "out of memory");
	return array;
}

static void clear_table(struct table *table, const char * const *columns, unsigned int nr)
{
	memset(table, 0, sizeof(*table));
	table->columns = columns;
	table->nr_columns = nr;
}

static void add_mapped(uint64_t entry, bool pmd)
{
	if (!(entry & PM_PRESENT))
		return;
	if (mapped.nr == mapped.max)
		mapped.entries = grow(mapped.entries, &mapped.max, sizeof(*mapped.entries));
	if (PM_PFN(entry))
		mapped.nonzero_pfns++;
	mapped.entries[mapped.nr++] = PM_PFN(entry) << MAPPED_SHIFT |
				      (pmd ? MAPPED_PMD : 0) |
				      (entry & PM_EXCLUSIVE ? MAPPED_EXCLUSIVE : 0);
}

/*
 * The tree of --root has no ioctl(). Instead, it has what PAGEMAP_SCAN would return
 * for the whole address space.
 */
static int scan_file(const struct process *p, const struct range *range,
		     struct page_region *regions)
{
	struct page_region all[MAX_REGIONS + 1];
	ssize_t size;
	int fd, nr = 0;
	size_t i;

	fd = openat(p->dir, "pagemap_scan", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(CODE_FEATURE, "pagemap_scan");
	size = read(fd, all, sizeof(all));
	close(fd);
	if (size < 0 || size % sizeof(all[0]) || size == sizeof(all))
		errx(CODE_FAILURE, "pagemap_scan: not up to %d regions", MAX_REGIONS);

	for (i = 0; i < size / sizeof(all[0]); i++) {
		struct page_region region = all[i];

		if (region.start < range->start)
			region.start = range->start;
		if (region.end > range->end)
			region.end = range->end;
		if (region.start < region.end)
			regions[nr++] = region;
	}
	return nr;
}

/*
 * Finds where pages are present, from range->start on, and what of that PMDs map.
 * Returns the number of regions, and where to go on, or -1 if the process is gone.
 */
static int scan_range(const struct process *p, const struct range *range,
		      struct page_region *regions, uint64_t *next)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = range->start,
		.end = range->end,
		.vec = (uintptr_t)regions,
		.vec_len = MAX_REGIONS,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_HUGE,
	};
	const int nr = ioctl(p->pagemap, PAGEMAP_SCAN, &arg);

	*next = range->end;
	if (nr >= 0) {
		if (arg.walk_end > range->start)
			*next = arg.walk_end;
		return nr;
	}
	if (errno == ESRCH)
		return -1;
	if (errno != ENOTTY && errno != EINVAL)
		err(CODE_FAILURE, "PAGEMAP_SCAN of process %d", p->pid);
	if (!*root)
		errx(CODE_FEATURE, "the kernel has no PAGEMAP_SCAN");
	return scan_file(p, range, regions);
}

/* Returns false if the process is gone. */
static bool read_regions(const struct process *p, const struct page_region *regions, int nr)
{
	uint64_t page, start, end;
	size_t count, i;
	int r = 0, last;

	while (r < nr) {
		start = regions[r].start / page_size;
		for (last = r; last + 1 < nr; last++)
			if ((regions[last + 1].start - regions[last].end) / page_size > MAX_GAP)
				break;
		end = regions[last].end / page_size;

		for (page = start; page < end; page += count) {
			count = end - page < CHUNK ? end - page : CHUNK;
			/* Of who has no memory any more, nothing can be read. */
			if (read_entries(p->pagemap, "pagemap", page, chunk, count) != count)
				return false;
			for (i = 0; i < count; i++) {
				const uint64_t address = (page + i) * page_size;

				while (address >= regions[r].end)
					r++;
				add_mapped(chunk[i], address >= regions[r].start &&
					   regions[r].categories & PAGE_IS_HUGE);
			}
		}
		r = last + 1;
	}
	return true;
}

/* Returns false if the process is gone. */
static bool read_range(const struct process *p, struct range range)
{
	struct page_region regions[MAX_REGIONS];
	uint64_t next, end;
	int nr, i;

	for (; range.start < range.end && !stopped; range.start = next) {
		nr = scan_range(p, &range, regions, &next);
		if (nr < 0)
			return false;
		end = range.start;
		for (i = 0; i < nr; i++) {
			if (regions[i].start < end || regions[i].end <= regions[i].start ||
			    regions[i].start % page_size || regions[i].end % page_size)
				errx(CODE_FAILURE, "the regions of PAGEMAP_SCAN make no sense");
			end = regions[i].end;
		}
		if (!read_regions(p, regions, nr))
			return false;
	}
	return true;
}

/* Returns what the process has as a file of that name, or -1 if it is gone. */
static int open_process_file(const struct process *p, const char *name)
{
	const int fd = openat(p->dir, name, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 || is_missing(errno))
		return fd;
	err(is_denied(errno) ? CODE_PRIVILEGE : CODE_FAILURE, "%s of process %d", name, p->pid);
}

/* Returns false if there is no memory, which is how it is after the process exited. */
static bool read_maps(const struct process *p, struct range **ranges, size_t *nr)
{
	unsigned long long start, end, last = 0;
	size_t max = 0, size = 0;
	char *line = NULL;
	int fd, name;
	FILE *file;

	*ranges = NULL;
	*nr = 0;
	fd = open_process_file(p, "maps");
	if (fd < 0)
		return false;
	file = fdopen(fd, "r");
	if (!file)
		err(CODE_FAILURE, "maps of process %d", p->pid);
	while (getline(&line, &size, file) > 0) {
		name = 0;
		if (sscanf(line, "%llx-%llx %*4s %*x %*x:%*x %*u %n",
			   &start, &end, &name) != 2 || !name || start >= end ||
		    start % page_size || end % page_size)
			errx(CODE_FAILURE, "maps of process %d: a line is not as expected: %s",
			     p->pid, line);
		/* What was printed before can have been merged with what comes next. */
		if (start < last)
			start = last;
		if (start >= end)
			continue;
		last = end;
		/* No part of the process, and beyond what pagemap has. */
		if (!strcmp(line + name, "[vsyscall]\n"))
			continue;
		if (*nr == max)
			*ranges = grow(*ranges, &max, sizeof(**ranges));
		(*ranges)[*nr].start = start;
		(*ranges)[(*nr)++].end = end;
	}
	if (ferror(file) && !is_missing(errno))
		err(CODE_FAILURE, "maps of process %d", p->pid);
	free(line);
	fclose(file);
	return *nr;
}

/* Returns false if the process is gone, or has other memory by now. */
static bool read_process(struct process *p)
{
	struct range *ranges;
	size_t nr, i;
	bool ok;

	mapped.nr = 0;
	mapped.nonzero_pfns = 0;
	/* Before the maps: if exec() comes in between, it is this that notices. */
	p->pagemap = open_process_file(p, "pagemap");
	if (p->pagemap < 0)
		return false;
	ok = read_maps(p, &ranges, &nr);
	for (i = 0; ok && i < nr; i++)
		ok = read_range(p, ranges[i]);
	free(ranges);
	close(p->pagemap);
	return ok;
}

static int compare_entries(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void account_use(struct process *p, const struct folio *folio, const struct use *use)
{
	const enum type type = folio_type(folio->flags);
	const int order = folio_order(folio);
	/* An entry that is half of a PMD was split before pagemap was read. */
	const bool pmd = use->pmd == folio->nr && order > 0;
	const bool pte = use->pte || (use->pmd && !pmd);
	long long *row;

	if (folio->flags & KPF(ZERO_PAGE)) {
		p->zero += use->entries;
		return;
	}
	if (order < 0 || folio->flags & (KPF(BUDDY) | KPF(SLAB) | KPF(PGTABLE))) {
		p->changed += use->entries;
		return;
	}
	if (type == TYPE_NONE || !(folio->flags & KPF(MMAP))) {
		p->special += use->entries;
		return;
	}

	row = p->table.rows[type][order];
	row[PROCESS_FOLIOS]++;
	row[PROCESS_PMD] += pmd && !pte;
	row[PROCESS_PTE] += pte && !pmd;
	row[PROCESS_BOTH] += pmd && pte;
	row[PROCESS_EXCLUSIVE] += use->exclusive == use->mapped;
	row[PROCESS_SHARED] += use->exclusive != use->mapped;
	row[PROCESS_PARTLY] += use->mapped < folio->nr;
	row[PROCESS_PAGES] += folio->nr;
	row[PROCESS_MAPPED] += use->mapped;
	row[PROCESS_MAPPED_EXCLUSIVE] += use->exclusive;
	if (type == TYPE_HUGETLB) {
		row[PROCESS_PMD] = UNKNOWN;
		row[PROCESS_PTE] = UNKNOWN;
		row[PROCESS_BOTH] = UNKNOWN;
	}
}

static void account_process(struct process *p)
{
	struct folio folio;
	size_t i = 0;

	if (mapped.nr)
		qsort(mapped.entries, mapped.nr, sizeof(*mapped.entries), compare_entries);
	/* Flags from before pagemap was read do not belong to what it says. */
	window.nr = 0;
	while (i < mapped.nr && !stopped) {
		struct use use = {};

		find_folio(mapped.entries[i] >> MAPPED_SHIFT, &folio);
		while (i < mapped.nr &&
		       mapped.entries[i] >> MAPPED_SHIFT < folio.first + folio.nr) {
			const uint64_t pfn = mapped.entries[i] >> MAPPED_SHIFT;
			bool pmd = false, pte = false, exclusive = true;

			for (; i < mapped.nr && mapped.entries[i] >> MAPPED_SHIFT == pfn; i++) {
				if (mapped.entries[i] & MAPPED_PMD)
					pmd = true;
				else
					pte = true;
				if (!(mapped.entries[i] & MAPPED_EXCLUSIVE))
					exclusive = false;
				use.entries++;
			}
			use.mapped++;
			use.exclusive += exclusive;
			use.pmd += pmd;
			use.pte += pte;
		}
		account_use(p, &folio, &use);
	}
}

static void leave_process(struct process *p, const char *why)
{
	warnx("process %d %s", p->pid, why);
	p->gone = true;
}

static void gather_process(struct process *p)
{
	int try;

	for (try = 0; !read_process(p); try++) {
		if (try == MAX_TRIES) {
			leave_process(p, "is gone, or has no memory of its own");
			return;
		}
	}
	if (mapped.nr && !mapped.nonzero_pfns)
		errx(CODE_PRIVILEGE, "this takes CAP_SYS_ADMIN: pagemap has no frame numbers");
	clear_table(&p->table, process_columns, NR_PROCESS_COLUMNS);
	p->zero = 0;
	p->special = 0;
	p->changed = 0;
	account_process(p);
}

static void open_processes(void)
{
	char path[64];
	unsigned int i;

	for (i = 0; i < nr_processes; i++) {
		struct process *p = &processes[i];

		snprintf(path, sizeof(path), "/proc/%d", p->pid);
		p->dir = open(full_path(path), O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (p->dir >= 0)
			continue;
		if (!is_missing(errno))
			err(is_denied(errno) ? CODE_PRIVILEGE : CODE_FAILURE, "%s", path);
		leave_process(p, "does not exist");
	}
}

static void account_machine_folio(struct machine *m)
{
	const struct folio *folio = &m->folio;
	const enum type type = folio->nr ? folio_type(folio->flags) : TYPE_NONE;
	const int order = folio_order(folio);
	long long *row;
	bool is_mapped;

	if (type == TYPE_NONE)
		return;
	if (order < 0) {
		m->changed += folio->nr;
		return;
	}
	/* If only one of both says so, somebody maps or unmaps it just now. */
	is_mapped = folio->flags & KPF(MMAP) && (!use_counts || m->max_count);

	row = m->table.rows[type][order];
	row[MACHINE_FOLIOS]++;
	row[MACHINE_PAGES] += folio->nr;
	row[MACHINE_MAPPED] += is_mapped;
	if (!use_counts) {
		row[MACHINE_PARTLY] = UNKNOWN;
		row[MACHINE_ONCE] = UNKNOWN;
		row[MACHINE_SEVERAL] = UNKNOWN;
		row[MACHINE_MAPPED_PAGES] = UNKNOWN;
	} else if (is_mapped) {
		row[MACHINE_PARTLY] += m->mapped_pages < folio->nr;
		row[MACHINE_ONCE] += m->max_count == 1;
		row[MACHINE_SEVERAL] += m->max_count > 1;
		row[MACHINE_MAPPED_PAGES] += m->mapped_pages;
	}
}

static void add_frame(struct machine *m, uint64_t pfn, uint64_t flags, uint64_t count)
{
	if (flags & KPF(COMPOUND_TAIL) && m->folio.nr &&
	    m->folio.flags & (KPF(COMPOUND_HEAD) | KPF(COMPOUND_TAIL))) {
		extend_folio(&m->folio, flags);
	} else {
		account_machine_folio(m);
		start_folio(&m->folio, pfn, flags);
		m->mapped_pages = 0;
		m->max_count = 0;
	}
	m->mapped_pages += count > 0;
	if (count > m->max_count)
		m->max_count = count;
}

static void read_frames(struct machine *m)
{
	size_t nr, i;
	bool any;

	m->folio.nr = 0;
	for (m->frames = 0; !stopped; m->frames += nr) {
		nr = read_entries(kpageflags_fd, "/proc/kpageflags", m->frames, chunk, CHUNK);
		if (!nr)
			break;
		any = false;
		for (i = 0; i < nr && !any; i++)
			any = chunk[i] & KPF(MMAP);
		/* Counting is what takes long. */
		if (!any || !use_counts)
			memset(chunk_counts, 0, sizeof(chunk_counts));
		else if (read_entries(kpagecount_fd, "/proc/kpagecount", m->frames,
				      chunk_counts, nr) < nr)
			errx(CODE_FAILURE, "/proc/kpagecount ends before /proc/kpageflags");
		for (i = 0; i < nr; i++)
			add_frame(m, m->frames + i, chunk[i], chunk_counts[i]);
	}
	if (!m->frames && !stopped)
		errx(CODE_FAILURE, "/proc/kpageflags is empty");
	account_machine_folio(m);
}

static void read_meminfo(struct machine *m)
{
	char line[256], key[64];
	long long value;
	unsigned int i;
	FILE *file;

	for (i = 0; i < ARRAY_SIZE(meminfo_keys); i++)
		m->pmd_kb[i] = UNKNOWN;
	file = fopen(full_path("/proc/meminfo"), "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63[^:]: %lld kB", key, &value) != 2)
			continue;
		for (i = 0; i < ARRAY_SIZE(meminfo_keys); i++)
			if (!strcmp(key, meminfo_keys[i]))
				m->pmd_kb[i] = value;
	}
	fclose(file);
}

static void add_audit_line(struct machine *m, const char *line)
{
	long long v[NR_AUDIT_COLUMNS];
	enum type type = TYPE_ANON;
	unsigned int order;
	char name[8];
	int end = 0;

	if (sscanf(line, "%7s %u %lld %lld %lld %lld %lld %lld %lld %lld %n", name, &order,
		   &v[AUDIT_FOLIOS], &v[AUDIT_PMD_MAPPED], &v[AUDIT_PTE_MAPPED],
		   &v[AUDIT_EXCLUSIVE], &v[AUDIT_SHARED], &v[AUDIT_PARTLY],
		   &v[AUDIT_ACCOUNTED], &v[AUDIT_MAPPED], &end) != 10 || !end || line[end])
		errx(CODE_FAILURE, SUMMARY ": a line is not as expected");
	v[AUDIT_EXCESS] = v[AUDIT_ACCOUNTED] - v[AUDIT_MAPPED];
	if (!strcmp(name, "file"))
		type = TYPE_FILE;
	else if (strcmp(name, "anon"))
		errx(CODE_FAILURE, SUMMARY ": there is no type \"%s\"", name);
	if (order >= NR_ORDERS)
		errx(CODE_FAILURE, SUMMARY ": there is no order %u", order);
	memcpy(m->audit.rows[type][order], v, sizeof(v));
}

static void read_audit(struct machine *m)
{
	char line[512];
	FILE *file;

	clear_table(&m->audit, audit_columns, NR_AUDIT_COLUMNS);
	file = fopen(full_path(SUMMARY), "re");
	m->has_audit = file;
	if (!file) {
		m->audit_error = errno;
		return;
	}
	if (!fgets(line, sizeof(line), file) || strcmp(line, audit_header))
		errx(CODE_FAILURE, SUMMARY ": the header is not as expected");
	while (fgets(line, sizeof(line), file))
		add_audit_line(m, line);
	if (ferror(file))
		err(CODE_FAILURE, SUMMARY);
	fclose(file);
}

static void gather_machine(struct machine *m)
{
	clear_table(&m->table, machine_columns, NR_MACHINE_COLUMNS);
	m->changed = 0;
	read_frames(m);
	if (!stopped)
		read_meminfo(m);
	if (!stopped && use_audit)
		read_audit(m);
}

static int print_value(char *buf, size_t size, long long value)
{
	if (value == UNKNOWN)
		return snprintf(buf, size, "%s", json ? "null" : "-");
	return snprintf(buf, size, "%lld", value);
}

static unsigned long long order_kb(unsigned int order)
{
	return (page_size << order) / 1024;
}

static const char *order_name(unsigned int order, char *buf, size_t size)
{
	static const char units[] = "KMG";
	unsigned long long value = order_kb(order);
	unsigned int unit;

	for (unit = 0; unit < 2 && value >= 1024 && !(value % 1024); unit++)
		value /= 1024;
	snprintf(buf, size, "%llu%c", value, units[unit]);
	return buf;
}

static int column_width(const struct table *table, unsigned int column)
{
	int width = strlen(table->columns[column]), len;
	unsigned int order;
	enum type type;

	for (type = 0; type < NR_TYPES; type++) {
		for (order = 0; order < NR_ORDERS; order++) {
			len = print_value(NULL, 0, table->rows[type][order][column]);
			if (len > width)
				width = len;
		}
	}
	return width;
}

static void print_table(const struct table *table)
{
	int widths[MAX_COLUMNS];
	unsigned int order, i;
	char buf[32];
	enum type type;

	printf("%-9s %5s %5s", "type", "order", "size");
	for (i = 0; i < table->nr_columns; i++) {
		widths[i] = column_width(table, i);
		printf("  %*s", widths[i], table->columns[i]);
	}
	printf("\n");
	for (type = 0; type < NR_TYPES; type++) {
		for (order = 0; order < NR_ORDERS; order++) {
			const long long *row = table->rows[type][order];

			if (!row[0])
				continue;
			printf("%-9s %5u %5s", type_names[type], order,
			       order_name(order, buf, sizeof(buf)));
			for (i = 0; i < table->nr_columns; i++) {
				print_value(buf, sizeof(buf), row[i]);
				printf("  %*s", widths[i], buf);
			}
			printf("\n");
		}
	}
}

static void print_json_rows(const struct table *table)
{
	const char *separator = "";
	unsigned int order, i;
	char buf[32];
	enum type type;

	printf("[");
	for (type = 0; type < NR_TYPES; type++) {
		for (order = 0; order < NR_ORDERS; order++) {
			const long long *row = table->rows[type][order];

			if (!row[0])
				continue;
			printf("%s{\"type\":\"%s\",\"order\":%u,\"size_kb\":%llu", separator,
			       type_names[type], order, order_kb(order));
			for (i = 0; i < table->nr_columns; i++) {
				print_value(buf, sizeof(buf), row[i]);
				printf(",\"%s\":%s", table->columns[i], buf);
			}
			printf("}");
			separator = ",";
		}
	}
	printf("]");
}

static void print_processes(void)
{
	const char *separator = "";
	unsigned int i;

	for (i = 0; i < nr_processes; i++) {
		const struct process *p = &processes[i];

		if (p->gone)
			continue;
		printf("%sProcess %d\n", separator, p->pid);
		print_table(&p->table);
		printf("Other pages: %llu zero, %llu special, %llu changed\n",
		       p->zero, p->special, p->changed);
		separator = "\n";
	}
}

static void print_json_processes(void)
{
	const char *separator = "";
	unsigned int i;

	printf("{\"page_size\":%llu,\"processes\":[", page_size);
	for (i = 0; i < nr_processes; i++) {
		const struct process *p = &processes[i];

		if (p->gone)
			continue;
		printf("%s{\"pid\":%d,\"rows\":", separator, p->pid);
		print_json_rows(&p->table);
		printf(",\"zero\":%llu,\"special\":%llu,\"changed\":%llu}",
		       p->zero, p->special, p->changed);
		separator = ",";
	}
	printf("]}\n");
}

static void print_machine(const struct machine *m)
{
	unsigned int i;
	char buf[32];

	printf("Machine, %llu page frames\n", m->frames);
	print_table(&m->table);
	printf("Other page frames: %llu changed\n", m->changed);
	printf("Mapped by PMDs:");
	for (i = 0; i < ARRAY_SIZE(meminfo_keys); i++) {
		print_value(buf, sizeof(buf), m->pmd_kb[i]);
		printf("%s %s %s kB", i ? "," : "", meminfo_types[i], buf);
	}
	printf("\n");
	if (!use_audit)
		return;
	if (!m->has_audit) {
		printf("\nNo audit: " SUMMARY ": %s\n", strerror(m->audit_error));
		return;
	}
	printf("\nAudit\n");
	print_table(&m->audit);
}

static void print_json_machine(const struct machine *m)
{
	unsigned int i;
	char buf[32];

	printf("{\"page_size\":%llu,\"machine\":{\"page_frames\":%llu,\"rows\":",
	       page_size, m->frames);
	print_json_rows(&m->table);
	printf(",\"changed\":%llu,\"pmd_mapped_kb\":{", m->changed);
	for (i = 0; i < ARRAY_SIZE(meminfo_keys); i++) {
		print_value(buf, sizeof(buf), m->pmd_kb[i]);
		printf("%s\"%s\":%s", i ? "," : "", meminfo_types[i], buf);
	}
	printf("},\"audit\":");
	if (m->has_audit)
		print_json_rows(&m->audit);
	else
		printf("null");
	printf("}}\n");
}

/* Returns false if there is nothing left to report on. */
static bool gather(void)
{
	unsigned int i, left = 0;

	if (!nr_processes) {
		gather_machine(&machine);
		return true;
	}
	for (i = 0; i < nr_processes && !stopped; i++) {
		if (!processes[i].gone)
			gather_process(&processes[i]);
		left += !processes[i].gone;
	}
	return left;
}

static void print(bool first)
{
	if (json) {
		if (nr_processes)
			print_json_processes();
		else
			print_json_machine(&machine);
	} else {
		if (!first)
			printf("\n");
		if (nr_processes)
			print_processes();
		else
			print_machine(&machine);
	}
	if (fflush(stdout) || ferror(stdout))
		err(CODE_FAILURE, "cannot write");
}

static void stop(int signal)
{
	(void)signal;
	stopped = true;
}

/*
 * A report that is being written is written to its end. Who does not want to wait for
 * that, or for the kernel to finish something, can insist.
 */
static void handle_signals(void)
{
	struct sigaction action = {
		.sa_handler = stop,
		.sa_flags = SA_RESTART | SA_RESETHAND,
	};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* A signal that comes after @stopped was tested must end the waiting as well. */
static void wait_for_next(void)
{
	struct timespec timeout = {
		.tv_sec = seconds,
		.tv_nsec = (seconds - (time_t)seconds) * 1e9,
	};
	sigset_t block, old;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &old);
	if (!stopped)
		ppoll(NULL, 0, &timeout, &old);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void usage(FILE *file)
{
	fputs("Usage: folio-mapcount [OPTION]...\n"
	      "Show which folios there are, by size, and how they are mapped: those of\n"
	      "processes (-p), or of the whole machine.\n"
	      "\n"
	      "  -p, --pid=PID          what this process maps; can be repeated\n"
	      "      --json             print JSON, one line for each report\n"
	      "      --watch[=SECONDS]  report again and again, 2 seconds apart by default\n"
	      "      --count=N          with --watch, end after N reports\n"
	      "      --no-counts        do not read /proc/kpagecount, which can be slow\n"
	      "      --no-audit         do not have the kernel do an audit\n"
	      "      --root=DIR         read DIR/proc and DIR/sys, for tests\n"
	      "  -h, --help             show this help\n"
	      "\n"
	      "See the man page, folio-mapcount(8).\n", file);
}

static unsigned long parse_number(const char *arg, const char *option, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno || !value || value > max)
		errx(CODE_USAGE, "%s: \"%s\" is not a number from 1 to %lu", option, arg, max);
	return value;
}

static double parse_seconds(const char *arg)
{
	const double max = 1000000;
	double value;
	char *end;

	value = strtod(arg, &end);
	/* In that order, as this is false for what is not a number. */
	if (!*arg || *end || !(value >= 0 && value <= max))
		errx(CODE_USAGE, "--watch: \"%s\" is not a number from 0 to %.0f", arg, max);
	return value;
}

static void add_process(const char *arg)
{
	struct process *p;

	processes = realloc(processes, (nr_processes + 1) * sizeof(*processes));
	if (!processes)
		errx(CODE_FAILURE, "out of memory");
	p = &processes[nr_processes++];
	memset(p, 0, sizeof(*p));
	p->pid = parse_number(arg, "--pid", INT_MAX);
}

static void parse_options(int argc, char **argv)
{
	enum { JSON = 256, WATCH, COUNT, NO_COUNTS, NO_AUDIT, ROOT };
	static const struct option options[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, JSON },
		{ "watch", optional_argument, NULL, WATCH },
		{ "count", required_argument, NULL, COUNT },
		{ "no-counts", no_argument, NULL, NO_COUNTS },
		{ "no-audit", no_argument, NULL, NO_AUDIT },
		{ "root", required_argument, NULL, ROOT },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int option;

	while ((option = getopt_long(argc, argv, "p:h", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			add_process(optarg);
			break;
		case JSON:
			json = true;
			break;
		case WATCH:
			watch = true;
			if (optarg)
				seconds = parse_seconds(optarg);
			break;
		case COUNT:
			max_reports = parse_number(optarg, "--count", ULONG_MAX);
			break;
		case NO_COUNTS:
			use_counts = false;
			break;
		case NO_AUDIT:
			use_audit = false;
			break;
		case ROOT:
			root = optarg;
			break;
		case 'h':
			usage(stdout);
			exit(fflush(stdout) ? CODE_FAILURE : CODE_OK);
		default:
			errx(CODE_USAGE, "try --help");
		}
	}
	if (optind < argc)
		errx(CODE_USAGE, "\"%s\" is not an option", argv[optind]);
	if (max_reports && !watch)
		errx(CODE_USAGE, "--count goes with --watch");
	if (nr_processes && (!use_counts || !use_audit))
		errx(CODE_USAGE, "--no-counts and --no-audit do not go with --pid");
}

int main(int argc, char **argv)
{
	unsigned long reports = 0;
	unsigned int i;

	parse_options(argc, argv);
	page_size = sysconf(_SC_PAGESIZE);

	kpageflags_fd = open_kpage_file("/proc/kpageflags");
	if (!nr_processes && use_counts)
		kpagecount_fd = open_kpage_file("/proc/kpagecount");
	open_processes();
	if (watch)
		handle_signals();

	while (gather() && !stopped) {
		print(!reports);
		reports++;
		if (!watch || reports == max_reports)
			break;
		wait_for_next();
		if (stopped)
			break;
	}
	for (i = 0; i < nr_processes; i++)
		if (processes[i].gone)
			return CODE_PROCESS;
	return CODE_OK;
}
