/* Which secrets does the keeper hand out? Those that the broker must show to others to be let in: the files that the configuration names at its start, others in the
 * same folders, so that a reload may name one, and what registry.secrets has for a host. Each is read anew, and no key is among them: not the keeper's own, and no file
 * with PEM in it. Either kind has a rate of its own, for who registers issuers must not keep this node from its Redis. Who gets into the broker can ask for them, one by
 * one, and the record says how often somebody did. */
#ifndef BATON_KEEPER_LENDER_H
#define BATON_KEEPER_LENDER_H

#include "keeper/pipe.h"
#include "keeper/record.h"

/* Of each kind. */
#define KEEPER_SECRETS_BURST 4000    /* every connection of every worker to a Redis Cluster, made anew at once */
#define KEEPER_SECRETS_PER_SECOND 100

struct keeper_secrets {
	const char *const *files; /* absolute paths */
	size_t n;
	const char *folder;       /* registry.secrets; "" = none */
};

/* Is it one of these files, or beside one, by the text of its path? */
bool keeper_secrets_know(const struct keeper_secrets *s, const char *file);

struct keeper_lender;
/* own: the keeper's own files, n of them, "" is none. All is borrowed, as long as it lives. NULL: memory is out. */
struct keeper_lender *keeper_lender_new(const struct keeper_secrets *s, const char *const *own, size_t n, int64_t mono_ms);
/* now_ms, mono_ms: as keeper_issuer_answer(). *out points into the lender, until keeper_lender_forget(). */
void keeper_lender_answer(struct keeper_lender *k, const struct keeper_ask *a, int64_t now_ms, int64_t mono_ms, struct keeper_answer *out);
/* Wipes what was handed out. */
void keeper_lender_forget(struct keeper_lender *k);
/* What it handed out and refused; for the caller to set back once it is written down. */
struct record_count *keeper_lender_count(struct keeper_lender *k);
void keeper_lender_free(struct keeper_lender *k); /* NULL is fine */

#endif
