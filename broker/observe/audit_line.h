/* What does a line of the audit file say, and is it one that is asked for? Whoever can write the file wrote it: a line is read as JSON, and what stands in a
 * text of it is never taken for a member. No files here: bytes in, an answer out. */
#ifndef BATON_OBSERVE_AUDIT_LINE_H
#define BATON_OBSERVE_AUDIT_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define AUDIT_LINE_BYTES (256 * 1024) /* of one record, its newline too */

/* ---- one after the other ---- */

/* A member of a flat line as it stands there. plain: neither text has an escape in it, so that it is what it says. */
struct audit_member {
	struct slice key, value;
	bool plain;
};

struct audit_members {
	struct slice line;
	size_t at;
	bool whole; /* the last one was followed by the line's end */
};

/* The line without its newline. */
struct audit_members audit_members_of(struct slice line);
/* false: there is none left, or (not whole) the line is no flat object. */
bool audit_member_next(struct audit_members *m, struct audit_member *out);

/* ---- what is asked for ---- */

/* Whose records are shown. */
struct audit_scope {
	bool all;              /* every tenant's, and those of no tenant */
	size_t n;
	char (*tenants)[64];   /* else of these alone; owned, malloc() */
};

/* Is it named there? */
bool audit_scope_has(const struct audit_scope *s, const char *tenant);

/* "" and 0: any. */
struct audit_query {
	char tenant[64], event[64], agent[64], trace_id[33], handoff_id[129], tool[129], reason[64], subject[1025];
	char not_span[17];     /* the search's own record is no answer to it */
	int64_t from_ms, to_ms;
	struct audit_scope scope;
};

enum audit_match {
	AUDIT_MATCH_NO,
	AUDIT_MATCH_YES,
	AUDIT_MATCH_FOREIGN,   /* no line of the audit's */
};

struct audit_found {
	int64_t at_ms;
	char event[64], node[256];
	struct slice before, after; /* the line, in two parts: who sees single tenants is not shown how many records there are of others (seq) */
};

/* May it be one, as far as can be told at a glance? *at_ms: when it was written, -1 when that is not seen. YES is to be judged by audit_line_match(). */
enum audit_match audit_line_glance(const struct audit_query *q, struct slice line, int64_t *at_ms);
/* Is it one? Then *out, whose slices borrow from the line. */
enum audit_match audit_line_match(const struct audit_query *q, struct slice line, struct audit_found *out);

/* ---- where lines begin and end ---- */

/* The lines of p[0, n), the last first, with their places in it and without their newlines, until fn says false. `first`: the file begins here; else what
 * stands before the first newline is a part of a line. *inside: the end is within a line that is passed over (its newline, if it has one, comes later); set when
 * the bytes hold no border at all. Returns how many bytes from the front are still to be looked at, with what comes before them. */
size_t audit_lines_back(struct slice bytes, bool first, bool *inside, bool (*fn)(void *arg, size_t at, size_t n), void *arg);
/* The same from the front: the bytes begin where a line does, unless *inside. Returns how many bytes were looked at. */
size_t audit_lines_on(struct slice bytes, bool *inside, bool (*fn)(void *arg, size_t at, size_t n), void *arg);

#endif
