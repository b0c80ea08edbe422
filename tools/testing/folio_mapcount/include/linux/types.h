/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few definitions that the kernel's code needs in user space. tools/include
 * has them too, but wants 32bit user space headers to be installed.
 */
#ifndef _LINUX_TYPES_H
#define _LINUX_TYPES_H

#include <assert.h>	/* static_assert */
#include <stdbool.h>
#include <stdint.h>
#include <sys/cdefs.h>	/* __always_inline, __attribute_*__ */

typedef uint8_t u8;
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
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#endif /* _LINUX_TYPES_H */
