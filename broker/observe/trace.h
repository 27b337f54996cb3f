/* Which trace does this belong to? W3C Trace Context: parse, continue, print. */
#ifndef BATON_OBSERVE_TRACE_H
#define BATON_OBSERVE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct trace_context {
	char trace_id[33];   /* 32 lower-case hex */
	char parent_id[17];  /* the caller's span; "" when the trace began here */
	char span_id[17];    /* ours */
	uint8_t flags;       /* 01 = sampled */
	char tracestate[513];
};

/* Continues `traceparent` with a span of ours, or starts a trace when it is empty or bad (W3C §3.2: version ff, an
 * all-zero id, upper case, wrong length; higher versions: the first 55 characters count). `tracestate` is kept only
 * with a good traceparent, and dropped alone when it is bad: over 512 bytes, over 32 members, characters outside the
 * grammar. */
void trace_begin(struct trace_context *t, struct slice traceparent, struct slice tracestate);
/* A child span in the same trace. */
void trace_child(struct trace_context *child, const struct trace_context *of);
/* "00-<trace>-<span>-<flags>"; out has room for 56 bytes. */
void trace_format(const struct trace_context *t, char out[56]);
bool trace_id_valid(struct slice s);

#endif
