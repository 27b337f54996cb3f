/* How does an operator's command reach the broker? Through its admin socket or listen.admin; shared by all commands for operators. */
#ifndef BATON_CLI_ADMIN_H
#define BATON_CLI_ADMIN_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/cli.h"

#define ADMIN_ARENA (64 * 1024 * 1024)
#define ADMIN_OPERATE "/baton.v1.OperateService/"
#define ADMIN_RESOURCE "/baton.v1.ResourceService/"
#define ADMIN_CONTAIN "/baton.v1.ContainmentService/"
#define ADMIN_ENROL "/baton.v1.EnrolService/"

/* A connection that is ready, to --admin-addr. 0, or an exit code, complained about. */
int admin_connect(struct cli *c);
/* One question, one answer, in the arena. NULL: *code, complained about. method: with its service, from the constants above. */
void *admin_ask(struct cli *c, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *answer, struct arena *arena,
		int *code);
/* The same, and says nothing: NULL with *status. */
void *admin_try(struct cli *c, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *answer, struct arena *arena,
		struct client_status *status);
/* Which nodes live by a change, as remarks. The exit code: EXIT_AGAIN when one of them does not yet. */
int admin_tell_nodes(const struct cli *c, Baton__V1__NodeState *const *v, size_t n);
/* An option's text, as the messages want it; "" when it was not given. */
char *admin_text(const struct cli *c, enum opt o);
/* --reason is demanded: 0, or the exit code. */
int admin_reason(struct cli *c, char **out);
/* The words that were given for a list: in place of what there was; one that is empty leaves none. */
void admin_list(const struct cli *c, enum opt o, struct arena *arena, char ***v, size_t *n);
/* The same of a map of text to text, whose entries are of this descriptor: each word is KEY=VALUE, parted at the first =, or the last;
 * form: what a complaint calls that. 0, or the exit code. */
int admin_pairs(struct cli *c, enum opt o, const ProtobufCMessageDescriptor *entry, bool last, const char *form, struct arena *arena, ProtobufCMessage ***v,
		size_t *n);
/* What was done, and on which nodes it holds. The exit code. */
int admin_tell(struct cli *c, const Baton__V1__ApplyResponse *m);

#endif
