/* How are trailers read? Name by name from a table; all text from the peer is cut to size and stripped of control
 * characters. */
#include "config.h"

#include "client/status.h"

#include <string.h>

#include "base/encode.h"
#include "wire/grpc.h"
#include "wire/h2.h"

#define MESSAGE_RAW_MAX 4096

void client_status_init(struct client_status *s)
{
	memset(s, 0, sizeof *s);
	s->code = GRPC_UNKNOWN;
	s->retry_after_ms = -1;
}

/* Copies what fits, with control characters as spaces, cut on a UTF-8 border. What then is no text still, because it is no UTF-8 or has a
 * control character of two bytes (C1, which terminals obey), keeps its ASCII alone. */
static void copy_safe(struct slice in, char *out, size_t size)
{
	size_t n = in.n < size - 1 ? in.n : size - 1;

	if (n < in.n)
		while (n && (in.p[n] & 0xC0) == 0x80)
			n--;
	for (size_t i = 0; i < n; i++)
		out[i] = in.p[i] < 0x20 || in.p[i] == 0x7F ? ' ' : (char)in.p[i];
	out[n] = '\0';
	if (!utf8_is_text(slice_of(out, n)))
		for (size_t i = 0; i < n; i++)
			if ((unsigned char)out[i] >= 0x80)
				out[i] = '?';
}

static int64_t number(struct slice v)
{
	int64_t x = 0;

	if (v.n == 0 || v.n > 15)
		return -1;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return -1;
		x = x * 10 + (v.p[i] - '0');
	}
	return x;
}

static void read_message(struct client_status *s, struct slice v)
{
	struct buf b;

	buf_init(&b, MESSAGE_RAW_MAX);
	if (v.n > MESSAGE_RAW_MAX)
		v.n = MESSAGE_RAW_MAX;
	if (percent_decode(&b, v))
		copy_safe(buf_slice(&b), s->message, sizeof s->message);
	buf_clear(&b);
}

bool client_status_read(struct client_status *s, const struct h2_header *h, size_t n, int http)
{
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		struct slice name = h[i].name, v = h[i].value;

		if (slice_is(name, "grpc-status")) {
			int64_t code = number(v);

			s->code = code >= 0 && code <= GRPC_UNAUTHENTICATED ? (enum grpc_status)code : GRPC_UNKNOWN;
			found = true;
		} else if (slice_is(name, "grpc-message")) {
			read_message(s, v);
		} else if (slice_is(name, "baton-reason")) {
			s->reason = reason_from_text(v);
		} else if (slice_is(name, "baton-trace-id")) {
			copy_safe(v, s->trace_id, sizeof s->trace_id);
		} else if (slice_is(name, "baton-policy-version")) {
			copy_safe(v, s->policy_version, sizeof s->policy_version);
		} else if (slice_is(name, "baton-handoff-id")) {
			copy_safe(v, s->handoff_id, sizeof s->handoff_id);
		} else if (slice_is(name, "baton-retry-after-ms")) {
			s->retry_after_ms = number(v);
		} else if (slice_is(name, "baton-server-time-ms")) {
			s->server_time_ms = number(v) > 0 ? number(v) : 0;
		}
	}
	if (!found && http && http != 200)
		s->code = grpc_status_from_http(http);
	return found;
}
