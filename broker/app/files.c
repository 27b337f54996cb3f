/* Which files rotate by themselves, and did they? Certificates, keys, bundles and CRLs that somebody else renews: what is new of them is taken up without
 * a SIGHUP. */
#include <sys/stat.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/log.h"

/* Of one file, as it is now. */
static uint64_t version_of(const char *path)
{
	struct stat st;

	if (!path || !*path || stat(path, &st) < 0)
		return 1;
	return (uint64_t)st.st_mtim.tv_sec * 1000003 ^ (uint64_t)st.st_mtim.tv_nsec ^ (uint64_t)st.st_ino << 20 ^ (uint64_t)st.st_size * 0x9e3779b97f4a7c15u;
}

uint64_t files_mark(const struct config *c)
{
	const char *const own[] = {c->tls_cert, c->tls_key_file, c->issuing_cert, c->issuing_key, c->issuing_bundle};
	uint64_t mark = 14695981039346656037u;

	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		mark = (mark ^ version_of(own[i])) * 1099511628211u;
	for (size_t i = 0; i < c->n_trust; i++) {
		mark = (mark ^ version_of(c->trust[i].bundle_file)) * 1099511628211u;
		mark = (mark ^ version_of(c->trust[i].crl_file)) * 1099511628211u;
	}
	return mark;
}

/* From now on what differs from these is a change. */
static void begin_from(struct node *n, uint64_t mark)
{
	n->files_seen = mark;
	n->files_changing = 0;
	n->files_again_ms = 0;
}

void files_are_refused(struct node *n, uint64_t mark, int64_t again_ms)
{
	begin_from(n, mark);
	if (again_ms)
		n->files_again_ms = clock_mono_ms() + again_ms;
}

void files_are_taken(struct node *n, uint64_t mark)
{
	begin_from(n, mark);
	n->files_taken = mark;
}

/* A change counts when it has stood for one look: certificate and key are seldom replaced in one instant. */
void files_look(struct node *n)
{
	uint64_t mark;

	if (n->reloading)
		return; /* what has changed before it began is read by that */
	if (n->files_again_ms && clock_mono_ms() >= n->files_again_ms)
		begin_from(n, n->files_taken);
	mark = files_mark(n->config);
	if (mark == n->files_seen) {
		n->files_changing = 0;
	} else if (mark != n->files_changing) {
		n->files_changing = mark;
	} else {
		log_event(LOG_INFO, "files.changed", F_STR("what", "certificate, key, bundle or CRL"));
		reload_run(n);
	}
}
