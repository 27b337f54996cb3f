/* Who holds the keys that give others a claim on somebody's trust, that of the issuing CA and that of assertions, and the secrets by which this node is let in
 * elsewhere? The keeper: a process of its own, forked before Baton reads a secret, under a user of its own when one is named, with no network, no folder but those of
 * its files, and pipes (pipe.h) to the broker. The broker never has the keys, and a secret for the moment in which it is shown; whoever gets into the broker can ask the
 * keeper as long as he is in, within its caps, and what it gave stands in its record. Here is the broker's end. */
#ifndef BATON_KEEPER_KEEPER_H
#define BATON_KEEPER_KEEPER_H

#include <sys/types.h>

#include "keeper/issuer.h"
#include "keeper/lender.h"

#define KEEPER_CHANNELS_MAX 65

struct keeper_config {
	struct keeper_files files; /* cert "": it issues no certificates */
	int64_t max_ttl_ms;
	const char *assertion_key;    /* made when it is not there */
	const char *assertion_issuer;
	struct keeper_secrets secrets;
	const char *user;        /* whom it runs as; "" = as the broker does. Else the broker is to be started as root or with CAP_SETUID and CAP_SETGID */
	bool seccomp, landlock;
	unsigned channels;       /* 1 to KEEPER_CHANNELS_MAX: so many ask, each on its own */
};

struct keeper;
struct keeper_channel; /* one thread each; it goes with the keeper */
/* Forks it, which it must be early enough for: before threads and secrets, on the main thread. Returns when it has read its files and can answer, at most
 * 10 s later. *ready: its answer, as to a RELOAD, on channel 0, until the next keeper_receive() there. NULL with why. */
struct keeper *keeper_start(const struct keeper_config *c, struct keeper_answer *ready, struct problem *why);
struct keeper_channel *keeper_channel(struct keeper *k, unsigned i);
pid_t keeper_pid(const struct keeper *k);
/* Readable: an answer is there, or the keeper has ended. */
int keeper_fd(const struct keeper_channel *c);
/* An ask as keeper_put_ask() wrote it. 1: sent; 0: the pipe is full, until it is writable; -1: the keeper has ended. */
int keeper_send(struct keeper_channel *c, struct slice packet);
/* 1: *out, which points into the channel; 0: there is none now; -1: the keeper has ended. */
int keeper_receive(struct keeper_channel *c, struct keeper_answer *out);
/* Wipes what was received last. */
void keeper_forget(struct keeper_channel *c);
/* Ends it, and waits for that, 2 s at most. NULL is fine. */
void keeper_stop(struct keeper *k);

/* ---- keeper_process.c ---- */
/* The keeper's life, after the fork: until one of the channels ends, or the broker. Does not return. The channels are in ascending order. */
void keeper_serve(const struct keeper_config *c, const int *channels, pid_t parent) __attribute__((noreturn));

#endif
