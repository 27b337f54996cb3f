/* What of this node ends by itself, and who is told in time? Its certificates and the CRLs, looked at each second: a metric says
 * when each ends, /readyz and the log say it three days before (of lists that are fetched: when they should have been replaced), and when a
 * CRL has just gone stale peers are judged anew. */
#include <stdio.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "identity/crl.h"

#define WARN_MS (3 * 86400000LL)

#define REMEDY_MAX (64u << 10)

/* ---- certificates ---- */

enum nearness { END_FAR, END_SOON, END_PAST };

/* What follows when one ends, and what to do. */
struct ending {
	const char *event, *soon, *past;
};

static const struct ending own[EXPIRY_OWN] = {
	[EXPIRY_SERVER] = {"certificate.expiry", "the server certificate expires soon: replace it, then send SIGHUP",
		"the server certificate has expired: replace tls.cert and tls.key, then send SIGHUP"},
	[EXPIRY_ISSUING] = {"issuing.expiry", "the issuing certificate ends soon, and no agent's certificate outlives it: baton ca rotate, then put it in place",
		"the issuing certificate has ended, and no certificate is issued or renewed: baton ca rotate, then put it in place"},
	[EXPIRY_STORE] = {"certificate.expiry", "the certificate for Redis (store.cert) ends soon, then no new connection to it is made: replace it and its key, the next connection takes them",
		"the certificate for Redis (store.cert) has ended, and no new connection to it is made: replace it and its key"},
};
static const struct ending shown = {"certificate.expiry", "the certificate that it is asked with ends soon, then its opaque tokens are refused: replace it and its key",
	"the certificate that it is asked with has ended, its opaque tokens are refused: replace it and its key"};

/* What is to be done about it; "": nothing. A line in the log when that begins, and when it has ended. */
static const char *watch(struct node *n, const struct ending *e, const char *subject, int64_t end, int64_t now, unsigned char *said)
{
	enum nearness is = end <= now ? END_PAST : end - now < WARN_MS ? END_SOON : END_FAR;
	const char *remedy = is == END_PAST ? e->past : is == END_SOON ? e->soon : "";

	metrics_set(n->metrics, METRIC_CERTIFICATE_EXPIRY, subject, NULL, end / 1000);
	if (is > *said)
		log_event(LOG_WARN, e->event, F_STR("subject", subject), F_STR("remedy", remedy));
	*said = is;
	return remedy;
}

static const char *watch_own(struct node *n, enum expiry_own which, const char *subject, int64_t end, int64_t now)
{
	return watch(n, &own[which], subject, end, now, &n->certificates_said[which]);
}

/* Connections that are there go on when that towards Redis has ended. */
static void look_at_certificate(struct node *n, int64_t now)
{
	int64_t end = tls_server_not_after_ms(n->tls), store_end;
	const char *server = watch_own(n, EXPIRY_SERVER, "server", end, now), *store = "";
	char both[400];

	if (n->boot->store_cert[0] && tls_file_not_after(n->boot->store_cert, &store_end))
		store = watch_own(n, EXPIRY_STORE, "store", store_end, now);
	snprintf(both, sizeof both, "%s%s%s", server, *server && *store ? "; " : "", store);
	health_set(n->health, HEALTH_CERTIFICATE, end > now, both, now);
}

/* It is nobody's but those who are to be enrolled, or to renew: the node goes on without. */
static void look_at_issuing(struct node *n, int64_t now)
{
	int64_t end = issuance_not_after_ms(n);

	if (end < INT64_MAX)
		watch_own(n, EXPIRY_ISSUING, "issuing", end, now);
}

#define SUBJECT_MAX 96

static const char *subject_of(const struct introspector_certificate *c, char out[SUBJECT_MAX])
{
	snprintf(out, SUBJECT_MAX, "introspection/%s", c->issuer);
	return out;
}

struct look {
	struct node *node;
	struct buf *said;
	int64_t now;
};

static void look_at_shown(void *arg, const struct introspector_certificate *c)
{
	struct look *l = arg;
	char subject[SUBJECT_MAX];
	const char *remedy = c->end_ms ? watch(l->node, &shown, subject_of(c, subject), c->end_ms, l->now, c->said) : "the certificate that it is asked with cannot be read";

	if (*remedy)
		buf_printf(l->said, "%sissuer %s: %s", l->said->n ? "; " : "", c->issuer, remedy);
}

/* A node that cannot ask an issuer serves everybody else. */
void expiry_introspection(void *node)
{
	struct node *n = node;
	struct buf said;
	struct look l = {n, &said, clock_unix_ms()};

	if (!n->introspector)
		return;
	buf_init(&said, REMEDY_MAX);
	introspector_say_mute(n->introspector, &said);
	introspector_each_certificate(n->introspector, look_at_shown, &l);
	health_set(n->health, HEALTH_INTROSPECTION, true, buf_put_u8(&said, 0) ? (const char *)said.p : "", l.now);
	buf_clear(&said);
}

static void forget_shown(void *arg, const struct introspector_certificate *c)
{
	char subject[SUBJECT_MAX];

	metrics_forget(((struct node *)arg)->metrics, METRIC_CERTIFICATE_EXPIRY, subject_of(c, subject), NULL);
}

void expiry_forget(struct node *n, struct introspector *was)
{
	introspector_each_certificate(was, forget_shown, n);
}

/* ---- lists ---- */

/* Whether `at` was passed since the last look. */
static bool passed(const struct node *n, int64_t at, int64_t now)
{
	return at <= now && at > n->expiry_looked_ms;
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
	expiry_introspection(n);
	look_at_trust(n, now);
	look_at_issuing(n, now);
	look_at_lists(n, now);
	n->expiry_looked_ms = now;
}
