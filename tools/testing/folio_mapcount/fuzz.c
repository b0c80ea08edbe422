// SPDX-License-Identifier: GPL-2.0-only
/*
 * A history of the mappings of a folio from the bytes of an input: the first four
 * say what folio and which IDs, four more are a step each. With clang's libFuzzer,
 * "make fuzz" looks for one that the model does not agree with.
 */
#include "fuzz.h"
#include "history.h"

int fuzz_one_input(const uint8_t *data, size_t size)
{
	static struct history h;
	unsigned int ids[MAX_MMS], nr_mms, order, i;
	bool anon;

	if (size < 4)
		return 0;
	anon = data[0] % 2;
	order = 1 + anon + data[0] / 2 % 6;
	nr_mms = 2 + data[1] % (MAX_MMS - 1);
	/* The second byte picks a bit, or for extremes and neighbours, none. */
	for (i = 0; i < nr_mms; i++) {
		ids[i] = data[3] % 2 ? MM_ID_MAX - i : MM_ID_MIN + i;
		if (i % 2)
			ids[i] ^= (1U << data[2] % MM_ID_BITS) & ~31U;
	}

	history_init(&h, order, anon, ids, nr_mms);
	/* Few enough for the limit of order-1 folios on 32bit to be in the middle. */
	h.max_times = anon ? 1 : 3;
	for (data += 4, size -= 4; size >= 4; data += 4, size -= 4)
		if (history_step(&h, data[0], data[1], data[2], data[3]))
			history_check(&h);
	history_end(&h);
	return 0;
}
