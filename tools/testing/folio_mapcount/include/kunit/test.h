/* SPDX-License-Identifier: GPL-2.0 */
/*
 * As much of KUnit as it takes to run tests without dependencies of their own in
 * user space. See runner.c for what runs them.
 */
#ifndef _KUNIT_TEST_H
#define _KUNIT_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/types.h>

#define KUNIT_PARAM_DESC_SIZE 128

struct kunit {
	const void *param_value;
	bool failed;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*generate_params)(struct kunit *test, const void *prev, char *desc);
};

struct kunit_suite {
	const char *name;
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(_fn) { .run_case = _fn, .name = #_fn }
#define KUNIT_CASE_PARAM(_fn, _gen) \
	{ .run_case = _fn, .name = #_fn, .generate_params = _gen }

#define KUNIT_ARRAY_PARAM(_name, _array, _get_desc)				\
	static const void *_name##_gen_params(struct kunit *test,		\
			const void *prev, char *desc)				\
	{									\
		const char *first = (const char *)_array;			\
		const void *next = prev ? (const char *)prev + sizeof((_array)[0]) : first; \
										\
		if (next == first + sizeof(_array))				\
			return NULL;						\
		_get_desc(next, desc);						\
		return next;							\
	}

#define __KUNIT_CHECK(_test, _cond, _text, _leave, ...) do {			\
	if (!(_cond)) {								\
		printf("# %s:%d: %s ", __FILE__, __LINE__, _text);		\
		printf("" __VA_ARGS__);						\
		printf("\n");							\
		(_test)->failed = true;						\
		if (_leave) {							\
			fflush(stdout);						\
			_exit(1);						\
		}								\
	}									\
} while (0)

#define KUNIT_ASSERT_EQ_MSG(_test, _l, _r, ...) \
	__KUNIT_CHECK(_test, (_l) == (_r), #_l " == " #_r, true, __VA_ARGS__)
#define KUNIT_ASSERT_EQ(_test, _l, _r)		KUNIT_ASSERT_EQ_MSG(_test, _l, _r, "")
#define KUNIT_ASSERT_GE(_test, _l, _r) \
	__KUNIT_CHECK(_test, (_l) >= (_r), #_l " >= " #_r, true, "")
#define KUNIT_ASSERT_LE(_test, _l, _r) \
	__KUNIT_CHECK(_test, (_l) <= (_r), #_l " <= " #_r, true, "")
#define KUNIT_EXPECT_EQ(_test, _l, _r) \
	__KUNIT_CHECK(_test, (_l) == (_r), #_l " == " #_r, false, "")
#define KUNIT_EXPECT_TRUE(_test, _c)		__KUNIT_CHECK(_test, _c, #_c, false, "")
#define KUNIT_EXPECT_FALSE(_test, _c)		__KUNIT_CHECK(_test, !(_c), "!" #_c, false, "")

/* For tests that want another seed when the user wants one. */
extern unsigned long long kunit_seed;

void kunit_add_suite(const struct kunit_suite *suite);

#define kunit_test_suite(_suite)						\
	static void __attribute__((__constructor__)) kunit_add_##_suite(void)	\
	{									\
		kunit_add_suite(&(_suite));					\
	}

#endif /* _KUNIT_TEST_H */
