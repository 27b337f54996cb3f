/* What do the commands for resources of one kind share? Each kind says in one row what is its own, and has list, show, history, rollback and changes of here. */
#ifndef BATON_CLI_RESOURCE_H
#define BATON_CLI_RESOURCE_H

#include "base/arena.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/cli.h"
#include "cli/table.h"

typedef Baton__V1__Resource resource;

/* A row of a table; what is made for it may stand in the arena. */
typedef void resource_row(const struct cli *c, struct table *t, const resource *r, struct arena *arena);

struct resource_view {
	const char *kind;                        /* as the broker calls it */
	Baton__V1__Resource__SpecCase spec;
	bool of_tenant;                          /* --tenant says whose it is; else its name is one of the broker's */
	const char *lists;                       /* what to do when one is not there */
	const char *stranger;                    /* what to say of an answer of another kind */
	const char *const *columns;              /* of list */
	size_t shown, wide;
	resource_row *row;
	const char *const *history_columns;
	size_t history_shown, history_wide;
	resource_row *version;
	const char *(*name)(const resource *r);
	void (*print)(const struct cli *c, const resource *r);
};

/* Is it one, of this kind? */
bool resource_is_of(const struct resource_view *v, const resource *r);
/* list --watch: reswatch.c. The exit code. */
int resource_watch(struct cli *c, const struct resource_view *v);
/* list; show NAME; history NAME. The exit code. */
int resource_list(struct cli *c, const struct resource_view *v);
int resource_show(struct cli *c, const struct resource_view *v);
int resource_history(struct cli *c, const struct resource_view *v);

/* One, as -o says. */
void resource_print(struct cli *c, const struct resource_view *v, const resource *r);

/* The one that the command names, borrowed from its words: for a question about it. */
Baton__V1__ResourceRef resource_ref(struct cli *c, const struct resource_view *v);
/* It, in the arena. NULL: *code, complained about. */
resource *resource_get(struct cli *c, const struct resource_view *v, struct arena *arena, int *code);
/* The same, which need not be there: then NULL, and *code is 0. */
resource *resource_look(struct cli *c, const struct resource_view *v, struct arena *arena, int *code);
/* r as it is to be, by its version; --dry-run changes nothing. Says what was done. The exit code. */
int resource_apply(struct cli *c, struct arena *arena, resource *r, char *reason);
/* rollback NAME: what it was in --to-version. The exit code. */
int resource_rollback(struct cli *c, const struct resource_view *v);
/* r as it was seen. tenant: its own, or "". The exit code. */
int resource_delete(struct cli *c, const struct resource_view *v, struct arena *arena, const resource *r, char *tenant, char *reason);

/* The one that the command names, for a kind without tenants, when whoever asks has heard what comes of it. The exit code. */
int resource_remove(struct cli *c, const struct resource_view *v, const char *effect);
/* What is there is static: the exit code, complained about; 0: it is not. */
int resource_not_static(struct cli *c, const struct resource_view *v, const resource *r);
/* For a command that changes what is there, or makes it: *reason, and what is there under the name, to be changed; else made. NULL: *code, complained about. */
resource *resource_begin(struct cli *c, const struct resource_view *v, struct arena *arena, char **reason, resource *made, int *code);
/* A file that an option names, in the arena. The exit code. */
int resource_file(struct cli *c, enum opt o, size_t max, struct arena *arena, struct slice *out);
/* The lines of show about who changed it last, and why. */
void resource_print_version(const struct cli *c, int width, const resource *r);
/* A cell of words: "a,b". */
void resource_cell_words(struct table *t, char *const *v, size_t n);

#endif
