/* SPDX-License-Identifier: GPL-2.0 */
/* The guest runner: boots a scenario in QEMU and judges what came out. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "../lib/exit_codes.h"

/* util.c */
struct buf {
	char *s;	/* always terminated once something was added */
	size_t len, size;
};

struct list {
	char **v;
	int n;
};

void die(int code, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
void *xrealloc(void *p, size_t size);
char *fmt(const char *format, ...) __attribute__((format(printf, 1, 2)));
void buf_add(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_put(struct buf *b, const char *data, size_t len);
void list_add(struct list *l, const char *s);
void list_split(struct list *l, const char *words);
char *read_all(const char *path, size_t *len);	/* NULL if there is no file */
void write_new(const char *path, const char *data, size_t len);
char *next_line(char **pos);			/* cuts the text in place */
char *trim(char *s);
double now(void);

/* known.c: lists of "[@SCENARIO ]pattern | reason" */
struct known {
	struct { char *pattern, *reason; } *v;
	int n;
};

void known_load(struct known *k, const char *path, const char *scenario);
const char *known_reason(const struct known *k, const char *text);

/* scenario.c */
struct scenario {
	char *name, *title, *append, *cpu, *audit;
	const struct arch *arch;
	int memory, cpus, nodes;	/* MiB, number, number */
	bool disk, root;
	double limit_boot, limit_silence, limit_test, limit_run, tcg_factor;
	struct list config, tests, archives;
};

void scenario_load(struct scenario *s, const char *path);
bool audit_value(const char *value);	/* of the key "audit" */

/* The order is that of severity: the worst of several wins. */
enum verdict {
	PASS, XFAIL, SKIP, FAIL, AUDIT, SPLAT, HANG, LOST
};

extern const char * const verdict_name[];

struct row {
	char *name, *why;	/* why: of a skip or a failure */
	enum verdict verdict;
	int depth;
	bool known;		/* a skip with a reason in known-skips */
};

/* What the kernel's audit of mapcounts said, after one test or after all. */
struct audit {
	long folios, differences, unstable;
	int begun, ended;
	char *first;		/* the first difference */
};

struct test {
	char *name, *why;
	enum verdict verdict;
	struct row *rows;
	int nr_rows, passed, failed, skipped;
	bool begun, ended, timeout;
	int exit;
	double seconds;
	unsigned long taint[2];
	struct audit audit;
};

struct splat {
	char *title;
	const char *known;	/* the reason, NULL if it is not known */
	int line, test;		/* test -1: outside of any */
};

struct result {
	char *dir, *kind, *nonce, *scenario, *end, *rerun, *accel;
	double seconds;
	struct test *tests;
	int nr_tests;
	struct splat *splats;
	int nr_splats;
	bool ready, complete, audit_required;
	struct audit audit;	/* the sums of the tests' */
	char *setup_error, *panic;
	enum verdict verdict;	/* of the whole run */
	char *why;
	int passed, failed, skipped;
};

/* ktap.c */
void ktap_guest(struct result *r, char *log);
void ktap_console(struct result *r, char *log);

/* splat.c */
void splat_scan(struct result *r, char *log, const struct known *known);
char *strip_stamp(char *line);

/* result.c */
void result_load(struct result *r, const char *dir, const char *lists);
int result_exit(const struct result *r);
struct test *result_test(struct result *r, const char *name);
void test_fail(struct test *t, enum verdict v, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* report.c */
void report_files(const struct result *r);
void report_table(const struct result *r);
int report_compare(const struct result *a, const struct result *b);

/* qemu.c */
struct arch {
	const char *name, *qemu, *package, *machine;
	const char *cpu, *append;	/* where the scenario says nothing */
	const char *console;		/* the kernel's name of the first port */
	bool pci_report;		/* the machine has no second serial port */
	bool kvm;			/* may run without emulation */
};

const struct arch *arch_find(const char *name);

struct boot {
	const struct scenario *s;
	const char *kernel, *image, *dir, *nonce, *plan;
	bool kvm, shell;
	double duration;	/* of the test "torture" */
};

double limit_of_test(const struct boot *b, const char *name);

bool kvm_works(const struct boot *b, const char *cache);
char *qemu_run(const struct boot *b, double *seconds);	/* how it ended */

#endif
