/* How do lists that were fetched come to count beside a bundle and its own lists, and when does the next one end? They stand in a store of anchors that is made anew
 * for the domain: of one issuer it has the newest list alone, so that an older one that lasts longer is not gone back to. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>

#include "identity/crl.h"
#include "identity/crl_priv.h"

#define LISTS_MAX 1024 /* of a domain */

/* The lists of a domain while they are gathered: borrowed. */
struct gathering {
	X509_CRL *v[LISTS_MAX];
	int64_t this_ms[LISTS_MAX]; /* of one that was fetched; else 0 */
	bool left_out[LISTS_MAX];   /* its URL does not give it any more */
	size_t n;
	bool full;
};

static void gather(struct gathering *g, X509_CRL *crl, int64_t this_ms, bool left_out)
{
	size_t i = 0;

	while (i < g->n && !crl_same_scope(g->v[i], crl))
		i++;
	if (i == LISTS_MAX) {
		g->full = true;
		return;
	}
	if (i < g->n && !crl_is_behind(g->v[i], crl)) {
		g->left_out[i] = g->left_out[i] && left_out; /* another URL may give the same list */
		return;
	}
	g->n += i == g->n;
	g->v[i] = crl;
	g->this_ms[i] = this_ms;
	g->left_out[i] = left_out;
}

static void gather_fetched(struct gathering *g, const struct crl_list *l)
{
	gather(g, l->crl, l->this_ms, l->left_out);
}

/* The bundle, and its own lists. Workers look things up in that store meanwhile. false: memory is out. */
static bool copy_own(X509_STORE *from, X509_STORE *to, struct gathering *g)
{
	STACK_OF(X509_OBJECT) *all;
	bool ok = X509_STORE_lock(from) == 1;

	all = ok ? X509_STORE_get0_objects(from) : NULL;
	for (int i = 0; ok && i < sk_X509_OBJECT_num(all); i++) {
		X509_OBJECT *o = sk_X509_OBJECT_value(all, i);

		if (X509_OBJECT_get_type(o) == X509_LU_X509)
			ok = X509_STORE_add_cert(to, X509_OBJECT_get0_X509(o)) == 1;
		else if (X509_OBJECT_get_type(o) == X509_LU_CRL)
			gather(g, X509_OBJECT_get0_X509_CRL(o), 0, false);
	}
	if (all)
		X509_STORE_unlock(from);
	return ok;
}

static bool add_gathered(struct trust_domain *d, const struct gathering *g)
{
	int64_t next;

	d->crl_next_update_ms = d->crl_left_out_end_ms = INT64_MAX;
	d->crl_this_update_ms = 0;
	for (size_t i = 0; i < g->n; i++) {
		int64_t *end = g->left_out[i] ? &d->crl_left_out_end_ms : &d->crl_next_update_ms;

		if (!trust_time_ms(X509_CRL_get0_nextUpdate(g->v[i]), &next) || X509_STORE_add_crl(d->anchors, g->v[i]) != 1)
			return false;
		if (next >= *end)
			continue;
		*end = next;
		if (g->left_out[i])
			continue;
		d->crl_this_update_ms = g->this_ms[i];
	}
	return true;
}

/* d: the domain as it was; its store becomes one of its own. */
static bool fill(struct trust_domain *d, const struct trust_lists *l, struct gathering *g)
{
	X509_STORE *own = d->anchors;
	bool ok;

	d->anchors = X509_STORE_new();
	d->crl_missing = l->missing;
	d->crl_admit_until_ms = l->admit_until_ms;
	ok = d->anchors && copy_own(own, d->anchors, g);
	for (size_t i = 0; ok && i < l->n; i++)
		for (size_t k = 0; k < crls_count(l->of[i]); k++)
			gather_fetched(g, crls_at(l->of[i], k));
	ok = ok && !g->full && add_gathered(d, g);
	X509_STORE_free(own);
	return ok;
}

static const struct trust_lists *lists_of(const struct trust_lists *v, size_t n, const char *domain)
{
	for (size_t i = 0; i < n; i++)
		if (slice_is(slice_str(v[i].domain), domain))
			return &v[i];
	return NULL;
}

static bool add_domain(struct trust *t, const struct trust_domain *of, const struct trust_lists *l)
{
	struct gathering *g;
	bool ok;

	trust_take_domain(t, of);
	if (!l)
		return true;
	g = calloc(1, sizeof *g);
	ok = g && fill(&t->domains[t->n - 1], l, g);
	free(g);
	return ok;
}

/* ---- when the next list ends ---- */

static int64_t sooner(int64_t ms, int64_t than, int64_t after)
{
	return ms > after && ms < than ? ms : than;
}

static int64_t next_end(const struct trust_domain *d, int64_t after_ms, int64_t ms)
{
	STACK_OF(X509_OBJECT) *all = X509_STORE_lock(d->anchors) == 1 ? X509_STORE_get0_objects(d->anchors) : NULL;
	int64_t end;

	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509_OBJECT *o = sk_X509_OBJECT_value(all, i);

		if (X509_OBJECT_get_type(o) != X509_LU_CRL || !trust_time_ms(X509_CRL_get0_nextUpdate(X509_OBJECT_get0_X509_CRL(o)), &end))
			continue;
		ms = sooner(end, ms, after_ms);
		ms = sooner(end + d->crl_grace_ms, ms, after_ms);
	}
	if (all)
		X509_STORE_unlock(d->anchors);
	return ms;
}

int64_t trust_next_end_ms(const struct trust *t, int64_t after_ms)
{
	int64_t ms = INT64_MAX;

	for (size_t i = 0; i < t->n; i++) {
		const struct trust_domain *d = &t->domains[i];

		ms = next_end(d, after_ms, ms);
		if (d->crl_missing)
			ms = sooner(d->crl_admit_until_ms, ms, after_ms);
	}
	return ms;
}

struct trust *trust_with_lists(const struct trust *base, const struct trust_lists *v, size_t n, struct problem *why)
{
	struct trust *t = trust_alloc(base->n, why);

	for (size_t i = 0; t && i < base->n; i++) {
		if (!add_domain(t, &base->domains[i], lists_of(v, n, base->domains[i].name))) {
			problem_set(why, "out of memory");
			trust_unref(t);
			t = NULL;
		}
	}
	ERR_clear_error();
	return t;
}
