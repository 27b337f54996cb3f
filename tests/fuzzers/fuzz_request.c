/* Is a header block that is no gRPC request taken for one, and can an answer be more than text? The first line is the message of an answer;
 * each line after it is a header: name, a colon and a blank, value. What is taken was single and in form; the answer's trailers are printable,
 * and the client reads out of them what was put in. */
#include <string.h>

#include "base/encode.h"
#include "base/words.h"
#include "client/status.h"
#include "fuzz.h"
#include "net/request.h"
#include "net/trailers.h"
#include "observe/trace.h"
#include "wire/grpc.h"
#include "wire/wirefmt.h"

#define HEADERS_MAX 64
#define TEXT_MAX 8192

unsigned fuzz_good;

/* Each in memory of its own size, with the NUL that wire/h2 puts behind it. */
static struct slice keep(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n + 1);

	NEED(copy);
	memcpy(copy, p, n);
	copy[n] = '\0';
	return slice_of(copy, n);
}

static struct slice take_line(struct slice *in)
{
	const uint8_t *end = in->n ? memchr(in->p, '\n', in->n) : NULL;
	struct slice line = slice_of(in->p, end ? (size_t)(end - in->p) : in->n);
	size_t used = line.n + (end != NULL);

	*in = slice_of(in->p + used, in->n - used);
	return line;
}

static size_t read_headers(struct slice in, struct h2_header *h)
{
	size_t n = 0;

	while (in.n && n < HEADERS_MAX) {
		struct slice line = take_line(&in);
		const uint8_t *colon = line.n ? memmem(line.p, line.n, ": ", 2) : NULL;
		size_t name = colon ? (size_t)(colon - line.p) : 0;

		if (!colon)
			continue;
		h[n].name = keep(line.p, name);
		h[n++].value = keep(colon + 2, line.n - name - 2);
	}
	return n;
}

static size_t times(const struct h2_header *h, size_t n, const char *name)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		found += slice_is(h[i].name, name);
	return found;
}

static void check_taken(const struct h2_header *h, size_t n, const struct request *r)
{
	static const char *const once[] = {":method", ":path", "content-type", "te"}, *const at_most_once[] = {"grpc-timeout", "grpc-encoding"};

	fuzz_good++;
	for (size_t i = 0; i < 4; i++)
		NEED(times(h, n, once[i]) == 1);
	for (size_t i = 0; i < 2; i++)
		NEED(times(h, n, at_most_once[i]) <= 1);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < h[i].value.n; j++)
			NEED(h[i].value.p[j] >= 0x20 && h[i].value.p[j] <= 0x7e);
	NEED(r->path.n >= 2 && r->path.n <= 256 && r->path.p[0] == '/');
	NEED((r->timeout_ms > 0) == (times(h, n, "grpc-timeout") == 1));
}

static void check_metadata(const struct h2_header *h, size_t n)
{
	struct metadata *m = metadata_new(h, n);
	size_t count;

	NEED(m);
	for (size_t i = 0; i < n; i++) {
		bool pseudo = h[i].name.n && h[i].name.p[0] == ':', nul = memchr(h[i].name.p, 0, h[i].name.n + 1) != h[i].name.p + h[i].name.n;
		struct slice v = metadata_get(m, (const char *)h[i].name.p, &count);

		NEED(nul || count == (pseudo ? 0 : times(h, n, (const char *)h[i].name.p)));
		NEED(nul || pseudo || count > 1 || slice_eq(v, h[i].value));
	}
	metadata_free(m);
}

/* The details are rows of fields all the way down to ErrorInfo's. */
static void check_details(struct slice message, struct buf *details)
{
	const struct grpc_detail info[] = {{"field", "nonce"}, {"policy_version", "1"}};
	const struct grpc_details d = {.status = GRPC_PERMISSION_DENIED, .message = message, .reason = "TOOL_DENIED", .metadata = info,
		.n_metadata = 2, .retry_after_ms = 1500, .any_type = "type.googleapis.com/baton.v1.Decision", .any_bytes = message};
	struct wirefmt_field f;
	size_t anys = 0;
	struct slice in;

	NEED(grpc_details_encode(details, &d));
	for (in = buf_slice(details); in.n;) {
		NEED(!wirefmt_read(&in, &f));
		NEED(f.number != 2 || slice_eq(f.bytes, message));
		anys += f.number == 3;
	}
	NEED(anys == 3);
}

static void check_answer(struct slice message, enum grpc_status status)
{
	char text[TEXT_MAX + 1];
	struct client_status s;
	struct trailers t;
	struct buf details;
	struct call_trailer extra[2];
	uint8_t back[2 * TEXT_MAX];

	buf_init(&details, 4 * TEXT_MAX);
	check_details(slice_of(message.p, message.n < 1000 ? message.n : 1000), &details);
	slice_copy_str(message, text, sizeof text);
	extra[0] = (struct call_trailer){"grpc-status-details-bin", buf_slice(&details)};
	extra[1] = (struct call_trailer){"baton-handoff-id", message};
	trailers_init(&t);
	trailers_begin(&t);
	trailers_status(&t, status, text, extra, 2);
	for (size_t i = 0; i < t.n; i++) {
		for (size_t j = 0; j < t.h[i].value.n; j++)
			NEED(t.h[i].value.p[j] >= 0x20 && t.h[i].value.p[j] <= 0x7e);
		if (slice_is(t.h[i].name, "grpc-status-details-bin"))
			NEED(b64_decode(t.h[i].value, back, sizeof back) == (long)details.n && !memcmp(back, details.p, details.n));
	}
	client_status_init(&s);
	NEED(client_status_read(&s, t.h, t.n, 200) && s.code == status && utf8_is_text(slice_str(s.message)));
	if (utf8_is_text(slice_str(text)) && strlen(text) < 1024)
		NEED(strcmp(s.message, text) == 0);
	trailers_clear(&t);
	buf_clear(&details);
}

static void check_refusal(const struct request *r)
{
	struct client_status s;
	struct trailers t;

	NEED(r->http >= 200 && r->http <= 415 && r->message && r->message[0]);
	trailers_init(&t);
	trailers_refuse(&t, r->http, r->status, r->message);
	client_status_init(&s);
	NEED(client_status_read(&s, t.h, t.n, r->http) == (r->http == 200 || r->http == 400));
	NEED(s.code != GRPC_OK);
	trailers_clear(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size), message = size && size <= TEXT_MAX ? take_line(&in) : in;
	struct h2_header h[HEADERS_MAX];
	struct trace_context trace;
	struct client_status s;
	struct request r;
	size_t n;

	if (!size || size > TEXT_MAX)
		return 0;
	n = read_headers(in, h);
	if (request_read(h, n, &r) == 0)
		check_taken(h, n, &r);
	else
		check_refusal(&r);
	check_metadata(h, n);
	check_answer(message, message.n % 16 + 1);
	/* The same block as an answer from a foreign server. */
	client_status_init(&s);
	(void)client_status_read(&s, h, n, 500);
	NEED(s.code <= GRPC_UNAUTHENTICATED && utf8_is_text(slice_str(s.message)) && utf8_is_text(slice_str(s.handoff_id)));
	for (size_t i = 0; i + 1 < n; i++)
		trace_begin(&trace, h[i].value, h[i + 1].value);
	for (size_t i = 0; i < n; i++) {
		free((void *)h[i].name.p);
		free((void *)h[i].value.p);
	}
	return 0;
}
