// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does the audit of the mapcounts of large folios (CONFIG_DEBUG_FOLIO_MAPCOUNT)
 * find what is wrong, and nothing else?
 *
 * For each way in which a folio can be mapped: nothing may be found at rest, the
 * summary must be that of what was set up, and each value that gets corrupted on
 * purpose must be noticed, as what it is, until it is as it was. And while all
 * kinds of things happen to folios, what is wrong must be found, and nothing else.
 *
 * Corruptions last no longer than the file is open that they were written to, so
 * nothing is left of them, even if the test gets killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "hugepage_settings.h"
#include "kselftest_harness.h"
#include "vm_util.h"

#define DEBUGFS_DIR	"/sys/kernel/debug/folio_mapcount/"
#define NO_CORRUPT	"no CONFIG_DEBUG_FOLIO_MAPCOUNT_CORRUPT"
#define REPORT_SIZE	(1024 * 1024)
#define SEED		20261122
#define NR_WORKERS	4
#define NR_AUDITS	12
/* For whoever else maps large folios, or has them locked, to be done. */
#define MAX_TRIES	10
#define LOAD_SECONDS	480
#define PMD_ORDER	(-1)

enum type { ANON, SHMEM, FILE_BACKED };

static size_t pagesize, pmdsize;
static struct thp_settings settings;
static const char *file_dir;
static char report[REPORT_SIZE];
/* Of the process that runs the test: others must not keep it open. */
static int corrupt_fd = -1;

/* Returns a negative value, or the length. */
static ssize_t read_debugfs(const char *name)
{
	char path[128];
	size_t len = 0;
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), DEBUGFS_DIR "%s", name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	while ((ret = read(fd, report + len, sizeof(report) - 1 - len)) > 0)
		len += ret;
	close(fd);
	report[len] = 0;
	return ret < 0 ? -errno : (ssize_t)len;
}

struct audit {
	unsigned long folios, differences, unstable;
	/* Of these, the ones we are looking for. */
	unsigned long expected;
};

/* What does the audit find, and how much of it begins with @expected? */
static int read_audit(struct audit *audit, const char *expected)
{
	unsigned long lines = 0;
	char *line, *next;
	int ret = -1;

	memset(audit, 0, sizeof(*audit));
	if (read_debugfs("audit") < 0)
		return -1;
	for (line = report; *line; line = next) {
		next = strchrnul(line, '\n');
		if (*next)
			*next++ = 0;
		if (!strncmp(line, "difference: ", 12)) {
			lines++;
			if (expected && !strncmp(line + 12, expected, strlen(expected)))
				audit->expected++;
			else
				ksft_print_msg("%s\n", line);
		} else if (!expected && !strncmp(line, "folio: ", 7)) {
			ksft_print_msg("%s\n", line);
		}
		/* Only the last line counts. */
		ret = sscanf(line, "folios %lu, differences %lu, unstable %lu",
			     &audit->folios, &audit->differences, &audit->unstable) == 3 ?
			0 : -1;
	}
	return !ret && lines == audit->differences ? 0 : -1;
}

/* As long as somebody has folios locked, nobody knows about these. */
static int read_stable_audit(struct audit *audit)
{
	int tries;

	for (tries = 0; tries < MAX_TRIES; tries++)
		if (read_audit(audit, NULL) || audit->differences || !audit->unstable)
			break;
	return tries < MAX_TRIES ? 0 : -1;
}

struct row {
	long folios, pmd_mapped, pte_mapped, exclusive, shared, partly_mapped;
	long accounted, mapped;
};

static int read_summary(bool anon, int order, struct row *row)
{
	char *line, type[16];
	int o;

	if (read_debugfs("summary") < 0)
		return -1;
	for (line = strtok(report, "\n"); line; line = strtok(NULL, "\n"))
		if (sscanf(line, "%15s %d %ld %ld %ld %ld %ld %ld %ld %ld", type, &o,
			   &row->folios, &row->pmd_mapped, &row->pte_mapped,
			   &row->exclusive, &row->shared, &row->partly_mapped,
			   &row->accounted, &row->mapped) == 10 && o == order &&
		    !strcmp(type, anon ? "anon" : "file"))
			return 0;
	return -1;
}

static int open_corrupt(void)
{
	return open(DEBUGFS_DIR "corrupt", O_WRONLY);
}

/* Returns 0, or why it was refused. */
static int write_corrupt(const char *string)
{
	return write(corrupt_fd, string, strlen(string)) == strlen(string) ? 0 : errno;
}

static int corrupt(void *addr, const char *name)
{
	char string[64];

	snprintf(string, sizeof(string), "%d 0x%lx %s", getpid(), (unsigned long)addr, name);
	return write_corrupt(string);
}

static int undo(const char *name)
{
	char string[64];

	snprintf(string, sizeof(string), "-%s", name);
	return write_corrupt(string);
}

/* How a folio is mapped; see FIXTURE_VARIANT() */
struct test_folio {
	struct row before;
	char *area, *mem;
	size_t size;
	/* What is mapped at @mem, of a folio of that size. */
	size_t mapped;
	pid_t child;
	int order;
	int pipefd;
	enum type type;
	bool pte_mapped, forked, partly, moved, twice;
};

FIXTURE(folio_mapcount_audit)
{
	struct test_folio folio;
};

FIXTURE_VARIANT(folio_mapcount_audit)
{
	enum type type;
	int order;
	bool pte_mapped;
	/* A child has it mapped as well. */
	bool forked;
	/* The second half is not mapped any more. */
	bool partly;
	/* The second half is mapped somewhere else. */
	bool moved;
	/* All of it is also mapped somewhere else, by the same process. */
	bool twice;
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_pmd) {
	.order = PMD_ORDER,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_pmd_forked) {
	.order = PMD_ORDER,
	.forked = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_pte) {
	.order = PMD_ORDER,
	.pte_mapped = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_pte_forked) {
	.order = PMD_ORDER,
	.pte_mapped = true,
	.forked = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_pte_partly) {
	.order = PMD_ORDER,
	.pte_mapped = true,
	.partly = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_pte_partly_forked) {
	.order = PMD_ORDER,
	.pte_mapped = true,
	.partly = true,
	.forked = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_pte_moved) {
	.order = PMD_ORDER,
	.pte_mapped = true,
	.moved = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_2) {
	.order = 2,
	.pte_mapped = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_4) {
	.order = 4,
	.pte_mapped = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_4_forked) {
	.order = 4,
	.pte_mapped = true,
	.forked = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_4_partly) {
	.order = 4,
	.pte_mapped = true,
	.partly = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_4_partly_forked) {
	.order = 4,
	.pte_mapped = true,
	.partly = true,
	.forked = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_4_moved) {
	.order = 4,
	.pte_mapped = true,
	.moved = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, anon_7) {
	.order = 7,
	.pte_mapped = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, shmem_pmd) {
	.type = SHMEM,
	.order = PMD_ORDER,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, shmem_pmd_forked) {
	.type = SHMEM,
	.order = PMD_ORDER,
	.forked = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, shmem_pte_forked) {
	.type = SHMEM,
	.order = PMD_ORDER,
	.pte_mapped = true,
	.forked = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, shmem_4_partly) {
	.type = SHMEM,
	.order = 4,
	.pte_mapped = true,
	.partly = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, shmem_4_twice) {
	.type = SHMEM,
	.order = 4,
	.pte_mapped = true,
	.twice = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, file_pte) {
	.type = FILE_BACKED,
	.order = PMD_ORDER,
	.pte_mapped = true,
};

FIXTURE_VARIANT_ADD(folio_mapcount_audit, file_4_forked) {
	.type = FILE_BACKED,
	.order = 4,
	.pte_mapped = true,
	.forked = true,
};

/* There are no anon folios of that order. */
FIXTURE_VARIANT_ADD(folio_mapcount_audit, file_1) {
	.type = FILE_BACKED,
	.order = 1,
	.pte_mapped = true,
};

static int open_backing(enum type type)
{
	char path[256];
	int fd;

	if (type == SHMEM)
		return memfd_create("folio_mapcount_audit", 0);
	snprintf(path, sizeof(path), "%s/folio_mapcount_audit.XXXXXX", file_dir);
	fd = mkstemp(path);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/* A folio of the wanted size at @mem, and nothing that khugepaged works on. */
static const char *make_folio(char *mem, size_t size, enum type type, bool pte_mapped)
{
	const unsigned int nr = size / pagesize;
	unsigned long pfn;
	unsigned int i;
	int fd;

	if (type == ANON) {
		if (mmap(mem, size, PROT_READ | PROT_WRITE,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ||
		    madvise(mem, size, MADV_HUGEPAGE))
			return "cannot map memory";
		mem[0] = 1;
		if (madvise(mem, size, MADV_NOHUGEPAGE))
			return "cannot settle";
		/* Changing the protection of a single page splits the PMD. */
		if (pte_mapped && (mprotect(mem, pagesize, PROT_READ) ||
				   mprotect(mem, pagesize, PROT_READ | PROT_WRITE)))
			return "cannot split the PMD";
		for (i = 0; i < nr; i++)
			mem[i * pagesize] = i;
	} else {
		char *content = calloc(1, size);

		fd = open_backing(type);
		/* A single write, so that the page cache knows how much is to come. */
		if (fd < 0 || !content || pwrite(fd, content, size, 0) != size)
			return "cannot write to a file";
		free(content);
		if (mmap(mem, size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED,
			 fd, 0) == MAP_FAILED)
			return "cannot map the file";
		close(fd);
		/* No PMD maps across two VMAs. */
		if (pte_mapped && madvise(mem, pagesize, MADV_DONTDUMP))
			return "cannot split the VMA";
		force_read_pages(mem, nr, pagesize);
	}

	fd = open("/proc/self/pagemap", O_RDONLY);
	if (fd < 0)
		return "no pagemap";
	pfn = pagemap_get_pfn(fd, mem);
	for (i = 0; i < nr; i++)
		if (pfn % nr || pagemap_get_pfn(fd, mem + i * pagesize) != pfn + i)
			break;
	close(fd);
	return i == nr ? NULL : "not a large folio: memory is fragmented?";
}

/*
 * Maps what its parent maps until there is something to read. If the parent gets
 * killed, what that one has corrupted has to be right before we unmap it: so do not
 * get killed together with its process group, nor exit because its files are
 * closed, but after it is gone.
 */
static pid_t fork_child(char *mem, size_t size, int *pipefd)
{
	const pid_t parent = getpid();
	int to_child[2], to_parent[2];
	pid_t pid;
	char c;

	if (pipe(to_child) || pipe(to_parent))
		return -1;
	pid = fork();
	if (!pid) {
		close(to_child[1]);
		close(corrupt_fd);
		if (setpgid(0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
			_exit(1);
		/* The page tables of files are not copied, but filled again. */
		force_read_pages(mem, size / pagesize, pagesize);
		if (write(to_parent[1], "", 1) != 1)
			_exit(1);
		while (read(to_child[0], &c, 1) != 1)
			pause();
		_exit(0);
	}
	close(to_child[0]);
	close(to_parent[1]);
	if (read(to_parent[0], &c, 1) != 1)
		pid = -1;
	close(to_parent[0]);
	*pipefd = to_child[1];
	return pid;
}

static int unmap(char *mem, size_t size)
{
	/* Nobody else is to map something there. */
	return mmap(mem, size, PROT_NONE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_NORESERVE, -1, 0) == mem ? 0 : -1;
}

/* Map the folio, which is mapped once, as the variant wants it. */
static int map_again(struct test_folio *folio)
{
	char *half = folio->mem + folio->size / 2, *other = folio->mem + folio->size;

	folio->mapped = folio->size;
	if (folio->partly || folio->moved)
		folio->mapped /= 2;
	if (folio->moved &&
	    mremap(half, folio->mapped, folio->mapped, MREMAP_MAYMOVE | MREMAP_FIXED,
		   other) != other)
		return -1;
	if (folio->mapped < folio->size && unmap(half, folio->mapped))
		return -1;
	if (folio->twice) {
		/* Something shared can be mapped again like that. */
		if (mremap(folio->mem, 0, folio->size, MREMAP_MAYMOVE | MREMAP_FIXED,
			   other) != other)
			return -1;
		force_read_pages(other, folio->size / pagesize, pagesize);
	}
	if (folio->forked) {
		folio->child = fork_child(folio->mem, folio->mapped, &folio->pipefd);
		return folio->child > 0 ? 0 : -1;
	}
	return 0;
}

static int stop_child(struct test_folio *folio)
{
	const pid_t child = folio->child;
	int status, ret = 0;

	if (child <= 0)
		return 0;
	folio->child = 0;
	if (write(folio->pipefd, "", 1) != 1)
		ret = -1;
	close(folio->pipefd);
	return waitpid(child, &status, 0) == child && !status ? ret : -1;
}

FIXTURE_SETUP(folio_mapcount_audit)
{
	struct test_folio *folio = &self->folio;
	const char *reason;

	corrupt_fd = open_corrupt();
	if (corrupt_fd < 0 && errno == ENOENT)
		SKIP(return, NO_CORRUPT);
	ASSERT_GE(corrupt_fd, 0);

	folio->type = variant->type;
	folio->pte_mapped = variant->pte_mapped;
	folio->forked = variant->forked;
	folio->partly = variant->partly;
	folio->moved = variant->moved;
	folio->twice = variant->twice;
	folio->order = variant->order == PMD_ORDER ? sz2ord(pmdsize, pagesize) : variant->order;
	folio->size = pagesize << folio->order;
	if (variant->type == FILE_BACKED && !file_dir)
		SKIP(return, "no directory on a file system with large folios");
	if (variant->type == ANON && !(thp_supported_orders() & 1UL << folio->order))
		SKIP(return, "no anon folios of order %d", folio->order);

	settings.hugepages[folio->order].enabled = THP_MADVISE;
	thp_write_settings(&settings);
	folio->area = mmap(NULL, 3 * folio->size, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(folio->area, MAP_FAILED);
	folio->mem = (char *)(((uintptr_t)folio->area + folio->size - 1) & -folio->size);
	ASSERT_EQ(read_summary(variant->type == ANON, folio->order, &folio->before), 0);

	reason = make_folio(folio->mem, folio->size, variant->type, variant->pte_mapped);
	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_EQ(map_again(folio), 0);
}

FIXTURE_TEARDOWN(folio_mapcount_audit)
{
	/* Before anybody unmaps it. */
	close(corrupt_fd);
	EXPECT_EQ(stop_child(&self->folio), 0);
	settings.hugepages[self->folio.order].enabled = THP_NEVER;
	thp_write_settings(&settings);
}

/*
 * What our folio has in the summary, @now, compared with what others have, @before.
 * The latter may change at any time; if it has changed when our folio is gone, do
 * all of it again. Afterwards, there is no folio.
 */
static void measure(struct __test_metadata *_metadata, struct test_folio *folio,
		    struct row *before, struct row *now)
{
	const bool anon = folio->type == ANON;
	struct row after;
	int tries;

	*before = folio->before;
	for (tries = 0; tries < MAX_TRIES; tries++) {
		ASSERT_EQ(read_summary(anon, folio->order, now), 0);
		ASSERT_EQ(stop_child(folio), 0);
		ASSERT_EQ(unmap(folio->mem, 2 * folio->size), 0);
		ASSERT_EQ(read_summary(anon, folio->order, &after), 0);
		if (!memcmp(before, &after, sizeof(after)))
			return;
		*before = after;
		ASSERT_EQ(make_folio(folio->mem, folio->size, folio->type,
				     folio->pte_mapped), NULL);
		ASSERT_EQ(map_again(folio), 0);
	}
	ASSERT_LT(tries, MAX_TRIES);
}

TEST_F(folio_mapcount_audit, nothing_at_rest)
{
	struct row before, now;
	struct audit audit;

	ASSERT_EQ(read_stable_audit(&audit), 0);
	ASSERT_GE(audit.folios, 1);
	ASSERT_EQ(audit.differences, 0);
	ASSERT_EQ(audit.unstable, 0);
	/* Ours has been looked at. */
	measure(_metadata, &self->folio, &before, &now);
	EXPECT_EQ(now.folios - before.folios, 1);
}

TEST_F(folio_mapcount_audit, summary)
{
	const long nr = self->folio.size / pagesize, mapped = variant->partly ? nr / 2 : nr;
	struct row before, now;

	measure(_metadata, &self->folio, &before, &now);
	EXPECT_EQ(now.folios - before.folios, 1);
	EXPECT_EQ(now.pmd_mapped - before.pmd_mapped, !variant->pte_mapped);
	EXPECT_EQ(now.pte_mapped - before.pte_mapped, variant->pte_mapped);
	EXPECT_EQ(now.exclusive - before.exclusive, !variant->forked);
	EXPECT_EQ(now.shared - before.shared, variant->forked);
	EXPECT_EQ(now.partly_mapped - before.partly_mapped, variant->partly);
	EXPECT_EQ(now.accounted - before.accounted, mapped);
	EXPECT_EQ(now.mapped - before.mapped, mapped);
}

/* @differences: how many, one of which begins with @expected. */
static void check_differences(struct __test_metadata *_metadata, char *mem,
			      const char *name, const char *expected, int differences)
{
	struct audit audit;

	ASSERT_EQ(corrupt(mem, name), 0);
	EXPECT_EQ(read_audit(&audit, expected), 0);
	/* Nothing else may go wrong until it is right again. */
	ASSERT_EQ(undo(name), 0);
	EXPECT_EQ(audit.expected, !!differences);
	EXPECT_EQ(audit.differences, differences);
	EXPECT_EQ(read_audit(&audit, NULL), 0);
	EXPECT_EQ(audit.differences, 0);
}

/* @expected: how the line must begin, NULL if it cannot be corrupted like that. */
static void check_corruption(struct __test_metadata *_metadata, char *mem,
			     const char *name, const char *expected)
{
	if (expected)
		check_differences(_metadata, mem, name, expected, 1);
	else
		ASSERT_EQ(corrupt(mem, name), EINVAL);
}

TEST_F(folio_mapcount_audit, mapcount)
{
	check_corruption(_metadata, self->folio.mem, "mapcount", "mapcount: ");
}

TEST_F(folio_mapcount_audit, mapcount_low)
{
	const bool once = !variant->pte_mapped && !variant->forked;

	/* The audit does not look for who maps an anon folio that has no mappings. */
	check_corruption(_metadata, self->folio.mem, "mapcount-low",
			 variant->type == ANON && once ? NULL : "mapcount: ");
}

/* As if nothing mapped it, but something does. */
TEST_F(folio_mapcount_audit, unmapped)
{
	/* The mapcount, both sums, the accounted pages. */
	const int differences = 4 + !variant->pte_mapped + variant->forked;

	if (variant->type != ANON)
		check_differences(_metadata, self->folio.mem, "unmapped",
				  "mapcount: stored 0, ", differences);
	else
		ASSERT_EQ(corrupt(self->folio.mem, "unmapped"), EINVAL);
}

TEST_F(folio_mapcount_audit, entire)
{
	/* Where there is one. */
	check_corruption(_metadata, self->folio.mem, "entire",
			 self->folio.order > 1 ? "entire mapcount: " : NULL);
}

TEST_F(folio_mapcount_audit, ids)
{
	check_corruption(_metadata, self->folio.mem, "ids", "sum of IDs: ");
}

TEST_F(folio_mapcount_audit, squares)
{
	check_corruption(_metadata, self->folio.mem, "squares", "sum of squares: ");
}

TEST_F(folio_mapcount_audit, shared)
{
	check_corruption(_metadata, self->folio.mem, "shared", "shared: ");
}

TEST_F(folio_mapcount_audit, accounted_too_few)
{
	check_corruption(_metadata, self->folio.mem, "too-few", "accounted pages: ");
}

TEST_F(folio_mapcount_audit, accounted_too_many)
{
	/* Of more than the mapped pages, some may have been unmapped by one process. */
	const bool possible = variant->partly && variant->forked;

	check_differences(_metadata, self->folio.mem, "too-many", "accounted pages: ", !possible);
}

TEST_F(folio_mapcount_audit, references)
{
	const bool once = !variant->pte_mapped && !variant->forked;

	/* That must not be the last one. */
	check_corruption(_metadata, self->folio.mem, "references",
			 variant->type == ANON && once ? NULL : "references: ");
}

TEST_F(folio_mapcount_audit, mark)
{
	const char *expected = variant->forked ? "exclusive but mapped again: " :
						 "writable but not exclusive: ";

	check_corruption(_metadata, self->folio.mem, "mark",
			 variant->type == ANON ? expected : NULL);
}

TEST_F(folio_mapcount_audit, stray_mark)
{
	/* The bitmap is made of pairs of words. */
	const bool room = self->folio.size / pagesize % (2 * 8 * sizeof(long)) != 0;

	check_corruption(_metadata, self->folio.mem, "stray",
			 variant->type == ANON && room ? "marks of no page: " : NULL);
}

/* The one that tests without variants have: a PTE-mapped anon folio of PMD size. */
static const char *make_pte_mapped_folio(char **mem)
{
	char *area;

	settings.hugepages[sz2ord(pmdsize, pagesize)].enabled = THP_MADVISE;
	thp_write_settings(&settings);
	area = mmap(NULL, 2 * pmdsize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return "cannot map memory";
	*mem = (char *)(((uintptr_t)area + pmdsize - 1) & -pmdsize);
	return make_folio(*mem, pmdsize, ANON, true);
}

static void no_more_folios(void)
{
	settings.hugepages[sz2ord(pmdsize, pagesize)].enabled = THP_NEVER;
	thp_write_settings(&settings);
}

FIXTURE(folio_mapcount_audit_once)
{
	char *mem;
	size_t size;
};

FIXTURE_SETUP(folio_mapcount_audit_once)
{
	const char *reason;

	corrupt_fd = open_corrupt();
	if (corrupt_fd < 0 && errno == ENOENT)
		SKIP(return, NO_CORRUPT);
	ASSERT_GE(corrupt_fd, 0);
	self->size = pmdsize;
	reason = make_pte_mapped_folio(&self->mem);
	ASSERT_NE(self->mem, NULL);
	if (reason)
		SKIP(return, "%s", reason);
}

FIXTURE_TEARDOWN(folio_mapcount_audit_once)
{
	close(corrupt_fd);
	no_more_folios();
}

/*
 * Who is left is not whoever was first: a kernel that only follows two processes
 * takes the folio for shared. With nothing but the audit added to such a kernel,
 * this is the test that shows the audit not to be blind.
 */
TEST(last_process)
{
	struct test_folio first = {}, last = {};
	struct audit audit;
	const char *reason;
	char *mem = NULL;

	reason = make_pte_mapped_folio(&mem);
	no_more_folios();
	ASSERT_NE(mem, NULL);
	if (reason)
		SKIP(return, "%s", reason);
	first.child = fork_child(mem, pmdsize, &first.pipefd);
	ASSERT_GT(first.child, 0);
	last.child = fork_child(mem, pmdsize, &last.pipefd);
	ASSERT_GT(last.child, 0);
	ASSERT_EQ(read_stable_audit(&audit), 0);
	EXPECT_GE(audit.folios, 1);
	EXPECT_EQ(audit.differences, 0);

	ASSERT_EQ(unmap(mem, pmdsize), 0);
	ASSERT_EQ(stop_child(&first), 0);
	ASSERT_EQ(read_stable_audit(&audit), 0);
	EXPECT_GE(audit.folios, 1);
	EXPECT_EQ(audit.differences, 0);

	ASSERT_EQ(stop_child(&last), 0);
	ASSERT_EQ(read_stable_audit(&audit), 0);
	EXPECT_EQ(audit.differences, 0);
}

/* The audit gives up waiting for it. */
TEST_F(folio_mapcount_audit_once, locked)
{
	const int ret = corrupt(self->mem, "locked");

	if (ret == EINVAL)
		SKIP(return, "there is no lock bit in this kernel");
	ASSERT_EQ(ret, 0);
	/* Who undoes these would wait for the lock. */
	EXPECT_EQ(corrupt(self->mem, "mapcount"), EINVAL);
	ASSERT_EQ(undo("locked"), 0);
	ASSERT_EQ(corrupt(self->mem, "mapcount"), 0);
	EXPECT_EQ(corrupt(self->mem, "locked"), EINVAL);
	ASSERT_EQ(undo("mapcount"), 0);
	check_corruption(_metadata, self->mem, "locked", "locked mapcounts: ");
}

/* Closing the file is enough. */
TEST_F(folio_mapcount_audit_once, closed)
{
	const int other_fd = open_corrupt();
	struct audit audit;

	ASSERT_GE(other_fd, 0);
	ASSERT_EQ(corrupt(self->mem, "squares"), 0);
	ASSERT_EQ(corrupt(self->mem, "mapcount-low"), 0);
	EXPECT_EQ(write(other_fd, "-squares", 8), -1);
	EXPECT_EQ(errno, ENOENT);
	close(other_fd);
	EXPECT_EQ(read_audit(&audit, ""), 0);
	EXPECT_EQ(audit.differences, 2);

	close(corrupt_fd);
	EXPECT_EQ(read_audit(&audit, NULL), 0);
	EXPECT_EQ(audit.differences, 0);
	corrupt_fd = open_corrupt();
	ASSERT_GE(corrupt_fd, 0);
	ASSERT_EQ(corrupt(self->mem, "squares"), 0);
	ASSERT_EQ(undo("squares"), 0);
}

/* So is to kill who has it open, with the folio mapped until then. */
TEST_F(folio_mapcount_audit_once, killed)
{
	struct audit audit;
	int fds[2], status;
	pid_t pid;
	char c;

	ASSERT_EQ(pipe(fds), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(corrupt_fd);
		corrupt_fd = open_corrupt();
		/*
		 * That is another folio. The references come last: one less than what
		 * n says by then, and each corruption has one of its own.
		 */
		if (corrupt_fd < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) ||
		    make_folio(self->mem, pmdsize, ANON, true) ||
		    corrupt(self->mem, "mapcount-low") ||
		    corrupt(self->mem, "references") || write(fds[1], "", 1) != 1)
			_exit(1);
		while (true)
			pause();
	}
	close(fds[1]);
	ASSERT_EQ(read(fds[0], &c, 1), 1);
	close(fds[0]);
	EXPECT_EQ(corrupt(self->mem, "references"), EBUSY);
	EXPECT_EQ(read_audit(&audit, ""), 0);
	EXPECT_EQ(audit.differences, 2);

	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(read_audit(&audit, NULL), 0);
	EXPECT_EQ(audit.differences, 0);
	ASSERT_EQ(corrupt(self->mem, "references"), 0);
	ASSERT_EQ(undo("references"), 0);
}

TEST_F(folio_mapcount_audit_once, bad_requests)
{
	char *small = mmap(NULL, pagesize, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(small, MAP_FAILED);
	EXPECT_EQ(corrupt(self->mem, "nonsense"), EINVAL);
	EXPECT_EQ(undo("mapcount"), ENOENT);
	EXPECT_EQ(undo("nonsense"), EINVAL);
	EXPECT_EQ(write_corrupt("mapcount"), EINVAL);
	EXPECT_EQ(write_corrupt("0 0 mapcount"), ESRCH);
	EXPECT_EQ(corrupt(small, "mapcount"), EFAULT);
	small[0] = 1;
	EXPECT_EQ(corrupt(small, "mapcount"), EINVAL);
	EXPECT_EQ(corrupt(NULL, "mapcount"), EFAULT);
	ASSERT_EQ(corrupt(self->mem, "mapcount"), 0);
	EXPECT_EQ(corrupt(self->mem, "mapcount"), EBUSY);
	ASSERT_EQ(undo("mapcount"), 0);
}

/* The mark of each page, not just of the first. */
TEST_F(folio_mapcount_audit_once, each_mark)
{
	const unsigned int nr = pmdsize / pagesize;
	const unsigned int pages[] = { 1, 63, 64, 127, 128, nr / 2, nr - 1 };
	struct audit audit;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		ASSERT_EQ(corrupt(self->mem + pages[i] * pagesize, "mark"), 0);
		EXPECT_EQ(read_audit(&audit, "writable but not exclusive: "), 0);
		ASSERT_EQ(undo("mark"), 0);
		EXPECT_EQ(audit.expected, 1);
		EXPECT_EQ(audit.differences, 1);
	}
}

/* A mark of what is not mapped means nothing. */
TEST_F(folio_mapcount_audit_once, stale_mark)
{
	struct audit audit;

	ASSERT_EQ(madvise(self->mem + pagesize, pagesize, MADV_DONTNEED), 0);
	ASSERT_EQ(read_audit(&audit, NULL), 0);
	ASSERT_EQ(audit.differences, 0);
}

/* Several corruptions at once are several differences. */
TEST_F(folio_mapcount_audit_once, several)
{
	static const char * const names[] = { "mapcount", "ids", "squares", "too-few" };
	struct audit audit;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_EQ(corrupt(self->mem, names[i]), 0);
	EXPECT_EQ(read_audit(&audit, ""), 0);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_EQ(undo(names[i]), 0);
	EXPECT_EQ(audit.differences, ARRAY_SIZE(names));
	EXPECT_EQ(read_audit(&audit, NULL), 0);
	EXPECT_EQ(audit.differences, 0);
}

enum op {
	OP_POPULATE,
	OP_WRITE,
	OP_READ,
	OP_DONTNEED,
	OP_UNMAP,
	OP_FORK,
	OP_MREMAP,
	OP_PROTECT,
	OP_PAGEOUT,
	OP_COLLAPSE,
	NR_OPS,
};

static const char * const op_names[NR_OPS] = {
	[OP_POPULATE] = "populate",
	[OP_WRITE] = "write",
	[OP_READ] = "read",
	[OP_DONTNEED] = "dontneed",
	[OP_UNMAP] = "unmap",
	[OP_FORK] = "fork",
	[OP_MREMAP] = "mremap",
	[OP_PROTECT] = "protect",
	[OP_PAGEOUT] = "pageout",
	[OP_COLLAPSE] = "collapse",
};

struct shared {
	unsigned long ops[NR_WORKERS][NR_OPS];
	bool stop;
};

/* Two of them, so that something can move from one to the other. */
struct worker {
	char *areas[2];
	unsigned int seed;
	int fd;		/* -1: anon */
};

static unsigned int pick(struct worker *w, unsigned int max)
{
	return rand_r(&w->seed) % max;
}

static int map_area(const struct worker *w, int which)
{
	char *mem = mmap(w->areas[which], pmdsize, PROT_READ | PROT_WRITE,
			 MAP_FIXED | (w->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED),
			 w->fd, 0);

	return mem == MAP_FAILED ? -1 : madvise(mem, pmdsize, MADV_HUGEPAGE);
}

static void touch(char *mem, size_t size, bool write)
{
	char *addr;

	for (addr = mem; addr < mem + size; addr += pagesize)
		if (write)
			*addr = FORCE_READ(*addr) + 1;
		else
			FORCE_READ(*addr);
}

static int do_op(struct worker *w, enum op op)
{
	const unsigned int nr = pmdsize / pagesize;
	const unsigned int first = pick(w, 16) * (nr / 16);
	const unsigned int which = pick(w, 2);
	/* All of it often enough for PMDs to stay. */
	const bool all = pick(w, 2);
	char *mem = w->areas[which] + (all ? 0 : first * pagesize);
	const size_t size = (all ? nr : 1 + pick(w, nr - first)) * pagesize;
	int status;
	pid_t pid;

	switch (op) {
	case OP_POPULATE:
		return map_area(w, which) ||
		       madvise(w->areas[which], pmdsize, MADV_POPULATE_WRITE);
	case OP_WRITE:
	case OP_READ:
		touch(mem, size, op == OP_WRITE);
		return 0;
	case OP_DONTNEED:
		return madvise(mem, size, MADV_DONTNEED);
	case OP_UNMAP:
		return munmap(mem, size) || map_area(w, which);
	case OP_FORK:
		pid = fork();
		if (!pid) {
			touch(mem, size, pick(w, 2));
			_exit(munmap(mem, size));
		}
		return pid < 0 || waitpid(pid, &status, 0) != pid || status;
	case OP_MREMAP:
		if (mremap(w->areas[which], pmdsize, pmdsize,
			   MREMAP_MAYMOVE | MREMAP_FIXED, w->areas[!which]) == MAP_FAILED)
			return -1;
		return map_area(w, which);
	case OP_PROTECT:
		return mprotect(mem, size, PROT_READ) ||
		       mprotect(mem, size, PROT_READ | PROT_WRITE);
	case OP_PAGEOUT:
		return madvise(mem, size, MADV_PAGEOUT);
	default:
		return madvise(w->areas[which], pmdsize, MADV_COLLAPSE);
	}
}

/* Until the parent says that it is enough, or is not there any more. */
static void work(struct shared *shared, int me, pid_t parent)
{
	struct worker w = { .seed = SEED + me, .fd = -1 };
	char *area;
	int i;

	if (me % 2) {
		w.fd = memfd_create("work", 0);
		if (w.fd < 0 || ftruncate(w.fd, pmdsize))
			_exit(1);
	}
	area = mmap(NULL, 3 * pmdsize, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		_exit(1);
	area = (char *)(((uintptr_t)area + pmdsize - 1) & -pmdsize);
	for (i = 0; i < 2; i++) {
		w.areas[i] = area + i * pmdsize;
		if (map_area(&w, i))
			_exit(1);
	}
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED) && getppid() == parent) {
		const enum op op = pick(&w, NR_OPS);

		/* There may be nothing to swap out or to collapse. */
		if (!do_op(&w, op))
			__atomic_fetch_add(&shared->ops[me][op], 1, __ATOMIC_RELAXED);
		else if (op != OP_PAGEOUT && op != OP_COLLAPSE && op != OP_POPULATE)
			_exit(1);
	}
	_exit(0);
}

static unsigned long count_ops(const struct shared *shared, enum op op)
{
	unsigned long count = 0;
	int worker;

	for (worker = 0; worker < NR_WORKERS; worker++)
		count += __atomic_load_n(&shared->ops[worker][op], __ATOMIC_RELAXED);
	return count;
}

/* The value in the line of a file in /proc that begins like that, or -1. */
static long read_proc_line(const char *path, const char *name)
{
	long value = -1;
	char line[128];
	FILE *file = fopen(path, "r");

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = strtol(line + strlen(name), NULL, 10);
	fclose(file);
	return value;
}

/* Since boot, or -1 if the kernel does not count such things. */
static long pages_swapped_out(void)
{
	const long swap = read_proc_line("/proc/vmstat", "pswpout ");
	const long zswap = read_proc_line("/proc/vmstat", "zswpout ");

	return swap < 0 || zswap < 0 ? swap : swap + zswap;
}

/* The first operation that was never done, or NR_OPS. */
static enum op missing_op(const struct shared *shared, long swapped_out_before)
{
	enum op op;

	for (op = 0; op < NR_OPS; op++) {
		if (!count_ops(shared, op))
			return op;
		/* That succeeds, even if there is no swap. */
		if (op == OP_PAGEOUT && swapped_out_before >= 0 &&
		    pages_swapped_out() == swapped_out_before &&
		    read_proc_line("/proc/meminfo", "SwapTotal:") > 0)
			return op;
	}
	return NR_OPS;
}

static time_t now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/*
 * To find one thing that is wrong, and nothing else, among all that is going on. It
 * might not have been left alone for long enough: then it counts as unstable.
 */
static int read_audit_corrupted(char *mem, struct audit *audit)
{
	int tries, ret = -1;

	if (corrupt(mem, "mapcount"))
		return -1;
	for (tries = 0; tries < MAX_TRIES; tries++) {
		ret = read_audit(audit, "mapcount: ");
		if (ret || audit->differences || !audit->unstable)
			break;
	}
	return undo("mapcount") ? -1 : ret;
}

TEST_F_TIMEOUT(folio_mapcount_audit_once, under_load, 600)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const long swapped_out = pages_swapped_out();
	const time_t end = now_seconds() + LOAD_SECONDS;
	const pid_t parent = getpid();
	unsigned long folios = 0, unstable = 0;
	int i, op, audits, missing, status;
	pid_t pids[NR_WORKERS];
	struct audit audit, alone;

	ASSERT_NE(shared, MAP_FAILED);
	/* Our folio stays as it is: the workers do not map it, nobody reclaims it. */
	ASSERT_EQ(madvise(self->mem, self->size, MADV_DONTFORK), 0);
	ASSERT_EQ(mlock(self->mem, self->size), 0);
	ASSERT_EQ(read_stable_audit(&alone), 0);
	ksft_print_msg("seed: %d\n", SEED);
	for (i = 0; i < NR_WORKERS; i++) {
		pids[i] = fork();
		ASSERT_GE(pids[i], 0);
		if (!pids[i]) {
			close(corrupt_fd);
			work(shared, i, parent);
		}
	}

	for (audits = 0; audits < NR_AUDITS || missing_op(shared, swapped_out) < NR_OPS;
	     audits++) {
		const bool wrong = audits % 2;

		EXPECT_EQ(wrong ? read_audit_corrupted(self->mem, &audit) :
				  read_audit(&audit, NULL), 0);
		EXPECT_EQ(audit.differences, wrong);
		EXPECT_EQ(audit.expected, wrong);
		folios += audit.folios;
		unstable += audit.unstable;
		/* That we are alive. */
		ksft_print_msg("%lu folios, %lu unstable\n", audit.folios, audit.unstable);
		/* One that has failed is not going to do what is missing. */
		if (waitpid(-1, &status, WNOHANG) || now_seconds() > end)
			break;
	}
	missing = missing_op(shared, swapped_out);
	if (missing < NR_OPS)
		ksft_print_msg("never done: %s\n", op_names[missing]);
	EXPECT_EQ(missing, NR_OPS);
	EXPECT_GE(audits, NR_AUDITS);
	/* Some of those that the workers have mapped. */
	EXPECT_GT(folios, audits * alone.folios);
	/* What is unstable has not been audited. */
	EXPECT_LT(unstable, folios / 2);

	__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < NR_WORKERS; i++) {
		EXPECT_EQ(waitpid(pids[i], &status, 0), pids[i]);
		EXPECT_EQ(status, 0);
	}
	ksft_print_msg("%d audits, %lu folios, %lu unstable\n", audits, folios, unstable);
	for (op = 0; op < NR_OPS; op++)
		ksft_print_msg("%s: %lu\n", op_names[op], count_ops(shared, op));
	ksft_print_msg("pages swapped out: %ld\n", pages_swapped_out() - swapped_out);
	ASSERT_EQ(read_stable_audit(&audit), 0);
	ASSERT_EQ(audit.differences, 0);
}

int main(int argc, char **argv)
{
	struct stat st;
	int i;

	if (!thp_available())
		ksft_exit_skip("Transparent hugepages are not available\n");
	if (access(DEBUGFS_DIR "audit", R_OK))
		ksft_exit_skip("Need root, debugfs and CONFIG_DEBUG_FOLIO_MAPCOUNT\n");

	/* The directory for files comes first, as it does for folio_mapcount. */
	if (argc > 1 && argv[1][0] != '-') {
		file_dir = argv[1];
		argv[1] = argv[0];
		argv++;
		argc--;
	} else {
		file_dir = getenv("SPLIT_HUGE_PAGE_TEST_XFS_PATH");
	}
	if (file_dir && (stat(file_dir, &st) || !S_ISDIR(st.st_mode)))
		file_dir = NULL;

	pagesize = getpagesize();
	pmdsize = read_pmd_pagesize();
	thp_save_settings();
	thp_read_settings(&settings);
	settings.thp_enabled = THP_MADVISE;
	settings.thp_defrag = THP_DEFRAG_ALWAYS;
	settings.shmem_enabled = SHMEM_WITHIN_SIZE;
	/* It would collapse what we split. */
	settings.khugepaged.scan_sleep_millisecs = 24 * 60 * 60 * 1000;
	for (i = 0; i < NR_ORDERS; i++)
		settings.hugepages[i].enabled = THP_NEVER;
	thp_write_settings(&settings);

	return test_harness_run(argc, argv);
}
