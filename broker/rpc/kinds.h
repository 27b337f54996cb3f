/* Of which kinds are resources, and what is each kind's own? One row a kind: who shows it, and who judges and writes what becomes of it. Private to rpc/. */
#ifndef BATON_RPC_KINDS_H
#define BATON_RPC_KINDS_H

#include "rpc/enlist.h"
#include "rpc/operator.h"

struct named;

struct kind {
	const char *name;                 /* "agent" */
	Baton__V1__Resource__SpecCase spec;
	const struct named *named;        /* NULL: it is an agent, who has a name within a tenant */
	void (*get)(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
	void (*list)(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, size_t page);
	void (*history)(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
	/* One of Apply's, of a Delete: into e. false: the op has ended. */
	bool (*judge)(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i);
	bool (*judge_removal)(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e);
	/* What was judged becomes changes of the store. false: memory is out. */
	bool (*write)(struct op *op, struct enlist *x, struct entry *e);
	const char *event;                /* of the audit */
};

/* ---- agents: agents.c shows, registrar.c judges and writes ---- */
void agents_get(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
void agents_list(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, size_t page);
void agents_history(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
bool agents_judge(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i);
bool agents_judge_removal(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e);
bool agents_write(struct op *op, struct enlist *x, struct entry *e);

/* ---- roles.c; what is not its own is named.h's ---- */
bool roles_judge(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i);
bool roles_judge_removal(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e);
/* Has he all roles of the bindings of which is() is true? Who may change how others prove who they are could else make himself one of them. Else the op has
 * ended. */
bool roles_has_all_of(struct op *op, bool (*is)(const struct op *op, const Baton__V1__RoleBinding *m, const char *name), const char *name);
/* The trust domain of which the issuer of this name has JWT-SVIDs, good with the certificates of that domain alone; "": it has none, or there is no such issuer. */
const char *providers_domain(const struct op *op, const char *issuer);

/* ---- all kinds ---- */
/* NULL: there is none. */
const struct kind *kinds_find(const char *name);
const struct kind *kinds_of(Baton__V1__Resource__SpecCase spec);
/* The kind's message in m, which is one of this kind. */
ProtobufCMessage *kinds_spec(const Baton__V1__Resource *m);
/* A resource of the kind with this message, in the arena. NULL: memory is out. */
Baton__V1__Resource *kinds_wrap(struct op *op, const struct kind *k, ProtobufCMessage *spec);
/* What is stored, with its version, in the arena. NULL: it is none of the kind, or memory is out (then arena_failed()). */
Baton__V1__Resource *kinds_read(struct op *op, const struct kind *k, const struct resource *r);
/* What the name was in each version that is kept, the last one first: the call's answer. */
void kinds_versions(struct op *op, const struct kind *k, struct slice name);
/* An empty list with room for a page. NULL: memory is out, and the op has ended. */
Baton__V1__ListResourcesResponse *kinds_page(struct op *op, size_t page);

#endif
