/* How does an operator's command reach the broker? Through its admin socket; shared by route.c, dlq.c and store.c. */
#ifndef BATON_CLI_ADMIN_H
#define BATON_CLI_ADMIN_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "cli/cli.h"

#define ADMIN_ARENA (64 * 1024 * 1024)
#define ADMIN_OPERATE "/baton.v1.OperateService/"
#define ADMIN_CONTAIN "/baton.v1.ContainmentService/"

/* A connection that is ready, to --admin-addr. 0, or an exit code, complained about. */
int admin_connect(struct cli *c);
/* One question, one answer, in the arena. NULL: *code, complained about. method: with its service, from the constants above. */
void *admin_ask(struct cli *c, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *answer, struct arena *arena,
		int *code);
/* An option's text, as the messages want it; "" when it was not given. */
char *admin_text(const struct cli *c, enum opt o);
/* --reason is demanded: 0, or the exit code. */
int admin_reason(struct cli *c, char **out);

#endif
