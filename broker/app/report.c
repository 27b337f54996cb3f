/* What does this node tell of itself? What the others hear each second, and who asks this one. */
#include "app/node_priv.h"

/* Once all workers have counted, for the same question. */
static void add_would_close(const struct node *n, struct node_report *r)
{
	uint64_t asked = atomic_load(&n->workers[0].asked), sum = 0;

	for (unsigned i = 0; i < n->n_workers; i++) {
		const struct node_worker *w = &n->workers[i];

		if (atomic_load(&w->asked) != asked)
			return;
		sum += atomic_load(&w->would_close);
		if (atomic_load(&w->asked) != asked) /* it has begun to answer the next one */
			return;
	}
	r->asked = asked;
	r->would_close = sum;
}

/* The earliest; 0 = there is none. */
static int64_t earlier(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static int64_t next_crl_expiry(const struct node *n)
{
	int64_t at = 0;

	for (size_t i = 0; i < trust_count(n->trust); i++) {
		int64_t end = trust_state(n->trust, i).crl_next_update_ms;

		at = earlier(at, end < INT64_MAX ? end : 0);
	}
	return at;
}

static int64_t keys_good_until(const struct node *n)
{
	const struct issuers *all = n->world->issuers;
	int64_t at = 0;

	for (size_t i = 0; i < issuers_count(all); i++) {
		const struct issuer_entry *e = issuers_at(all, i);

		at = earlier(at, e->keys && e->keys_good_until_ms < INT64_MAX ? e->keys_good_until_ms : 0);
	}
	return at;
}

struct node_report report_now(const struct node *n)
{
	struct node_report r = {
		.closed = atomic_load(&n->closed), .aside = atomic_load(&n->aside), .not_ready = health_missing(n->health), .peers = (uint64_t)atomic_load(&n->peers), .started_at_ms = n->started_at_ms,
		.certificate_expires_at_ms = tls_server_not_after_ms(n->tls), .next_crl_expiry_ms = next_crl_expiry(n), .keys_good_until_ms = keys_good_until(n),
	};

	add_would_close(n, &r);
	slice_copy_str(slice_str(n->run), r.run, sizeof r.run);
	slice_copy_str(slice_str(n->version), r.version, sizeof r.version);
	return r;
}
