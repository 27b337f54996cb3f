/* Is this header block a gRPC request? See request.h. That pseudo-headers are single and in order, and that names
 * are lower case, the HTTP/2 library has checked already (RFC 9113 §8.2, §8.3). A header that this file acts on may
 * come once only: half of the world's proxies would read the first of two, the other half the last. */
#include "config.h"

#include "net/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "wire/grpc.h"

#define PATH_MAX_BYTES 256

enum seen_bit { SEEN_TYPE = 1, SEEN_TE = 2, SEEN_TIMEOUT = 4, SEEN_METHOD = 8, SEEN_PATH = 16, SEEN_ENCODING = 32 };

struct reading {
	struct request *r;
	unsigned seen;
	struct slice method, type, te, timeout, encoding;
};

static int refuse(struct request *r, int http, enum grpc_status status, const char *message)
{
	r->http = http;
	r->status = status;
	r->message = message;
	return -1;
}

/* gRPC's Header-Value is printable ASCII; nothing else may reach a log, a label or a key. */
static bool printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e)
			return false;
	return true;
}

/* Where does this header's value belong? NULL: metadata that is the handler's business. */
static struct slice *place_of(struct reading *g, struct slice name, unsigned *bit)
{
	const struct {
		const char *name;
		unsigned bit;
		struct slice *value;
	} table[] = {
		{":method", SEEN_METHOD, &g->method},        {":path", SEEN_PATH, &g->r->path},
		{"content-type", SEEN_TYPE, &g->type},       {"te", SEEN_TE, &g->te},
		{"grpc-timeout", SEEN_TIMEOUT, &g->timeout}, {"grpc-encoding", SEEN_ENCODING, &g->encoding},
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		*bit = table[i].bit;
		if (slice_is(name, table[i].name))
			return table[i].value;
	}
	return NULL;
}

static int gather(struct reading *g, const struct h2_header *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned bit;
		struct slice *to = place_of(g, h[i].name, &bit);

		if (!printable(h[i].value))
			return refuse(g->r, 400, GRPC_INTERNAL, "a header value is not printable ASCII");
		if (!to)
			continue;
		if (g->seen & bit)
			return refuse(g->r, 400, GRPC_INTERNAL, "a header of the protocol came twice");
		g->seen |= bit;
		*to = h[i].value;
	}
	return 0;
}

/* "application/grpc", "application/grpc+proto", with or without parameters. */
static bool is_grpc(struct slice type)
{
	const void *end = type.n ? memchr(type.p, ';', type.n) : NULL;

	if (end)
		type.n = (size_t)((const uint8_t *)end - type.p);
	while (type.n && type.p[type.n - 1] == ' ')
		type.n--;
	return slice_is(type, "application/grpc") || slice_is(type, "application/grpc+proto");
}

int request_read(const struct h2_header *h, size_t n, struct request *r)
{
	struct reading g = {.r = r};

	*r = (struct request){.http = 200};
	if (gather(&g, h, n) < 0)
		return -1;
	if (!slice_is(g.method, "POST"))
		return refuse(r, 405, GRPC_INTERNAL, "the method must be POST");
	if (!is_grpc(g.type))
		return refuse(r, 415, GRPC_INTERNAL, "content-type must be application/grpc");
	if (!slice_is(g.te, "trailers"))
		return refuse(r, 400, GRPC_INTERNAL, "te must be trailers");
	if (r->path.n < 2 || r->path.p[0] != '/')
		return refuse(r, 400, GRPC_INTERNAL, "the path must be /Service/Method");
	if (r->path.n > PATH_MAX_BYTES)
		return refuse(r, 200, GRPC_UNIMPLEMENTED, "unknown method");
	if (g.seen & SEEN_TIMEOUT) {
		r->timeout_ms = grpc_timeout_ms(g.timeout);
		if (r->timeout_ms < 0)
			return refuse(r, 200, GRPC_INVALID_ARGUMENT, "grpc-timeout is malformed");
	}
	return 0;
}

/* One allocation: this, the entries, the bytes. */
struct metadata {
	size_t n;
	size_t bytes; /* of the whole allocation */
	struct h2_header entries[];
};

static bool is_pseudo(const struct h2_header *h)
{
	return h->name.n && h->name.p[0] == ':';
}

static struct slice put(uint8_t **at, struct slice s)
{
	struct slice copy = slice_of(*at, s.n);

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

struct metadata *metadata_new(const struct h2_header *h, size_t n)
{
	size_t bytes = sizeof(struct metadata);
	struct metadata *m;
	uint8_t *at;

	for (size_t i = 0; i < n; i++)
		bytes += sizeof *h + h[i].name.n + h[i].value.n;
	m = malloc(bytes);
	if (!m)
		return NULL;
	m->n = 0;
	m->bytes = bytes;
	at = (uint8_t *)(m->entries + n);
	for (size_t i = 0; i < n; i++) {
		if (is_pseudo(&h[i]))
			continue;
		m->entries[m->n].name = put(&at, h[i].name);
		m->entries[m->n++].value = put(&at, h[i].value);
	}
	secret_wipe(at, bytes - (size_t)(at - (uint8_t *)m));
	return m;
}

void metadata_free(struct metadata *m)
{
	if (!m)
		return;
	secret_wipe(m, m->bytes);
	free(m);
}

struct slice metadata_get(const struct metadata *m, const char *key, size_t *count)
{
	struct slice found = {0};
	size_t times = 0;

	for (size_t i = 0; i < m->n; i++)
		if (slice_is(m->entries[i].name, key) && times++ == 0)
			found = m->entries[i].value;
	if (count)
		*count = times;
	return found;
}
