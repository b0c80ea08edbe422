// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin that counts what the guest does between two marker instructions
 * (see bench.h): instructions, loads, stores, locked read-modify-writes, distinct
 * cache lines read and dirtied, and those of the vmemmap, that is of struct page,
 * apart; and the misses of a simple cache model.
 *
 *	-plugin count.so,out=FILE
 *
 * FILE gets a line for each pair of markers. One vCPU; the guest must not move its
 * vmemmap (nokaslr, no5lvl). Lines are those of virtual addresses: user memory that
 * the kernel clears by its direct mapping counts twice.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/*
 * Debian does not package the header of QEMU's plugin interface. This is what is
 * used here of its version 1.
 */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;

int qemu_plugin_version = 1;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int vcpu, void *data), int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn,
		int op, void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int vcpu, uint32_t info, uint64_t addr, void *data),
		int flags, int rw, void *data);
bool qemu_plugin_mem_is_store(uint32_t info);

enum { CB_NO_REGS = 0, MEM_RW = 3, INLINE_ADD_U64 = 0 };

/* x86-64 with four levels of page tables and without KASLR; 64 GiB of memory. */
#define VMEMMAP_START	0xffffea0000000000ull
#define VMEMMAP_SIZE	(1ull << 30)
#define LINE_SHIFT	6

/* Lines that were seen since the first marker; a generation saves the clearing. */
struct line_set {
	uint64_t *line;
	uint32_t *generation;
	size_t size, used;
};

struct cache {
	unsigned int sets, ways;
	uint64_t *line;		/* the most recently used one of each set first */
	uint64_t misses;
};

static uint64_t insns;
static uint64_t insns_before;
static struct {
	uint64_t loads, stores, locked, vm_loads, vm_stores, vm_locked, vm_read, vm_dirtied;
} n;
static bool counting;
static uint32_t generation;
static uint32_t *vm_read, *vm_dirtied;
static struct line_set lines_read, lines_dirtied;
static struct cache l1 = { .sets = 64, .ways = 8 }, l2 = { .sets = 1024, .ways = 16 };
static FILE *out;

static void *zalloc(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p) {
		fprintf(stderr, "count.so: no memory\n");
		exit(1);
	}
	return p;
}

static void set_init(struct line_set *s, size_t size)
{
	s->size = size;
	s->line = zalloc(size, sizeof(*s->line));
	s->generation = zalloc(size, sizeof(*s->generation));
}

static bool set_insert(struct line_set *s, uint64_t line)
{
	size_t i = (line * 0x9e3779b97f4a7c15ull) >> 32;

	for (;; i++) {
		i &= s->size - 1;
		if (s->generation[i] != generation)
			break;
		if (s->line[i] == line)
			return false;
	}
	s->line[i] = line;
	s->generation[i] = generation;
	return true;
}

/* At most half full. */
static void set_add(struct line_set *s, uint64_t line)
{
	const struct line_set old = *s;
	size_t i;

	if (!set_insert(s, line) || ++s->used <= s->size / 2)
		return;
	set_init(s, old.size * 2);
	for (i = 0; i < old.size; i++)
		if (old.generation[i] == generation)
			set_insert(s, old.line[i]);
	free(old.line);
	free(old.generation);
}

static bool cache_hit(struct cache *c, uint64_t line)
{
	uint64_t *way = c->line + (line & (c->sets - 1)) * c->ways;
	unsigned int i;

	for (i = 0; i < c->ways - 1 && way[i] != line; i++)
		;
	if (way[i] != line) {
		c->misses++;
		memmove(way + 1, way, i * sizeof(*way));
		*way = line;
		return false;
	}
	memmove(way + 1, way, i * sizeof(*way));
	*way = line;
	return true;
}

static void accessed(unsigned int vcpu, uint32_t info, uint64_t addr, void *locked)
{
	bool store, vm;
	uint64_t line;

	(void)vcpu;
	if (!counting)
		return;
	store = qemu_plugin_mem_is_store(info);
	vm = addr - VMEMMAP_START < VMEMMAP_SIZE;
	line = addr >> LINE_SHIFT;
	if (store) {
		n.stores++;
		n.locked += !!locked;
	} else {
		n.loads++;
	}
	if (vm) {
		uint32_t *seen = store ? vm_dirtied : vm_read;
		uint64_t *lines = store ? &n.vm_dirtied : &n.vm_read;

		if (store) {
			n.vm_stores++;
			n.vm_locked += !!locked;
		} else {
			n.vm_loads++;
		}
		seen += (addr - VMEMMAP_START) >> LINE_SHIFT;
		*lines += *seen != generation;
		*seen = generation;
	}
	set_add(store ? &lines_dirtied : &lines_read, line);
	if (!cache_hit(&l1, line))
		cache_hit(&l2, line);
}

static void begin(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	generation++;
	memset(&n, 0, sizeof(n));
	lines_read.used = lines_dirtied.used = 0;
	l1.misses = l2.misses = 0;
	memset(l1.line, 0, l1.sets * l1.ways * sizeof(*l1.line));
	memset(l2.line, 0, l2.sets * l2.ways * sizeof(*l2.line));
	insns_before = insns;
	counting = true;
}

static void end(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	if (!counting)
		return;
	counting = false;
	fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		" %" PRIu64 " %" PRIu64 " %" PRIu64 " %zu %zu %" PRIu64 " %" PRIu64 "\n",
		insns - insns_before, n.loads, n.stores, n.locked, n.vm_loads, n.vm_stores,
		n.vm_locked, n.vm_read, n.vm_dirtied,
		lines_read.used, lines_dirtied.used, l1.misses, l2.misses);
	fflush(out);
}

/* A lock prefix among the others, or an xchg with memory, which needs none. */
static bool is_locked(const uint8_t *byte, size_t size)
{
	for (; size; byte++, size--) {
		if (*byte == 0xf0)
			return true;
		if (*byte != 0x66 && *byte != 0x2e && *byte != 0x3e && *byte != 0x64 &&
		    *byte != 0x65 && *byte != 0xf2 && *byte != 0xf3 && (*byte & 0xf0) != 0x40)
			break;
	}
	return size >= 2 && (*byte == 0x86 || *byte == 0x87) && byte[1] < 0xc0;
}

static bool is_marker(const uint8_t *byte, size_t size, uint32_t which)
{
	static const uint8_t nopl[] = { MARKER_OPCODE };

	return size == sizeof(nopl) + sizeof(which) && !memcmp(byte, nopl, sizeof(nopl)) &&
	       !memcmp(byte + sizeof(nopl), &which, sizeof(which));
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t i, count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const uint8_t *byte = qemu_plugin_insn_data(insn);
		size_t size = qemu_plugin_insn_size(insn);

		qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &insns, 1);
		if (is_marker(byte, size, MARKER_BEGIN))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, CB_NO_REGS, NULL);
		else if (is_marker(byte, size, MARKER_END))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, CB_NO_REGS, NULL);
		else
			qemu_plugin_register_vcpu_mem_cb(insn, accessed, CB_NO_REGS, MEM_RW,
					(void *)(uintptr_t)is_locked(byte, size));
	}
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "count.so: usage: -plugin count.so,out=FILE\n");
		return -1;
	}
	out = fopen(argv[0] + 4, "w");
	if (!out) {
		perror(argv[0] + 4);
		return -1;
	}
	fprintf(out, COLUMNS "\n");
	vm_read = zalloc(VMEMMAP_SIZE >> LINE_SHIFT, sizeof(*vm_read));
	vm_dirtied = zalloc(VMEMMAP_SIZE >> LINE_SHIFT, sizeof(*vm_dirtied));
	set_init(&lines_read, 1 << 22);
	set_init(&lines_dirtied, 1 << 22);
	l1.line = zalloc(l1.sets * l1.ways, sizeof(*l1.line));
	l2.line = zalloc(l2.sets * l2.ways, sizeof(*l2.line));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
