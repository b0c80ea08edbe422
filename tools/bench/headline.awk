# SPDX-License-Identifier: GPL-2.0
#
# The headline table of README, in Markdown, from bench.csv.

function number(kernel, key, c)
{
	return value[kernel, key, c] - fixed[kernel, key, c]
}

function row(what, case_, backing,	c, i, key, text)
{
	key = case_ FS backing
	if (!(("base", key, "instructions") in value))
		return
	text = "| " what " | 1"
	for (i = 2; i <= 3; i++)
		text = text sprintf(" / %.3f", number(kernel[i], key, "instructions") / number("base", key, "instructions"))
	for (c = 1; c <= 3; c++)
		for (i = 1; i <= 3; i++)
			text = text sprintf("%s %d", i == 1 ? " |" : " /", number(kernel[i], key, column[c]))
	print text " |"
}

BEGIN {
	FS = ","
	split("base nopm series", kernel, " ")
	split("vm_locked vm_lines_dirtied faults", column, " ")
}
FNR == 1 {
	for (i = 1; i <= NF; i++)
		name[i] = $i
	next
}
$2 == "cases" {
	for (i = 8; i <= NF; i++) {
		value[$1, $3 FS $4, name[i]] = $i
		if ($4 == "nothing")
			nothing[$1, $3, name[i]] = $i
		else if (i > 8)
			fixed[$1, $3 FS $4, name[i]] = nothing[$1, $3, name[i]]
	}
	if ($4 != "nothing")
		mib = $6
}
END {
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
