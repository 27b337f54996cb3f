/* On whose authority is this asked? The access token beside the request: found, verified for a route, put into the audit. Private to rpc/. */
#ifndef BATON_RPC_PRINCIPAL_H
#define BATON_RPC_PRINCIPAL_H

#include "policy/profile.h"
#include "rpc/op.h"

/* The token that counts: the request's own, else the stream's, else the call's `authorization: Bearer`. Empty when there is none; *v denies
 * when the metadata is there twice or is no bearer token. Borrowed from the op or the call. */
struct slice principal_token(struct rpc_call *rc, struct slice in_request, struct verdict *v);

enum principal_result { PRINCIPAL_JUDGED, PRINCIPAL_PARKED /* the op waits for keys: return at once */ };

/* Verifies for the profile's audience and issuers (NULL: any audience, any issuer). The answer is in *out; the audit record says whose token it
 * was, also when it is refused. */
enum principal_result principal_verify(struct op *op, struct slice token, const struct profile *p, struct token_answer *out);

/* The same for what the caller says that the token must be. */
enum principal_result principal_judge(struct op *op, struct slice token, const struct token_context *cx, struct token_answer *out);

/* A Credential frame: its token is the stream's from now on, if it verifies and names the same issuer, subject and client as the one before it; else the
 * stream ends with the denial. Owns the op. */
void principal_credential(struct rpc_call *rc, struct op *op, struct slice token);

#endif
