/* Did the last run end as it was asked to? A marker in the state folder stands while a node runs: one that stands already tells of a crash. In it
 * are the heads of the stores' tokens, by which a node knows its own calls among those of all nodes on its Redis: those of this run, and of all
 * since the last one that ended well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/node_priv.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "rpc/reconcile.h"

#define MARKER_MAX 16384 /* some 1,000 heads; the oldest are left out */
#define HEAD_LINE "calls "
#define HEAD_TEXT 8

static void compare_with(struct node *n, struct slice text)
{
	const uint8_t *end;

	for (; (end = memchr(text.p, '\n', text.n)); text = slice_of(end + 1, text.n - (size_t)(end + 1 - text.p))) {
		char line[sizeof HEAD_LINE + HEAD_TEXT];
		unsigned head;

		if (slice_copy_str(slice_of(text.p, (size_t)(end - text.p)), line, sizeof line) && sscanf(line, HEAD_LINE "%8x", &head) == 1)
			reconcile_by(n->reconcile, head);
	}
}

/* old: the marker of the run that crashed. */
static int after_crash(struct node *n, const struct stat *st, struct slice old, struct problem *why)
{
	int64_t newest;

	n->reconcile = reconcile_new();
	newest = n->reconcile ? audit_tail(n->config->audit_file, RECONCILE_WINDOW_MS, reconcile_seen, n->reconcile, why) : -1;
	if (newest < 0)
		return -1;
	reconcile_since(n->reconcile, newest, (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000);
	if (!n->redis) /* there may be other nodes */
		compare_with(n, old);
	log_event(LOG_WARN, "node.unclean_stop", F_STR("remedy", "the audit is compared with the store"));
	return 0;
}

static int write_marker(struct node *n, struct slice old, struct problem *why)
{
	static const char first[] = "batond runs, or stopped without cleaning up\n";
	struct buf b;
	int r;

	buf_init(&b, MARKER_MAX);
	buf_put_str(&b, first);
	random_bytes(n->heads, sizeof n->heads);
	for (unsigned i = 0; i < n->n_workers; i++)
		buf_printf(&b, HEAD_LINE "%08x\n", n->heads[i]);
	if (old.n > sizeof first - 1)
		old = slice_of(old.p + sizeof first - 1, old.n - (sizeof first - 1));
	while (old.n) {
		const uint8_t *end = memchr(old.p, '\n', old.n);
		size_t line = end ? (size_t)(end + 1 - old.p) : old.n;

		if (line == sizeof HEAD_LINE + HEAD_TEXT && buf_slice(&b).n + line <= MARKER_MAX)
			buf_put(&b, old.p, line);
		old = slice_of(old.p + line, old.n - line);
	}
	r = buf_slice(&b).n ? file_write_atomic(n->marker, buf_slice(&b), 0600, why) : problem_set(why, "out of memory");
	buf_clear(&b);
	return r;
}

int marker_open(struct node *n, struct problem *why)
{
	uint8_t *old = NULL;
	size_t n_old = 0;
	struct stat st;
	int r = 0;

	snprintf(n->marker, sizeof n->marker, "%s/running", n->config->state_dir);
	if (stat(n->marker, &st) == 0) {
		if (file_read(n->marker, MARKER_MAX, &old, &n_old, why) < 0)
			return -1;
		r = after_crash(n, &st, slice_of(old, n_old), why);
	}
	if (r == 0)
		r = write_marker(n, slice_of(old, n_old), why);
	free(old);
	return r;
}
