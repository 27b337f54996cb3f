/* Can what an issuer says of an opaque token crash the reader, or be made more of than it says? The input is an answer. What is good has all that a token is judged by,
 * is kept no longer than it may be, and does not repeat the token. */
#include "config.h"

#include <string.h>

#include "fuzz.h"
#include "identity/introspection.h"

#define NOW_MS INT64_C(1764000000000)
#define MONO_MS 5000000
#define TOKEN "the-opaque-token-1"

unsigned fuzz_good;

static void check_good(const struct answer *a, const struct issuer_rule *r)
{
	const struct facts *f = a->facts;

	fuzz_good++;
	NEED(f && a->active && facts_size(f) <= ANSWER_TEXT_MAX);
	NEED(f->expires_at_ms > NOW_MS && a->until_ms > MONO_MS && a->until_ms <= MONO_MS + r->introspection.cache_ms && a->until_ms - MONO_MS <= f->expires_at_ms - NOW_MS);
	NEED(facts_text(f, f->subject)[0] && facts_text(f, f->client)[0] && f->n_audiences >= 1 && !f->undated);
	for (size_t i = 0; i + sizeof TOKEN - 1 <= f->text_n; i++)
		NEED(memcmp(f->text + i, TOKEN, sizeof TOKEN - 1) != 0);
}

static void check(struct slice body, enum dialect dialect)
{
	static struct issuer_rule r;
	const struct introspection_heard h = {.rule = &r, .token = SLICE_LIT(TOKEN), .body = body, .now_ms = NOW_MS, .mono_ms = MONO_MS};
	const char *why = NULL;
	struct answer *a;

	r = (struct issuer_rule){.url = "https://i.example", .introspection.cache_ms = 60000};
	dialect_preset(dialect, &r.claims);
	a = introspection_read(&h, &why);
	NEED((a == NULL) == (why[0] != '\0'));
	if (a && a->reason == REASON_ALLOWED)
		check_good(a, &r);
	if (a && a->reason != REASON_ALLOWED)
		NEED(!a->facts && a->fault && a->fault[0] && a->until_ms == MONO_MS + INTROSPECTION_REFUSED_MS);
	answer_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (enum dialect d = 0; d < DIALECTS; d++)
		check(slice_of(data, size), d);
	return 0;
}
