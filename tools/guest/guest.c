// SPDX-License-Identifier: GPL-2.0
/*
 * guest: boot a scenario, judge its result, judge it again, compare two.
 *
 *	guest run --scenario FILE --kernel BZIMAGE --image DIR --results DIR
 *		[--test NAME]... [--accel kvm|tcg] [--lists DIR]
 *		[--audit required|optional] [--duration SECONDS|Nm|Nh]
 *	guest shell --scenario FILE --kernel BZIMAGE --image DIR
 *	guest recheck RESULT
 *	guest compare RESULT_A RESULT_B
 *	guest kunit-check --results DIR --log FILE [--status N] [--kernel BZIMAGE]
 *		[--rerun COMMAND]
 *	guest scenario FILE config|tests
 */
#define _GNU_SOURCE
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

static struct {
	char *scenario, *kernel, *image, *results, *lists, *accel, *log, *status, *rerun;
	char *audit, *duration;
	struct list tests, rest;
} opt;

static void parse(int argc, char **argv)
{
	const struct { const char *name; char **value; } options[] = {
		{ "--scenario", &opt.scenario }, { "--kernel", &opt.kernel },
		{ "--image", &opt.image }, { "--results", &opt.results },
		{ "--lists", &opt.lists }, { "--accel", &opt.accel },
		{ "--log", &opt.log }, { "--status", &opt.status },
		{ "--rerun", &opt.rerun }, { "--audit", &opt.audit },
		{ "--duration", &opt.duration },
	};
	const size_t n = sizeof(options) / sizeof(options[0]);

	opt.lists = GUEST_DIR;
	for (int i = 2; i < argc; i++) {
		size_t o;

		if (strncmp(argv[i], "--", 2)) {
			list_add(&opt.rest, argv[i]);
			continue;
		}
		if (i + 1 == argc)
			die(EXIT_USAGE, "%s needs a value", argv[i]);
		if (!strcmp(argv[i], "--test")) {
			list_split(&opt.tests, argv[++i]);
			continue;
		}
		for (o = 0; o < n && strcmp(argv[i], options[o].name); o++)
			;
		if (o == n)
			die(EXIT_USAGE, "unknown option %s", argv[i]);
		*options[o].value = argv[++i];
	}
}

static void need_option(const char *value, const char *name)
{
	if (!value)
		die(EXIT_USAGE, "%s is missing", name);
}

/* "600", "600s", "10m", "2h" */
static double seconds_of(const char *text)
{
	const double unit[] = { 1, 60, 3600 };
	const char *u;
	char *end;
	double n = strtod(text, &end);

	u = strchr("smh", *end ? *end : 's');
	if (end == text || !u || (*end && end[1]) || !(n > 0 && n <= 1e6))
		die(EXIT_USAGE, "--duration: not a number of seconds, nor like 30m: %s", text);
	return n * unit[u - "smh"];
}

static char *make_nonce(void)
{
	unsigned char raw[8];
	struct buf b = { 0 };
	FILE *f = fopen("/dev/urandom", "re");

	if (!f || fread(raw, 1, sizeof(raw), f) != sizeof(raw))
		die(EXIT_ENV, "/dev/urandom: %s", strerror(errno));
	fclose(f);
	for (size_t i = 0; i < sizeof(raw); i++)
		buf_add(&b, "%02x", raw[i]);
	return b.s;
}

/* With its parents. */
static void make_dir(const char *path)
{
	char *parent = dirname(fmt("%s", path));

	if (strcmp(parent, "/") && strcmp(parent, ".") && access(parent, F_OK))
		make_dir(parent);
	if (mkdir(path, 0755) && errno != EEXIST)
		die(EXIT_ENV, "%s: %s", path, strerror(errno));
}

/* A new folder for the results of a run; the names sort by time. */
static char *make_result_dir(const char *name)
{
	time_t t = time(NULL);
	char stamp[32], *dir;

	need_option(opt.results, "--results");
	make_dir(opt.results);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", localtime(&t));
	for (int i = 0;; i++) {
		dir = i ? fmt("%s/%s-%s.%d", opt.results, stamp, name, i) :
			  fmt("%s/%s-%s", opt.results, stamp, name);
		if (!mkdir(dir, 0755))
			return dir;
		if (errno != EEXIST)
			die(EXIT_ENV, "%s: %s", dir, strerror(errno));
	}
}

/* A package's kernel has it beside it; bzImage lies in arch/x86/boot of a folder with it. */
static void save_config(const char *dir)
{
	char *kernel = opt.kernel ? dirname(fmt("%s", opt.kernel)) : "";
	char *text = read_all(fmt("%s/config", kernel), NULL);

	if (!text)
		text = read_all(fmt("%s/../../../.config", kernel), NULL);
	if (text)
		write_new(fmt("%s/.config", dir), text, strlen(text));
	free(text);
}

static int judge(const char *dir, bool fresh)
{
	struct result r;

	result_load(&r, dir, opt.lists);
	report_files(&r);
	if (fresh) {
		char *tmp = fmt("%s/.latest", opt.results), *copy = fmt("%s", dir);

		unlink(tmp);
		if (symlink(basename(copy), tmp) || rename(tmp, fmt("%s/latest", opt.results)))
			die(EXIT_ENV, "%s/latest: %s", opt.results, strerror(errno));
	}
	report_table(&r);
	return result_exit(&r);
}

static void prepare(struct boot *b, struct scenario *s)
{
	char *cache;

	need_option(opt.scenario, "--scenario");
	need_option(opt.kernel, "--kernel");
	need_option(opt.image, "--image");
	scenario_load(s, opt.scenario);
	if (access(opt.kernel, R_OK))
		die(EXIT_USAGE, "%s: %s", opt.kernel, strerror(errno));
	*b = (struct boot) {
		.s = s, .kernel = opt.kernel, .image = opt.image, .nonce = make_nonce(),
	};
	if (opt.audit && !audit_value(opt.audit))
		die(EXIT_USAGE, "--audit: required or optional, not %s", opt.audit);
	if (opt.duration)
		b->duration = seconds_of(opt.duration);
	if (!opt.accel) {
		cache = fmt("%s/accel", getenv("BUILD") ? getenv("BUILD") : opt.image);
		b->kvm = kvm_works(b, cache);
	} else if (!strcmp(opt.accel, "kvm") || !strcmp(opt.accel, "tcg")) {
		b->kvm = !strcmp(opt.accel, "kvm");
	} else {
		die(EXIT_USAGE, "--accel: kvm or tcg, not %s", opt.accel);
	}
}

static int cmd_run(int argc, char **argv)
{
	struct buf plan = { 0 }, run = { 0 }, rerun = { 0 };
	struct scenario s;
	struct list *tests;
	struct boot b;
	double seconds;
	char *end;

	prepare(&b, &s);
	known_load(&(struct known){ 0 }, fmt("%s/known-skips", opt.lists), s.name);
	known_load(&(struct known){ 0 }, fmt("%s/known-splats", opt.lists), s.name);
	tests = opt.tests.n ? &opt.tests : &s.tests;
	if (!tests->n)
		die(EXIT_USAGE, "no tests");
	b.dir = make_result_dir(s.name);
	save_config(b.dir);
	for (int i = 0; i < argc; i++)
		buf_add(&rerun, "%s%s", i ? " " : "", argv[i]);
	buf_add(&run, "kind = guest\nscenario = %s\nnonce = %s\naccel = %s\naudit = %s\nrerun = %s\ntests =",
		s.name, b.nonce, b.kvm ? "kvm" : "tcg", opt.audit ? opt.audit : s.audit, rerun.s);
	buf_add(&plan, "nonce %s\nduration %.0f\n", b.nonce, b.duration);
	for (int i = 0; i < tests->n; i++) {
		buf_add(&run, " %s", tests->v[i]);
		buf_add(&plan, "test %s %.0f\n", tests->v[i],
			limit_of_test(&b, tests->v[i]));
	}
	buf_add(&run, "\n");
	write_new(fmt("%s/run", b.dir), run.s, run.len);
	b.plan = plan.s;
	printf("guest: %s, %s, %d tests, results in %s\n", s.name, b.kvm ? "KVM" : "TCG",
	       tests->n, b.dir);
	end = qemu_run(&b, &seconds);
	buf_add(&run, "seconds = %.1f\nend = %s\n", seconds, end);
	write_new(fmt("%s/run", b.dir), run.s, run.len);
	return judge(b.dir, true);
}

static int cmd_shell(void)
{
	struct scenario s;
	struct boot b;
	double seconds;
	char dir[] = "/tmp/guest.XXXXXX";

	prepare(&b, &s);
	if (!mkdtemp(dir))
		die(EXIT_ENV, "%s: %s", dir, strerror(errno));
	b.dir = dir;
	b.shell = true;
	b.plan = fmt("nonce %s\nshell\n", b.nonce);
	puts("guest: exit ends the guest, ^A x ends QEMU");
	qemu_run(&b, &seconds);
	unlink(fmt("%s/ktap.log", dir));
	unlink(fmt("%s/cmdline", dir));
	rmdir(dir);
	return EXIT_OK;
}

static int cmd_kunit(void)
{
	struct buf run = { 0 };
	char *dir, *log;

	need_option(opt.log, "--log");
	log = read_all(opt.log, NULL);
	if (!log)
		die(EXIT_USAGE, "%s: no such file", opt.log);
	dir = make_result_dir("kunit");
	save_config(dir);
	write_new(fmt("%s/console.log", dir), log, strlen(log));
	buf_add(&run, "kind = kunit\nscenario = kunit\nnonce = none\nrerun = %s\ntests = kunit\nend = exit %s\n",
		opt.rerun ? opt.rerun : "", opt.status ? opt.status : "0");
	write_new(fmt("%s/run", dir), run.s, run.len);
	return judge(dir, true);
}

static int cmd_compare(void)
{
	struct result a, b;

	if (opt.rest.n != 2)
		die(EXIT_USAGE, "compare needs two result folders");
	result_load(&a, opt.rest.v[0], opt.lists);
	result_load(&b, opt.rest.v[1], opt.lists);
	return report_compare(&a, &b);
}

static int cmd_scenario(void)
{
	struct scenario s;
	struct list *l;

	if (opt.rest.n != 2)
		die(EXIT_USAGE, "scenario needs a file and a key");
	scenario_load(&s, opt.rest.v[0]);
	l = !strcmp(opt.rest.v[1], "config") ? &s.config :
	    !strcmp(opt.rest.v[1], "tests") ? &s.tests : NULL;
	if (!l)
		die(EXIT_USAGE, "only config and tests can be printed");
	for (int i = 0; i < l->n; i++)
		puts(l->v[i]);
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 1 ? argv[1] : "";

	parse(argc, argv);
	if (!strcmp(cmd, "run"))
		return cmd_run(argc, argv);
	if (!strcmp(cmd, "shell"))
		return cmd_shell();
	if (!strcmp(cmd, "recheck") && opt.rest.n == 1)
		return judge(opt.rest.v[0], false);
	if (!strcmp(cmd, "compare"))
		return cmd_compare();
	if (!strcmp(cmd, "kunit-check"))
		return cmd_kunit();
	if (!strcmp(cmd, "scenario"))
		return cmd_scenario();
	die(EXIT_USAGE, "usage: guest run|shell|recheck|compare|kunit-check|scenario ...");
}
