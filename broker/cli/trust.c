/* Whose signatures vouch for which certificates? An operator's add, list, show, remove, history and rollback of trust bundles. */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/pem.h"
#include "cli/resource.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "client/certinfo.h"

#define WIDTH 14
#define FILE_MAX (1024 * 1024)

typedef Baton__V1__TrustBundle bundle;

static const char *const columns[] = {"TRUST-DOMAIN", "ANCHORS", "CRL-UNTIL", "VERSION", "BY", "REASON", "CRL-URLS", "OCSP-URL"};

static const char *crl_until(const struct cli *c, const bundle *b, char out[40])
{
	if (b->crl_next_update_ms)
		text_time(b->crl_next_update_ms, c->args.given[OPT_UTC], out);
	else
		snprintf(out, 40, b->n_crl_urls || *b->crls_failure ? "none yet" : "no CRL");
	return out;
}

static void add_row(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	char text[40];

	(void)arena;
	table_cell(t, r->bundle->trust_domain);
	snprintf(text, sizeof text, "%u", r->bundle->anchors);
	table_cell(t, text);
	table_cell(t, crl_until(c, r->bundle, text));
	table_cell(t, r->is_static ? "static" : r->version);
	if (t->n <= 4)
		return;
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
	snprintf(text, sizeof text, "%zu", r->bundle->n_crl_urls);
	table_cell(t, text);
	table_cell(t, r->bundle->ocsp_url);
}

static void print_cert(const struct cli *c, const char *key, const ProtobufCBinaryData *der)
{
	struct certinfo info;
	char until[40], text[400];

	if (!certinfo_der(slice_of(der->data, der->len), &info))
		return;
	text_time(info.not_after_ms, c->args.given[OPT_UTC], until);
	snprintf(text, sizeof text, "%s, until %s, x5t#S256 %s", info.subject, until, info.x5t_s256);
	text_line(c->out, WIDTH, key, text);
}

/* What is not said is as it is anyhow. */
static void print_responder(const struct cli *c, const bundle *b)
{
	const struct { const char *key; uint32_t s; } spans[] = {{"ocsp max age:", b->ocsp_max_age_s}, {"ocsp stale:", b->ocsp_stale_s}};
	char text[40];

	text_line(c->out, WIDTH, "ocsp url:", b->ocsp_url);
	for (size_t i = 0; i < b->n_ocsp_ca_der; i++)
		print_cert(c, "ocsp ca:", &b->ocsp_ca_der[i]);
	text_line(c->out, WIDTH, "ocsp cert id:", b->ocsp_cert_id);
	text_line(c->out, WIDTH, "ocsp nonce:", b->ocsp_nonce);
	for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
		snprintf(text, sizeof text, "%" PRIu32 " s", spans[i].s);
		text_line(c->out, WIDTH, spans[i].key, spans[i].s ? text : "");
	}
	text_line(c->out, WIDTH, "no answer:", b->ocsp_failure);
}

static void print_one(const struct cli *c, const resource *r)
{
	const bundle *b = r->bundle;
	char text[40];

	text_line(c->out, WIDTH, "trust domain:", b->trust_domain);
	snprintf(text, sizeof text, "%u", b->anchors);
	text_line(c->out, WIDTH, "anchors:", b->anchors ? text : "none: its certificates are refused");
	for (size_t i = 0; i < b->n_anchors_der; i++)
		print_cert(c, "anchor:", &b->anchors_der[i]);
	text_line(c->out, WIDTH, "crl until:", crl_until(c, b, text));
	for (size_t i = 0; i < b->n_crl_urls; i++)
		text_line(c->out, WIDTH, "crl url:", b->crl_urls[i]);
	for (size_t i = 0; i < b->n_crl_ca_der; i++)
		print_cert(c, "crl ca:", &b->crl_ca_der[i]);
	if (b->crls_fetched_at_ms) {
		text_time(b->crls_fetched_at_ms, c->args.given[OPT_UTC], text);
		text_line(c->out, WIDTH, "fetched:", text);
	}
	text_line(c->out, WIDTH, "not fetched:", b->crls_failure);
	print_responder(c, b);
	resource_print_version(c, WIDTH, r);
}

static const char *const history_columns[] = {"VERSION", "CHANGED", "ANCHORS", "CRLS", "BY", "REASON"};

static void add_version(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	char text[40];

	(void)arena;
	table_cell(t, r->version);
	text_time(r->updated_at_ms, c->args.given[OPT_UTC], text);
	table_cell(t, text);
	snprintf(text, sizeof text, "%zu", r->bundle->n_anchors_der);
	table_cell(t, r->removed ? "removed" : text);
	snprintf(text, sizeof text, "%zu", r->bundle->n_crls_der);
	table_cell(t, text);
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
}

static const char *name_of(const resource *r)
{
	return r->bundle->trust_domain;
}

static const struct resource_view view = {
	.kind = "trust", .spec = BATON__V1__RESOURCE__SPEC_BUNDLE, .lists = "baton trust list shows all.", .stranger = "the broker's answer is no trust bundle",
	.columns = columns, .shown = 4, .wide = 8, .row = add_row, .history_columns = history_columns, .history_shown = 6, .history_wide = 6, .version = add_version,
	.name = name_of, .print = print_one,
};

int cmd_trust_list(struct cli *c)
{
	return resource_list(c, &view);
}

int cmd_trust_show(struct cli *c)
{
	return resource_show(c, &view);
}

int cmd_trust_history(struct cli *c)
{
	return resource_history(c, &view);
}

int cmd_trust_rollback(struct cli *c)
{
	return resource_rollback(c, &view);
}

/* ---- changes ---- */

/* The file's, in the place of what b has. 0, or the exit code. */
static int put_file(struct cli *c, enum opt o, const char *label, struct arena *arena, ProtobufCBinaryData **v, size_t *n)
{
	struct problem why = {""};
	struct slice text;
	int code = c->args.given[o] ? resource_file(c, o, FILE_MAX, arena, &text) : 0;

	if (code || !c->args.given[o])
		return code;
	return pem_all(text, label, arena, v, n, &why) < 0 ? complain(c, EXIT_MALFORMED, c->args.text[o], why.text, NULL) : 0;
}

/* What is said of a responder is of this one alone. */
static void forget_responder(bundle *b)
{
	b->n_ocsp_ca_der = 0;
	b->ocsp_cert_id = b->ocsp_nonce = (char *)protobuf_c_empty_string;
	b->ocsp_max_age_s = b->ocsp_stale_s = 0;
}

static int put_responder(struct cli *c, struct arena *arena, bundle *b)
{
	const struct { enum opt o; char **to; } texts[] = {{OPT_OCSP_URL, &b->ocsp_url}, {OPT_OCSP_CERT_ID, &b->ocsp_cert_id}, {OPT_OCSP_NONCE, &b->ocsp_nonce}};
	const struct { enum opt o; uint32_t *to; } spans[] = {{OPT_OCSP_MAX_AGE, &b->ocsp_max_age_s}, {OPT_OCSP_STALE, &b->ocsp_stale_s}};

	if (c->args.given[OPT_OCSP_URL] && !*admin_text(c, OPT_OCSP_URL))
		forget_responder(b);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (c->args.given[texts[i].o])
			*texts[i].to = admin_text(c, texts[i].o);
	for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++)
		if (c->args.given[spans[i].o])
			*spans[i].to = (uint32_t)(c->args.number[spans[i].o] / 1000);
	return put_file(c, OPT_OCSP_CA, PEM_CERTIFICATE, arena, &b->ocsp_ca_der, &b->n_ocsp_ca_der);
}

/* What is there is changed where the flags say so. */
int cmd_trust_add(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource made = BATON__V1__RESOURCE__INIT, *r;
	bundle b = BATON__V1__TRUST_BUNDLE__INIT;
	char *reason;
	int code;

	made.spec_case = view.spec;
	made.bundle = &b;
	b.trust_domain = (char *)(uintptr_t)c->words[0];
	r = resource_begin(c, &view, arena, &reason, &made, &code);
	if (r == &made && !c->args.given[OPT_BUNDLE])
		code = complain_usage(c, "`trust add` needs --bundle, the CAs of the trust domain; there is none of %.200s yet", b.trust_domain);
	if (!code)
		code = put_file(c, OPT_BUNDLE, PEM_CERTIFICATE, arena, &r->bundle->anchors_der, &r->bundle->n_anchors_der);
	if (!code)
		code = put_file(c, OPT_CRL, PEM_CRL, arena, &r->bundle->crls_der, &r->bundle->n_crls_der);
	if (!code)
		admin_list(c, OPT_CRL_URL, arena, &r->bundle->crl_urls, &r->bundle->n_crl_urls);
	if (!code && c->args.given[OPT_CRL_URL] && !r->bundle->n_crl_urls)
		r->bundle->n_crl_ca_der = 0; /* they are for these servers alone */
	if (!code)
		code = put_file(c, OPT_CRL_CA, PEM_CERTIFICATE, arena, &r->bundle->crl_ca_der, &r->bundle->n_crl_ca_der);
	if (!code)
		code = put_responder(c, arena, r->bundle);
	if (!code)
		code = resource_apply(c, arena, r, reason);
	arena_free(arena);
	return code;
}

int cmd_trust_remove(struct cli *c)
{
	return resource_remove(c, &view, "all its certificates are refused then, and their connections close");
}
