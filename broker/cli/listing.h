/* How is a list printed? As a table, JSON, lines of JSON, or names, as -o says; items come one by one, page by page. */
#ifndef BATON_CLI_LISTING_H
#define BATON_CLI_LISTING_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "cli/cli.h"
#include "cli/table.h"

struct listing {
	const struct cli *c;
	struct table table;
	struct buf text;
	struct jsonw json;
};

/* columns: borrowed; `shown` of them, or `wide` with -o wide. */
void listing_init(struct listing *l, const struct cli *c, const char *const *columns, size_t shown, size_t wide);
/* An item, in whatever is not a table. false: it is one, and the caller adds the row to l->table. */
bool listing_put(struct listing *l, const ProtobufCMessage *item, const char *name);
/* What has gathered: the table, or the JSON. */
void listing_print(struct listing *l);
void listing_clear(struct listing *l);

/* Whether there is a page behind this one; its token replaces the text. One that is itself again has none. */
bool listing_next(const char *next, char *token, size_t size);

#endif
