// SPDX-License-Identifier: GPL-2.0-only
/* The inputs that fuzzing has found worth keeping, without a fuzzer. */
#include <kunit/test.h>

#include "fuzz.h"
#include "history.h"

/* One input is one line, without its end, see the Makefile. */
static void fuzz_corpus(struct kunit *test)
{
	FILE *file = fopen(CORPUS, "r");
	unsigned int nr = 0;
	char *line = NULL;
	size_t size = 0;
	ssize_t length;

	VERIFY(file, CORPUS);
	while ((length = getline(&line, &size, file)) > 0) {
		nr++;
		fuzz_one_input((const uint8_t *)line, length - 1);
	}
	free(line);
	fclose(file);
	printf("# %u inputs\n", nr);
	VERIFY(nr);
}

/* And as many random ones. */
static void fuzz_random(struct kunit *test)
{
	struct rnd_state rnd;
	unsigned int i, j;
	uint8_t data[400];

	printf("# seed %llu\n", kunit_seed);
	prandom_seed_state(&rnd, kunit_seed);
	for (i = 0; i < 300; i++) {
		for (j = 0; j < sizeof(data); j++)
			data[j] = prandom_u32_state(&rnd);
		fuzz_one_input(data, sizeof(data));
	}
}

static struct kunit_case fuzz_cases[] = {
	KUNIT_CASE(fuzz_corpus),
	KUNIT_CASE(fuzz_random),
	{}
};

static struct kunit_suite fuzz_suite = {
	.name = "fuzz",
	.test_cases = fuzz_cases,
};

kunit_test_suite(fuzz_suite);
