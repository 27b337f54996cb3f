/* What is revoked, though Redis was emptied and this node began anew, or Redis is away? Revocations stand in a file of the state folder too, written before the
 * node confirms one. They come back from it with the versions that they had, and are given to a store that lacks them. Lines of text: name, version,
 * generation, time, removed, value in base64url; the last line is a MAC of those before it, by a sealing key: a file of another deployment says nothing here. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/node_priv.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "rpc/revoked.h"

#define FILE_MAX (64u << 20)
#define HEAD "baton revocations 2\n"
#define FIELDS 6

static void path_of(const struct node *n, char out[1200])
{
	snprintf(out, 1200, "%s/revocations", n->boot->state_dir);
}

bool kept_is(struct slice name)
{
	const struct slice prefix = SLICE_LIT(REVOKED_PREFIX);

	return name.n > prefix.n && slice_begins(name, prefix);
}

/* ---- out ---- */

static void put_line(struct buf *b, const struct resource *r)
{
	char *value = malloc(B64URL_LEN(r->value.n) + 1);

	if (!value) {
		b->failed = true;
		return;
	}
	b64url_encode(r->value.p, r->value.n, value);
	buf_printf(b, "%.*s %" PRIu64 " %" PRIu64 " %" PRId64 " %d ", (int)r->name.n, (const char *)r->name.p, r->version, r->generation, r->changed_at_ms, r->removed);
	buf_put_str(b, value);
	buf_put_u8(b, '\n');
	free(value);
}

bool kept_save(struct node *n)
{
	const struct resources *s = n->resources;
	struct problem why = {"out of memory"};
	uint8_t mac[SEAL_MAC_BYTES] = {0};
	char path[1200], hex[2 * SEAL_MAC_BYTES + 1];
	struct buf b;
	bool ok;

	path_of(n, path);
	buf_init(&b, FILE_MAX);
	buf_put_str(&b, HEAD);
	for (size_t i = resources_place(s, SLICE_LIT(REVOKED_PREFIX)); i < resources_count(s) && kept_is(resources_at(s, i)->name); i++)
		put_line(&b, resources_at(s, i));
	b.failed |= !seal_keys_mac(n->seal, buf_slice(&b), mac);
	hex_encode(mac, sizeof mac, hex);
	buf_put_str(&b, hex);
	buf_put_u8(&b, '\n');
	ok = !b.failed && file_write_atomic(path, buf_slice(&b), 0600, &why) == 0;
	if (!ok)
		log_event(LOG_ERROR, "revocation.not_kept", F_STR("why", why.text),
			  F_STR("remedy", "what is revoked holds, but this node would not know of it if Redis were emptied and it began anew: make room in state_dir"));
	buf_clear(&b);
	return ok;
}

/* ---- in ---- */

/* The next word, up to `end`; "" when there is none. */
static struct slice take_word(struct slice *text, char end)
{
	const uint8_t *p = text->n ? memchr(text->p, end, text->n) : NULL;
	struct slice word = slice_of(text->p, p ? (size_t)(p - text->p) : 0);

	if (p)
		*text = slice_of(p + 1, text->n - word.n - 1);
	return word;
}

static bool number(struct slice word, uint64_t *out)
{
	char text[24], *end;

	if (!slice_copy_str(word, text, sizeof text) || text[0] < '0' || text[0] > '9')
		return false;
	*out = strtoull(text, &end, 10);
	return !*end;
}

/* r's name and value lie in the line's own bytes. */
static bool read_line(struct slice line, struct resource *r)
{
	uint64_t v[FIELDS - 2];
	uint8_t *room;
	long n;

	r->name = take_word(&line, ' ');
	for (size_t i = 0; i < FIELDS - 2; i++)
		if (!number(take_word(&line, ' '), &v[i]))
			return false;
	room = (uint8_t *)(uintptr_t)line.p;
	n = b64url_decode(line, room, line.n);
	if (!kept_is(r->name) || !v[0] || n < 0)
		return false;
	r->version = v[0];
	r->generation = v[1];
	r->changed_at_ms = (int64_t)v[2];
	r->removed = v[3] != 0;
	r->value = slice_of(room, (size_t)n);
	return true;
}

static size_t count_lines(struct slice text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == '\n';
	return n;
}

/* 0; -1: it is damaged, or memory is out. */
static int read_all(struct node *n, struct slice text)
{
	struct resource *v = calloc(count_lines(text) + 1, sizeof *v);
	struct resources *now = NULL;
	size_t k = 0, behind;
	bool ok = v;

	while (ok && text.n)
		ok = read_line(take_word(&text, '\n'), &v[k++]);
	if (ok)
		now = resources_with(n->resources, v, k, &behind);
	free(v);
	if (!now)
		return -1;
	resources_unref(n->resources);
	n->resources = now;
	return 0;
}

static bool is_whole(const struct node *n, struct slice all, struct slice *lines)
{
	size_t tail = 2 * SEAL_MAC_BYTES + 1, head = sizeof HEAD - 1;
	uint8_t mac[SEAL_MAC_BYTES];

	if (all.n < head + tail || memcmp(all.p, HEAD, head) != 0 || hex_decode_lower(slice_of(all.p + all.n - tail, tail - 1), mac, sizeof mac) != (long)sizeof mac)
		return false;
	*lines = slice_of(all.p + head, all.n - tail - head);
	return seal_keys_made(n->seal, slice_of(all.p, all.n - tail), mac);
}

int kept_open(struct node *n, struct problem *why)
{
	char path[1200];
	struct stat st;
	struct slice lines;
	uint8_t *text;
	size_t size;
	int rc;

	path_of(n, path);
	if (stat(path, &st) < 0 && errno == ENOENT)
		return 0;
	if (file_read(path, FILE_MAX, &text, &size, why) < 0)
		return -1;
	rc = is_whole(n, slice_of(text, size), &lines) ? read_all(n, lines) : -1;
	free(text);
	n->sharing.revoked = true; /* written anew, by the key that is the first by now */
	if (rc < 0)
		problem_set(why, "%.400s is damaged, or of another deployment, whose sealing keys are others: it says what is revoked. Put a copy of it back, or, if Redis has all revocations (`baton revocation list` on another node), remove it", path);
	return rc;
}
