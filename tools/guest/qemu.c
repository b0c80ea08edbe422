// SPDX-License-Identifier: GPL-2.0
/* The guest itself: QEMU's command line, its life and its limits. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

/*
 * The report has a port of its own. The arm64 machine has one UART for the guest,
 * so there it is a 8250 on the PCI bus; init.c knows the guest's names of both.
 */
static const struct arch archs[] = {
	/*
	 * String instructions by the byte are slow when emulated, and 1 GiB pages take
	 * minutes to clear: see the scenario gigantic.
	 */
	{ .name = "x86_64", .qemu = "qemu-system-x86_64", .package = "qemu-system-x86",
	  .machine = "q35", .cpu = "max,-erms,-fsrm,-pdpe1gb", .console = "ttyS0",
	  .append = "no5lvl transparent_hugepage=madvise", .kvm = true },
	{ .name = "i386", .qemu = "qemu-system-i386", .package = "qemu-system-x86",
	  .machine = "q35", .cpu = "max,-erms,-fsrm,vendor=GenuineIntel", .console = "ttyS0",
	  .append = "transparent_hugepage=madvise", .kvm = true },
	/* So is the architected pointer authentication. */
	{ .name = "arm64", .qemu = "qemu-system-aarch64", .package = "qemu-system-arm",
	  .machine = "virt", .cpu = "max,pauth-impdef=on", .console = "ttyAMA0",
	  .append = "transparent_hugepage=madvise", .pci_report = true },
};

const struct arch *arch_find(const char *name)
{
	for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
		if (!strcmp(archs[i].name, name))
			return &archs[i];
	return NULL;
}

static double limit_factor(const struct boot *b)
{
	return b->kvm ? 1 : b->s->tcg_factor;
}

/* The torture test takes as long as it was asked to, on any machine. */
double limit_of_test(const struct boot *b, const char *name)
{
	return b->s->limit_test * limit_factor(b) +
	       (strcmp(name, "torture") ? 0 : b->duration);
}

/* One file of a cpio archive in the "newc" format. */
static void cpio_entry(struct buf *b, const char *name, unsigned int mode,
		       const char *data, size_t len)
{
	static unsigned int ino = 0xf00000;

	buf_add(b, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x",
		ino++, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, strlen(name) + 1, 0);
	buf_put(b, name, strlen(name) + 1);
	while (b->len % 4)
		buf_put(b, "", 1);
	buf_put(b, data, len);
	while (b->len % 4)
		buf_put(b, "", 1);
}

static void add_archive(struct buf *all, const char *image, const char *name)
{
	char *path = fmt("%s/%s.cpio", image, name), *data;
	size_t len;

	data = read_all(path, &len);
	if (!data)
		die(EXIT_USAGE, "%s: no such file", path);
	buf_put(all, data, len);
	/* The next one has to begin at such a place. */
	while (all->len % 4)
		buf_put(all, "", 1);
	free(data);
	free(path);
}

/* The image's archives with the plan behind them, the kernel unpacks them all. */
static char *make_initrd(const struct boot *b)
{
	char *path = fmt("%s/initrd", b->dir);
	struct buf all = { 0 };

	add_archive(&all, b->image, "initramfs");
	for (int i = 0; i < b->s->archives.n; i++)
		add_archive(&all, b->image, b->s->archives.v[i]);
	/* Debian's has no such folder. */
	cpio_entry(&all, "etc/guest", S_IFDIR | 0755, "", 0);
	cpio_entry(&all, "etc/guest/plan", S_IFREG | 0644, b->plan, strlen(b->plan));
	cpio_entry(&all, "TRAILER!!!", 0, "", 0);
	write_new(path, all.s, all.len);
	free(all.s);
	return path;
}

static void command_line(const struct boot *b, const char *initrd, struct list *l)
{
	const struct scenario *s = b->s;
	const struct { bool there; const char *name; } disks[] = {
		{ s->disk, "xfs" }, { s->root, "root" },
	};
	int share = s->memory / s->nodes;

	list_add(l, s->arch->qemu);
	list_split(l, "-nodefaults -no-reboot -display none");
#define ARG(option, ...) (list_add(l, option), list_add(l, fmt(__VA_ARGS__)))
	ARG("-M", "%s", s->arch->machine);
	if (b->kvm) {
		ARG("-accel", "kvm");
		ARG("-cpu", "host");
	} else {
		ARG("-accel", "tcg,thread=multi");
		ARG("-cpu", "%s", s->cpu);
	}
	/* A socket to a node: a cache shared by nodes is a WARN at boot. */
	ARG("-smp", "%d,sockets=%d", s->cpus, s->nodes);
	ARG("-m", "%d", share * s->nodes);
	for (int i = 0; i < s->nodes; i++) {
		ARG("-object", "memory-backend-ram,id=ram%d,size=%dM", i, share);
		ARG("-numa", "node,nodeid=%d,memdev=ram%d,cpus=%d-%d", i, i,
		    i * s->cpus / s->nodes, (i + 1) * s->cpus / s->nodes - 1);
	}
	for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
		if (!disks[i].there)
			continue;
		/* The image is shared by all runs: what a guest writes is dropped. */
		ARG("-drive", "if=none,id=%s,format=raw,snapshot=on,file=%s/%s.img",
		    disks[i].name, b->image, disks[i].name);
		ARG("-device", "virtio-blk-pci,drive=%s", disks[i].name);
	}
	if (b->shell) {
		ARG("-chardev", "stdio,id=console,signal=off,mux=on");
		ARG("-mon", "console");
	} else {
		ARG("-chardev", "file,id=console,path=%s/console.log", b->dir);
	}
	ARG("-serial", "chardev:console");
	ARG("-chardev", "file,id=ktap,path=%s/ktap.log", b->dir);
	if (s->arch->pci_report)
		ARG("-device", "pci-serial,chardev=ktap");
	else
		ARG("-serial", "chardev:ktap");
	ARG("-kernel", "%s", b->kernel);
	ARG("-initrd", "%s", initrd);
	ARG("-append", "console=%s panic=-1 printk.devkmsg=on %s %s",
	    s->arch->console, b->shell ? "" : "ignore_loglevel", s->append);
#undef ARG
	l->v = xrealloc(l->v, (l->n + 1) * sizeof(*l->v));
	l->v[l->n] = NULL;
}

static void save_command(const struct boot *b, const struct list *l)
{
	struct buf text = { 0 };

	for (int i = 0; i < l->n; i++)
		buf_add(&text, strpbrk(l->v[i], " ,") ? "'%s'%c" : "%s%c", l->v[i],
			i + 1 < l->n ? ' ' : '\n');
	write_new(fmt("%s/cmdline", b->dir), text.s, text.len);
	free(text.s);
}

/* What the runner needs to know while the guest runs, from the report so far. */
struct watch {
	off_t console, ktap;
	int tests, results;
	char phase[160], test[128];
	double phase_start;
};

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_size;
}

static void watch_line(struct watch *w, const char *line)
{
	int nr;

	if (sscanf(line, "#! begin %d %127s", &nr, w->test) == 2)
		snprintf(w->phase, sizeof(w->phase), "test %s", w->test);
	else if (!strcmp(line, "#! audit: begin"))
		snprintf(w->phase, sizeof(w->phase), "audit after %s", w->test);
	else if (!strncmp(line, "#! end ", 7))
		snprintf(w->phase, sizeof(w->phase), "between");
	else if (!strncmp(line, "#! ready", 8))
		snprintf(w->phase, sizeof(w->phase), "between");
	else if (!strncmp(line, "#! complete", 11))
		snprintf(w->phase, sizeof(w->phase), "shutdown");
	else if (strstr(line, "# ok ") || strstr(line, "# not ok "))
		w->results++;
	if (strncmp(line, "#!", 2))
		return;
	w->phase_start = now();
	if (!isatty(1) && strncmp(line, "#! nonce", 8))
		printf("guest: %s\n", line + 3);
	fflush(stdout);
}

static void watch_report(struct watch *w, const char *path)
{
	static char line[4096];
	static size_t len;
	FILE *f = fopen(path, "re");
	int c;

	if (!f)
		return;
	fseeko(f, w->ktap, SEEK_SET);
	if (!w->ktap)
		len = 0;
	while ((c = getc(f)) != EOF) {
		w->ktap++;
		if (c == '\n' || len == sizeof(line) - 1) {
			line[len] = '\0';
			len = 0;
			watch_line(w, line);
		} else {
			line[len++] = c;
		}
	}
	fclose(f);
}

static char *watch_guest(const struct boot *b, pid_t pid)
{
	const struct scenario *s = b->s;
	const double factor = limit_factor(b);
	const double limit_run = s->limit_run * factor + b->duration;
	char *console = fmt("%s/console.log", b->dir), *ktap = fmt("%s/ktap.log", b->dir);
	double start = now(), heard = start;
	struct watch w = { .phase = "boot", .phase_start = start };
	char *end = NULL;
	int status;

	for (;;) {
		off_t before = w.console + w.ktap;
		double t, in_phase;

		usleep(50000);
		t = now();
		watch_report(&w, ktap);
		w.console = size_of(console);
		if (w.console + w.ktap != before)
			heard = t;
		in_phase = t - w.phase_start;
		if (isatty(1)) {
			printf("\r\033[K[%3.0f s] %s, %d results", t - start, w.phase, w.results);
			fflush(stdout);
		}
		if (waitpid(pid, &status, WNOHANG) == pid) {
			watch_report(&w, ktap);
			end = WIFEXITED(status) ? fmt("exit %d", WEXITSTATUS(status)) :
			      fmt("signal %d", WTERMSIG(status));
			break;
		}
		if (interrupted)
			end = NULL;
		else if (t - start > limit_run)
			end = fmt("hang: %.0f s for the whole run are over", limit_run);
		else if (t - heard > s->limit_silence * factor)
			end = fmt("hang: %.0f s of silence in phase \"%s\"",
				  s->limit_silence * factor, w.phase);
		else if (!strcmp(w.phase, "boot") && in_phase > s->limit_boot * factor)
			end = fmt("hang: not booted after %.0f s", s->limit_boot * factor);
		/* init enforces the limit; this is for when init cannot. */
		else if ((!strncmp(w.phase, "test", 4) || !strncmp(w.phase, "audit", 5)) &&
			 in_phase > limit_of_test(b, w.test) + 40)
			end = fmt("hang: %.0f s in phase \"%s\"", in_phase, w.phase);
		else if (!strcmp(w.phase, "shutdown") && in_phase > s->limit_boot * factor)
			end = fmt("hang: no power-off after %.0f s", in_phase);
		else
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		break;
	}
	if (isatty(1))
		printf("\r\033[K");
	free(console);
	free(ktap);
	return end;
}

char *qemu_run(const struct boot *b, double *seconds)
{
	struct sigaction sa = { .sa_handler = on_signal };
	char *initrd = make_initrd(b), *end = NULL;
	struct list args = { 0 };
	double start = now();
	pid_t pid;

	command_line(b, initrd, &args);
	save_command(b, &args);
	interrupted = 0;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die(EXIT_ENV, "fork: %s", strerror(errno));
	if (!pid) {
		/* QEMU must not outlive the runner, nor see its ^C. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!b->shell) {
			int log = open(fmt("%s/qemu.log", b->dir),
				       O_WRONLY | O_CREAT | O_TRUNC, 0644);

			setpgid(0, 0);
			dup2(open("/dev/null", O_RDONLY), 0);
			dup2(log, 1);
			dup2(log, 2);
		}
		execvp(args.v[0], args.v);
		_exit(127);
	}
	if (b->shell)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	else
		end = watch_guest(b, pid);
	*seconds = now() - start;
	unlink(initrd);
	free(initrd);
	if (end && !strcmp(end, "exit 127"))
		die(EXIT_MISSING, "missing %s (Debian package %s)", b->s->arch->qemu,
		    b->s->arch->package);
	if (interrupted)
		die(128 + interrupted, "interrupted");
	return end;
}

/*
 * A /dev/kvm that opens says little: some machines have one that boots no
 * kernel. So boot one, once; the answer is kept in the file cache.
 */
bool kvm_works(const struct boot *b, const char *cache)
{
	struct scenario s = *b->s;
	char *known = read_all(cache, NULL), *end, *ktap, *dir;
	struct boot probe = *b;
	double seconds;
	bool works;

	if (!s.arch->kvm || access("/dev/kvm", R_OK | W_OK))
		return false;
	if (known)
		return !strncmp(known, "kvm", 3);
	dir = fmt("%s.probe.%d", cache, getpid());
	if (mkdir(dir, 0755))
		die(EXIT_ENV, "%s: %s", dir, strerror(errno));
	probe.duration = 0;
	puts("guest: trying whether KVM boots this kernel");
	s.limit_boot = 15;
	probe.s = &s;
	probe.dir = dir;
	probe.kvm = true;
	probe.shell = false;
	probe.plan = fmt("nonce %s\n", b->nonce);
	end = qemu_run(&probe, &seconds);
	ktap = read_all(fmt("%s/ktap.log", dir), NULL);
	works = ktap && strstr(ktap, "#! complete") && end && !strcmp(end, "exit 0");
	write_new(cache, works ? "kvm\n" : "tcg\n", 4);
	for (const char *const *f = (const char *const[]){ "console.log", "ktap.log",
	     "qemu.log", "cmdline", NULL }; *f; f++)
		unlink(fmt("%s/%s", dir, *f));
	rmdir(dir);
	printf("guest: KVM %s\n", works ? "boots" : "does not boot, emulating");
	return works;
}
