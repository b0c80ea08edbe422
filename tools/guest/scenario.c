// SPDX-License-Identifier: GPL-2.0
/* Scenario files: "key = value" lines, # comments; what they leave out is below. */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

enum type { TEXT, INT, SECONDS, BOOL, WORDS, ARCH, WHETHER };

bool audit_value(const char *value)
{
	return !strcmp(value, "required") || !strcmp(value, "optional");
}

static bool set_value(void *field, enum type type, char *value)
{
	char *end = value;

	switch (type) {
	case ARCH:
		*(const struct arch **)field = arch_find(value);
		return *(const struct arch **)field;
	case WHETHER:
		*(char **)field = fmt("%s", value);
		return audit_value(value);
	case TEXT:
		*(char **)field = fmt("%s", value);
		return true;
	case WORDS:
		list_split(field, value);
		return true;
	case BOOL:
		*(bool *)field = !strcmp(value, "yes");
		return !strcmp(value, "yes") || !strcmp(value, "no");
	case INT:
		*(int *)field = strtol(value, &end, 10);
		return *value && !*end && *(int *)field > 0;
	case SECONDS:
		*(double *)field = strtod(value, &end);
		return *value && !*end && *(double *)field > 0;
	}
	return false;
}

void scenario_load(struct scenario *s, const char *path)
{
	const struct {
		const char *key;
		enum type type;
		void *field;
	} keys[] = {
		{ "title", TEXT, &s->title },
		{ "arch", ARCH, &s->arch },
		{ "config", WORDS, &s->config },
		{ "archives", WORDS, &s->archives },
		{ "audit", WHETHER, &s->audit },
		{ "append", TEXT, &s->append },
		{ "cpu", TEXT, &s->cpu },
		{ "memory", INT, &s->memory },
		{ "cpus", INT, &s->cpus },
		{ "nodes", INT, &s->nodes },
		{ "disk", BOOL, &s->disk },
		{ "root", BOOL, &s->root },
		{ "tests", WORDS, &s->tests },
		{ "limit_boot", SECONDS, &s->limit_boot },
		{ "limit_silence", SECONDS, &s->limit_silence },
		{ "limit_test", SECONDS, &s->limit_test },
		{ "limit_run", SECONDS, &s->limit_run },
		{ "tcg_factor", SECONDS, &s->tcg_factor },
	};
	const size_t nr_keys = sizeof(keys) / sizeof(keys[0]);
	char *text = read_all(path, NULL), *pos = text, *line, *dot;

	if (!text)
		die(EXIT_USAGE, "%s: no such scenario", path);
	*s = (struct scenario) {
		.title = "", .audit = "optional", .arch = arch_find("x86_64"),
		.memory = 4096, .cpus = 2, .nodes = 2, .disk = true,
		.limit_boot = 20, .limit_silence = 60, .limit_test = 180,
		.limit_run = 1200, .tcg_factor = 5,
	};
	for (int nr = 1; (line = next_line(&pos)); nr++) {
		char *value, *key;
		size_t i;

		line = trim(line);
		if (!*line || *line == '#')
			continue;
		value = strchr(line, '=');
		if (!value)
			die(EXIT_USAGE, "%s:%d: not \"key = value\": %s", path, nr, line);
		*value++ = '\0';
		key = trim(line);
		value = trim(value);
		for (i = 0; i < nr_keys && strcmp(key, keys[i].key); i++)
			;
		if (i == nr_keys)
			die(EXIT_USAGE, "%s:%d: unknown key %s", path, nr, key);
		if (!set_value(keys[i].field, keys[i].type, value))
			die(EXIT_USAGE, "%s:%d: bad value of %s: %s", path, nr, key, value);
	}
	if (!s->cpu)
		s->cpu = fmt("%s", s->arch->cpu);
	if (!s->append)
		s->append = fmt("%s", s->arch->append);
	if (s->cpus % s->nodes)
		die(EXIT_USAGE, "%s: the nodes must have the same number of CPUs", path);
	free(text);
	text = fmt("%s", path);
	s->name = fmt("%s", basename(text));
	dot = strrchr(s->name, '.');
	if (dot)
		*dot = '\0';
	free(text);
}
