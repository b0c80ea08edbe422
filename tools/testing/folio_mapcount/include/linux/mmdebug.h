/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_MMDEBUG_H
#define _LINUX_MMDEBUG_H

#include <stdio.h>
#include <stdlib.h>

#include <linux/types.h>

/* What the kernel would warn of fails the test, which is a process of its own. */
#define SHIM_WARN_ON(cond, text) do {						\
	if (unlikely(cond)) {							\
		printf("# %s:%d: warning: %s\n", __FILE__, __LINE__, text);	\
		fflush(stdout);							\
		abort();							\
	}									\
} while (0)

#define VM_WARN_ON_ONCE(cond)		SHIM_WARN_ON(cond, #cond)
#define VM_WARN_ON_FOLIO(cond, folio)	SHIM_WARN_ON(((void)(folio), cond), #cond)

#endif /* _LINUX_MMDEBUG_H */
