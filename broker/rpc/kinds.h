/* Of which kinds are resources, and what is each kind's own? One row a kind: who shows it, and who judges and writes what becomes of it. Private to rpc/. */
#ifndef BATON_RPC_KINDS_H
#define BATON_RPC_KINDS_H

#include "rpc/enlist.h"
#include "rpc/operator.h"

struct named;

/* One of a kind as a watch sees it, before it is read. */
struct sight {
	struct slice name;                /* in whose order they are; the kind's own */
	uint64_t stamp;                   /* another one when it was changed; never 0 */
	size_t bytes;                     /* that it takes to read it */
	const void *found;
};

struct sights {
	struct sight *v;                  /* in the arena; NULL: memory is out */
	size_t n;
};

struct kind {
	const char *name;                 /* "agent" */
	Baton__V1__Resource__SpecCase spec;
	const struct named *named;        /* NULL: it is an agent, who has a name within a tenant */
	void (*get)(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
	void (*list)(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, size_t page);
	/* All that list may show, also those that it leaves out in the end; one of them, as list shows it (NULL: it does not, or memory is out); and its name alone. */
	struct sights (*look)(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m);
	Baton__V1__Resource *(*see)(struct op *op, const struct kind *k, const struct sight *s, const Baton__V1__ListResourcesRequest *m);
	Baton__V1__Resource *(*gone)(struct op *op, const struct kind *k, struct slice name);
	/* What is kept under the name that ref gives, removed or not, so that it has versions. NULL: the op has ended. */
	const struct resource *(*kept)(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
	/* One of Apply's, of a Delete: into e. false: the op has ended. */
	bool (*judge)(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i);
	bool (*judge_removal)(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e);
	/* m, a version of before, shall be judged in the place of now, which is NULL when there is none: what of it stays as it is now? false: the op has ended. NULL: nothing
	 * does. */
	bool (*set_back)(struct op *op, const Baton__V1__Resource *now, Baton__V1__Resource *m);
	/* What was judged becomes changes of the store. false: memory is out. */
	bool (*write)(struct op *op, struct enlist *x, struct entry *e);
	const char *event;                /* of the audit */
};

/* ---- agents: agents.c shows, registrar.c judges and writes ---- */
void agents_get(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
void agents_list(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, size_t page);
struct sights agents_look(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m);
Baton__V1__Resource *agents_see(struct op *op, const struct kind *k, const struct sight *s, const Baton__V1__ListResourcesRequest *m);
Baton__V1__Resource *agents_gone(struct op *op, const struct kind *k, struct slice name);
const struct resource *agents_kept(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
bool agents_judge(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i);
bool agents_judge_removal(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e);
bool agents_set_back(struct op *op, const Baton__V1__Resource *now, Baton__V1__Resource *m);
bool agents_write(struct op *op, struct enlist *x, struct entry *e);

/* ---- roles.c; what is not its own is named.h's ---- */
bool roles_judge(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i);
bool roles_judge_removal(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e);
bool roles_set_back(struct op *op, const Baton__V1__Resource *now, Baton__V1__Resource *m);
/* Has he all roles of the bindings of which is() is true? Who may change how others prove who they are could else make himself one of them. Else the op has
 * ended. */
bool roles_has_all_of(struct op *op, bool (*is)(const struct op *op, const Baton__V1__RoleBinding *m, const char *name), const char *name);
/* The trust domain of which the issuer of this name has JWT-SVIDs, good with the certificates of that domain alone; "": it has none, or there is no such issuer. */
const char *providers_domain(const struct op *op, const char *issuer);

/* ---- all kinds ---- */
/* NULL: there is none. */
const struct kind *kinds_find(const char *name);
/* The kind that a call names. NULL: there is none, and the op has ended. */
const struct kind *kinds_asked(struct op *op, const char *name);
const struct kind *kinds_of(Baton__V1__Resource__SpecCase spec);
/* The kind's message in m, which is one of this kind. */
ProtobufCMessage *kinds_spec(const Baton__V1__Resource *m);
/* A resource of the kind with this message, in the arena. NULL: memory is out. */
Baton__V1__Resource *kinds_wrap(struct op *op, const struct kind *k, ProtobufCMessage *spec);
/* What is stored, with its version, in the arena. NULL: it is none of the kind, or memory is out (then arena_failed()). */
Baton__V1__Resource *kinds_read(struct op *op, const struct kind *k, const struct resource *r);
/* Is the caller shown this kind at all? Else the op has ended. */
bool kinds_may_list(struct op *op, const struct kind *k);
/* The stamp of what is not kept, by what it is. */
uint64_t kinds_stamp(struct op *op, const Baton__V1__Resource *m);
/* An empty list with room for a page. NULL: memory is out, and the op has ended. */
Baton__V1__ListResourcesResponse *kinds_page(struct op *op, size_t page);

#endif
