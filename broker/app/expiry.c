/* What of this node ends by itself, and who is told in time? The server's certificate and the CRLs, looked at each second: a metric says
 * when each ends, /readyz and the log say it three days before (of lists that are fetched: when they should have been replaced), and when a
 * CRL has just gone stale peers are judged anew. */
#include <stdio.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "identity/crl.h"

#define WARN_MS (3 * 86400000LL)

static void look_at_certificate(struct node *n, int64_t now)
{
	int64_t end = tls_server_not_after_ms(n->tls);

	metrics_set(n->metrics, METRIC_CERTIFICATE_EXPIRY, "server", NULL, end / 1000);
	health_set(n->health, HEALTH_CERTIFICATE, end > now,
		   end <= now ? "the server certificate has expired: replace tls.cert and tls.key, then send SIGHUP"
		   : end - now < WARN_MS ? "the server certificate expires soon: replace it, then send SIGHUP" : "", now);
}

/* Whether `at` was passed since the last look. */
static bool passed(const struct node *n, int64_t at, int64_t now)
{
	return at <= now && at > n->expiry_looked_ms;
}

/* It is nobody's but those who are to be enrolled, or to renew: the node goes on without. */
static void look_at_issuing(struct node *n, int64_t now)
{
	int64_t end = issuance_not_after_ms(n);

	if (end == INT64_MAX)
		return;
	metrics_set(n->metrics, METRIC_CERTIFICATE_EXPIRY, "issuing", NULL, end / 1000);
	if (passed(n, end, now) || passed(n, end - WARN_MS, now))
		log_event(LOG_WARN, "issuing.expiry", F_STR("remedy", end > now ? "the issuing certificate ends soon, and no agent's certificate outlives it: baton ca rotate, then put it in place"
			: "the issuing certificate has ended, and no certificate is issued or renewed: baton ca rotate, then put it in place"));
}

/* When it is said that a list ends soon: three days before, but of one that is fetched not before three quarters of its time are over, for it is replaced in time. */
static int64_t warn_at(const struct trust_domain_state *d)
{
	int64_t quarter = d->crl_this_update_ms ? (d->crl_next_update_ms - d->crl_this_update_ms) / 4 : WARN_MS;

	return d->crl_next_update_ms - (quarter < WARN_MS ? quarter : WARN_MS);
}

/* Lists of a URL have not come yet. */
static bool look_at_missing(struct node *n, const struct trust_domain_state *d, int64_t now, char *remedy, size_t size)
{
	bool in = now < d->crl_admit_until_ms;
	struct lists_state state = {0};

	crlfeed_state(n->crls, d->domain, &state);
	metrics_set(n->metrics, METRIC_CRL_LEFT, d->domain, NULL, 0);
	snprintf(remedy, size, "no CRL of %s has come from one of its URLs, its agents are %s (%s): see whether that answers", d->domain,
		 in ? "let in for a while" : "refused", state.failure[0] ? state.failure : "it is being fetched");
	return in;
}

/* Others of the domain are let in. */
static void say_left_out(struct node *n, const struct trust_domain_state *d, int64_t now, char *remedy, size_t size)
{
	if (d->crl_left_out_end_ms > now)
		return;
	snprintf(remedy, size, "a CRL of %s is out of date that its URL does not give any more, agents of its issuer are refused: have it issued, or take the URL out and add it "
		 "again", d->domain);
	if (passed(n, d->crl_left_out_end_ms, now))
		log_event(LOG_WARN, "trust.crl", F_STR("domain", d->domain), F_STR("remedy", remedy));
}

/* Whether the domain's peers are let in; remedy gets what to do about it, if anything. */
static bool look_at_domain(struct node *n, const struct trust_domain_state *d, int64_t now, char *remedy, size_t size)
{
	int64_t end = d->crl_next_update_ms, warn = warn_at(d), over = end < INT64_MAX ? end + d->crl_grace_ms : end;

	if (!d->anchors) {
		snprintf(remedy, size, "the bundle of %s is empty, its agents are refused: put its CAs in", d->domain);
		return false;
	}
	if (d->crl_missing)
		return look_at_missing(n, d, now, remedy, size);
	if (end == INT64_MAX)
		return true;
	metrics_set(n->metrics, METRIC_CRL_EXPIRY, d->domain, NULL, end / 1000);
	metrics_set(n->metrics, METRIC_CRL_LEFT, d->domain, NULL, end > now ? (end - now) / 1000 : 0);
	if (warn > now) {
		say_left_out(n, d, now, remedy, size);
		return true;
	}
	snprintf(remedy, size, end > now ? "the CRL of %s ends soon, then its agents are refused: renew it"
		 : over > now ? "the CRL of %s is out of date, its agents are let in for a while (tls.crl_stale): renew it"
			      : "the CRL of %s is out of date, its agents are refused: renew it", d->domain);
	if (passed(n, end, now) || passed(n, warn, now) || passed(n, over, now))
		log_event(LOG_WARN, "trust.crl", F_STR("domain", d->domain), F_INT("left_s", (end - now) / 1000), F_STR("remedy", remedy));
	return over > now;
}

/* Whoever has no good answer is refused; those who have one, only when it runs out. */
static void look_at_responder(struct node *n, const char *domain, char *remedy, size_t size)
{
	char why[KEYS_FAILURE_MAX];

	if (certstatus_fails(n->certstatus, domain, why, sizeof why))
		snprintf(remedy, size, "the OCSP responder of %.100s gives no answer that counts (%.150s), its agents are refused as soon as the last ones run out: see to it",
			 domain, why);
}

/* Some domain must be let in, or nobody is. */
static void look_at_trust(struct node *n, int64_t now)
{
	char remedy[400] = "";
	bool any = false;

	for (size_t i = 0; i < trust_count(n->trust); i++) {
		struct trust_domain_state d = trust_state(n->trust, i);

		any = look_at_domain(n, &d, now, remedy, sizeof remedy) || any;
		look_at_responder(n, d.domain, remedy, sizeof remedy);
	}
	health_set(n->health, HEALTH_TRUST, any, remedy, now);
}

/* Peers were judged by what was current then. */
static void look_at_lists(struct node *n, int64_t now)
{
	bool back = now < n->expiry_looked_ms; /* the clock was set: what has ended may end again */

	if (n->list_ends_ms > now && !back)
		return;
	if (n->list_ends_ms && n->list_ends_ms <= now)
		server_recheck_peers(n->server);
	n->list_ends_ms = trust_next_end_ms(n->trust, now);
}

void expiry_look(struct node *n)
{
	int64_t now = clock_unix_ms();

	look_at_certificate(n, now);
	look_at_trust(n, now);
	look_at_issuing(n, now);
	look_at_lists(n, now);
	n->expiry_looked_ms = now;
}
