/* Who does the broker think we are? The agent it found, the routes it may call and serve, and its verdict on the
 * token. */
#include "config.h"

#include "base/arena.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "cli/whoami.h"
#include "client/stream.h"

#define ANSWER_ARENA (4 * 1024 * 1024)
#define WIDTH 13 /* of a block's keys */

Baton__V1__WhoAmIResponse *whoami_ask(struct cli *c, struct arena *arena, struct client_status *status)
{
	Baton__V1__WhoAmIRequest q = BATON__V1__WHO_AM_IREQUEST__INIT;

	return (void *)client_unary(c->conn, "WhoAmI", c->token, &q.base, &baton__v1__who_am_iresponse__descriptor,
				    c->args.number[OPT_TIMEOUT], arena, status);
}

static void line(const struct cli *c, const char *key, const char *value)
{
	text_line(c->out, WIDTH, key, value);
}

static void words(const struct cli *c, const char *key, char **list, size_t n)
{
	text_line_words(c->out, WIDTH, key, list, n);
}

static void print_block(const struct cli *c, const Baton__V1__WhoAmIResponse *r)
{
	char text[800];

	if (r->agent) {
		line(c, "agent:", r->agent->name);
		line(c, "tenant:", r->agent->tenant);
		line(c, "spiffe id:", r->agent->spiffe_id);
	}
	line(c, "certificate:", r->certificate_sha256);
	text_time(r->certificate_expires_at_ms, c->args.given[OPT_UTC], text);
	line(c, "expires:", text);
	if (r->token) {
		snprintf(text, sizeof text, "%s%s%.600s", r->token->outcome == BATON__V1__OUTCOME__OUTCOME_ALLOW ? "verifies" :
			 reason_text((enum reason)r->token->reason), r->token->message[0] ? ": " : "", r->token->message);
		line(c, "token:", text);
	}
	if (r->claims) {
		line(c, "issuer:", r->claims->issuer);
		line(c, "subject:", r->claims->subject);
		words(c, "scopes:", r->claims->scopes, r->claims->n_scopes);
	}
	words(c, "may call:", r->may_call, r->n_may_call);
	words(c, "may serve:", r->may_serve, r->n_may_serve);
	line(c, "broker:", r->server_version);
	words(c, "features:", r->features, r->n_features);
}

int cmd_whoami(struct cli *c)
{
	struct arena *arena = arena_new(ANSWER_ARENA);
	struct client_status status;
	Baton__V1__WhoAmIResponse *r;
	int code = arena ? cli_connect(c) : EXIT_BUG;

	if (code)
		goto out;
	r = whoami_ask(c, arena, &status);
	if (!r) {
		code = complain_status(c, &status);
		goto out;
	}
	if (cli_json(c))
		pbjson_print(c->out, &r->base);
	else if (cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", r->agent ? r->agent->name : "");
	else
		print_block(c, r);
	/* Without a token there is nothing to judge: serving needs none. */
	if (c->token[0] && r->token && r->token->outcome != BATON__V1__OUTCOME__OUTCOME_ALLOW)
		code = complain_decision(c, r->token, "");
out:
	arena_free(arena);
	return code;
}
