/* What do the tokens of each provider look like, as it comes? One row each, of what the providers' own reference pages say:
 *
 * entra     header typ JWT always. Client: azp in v2.0 tokens, appid in v1.0 ones. Rights: scp, one string, of a user's token; roles, an
 *           array, of an application's own, which never has scp. tid is the directory's GUID; uti stands for jti.
 * okta      a custom authorization server writes no typ. cid; scp, an array; uid where there is a user. A client's own token has cid for sub.
 * keycloak  header typ JWT, or at+jwt where the client is set so ("Use at+jwt as access token header type"); payload typ Bearer, ID, Refresh.
 *           azp. sub of a client's own token is the id of its service account, so sub tells nothing: such a token has client_id and
 *           no session, a user's has one (sid).
 * auth0     two profiles: its own has typ JWT, azp and no jti, that of RFC 9068 has at+jwt, client_id and jti. sub of a client's own
 *           token is its id with @clients behind it. Claims of one's own are named by a URL.
 *
 * typ is at+jwt wherever the provider can write it (RFC 8725, 3.11: explicit typing), for then nothing need be guessed. */
#include "identity/dialect.h"

#include <string.h>

static const struct row {
	const char *text;
	enum token_typ typ;
	const char *client, *scope, *jti; /* with spaces between */
	bool jti_optional;
	const char *tenant, *user, *service, *self_suffix;
	bool says_bearer;
} rows[DIALECTS] = {
	[DIALECT_STANDARD] = {"standard", TYP_AT_JWT, "client_id", "scope", "jti", false, "tenant", "", "", "", false},
	[DIALECT_ENTRA] = {"entra", TYP_JWT, "azp appid", "scp roles", "jti uti", false, "tid", "scp", "", "", false},
	[DIALECT_OKTA] = {"okta", TYP_JWT, "cid", "scp", "jti", false, "tenant", "uid", "", "", false},
	[DIALECT_KEYCLOAK] = {"keycloak", TYP_AT_JWT, "azp", "scope", "jti", false, "tenant", "sid", "client_id", "", true},
	[DIALECT_AUTH0] = {"auth0", TYP_AT_JWT, "client_id azp", "scope", "jti", true, "tenant", "", "", "@clients", false},
};
static const char *const typs[TOKEN_TYPS] = {[TYP_AT_JWT] = "at+jwt", [TYP_JWT] = "jwt"};

enum dialect dialect_from_text(struct slice text)
{
	enum dialect d = 0;

	while (d < DIALECTS && !slice_is(text, rows[d].text))
		d++;
	return d;
}

enum token_typ token_typ_from_text(struct slice text)
{
	enum token_typ t = 0;

	while (t < TOKEN_TYPS && !slice_is(text, typs[t]))
		t++;
	return t;
}

const char *dialect_text(enum dialect d)
{
	return rows[d].text;
}

static void set(char out[CLAIM_NAME_MAX + 1], const char *text, size_t n)
{
	slice_copy_str(slice_of(text, n), out, CLAIM_NAME_MAX + 1);
}

static void set_names(struct claim_names *out, const char *words)
{
	for (size_t n; (n = strcspn(words, " ")); words += n + (words[n] == ' '))
		set(out->name[out->n++], words, n);
}

void dialect_preset(enum dialect d, struct claim_map *out)
{
	const struct row *r = &rows[d];

	memset(out, 0, sizeof *out);
	out->dialect = d;
	out->typ = r->typ;
	set_names(&out->client, r->client);
	set_names(&out->scope, r->scope);
	set_names(&out->jti, r->jti);
	out->jti_optional = r->jti_optional;
	set(out->tenant, r->tenant, strlen(r->tenant));
	set(out->user, r->user, strlen(r->user));
	set(out->service, r->service, strlen(r->service));
}

const char *dialect_self_suffix(enum dialect d)
{
	return rows[d].self_suffix;
}

bool dialect_says_bearer(enum dialect d)
{
	return rows[d].says_bearer;
}
