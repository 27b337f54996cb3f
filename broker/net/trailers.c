/* Which headers does an answer have? See trailers.h (gRPC over HTTP/2, "Responses"). */
#include "config.h"

#include "net/trailers.h"

#include <string.h>

#include "base/encode.h"

void trailers_init(struct trailers *t)
{
	t->n = 0;
	t->n_owned = 0;
}

void trailers_clear(struct trailers *t)
{
	for (size_t i = 0; i < t->n_owned; i++)
		buf_clear(&t->owned[i]);
	trailers_init(t);
}

static void put(struct trailers *t, const char *name, struct slice value)
{
	if (t->n < TRAILERS_MAX)
		t->h[t->n++] = (struct h2_header){slice_str(name), value};
}

static struct buf *own(struct trailers *t)
{
	struct buf *b = &t->owned[t->n_owned];

	if (t->n >= TRAILERS_MAX || t->n_owned >= TRAILERS_MAX)
		return NULL;
	t->n_owned++;
	buf_init(b, TRAILER_BYTES_MAX);
	return b;
}

static struct slice number(enum grpc_status status)
{
	static const char text[][3] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14",
		"15", "16"};

	return slice_str(text[status <= GRPC_UNAUTHENTICATED ? status : GRPC_UNKNOWN]);
}

static void put_message(struct trailers *t, const char *message)
{
	struct buf *b = message && *message ? own(t) : NULL;

	if (b && percent_encode(b, slice_str(message)))
		put(t, "grpc-message", buf_slice(b));
}

/* Both sides must take padding or none; the text of the standard sends none. */
static void put_binary(struct trailers *t, const struct call_trailer *x)
{
	struct buf *b = own(t);
	struct slice s;

	if (!b || !b64_encode(b, x->value))
		return;
	s = buf_slice(b);
	while (s.n && s.p[s.n - 1] == '=')
		s.n--;
	put(t, x->key, s);
}

static bool printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e)
			return false;
	return true;
}

static bool is_binary(const char *key)
{
	size_t n = strlen(key);

	return n > 4 && strcmp(key + n - 4, "-bin") == 0;
}

void trailers_begin(struct trailers *t)
{
	put(t, ":status", SLICE_LIT("200"));
	put(t, "content-type", SLICE_LIT("application/grpc"));
}

void trailers_status(struct trailers *t, enum grpc_status status, const char *message, const struct call_trailer *extra,
		size_t n)
{
	put(t, "grpc-status", number(status));
	put_message(t, message);
	if (status == GRPC_UNIMPLEMENTED)
		put(t, "grpc-accept-encoding", SLICE_LIT("identity"));
	for (size_t i = 0; i < n; i++) {
		if (is_binary(extra[i].key))
			put_binary(t, &extra[i]);
		else if (printable(extra[i].value))
			put(t, extra[i].key, extra[i].value);
	}
}

/* Who does not speak gRPC at all hears HTTP alone. */
void trailers_refuse(struct trailers *t, int http, enum grpc_status status, const char *message)
{
	static const struct {
		int http;
		const char *text;
		bool grpc;
	} table[] = {{415, "415", false}, {405, "405", false}, {400, "400", true}, {200, "200", true}};
	size_t i = 0;

	while (i + 1 < sizeof table / sizeof table[0] && table[i].http != http)
		i++;
	put(t, ":status", slice_str(table[i].text));
	if (!table[i].grpc)
		return;
	put(t, "content-type", SLICE_LIT("application/grpc"));
	trailers_status(t, status, message, NULL, 0);
}
