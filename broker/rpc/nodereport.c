/* What does a node tell the others of itself? See nodereport.h. */
#include "rpc/nodereport.h"

#include "base/arena.h"
#include "baton/internal/v1/node.pb-c.h"
#include "wire/prescan.h"

#define ARENA_MAX 16384
#define TIME_MAX INT64_C(253402300799999) /* the end of the year 9999 */

typedef Baton__Internal__V1__NodeReport report;

static const struct prescan_rules rules = {.max_depth = 1, .max_fields = 64};

size_t node_report_pack(const struct node_report *r, uint8_t out[STORE_REPORT_MAX])
{
	report m = BATON__INTERNAL__V1__NODE_REPORT__INIT;

	m.closed = r->closed;
	m.aside = r->aside;
	m.asked = r->asked;
	m.would_close = r->would_close;
	m.run = (char *)r->run;
	m.version = (char *)r->version;
	m.not_ready = r->not_ready;
	m.peers = r->peers;
	m.started_at_ms = r->started_at_ms;
	m.certificate_expires_at_ms = r->certificate_expires_at_ms;
	m.next_crl_expiry_ms = r->next_crl_expiry_ms;
	m.keys_good_until_ms = r->keys_good_until_ms;
	return baton__internal__v1__node_report__get_packed_size(&m) <= STORE_REPORT_MAX ? baton__internal__v1__node_report__pack(&m, out) : 0;
}

static bool is_time(int64_t at)
{
	return at >= 0 && at <= TIME_MAX;
}

static bool take(const report *m, struct node_report *out)
{
	if (!is_time(m->started_at_ms) || !is_time(m->certificate_expires_at_ms) || !is_time(m->next_crl_expiry_ms) || !is_time(m->keys_good_until_ms))
		return false;
	if (!slice_copy_str(slice_str(m->run), out->run, sizeof out->run) || !slice_copy_str(slice_str(m->version), out->version, sizeof out->version))
		return false;
	out->closed = m->closed;
	out->aside = m->aside;
	out->asked = m->asked;
	out->would_close = m->would_close;
	out->not_ready = m->not_ready;
	out->peers = m->peers;
	out->started_at_ms = m->started_at_ms;
	out->certificate_expires_at_ms = m->certificate_expires_at_ms;
	out->next_crl_expiry_ms = m->next_crl_expiry_ms;
	out->keys_good_until_ms = m->keys_good_until_ms;
	return true;
}

bool node_report_read(struct slice bytes, struct node_report *out)
{
	const ProtobufCMessageDescriptor *d = &baton__internal__v1__node_report__descriptor;
	struct arena *a = bytes.n <= STORE_REPORT_MAX ? arena_new(ARENA_MAX) : NULL;
	struct prescan_fault fault;
	const report *m = a ? (const report *)prescan_unpack(d, bytes, &rules, a, &fault) : NULL;
	bool good;

	*out = (struct node_report){0};
	good = m && take(m, out);
	if (!good)
		*out = (struct node_report){0};
	arena_free(a);
	return good;
}
