/* What does a revocation say? See revoked.h. A table of kinds: what each names, and what may be said of it. */
#include "rpc/revoked.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/words.h"
#include "identity/peer.h"
#include "rpc/unpacked.h"

#define SUBJECT_MAX 2048
#define KID_MAX 256
#define WHATEVER (-1)

#define CASE(k) BATON__V1__REVOKE_REQUEST__TARGET_##k

enum name_form { FORM_REF_IN_TENANT, FORM_ISSUER, FORM_DIGEST, FORM_NAME, FORM_TEXT };
enum scope_of { SCOPE_NONE, SCOPE_ISSUER, SCOPE_TENANT };

static const struct kind {
	Baton__V1__RevokeRequest__TargetCase target;
	enum revoked_kind kind;
	enum name_form form;
	enum scope_of scope;       /* what `within` may name */
	bool dated;                /* issued_before_ms may be given */
	size_t max;
	const char *field;
} kinds[] = {
	{CASE(AGENT), REVOKED_AGENT, FORM_REF_IN_TENANT, SCOPE_NONE, true, 0, "agent"},
	{CASE(CERTIFICATE_SHA256), REVOKED_CERTIFICATE, FORM_DIGEST, SCOPE_NONE, false, 0, "certificate_sha256"},
	{CASE(JTI), REVOKED_JTI, FORM_TEXT, SCOPE_ISSUER, false, KID_MAX, "jti"},
	{CASE(SUBJECT), REVOKED_SUBJECT, FORM_TEXT, SCOPE_ISSUER, true, SUBJECT_MAX, "subject"},
	{CASE(ISSUER), REVOKED_ISSUER, FORM_ISSUER, SCOPE_NONE, true, 0, "issuer"},
	{CASE(KEY_ID), REVOKED_KEY, FORM_TEXT, SCOPE_ISSUER, true, KID_MAX, "key_id"},
	{CASE(TENANT), REVOKED_TENANT, FORM_NAME, SCOPE_NONE, false, 0, "tenant"},
	{CASE(ROUTE), REVOKED_ROUTE, FORM_REF_IN_TENANT, SCOPE_NONE, false, 0, "route"},
	{CASE(TOOL), REVOKED_TOOL, FORM_NAME, SCOPE_TENANT, false, 0, "tool"},
	{CASE(TOKEN_SHA256), REVOKED_TOKEN, FORM_DIGEST, SCOPE_NONE, false, 0, "token_sha256"},
};

static const struct kind *kind_of(const pb_revocation *m)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (kinds[i].target == m->target_case)
			return &kinds[i];
	return NULL;
}

/* The target's own text; of a ref its name. The members share their place, by kind of pointer. */
static char **text_of(pb_revocation *m, const struct kind *k)
{
	switch (k->form) {
	case FORM_REF_IN_TENANT:
	case FORM_ISSUER:
		return m->agent ? &m->agent->name : NULL;
	default:
		return &m->certificate_sha256;
	}
}

struct slice revoked_name(const char *id, char out[REVOKED_NAME_MAX])
{
	int n = snprintf(out, REVOKED_NAME_MAX, REVOKED_PREFIX "%.*s", REVOKED_ID_TEXT, id);

	return slice_of(out, (size_t)n);
}

/* ---- what may be asked ---- */

/* 64 hex digits, with or without colons, or base64url. */
static bool digest_read(const char *text, uint8_t out[SHA256_BYTES])
{
	char hex[2 * SHA256_BYTES + 1];
	size_t n = 0;

	if (b64url_decode(slice_str(text), out, SHA256_BYTES) == SHA256_BYTES)
		return true;
	for (const char *p = text; *p; p++) {
		if (*p == ':')
			continue;
		if (n == 2 * SHA256_BYTES)
			return false;
		hex[n++] = *p >= 'A' && *p <= 'F' ? (char)(*p - 'A' + 'a') : *p;
	}
	return hex_decode_lower(slice_of(hex, n), out, SHA256_BYTES) == SHA256_BYTES;
}

static const char *name_wrong(const struct kind *k, const char *text)
{
	uint8_t digest[SHA256_BYTES];

	switch (k->form) {
	case FORM_DIGEST:
		return digest_read(text, digest) ? NULL : "a SHA-256: 64 hex digits, or 43 characters of base64url";
	case FORM_ISSUER: /* or what iss is: looked for among the issuers */
		return *text && strlen(text) < ISSUER_ID_MAX && utf8_is_text(slice_str(text)) ? NULL : "it is empty, too long, or has control characters";
	case FORM_TEXT:
		return *text && strlen(text) <= k->max && utf8_is_text(slice_str(text)) ? NULL : "it is empty, too long, or has control characters";
	default:
		return name_valid(slice_str(text)) ? NULL : "a name is [a-z0-9][a-z0-9._-]{0,62}";
	}
}

static const char *within_wrong(const struct kind *k, const char *within)
{
	if (!*within || k->form == FORM_ISSUER) /* whose URL stands there when it is kept */
		return NULL;
	if (k->scope == SCOPE_NONE)
		return "this kind stands by itself: leave it out";
	if (k->scope == SCOPE_TENANT)
		return name_valid(slice_str(within)) ? NULL : "a tenant's name is [a-z0-9][a-z0-9._-]{0,62}";
	return NULL; /* looked for among the issuers */
}

const char *revoked_wrong(const pb_revocation *m, const char **field)
{
	const struct kind *k = kind_of(m);
	char *const *text = k ? text_of((pb_revocation *)m, k) : NULL;
	const char *wrong = !text ? "say what is revoked: an agent, a certificate, a token, a subject, an issuer, a key, a tenant, a route or a tool" : name_wrong(k, *text);

	*field = k ? k->field : "target";
	if (wrong)
		return wrong;
	if (k->form == FORM_REF_IN_TENANT && !name_valid(slice_str(m->agent->tenant)))
		return "its tenant: [a-z0-9][a-z0-9._-]{0,62}";
	*field = "within";
	wrong = within_wrong(k, m->within);
	if (wrong)
		return wrong;
	*field = "issued_before_ms";
	if (m->issued_before_ms && !k->dated)
		return "what this names was issued once, or never: leave it out";
	if (m->issued_before_ms < WHATEVER)
		return "a time after 1970, 0, or -1";
	*field = "until_ms";
	return m->until_ms < 0 ? "a time after 1970, or 0 for good" : NULL;
}

/* By name, or as tokens have it: then it need not be there any more, for what it once signed may still be under way. NULL: neither. */
static const char *issuer_of(const struct issuers *issuers, const char *name, char out[ISSUER_ID_MAX])
{
	const char *domain = strncmp(name, "spiffe://", 9) == 0 ? name + 9 : NULL;

	for (size_t i = 0; i < issuers_count(issuers); i++) {
		const struct issuer_rule *r = &issuers_at(issuers, i)->rule;

		if (strcmp(r->name, name) == 0 || strcmp(r->url, name) == 0)
			return issuer_id(r, out);
	}
	return (domain && !trust_domain_wrong(domain)) || (!issuer_url_wrong(name) && strlen(name) < ISSUER_ID_MAX) ? name : NULL;
}

const char *revoked_settle(struct arena *a, pb_revocation *m, const struct issuers *issuers, int64_t now_ms, int64_t skew_ms, const char **field)
{
	const struct kind *k = kind_of(m);
	char **text = text_of(m, k);
	const char *url = NULL;
	char id[ISSUER_ID_MAX];

	if (k->form == FORM_DIGEST) {
		uint8_t digest[SHA256_BYTES];
		char *b64 = arena_alloc(a, B64URL_LEN(SHA256_BYTES) + 1);

		if (!b64 || !digest_read(*text, digest))
			return "out of memory";
		b64url_encode(digest, sizeof digest, b64);
		*text = b64;
	}
	*field = "within";
	if (k->form == FORM_ISSUER || (k->scope == SCOPE_ISSUER && *m->within)) {
		*field = k->form == FORM_ISSUER ? k->field : "within";
		url = issuer_of(issuers, k->form == FORM_ISSUER ? *text : m->within, id);
		if (!url)
			return "no issuer of this name, and nothing that iss could be: of one that was removed give what iss was in its tokens, of JWT-SVIDs spiffe:// and the trust domain";
		m->within = arena_strdup(a, url);
	}
	if (k->dated && !m->issued_before_ms) /* an issuer's clock may be ahead by the skew that is allowed */
		m->issued_before_ms = k->kind == REVOKED_SUBJECT ? now_ms + skew_ms : WHATEVER;
	return m->within ? NULL : "out of memory";
}

/* ---- as it is kept ---- */

void revoked_entry(const pb_revocation *m, struct revocation *out)
{
	const struct kind *k = kind_of(m);
	const char *text = *text_of((pb_revocation *)m, k);

	*out = (struct revocation){
		.id = m->id, .kind = k->kind,
		.within = k->form == FORM_REF_IN_TENANT ? m->agent->tenant : k->form == FORM_ISSUER ? "" : m->within,
		.what = k->form == FORM_ISSUER ? m->within : text,
		.issued_before_ms = m->issued_before_ms > 0 ? m->issued_before_ms : INT64_MAX,
		.until_ms = m->until_ms > 0 ? m->until_ms : INT64_MAX,
	};
}

const char *revoked_text(struct arena *a, const pb_revocation *m)
{
	const struct kind *k = kind_of(m);
	const char *text = *text_of((pb_revocation *)m, k);

	if (k->form == FORM_REF_IN_TENANT)
		return arena_printf(a, "%s %s/%s", revoked_kind_text(k->kind), m->agent->tenant, text);
	return arena_printf(a, "%s %s%s%s", revoked_kind_text(k->kind), text, *m->within && k->form != FORM_ISSUER ? " within " : "",
			    k->form != FORM_ISSUER ? m->within : "");
}

pb_revocation *revoked_unpack(struct arena *a, const struct resource *r)
{
	Baton__V1__Resource *m = resource_unpack(a, r, BATON__V1__RESOURCE__SPEC_REVOCATION);
	const char *field;

	return m && !revoked_wrong(m->revocation, &field) ? m->revocation : NULL;
}

int64_t revoked_forget_after_ms(struct arena *a, const struct resource *r)
{
	const pb_revocation *m = r->removed ? NULL : revoked_unpack(a, r);

	return m && m->until_ms > 0 && m->until_ms <= CLOCK_LAST_MS && !m->lifted_with_release ? m->until_ms + REVOKED_SHOWN_MS : INT64_MAX;
}

struct revocations *revoked_alone(const pb_revocation *m)
{
	struct revocations *out = revocations_new();
	struct revocation v;

	revoked_entry(m, &v);
	v.until_ms = INT64_MAX;
	if (!out || revocations_add(out, &v))
		return out;
	revocations_unref(out);
	return NULL;
}

/* false: out of memory, or it cannot be read, by a version older than the one that wrote it: then nobody knows what is revoked. */
static bool add(struct revocations *out, struct arena *a, const struct resource *r)
{
	pb_revocation *m = r->removed ? NULL : revoked_unpack(a, r);
	struct revocation v;

	if (!m && !r->removed) {
		log_event(LOG_ERROR, "revocation.unreadable", F_SLICE("resource", r->name),
			  F_STR("remedy", "was it made by a newer broker? This one serves nobody until it can be read"));
		return false;
	}
	if (!m)
		return true;
	revoked_entry(m, &v);
	if (!revocations_keep(out, revocation_tenant(&v)))
		return false;
	return m->lifted_at_ms || (m->until_ms && m->until_ms <= clock_unix_ms()) || revocations_add(out, &v);
}

struct revocations *revoked_read(const struct resources *s)
{
	const struct slice prefix = SLICE_LIT(REVOKED_PREFIX);
	struct revocations *out = revocations_new();
	struct arena *a = arena_new(1u << 20);
	bool ok = out && a;

	for (size_t i = resources_place(s, prefix); ok && i < resources_count(s); i++) {
		const struct resource *r = resources_at(s, i);

		if (!slice_begins(r->name, prefix))
			break;
		ok = add(out, a, r);
		arena_reset(a);
	}
	if (a)
		arena_free(a);
	if (ok)
		return out;
	revocations_unref(out);
	return NULL;
}

/* ---- who and what is judged ---- */

struct revocable revoked_peer(const struct world *w, const struct identity_peer *p)
{
	const struct agent *a = registry_by_spiffe(w->registry, p->spiffe_id);

	return (struct revocable){.tenant = a ? a->tenant : NULL, .agent = a ? a->name : NULL, .certificate = p->x5t_s256, .certificate_twin = p->x5t_twin, .certificate_issued_at_ms = p->not_before_ms};
}

struct revocable revoked_claims(const char *tenant, const struct claims *c)
{
	return (struct revocable){.tenant = tenant, .issuer = c->issuer, .subject = c->subject, .jti = c->jti, .key_id = c->key_id,
		.token_sha256 = c->token_sha256, .token_issued_at_ms = c->issued_at_ms};
}

struct revocable revoked_task(const pb_task *t, const char *tool)
{
	return (struct revocable){.tenant = t->tenant, .agent = t->sender, .certificate = t->certificate_sha256, .certificate_twin = t->certificate_twin,
		.certificate_issued_at_ms = t->certificate_issued_at_ms, .issuer = t->issuer, .subject = t->subject, .jti = t->jti, .key_id = t->token_key_id,
		.token_sha256 = t->token_sha256.len == SHA256_BYTES ? t->token_sha256.data : NULL, .token_issued_at_ms = t->token_issued_at_ms,
		.route = t->route, .tool = tool};
}

struct verdict revoked_judge(const struct world *w, const struct revocable *of)
{
	const struct revocation *v = revocations_count(w->revocations) ? revocations_find(w->revocations, of, clock_unix_ms()) : NULL;

	if (!v)
		return verdict_allow();
	return verdict_deny(REASON_REVOKED, revoked_kind_text(v->kind), "this %s was revoked (%s): ask whoever operates the broker", revoked_kind_text(v->kind), v->id);
}
