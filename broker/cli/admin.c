/* How does an operator's command reach the broker? Through its admin socket: who may open it is who he is by the kernel's word. */
#include "config.h"

#include "cli/admin.h"

#include <string.h>

#include "base/clock.h"
#include "cli/verbs.h"
#include "client/addr.h"
#include "client/conn.h"
#include "client/stream.h"

int admin_connect(struct cli *c)
{
	struct client_error why = {.fault = CLIENT_FINE};
	int code = settings_resolve(c);

	if (code)
		return code;
	if (strncmp(c->set.admin_addr, ADDR_LOCAL, sizeof ADDR_LOCAL - 1) != 0)
		return complain(c, EXIT_USAGE, "--admin-addr must begin with unix: in this version", NULL,
				"Name the broker's listen.admin_socket, e.g. unix:/run/baton/admin.sock.");
	cli_verbose(c, "broker %s", c->set.admin_addr);
	c->conn = client_new_local(c->set.admin_addr + sizeof ADDR_LOCAL - 1, &why);
	if (!c->conn || client_connect(c->conn, clock_mono_ms() + c->args.number[OPT_TIMEOUT], &why))
		return complain_client(c, &why);
	return 0;
}

void *admin_try(struct cli *c, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *answer, struct arena *arena,
		struct client_status *status)
{
	return client_unary(c->conn, method, NULL, q, answer, c->args.number[OPT_TIMEOUT], arena, status);
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
