/* What do the audit's files know of each other? The open file with its lock, and the lanes that wait for it. Private to
 * observe/audit*.c. */
#ifndef BATON_OBSERVE_AUDIT_INTERNAL_H
#define BATON_OBSERVE_AUDIT_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "observe/audit.h"
#include "observe/audit_line.h"

#define AUDIT_LANE_BYTES (4 * 1024 * 1024)
#define AUDIT_VALUE_BYTES 4096        /* of one string in it, after redaction; the rest is cut */
#define AUDIT_SYNC_MS 1000
#define AUDIT_LANE_SLACK_MS 10000 /* lanes write at their tick's tail, so that lines are not strictly in order of time */
#define AUDIT_RETIRED_MAX 4

/* A ticket's life. `lost` keeps later tickets from overtaking a failure that the worker has not seen: until it has read
 * audit_failed(), every flush of this lane fails.
 *
 *     put --flush ok--> written --sync ok--> durable
 *      |                   |
 *      +--flush fails------+--sync fails--> lost --once nothing before it is pending--> failed --seen--> (gone)
 */
struct audit_lane {
	struct audit *audit;
	struct audit_lane *next;
	void (*wake)(void *arg);
	void *arg;
	/* the worker's alone */
	struct buf lines;   /* not yet written */
	struct buf line;    /* the record being formatted */
	struct buf scratch; /* a value being redacted */
	uint64_t put;
	bool awaited;       /* one of `lines` is */
	/* under audit->lock */
	uint64_t written;
	uint64_t mark; /* written when the sync that is under way began */
	uint64_t lost;
	/* set under audit->lock, read without it */
	_Atomic uint64_t durable;
	_Atomic uint64_t failed;
	_Atomic uint64_t seen; /* of failed, by the worker */
};

struct audit {
	char path[PATH_MAX];
	char node[256];
	struct metrics *metrics; /* NULL: nobody counts */
	enum audit_sync sync;
	_Atomic uint64_t seq;
	_Atomic uint64_t refused; /* lines that audit_put() did not take while the file was unwritable */
	atomic_bool healthy;
	pthread_t thread;
	pthread_cond_t work;  /* monotonic clock */
	pthread_mutex_t lock; /* everything below, and every write(2) */
	int fd;
	int retired[AUDIT_RETIRED_MAX]; /* files given up by reopening that the sync thread has yet to sync and close */
	unsigned n_retired;
	bool torn;            /* the file ends inside a line */
	bool dirty;           /* written since the last sync began */
	bool awaited;         /* and somebody waits for it */
	bool write_bad;
	bool sync_bad;
	bool stop;
	uint64_t lost_lines;  /* taken, and then not written, since write_bad began */
	int lost_errno;
	struct audit_lane *lanes;
};

/* audit.c: appends one whole line, newline included. */
void audit_count_lost(struct audit *a, uint64_t lines);
bool audit_format(struct audit *a, struct buf *line, struct buf *scratch, const struct audit_record *r);
/* audit_file.c, all with the lock held. */
int audit_write(struct audit *a, struct slice lines);
int audit_recover(struct audit *a);
void audit_retire(struct audit *a); /* room must be there */
int audit_swap(struct audit *a, struct problem *why);
void audit_set_health(struct audit *a);
bool audit_lane_publish(struct audit_lane *l);
/* audit_sync.c */
int audit_sync_start(struct audit *a, struct problem *why);
void audit_sync_stop(struct audit *a);

#endif
