/* What is known of which certificate, and for how long? A table, under one lock: an answer counts until it runs out, by two clocks; what was revoked is remembered
 * when its peer is gone, and there is a bound to all of it. See certstatus_priv.h. */
#include "app/certstatus_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"

#define USED_MS 5000           /* so long after it was looked up last a certificate is still a connected peer's: each is looked up once a second */
#define KEPT_MS 60000          /* what is no good answer is remembered for so long after that */
#define REVOKED_KEPT_MS 86400000 /* and one that was revoked for so long: an answer of before that may be in date for days */
#define KEPT_MAX 8192          /* certificates of a domain's peers that are not connected; of revoked ones as many again */
#define KNOWN_MAX (1u << 18)   /* all */

/* ---- what it says ---- */

int64_t known_until_ms(const struct known *k)
{
	return ocsp_until_ms(&k->answer, k->got_ms, k->of->max_age_ms);
}

/* Does it still count, with what the configuration adds? By both clocks: one that is set back makes nothing last longer. */
static bool counts(const struct known *k, int64_t now_ms)
{
	return now_ms < known_until_ms(k) + k->of->grace_ms && clock_mono_ms() - k->got_mono_ms < k->of->max_age_ms + k->of->grace_ms;
}

enum peer_status known_judge(const struct known *k, int64_t now_ms)
{
	if (k->recalled && k->state != KNOWN_IDLE)
		return PEER_STATUS_ASKED;
	if (k->answered && k->answer.says == OCSP_SAYS_REVOKED)
		return PEER_STATUS_REVOKED;
	if (k->answered && k->answer.says == OCSP_SAYS_UNKNOWN)
		return PEER_STATUS_UNKNOWN;
	if (k->answered && counts(k, now_ms))
		return PEER_STATUS_GOOD;
	return k->state == KNOWN_IDLE ? PEER_STATUS_SILENT : PEER_STATUS_ASKED;
}

bool known_is_refused(enum peer_status status)
{
	return status != PEER_STATUS_GOOD && status != PEER_STATUS_ASKED;
}

bool known_is_used(const struct known *k, int64_t mono_ms)
{
	return mono_ms - k->used_ms < USED_MS;
}

struct responder *responder_of(const struct certstatus *s, struct slice domain)
{
	for (size_t i = 0; s->responders && i < s->responders->n; i++)
		if (slice_is(domain, s->responders->v[i].domain))
			return &s->responders->v[i];
	return NULL;
}

struct known *known_find(const struct certstatus *s, const struct identity_peer *p)
{
	struct known *k;

	HASH_FIND(hh, s->known, ocsp_subject_key(p->subject), SHA256_BYTES, k);
	return k;
}

void known_free(struct certstatus *s, struct known *k)
{
	if (k->state == KNOWN_WANTED)
		DL_DELETE(k->of->wanted, k);
	if (k->hh.tbl)
		HASH_DEL(s->known, k);
	certkept_drop(k);
	ocsp_question_free(k->question);
	ocsp_subject_unref(k->subject);
	free(k->spiffe_id);
	free(k);
}

void known_want(struct known *k)
{
	if (k->state != KNOWN_IDLE)
		return;
	k->state = KNOWN_WANTED;
	DL_APPEND(k->of->wanted, k);
}

struct known *known_new(struct certstatus *s, struct responder *r, const struct identity_peer *p)
{
	struct known *k = HASH_COUNT(s->known) < KNOWN_MAX ? calloc(1, sizeof *k) : NULL;

	if (!k)
		return NULL;
	memcpy(k->key, ocsp_subject_key(p->subject), sizeof k->key);
	k->of = r;
	k->subject = ocsp_subject_ref(p->subject);
	k->spiffe_id = strdup(p->spiffe_id);
	memcpy(k->x5t, p->x5t_s256, sizeof k->x5t);
	if (k->spiffe_id)
		HASH_ADD(hh, s->known, key, sizeof k->key, k);
	if (TABLE_HAS(k, hh)) {
		certkept_claim(s, k);
		return k;
	}
	known_free(s, k);
	return NULL;
}

/* ---- each quarter of a second ---- */

/* A good answer that has run out is forgotten, so that whoever comes anew is asked about anew: at once where no question has failed, as when a clock that stepped made it
 * run out before its time. */
static bool has_run_out(struct known *k, int64_t now)
{
	if (!k->answered || k->answer.says != OCSP_SAYS_GOOD || counts(k, now))
		return false;
	k->answered = false;
	if (!k->backoff_ms)
		k->due_ms = 0;
	return !k->recalled; /* nobody was let in by that */
}

/* Of a peer that is gone. Each trust domain has room of its own: what comes of one takes nothing of another's. */
static bool is_over(const struct known *k, int64_t now, int64_t mono)
{
	bool revoked = k->unread || (k->answered && k->answer.says == OCSP_SAYS_REVOKED), good = k->answered && k->answer.says == OCSP_SAYS_GOOD;
	int64_t gone = mono - k->used_ms;

	if (k->state == KNOWN_ASKING || known_is_used(k, mono))
		return false;
	if (revoked)
		return gone >= REVOKED_KEPT_MS || ++k->of->gone_revoked > KEPT_MAX;
	return (good ? !counts(k, now) : gone >= KEPT_MS) || ++k->of->gone > KEPT_MAX;
}

/* What is left of the good answers about those who are there; INT64_MAX: nobody is. */
static int64_t left_of(const struct known *k, int64_t now)
{
	int64_t left = k->answered ? known_until_ms(k) - now : 0;

	if (!k->answered && !k->backoff_ms)
		return INT64_MAX; /* it is asked about for the first time */
	if (k->answered && k->answer.says != OCSP_SAYS_GOOD)
		return INT64_MAX;
	return left > 0 ? left : 0;
}

static void begin_look(struct responders *all)
{
	for (size_t i = 0; all && i < all->n; i++) {
		all->v[i].gone = all->v[i].gone_revoked = 0;
		all->v[i].least_left_ms = all->v[i].max_age_ms;
	}
}

static void show(struct certstatus *s, int64_t mono)
{
	if (mono - s->shown_ms < 1000)
		return;
	s->shown_ms = mono;
	for (size_t i = 0; s->responders && i < s->responders->n; i++)
		metrics_set(s->c.metrics, METRIC_OCSP_LEFT, s->responders->v[i].domain, NULL, s->responders->v[i].least_left_ms / 1000);
}

size_t known_look(struct certstatus *s, struct news fallen[FALLEN_AT_ONCE])
{
	int64_t now = clock_unix_ms(), mono = clock_mono_ms();
	struct known *k, *t;
	size_t n = 0;

	begin_look(s->responders);
	HASH_ITER(hh, s->known, k, t) {
		if (is_over(k, now, mono)) {
			known_free(s, k);
			continue;
		}
		if (n < FALLEN_AT_ONCE && has_run_out(k, now)) {
			fallen[n] = (struct news){.fallen = known_is_used(k, mono), .status = PEER_STATUS_SILENT};
			memcpy(fallen[n++].key, k->key, SHA256_BYTES);
		}
		if (!known_is_used(k, mono))
			continue;
		if (left_of(k, now) < k->of->least_left_ms)
			k->of->least_left_ms = left_of(k, now);
		if (mono >= k->due_ms)
			known_want(k);
	}
	show(s, mono);
	return n;
}
