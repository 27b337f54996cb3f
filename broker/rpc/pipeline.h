/* Through which gates does every message go, whatever it asks? Private to rpc/: the call handler's functions, and the common way to refuse. */
#ifndef BATON_RPC_PIPELINE_H
#define BATON_RPC_PIPELINE_H

#include "rpc/op.h"

size_t pipeline_on_open(void *user, struct call *c, struct slice path);
void pipeline_on_message(void *user, struct call *c, struct slice message);
void pipeline_on_half_close(void *user, struct call *c);
void pipeline_on_writable(void *user, struct call *c);
void pipeline_on_too_large(void *user, struct call *c, size_t max);
void pipeline_on_gone(void *user, struct call *c, enum grpc_status why);

/* Audits the denial as a decision, then ends the call with it, after the receipts that it owes, then the op. */
void pipeline_deny(struct op *op, const struct verdict *v);
/* The same for a call between its messages. */
void pipeline_end(struct rpc_call *rc, const struct verdict *v);
/* The same, told before it is written down: who was revoked is not waited for. */
void pipeline_end_at_once(struct rpc_call *rc, const struct verdict *v);
void pipeline_before_io(void *user);
/* The verdict on what memory is missing for: nothing was done. */
struct verdict pipeline_no_memory(void);
/* A receipt that was owed on a Pipe is on its way: after the last one the stream may end. */
void pipeline_receipt_sent(struct rpc_call *rc);
/* The answer of a unary call, m in the op's arena: writes the row's event, sends when it is durable, ends call and op. When the arena had
 * not room for all of it, it is refused as pipeline_no_memory() says. */
void pipeline_answer(struct op *op, ProtobufCMessage *m);

#endif
