// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's PID 1: prepares the machine, runs the tests of /etc/guest/plan
 * one by one and reports KTAP on a serial port of its own.
 *
 * Only init writes to that port. What a test prints comes here through a pipe
 * and goes out behind "# "; init's own remarks begin with "#!", its results
 * with "ok" or "not ok". So a test cannot forge a verdict, and neither can the
 * kernel's console, which is another port.
 *
 * After each test it has the kernel audit the mapcounts of all folios, where there
 * is such a file, and passes on what that says behind "#! audit: ".
 *
 * The plan: lines "nonce WORD" and "duration SECONDS" (for the test "torture"),
 * then lines "test NAME SECONDS" or one line "shell".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PLAN		"/etc/guest/plan"
#define AUDIT		"/sys/kernel/debug/folio_mapcount/audit"
/* The second serial port, or on the PCI bus the first of the 8250 driver. */
#ifdef __aarch64__
#define CONSOLE		"/dev/ttyAMA0"
#define REPORT		"/dev/ttyS0"
#else
#define CONSOLE		"/dev/ttyS0"
#define REPORT		"/dev/ttyS1"
#endif
#define MAX_TESTS	256
#define LINE_SIZE	1024	/* longer output lines are cut */
#define AUDIT_LINES	200	/* of an audit are reported, and the last one */

struct test {
	char name[128];
	double limit;
};

static struct test tests[MAX_TESTS];
static int nr_tests;
static char nonce[64] = "none";
static char duration[32] = "DURATION=0";
static bool want_shell;
static int report_fd = -1;

static const char * const test_env[] = {
	"PATH=/bin:/sbin", "HOME=/root", "TERM=linux", "TMPDIR=/tmp", duration, NULL
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		buf += n;
		len -= n;
	}
}

static void __attribute__((format(printf, 1, 2))) report(const char *fmt, ...)
{
	char buf[LINE_SIZE + 16];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(buf) - 2)
		n = sizeof(buf) - 2;
	buf[n++] = '\n';
	write_all(report_fd, buf, n);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	write_all(fd, text, strlen(text));
	close(fd);
}

/* Lets the runner attribute what the console shows to a test. */
static void mark(const char *what, int nr, const char *name)
{
	char buf[512];

	snprintf(buf, sizeof(buf), "<5>guest-marker %s %s %d %.127s\n", nonce, what,
		 nr, name);
	write_file("/dev/kmsg", buf);
}

static unsigned long taint(void)
{
	unsigned long mask = 0;
	FILE *f = fopen("/proc/sys/kernel/tainted", "re");

	if (f) {
		if (fscanf(f, "%lu", &mask) != 1)
			mask = ~0UL;
		fclose(f);
	}
	return mask;
}

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	if (report_fd >= 0)
		tcdrain(report_fd);
	reboot(RB_POWER_OFF);
	/* Without a working ACPI: qemu's -no-reboot ends the machine. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void open_report(void)
{
	struct termios tio;

	report_fd = open(REPORT, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (report_fd < 0)
		power_off();
	if (!tcgetattr(report_fd, &tio)) {
		cfmakeraw(&tio);
		cfsetspeed(&tio, B115200);
		tcsetattr(report_fd, TCSANOW, &tio);
	}
}

static void mounts(void)
{
	static const struct {
		const char *type, *dir, *data;
	} table[] = {
		{ "proc", "/proc", NULL },
		{ "sysfs", "/sys", NULL },
		{ "devtmpfs", "/dev", NULL },
		{ "tmpfs", "/dev/shm", "mode=1777" },
		{ "devpts", "/dev/pts", NULL },
		{ "debugfs", "/sys/kernel/debug", NULL },
		{ "tracefs", "/sys/kernel/tracing", NULL },
		{ "cgroup2", "/sys/fs/cgroup", NULL },
		{ "tmpfs", "/tmp", "mode=1777" },
		{ "tmpfs", "/run", NULL },
		{ "hugetlbfs", "/dev/hugepages", "pagesize=2M" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		mkdir(table[i].dir, 0755);
		/* Busy: an initrd has done it. */
		if (mount(table[i].type, table[i].dir, table[i].type, 0,
			  table[i].data) && errno != EBUSY && report_fd >= 0)
			report("#! mount %s: %s", table[i].dir, strerror(errno));
		/* The report goes to a device node, so /dev comes first. */
		if (!strcmp(table[i].dir, "/dev"))
			open_report();
	}
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/mounts", "/etc/mtab");
}

static void read_plan(void)
{
	char line[256];
	FILE *f = fopen(PLAN, "re");

	if (!f) {
		report("#! setup failed: no " PLAN);
		power_off();
	}
	while (fgets(line, sizeof(line), f)) {
		struct test *t = &tests[nr_tests];

		if (sscanf(line, "nonce %63s", nonce) == 1 ||
		    sscanf(line, "duration %20[0-9]", duration + strlen("DURATION=")) == 1)
			continue;
		if (!strcmp(line, "shell\n"))
			want_shell = true;
		else if (nr_tests < MAX_TESTS &&
			 sscanf(line, "test %127s %lf", t->name, &t->limit) == 2)
			nr_tests++;
	}
	fclose(f);
}

/* Pass on a test's output, line by line, with nothing in it that is not text. */
struct relay {
	char line[LINE_SIZE];
	size_t len;
	bool escape;	/* in a terminal's colour sequence */
	bool audit;	/* a line goes out when it is not the last one */
	char last[LINE_SIZE];
	int lines;
};

static void relay_flush(struct relay *r)
{
	if (r->audit) {
		if (r->lines && r->lines <= AUDIT_LINES)
			report("#! audit: %s", r->last);
		snprintf(r->last, sizeof(r->last), "%.*s", (int)r->len, r->line);
		r->lines++;
	} else {
		report("# %.*s", (int)r->len, r->line);
	}
	r->len = 0;
}

static void relay(struct relay *r, const char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = buf[i];

		if (r->escape || c == 0x1b) {
			r->escape = (c < 'A' || c > 'z' || c == '[') && c != '\n';
			if (c != '\n')
				continue;
		}
		if (c == '\n') {
			relay_flush(r);
			continue;
		}
		if ((c < ' ' && c != '\t') || c >= 0x7f)
			c = '?';
		if (r->len < sizeof(r->line) - 1)
			r->line[r->len++] = c;
	}
}

static pid_t spawn(char *const argv[], int out_fd)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	setsid();
	if (out_fd >= 0) {
		int in = open("/dev/null", O_RDONLY);

		dup2(in, 0);
		dup2(out_fd, 1);
		dup2(out_fd, 2);
	} else {
		int tty = open(CONSOLE, O_RDWR);

		ioctl(tty, TIOCSCTTY, 1);
		for (int fd = 0; fd < 3; fd++)
			dup2(tty, fd);
	}
	execve(argv[0], argv, (char *const *)test_env);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* All but init, also what left its session; a test must not outlive itself. */
static int kill_all(pid_t main_pid, int *status)
{
	int left = 0, st;
	pid_t pid;

	for (double end = now() + 20; now() < end; usleep(20000)) {
		kill(-1, SIGKILL);
		while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
			if (pid == main_pid)
				*status = st;
			else
				left++;
		}
		if (pid < 0 && errno == ECHILD)
			return left;
	}
	return -1;
}

/* Runs argv to its end or to the limit; false if it had to be killed. */
static bool run(char *const argv[], double limit, struct relay *r, int *status, int *left)
{
	double end = now() + limit;
	bool exited = false, in_time = true;
	int p[2], st;
	pid_t pid;

	*status = -1;
	if (pipe2(p, O_CLOEXEC))
		return false;
	pid = spawn(argv, p[1]);
	close(p[1]);
	for (;;) {
		struct pollfd pfd = { .fd = p[0], .events = POLLIN };
		char buf[4096];
		ssize_t n = 0;
		pid_t dead;

		if (poll(&pfd, 1, 50) > 0) {
			n = read(p[0], buf, sizeof(buf));
			if (n > 0) {
				relay(r, buf, n);
				if (now() < end)
					continue;
			}
		}
		while ((dead = waitpid(-1, &st, WNOHANG)) > 0) {
			if (dead == pid) {
				*status = st;
				exited = true;
			}
		}
		if (exited)
			break;
		if (now() >= end) {
			in_time = false;
			/* Where it hangs: blocked tasks and the CPUs' stacks. */
			write_file("/proc/sysrq-trigger", "w");
			write_file("/proc/sysrq-trigger", "l");
			break;
		}
		if (n == 0 && pfd.revents & POLLHUP)
			usleep(20000);
	}
	*left = kill_all(pid, status);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	for (;;) {
		char buf[4096];
		ssize_t n = read(p[0], buf, sizeof(buf));

		if (n <= 0)
			break;
		relay(r, buf, n);
	}
	if (r->len)
		relay_flush(r);
	close(p[0]);
	return in_time;
}

/*
 * The file is read by a process of its own: one that does not come back from the
 * kernel shall not take init along.
 */
static void audit(double limit)
{
	char *argv[] = { "/bin/cat", AUDIT, NULL };
	struct relay r = { .audit = true };
	int status, left;

	if (access(AUDIT, R_OK))
		return;
	report("#! audit: begin");
	if (!run(argv, limit, &r, &status, &left))
		report("#! audit: timeout");
	else if (status)
		report("#! audit: status 0x%x", status);
	else
		report("#! audit: %s", r.last);
}

static void run_one(int nr, struct test *t)
{
	char *argv[] = { "/etc/guest/run-test", t->name, NULL };
	struct relay r = { .audit = false };
	unsigned long before = taint();
	double start = now(), seconds;
	int status, left, code;
	bool in_time;

	report("#! begin %d %s", nr, t->name);
	mark("begin", nr, t->name);
	in_time = run(argv, t->limit, &r, &status, &left);
	seconds = now() - start;
	audit(t->limit);
	mark("end", nr, t->name);
	code = status == -1 ? 255 : WIFEXITED(status) ? WEXITSTATUS(status) :
	       128 + WTERMSIG(status);
	report("#! end %d %s exit=%d seconds=%.1f taint=0x%lx:0x%lx timeout=%d left=%d",
	       nr, t->name, code, seconds, before, taint(), !in_time, left);
	report("%sok %d %s%s", in_time && (code == 0 || code == 4) ? "" : "not ",
	       nr, t->name, in_time && code == 4 ? " # SKIP" : "");
}

/*
 * Large folios of init's own: after most tests, there would be nothing to audit
 * otherwise. Each test is forked from init, and then reclaims, migrates and splits
 * whatever it comes across. One is mapped by a PMD, one by PTEs, and one in part.
 */
static void map_large_folios(void)
{
	const size_t size = 2 << 20;
	char *area = mmap(NULL, 4 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *mem;

	if (area == MAP_FAILED)
		return;
	mem = (char *)(((uintptr_t)area + size - 1) & -size);
	/* There may be no THP. */
	if (madvise(mem, 3 * size, MADV_HUGEPAGE))
		return;
	memset(mem, 1, 3 * size);
	/* Nothing for khugepaged, which the tests watch. */
	madvise(mem, 3 * size, MADV_NOHUGEPAGE);
	/* Changing the protection of a single page splits the PMD. */
	mprotect(mem + size, 4096, PROT_READ);
	mprotect(mem + size, 4096, PROT_READ | PROT_WRITE);
	munmap(mem + 2 * size + size / 2, size / 2);
	/* That one may be swapped out, and come back as small folios. */
	mlock(mem, 2 * size);
}

int main(void)
{
	char *setup[] = { "/etc/guest/setup", NULL };
	char *shell[] = { "/bin/sh", "-l", NULL };
	struct relay r = { .audit = false };
	int status, left;

	mounts();
	read_plan();
	report("KTAP version 1");
	report("#! nonce %s", nonce);
	report("1..%d", nr_tests);
	mark("setup", 0, "setup");
	if (!run(setup, 600, &r, &status, &left) || status) {
		report("#! setup failed: status 0x%x", status);
		if (!want_shell)
			power_off();
	}
	map_large_folios();
	mark("ready", 0, "setup");
	report("#! ready");
	if (want_shell) {
		pid_t pid = spawn(shell, -1);

		while (waitpid(-1, NULL, 0) != pid)
			;
	}
	for (int i = 0; i < nr_tests; i++)
		run_one(i + 1, &tests[i]);
	mark("complete", 0, "plan");
	report("#! complete %s", nonce);
	power_off();
}
