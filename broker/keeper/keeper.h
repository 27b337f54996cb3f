/* Who holds the key of the issuing CA? The keeper: a process of its own, forked before Baton reads a secret, under a user of its own when one is named, with
 * no network, no folder but those of its files, and one pipe (pipe.h) to the broker. The broker never has the key; whoever gets into the broker can ask the
 * keeper for certificates as long as he is in, within its caps, and each of them stands in its record. Here is the broker's end. */
#ifndef BATON_KEEPER_KEEPER_H
#define BATON_KEEPER_KEEPER_H

#include <sys/types.h>

#include "keeper/issuer.h"

struct keeper_config {
	struct keeper_files files;
	int64_t max_ttl_ms;
	const char *user;        /* whom it runs as; "" = as the broker does. Else the broker is to be started as root or with CAP_SETUID and CAP_SETGID */
	bool seccomp, landlock;
};

struct keeper;
/* Forks it, which it must be early enough for: before threads and secrets, on the main thread. Returns when it has read its files and can issue, at most
 * 10 s later. *ready: its answer, pointing into the keeper, until the next keeper_receive(). NULL with why. */
struct keeper *keeper_start(const struct keeper_config *c, struct keeper_answer *ready, struct problem *why);
/* Readable: an answer is there, or the keeper has ended. */
int keeper_fd(const struct keeper *k);
pid_t keeper_pid(const struct keeper *k);
/* From any thread. false: it has too much to do, or has ended. */
bool keeper_send(struct keeper *k, const struct keeper_ask *a);
/* One thread. 1: *out, which points into the keeper; 0: there is none now; -1: the keeper has ended. */
int keeper_receive(struct keeper *k, struct keeper_answer *out);
/* Ends it, and waits for that, 2 s at most. NULL is fine. */
void keeper_stop(struct keeper *k);

/* ---- keeper_process.c ---- */
/* The keeper's life, after the fork: until its channel ends. Does not return. */
void keeper_serve(const struct keeper_config *c, int channel, pid_t parent) __attribute__((noreturn));

#endif
