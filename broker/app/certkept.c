/* What is known of certificates from one run of a node to the next? A file of the state folder, written when the node ends in order, read and taken away when it
 * begins: it never says less than the node knew, and after a crash there is none. In it are the responders' signed answers, judged again when the certificate is
 * shown. They count once the responder has been asked: by themselves when it is silent, against an older answer when it is not. */
#include "app/certstatus_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define HEAD "baton ocsp 1\n"
#define PATH_SIZE 1200
#define ANSWER_MAX (8u << 10)  /* a larger one is asked for anew */
#define BYTES_MAX (64u << 20)  /* of all */
#define DAYS_31_MS (INT64_C(31) * 86400000) /* no good answer counts for longer: ocsp.max_age and ocsp.stale together */

/* As it stands in the file, `n` bytes of an answer behind it. This machine alone reads it. */
struct line {
	uint8_t key[SHA256_BYTES], scope[SHA256_BYTES];
	int64_t got_ms, this_ms;
	uint64_t n;
};

/* Of the last run, and not asked for yet. */
struct kept {
	uint8_t key[SHA256_BYTES];
	UT_hash_handle hh;
	uint8_t scope[SHA256_BYTES];
	struct held held;
};

static void path_of(const struct certstatus *s, char out[PATH_SIZE])
{
	snprintf(out, PATH_SIZE, "%s/ocsp", s->c.state_dir);
}

/* Whose answers these are: of another responder, or asked in another way, they say nothing. */
static void scope_of(const struct responder *r, uint8_t out[SHA256_BYTES])
{
	const uint8_t how[] = {(uint8_t)r->digest, (uint8_t)r->nonce};
	const struct slice parts[] = {slice_str(r->domain), slice_str(r->url), slice_str(r->ca_file), slice_str(r->ca_pem), slice_of(how, sizeof how)};

	sha256_parts(parts, sizeof parts / sizeof parts[0], out);
}

/* ---- an answer is held; under the lock ---- */

static void let_go(size_t *of, struct held *h)
{
	*of -= h->n;
	free(h->der);
	*h = (struct held){0};
}

static bool take(size_t *of, struct held *h, struct slice der)
{
	h->der = malloc(der.n);
	if (!h->der)
		return false;
	memcpy(h->der, der.p, der.n);
	h->n = der.n;
	*of += der.n;
	return true;
}

/* Half of all is shared out, so that what comes of one domain takes nothing of another's; the rest is whose comes first. */
static bool has_room(const struct responder *r, size_t n)
{
	const struct responders *all = r->of->responders;
	size_t own = BYTES_MAX / 2 / all->n, over = 0;

	for (size_t i = 0; i < all->n; i++) {
		size_t held = all->v[i].held_bytes + (&all->v[i] == r ? n : 0);

		over += held > own ? held - own : 0;
	}
	return r->held_bytes + n <= own || over <= BYTES_MAX / 2;
}

void certkept_drop(struct known *k)
{
	let_go(&k->of->held_bytes, &k->held);
}

bool certkept_hold(struct known *k, struct slice der)
{
	certkept_drop(k);
	return k->of->of->c.state_dir && der.n && der.n <= ANSWER_MAX && has_room(k->of, der.n) && take(&k->of->held_bytes, &k->held, der);
}

void certkept_move(struct known *k, struct responder *to)
{
	if (!has_room(to, k->held.n)) {
		certkept_drop(k);
		k->unread = false;
	}
	k->of->held_bytes -= k->held.n;
	to->held_bytes += k->held.n;
	k->of = to;
}

/* ---- out ---- */

static void put(struct buf *b, size_t *left, const uint8_t key[SHA256_BYTES], const uint8_t scope[SHA256_BYTES], const struct held *h)
{
	struct line l = {.got_ms = h->got_ms, .this_ms = h->this_ms, .n = h->n};

	if (!h->n || h->n > *left || clock_unix_ms() - h->got_ms > DAYS_31_MS)
		return;
	memcpy(l.key, key, sizeof l.key);
	memcpy(l.scope, scope, sizeof l.scope);
	if (buf_reserve(b, sizeof l + h->n)) {
		buf_put(b, &l, sizeof l);
		buf_put(b, h->der, h->n);
		*left -= h->n;
	}
}

/* Of this run first. */
static void put_all(const struct certstatus *s, struct buf *b)
{
	uint8_t scope[SHA256_BYTES];
	size_t left = BYTES_MAX;
	struct known *k, *t;
	struct kept *e, *u;

	HASH_ITER(hh, s->known, k, t) {
		scope_of(k->of, scope);
		put(b, &left, k->key, scope, &k->held);
	}
	HASH_ITER(hh, s->kept, e, u)
		put(b, &left, e->key, e->scope, &e->held);
}

/* What the file holds at the most. */
#define FILE_MAX (BYTES_MAX + BYTES_MAX / 2)

void certkept_write(struct certstatus *s)
{
	struct problem why = {"out of memory"};
	char path[PATH_SIZE];
	struct buf b;

	if (!s->c.state_dir)
		return;
	path_of(s, path);
	buf_init(&b, FILE_MAX);
	buf_put_str(&b, HEAD);
	put_all(s, &b);
	if (b.n != sizeof HEAD - 1 && (!b.p || file_write_atomic(path, buf_slice(&b), 0600, &why) < 0))
		log_event(LOG_ERROR, "ocsp.not_kept", F_STR("why", why.text), F_STR("remedy", "when it begins anew all certificates are asked about anew: make room in state_dir"));
	buf_clear(&b);
}

/* ---- in ---- */

/* false: no more are read. */
static bool add(struct certstatus *s, struct slice *text)
{
	struct kept *e;
	struct line l;

	if (text->n < sizeof l)
		return false;
	memcpy(&l, text->p, sizeof l);
	*text = slice_of(text->p + sizeof l, text->n - sizeof l);
	if (!l.n || l.n > text->n || l.n > BYTES_MAX - s->kept_bytes || l.got_ms < 0 || l.got_ms > INT64_MAX / 2 || !(e = calloc(1, sizeof *e)))
		return false;
	memcpy(e->key, l.key, sizeof e->key);
	memcpy(e->scope, l.scope, sizeof e->scope);
	if (take(&s->kept_bytes, &e->held, slice_of(text->p, (size_t)l.n)))
		HASH_ADD(hh, s->kept, key, sizeof e->key, e);
	*text = slice_of(text->p + l.n, text->n - (size_t)l.n);
	e->held.got_ms = l.got_ms;
	e->held.this_ms = l.this_ms;
	if (TABLE_HAS(e, hh))
		return true;
	let_go(&s->kept_bytes, &e->held);
	free(e);
	return false;
}

/* What it says counts only when it is there no more: else the next run would believe it again, whatever this one learned. */
void certkept_read(struct certstatus *s)
{
	struct problem why = {""};
	char path[PATH_SIZE];
	uint8_t *bytes = NULL;
	struct slice text;
	size_t n = 0;

	if (!s->c.state_dir)
		return;
	path_of(s, path);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return;
	if (file_read(path, FILE_MAX, &bytes, &n, &why) < 0)
		n = 0;
	if (unlink(path) < 0 || file_sync_folder(path) < 0) {
		problem_set(&why, "it cannot be taken away: %s", strerror(errno));
		n = 0;
	}
	text = slice_of(bytes, n);
	if (n && slice_begins(text, SLICE_LIT(HEAD))) {
		text = slice_of(text.p + sizeof HEAD - 1, text.n - (sizeof HEAD - 1));
		while (add(s, &text))
			;
	}
	if (!n || text.n)
		log_event(LOG_ERROR, "ocsp.kept_unusable", F_STR("why", n ? "it is damaged" : why.text), F_STR("remedy", "certificates are asked about anew"));
	free(bytes);
}

void certkept_free(struct certstatus *s)
{
	struct kept *e, *t;

	HASH_ITER(hh, s->kept, e, t) {
		HASH_DEL(s->kept, e);
		let_go(&s->kept_bytes, &e->held);
		free(e);
	}
}

/* ---- a certificate is shown ---- */

void certkept_claim(struct certstatus *s, struct known *k)
{
	uint8_t scope[SHA256_BYTES];
	struct kept *e;

	HASH_FIND(hh, s->kept, k->key, sizeof k->key, e);
	if (!e)
		return;
	scope_of(k->of, scope);
	HASH_DEL(s->kept, e);
	if (memcmp(scope, e->scope, sizeof scope) == 0 && has_room(k->of, e->held.n)) {
		k->held = e->held;
		k->of->held_bytes += k->held.n;
		s->kept_bytes -= k->held.n;
		k->unread = true;
	} else
		let_go(&s->kept_bytes, &e->held);
	free(e);
}

/* Judged as if it came now, but for the nonce and its times: how long it counts known_judge() says, as of the others. */
static bool judge(const struct known *k, struct ocsp_answer *out)
{
	const struct certstatus *s = k->of->of;
	struct ocsp_question *q = ocsp_question_new(k->subject, k->of->digest);
	struct trust *t = s->c.trust(s->c.arg);
	const struct ocsp_heard h = {.body = slice_of(k->held.der, k->held.n), .now_ms = clock_unix_ms(), .max_age_ms = k->of->max_age_ms, .trust = t,
		.domain = slice_str(k->of->domain), .kept = true};
	bool ok = q && !ocsp_read(q, &h, out) && out->says != OCSP_SAYS_UNKNOWN;

	trust_unref(t);
	ocsp_question_free(q);
	return ok;
}

void certkept_recall(struct known *k)
{
	struct certstatus *s = k->of->of;
	int64_t age = clock_unix_ms() - k->held.got_ms;
	struct ocsp_answer a;
	bool ok = k->unread && judge(k, &a) && (age >= 0 || a.says == OCSP_SAYS_REVOKED); /* a clock that was set back makes nothing good for longer */

	if (!k->unread)
		return;
	pthread_mutex_lock(&s->lock);
	k->unread = false;
	if (ok) {
		k->answered = k->recalled = true;
		k->answer = a;
		if (a.this_ms < k->held.this_ms && k->held.this_ms <= k->held.got_ms + OCSP_SKEW_MS)
			k->answer.this_ms = k->held.this_ms;
		k->got_ms = k->held.got_ms;
		k->got_mono_ms = clock_mono_ms() - age;
	} else
		certkept_drop(k);
	pthread_mutex_unlock(&s->lock);
}
