/* How is a handoff followed? Event by event, printed as they come; a broken connection is taken up again behind the
 * last one seen. */
#ifndef BATON_CLI_EVENTS_H
#define BATON_CLI_EVENTS_H

#include <stdint.h>

#include "baton/v1/handoff.pb-c.h"
#include "base/buf.h"

struct cli;
struct client_stream;

struct follow {
	struct cli *c;
	struct client_stream *stream; /* Run or Watch; owned, freed by follow_run() */
	char id[129];
	uint64_t cursor;              /* last seen */
	uint64_t until;               /* stop behind this one; 0 = the end */
	bool collect;                 /* gather JSON objects in `json` instead of printing */
	bool silent;                  /* print no events */
	bool attended;                /* somebody waits for its end: say what it is called, also on ^C */
	bool begun;                   /* an event was seen */
	int64_t stamp_by;             /* monotonic ms: until then follow_run() may answer FOLLOW_STAMP_AGAIN; 0 = never */
	bool headed;                  /* the table's first line was printed */
	struct buf json;
	int state;                    /* after the last event */
	char said[2048];              /* by the last event, in a few words */
	char trace_id[33];
	struct buf result;            /* the Result's bytes */
	bool have_result;
};

void follow_init(struct follow *f, struct cli *c);
void follow_clear(struct follow *f);
#define FOLLOW_STAMP_AGAIN (-1)   /* see envelope_stamp_again(): nothing was accepted, start anew */
/* 0 after the terminal event or `until`; else an exit code, complained about. */
int follow_run(struct follow *f);
/* 0 when it completed; else EXIT_NO, and why on standard error. */
int follow_end(const struct follow *f);
/* One JSON object for the whole life, from what was collected. */
void follow_print_story(const struct follow *f);

#endif
