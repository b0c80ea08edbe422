# SPDX-License-Identifier: GPL-2.0
#
# The headline table of README, in Markdown: awk -f read.awk -f headline.awk bench.csv

function row(what, case_, backing,	c, i, key, text)
{
	key = "cases" FS case_ FS backing FS mib FS 0
	if (!(("base", key, "instructions") in value))
		return
	text = "| " what " | 1"
	for (i = 2; i <= 3; i++)
		text = text sprintf(" / %.3f", value[kernel[i], key, "net_instructions"] / value["base", key, "net_instructions"])
	for (c = 1; c <= 3; c++)
		for (i = 1; i <= 3; i++)
			text = text sprintf("%s %d", i == 1 ? " |" : " /", value[kernel[i], key, column[c]])
	print text " |"
}

$2 == "cases" && $4 != "nothing" { mib = $6 }

END {
	split("base nopm series", kernel, " ")
	split("net_vm_locked net_vm_lines_dirtied faults", column, " ")
	print "| " mib " MiB of memory; base / NO_PAGE_MAPCOUNT / series | instructions, ratio | locked instructions on struct pages | lines of struct pages written to | page faults |"
	print "|---|---|---|---|---|"
	row("fork, small folios", "fork", "order0")
	row("fork, 16K", "fork", "16K")
	row("fork, 64K", "fork", "64K")
	row("fork, 2M by PTEs", "fork", "2M-ptes")
	row("fork, 2M by PMDs", "fork", "2M-pmds")
	row("child exits, 64K", "child_exit", "64K")
	row("child exits, 2M by PTEs", "child_exit", "2M-ptes")
	row("write to all when it is gone, 64K", "cow_gone", "64K")
	row("write to all when it is gone, 2M by PTEs", "cow_gone", "2M-ptes")
	row("split of PMDs", "split", "2M-pmds")
	row("mprotect of half, 2M by PTEs", "mprotect", "2M-ptes")
	row("MADV_PAGEOUT, 64K", "pageout", "64K")
	row("move_pages, 64K", "migrate", "64K")
	row("munmap, small folios", "munmap", "order0")
	row("munmap, 16K", "munmap", "16K")
	row("munmap, 2M by PTEs", "munmap", "2M-ptes")
}
