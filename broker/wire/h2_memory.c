/* Whose memory is nghttp2's? The session's: each piece is in a list. When one cannot be had the session is over, and nghttp2 is not asked
 * again: 1.52 keeps a pointer to a queued item that it has freed when the queue behind it cannot grow, so even its own end would free that
 * item twice. All pieces go by the list then. */
#include "wire/h2_priv.h"

#include <stdalign.h>
#include <stdlib.h>

struct h2_piece {
	struct h2_piece *next, **at;
	alignas(max_align_t) uint8_t bytes[];
};

static void link_piece(struct h2 *h, struct h2_piece *p)
{
	p->next = h->pieces;
	p->at = &h->pieces;
	if (p->next)
		p->next->at = &p->next;
	h->pieces = p;
}

static void unlink_piece(struct h2_piece *p)
{
	*p->at = p->next;
	if (p->next)
		p->next->at = p->at;
}

static struct h2_piece *piece_of(void *bytes)
{
	return (struct h2_piece *)((uint8_t *)bytes - offsetof(struct h2_piece, bytes));
}

static void *failed(struct h2 *h)
{
	h->no_memory = h->over = true;
	h->error = "out_of_memory";
	return NULL;
}

static void *take(size_t n, void *arg)
{
	struct h2 *h = arg;
	struct h2_piece *p = n < SIZE_MAX - sizeof *p ? malloc(sizeof *p + n) : NULL;

	if (!p)
		return failed(h);
	link_piece(h, p);
	return p->bytes;
}

static void *take_zeroed(size_t n, size_t size, void *arg)
{
	void *bytes = size && n > SIZE_MAX / size ? failed(arg) : take(n * size, arg);

	return bytes ? memset(bytes, 0, n * size) : NULL;
}

static void give(void *bytes, void *arg)
{
	struct h2_piece *p = bytes ? piece_of(bytes) : NULL;

	(void)arg;
	if (p)
		unlink_piece(p);
	free(p);
}

static void *change(void *bytes, size_t n, void *arg)
{
	struct h2 *h = arg;
	struct h2_piece *p, *q;

	if (!bytes)
		return take(n, arg);
	p = piece_of(bytes);
	unlink_piece(p);
	q = n < SIZE_MAX - sizeof *q ? realloc(p, sizeof *q + n) : NULL;
	link_piece(h, q ? q : p);
	return q ? q->bytes : failed(h);
}

nghttp2_mem h2_memory(struct h2 *h)
{
	return (nghttp2_mem){h, take, give, take_zeroed, change};
}

void h2_memory_free(struct h2 *h)
{
	while (h->pieces)
		give(h->pieces->bytes, h);
}
