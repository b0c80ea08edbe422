/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_BIT_SPINLOCK_H
#define _LINUX_BIT_SPINLOCK_H

#include <sched.h>

#include <linux/atomic.h>

static inline bool test_bit(int nr, const unsigned long *addr)
{
	return READ_ONCE(addr[nr / BITS_PER_LONG]) & BIT(nr % BITS_PER_LONG);
}

static inline void bit_spin_lock(int nr, unsigned long *addr)
{
	while (__atomic_fetch_or(addr, BIT(nr), __ATOMIC_ACQUIRE) & BIT(nr))
		sched_yield();
	shim_accessed(SHIM_RMW, addr);
}

/* As in the kernel, not atomic: who has the lock has the word. */
static inline void __bit_spin_unlock(int nr, unsigned long *addr)
{
	const unsigned long old = READ_ONCE(*addr);

	__atomic_store_n(addr, old & ~BIT(nr), __ATOMIC_RELEASE);
	shim_accessed(SHIM_WRITE, addr);
}

#endif /* _LINUX_BIT_SPINLOCK_H */
