/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Atomic operations, with the memory order of the kernel's: relaxed, unless they
 * say acquire or release. So ThreadSanitizer knows which accesses are meant to
 * race, and that they do not order any other access.
 *
 * A test can have shim_hook called after each of these accesses: to look at what
 * others could see at that moment, or to do what others could do.
 */
#ifndef _LINUX_ATOMIC_H
#define _LINUX_ATOMIC_H

#include <linux/types.h>

enum shim_access {
	SHIM_READ,
	SHIM_WRITE,
	SHIM_RMW,
};

extern void (*shim_hook)(enum shim_access access, const void *addr);

static inline void shim_accessed(enum shim_access access, const void *addr)
{
	if (unlikely(shim_hook))
		shim_hook(access, addr);
}

#define READ_ONCE(x) ({								\
	const __auto_type __addr = &(x);					\
	const __auto_type __value = __atomic_load_n(__addr, __ATOMIC_RELAXED);	\
										\
	shim_accessed(SHIM_READ, __addr);					\
	__value;								\
})

#define WRITE_ONCE(x, value) do {						\
	const __auto_type __addr = &(x);					\
										\
	__atomic_store_n(__addr, value, __ATOMIC_RELAXED);			\
	shim_accessed(SHIM_WRITE, __addr);					\
} while (0)

struct shim_atomic {
	int counter;
};

struct shim_atomic_long {
	long counter;
};

#define atomic_t	struct shim_atomic
#define atomic_long_t	struct shim_atomic_long

static inline int atomic_read(const atomic_t *v)
{
	return READ_ONCE(v->counter);
}

static inline void atomic_set(atomic_t *v, int i)
{
	WRITE_ONCE(v->counter, i);
}

static inline long atomic_long_read(const atomic_long_t *v)
{
	return READ_ONCE(v->counter);
}

static inline void atomic_long_set(atomic_long_t *v, long i)
{
	WRITE_ONCE(v->counter, i);
}

static inline void atomic_long_or(long i, atomic_long_t *v)
{
	__atomic_fetch_or(&v->counter, i, __ATOMIC_RELAXED);
	shim_accessed(SHIM_RMW, v);
}

static inline void atomic_long_andnot(long i, atomic_long_t *v)
{
	__atomic_fetch_and(&v->counter, ~i, __ATOMIC_RELAXED);
	shim_accessed(SHIM_RMW, v);
}

#endif /* _LINUX_ATOMIC_H */
