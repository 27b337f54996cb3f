/* With which certificate does the keeper issue this node's certificates, and may it? It says so at its start and when it has read its files again; here is looked
 * whether agents could verify what they get. */
#include <stdlib.h>
#include <string.h>

#include "app/check.h"
#include "app/node_priv.h"
#include "base/log.h"
#include "identity/ca.h"
#include "keeper/pipe.h"

/* Control thread. */
struct issuance {
	char trust_domain[256];
	int64_t not_after_ms;       /* of the issuing certificate */
	struct buf issuer;          /* DER */
};

static int take_issuer(struct issuance *k, struct slice der, struct problem *why)
{
	static const char scheme[] = "spiffe://";
	struct ca_cert_info info;

	if (ca_cert_info(der, &info, why) < 0)
		return -1;
	if (strncmp(info.spiffe_id, scheme, sizeof scheme - 1) != 0 || !slice_copy_str(slice_str(info.spiffe_id + sizeof scheme - 1), k->trust_domain, sizeof k->trust_domain))
		return problem_set(why, "issuing.cert: it names no trust domain");
	k->not_after_ms = info.not_after_ms;
	buf_reset(&k->issuer);
	return buf_put_slice(&k->issuer, der) ? 0 : problem_set(why, "out of memory");
}

/* Certificates that agents would not keep are not issued. */
static void look_at_bundle(struct issuance *k, struct issuing *i)
{
	bool vouched = issuing_vouches_for(i, buf_slice(&k->issuer));

	atomic_store(&i->unvouched, !vouched);
	if (!vouched)
		log_event(LOG_ERROR, "issuing.unvouched", F_STR("remedy", "no CA of issuing.bundle signed issuing.cert, and nothing is issued until one has: put its root in"));
}

void issuance_heard(struct node *n, const struct keeper_answer *a)
{
	struct issuance *k = n->issuance;
	bool changed = k && !slice_eq(a->issuer, buf_slice(&k->issuer));
	struct problem why = {""};

	if (a->status != KEEPER_OK)
		problem_set(&why, "%.*s", (int)a->why.n, (const char *)a->why.p);
	else if (k)
		take_issuer(k, a->issuer, &why);
	if (why.text[0])
		log_event(LOG_ERROR, "keeper.reload_failed", F_STR("why", why.text), F_STR("remedy", "what was used before is used on: mend the files, then send SIGHUP"));
	else if (changed)
		log_event(LOG_INFO, "issuing.reloaded", F_STR("trust_domain", k->trust_domain), F_INT("ends_s", k->not_after_ms / 1000));
	if (k && n->issuing)
		look_at_bundle(k, n->issuing);
}

int64_t issuance_not_after_ms(const struct node *n)
{
	return n->issuance ? n->issuance->not_after_ms : INT64_MAX;
}

int issuance_make(struct node *n, const struct config *c, struct issuing **out, struct problem *why)
{
	struct issuance *k = n->issuance;
	bool starts = !n->world; /* later the files of both may be replaced at once: what the keeper makes of its own is heard next */

	*out = k ? config_issuing(c, k->trust_domain, starts ? buf_slice(&k->issuer) : slice_of(NULL, 0), why) : NULL;
	if (*out)
		atomic_store(&(*out)->unvouched, !issuing_vouches_for(*out, buf_slice(&k->issuer)));
	return *out || !k ? 0 : -1;
}

int issuance_open(struct node *n, const struct keeper_answer *ready, struct problem *why)
{
	struct issuance *k;

	if (!n->config->issuing_cert[0])
		return 0;
	k = n->issuance = calloc(1, sizeof *k);
	if (!k)
		return problem_set(why, "out of memory");
	buf_init(&k->issuer, KEEPER_CERT_MAX);
	return take_issuer(k, ready->issuer, why) < 0 ? problem_prefix(why, "issuing.cert") : 0;
}

void issuance_close(struct node *n)
{
	if (!n->issuance)
		return;
	buf_clear(&n->issuance->issuer);
	free(n->issuance);
	n->issuance = NULL;
}
