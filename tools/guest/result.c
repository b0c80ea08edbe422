// SPDX-License-Identifier: GPL-2.0
/*
 * From the saved files of a run to its verdict: "run" (what was asked for and
 * how QEMU ended), ktap.log, console.log. No more is needed, so that a recheck
 * says what the run said.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

/* Taint bits of D(ie), B(ad page), W(arn), L(ockup). */
#define BAD_TAINT	(1UL << 7 | 1UL << 5 | 1UL << 9 | 1UL << 14)

const char * const verdict_name[] = {
	"pass", "xfail", "skip", "fail", "audit", "splat", "hang", "lost"
};

struct test *result_test(struct result *r, const char *name)
{
	for (int i = 0; i < r->nr_tests; i++)
		if (!strcmp(r->tests[i].name, name))
			return &r->tests[i];
	r->tests = xrealloc(r->tests, (r->nr_tests + 1) * sizeof(*r->tests));
	r->tests[r->nr_tests] = (struct test) { .name = fmt("%s", name) };
	return &r->tests[r->nr_tests++];
}

static void worsen(enum verdict *v, char **why, enum verdict to, char *reason)
{
	if (to <= *v && *why)
		return;
	if (to > *v)
		*v = to;
	*why = reason;
}

void test_fail(struct test *t, enum verdict v, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	worsen(&t->verdict, &t->why, v, fmt("%s", text));
}

static void load_run(struct result *r)
{
	char *path = fmt("%s/run", r->dir), *text = read_all(path, NULL);
	char *pos = text, *line;
	struct list tests = { 0 };

	if (!text)
		die(EXIT_USAGE, "%s: not a result folder (no file \"run\")", r->dir);
	r->kind = r->nonce = r->scenario = r->rerun = r->accel = "";
	while ((line = next_line(&pos))) {
		char *value = strstr(line, " = ");

		if (!value)
			continue;
		*value = '\0';
		value = fmt("%s", value + 3);
		if (!strcmp(line, "kind"))
			r->kind = value;
		else if (!strcmp(line, "nonce"))
			r->nonce = value;
		else if (!strcmp(line, "scenario"))
			r->scenario = value;
		else if (!strcmp(line, "accel"))
			r->accel = value;
		else if (!strcmp(line, "audit"))
			r->audit_required = !strcmp(value, "required");
		else if (!strcmp(line, "rerun"))
			r->rerun = value;
		else if (!strcmp(line, "tests"))
			list_split(&tests, value);
		else if (!strcmp(line, "seconds"))
			r->seconds = atof(value);
		else if (!strcmp(line, "end"))
			r->end = value;
	}
	if (!*r->kind || !*r->nonce)
		die(EXIT_USAGE, "%s: broken", path);
	for (int i = 0; i < tests.n; i++)
		result_test(r, tests.v[i]);
	free(text);
	free(path);
}

static void judge_audit(struct result *r, struct test *t)
{
	struct audit *a = &t->audit;

	if (a->begun && !a->ended)
		test_fail(t, AUDIT, "the audit gave no result");
	else if (!a->begun && r->audit_required)
		test_fail(t, AUDIT, "no audit, and the scenario requires it");
	else if (a->differences || a->first)
		test_fail(t, AUDIT, "%ld differences: %s", a->differences,
			  a->first ? a->first : "none shown");
	r->audit.folios += a->folios;
	r->audit.differences += a->differences;
	r->audit.unstable += a->unstable;
	r->audit.begun += a->begun;
	r->audit.ended += a->ended;
	if (!r->audit.first)
		r->audit.first = a->first;
}

/* One test from its rows, its exit status and how the guest ended. */
static void judge_test(struct result *r, struct test *t, const struct known *skips)
{
	unsigned long taint = t->taint[1] & ~t->taint[0] & BAD_TAINT;
	bool hang = r->end && !strncmp(r->end, "hang", 4);

	if (t->ended && !t->nr_rows && t->exit == 4 && t->verdict != FAIL) {
		t->rows = xrealloc(NULL, sizeof(*t->rows));
		t->rows[t->nr_rows++] = (struct row) {
			.name = fmt("%s", t->name), .verdict = SKIP, .why = "exit status 4"
		};
	}
	for (int i = 0; i < t->nr_rows; i++) {
		struct row *row = &t->rows[i];
		char *full = fmt("%s/%s", t->name, row->name);
		const char *reason = known_reason(skips, full);

		if (row->verdict == PASS || row->verdict == XFAIL) {
			t->passed++;
		} else if (row->verdict == SKIP && reason) {
			row->known = true;
			row->why = fmt("%s", reason);
			t->skipped++;
		} else {
			if (row->verdict == SKIP)
				row->why = fmt("unexpected skip: %s", row->why);
			t->failed++;
			test_fail(t, FAIL, "%s: %s", row->name, row->why);
		}
		free(full);
	}
	if (!t->begun)
		test_fail(t, LOST, "not run");
	else if (!t->ended)
		test_fail(t, hang ? HANG : LOST, "%s",
			  r->panic ? r->panic : hang ? r->end : "the guest was lost");
	else if (t->timeout)
		test_fail(t, HANG, "time limit");
	else if (t->exit && t->exit != 4)
		test_fail(t, FAIL, "exit status %d", t->exit);
	else if (!t->nr_rows && !*t->name)
		test_fail(t, FAIL, "no result");
	if (t->ended)
		judge_audit(r, t);
	if (taint)
		test_fail(t, SPLAT, "the kernel is tainted: 0x%lx", taint);
	if (t->verdict == PASS && !t->passed && t->skipped)
		t->verdict = SKIP;
	/* What no row stands for still counts. */
	if (t->verdict >= FAIL && !t->failed)
		t->failed = 1;
	if (t->verdict == PASS && !t->nr_rows)
		t->passed = 1;
}

void result_load(struct result *r, const char *dir, const char *lists)
{
	char *console_path = fmt("%s/console.log", dir);
	char *console, *console2, *ktap;
	struct known skips = { 0 }, splats = { 0 };

	*r = (struct result) { .dir = fmt("%s", dir) };
	load_run(r);
	known_load(&skips, fmt("%s/known-skips", lists), r->scenario);
	known_load(&splats, fmt("%s/known-splats", lists), r->scenario);
	console = read_all(console_path, NULL);
	console2 = read_all(console_path, NULL);
	ktap = read_all(fmt("%s/ktap.log", dir), NULL);

	if (!strcmp(r->kind, "kunit"))
		ktap_console(r, console2);
	else
		ktap_guest(r, ktap);
	splat_scan(r, console, &splats);
	for (int i = 0; i < r->nr_splats; i++) {
		struct splat *s = &r->splats[i];

		if (s->known)
			continue;
		if (s->test >= 0)
			test_fail(&r->tests[s->test], SPLAT, "%s", s->title);
		else
			worsen(&r->verdict, &r->why, SPLAT,
			       fmt("outside of the tests: %s", s->title));
	}
	if (r->end && !strncmp(r->end, "hang", 4))
		worsen(&r->verdict, &r->why, HANG, r->end);
	else if (!r->end)
		worsen(&r->verdict, &r->why, LOST, "the runner was interrupted");
	else if (r->panic)
		worsen(&r->verdict, &r->why, LOST, r->panic);
	else if (r->setup_error)
		worsen(&r->verdict, &r->why, FAIL, fmt("setup: %s", r->setup_error));
	else if (!r->complete)
		worsen(&r->verdict, &r->why, LOST,
		       fmt("the report is cut short (QEMU: %s)", r->end));
	else if (strcmp(r->end, "exit 0"))
		/* kunit.py exits with 1 where a case failed. */
		worsen(&r->verdict, &r->why, strcmp(r->kind, "kunit") ? LOST : FAIL, r->end);
	if (!r->nr_tests)
		worsen(&r->verdict, &r->why, FAIL, "no tests");
	for (int i = 0; i < r->nr_tests; i++) {
		struct test *t = &r->tests[i];

		judge_test(r, t, &skips);
		r->passed += t->passed;
		r->failed += t->failed;
		r->skipped += t->skipped;
		/* What was not run for a reason known already adds none. */
		if (t->verdict >= FAIL && (t->begun || r->verdict < FAIL))
			worsen(&r->verdict, &r->why, t->verdict,
			       fmt("%s: %s", t->name, t->why));
	}
	if (r->verdict >= FAIL && !r->failed)
		r->failed = 1;
	free(console);
	free(console2);
	free(ktap);
	free(console_path);
}

int result_exit(const struct result *r)
{
	switch (r->verdict) {
	case LOST:
		return EXIT_LOST;
	case HANG:
		return EXIT_HANG;
	case SPLAT:
		return EXIT_SPLAT;
	case FAIL:
	case AUDIT:
		return EXIT_TEST;
	default:
		return EXIT_OK;
	}
}
