/* Whose tokens count, and has the broker their keys? An operator's add, list, show, remove, history and rollback. */
#include "config.h"

#include <string.h>

#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/pem.h"
#include "cli/resource.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "identity/dialect.h"

#define WIDTH 14
#define FILE_MAX (256 * 1024)

typedef Baton__V1__Issuer issuer;

static const char *const columns[] = {"NAME", "URL", "TENANTS", "KEYS", "GOOD-UNTIL", "ALGORITHMS", "BINDING", "VERSION"};

static const char *good_until(const struct cli *c, const issuer *s, char out[40])
{
	if (s->keys_good_until_ms)
		text_time(s->keys_good_until_ms, c->args.given[OPT_UTC], out);
	else
		snprintf(out, 40, "%s", s->keys ? "static" : "");
	return out;
}

static const char *or_else(const char *text, const char *otherwise)
{
	return *text ? text : otherwise;
}

static void add_row(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	const issuer *s = r->issuer;
	char text[40];

	table_cell(t, s->name);
	table_cell(t, s->url);
	resource_cell_words(t, s->tenants, s->n_tenants);
	snprintf(text, sizeof text, "%u", s->keys);
	table_cell(t, text);
	table_cell(t, good_until(c, s, text));
	if (t->n <= 5)
		return;
	resource_cell_words(t, s->algorithms, s->n_algorithms);
	table_cell(t, or_else(s->binding, "certificate"));
	table_cell(t, r->is_static ? "static" : r->version);
}

/* 0: what the broker does when nothing is said. */
static void line_seconds(const struct cli *c, const char *key, uint32_t s, uint32_t otherwise)
{
	char text[40];

	snprintf(text, sizeof text, "%u s", s ? s : otherwise);
	text_line(c->out, WIDTH, key, text);
}

static void line_names(const struct cli *c, const char *key, const char *names, const struct claim_names *otherwise)
{
	char text[CLAIM_NAMES_MAX * (CLAIM_NAME_MAX + 2)] = "";
	size_t at = 0;

	for (size_t i = 0; i < otherwise->n; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? " " : "", otherwise->name[i]);
	text_line(c->out, WIDTH, key, or_else(names, text));
}

/* What is not said is as the dialect has it. */
static void print_claims(const struct cli *c, const issuer *s)
{
	enum dialect d = dialect_from_text(slice_str(or_else(s->dialect, "standard")));
	struct claim_map preset;
	char text[256];

	dialect_preset(d < DIALECTS ? d : DIALECT_STANDARD, &preset);
	text_line(c->out, WIDTH, "tokens:", or_else(s->kind, "oidc"));
	text_line(c->out, WIDTH, "trust domain:", s->trust_domain);
	text_line(c->out, WIDTH, "dialect:", or_else(s->dialect, "standard"));
	text_line(c->out, WIDTH, "typ:", or_else(s->typ, preset.typ == TYP_JWT ? "jwt" : "at+jwt"));
	text_line(c->out, WIDTH, "tenant in:", or_else(s->tenant_claim, preset.tenant));
	for (size_t i = 0; i < s->n_tenant_values; i++) {
		snprintf(text, sizeof text, "%.130s is %.63s", s->tenant_values[i]->key, s->tenant_values[i]->value);
		text_line(c->out, WIDTH, "tenant:", text);
	}
	line_names(c, "client in:", s->client_claim, &preset.client);
	line_names(c, "scopes in:", s->scope_claim, &preset.scope);
	line_names(c, "id in:", s->jti_claim, &preset.jti);
	text_line(c->out, WIDTH, "user if:", or_else(s->user_claim, preset.user));
	text_line(c->out, WIDTH, "service if:", or_else(s->service_claim, preset.service));
}

static void print_introspection(const struct cli *c, const issuer *s)
{
	if (!*s->introspection_url)
		return;
	text_line(c->out, WIDTH, "asked at:", s->introspection_url);
	text_line(c->out, WIDTH, "asked as:", s->introspection_client_id);
	text_line(c->out, WIDTH, "asked with:", s->introspection_secret);
	text_line(c->out, WIDTH, "certificate:", s->introspection_cert);
	line_seconds(c, "answers for:", s->introspection_cache_s, 60);
	text_line(c->out, WIDTH, "unanswered:", s->introspection_failure);
}

static void print_one(const struct cli *c, const resource *r)
{
	const issuer *s = r->issuer;
	char text[48];

	text_line(c->out, WIDTH, "name:", s->name);
	text_line(c->out, WIDTH, "url:", s->url);
	text_line_words(c->out, WIDTH, "tenants:", s->tenants, s->n_tenants);
	if (s->n_audiences)
		text_line_words(c->out, WIDTH, "audiences:", s->audiences, s->n_audiences);
	if (s->n_algorithms)
		text_line_words(c->out, WIDTH, "algorithms:", s->algorithms, s->n_algorithms);
	else
		text_line(c->out, WIDTH, "algorithms:", "ES256 RS256 PS256 EdDSA, of JWT-SVIDs ES384 in the place of EdDSA");
	text_line(c->out, WIDTH, "binding:", or_else(s->binding, "certificate"));
	line_seconds(c, "max lifetime:", s->max_lifetime_s, 3600);
	print_claims(c, s);
	snprintf(text, sizeof text, "%u", s->keys);
	text_line(c->out, WIDTH, "keys:", s->keys ? text : "none yet: its tokens are refused");
	for (size_t i = 0; i < s->n_key_ids; i++)
		text_line(c->out, WIDTH, "key:", s->key_ids[i]);
	text_line(c->out, WIDTH, "good until:", good_until(c, s, text));
	if (s->keys_fetched_at_ms) {
		text_time(s->keys_fetched_at_ms, c->args.given[OPT_UTC], text);
		text_line(c->out, WIDTH, "fetched:", text);
	}
	text_line(c->out, WIDTH, "failed:", s->keys_failure);
	line_seconds(c, "refreshed:", s->keys_refresh_s, 300);
	line_seconds(c, "stale after:", s->keys_stale_s, 900);
	print_introspection(c, s);
	text_line(c->out, WIDTH, "private:", s->allow_private ? "its address may be" : "");
	resource_print_version(c, WIDTH, r);
}

static const char *const history_columns[] = {"VERSION", "CHANGED", "URL", "TENANTS", "BY", "REASON"};

static void add_version(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	char text[40];

	table_cell(t, r->version);
	text_time(r->updated_at_ms, c->args.given[OPT_UTC], text);
	table_cell(t, text);
	table_cell(t, r->removed ? "removed" : r->issuer->url);
	resource_cell_words(t, r->issuer->tenants, r->issuer->n_tenants);
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
}

static const char *name_of(const resource *r)
{
	return r->issuer->name;
}

static const struct resource_view view = {
	.kind = "issuer", .spec = BATON__V1__RESOURCE__SPEC_ISSUER, .lists = "baton issuer list shows all.", .stranger = "the broker's answer is no issuer",
	.columns = columns, .shown = 5, .wide = 8, .row = add_row, .history_columns = history_columns, .history_shown = 6, .history_wide = 6, .version = add_version,
	.name = name_of, .print = print_one,
};

int cmd_issuer_list(struct cli *c)
{
	return resource_list(c, &view);
}

int cmd_issuer_show(struct cli *c)
{
	return resource_show(c, &view);
}

int cmd_issuer_history(struct cli *c)
{
	return resource_history(c, &view);
}

int cmd_issuer_rollback(struct cli *c)
{
	return resource_rollback(c, &view);
}

/* ---- changes ---- */

static int put_files(struct cli *c, struct arena *arena, issuer *s)
{
	struct problem why = {""};
	struct slice text;
	int code = 0;

	if (c->args.given[OPT_KEYS_FILE]) {
		code = resource_file(c, OPT_KEYS_FILE, FILE_MAX, arena, &text);
		s->jwks.data = (uint8_t *)(uintptr_t)text.p;
		s->jwks.len = text.n;
	}
	if (!code && c->args.given[OPT_ISSUER_CA]) {
		code = resource_file(c, OPT_ISSUER_CA, FILE_MAX, arena, &text);
		if (!code && pem_all(text, PEM_CERTIFICATE, arena, &s->ca_der, &s->n_ca_der, &why) < 0)
			code = complain(c, EXIT_MALFORMED, c->args.text[OPT_ISSUER_CA], why.text, NULL);
	}
	return code;
}

/* What the flags say, put over what s has. 0, or the exit code. */
static int put_flags(struct cli *c, struct arena *arena, issuer *s)
{
	const struct { enum opt o; char **to; } texts[] = {
		{OPT_URL, &s->url}, {OPT_TENANT_CLAIM, &s->tenant_claim}, {OPT_CLIENT_CLAIM, &s->client_claim}, {OPT_SCOPE_CLAIM, &s->scope_claim},
		{OPT_USER_CLAIM, &s->user_claim}, {OPT_SERVICE_CLAIM, &s->service_claim}, {OPT_JTI_CLAIM, &s->jti_claim}, {OPT_TRUST_DOMAIN, &s->trust_domain},
		{OPT_TOKENS, &s->kind}, {OPT_DIALECT, &s->dialect}, {OPT_TYP, &s->typ}, {OPT_TOKEN_BINDING, &s->binding},
		{OPT_ASK_URL, &s->introspection_url}, {OPT_ASK_CLIENT, &s->introspection_client_id}, {OPT_ASK_SECRET, &s->introspection_secret},
		{OPT_ASK_CERT, &s->introspection_cert},
	};
	const struct { enum opt o; uint32_t *to; } spans[] = {
		{OPT_MAX_LIFETIME, &s->max_lifetime_s}, {OPT_KEYS_REFRESH, &s->keys_refresh_s}, {OPT_KEYS_STALE, &s->keys_stale_s},
		{OPT_ASK_CACHE, &s->introspection_cache_s},
	};
	int code;

	if (c->args.given[OPT_ASK_URL] && !*admin_text(c, OPT_ASK_URL)) {
		s->introspection_client_id = s->introspection_secret = s->introspection_cert = (char *)protobuf_c_empty_string;
		s->introspection_cache_s = 0;
	}
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (c->args.given[texts[i].o])
			*texts[i].to = admin_text(c, texts[i].o);
	for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++)
		if (c->args.given[spans[i].o])
			*spans[i].to = (uint32_t)(c->args.number[spans[i].o] / 1000);
	admin_list(c, OPT_SPEAKS_FOR, arena, &s->tenants, &s->n_tenants);
	admin_list(c, OPT_COUNTS_FOR, arena, &s->audiences, &s->n_audiences);
	admin_list(c, OPT_ALGORITHM, arena, &s->algorithms, &s->n_algorithms);
	if (c->args.given[OPT_ALLOW_PRIVATE])
		s->allow_private = c->args.number[OPT_ALLOW_PRIVATE] == 0;
	code = admin_pairs(c, OPT_TENANT_VALUE, &baton__v1__issuer__tenant_values_entry__descriptor, true, "VALUE=TENANT", arena,
			   (ProtobufCMessage ***)&s->tenant_values, &s->n_tenant_values);
	return code ? code : put_files(c, arena, s);
}

/* What is there under the name is changed where the flags say so. */
int cmd_issuer_add(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource made = BATON__V1__RESOURCE__INIT, *r;
	issuer s = BATON__V1__ISSUER__INIT;
	char *reason;
	int code;

	made.spec_case = view.spec;
	made.issuer = &s;
	s.name = (char *)(uintptr_t)c->words[0];
	r = resource_begin(c, &view, arena, &reason, &made, &code);
	if (r == &made && !(c->args.given[OPT_URL] && c->args.given[OPT_SPEAKS_FOR]))
		code = complain_usage(c, "`issuer add` needs --url, what iss is in its tokens, and --tenant, whom it speaks for; there is no issuer %.64s yet", s.name);
	if (!code)
		code = put_flags(c, arena, r->issuer);
	if (!code)
		code = resource_apply(c, arena, r, reason);
	arena_free(arena);
	return code;
}

/* ---- their keys ---- */

/* What came of it is shown; no keys, or a fetch that failed, is a no. */
int cmd_issuer_test(struct cli *c)
{
	const Baton__V1__ResourceRef q = resource_ref(c, &view);
	struct arena *arena = arena_new(ADMIN_ARENA);
	int code = arena ? admin_connect(c) : EXIT_BUG;
	resource *r = code ? NULL : admin_ask(c, ADMIN_RESOURCE "TestIssuer", &q.base, &baton__v1__resource__descriptor, arena, &code);

	if (r && r->spec_case == view.spec && r->issuer) {
		resource_print(c, &view, r);
		if (*r->issuer->keys_failure)
			code = complain(c, EXIT_NO, "the keys cannot be fetched", r->issuer->keys_failure, r->issuer->keys ? "The last ones serve until the time above." : "Its tokens are refused until they can.");
		else if (!r->issuer->keys)
			code = complain(c, EXIT_NO, "there are no keys yet", NULL, "Try again in a moment.");
	}
	arena_free(arena);
	return code;
}

int cmd_issuer_refresh(struct cli *c)
{
	Baton__V1__RefreshKeysRequest q = BATON__V1__REFRESH_KEYS_REQUEST__INIT;
	Baton__V1__ResourceRef ref = resource_ref(c, &view);
	struct arena *arena = arena_new(ADMIN_ARENA);
	Baton__V1__ApplyResponse *m = NULL;
	int code = arena ? admin_reason(c, &q.reason) : EXIT_BUG;

	q.issuer = &ref;
	if (!code)
		code = admin_connect(c);
	if (!code)
		m = admin_ask(c, ADMIN_RESOURCE "RefreshKeys", &q.base, &baton__v1__apply_response__descriptor, arena, &code);
	if (m)
		code = admin_tell(c, m);
	arena_free(arena);
	return code;
}

int cmd_issuer_remove(struct cli *c)
{
	return resource_remove(c, &view, "all its tokens are refused then");
}
