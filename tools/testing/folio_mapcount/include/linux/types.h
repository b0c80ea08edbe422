/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few definitions that the kernel's code needs in user space: what is of a
 * header of its own in the kernel, and simple, is here. Not those of tools/include,
 * as its types and atomics cannot be those that tests and sanitizers look into: with
 * a few more lines, nothing is needed but the headers under test.
 */
#ifndef _LINUX_TYPES_H
#define _LINUX_TYPES_H

#include <assert.h>	/* static_assert */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/cdefs.h>	/* __always_inline, __attribute_*__ */

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32, __u32;
typedef unsigned long long u64;
#ifdef __SIZEOF_INT128__
#define u128 __uint128_t
#endif

#define BITS_PER_LONG		(__CHAR_BIT__ * __SIZEOF_LONG__)

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)

#define noinline		__attribute_noinline__
#define __maybe_unused		__attribute_maybe_unused__

#define BIT(nr)			(1UL << (nr))
#define GENMASK(h, l)		((~0UL << (l)) & (~0UL >> (BITS_PER_LONG - 1 - (h))))
#define __ffs(word)		((unsigned int)__builtin_ctzl(word))
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define round_down(x, y)	((x) & ~((__typeof__(x))(y) - 1))

#define DIV_ROUND_UP(n, d) ({							\
	const __typeof__(d) __d = (d);						\
										\
	((n) + __d - 1) / __d;							\
})

#define min(x, y) ({								\
	const __typeof__(x) __x = (x);						\
	const __typeof__(y) __y = (y);						\
										\
	__x < __y ? __x : __y;							\
})

#define max(x, y) ({								\
	const __typeof__(x) __x = (x);						\
	const __typeof__(y) __y = (y);						\
										\
	__x > __y ? __x : __y;							\
})

/* An option that is not set is but a name, which does not begin with 1. */
#define IS_ENABLED(CONFIG_x)	VALUE_IS_1(CONFIG_x)
#define VALUE_IS_1(value)	(#value[0] == '1')

#endif /* _LINUX_TYPES_H */
