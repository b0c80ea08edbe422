// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run KUnit tests in user space, each test and parameter in a process of its own,
 * so that one that crashes, hangs, or makes the kernel warn, is one failed test.
 * Results are TAP.
 */
#include <fnmatch.h>
#include <signal.h>
#include <sys/wait.h>

#include <kunit/test.h>

#define MAX_SUITES	16
#define NOTHING_WANTED	4

unsigned long long kunit_seed = 1;

static const struct kunit_suite *suites[MAX_SUITES];
static unsigned int nr_suites;
/* Seconds: what does not end, even on a slow machine, is a failed test as well. */
static unsigned int timeout = 600;

void kunit_add_suite(const struct kunit_suite *suite)
{
	if (nr_suites == MAX_SUITES)
		abort();
	suites[nr_suites++] = suite;
}

static bool run_one(const struct kunit_case *c, const void *param,
		    const char *desc, int number)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		struct kunit test = { .param_value = param };

		alarm(timeout);
		c->run_case(&test);
		fflush(stdout);
		_exit(test.failed);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = -1;
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		printf("# timed out after %u seconds\n", timeout);
	else if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	printf("%sok %d %s%s%s\n", status ? "not " : "", number, c->name,
	       *desc ? " " : "", desc);
	return !status;
}

/* All parameters of a test; returns how many of them there are. */
static int run_case(const struct kunit_case *c, int number, int *passed)
{
	char desc[KUNIT_PARAM_DESC_SIZE] = "";
	const void *param = NULL;
	int nr = 0;

	if (!c->generate_params) {
		*passed += run_one(c, NULL, desc, number);
		return 1;
	}
	while ((param = c->generate_params(NULL, param, desc)))
		*passed += run_one(c, param, desc, number + nr++);
	return nr;
}

static bool is_wanted(const struct kunit_case *c, char **filters)
{
	if (!*filters)
		return true;
	for (; *filters; filters++)
		if (!fnmatch(*filters, c->name, 0))
			return true;
	return false;
}

static int bad_option(const char *name)
{
	fprintf(stderr, "usage: %s [--list] [--seed NUMBER] [--timeout SECONDS] [PATTERN ...]\n",
		name);
	return 2;
}

int main(int argc, char **argv)
{
	int passed = 0, number = 0;
	const struct kunit_case *c;
	bool list = false;
	unsigned int i;
	char **arg;
	char *end;

	for (arg = argv + 1; *arg && **arg == '-'; arg++) {
		if (!strcmp(*arg, "--list")) {
			list = true;
		} else if (!strcmp(*arg, "--seed") && arg[1]) {
			kunit_seed = strtoull(*++arg, &end, 0);
			if (!**arg || *end)
				return bad_option(argv[0]);
		} else if (!strcmp(*arg, "--timeout") && arg[1]) {
			timeout = strtoul(*++arg, &end, 0);
			if (!**arg || *end)
				return bad_option(argv[0]);
		} else {
			return bad_option(argv[0]);
		}
	}

	if (!list)
		printf("TAP version 13\n# %s, seed %llu\n", argv[0], kunit_seed);
	for (i = 0; i < nr_suites; i++) {
		for (c = suites[i]->test_cases; c->run_case; c++) {
			if (!is_wanted(c, arg))
				continue;
			if (list)
				printf("%s\n", c->name);
			else
				number += run_case(c, number + 1, &passed);
		}
	}
	if (!list)
		printf("1..%d\n", number);
	if (list)
		return 0;
	return number ? passed != number : NOTHING_WANTED;
}
