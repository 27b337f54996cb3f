/* What does a file of resources say? YAML, a document a resource, `---` between two, becomes messages; whatever is not certain to be meant is refused by its
 * line and column. */
#ifndef BATON_CLI_RESFILE_H
#define BATON_CLI_RESFILE_H

#include "base/problem.h"
#include "base/slice.h"
#include "cli/reskind.h"

#define RESFILE_BYTES_MAX (16 * 1024 * 1024)
#define RESFILE_ITEMS_MAX 65536

struct res_place {
	unsigned line, column; /* from 1; 0: it does not stand there */
};

struct res_item {
	const struct res_kind *kind;
	const char *name;             /* "agent/acme/planner" */
	Baton__V1__Resource *resource;
	ProtobufCMessage *spec;       /* the resource's */
	struct res_place at;          /* where it begins */
	struct res_place field[RES_FIELDS_MAX];
	const struct res_field *in_file; /* the field that stands in a file of its own, until resfile_load(); NULL: none does */
	const char *path;
};

struct resfile {
	const char *name; /* of the file, for errors; borrowed */
	struct res_item *v;
	size_t n;
};

/* All of it in the arena. 0, or -1 with why: "FILE:LINE:COLUMN: what; what to do". Documents in which nothing stands count as none; a file without any
 * document is refused, for nobody means that. */
int resfile_read(struct slice yaml, const char *name, struct arena *arena, struct resfile *out, struct problem *why);
/* What stands in files of their own: read from there, beside the file of resources unless their names begin with "/". 0, or -1 with why. */
int resfile_load(struct resfile *f, struct arena *arena, struct problem *why);

#endif
