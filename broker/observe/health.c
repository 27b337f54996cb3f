/* Is this node fit to serve? Each part's last word, and since when it says so. */
#include "config.h"

#include "observe/health.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/jsonw.h"
#include "base/redact.h"

#define REMEDY_BYTES 512

static const char *const check_texts[HEALTH_COUNT] = {
	[HEALTH_STORE] = "store",	      [HEALTH_REGISTRY] = "registry",	[HEALTH_AUDIT] = "audit",		[HEALTH_KEYS] = "keys",
	[HEALTH_INTROSPECTION] = "introspection",
	[HEALTH_CERTIFICATE] = "certificate", [HEALTH_TRUST] = "trust",		[HEALTH_LISTENERS] = "listeners",
	 [HEALTH_DRAINING] = "draining",
};

struct health {
	pthread_mutex_t lock;
	struct {
		bool ok;
		uint64_t parts; /* one bit for each that is ok */
		int64_t since_ms;
		char remedy[REMEDY_BYTES]; /* redacted */
	} checks[HEALTH_COUNT];
};

struct health *health_new(int64_t now_ms)
{
	struct health *h = calloc(1, sizeof *h);
	unsigned i;

	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	for (i = 0; i < HEALTH_COUNT; i++) {
		h->checks[i].since_ms = now_ms;
		snprintf(h->checks[i].remedy, sizeof h->checks[i].remedy, "starting");
	}
	return h;
}

void health_free(struct health *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* With the lock held. */
static void put(struct health *h, enum health_check c, bool ok, const char *remedy, int64_t now_ms)
{
	struct slice text = slice_str(remedy);

	if (redact_needed(text))
		text = SLICE_LIT("[redacted]");
	text.n = utf8_cut(text, REMEDY_BYTES - 1);
	if (h->checks[c].ok != ok)
		h->checks[c].since_ms = now_ms;
	h->checks[c].ok = ok;
	slice_copy_str(text, h->checks[c].remedy, REMEDY_BYTES);
}

void health_set(struct health *h, enum health_check c, bool ok, const char *remedy, int64_t now_ms)
{
	pthread_mutex_lock(&h->lock);
	put(h, c, ok, remedy, now_ms);
	pthread_mutex_unlock(&h->lock);
}

void health_set_part(struct health *h, enum health_check c, unsigned part, unsigned parts, bool ok, const char *remedy, int64_t now_ms)
{
	uint64_t bit = UINT64_C(1) << part, all = parts < 64 ? (UINT64_C(1) << parts) - 1 : UINT64_MAX;

	pthread_mutex_lock(&h->lock);
	h->checks[c].parts = ok ? h->checks[c].parts | bit : h->checks[c].parts & ~bit;
	if (!ok || h->checks[c].parts == all || (remedy && *remedy))
		put(h, c, h->checks[c].parts == all, remedy, now_ms);
	pthread_mutex_unlock(&h->lock);
}

/* With the lock held. */
static bool all_ok(const struct health *h)
{
	unsigned i;

	for (i = 0; i < HEALTH_COUNT; i++)
		if (!h->checks[i].ok)
			return false;
	return true;
}

const char *health_text(enum health_check c)
{
	return check_texts[c];
}

uint64_t health_missing(const struct health *h)
{
	pthread_mutex_t *lock = &((struct health *)h)->lock;
	uint64_t bits = 0;

	pthread_mutex_lock(lock);
	for (unsigned i = 0; i < HEALTH_COUNT; i++)
		bits |= (uint64_t)!h->checks[i].ok << i;
	pthread_mutex_unlock(lock);
	return bits;
}

bool health_ok(const struct health *h, enum health_check c)
{
	pthread_mutex_t *lock = &((struct health *)h)->lock;
	bool ok;

	pthread_mutex_lock(lock);
	ok = h->checks[c].ok;
	pthread_mutex_unlock(lock);
	return ok;
}

bool health_ready(const struct health *h)
{
	pthread_mutex_t *lock = &((struct health *)h)->lock;
	bool ok;

	pthread_mutex_lock(lock);
	ok = all_ok(h);
	pthread_mutex_unlock(lock);
	return ok;
}

int health_render(struct health *h, struct buf *out)
{
	struct jsonw w;
	char since[25];
	unsigned i;

	jsonw_init(&w, out);
	pthread_mutex_lock(&h->lock);
	jsonw_object(&w, NULL);
	jsonw_bool(&w, "ready", all_ok(h));
	jsonw_array(&w, "checks");
	for (i = 0; i < HEALTH_COUNT; i++) {
		clock_format_utc(h->checks[i].since_ms, since);
		jsonw_object(&w, NULL);
		jsonw_str(&w, "check", check_texts[i]);
		jsonw_bool(&w, "ok", h->checks[i].ok);
		jsonw_str(&w, "since", since);
		jsonw_str(&w, "remedy", h->checks[i].remedy);
		jsonw_end_object(&w);
	}
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	pthread_mutex_unlock(&h->lock);
	return out->failed ? -1 : 0;
}
