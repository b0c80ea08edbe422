/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few definitions that the kernel's code needs in user space. tools/include
 * has them too, but wants 32bit user space headers to be installed.
 */
#ifndef _LINUX_TYPES_H
#define _LINUX_TYPES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/cdefs.h>	/* __always_inline */

typedef uint8_t u8;
typedef uint32_t u32, __u32;
typedef unsigned long long u64;

#define BITS_PER_LONG		(__CHAR_BIT__ * __SIZEOF_LONG__)

#define __maybe_unused		__attribute__((__unused__))
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)

#define min(x, y)		((x) < (y) ? (x) : (y))
#define max_t(type, x, y)	((type)(x) > (type)(y) ? (type)(x) : (type)(y))

#endif /* _LINUX_TYPES_H */
