/* Who looks through the audit's files, so that no worker waits for a disk? One thread for all searches, a piece of each in turn. It reads back from the end of the
 * file that is written now, then through those that it was rotated to (FILE.1, FILE.2 ...), within bounds; what it finds is fetched in batches by whoever asked,
 * the oldest first, and nothing is read for who does not fetch. What a line says is audit_line.h's.
 */
#ifndef BATON_OBSERVE_AUDIT_SEARCH_H
#define BATON_OBSERVE_AUDIT_SEARCH_H

#include "base/buf.h"
#include "observe/audit.h"
#include "observe/audit_line.h"

#define AUDIT_SEARCHES 16            /* at once; */
#define AUDIT_SEARCHES_BOUND 12      /* so many of those who see single tenants, so that an incident's SRE has one; */
#define AUDIT_SEARCHES_TENANT 3      /* and of those who see the same tenant, so that no tenant's keep another's out */
#define AUDIT_SEARCH_LIMIT 1000
#define AUDIT_SEARCH_BYTES (INT64_C(512) << 20) /* that are read for one search, what follows not counted, */
#define AUDIT_SEARCH_MS 10000        /* and for how long, the turns of others not counted */
#define AUDIT_BATCH_HITS 64

struct audit_reader;

struct audit_ask {
	struct audit_query query;        /* its scope is taken */
	uint32_t limit;                  /* 1..AUDIT_SEARCH_LIMIT: the newest so many */
	bool follow;                     /* then what is written from then on, without end */
	uint64_t connection;             /* one search each */
	/* On the reader's thread: audit_search_take() has something, or another look at it is due. It must call nothing of the audit. */
	void (*wake)(void *arg);
	void *arg;
};

enum audit_begun { AUDIT_BEGUN, AUDIT_BUSY, AUDIT_BUSY_TENANT, AUDIT_BUSY_HERE, AUDIT_NO_FILE, AUDIT_NO_MEMORY };

enum audit_end { AUDIT_END_ALL = 1, AUDIT_END_LIMIT, AUDIT_END_BOUND }; /* as AuditLooked.End */

/* How far it was looked, said once. */
struct audit_looked {
	enum audit_end end;
	int64_t from_ms;                 /* all that was written after it was looked at; 0: there was nothing */
	uint64_t bytes, skipped;         /* read; lines that are none */
};

struct audit_hit {
	size_t at, n;                    /* in audit_batch.bytes */
	uint64_t seq;                    /* where the line begins in its file */
	int64_t at_ms;
	char event[64], node[256];
};

struct audit_batch {
	struct buf bytes;
	struct audit_hit hits[AUDIT_BATCH_HITS];
	size_t n;
	bool has_looked;                 /* `looked` comes behind the hits; unless the search follows it is over */
	struct audit_looked looked;
};

void audit_batch_init(struct audit_batch *b);
void audit_batch_clear(struct audit_batch *b);

/* NULL with why. To be freed before the audit. */
struct audit_reader *audit_reader_new(struct audit *a, struct problem *why);
void audit_reader_free(struct audit_reader *r); /* NULL is fine; after all searches ended */

/* The search has its place, and waits for audit_search_go(). *id: never 0. */
enum audit_begun audit_search_begin(struct audit_reader *r, struct audit_ask *ask, uint64_t *id);
void audit_search_go(struct audit_reader *r, uint64_t id);
/* What was found since, in the place of what is in *b; false: nothing. */
bool audit_search_take(struct audit_reader *r, uint64_t id, struct audit_batch *b);
/* From here on it is not woken. 0 is fine. */
void audit_search_end(struct audit_reader *r, uint64_t id);

#endif
