// SPDX-License-Identifier: GPL-2.0
/* Small helpers: memory, text, files. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

void die(int code, const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("guest: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(code);
}

void *xrealloc(void *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		die(EXIT_ENV, "out of memory");
	return p;
}

char *fmt(const char *format, ...)
{
	va_list ap;
	char *s;

	va_start(ap, format);
	if (vasprintf(&s, format, ap) < 0)
		die(EXIT_ENV, "out of memory");
	va_end(ap);
	return s;
}

void buf_put(struct buf *b, const char *data, size_t len)
{
	if (b->len + len + 1 > b->size) {
		b->size = (b->len + len + 1) * 2;
		b->s = xrealloc(b->s, b->size);
	}
	memcpy(b->s + b->len, data, len);
	b->len += len;
	b->s[b->len] = '\0';
}

void buf_add(struct buf *b, const char *format, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, format);
	n = vasprintf(&s, format, ap);
	va_end(ap);
	if (n < 0)
		die(EXIT_ENV, "out of memory");
	buf_put(b, s, n);
	free(s);
}

void list_add(struct list *l, const char *s)
{
	l->v = xrealloc(l->v, (l->n + 1) * sizeof(*l->v));
	l->v[l->n++] = fmt("%s", s);
}

void list_split(struct list *l, const char *words)
{
	char *copy = fmt("%s", words), *pos = copy, *word;

	while ((word = strsep(&pos, " \t,")))
		if (*word)
			list_add(l, word);
	free(copy);
}

char *read_all(const char *path, size_t *len)
{
	struct buf b = { 0 };
	char chunk[65536];
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		return NULL;
	buf_put(&b, "", 0);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_put(&b, chunk, n);
	if (ferror(f))
		die(EXIT_ENV, "%s: %s", path, strerror(errno));
	fclose(f);
	if (len) {
		*len = b.len;
	} else {
		/* For text: a NUL of a torn log must not hide the rest. */
		for (size_t i = 0; i < b.len; i++)
			if (!b.s[i])
				b.s[i] = '?';
	}
	return b.s;
}

/* Whole or not at all: under a temporary name first. */
void write_new(const char *path, const char *data, size_t len)
{
	char *tmp = fmt("%s.tmp", path);
	FILE *f = fopen(tmp, "we");

	if (!f || fwrite(data, 1, len, f) != len || fclose(f) || rename(tmp, path)) {
		int err = errno;

		unlink(tmp);
		die(EXIT_ENV, "%s: %s", path, strerror(err));
	}
	free(tmp);
}

char *next_line(char **pos)
{
	char *line = strsep(pos, "\n");
	size_t n = line ? strlen(line) : 0;

	while (n && line[n - 1] == '\r')
		line[--n] = '\0';
	return line;
}

char *trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	for (n = strlen(s); n && isspace((unsigned char)s[n - 1]); n--)
		s[n - 1] = '\0';
	return s;
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}
