// SPDX-License-Identifier: GPL-2.0
/*
 * Lists of what is known: "[@SCENARIO[,SCENARIO] ]pattern | reason", one a line;
 * globs, # comments. With scenarios, the entry holds only there.
 */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

static bool holds_in(const char *scenarios, const char *scenario)
{
	struct list l = { 0 };
	bool found = false;

	list_split(&l, scenarios);
	for (int i = 0; i < l.n; i++)
		found |= !strcmp(l.v[i], scenario);
	return found;
}

void known_load(struct known *k, const char *path, const char *scenario)
{
	char *text = read_all(path, NULL), *pos = text, *line;

	if (!text)
		die(EXIT_USAGE, "%s: no such list", path);
	for (int nr = 1; (line = next_line(&pos)); nr++) {
		char *bar;

		line = trim(line);
		if (!*line || *line == '#')
			continue;
		bar = strstr(line, " | ");
		if (!bar || !*trim(bar + 3))
			die(EXIT_USAGE, "%s:%d: entry without a reason: %s", path, nr, line);
		*bar = '\0';
		if (*line == '@') {
			char *scenarios = strsep(&line, " ") + 1;

			if (!*scenarios || !line || !*trim(line))
				die(EXIT_USAGE, "%s:%d: not \"@SCENARIO pattern\"", path, nr);
			if (!holds_in(scenarios, scenario))
				continue;
		}
		k->v = xrealloc(k->v, (k->n + 1) * sizeof(*k->v));
		k->v[k->n].pattern = fmt("%s", trim(line));
		k->v[k->n++].reason = fmt("%s", trim(bar + 3));
	}
	free(text);
}

const char *known_reason(const struct known *k, const char *text)
{
	for (int i = 0; i < k->n; i++)
		if (!fnmatch(k->v[i].pattern, text, 0))
			return k->v[i].reason;
	return NULL;
}
