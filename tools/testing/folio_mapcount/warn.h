/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _WARN_H
#define _WARN_H

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "history.h"

/* What it prints before it ends, in another process: "" unless it warns. */
#define output_of(statement) ({							\
	static char __output[1000];						\
	int __status = -1, __fds[2];						\
	size_t __size = 0;							\
	ssize_t __got;								\
	pid_t __pid;								\
										\
	fflush(stdout);								\
	VERIFY(!pipe(__fds));							\
	__pid = fork();								\
	if (!__pid) {								\
		dup2(__fds[1], STDOUT_FILENO);					\
		close(__fds[0]);						\
		alarm(60);							\
		(void)(statement);						\
		_exit(0);							\
	}									\
	close(__fds[1]);							\
	while ((__got = read(__fds[0], __output + __size,			\
			     sizeof(__output) - 1 - __size)) > 0)		\
		__size += __got;						\
	__output[__size] = '\0';						\
	close(__fds[0]);							\
	VERIFY(__pid > 0 && waitpid(__pid, &__status, 0) == __pid);		\
	VERIFY(!__status || (WIFSIGNALED(__status) && WTERMSIG(__status) == SIGABRT), \
	       "status %#x: %s", __status, #statement);				\
	VERIFY(!__status == !__size, "status %#x: %s", __status, __output);	\
	__output;								\
})

/* @text is a part of the condition that must not be true. */
#define EXPECT_WARNING(text, statement) do {					\
	const char *__text = text;						\
	const char *__warning = strstr(output_of(statement), "warning: ");	\
										\
	VERIFY(__warning && strstr(__warning, __text), "%s: %s", __text, #statement); \
} while (0)

#define EXPECT_NO_WARNING(statement)	VERIFY(!*output_of(statement))

#endif /* _WARN_H */
