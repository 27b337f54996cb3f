/* What is one delivery while its command runs? A process group with three pipes, a lease, and in the end a report
 * that the broker must settle.
 *
 *   RUNNING --exit--> REPORTING --settled--> (gone)
 *      \---stop, lease lost---> STOPPING --exit--> (gone) */
#ifndef BATON_CLI_WORK_H
#define BATON_CLI_WORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/problem.h"
#include "baton/v1/handoff.pb-c.h"

#define WORK_OUTPUT_MAX (1024 * 1024)
#define WORK_MESSAGE_MAX 1024
#define WORK_TAIL 2048

enum work_state { WORK_RUNNING, WORK_STOPPING, WORK_REPORTING };

struct work {
	struct work *next;
	enum work_state state;
	char id[129];
	uint64_t fence;
	pid_t pid;              /* also its process group; 0 once reaped */
	int in, out, err;       /* our ends of its pipes; -1 = closed */
	struct buf payload;     /* for its standard input */
	size_t payload_at;
	struct buf output;      /* its standard output */
	char tail[WORK_TAIL];   /* the end of its standard error */
	size_t tail_n;
	bool too_large;
	char assertion[256];    /* file; "" = none */
	int64_t kill_at;        /* SIGKILL then (monotonic ms); 0 = not asked */
	int64_t resend_at;      /* the report, again; 0 = no */
	int64_t started_at;     /* monotonic ms */
	struct buf report;      /* packed SubscriberFrame */
	bool refused_once;
	const char *content_type; /* of the result; NULL = by what it holds; borrowed */
};

/* What these bytes are: application/json, text/plain or application/octet-stream. */
const char *work_content_type(struct slice bytes);
/* Starts argv for the delivery; dir: where its assertion file may lie. NULL with why. The pid is in the work;
 * SIGCHLD tells its end. */
struct work *work_start(const Baton__V1__Delivery *d, char *const *argv, const char *dir, struct problem *why);
/* Moves bytes through the pipes as far as they go. */
void work_io(struct work *w);
/* SIGTERM to its group, SIGKILL after grace_ms; its result counts no more. */
void work_stop(struct work *w, int64_t grace_ms);
/* It has ended with this wait status: the rest of its output is read, its files removed. Builds the report when
 * RUNNING. */
void work_ended(struct work *w, int status);
/* A report of failure instead of the one that is there. */
void work_report_failure(struct work *w, const char *code, const char *message, bool retryable);
int work_write_assertion(struct work *w, const char *assertion, struct problem *why);
void work_free(struct work *w);

#endif
