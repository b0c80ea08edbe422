# SPDX-License-Identifier: GPL-2.0
#
# bench.csv of fork/2M-ptes on one kernel: does fork() still write to a few struct pages
# of a large folio only? TAP. Each of the eight words of marks is cleared atomically, on
# top of one reference and one lock, and the child gets a page table (three more). The
# words are in the four struct pages behind the first two. What differs between
# kernels is where the child's page tables come from.
#
#	awk -f read.awk -f check.awk bench.csv

function limit(what, most,	each)
{
	each = value[kernels[nkernels], fork, "net_" what] / folios
	printf "%s %d - fork() of a folio of 2 MiB, mapped by PTEs: %s %.1f (at most %d)\n", (each > 0 && each <= most) ? "ok" : "not ok", ++n, what, each, most
}

END {
	folios = 1
	for (i = 1; i <= nkeys; i++) {
		split(keys[i], f, FS)
		if (f[1] == "cases" && f[2] == "fork" && f[3] == "2M-ptes") {
			fork = keys[i]
			folios = f[4] / 2
		}
	}
	limit("vm_locked", 14)
	limit("vm_lines_dirtied", 10)
	printf "1..%d\n", n
}
