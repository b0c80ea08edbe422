/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's own header; the rest of its folder is not for user space. */
#include "../../../../../include/linux/anon_exclusive.h"
