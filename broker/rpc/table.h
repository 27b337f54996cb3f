/* Which calls are there? One row each: who may make it, what it takes, which event it leaves, which handler runs. The pipeline enforces the
 * columns, so that no handler can forget one. */
#ifndef BATON_RPC_TABLE_H
#define BATON_RPC_TABLE_H

#include "rpc/op.h"
#include "wire/prescan.h"

enum row_peer {
	PEER_ANY,        /* any valid certificate */
	PEER_REGISTERED, /* a registered, active agent: else unknown_peer */
	PEER_STRANGER,   /* who has no certificate yet: on listen.enrol, and nothing else is there */
	PEER_OPERATOR,   /* who has a role for it, on the operators' listeners; nobody else finds the call */
};

enum row_stream { STREAM_UNARY, STREAM_IN /* many messages from the client */ };

struct rpc_row {
	const char *path;
	const char *name;                          /* for metrics and audit */
	const ProtobufCMessageDescriptor *request;
	const struct prescan_rules *rules;
	enum row_peer peer;
	enum row_stream stream;
	bool replay_checked;                       /* carries envelopes: refused while draining */
	const char *event;                         /* the audit event that the pipeline writes for it; NULL: the handler's work does */
	size_t max_message;                        /* bytes */
	/* Owns the op from here on. */
	void (*on_message)(struct rpc_call *rc, struct op *op);
	void (*on_half_close)(struct rpc_call *rc);
	void (*on_writable)(struct rpc_call *rc);
	void (*on_gone)(struct rpc_call *rc);
	/* A gate refused the message in op->raw. Owns the op. NULL: the call ends with the denial. */
	void (*on_refused)(struct rpc_call *rc, struct op *op, const struct verdict *v);
	/* Does the message in op->raw count towards its agent's rate? NULL: never. */
	bool (*is_submit)(const struct op *op);
	bool when_stale;                           /* served though this node may not have heard of rights that were taken away: who has work may report it */
	/* Of an operator's call: who may make it has one of these roles (rpc/rolebind.h); 0 = nobody may. */
	unsigned roles;
	unsigned dry_roles;                        /* or one of these, when the message only asks what would happen */
	bool (*is_dry)(const ProtobufCMessage *m);
	bool local;                                /* on the admin socket alone: elsewhere it is not there */
};

/* Many messages, one way or the other, so that the call may outlive the configuration that it began with. */
static inline bool rpc_row_lives_on(const struct rpc_row *r)
{
	return r->peer == PEER_REGISTERED && (r->stream == STREAM_IN || r->on_writable);
}

/* What is applied has nothing in it that this version does not know. */
extern const struct prescan_rules rpc_applied_rules;
/* NULL when there is no such call on this listener. */
const struct rpc_row *rpc_row_find(struct slice path, const char *listener);

#endif
