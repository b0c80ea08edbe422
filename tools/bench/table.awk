# SPDX-License-Identifier: GPL-2.0
#
# bench.csv to tables of ratios to its first kernel, and what became of the targets:
#
#	awk -f read.awk -f table.awk [-v json=FILE] [-v targets=FILE [-v raw=FILE]] bench.csv
#
# raw: all repetitions of the first kernel, to say what of a missed target is less than
# these differ.

function ratio(key, k, c,	a, b)
{
	a = value[kernels[1], key, c]
	b = value[kernels[k], key, c]
	return a == 0 ? (b == 0 ? 1 : b) : b / a
}

# How far the repetitions of the first kernel are apart, as a part of the least.
function spread(key, c,	plain)
{
	plain = c
	sub(/^net_/, "", plain)
	if (!((key, plain) in most) || !value[kernels[1], key, c])
		return 0
	return (most[key, plain] - value[kernels[1], key, plain]) / value[kernels[1], key, c]
}

# The targets that name a case and a backing are in force there, the others elsewhere.
function judge(case_, backing, key,	i, c, k, named, got, against, verdict, word)
{
	for (i = 1; i <= ntargets; i++)
		if (target[i, 1] == case_ && target[i, 2] == backing)
			named = 1
	for (i = 1; i <= ntargets; i++) {
		c = target[i, 3]
		against = sub(/^nopm\//, "", c)
		if (target[i, 1] != "*" && target[i, 1] != case_)
			continue
		if (target[i, 2] != "*" && target[i, 2] != backing)
			continue
		if (target[i, 1] == "*" && !against && named)
			continue
		if (against && !("nopm" in of))
			continue
		k = of["series"]
		got = against ? value["series", key, c] / value["nopm", key, c] : ratio(key, k, c)
		verdict = got <= target[i, 4] + 1e-9
		met[verdict]++
		word = verdict ? "met" : "MISSED"
		if (!verdict && !against && got - target[i, 4] <= spread(key, c))
			word = word ", by less than base differs"
		if (!verdict || target[i, 1] != "*")
			judged = judged sprintf("%-11s %-10s %-24s <= %-6s %8.4f  %s\n", case_,
				backing, target[i, 3], target[i, 4], got, word)
	}
}

BEGIN {
	while (targets && (getline line <targets) > 0) {
		if (line ~ /^(#|$)/)
			continue
		split(line, field, /[ \t]+/)
		ntargets++
		for (i = 1; i <= 4; i++)
			target[ntargets, i] = field[i]
	}
	while (raw && (getline line <raw) > 0) {
		split(line, field, ",")
		if (field[1] == "kernel") {
			for (i in field)
				name[i] = field[i]
			continue
		}
		key = field[2] FS field[3] FS field[4] FS field[6] FS field[7]
		for (i = 8; i in field; i++)
			if (field[i] + 0 > most[key, name[i]] + 0)
				most[key, name[i]] = field[i]
	}
}

END {
	judging = ntargets && "series" in of
	for (n = 1; n <= nkeys; n++) {
		split(keys[n], f, FS)
		if (f[1] != part) {
			part = f[1]
			printf "%s%s: ratios to %s; then how many of it %s has, and the others\n", (n > 1 ? "\n" : ""), part, kernels[1], kernels[1]
			printf "%-11s %-10s %4s %12s", "case", "backing", "MiB", "instructions"
			for (k = 2; k <= nkernels; k++)
				printf " %8s", kernels[k]
			for (k = 2; k <= nkernels; k++)
				printf " %8s", "net " substr(kernels[k], 1, 4)
			printf "  %s\n", "locked in vmemmap, vmemmap lines dirtied, faults"
		}
		printf "%-11s %-10s %4d %12d", f[2], f[3] (f[5] ? "/" f[5] : ""), f[4], value[kernels[1], keys[n], "instructions"]
		for (k = 2; k <= nkernels; k++)
			printf " %8.4f", ratio(keys[n], k, "instructions")
		for (k = 2; k <= nkernels; k++)
			printf " %8s", f[3] == "nothing" ? "-" : sprintf("%.4f", ratio(keys[n], k, "net_instructions"))
		split("vm_locked vm_lines_dirtied faults", column, " ")
		for (c = 1; c <= 3; c++) {
			printf " "
			for (k = 1; k <= nkernels; k++)
				printf " %7d", value[kernels[k], keys[n], column[c]]
		}
		printf "\n"
		if (judging && part == "cases" && f[3] != "nothing")
			judge(f[2], f[3], keys[n])
	}
	if (judging) {
		printf "\ntargets: those of one case, and all that are missed\n%s", judged
		printf "Why those are missed: README, \"What it costs\".\n"
		printf "%d passed, %d failed, 0 skipped\n", met[1], met[0]
	}
	if (json) {
		printf "[" >json
		for (n = 1; n <= nkeys; n++) {
			split(keys[n], f, FS)
			for (k = 1; k <= nkernels; k++) {
				printf "%s\n{\"kernel\":\"%s\",\"part\":\"%s\",\"case\":\"%s\",\"backing\":\"%s\",\"mib\":%d,\"sharers\":%d", (n + k > 2 ? "," : ""), kernels[k], f[1], f[2], f[3], f[4], f[5] >json
				for (i = 8; i in name; i++)
					printf ",\"%s\":%d", name[i], value[kernels[k], keys[n], name[i]] >json
				printf "}" >json
			}
		}
		printf "\n]\n" >json
	}
}
