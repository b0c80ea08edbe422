// SPDX-License-Identifier: GPL-2.0
/*
 * KTAP, as init reports it and as tests print it, into rows.
 *
 * Results nest: a result at depth d owns the deeper ones that came before it
 * since the last result at depth d or less. Depth is counted in "# " prefixes
 * (run_vmtests.sh puts one before its programs' output) and in indents of four
 * (KUnit).
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

#define MAX_DEPTH	16

struct parser {
	struct test *t;
	int plan[MAX_DEPTH], count[MAX_DEPTH];	/* plan -1: none seen */
	char *skip_all[MAX_DEPTH];		/* reason of a "1..0 # SKIP" */
	char *last;				/* remark, the reason of a skip */
	bool stub;				/* "not selected" was printed */
};

static void parser_init(struct parser *p, struct test *t)
{
	*p = (struct parser) { .t = t };
	for (int d = 0; d < MAX_DEPTH; d++)
		p->plan[d] = -1;
}

static bool is_number(const char *s, char **end)
{
	strtoul(s, end, 10);
	return isdigit((unsigned char)*s);
}

/* Closes the blocks deeper than d; a broken plan is the reason returned. */
static char *close_blocks(struct parser *p, int d, char **skip)
{
	char *why = NULL;

	for (int e = d + 1; e < MAX_DEPTH; e++) {
		if (p->plan[e] >= 0 && p->plan[e] != p->count[e] && !why)
			why = fmt("plan of %d, %d results", p->plan[e], p->count[e]);
		if (p->skip_all[e])
			*skip = p->skip_all[e];
		p->plan[e] = -1;
		p->count[e] = 0;
		p->skip_all[e] = NULL;
	}
	return why;
}

/* A result's name begins with the program's. */
static bool of_program(const char *s, const char *program)
{
	const size_t n = strlen(program);

	return !strncmp(s, program, n) && (!s[n] || s[n] == ' ');
}

static void result_line(struct parser *p, int depth, bool ok, char *s)
{
	struct test *t = p->t;
	struct row row = { .depth = depth, .verdict = ok ? PASS : FAIL };
	char *directive = strstr(s, "# "), *broken, *skip = NULL;
	int child_failed = 0, first = t->nr_rows;

	while (first && t->rows[first - 1].depth > depth)
		first--;
	if (directive) {
		*directive = '\0';
		directive = trim(directive + 2);
	}
	s = trim(s);
	if (s[0] == '-' && s[1] == ' ')
		s = trim(s + 1);
	if (directive && !strncasecmp(directive, "SKIP", 4)) {
		row.verdict = ok ? SKIP : FAIL;
		row.why = trim(directive + 4);
	} else if (directive && !strncmp(directive, "XFAIL", 5)) {
		row.verdict = XFAIL;
		row.why = trim(directive + 5);
	} else if (directive && !ok) {
		row.why = directive;
	}
	/* "ok 7 # SKIP text": the text is all that names the case. */
	if (!*s && row.why)
		s = row.why;
	broken = close_blocks(p, depth, &skip);
	if (broken) {
		row.verdict = FAIL;
		row.why = broken;
	} else if (skip && row.verdict == SKIP) {
		row.why = skip;
	}
	if ((!row.why || !*row.why) && row.verdict != PASS)
		row.why = p->last ? p->last : "no reason given";
	row.why = row.why ? fmt("%s", row.why) : NULL;
	row.name = fmt("%s", s);
	p->count[depth]++;
	for (int i = first; i < t->nr_rows; i++) {
		t->rows[i].name = fmt("%s/%s", row.name, t->rows[i].name);
		t->rows[i].depth = depth;
		child_failed += t->rows[i].verdict == FAIL;
	}
	/* A program that was not asked for; only a stub prints nothing else. */
	if (depth == 0 && p->stub && row.verdict == SKIP && first == t->nr_rows &&
	    !of_program(s, t->name))
		goto out;
	/* The children stand for their parent, unless it knows of more. */
	if (first < t->nr_rows && (row.verdict != FAIL || (child_failed && !broken)))
		goto out;
	t->rows = xrealloc(t->rows, (t->nr_rows + 1) * sizeof(row));
	t->rows[t->nr_rows++] = row;
out:
	p->last = NULL;
	p->stub = false;
}

static void output_line(struct parser *p, char *s)
{
	int depth = 0;
	char *end;

	for (;;) {
		if (s[0] == '#' && s[1] == ' ')
			s += 2;
		else if (!strncmp(s, "    ", 4))
			s += 4;
		else
			break;
		if (depth < MAX_DEPTH - 1)
			depth++;
	}
	if (!strncmp(s, "ok ", 3) && is_number(s + 3, &end)) {
		result_line(p, depth, true, end);
	} else if (!strncmp(s, "not ok ", 7) && is_number(s + 7, &end)) {
		result_line(p, depth, false, end);
	} else if (!strncmp(s, "1..", 3) && is_number(s + 3, &end)) {
		p->plan[depth] = atoi(s + 3);
		end = strcasestr(end, "# SKIP");
		if (end)
			p->skip_all[depth] = trim(end + 6);
	} else if (!strncmp(s, "Bail out!", 9)) {
		test_fail(p->t, FAIL, "%s", s);
	} else if (!strcmp(s, "not selected")) {
		p->stub = true;
	} else if (*trim(s) && strncmp(s, "[SKIP]", 6) && strncmp(s, "[RUN]", 5)) {
		p->last = trim(s);
	}
}

/* Names that differ between runs of the same case, and repeated names. */
static void settle_names(struct test *t)
{
	for (int i = 0; i < t->nr_rows; i++) {
		struct buf b = { 0 };
		/* A name with a percentage reports what was measured. */
		bool measured = strstr(t->rows[i].name, "%)");
		int same = 1;

		for (char *s = t->rows[i].name; *s;) {
			size_t n = strspn(s, "0123456789");
			char *end = s + n;

			if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
				end = s + 2 + strspn(s + 2, "0123456789abcdefABCDEF");
				buf_put(&b, "0x*", 3);
			} else if ((n && measured) ||
				   (n >= 6 && strncasecmp(end, " kB", 3) &&
				    strncasecmp(end, "kB", 2))) {
				buf_put(&b, "*", 1);
			} else {
				end = s + (n ? n : 1);
				buf_put(&b, s, end - s);
			}
			s = end;
		}
		t->rows[i].name = b.s ? b.s : fmt("unnamed");
		for (int j = 0; j < i; j++) {
			size_t n = strlen(b.s);

			if (!strncmp(t->rows[j].name, b.s, n) &&
			    (!t->rows[j].name[n] || t->rows[j].name[n] == '\x01'))
				same++;
		}
		if (same > 1)
			t->rows[i].name = fmt("%s\x01[%d]", b.s, same);
	}
	for (int i = 0; i < t->nr_rows; i++) {
		char *sep = strchr(t->rows[i].name, '\x01');

		if (sep)
			*sep = ' ';
	}
}

static void parser_finish(struct parser *p)
{
	char *skip = NULL, *why = close_blocks(p, -1, &skip);

	if (why)
		test_fail(p->t, FAIL, "%s", why);
	settle_names(p->t);
}

/* A line of the kernel's audit, or init's remark that there is none to come. */
static void audit_line(struct test *t, const char *s)
{
	long folios, differences, unstable;
	int end = 0;

	if (!strcmp(s, "begin"))
		t->audit = (struct audit) { .begun = 1 };
	else if (!strncmp(s, "timeout", 7))
		test_fail(t, HANG, "audit: time limit");
	else if (!strncmp(s, "difference: ", 12) && !t->audit.first)
		t->audit.first = fmt("%s", s + 12);
	else if (sscanf(s, "folios %ld, differences %ld, unstable %ld%n", &folios,
			&differences, &unstable, &end) == 3 && end && !s[end])
		t->audit = (struct audit) { folios, differences, unstable, 1, 1, t->audit.first };
}

void ktap_guest(struct result *r, char *log)
{
	struct parser p = { 0 };
	char *pos = log, *line, name[128], word[64];
	int nr;

	while (log && (line = next_line(&pos))) {
		if (!strncmp(line, "# ", 2)) {
			if (p.t)
				output_line(&p, line + 2);
			else if (!r->ready)
				r->setup_error = fmt("%s", line + 2);
		} else if (!strcmp(line, "#! ready")) {
			r->ready = true;
			r->setup_error = NULL;
		} else if (!strncmp(line, "#! setup failed", 15)) {
			if (!r->setup_error)
				r->setup_error = fmt("%s", line + 3);
		} else if (sscanf(line, "#! complete %63s", word) == 1) {
			r->complete = !strcmp(word, r->nonce);
		} else if (sscanf(line, "#! begin %d %127s", &nr, name) == 2) {
			struct test *t;

			if (p.t)
				parser_finish(&p);
			t = result_test(r, name);
			t->begun = true;
			parser_init(&p, t);
		} else if (!strncmp(line, "#! audit: ", 10) && p.t) {
			audit_line(p.t, line + 10);
		} else if (!strncmp(line, "#! end ", 7) && p.t) {
			int timeout;

			if (sscanf(line, "#! end %d %127s exit=%d seconds=%lf taint=%lx:%lx timeout=%d",
				   &nr, name, &p.t->exit, &p.t->seconds, &p.t->taint[0],
				   &p.t->taint[1], &timeout) != 7 || strcmp(name, p.t->name))
				continue;
			p.t->timeout = timeout;
			p.t->ended = true;
			parser_finish(&p);
			p.t = NULL;
		}
	}
	if (p.t)
		parser_finish(&p);
}

/* KUnit has nothing but the console to report on. */
void ktap_console(struct result *r, char *log)
{
	struct test *t = result_test(r, "kunit");
	struct parser p;
	char *pos = log, *line;

	parser_init(&p, t);
	while (log && (line = next_line(&pos))) {
		line = strip_stamp(line);
		if (!strncmp(line, "KTAP version", 12))
			t->begun = true;
		if (t->begun)
			output_line(&p, line);
	}
	if (t->begun && p.plan[0] < 0)
		test_fail(t, FAIL, "no plan");
	t->ended = r->ready = r->complete = t->begun && p.count[0] == p.plan[0];
	if (!t->nr_rows)
		test_fail(t, FAIL, "no test ran");
	parser_finish(&p);
}
