/* How is the answer to Enrol and Renew judged? See certanswer.h; the rules for certificates are identity/enrolment's. */
#include "config.h"

#include "cli/certanswer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client/conn.h"
#include "identity/enrolment.h"

size_t certanswer_slices(const ProtobufCBinaryData *v, size_t n, struct slice *out, size_t max, struct problem *why)
{
	if (n == 0 || n > max) {
		problem_set(why, n ? "it has %zu certificates, at most %zu are taken" : "it has no certificate", n, max);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (v[i].len == 0 || v[i].len > CERTANSWER_DER_MAX) {
			problem_set(why, "certificate %zu of it has %zu bytes", i + 1, v[i].len);
			return 0;
		}
		out[i] = slice_of(v[i].data, v[i].len);
	}
	return n;
}

static int take(struct certanswer *a, const Baton__V1__Certificate *m, struct problem *why)
{
	a->n_chain = certanswer_slices(m->chain_der, m->n_chain_der, a->chain, CERTANSWER_CHAIN_MAX, why);
	if (!a->n_chain)
		return problem_prefix(why, "the chain");
	a->n_bundle = certanswer_slices(m->bundle_der, m->n_bundle_der, a->bundle, CERTANSWER_BUNDLE_MAX, why);
	if (!a->n_bundle)
		return problem_prefix(why, "the CA bundle");
	return certinfo_der(a->chain[0], &a->leaf) ? 0 : problem_set(why, "it is no certificate");
}

/* When it has begun by the broker's clock, which is ahead of ours when it lies before us. -1 with why: too far. */
static int judge_clock(struct certanswer *a, int64_t now_ms, int64_t *as_of_ms, struct problem *why)
{
	char begins[25], now[25];

	*as_of_ms = a->leaf.not_before_ms > now_ms ? a->leaf.not_before_ms : now_ms;
	if (*as_of_ms == now_ms)
		return 0;
	clock_format_utc(a->leaf.not_before_ms, begins);
	clock_format_utc(now_ms, now);
	snprintf(a->clock, sizeof a->clock, "it is good from %s on, and by this machine's clock it is %s", begins, now);
	a->is_early = *as_of_ms - now_ms > CERTANSWER_SKEW_MS;
	return a->is_early ? problem_set(why, "%s: set the clock", a->clock) : 0;
}

int certanswer_judge(struct certanswer *a, const Baton__V1__Certificate *m, const struct ca_key *key, const char *spiffe_id, const struct client *conn,
		     int64_t now_ms, struct problem *why)
{
	int64_t as_of_ms;

	a->clock[0] = '\0';
	a->is_early = false;
	if (take(a, m, why) < 0 || judge_clock(a, now_ms, &as_of_ms, why) < 0)
		return -1;
	if (spiffe_id && strcmp(a->leaf.spiffe_id, spiffe_id) != 0)
		return problem_set(why, "it is made for %.200s, and this agent is %.200s", a->leaf.spiffe_id[0] ? a->leaf.spiffe_id : "nobody", spiffe_id);
	if (enrolment_check(key, a->leaf.spiffe_id, a->chain, a->n_chain, a->bundle, a->n_bundle, as_of_ms, why) < 0)
		return -1;
	if (!client_vouched(conn, a->bundle, a->n_bundle))
		return problem_set(why, "the CA bundle with it does not vouch for the broker itself");
	return 0;
}
