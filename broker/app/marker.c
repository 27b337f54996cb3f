/* Did the last run end as it was asked to? A marker in the state folder stands while a node runs: one that stands already tells of a crash. In it
 * are the heads of the stores' tokens, by which a node knows its own calls among those of all nodes on its Redis: those of this run, and of all
 * before it whose end is not compared with the audit yet; and from when on that is to be done. */
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
#define SINCE_LINE "since "

/* From when on an earlier run still owes; 0 = it does not. */
static int64_t compare_with(struct node *n, struct slice text)
{
	const uint8_t *end;
	long long since = 0;

	for (; (end = memchr(text.p, '\n', text.n)); text = slice_of(end + 1, text.n - (size_t)(end + 1 - text.p))) {
		char line[64];
		unsigned head;

		if (!slice_copy_str(slice_of(text.p, (size_t)(end - text.p)), line, sizeof line))
			continue;
		if (sscanf(line, HEAD_LINE "%8x", &head) == 1 && !n->redis) /* there may be other nodes */
			reconcile_by(n->reconcile, head);
		else
			sscanf(line, SINCE_LINE "%18lld", &since);
	}
	return since > 0 ? since : 0;
}

/* old: the marker of the run that crashed. */
static int after_crash(struct node *n, const struct stat *st, struct slice old, struct problem *why)
{
	int64_t newest, owed, now = clock_unix_ms(), window = RECONCILE_WINDOW_MS;

	n->reconcile = reconcile_new();
	if (!n->reconcile)
		return problem_set(why, "out of memory");
	owed = compare_with(n, old);
	if (owed && owed < now)
		window += now - owed;
	newest = audit_tail(n->config->audit_file, window, reconcile_seen, n->reconcile, why);
	if (newest < 0)
		return -1;
	reconcile_since(n->reconcile, newest, (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000, owed);
	log_event(LOG_WARN, "node.unclean_stop", F_STR("remedy", "the audit is compared with the store"));
	return 0;
}

/* old: the heads of runs before this one, if they are still of use. */
static int write_marker(struct node *n, struct slice old, struct problem *why)
{
	static const char first[] = "batond runs, or stopped without cleaning up\n";
	struct buf b;
	int r;

	buf_init(&b, MARKER_MAX);
	buf_put_str(&b, first);
	if (old.n && n->reconcile)
		buf_printf(&b, SINCE_LINE "%lld\n", (long long)reconcile_from(n->reconcile));
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
	random_bytes(n->heads, sizeof n->heads);
	n->owed = r == 0 && n->reconcile;
	if (r == 0)
		r = write_marker(n, slice_of(old, n_old), why);
	free(old);
	return r;
}

void marker_look(struct node *n)
{
	struct problem why = {""};

	if (!n->owed || !reconcile_settled(n->reconcile))
		return;
	if (write_marker(n, slice_str(""), &why) < 0)
		log_event(LOG_WARN, "node.marker", F_STR("why", why.text));
	n->owed = false;
}
