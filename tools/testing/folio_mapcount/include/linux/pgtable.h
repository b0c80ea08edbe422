/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_PGTABLE_H
#define _LINUX_PGTABLE_H

enum pgtable_level {
	PGTABLE_LEVEL_PTE,
	PGTABLE_LEVEL_PMD,
	PGTABLE_LEVEL_PUD,
};

#endif /* _LINUX_PGTABLE_H */
