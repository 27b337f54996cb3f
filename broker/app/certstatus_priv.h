/* What do certstatus.c, certknown.c, certask.c and certkept.c share? What is known of a certificate, and who is asked about it. Private to these four. */
#ifndef BATON_APP_CERTSTATUS_PRIV_H
#define BATON_APP_CERTSTATUS_PRIV_H

#include "app/certstatus.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/table.h"
#include "identity/ocsp.h"
#include "net/fetch.h"

#define DOMAIN_SIZE 256

struct responder {
	struct certstatus *of;
	char domain[DOMAIN_SIZE];
	char *url, *ca_file, *ca_pem;  /* owned */
	char shown[160];               /* the URL without what follows a "?": it may hold a secret */
	bool allow_private;
	enum ocsp_digest digest;
	enum ocsp_nonce nonce;
	int64_t max_age_ms, grace_ms;
	struct fetcher *fetcher;
	struct known *wanted;          /* a list: to be asked about, in the order in which they came; under of->lock, as the rest */
	unsigned under_way;
	size_t held_bytes;             /* of answers about its certificates, for the next run */
	size_t gone, gone_revoked;     /* of a look: certificates of peers that are not connected */
	int64_t least_left_ms;         /* the same */
	bool fails;                    /* the last question had no answer that counts, and that was logged */
	char failure[KEYS_FAILURE_MAX];
};

struct responders {
	size_t n;
	struct responder v[];
};

/*   IDLE --nothing is known, or it is due--> WANTED --it is its turn--> ASKING --any answer--> IDLE */
enum known_state { KNOWN_IDLE, KNOWN_WANTED, KNOWN_ASKING };

/* An answer as it was signed, for the next run. */
struct held {
	uint8_t *der;                  /* owned; NULL: there is none */
	size_t n;
	int64_t got_ms, this_ms;       /* as of struct known */
};

/* What is known of a certificate. */
struct known {
	uint8_t key[SHA256_BYTES];
	UT_hash_handle hh;
	struct known *prev, *next;     /* among those that are wanted */
	struct responder *of;
	struct ocsp_subject *subject;
	char *spiffe_id;               /* owned; it and the next for the log and the audit */
	char x5t[sizeof ((struct identity_peer *)0)->x5t_s256];
	enum known_state state;
	struct ocsp_question *question; /* ASKING: owned */
	uint64_t workers;              /* a bit for each in which something waits */
	struct held held;
	bool unread;                   /* it is of the last run, and not judged yet */
	bool recalled;                 /* the answer is of the last run, and the responder has not been heard since */
	bool answered;
	struct ocsp_answer answer;
	int64_t got_ms, got_mono_ms;   /* when it came, by the wall clock and the monotonic one */
	int64_t used_ms, due_ms, settled_ms, backoff_ms; /* all but the last are monotonic */
};

struct certstatus {
	struct certstatus_config c;
	pthread_mutex_t lock;
	struct known *known;           /* under the lock, as the next four */
	struct kept *kept;             /* of the last run */
	size_t kept_bytes;             /* of those */
	struct responders *responders;
	atomic_bool asks;              /* there are some */
	bool posted;                   /* ask_all() waits in the loop's queue; after the end it frees what is left */
	bool closed;
	struct loop_timer *timer;
	int64_t shown_ms;              /* when the gauges were set */
};

/* What a question came to, and whom that is to be told. */
struct news {
	uint8_t key[SHA256_BYTES];
	uint64_t workers;
	enum peer_status status;
	bool fallen;
};

/* ---- what is known: certknown.c; under the lock ---- */

struct responder *responder_of(const struct certstatus *s, struct slice domain);
struct known *known_find(const struct certstatus *s, const struct identity_peer *p);
/* NULL: there are too many, or memory is out. */
struct known *known_new(struct certstatus *s, struct responder *r, const struct identity_peer *p);
void known_free(struct certstatus *s, struct known *k);
/* It is to be asked about, when it is its turn. */
void known_want(struct known *k);
/* Until when the answer that was had counts by itself. */
int64_t known_until_ms(const struct known *k);
enum peer_status known_judge(const struct known *k, int64_t now_ms);
/* Is somebody connected with it? */
bool known_is_used(const struct known *k, int64_t mono_ms);
bool known_is_refused(enum peer_status status);

#define FALLEN_AT_ONCE 64 /* told of in one look; the next tells of more */
/* Wants what is due, lets go of whom nobody has asked about for a while, and sets the gauges. Returns how many good answers ran out. */
size_t known_look(struct certstatus *s, struct news fallen[FALLEN_AT_ONCE]);

/* ---- who is asked: certask.c; on the control loop, without the lock ---- */

/* About all whose turn it is. */
void certask_all(struct certstatus *s);

/* ---- what is kept from one run to the next: certkept.c ---- */

void certkept_read(struct certstatus *s);  /* at the start, before workers */
void certkept_write(struct certstatus *s); /* at the end, after them */
void certkept_free(struct certstatus *s);
/* Under the lock, as the next three: whose certificate is shown for the first time gets what was kept. */
void certkept_claim(struct certstatus *s, struct known *k);
/* false: it cannot be held, and nothing is. */
bool certkept_hold(struct known *k, struct slice der);
void certkept_drop(struct known *k);
/* It is another responder's from now on. */
void certkept_move(struct known *k, struct responder *to);
/* On the control loop, without the lock: what was kept is judged, and from then on is known. */
void certkept_recall(struct known *k);

/* ---- who is told: certstatus.c; the same ---- */

void certstatus_tell(struct certstatus *s, const struct news *n);

#endif
