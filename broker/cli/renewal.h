/* How does a certificate become the next one? By one question to the broker on a connection of its own, shown the present certificate; and by a clock
 * that says when it is time. Nothing here waits: the caller polls. */
#ifndef BATON_CLI_RENEWAL_H
#define BATON_CLI_RENEWAL_H

#include "cli/idfiles.h"

#define RENEWAL_BACKOFF_MIN_MS 5000
#define RENEWAL_BACKOFF_MAX_MS 300000

/* When a certificate is due: at two thirds of its life, or up to a thirtieth of it earlier, as luck has it, so that what was made together is not renewed
 * together. from_ms: its beginning or, when it has just come, now: it may be dated back by more than it lives. */
int64_t renewal_due(int64_t from_ms, int64_t not_after_ms, uint32_t luck);
/* The pause before the next try: half of it, and a part of the other half. Doubles *backoff_ms for the one after that; 0 = the first. */
int64_t renewal_pause(int64_t *backoff_ms, uint32_t luck);

/* ---- once ---- */

enum renewal_end { RENEWAL_GOES_ON, RENEWAL_DONE, RENEWAL_FAILED };

struct renewal;
/* Borrows set and files for its life; lasts timeout_ms at most. Owned; a failure, too, is one that renewal_step() tells. NULL: out of memory. */
struct renewal *renewal_new(const struct settings *set, const struct idfiles *files, int64_t timeout_ms);
/* Does what can be done now. DONE: the files are the new ones. */
enum renewal_end renewal_step(struct renewal *r);
int renewal_fd(const struct renewal *r);
short renewal_events(const struct renewal *r);
int64_t renewal_deadline(const struct renewal *r); /* monotonic: step then at the latest */
const struct certinfo *renewal_cert(const struct renewal *r); /* once DONE: the new one */
const char *renewal_clock(const struct renewal *r);           /* once DONE: that this machine's clock is behind; "" when it is not */
/* Once FAILED: complains, in full, and returns the exit code; or in one line, without. */
int renewal_complain(const struct renewal *r, const struct cli *c);
int renewal_failure(const struct renewal *r, char *out, size_t size);
void renewal_free(struct renewal *r);

/* ---- again and again ---- */

enum renewer_event { RENEWER_QUIET, RENEWER_RENEWED, RENEWER_ENDED /* it could not be renewed, and is good no more */ };

struct renewer {
	struct cli *c;
	struct idfiles files;
	struct certinfo cert;   /* what is in the file, as far as we know */
	bool keeps_lock;        /* nobody else is to renew it, also between two times */
	struct renewal *now;    /* NULL: none is under way */
	int64_t due_ms;         /* Unix time: its clock is the certificate's */
	int64_t again_ms;       /* monotonic: not before, after a failure; 0 = none */
	int64_t backoff_ms;
};
/* 0, or an exit code, complained about: this identity is not one that can be renewed. c->set is settled, and stays. */
int renewer_init(struct renewer *r, struct cli *c, bool keeps_lock);
/* Begins what is due and does what can be done; says on standard error what came of it. */
enum renewer_event renewer_tick(struct renewer *r);
/* Looks into the file: somebody else may have renewed it. true: it is another one. */
bool renewer_look(struct renewer *r);
int renewer_fd(const struct renewer *r); /* -1: nothing to poll */
short renewer_events(const struct renewer *r);
int renewer_wait(const struct renewer *r); /* ms until the next tick, at most a minute */
void renewer_clear(struct renewer *r);

#endif
