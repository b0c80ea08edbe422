// SPDX-License-Identifier: GPL-2.0
/* Complaints of the kernel on the console, and in which test they came. */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

/* How far the stack trace of a complaint may reach below its first line. */
#define BODY_LINES	120

/* Each of these begins a complaint of its own. */
static const char * const strong[] = {
	"WARNING:", "BUG:", "kernel BUG at", "general protection fault",
	"possible circular locking", "possible recursive locking",
	"possible irq lock inversion", "possible deadlock",
	"inconsistent lock state", "suspicious RCU usage", "bad unlock balance",
	"held lock freed", "lock held when returning", "DEBUG_LOCKS_WARN_ON",
	"KASAN:", "KCSAN:", "KMSAN:", "UBSAN:", "KFENCE:",
	"Bad page state", "Bad page map", "Bad rss-counter", "page dumped because",
	"nonzero ", "non-zero ", "refcount_t:", "list_add corruption",
	"list_del corruption", "self-detected stall", "detected stall",
	"rcu: INFO:", "soft lockup", "hard LOCKUP", "blocked for more than",
	"bad: scheduling", "scheduling while atomic", "sleeping function called",
	"unable to handle", "Kernel panic", "stack-protector", "Oops",
	"double fault", "divide error:", "invalid opcode:", "stack segment:",
	"unreferenced object", "page allocation failure", "invoked oom-killer",
	"ODEBUG:",
};

static bool begins_one(const char *line)
{
	for (size_t i = 0; i < sizeof(strong) / sizeof(strong[0]); i++)
		if (strstr(line, strong[i]))
			return true;
	return false;
}

/* "[    1.234567][   T12] text" to "text". */
char *strip_stamp(char *line)
{
	while (*line == '[') {
		char *end = strchr(line, ']');

		if (!end || line[1 + strspn(line + 1, " .0123456789TC")] != ']')
			break;
		line = end + 1 + (end[1] == ' ');
	}
	return line;
}

static bool is_filler(const char *line)
{
	return !*trim((char *)line) || !strncmp(line, "CPU:", 4) ||
	       !strncmp(line, "Hardware name", 13) || !strncmp(line, "Tainted", 7) ||
	       strchr("=-", *line);
}

void splat_scan(struct result *r, char *log, const struct known *known)
{
	char *pos = log, *line, *title = NULL, name[128], what[16];
	char *format = fmt("guest-marker %s %%15s %%*d %%127s", r->nonce);
	int test = -1, last = -BODY_LINES;

	for (int nr = 1; log && (line = next_line(&pos)); nr++) {
		struct splat s = { .line = nr, .test = test };
		bool is_strong;

		line = strip_stamp(line);
		if (sscanf(line, format, what, name) == 2) {
			test = -1;
			for (int i = 0; i < r->nr_tests; i++)
				if (!strcmp(what, "begin") && !strcmp(r->tests[i].name, name))
					test = i;
			last = -BODY_LINES;
			continue;
		}
		if (!strcmp(r->kind, "kunit"))
			s.test = 0;
		if (!strncmp(line, "Kernel panic", 12) && !r->panic)
			r->panic = fmt("%s", line);
		is_strong = begins_one(line);
		/* A trace is part of one, or one of its own if there is none above it. */
		if (is_strong || (strstr(line, "Call Trace:") && nr - last > BODY_LINES)) {
			s.title = fmt("%s", is_strong || !title ? line : title);
			s.known = known_reason(known, s.title);
			r->splats = xrealloc(r->splats, (r->nr_splats + 1) * sizeof(s));
			r->splats[r->nr_splats++] = s;
			last = nr;
		}
		if (strstr(line, "---[ end trace"))
			last = -BODY_LINES;
		if (!is_filler(line))
			title = line;
	}
	free(format);
}
