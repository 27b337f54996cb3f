/* How does an operator's command reach the broker? Through its admin socket, where the kernel says who he is, or through listen.admin by mutual TLS, where
 * his certificate and his token do. What the commands that change resources have in common is here too. */
#include "config.h"

#include "cli/admin.h"

#include <string.h>

#include "base/clock.h"
#include "cli/pbjson.h"
#include "cli/reskind.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "client/addr.h"
#include "client/conn.h"
#include "client/stream.h"

/* As an agent connects to his port. */
static int connect_tls(struct cli *c)
{
	snprintf(c->set.addr, sizeof c->set.addr, "%s", c->set.admin_addr);
	return cli_connect_as_set(c);
}

int admin_connect(struct cli *c)
{
	struct client_error why = {.fault = CLIENT_FINE};
	int code = settings_resolve(c);

	if (code)
		return code;
	if (strncmp(c->set.admin_addr, ADDR_LOCAL, sizeof ADDR_LOCAL - 1) != 0)
		return connect_tls(c);
	cli_verbose(c, "broker %s", c->set.admin_addr);
	c->conn = client_new_local(c->set.admin_addr + sizeof ADDR_LOCAL - 1, &why);
	if (!c->conn || client_connect(c->conn, clock_mono_ms() + c->args.number[OPT_TIMEOUT], &why))
		return complain_client(c, &why);
	return 0;
}

void *admin_try(struct cli *c, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *answer, struct arena *arena,
		struct client_status *status)
{
	return client_unary(c->conn, method, c->token, q, answer, c->args.number[OPT_TIMEOUT], arena, status);
}

void *admin_ask(struct cli *c, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *answer, struct arena *arena,
		int *code)
{
	struct client_status status;
	void *m = admin_try(c, method, q, answer, arena, &status);

	if (!m)
		*code = complain_status(c, &status);
	return m;
}

int admin_tell_nodes(const struct cli *c, Baton__V1__NodeState *const *v, size_t n)
{
	size_t there = 0;

	for (size_t i = 0; i < n; i++) {
		there += v[i]->confirmed;
		if (!v[i]->confirmed)
			cli_note(c, "%s has not confirmed it%s%s", v[i]->node, *v[i]->error ? ": " : "", v[i]->error);
	}
	if (n)
		cli_note(c, "true on %zu/%zu nodes", there, n);
	return there < n ? EXIT_AGAIN : EXIT_YES;
}

char *admin_text(const struct cli *c, enum opt o)
{
	const char *text = c->args.text[o];

	return (char *)(uintptr_t)(text ? text : "");
}

int admin_reason(struct cli *c, char **out)
{
	*out = admin_text(c, OPT_REASON);
	if (**out)
		return 0;
	return complain_usage(c, "`%s%s%s` needs --reason: it is written into the audit", c->verb->noun, c->verb->verb ? " " : "", c->verb->verb ? c->verb->verb : "");
}

/* ---- changes ---- */

/* A line for each field. */
static void print_diff(const struct cli *c, const char *diff)
{
	while (*diff) {
		const char *end = strstr(diff, "; ");
		size_t n = end ? (size_t)(end - diff) : strlen(diff);

		fputs("  ", c->out);
		text_print(c->out, slice_of(diff, n), false);
		fputc('\n', c->out);
		diff += n + (end ? 2 : 0);
	}
}

int admin_tell(struct cli *c, const Baton__V1__ApplyResponse *m)
{
	if (cli_json(c))
		pbjson_print(c->out, &m->base);
	for (size_t i = 0; i < m->n_changes && !cli_json(c); i++) {
		const Baton__V1__Change *ch = m->changes[i];

		if (cli_output(c) == OUTPUT_NAME) {
			fprintf(c->out, "%s\n", ch->ref->name);
			continue;
		}
		if (*ch->ref->tenant)
			fprintf(c->out, "%s of %s %s\n", ch->ref->name, ch->ref->tenant, ch->action);
		else
			fprintf(c->out, "%s %s\n", ch->ref->name, ch->action);
		print_diff(c, ch->diff);
	}
	return admin_tell_nodes(c, m->nodes, m->n_nodes);
}

int admin_pairs(struct cli *c, enum opt o, const ProtobufCMessageDescriptor *entry, bool last, const char *form, struct arena *arena, ProtobufCMessage ***v,
		size_t *n)
{
	if (!c->args.given[o])
		return 0;
	*v = arena_alloc(arena, ARGS_MANY * sizeof **v);
	*n = 0;
	for (size_t i = 0; *v && i < c->args.n_many; i++) {
		const char *text = c->args.many[i].value, *equals = last ? strrchr(text, '=') : strchr(text, '=');
		ProtobufCMessage *m;

		if (c->args.many[i].opt != o || !*text)
			continue;
		if (!equals)
			return complain_usage(c, "--%s is %s, and %.60s has no =", option_row(o)->name, form, text);
		m = arena_alloc(arena, entry->sizeof_message);
		if (!m)
			break;
		protobuf_c_message_init(entry, m);
		*res_side(m, 0) = arena_strndup(arena, text, (size_t)(equals - text));
		*res_side(m, 1) = (char *)(uintptr_t)(equals + 1);
		(*v)[(*n)++] = m;
	}
	return 0;
}

void admin_list(const struct cli *c, enum opt o, struct arena *arena, char ***v, size_t *n)
{
	if (!c->args.given[o])
		return;
	*v = arena_alloc(arena, ARGS_MANY * sizeof **v);
	*n = 0;
	for (size_t i = 0; *v && i < c->args.n_many; i++)
		if (c->args.many[i].opt == o && *c->args.many[i].value)
			(*v)[(*n)++] = (char *)(uintptr_t)c->args.many[i].value;
}
