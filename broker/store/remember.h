/* How does a node notice that Redis came back without the end of what it had acknowledged? It remembers, per slot, the last sequence
 * number it saw acknowledged, in memory and in files of the state folder. One file a worker (seq.N.json, claimed by a lock), all
 * of them read at the start; a thread of its own writes, at most once a second, because fsync may take long. */
#ifndef BATON_STORE_REMEMBER_H
#define BATON_STORE_REMEMBER_H

#include <stdint.h>

#include "base/problem.h"

struct remember;

/* What was seen of one slot. Owned by the table, lives as long as it. */
struct remembered {
	uint32_t epoch; /* which incarnation, counted by the slot */
	uint64_t seq;
};

/* dir NULL or "": only in memory. NULL with why when the folder cannot be used or its files cannot be read. */
struct remember *remember_open(const char *dir, struct problem *why);
/* Never NULL but when memory is out or at the cap (65,536 slots). */
struct remembered *remember_slot(struct remember *m, const char *tenant, const char *route);
/* Takes note; m is written within a second. */
void remember_set(struct remember *m, struct remembered *r, uint32_t epoch, uint64_t seq);
/* Call about once a second: hands what is new to the writer. Never blocks on the disk. */
void remember_save(struct remember *m);
/* Writes what is left and frees. May wait for the disk. */
void remember_close(struct remember *m);

#endif
