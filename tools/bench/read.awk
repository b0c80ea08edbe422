# SPDX-License-Identifier: GPL-2.0
#
# Reads bench.csv, for the scripts here that are run with it: awk -f read.awk -f ...
# kernels[], keys[]: in their order; a key is part, case, backing, MiB, sharers.
# value[kernel, key, column]; "net_" and the column: without what the case takes
# when nothing is mapped.

BEGIN { FS = "," }

FNR == 1 {
	for (i = 1; i <= NF; i++)
		name[i] = $i
	next
}

{
	key = $2 FS $3 FS $4 FS $6 FS $7
	if (!($1 in of)) {
		kernels[++nkernels] = $1
		of[$1] = nkernels
	}
	if (!(key in seen)) {
		seen[key] = 1
		keys[++nkeys] = key
	}
	for (i = 8; i <= NF; i++)
		value[$1, key, name[i]] = $i
	for (i = 9; i <= NF; i++) {
		if ($4 == "nothing")
			fixed[$1, $2, $3, $7, i] = $i
		value[$1, key, "net_" name[i]] = $i - fixed[$1, $2, $3, $7, i]
	}
}
