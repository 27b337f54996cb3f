/* What does a token say, and would it be accepted? `show` prints it unverified, `verify` judges it with the
 * broker's own verifier: form, header, issuer, signature, required claims, lifetime (at most 24 h), exp, nbf,
 * audience, and with --cert that it is bound to that certificate. --dialect and --typ say how the issuer's tokens
 * are read. A bound token without --cert is refused (token_binding). Tenant, client, scopes and revocation are the broker's to judge. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "cli/tokentext.h"
#include "client/certinfo.h"
#include "identity/token.h"

#define JWKS_MAX (256 * 1024)
#define VERIFY_ARENA (1024 * 1024)
#define LIFETIME_MAX_MS (24 * 3600 * 1000LL)
#define LEEWAY_MS 30000

static void trim(char *text)
{
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		text[--n] = '\0';
}

/* A token from a file of any mode (the caller chose it) or standard input, into c->token. */
static int read_token(struct cli *c, const char *path)
{
	struct problem why = {""};
	uint8_t *bytes = NULL;
	size_t n = 0;

	if (strcmp(path, "-") == 0) {
		size_t at = 0;
		ssize_t got;

		while (at < sizeof c->token - 1 && (got = read(0, c->token + at, sizeof c->token - 1 - at)) > 0)
			at += (size_t)got;
		c->token[at] = '\0';
	} else {
		if (file_read(path, sizeof c->token - 1, &bytes, &n, &why))
			return complain(c, access(path, F_OK) ? EXIT_MISSING : EXIT_MALFORMED, why.text, NULL, NULL);
		memcpy(c->token, bytes, n);
		c->token[n] = '\0';
		secret_wipe(bytes, n);
		free(bytes);
	}
	trim(c->token);
	return 0;
}

int cmd_token_show(struct cli *c)
{
	json_t *header, *claims, *both = NULL;
	int code;

	if (c->n_words) {
		code = read_token(c, c->words[0]);
	} else if (!(code = settings_resolve(c)) && !(code = settings_token(c)) && !c->token[0]) {
		return complain(c, EXIT_MISSING, "no token was named", NULL, "Use a FILE, --token-file or BATON_TOKEN.");
	}
	if (code)
		return code;
	header = tokentext_part(slice_str(c->token), 0);
	claims = tokentext_part(slice_str(c->token), 1);
	if (!header || !claims) {
		code = complain(c, EXIT_MALFORMED, "that is no JWT: three parts of base64url, the first two JSON objects", NULL,
			NULL);
	} else {
		char *text;

		both = json_pack("{sOsO}", "header", header, "claims", claims);
		text = json_dumps(both, (cli_output(c) == OUTPUT_JSONL ? JSON_COMPACT :
			JSON_INDENT(2)) | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
		fprintf(c->out, "%s\n", text ? text : "");
		free(text);
		cli_note(c, "not verified");
	}
	json_decref(both);
	json_decref(header);
	json_decref(claims);
	return code;
}

static int load_issuer(struct cli *c, struct issuer_entry *e)
{
	const char *jwks = c->args.text[OPT_JWKS];
	struct problem why = {""};
	uint8_t *bytes = NULL;
	size_t n = 0;

	memset(e, 0, sizeof *e);
	slice_copy_str(SLICE_LIT("cli"), e->rule.name, sizeof e->rule.name);
	dialect_preset(dialect_from_text(slice_str(c->args.text[OPT_DIALECT])), &e->rule.claims);
	if (c->args.text[OPT_TYP])
		e->rule.claims.typ = token_typ_from_text(slice_str(c->args.text[OPT_TYP]));
	e->rule.algorithms = ALG_ES256 | ALG_ES384 | ALG_RS256 | ALG_PS256 | ALG_EDDSA;
	e->rule.max_lifetime_ms = LIFETIME_MAX_MS;
	e->rule.binding = c->args.text[OPT_CERT] != NULL;
	e->keys_good_until_ms = INT64_MAX;
	if (!slice_copy_str(slice_str(c->args.text[OPT_ISSUER]), e->rule.url, sizeof e->rule.url))
		return complain_usage(c, "--issuer: too long");
	if (file_read(jwks, JWKS_MAX, &bytes, &n, &why))
		return complain(c, access(jwks, F_OK) ? EXIT_MISSING : EXIT_MALFORMED, why.text, NULL, NULL);
	e->keys = keyset_parse(slice_of(bytes, n), e->rule.algorithms, 1, &why);
	free(bytes);
	return e->keys ? 0 : complain(c, EXIT_MALFORMED, why.text, jwks, NULL);
}

static int judge(struct cli *c, const struct issuer_entry *e, const char *x5t)
{
	struct token_verifier *v = token_verifier_new(1);
	struct issuers *issuers = issuers_new(e, 1);
	struct arena *arena = arena_new(VERIFY_ARENA);
	struct token_context cx = {.x5t_s256 = x5t, .audience = c->args.text[OPT_AUDIENCE], .now_ms = clock_unix_ms(),
		.leeway_ms = LEEWAY_MS};
	struct token_answer answer;
	int code = EXIT_BUG;

	if (!v || !issuers || !arena)
		goto out;
	token_verifier_set_issuers(v, issuers);
	token_verify(v, slice_str(c->token), &cx, arena, &answer);
	code = verdict_ok(&answer.verdict) ? EXIT_YES : EXIT_DENIED;
	if (code) {
		fprintf(c->out, "%s\n", reason_text(answer.verdict.reason));
		cli_verbose(c, "%s", answer.verdict.message);
	} else {
		cli_verbose(c, "good for %s, subject %s", answer.claims.client_id, answer.claims.subject);
	}
out:
	token_verifier_free(v);
	issuers_unref(issuers);
	arena_free(arena);
	return code;
}

int cmd_token_verify(struct cli *c)
{
	struct issuer_entry e;
	struct certinfo cert;
	struct problem why = {""};
	const char *cert_path = c->args.given[OPT_CERT] ? c->args.text[OPT_CERT] : NULL;
	int code;

	if (!c->args.text[OPT_JWKS] || !c->args.text[OPT_ISSUER] || !c->args.text[OPT_AUDIENCE])
		return complain_usage(c, "--jwks, --issuer and --audience are needed");
	c->args.text[OPT_CERT] = cert_path; /* a certificate counts only when it is spelled out */
	if (cert_path && certinfo_read(cert_path, &cert, &why))
		return complain(c, access(cert_path, F_OK) ? EXIT_MISSING : EXIT_MALFORMED, why.text, NULL, NULL);
	if ((code = read_token(c, c->n_words ? c->words[0] : "-")) || (code = load_issuer(c, &e)))
		return code;
	code = judge(c, &e, cert_path ? cert.x5t_s256 : NULL);
	keyset_unref(e.keys);
	return code;
}
