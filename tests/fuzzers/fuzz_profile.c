/* Does any file make the profile reader, the destination reader or the decision misbehave? The input is a profile;
 * when it is taken, text of its own is asked about as destination, and nothing unlisted may be allowed. */
#include "fuzz.h"
#include "policy/authorize.h"
#include "policy/profile.h"


unsigned fuzz_good;

static void ask(const struct profile *p, struct slice text)
{
	char call[1][64] = {""};
	struct agent agent = {.tenant = "acme", .name = "a", .call = (const char(*)[64])call, .n_call = 1};
	struct claims claims = {.tenant = "acme", .scopes = (const char **)p->required_scopes,
		.n_scopes = p->n_required_scopes};
	struct access_request rq = {.route = slice_str(p->route), .destination = text, .has_idempotency_key = true,
		.side_effect = SIDE_EFFECT_EXTERNAL_SEND, .trust = TRUST_USER};
	struct access_grant grant;
	struct verdict v;

	slice_copy_str(slice_str(p->route), call[0], sizeof call[0]);
	for (size_t i = 0; i < p->n_tools; i++) {
		rq.tool = slice_str(p->tools[i].name);
		v = authorize(&agent, &claims, &rq, p, &grant);
		if (v.outcome == OUTCOME_DENY)
			continue;
		/* no external_send without a classified destination */
		NEED(text.n && grant.cls != CLASS_UNKNOWN && grant.host[0] && grant.side_effect == SIDE_EFFECT_EXTERNAL_SEND);
		NEED(v.outcome != OUTCOME_ALLOW || !p->tools[i].needs_approval);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct problem why = {""}, warn = {""};
	struct profile *p = profile_parse(slice_of(data, size), &why, &warn);
	enum destination_class cls;
	const char *text;
	char host[254];
	static const char fixed[] =
		"{\"route\": \"r\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"s\"]},"
		"\"tools\": {\"allowed\": [\"t\"]}, \"sandbox\": {\"network\": {\"allowed_domains\": [\"a.example\", \"*.b.example\"]}}}";
	struct profile *q = profile_parse(slice_str(fixed), &why, NULL);

	NEED(q);
	/* The input as a destination: what is allowed is one of the two that are listed. */
	if (profile_classify(q, slice_of(data, size), host, &cls, &text) && cls != CLASS_UNKNOWN) {
		size_t n = strlen(host);

		NEED(strcmp(host, "a.example") == 0 || (n >= 11 && strcmp(host + n - 10, ".b.example") == 0));
	}
	ask(q, slice_of(data, size < 512 ? size : 512));
	profile_unref(q);
	if (!p)
		return 0;
	fuzz_good++;
	NEED(p->route[0] && p->n_tools && p->n_allowed_issuers && p->required_audience[0]);
	ask(p, (struct slice){0});
	for (size_t i = 0; i < p->n_domains && i < 8; i++)
		ask(p, slice_str(p->domains[i].pattern));
	for (size_t i = 0; i + 32 < size && i < 512; i += 32)
		ask(p, slice_of(data + i, 32));
	profile_unref(p);
	return 0;
}
