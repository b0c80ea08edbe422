/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In which order a CPU may do the steps of a thread.
 *
 * Spin interleaves threads, but executes each thread as it is written. So a
 * thread is written as a loop over steps here, each of which touches one shared
 * word and is enabled when all steps that it has to wait for are done:
 *
 *	do
 *	:: STEP(S1, tso, weak) -> S1's access; DONE(S1)
 *	:: STEP(S2, tso, weak) -> ...
 *	:: d == ALL -> break
 *	od
 *
 * Steps are bits, numbered in program order. MODEL says what each waits for:
 *
 *  SC	  all earlier steps.
 *  TSO	  all earlier steps but those in the set "tso": the plain stores that are
 *	  still in the store buffer when a load executes. An atomic
 *	  read-modify-write is a full barrier, so only loads have such a set, and
 *	  only stores after the last barrier are in it.
 *  WEAK  only the steps in the set "weak": those that a barrier, an acquire or
 *	  release, an address, data or control dependency, or the same address
 *	  puts before it. Loads are not ordered by control dependencies, so they
 *	  can be done before a branch that turns out not to be taken.
 *
 * A step is seen by all other CPUs at once. That is what x86 and arm64 do, not
 * what the Linux kernel memory model guarantees on all architectures: for that
 * there are the litmus tests. Nor does a thread read its own store before others
 * see it: no thread here loads from where it has stored to, except by atomic
 * operations on the same word, which never pass each other.
 */
#define SC	0
#define TSO	1
#define WEAK	2

#ifndef MODEL
#define MODEL	SC
#endif

#define WAITS(x, set)	(!(d & (x)) && (d & (set)) == (set))
#if MODEL == SC
#define STEP(x, tso, weak)	WAITS(x, (x) - 1)
#elif MODEL == TSO
#define STEP(x, tso, weak)	WAITS(x, ((x) - 1) & ~(tso))
#else
#define STEP(x, tso, weak)	WAITS(x, weak)
#endif
#define DONE(x)		d = d | (x)

/*
 * What must not happen: pan names the variable in "assertion violated !(name)".
 * It is false in all states that are visited, so it does not multiply them.
 */
#define NEVER(name, what)	name = (what); assert(!name); name = false
