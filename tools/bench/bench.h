/* SPDX-License-Identifier: GPL-2.0 */
/* What the guest's program, its cases, and the plugin that counts agree on. */
#ifndef BENCH_H
#define BENCH_H

/* nopl with a displacement that no compiler has a reason to choose. */
#define MARKER_OPCODE	0x0f, 0x1f, 0x84, 0x00
#define MARKER_BEGIN	0x6d617001u
#define MARKER_END	0x6d617002u

/* Of each line that the plugin writes. */
#define COLUMNS "instructions loads stores locked vm_loads vm_stores vm_locked " \
	"vm_lines_read vm_lines_dirtied lines_read lines_dirtied l1_misses l2_misses"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PAGE		4096ul
#define PMD		(2ul << 20)

/* The parts of bench.csv: all cases; by the size of the folios; by how many share them. */
enum part { CASES = 1, ORDERS = 2, SHARERS = 4 };

/* What the memory of an area is made of. */
struct backing {
	const char *name;
	unsigned int kib;	/* size of the folios, 0 if the file system decides */
	enum { ANON, SHMEM, FILES } kind;
	unsigned int parts;
	bool by_ptes;		/* 2 MiB folios that are not mapped by PMDs */
};

struct area {
	const struct backing *backing;
	char *p;
	size_t size;
	int fd;
	int sharers;		/* other processes that map it already */
	pid_t child;
	int to_child;		/* closing it ends the child */
};

/*
 * A case works on an area that is populated if it says so. Only run() is counted.
 * Anything else that it leaves behind is gone when its process ends.
 */
struct bench_case {
	const char *name;
	unsigned int kinds;	/* 1 << ANON etc. */
	unsigned int parts;
	bool populated;
	bool (*fits)(const struct backing *b);	/* all, if NULL */
	bool fixed;		/* count it with nothing mapped as well */
	void (*prepare)(struct area *a);
	void (*run)(struct area *a);
};

extern const struct bench_case cases[];

void die(const char *what);
void touch(struct area *a);
void populate(struct area *a);
/* A child that has nothing to do but to wait for its end. */
void start_child(struct area *a, void (*first)(struct area *a));
void end_child(struct area *a);

#define BENCH_MARK(which) \
	asm volatile(".byte 0x0f, 0x1f, 0x84, 0x00\n\t.long %c0" : : "i" (which) : "memory")

#endif
