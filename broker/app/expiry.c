/* What of this node ends by itself, and who is told in time? The server's certificate and the CRLs, looked at each second: a metric says
 * when each ends, /readyz and the log say it three days before, and a CRL that has just gone stale has its domain's peers judged anew. */
#include <stdio.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/log.h"

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

/* Whether the domain's peers are let in; remedy gets what to do about it, if anything. */
static bool look_at_domain(struct node *n, const struct trust_domain_state *d, int64_t now, char *remedy, size_t size)
{
	int64_t end = d->crl_next_update_ms;

	if (!d->anchors) {
		snprintf(remedy, size, "the bundle of %s is empty, its agents are refused: put its CAs in", d->domain);
		return false;
	}
	if (end == INT64_MAX)
		return true;
	metrics_set(n->metrics, METRIC_CRL_EXPIRY, d->domain, NULL, end / 1000);
	if (end > now + WARN_MS)
		return true;
	snprintf(remedy, size, end > now ? "the CRL of %s ends soon, then its agents are refused: renew it"
				   : "the CRL of %s is out of date, its agents are refused: renew it", d->domain);
	if (passed(n, end, now) || passed(n, end - WARN_MS, now))
		log_event(LOG_WARN, "trust.crl", F_STR("domain", d->domain), F_STR("remedy", remedy));
	if (passed(n, end, now))
		server_recheck_peers(n->server);
	return end > now;
}

/* Some domain must be let in, or nobody is. */
static void look_at_trust(struct node *n, int64_t now)
{
	char remedy[400] = "";
	bool any = false;

	for (size_t i = 0; i < trust_count(n->trust); i++) {
		struct trust_domain_state d = trust_state(n->trust, i);

		any = look_at_domain(n, &d, now, remedy, sizeof remedy) || any;
	}
	health_set(n->health, HEALTH_TRUST, any, remedy, now);
}

void expiry_look(struct node *n)
{
	int64_t now = clock_unix_ms();

	look_at_certificate(n, now);
	look_at_trust(n, now);
	look_at_issuing(n, now);
	n->expiry_looked_ms = now;
}
