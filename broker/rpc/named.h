/* What do kinds share whose resources have one name for all tenants? Role bindings, issuers, tenants, trust bundles: each says in a row what is its own. Private to
 * rpc/. */
#ifndef BATON_RPC_NAMED_H
#define BATON_RPC_NAMED_H

#include "rpc/kinds.h"

#define NAMED_NAME_MAX 300 /* "trust/" and a trust domain */
#define NAMED_CLAIMS 2
#define NAMED_GUARDS 2

/* It is static, and changes in the configuration file alone; or what is stored under its name stands in its place. */
struct named_given {
	const char *name;
	bool is_static;
};

struct named {
	const char *prefix;               /* of resources' names: "role/" */
	const char *what, *field;         /* for messages: "role binding", "role.name" */
	const char *made;                 /* the action of a first version: "granted" */
	const ProtobufCMessage *none;     /* an empty message of the kind */
	size_t name;                      /* where a message has its name */
	size_t max;                       /* so many of them */
	bool counted;                     /* not one more, also when several are made at once: then one is made and the others are to be tried again */
	const char *(*name_wrong)(const char *name);
	/* What the broker says of it when it shows it is not kept, whoever sends it back. NULL: it says nothing. */
	void (*strip)(ProtobufCMessage *m);
	/* What is wrong with what shall be, with `field`; the text may stand in *why. NULL = nothing. */
	const char *(*wrong)(const ProtobufCMessage *m, const char **field, struct problem *why);
	/* What else it must be, beside others that are there, or will be by what stands before it in the call (e NULL: nothing does). false: the op has ended.
	 * NULL: nothing. */
	bool (*fits)(struct op *op, const ProtobufCMessage *m, const struct entry *e, size_t i);
	/* May the caller make the one of the other? Either is NULL when there is none, then or before. false: the op has ended. */
	bool (*may)(struct op *op, const ProtobufCMessage *was, const ProtobufCMessage *is, size_t i);
	/* Is it shown to the caller, who asked for this tenant's ("": for all)? A removed one too. */
	bool (*sees)(struct op *op, const ProtobufCMessage *m, const char *tenant);
	bool all_tenants;                 /* who has his roles for one tenant is told nothing of them */
	const char *for_all;              /* why he does nothing here who has his roles for one tenant; NULL: they are for all tenants */
	/* Those that are there without being stored; NULL: there are none. As a resource, in the op's arena: NULL when memory is out. */
	size_t (*n_given)(const struct op *op);
	struct named_given (*given)(const struct op *op, size_t i);
	Baton__V1__Resource *(*given_at)(struct op *op, const struct kind *k, size_t i);
	/* What this node knows of it beside what is kept; NULL: nothing. */
	void (*dress)(struct op *op, Baton__V1__Resource *m);
	/* No two of them have the same text here: the resource that says whose it is, of the i-th such text; n 0: it has none. NULL: there are no such texts. */
	struct slice (*claim)(const ProtobufCMessage *m, size_t i, char out[NAMED_NAME_MAX]);
	const char *claimed[NAMED_CLAIMS]; /* the texts' fields */
	/* A resource that each change of this one makes anew, for what else is judged by it: of two changes that were judged at once one is done. i: the first,
	 * the second; n 0: there is none. NULL: nothing else is. */
	struct slice (*guard)(const struct op *op, const ProtobufCMessage *m, size_t i, char out[NAMED_NAME_MAX]);
};

extern const struct named named_roles;   /* roles.c */
extern const struct named named_issuers; /* providers.c */
extern const struct named named_tenants; /* tenantkind.c */
extern const struct named named_bundles; /* bundles.c */

/* "bound/issuer/corp": what role bindings say of an issuer's tokens rests on it; "bound/trust/acme.example". */
struct slice named_bound(const char *kind, const char *name, char out[NAMED_NAME_MAX]);
/* "role/first". */
struct slice named_name(const struct named *n, const char *name, char out[NAMED_NAME_MAX]);

void named_get(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
void named_list(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, size_t page);
struct sights named_look(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m);
Baton__V1__Resource *named_see(struct op *op, const struct kind *k, const struct sight *s, const Baton__V1__ListResourcesRequest *m);
Baton__V1__Resource *named_gone(struct op *op, const struct kind *k, struct slice name);
const struct resource *named_kept(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref);
bool named_judge(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i);
bool named_judge_removal(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e);
bool named_write(struct op *op, struct enlist *x, struct entry *e);

/* Is the caller shown any? Else the op has ended. */
bool named_may_show(struct op *op, const struct kind *k);
/* For all tenants, or the op has ended. */
bool named_for_all(struct op *op, const struct kind *k);
/* Is it well formed, and does it fit? Else the op has ended. */
bool named_well_formed(struct op *op, const struct kind *k, const ProtobufCMessage *m, const struct entry *e, size_t i);

#endif
