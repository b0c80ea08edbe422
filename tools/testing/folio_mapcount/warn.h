/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _WARN_H
#define _WARN_H

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "history.h"

/* Does it warn? In another process, which may end there. */
#define warns(statement) ({							\
	int __status = -1;							\
	pid_t __pid;								\
										\
	fflush(stdout);								\
	__pid = fork();								\
	if (!__pid) {								\
		/* That is what is wanted, not something to report. */		\
		fclose(stdout);							\
		stdout = stderr;						\
		(void)!freopen("/dev/null", "w", stderr);			\
		(void)(statement);						\
		_exit(0);							\
	}									\
	VERIFY(__pid > 0 && waitpid(__pid, &__status, 0) == __pid);		\
	VERIFY(!__status || (WIFSIGNALED(__status) && WTERMSIG(__status) == SIGABRT), \
	       "status %#x: %s", __status, #statement);				\
	__status != 0;								\
})

#define EXPECT_WARNING(statement)	VERIFY(warns(statement))
#define EXPECT_NO_WARNING(statement)	VERIFY(!warns(statement))

#endif /* _WARN_H */
