// SPDX-License-Identifier: GPL-2.0
/* What a run's result looks like: table, JUnit XML, JSON; and two compared. */
#include <stdlib.h>
#include <string.h>

#include "guest.h"

/* Text for XML, also fit for a JSON string: neither has a quote nor a control. */
static char *escaped(const char *s, bool xml)
{
	struct buf b = { 0 };

	buf_put(&b, "", 0);
	for (; s && *s; s++) {
		unsigned char c = *s;

		if (c < ' ' || c >= 0x7f)
			buf_put(&b, "?", 1);
		else if (xml && strchr("<>&\"", c))
			buf_add(&b, "&#%d;", c);
		else if (!xml && strchr("\"\\", c))
			buf_add(&b, "\\%c", c);
		else
			buf_put(&b, s, 1);
	}
	return b.s;
}

#define X(s)	escaped(s, true)
#define J(s)	escaped(s, false)

static void junit_case(struct buf *b, const char *class, const char *name,
		       enum verdict v, bool known_skip, const char *why)
{
	buf_add(b, "<testcase classname=\"%s\" name=\"%s\">", X(class), X(name));
	if (v == SKIP && known_skip)
		buf_add(b, "<skipped message=\"%s\"/>", X(why));
	else if (v >= SKIP)
		buf_add(b, "<failure type=\"%s\" message=\"%s\"/>", verdict_name[v], X(why));
	buf_add(b, "</testcase>\n");
}

static void write_junit(const struct result *r)
{
	struct buf b = { 0 };

	buf_add(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<testsuites name=\"%s\" time=\"%.1f\">\n", X(r->scenario), r->seconds);
	buf_add(&b, "<testsuite name=\"guest\" tests=\"1\" failures=\"%d\">\n",
		r->verdict >= FAIL);
	junit_case(&b, "guest", "run", r->verdict, false, r->why);
	buf_add(&b, "</testsuite>\n");
	for (int i = 0; i < r->nr_tests; i++) {
		struct test *t = &r->tests[i];
		int own = t->verdict > FAIL || (t->verdict == FAIL && !t->nr_rows);

		buf_add(&b, "<testsuite name=\"%s\" tests=\"%d\" failures=\"%d\" skipped=\"%d\" time=\"%.1f\">\n",
			X(t->name), t->nr_rows + own, t->failed, t->skipped, t->seconds);
		if (own)
			junit_case(&b, t->name, t->name, t->verdict, false, t->why);
		for (int j = 0; j < t->nr_rows; j++) {
			struct row *row = &t->rows[j];

			junit_case(&b, t->name, row->name, row->verdict == XFAIL ?
				   PASS : row->verdict, row->known, row->why);
		}
		buf_add(&b, "</testsuite>\n");
	}
	buf_add(&b, "</testsuites>\n");
	write_new(fmt("%s/junit.xml", r->dir), b.s, b.len);
}

static void json_audit(struct buf *b, const struct audit *a)
{
	if (a->ended)
		buf_add(b, ",\n\"audit\": {\"folios\": %ld, \"differences\": %ld, "
			"\"unstable\": %ld, \"first\": \"%s\"}", a->folios, a->differences,
			a->unstable, J(a->first));
}

static void write_summary(const struct result *r)
{
	struct buf b = { 0 };

	buf_add(&b, "{\n\"scenario\": \"%s\",\n\"accelerator\": \"%s\",\n\"verdict\": \"%s\",\n\"why\": \"%s\",\n"
		"\"seconds\": %.1f,\n\"passed\": %d,\n\"failed\": %d,\n\"skipped\": %d,\n\"rerun\": \"%s\",\n\"tests\": [",
		J(r->scenario), J(r->accel), verdict_name[r->verdict], J(r->why),
		r->seconds, r->passed, r->failed, r->skipped, J(r->rerun));
	for (int i = 0; i < r->nr_tests; i++) {
		struct test *t = &r->tests[i];

		buf_add(&b, "%s\n{\"name\": \"%s\", \"verdict\": \"%s\", \"why\": \"%s\", \"seconds\": %.1f, "
			"\"passed\": %d, \"failed\": %d, \"skipped\": %d", i ? "," : "",
			J(t->name), verdict_name[t->verdict], J(t->why), t->seconds,
			t->passed, t->failed, t->skipped);
		json_audit(&b, &t->audit);
		buf_put(&b, "}", 1);
	}
	buf_put(&b, "\n]", 2);
	json_audit(&b, &r->audit);
	buf_add(&b, ",\n\"splats\": [");
	for (int i = 0; i < r->nr_splats; i++) {
		struct splat *s = &r->splats[i];

		buf_add(&b, "%s\n{\"title\": \"%s\", \"line\": %d, \"test\": \"%s\", \"known\": \"%s\"}",
			i ? "," : "", J(s->title), s->line,
			s->test < 0 ? "" : J(r->tests[s->test].name), J(s->known));
	}
	buf_add(&b, "\n]\n}\n");
	write_new(fmt("%s/summary.json", r->dir), b.s, b.len);
}

void report_files(const struct result *r)
{
	write_junit(r);
	write_summary(r);
}

static void print_skips(const struct result *r)
{
	for (int i = 0; i < r->nr_tests; i++) {
		struct test *t = &r->tests[i];

		for (int j = 0; j < t->nr_rows; j++) {
			int n = 0;

			if (!t->rows[j].known)
				continue;
			for (int k = 0; k < t->nr_rows; k++) {
				if (!t->rows[k].known || strcmp(t->rows[k].why, t->rows[j].why))
					continue;
				if (k < j)
					break;
				n++;
			}
			if (n)
				printf("skipped: %s, %d case%s (%s%s): %s\n", t->name, n,
				       n > 1 ? "s" : "", t->rows[j].name,
				       n > 1 ? ", ..." : "", t->rows[j].why);
		}
	}
}

void report_table(const struct result *r)
{
	printf("\n%-28s %-7s %7s %7s %7s %9s\n", "test", "verdict", "passed",
	       "failed", "skipped", "seconds");
	for (int i = 0; i < r->nr_tests; i++) {
		struct test *t = &r->tests[i];

		printf("%-28s %-7s %7d %7d %7d %9.1f\n", t->name, verdict_name[t->verdict],
		       t->passed, t->failed, t->skipped, t->seconds);
	}
	putchar('\n');
	for (int i = 0; i < r->nr_tests; i++) {
		struct test *t = &r->tests[i];
		int shown = 0;

		if (t->verdict > FAIL || (t->verdict == FAIL && !t->nr_rows))
			printf("%s: %s: %s\n", verdict_name[t->verdict], t->name, t->why);
		/* Something worse may have come on top of it. */
		if (t->audit.first && t->verdict > AUDIT)
			printf("audit: %s: %ld differences: %s\n", t->name,
			       t->audit.differences, t->audit.first);
		for (int j = 0; j < t->nr_rows; j++) {
			struct row *row = &t->rows[j];

			if (row->verdict != FAIL && (row->verdict != SKIP || row->known))
				continue;
			if (++shown <= 20)
				printf("fail: %s: %s: %s\n", t->name, row->name, row->why);
		}
		if (shown > 20)
			printf("fail: %s: %d more, see junit.xml\n", t->name, shown - 20);
	}
	for (int i = 0; i < r->nr_splats; i++) {
		struct splat *s = &r->splats[i];

		printf("%s: console.log:%d: %s: %s%s%s\n", s->known ? "known splat" : "splat",
		       s->line, s->test < 0 ? "outside of the tests" : r->tests[s->test].name,
		       s->title, s->known ? ": " : "", s->known ? s->known : "");
	}
	print_skips(r);
	if (r->audit.begun)
		printf("audit: folios %ld, differences %ld, unstable %ld (after %d of %d tests)\n",
		       r->audit.folios, r->audit.differences, r->audit.unstable,
		       r->audit.ended, r->nr_tests);
	printf("verdict: %s%s%s\nlogs: %s\nagain: %s\n", verdict_name[r->verdict],
	       r->why ? ": " : "", r->why ? r->why : "", r->dir, r->rerun);
	printf("%d passed, %d failed, %d skipped\n", r->passed, r->failed, r->skipped);
}

/* pass < xfail, skip < fail, missing */
static int rank(enum verdict v)
{
	return v == PASS ? 0 : v <= SKIP ? 1 : 2;
}

static const struct row *find_row(const struct test *t, const char *name)
{
	for (int i = 0; t && i < t->nr_rows; i++)
		if (!strcmp(t->rows[i].name, name))
			return &t->rows[i];
	return NULL;
}

static const struct test *find_test(const struct result *r, const char *name)
{
	for (int i = 0; i < r->nr_tests; i++)
		if (!strcmp(r->tests[i].name, name))
			return &r->tests[i];
	return NULL;
}

struct tally {
	int same, better, worse;
};

/* One case, or a test without cases. */
static void weigh(struct tally *n, const char *name, enum verdict before, int rank_after,
		  const char *after)
{
	int diff = rank_after - rank(before);

	n->same += !diff;
	n->better += diff < 0;
	n->worse += diff > 0;
	if (diff)
		printf("%s %s: %s -> %s\n", diff > 0 ? "worse: " : "better:", name,
		       verdict_name[before], after);
}

int report_compare(const struct result *a, const struct result *b)
{
	struct tally n = { 0 };
	int added = 0;

	for (int i = 0; i < a->nr_tests; i++) {
		const struct test *ta = &a->tests[i], *tb = find_test(b, ta->name);
		enum verdict vb = tb ? tb->verdict : LOST;

		/* A difference, a splat or a hang may leave all rows as they are. */
		if (vb >= AUDIT && vb > ta->verdict) {
			printf("worse:  %s: %s -> %s (%s)\n", ta->name,
			       verdict_name[ta->verdict], verdict_name[vb],
			       tb ? tb->why : "not run");
			n.worse++;
		} else if (!ta->nr_rows) {
			weigh(&n, ta->name, ta->verdict, rank(vb), verdict_name[vb]);
		}
		for (int j = 0; j < ta->nr_rows; j++) {
			const struct row *ra = &ta->rows[j], *rb = find_row(tb, ra->name);

			weigh(&n, fmt("%s: %s", ta->name, ra->name), ra->verdict,
			      rb ? rank(rb->verdict) : 2,
			      rb ? verdict_name[rb->verdict] : "missing");
		}
		for (int j = 0; tb && j < tb->nr_rows; j++)
			added += !find_row(ta, tb->rows[j].name);
	}
	for (int i = 0; i < b->nr_tests; i++)
		if (!find_test(a, b->tests[i].name))
			added += b->tests[i].nr_rows ? b->tests[i].nr_rows : 1;
	if (b->verdict > a->verdict && b->verdict >= AUDIT && !n.worse) {
		printf("worse:  run: %s -> %s (%s)\n", verdict_name[a->verdict],
		       verdict_name[b->verdict], b->why);
		n.worse++;
	}
	if (!n.same && !n.better && !n.worse) {
		puts("nothing to compare");
		n.worse = 1;
	}
	printf("%d the same, %d better, %d worse, %d new\n", n.same, n.better, n.worse, added);
	return n.worse ? EXIT_TEST : EXIT_OK;
}
