/* What is being applied? One call's entries, judged one after the other, and the changes of the store that they become. Private to rpc/: enlist.c has
 * agents, roles.c role bindings, init.c the first of these. */
#ifndef BATON_RPC_ENLIST_H
#define BATON_RPC_ENLIST_H

#include "baton/v1/admin.pb-c.h"
#include "rpc/op.h"

#define APPLY_MAX 32          /* a new agent takes two changes, one that has another id three */

/* One resource of a call. */
struct entry {
	const char *kind, *tenant, *name;
	Baton__V1__AgentSpec *spec;       /* as it shall be: an agent, */
	Baton__V1__RoleBinding *role;     /* or a role binding */
	Baton__V1__Resource *before;      /* as it is; NULL: there is none, or it was retired and this is another */
	uint64_t version;                 /* of what the store has now; 0 = nothing */
	bool removed;                     /* it shall not be there any more */
	const char *action;               /* NULL: nothing changes */
	const char *diff;
};

struct enlist {
	const char *reason;
	bool dry;
	struct entry v[APPLY_MAX];
	size_t n;
	struct store_change changes[STORE_CHANGES_MAX];
	size_t n_changes;
	uint64_t generation;
	/* What is to be said when the store did not make the changes. True: the op has ended. NULL: what is always said. */
	bool (*on_failed)(struct op *op, const struct store_answer *a);
};

/* NULL: the reason is none, or memory is out, and the op has ended. */
struct enlist *enlist_new(struct op *op, const char *reason);
/* Ends the op: the entry's field is at fault. Always false. */
bool enlist_deny(struct op *op, enum reason r, size_t i, const char *field, const char *what);
/* Is the version that was given the one that there is? false: the op has ended. */
bool enlist_check_version(struct op *op, const char *version, const struct entry *e, size_t i);
/* Sets action and diff from what there was (NULL: nothing) and shall be. false: memory is out. */
bool enlist_compare(struct op *op, struct entry *e, const ProtobufCMessage *was, const ProtobufCMessage *is, const char *action);
/* The resource as bytes, by whom and why. false: memory is out. */
bool enlist_pack(struct op *op, const struct enlist *x, Baton__V1__Resource *m, struct slice *out);
void enlist_add(struct enlist *x, struct slice name, uint64_t version, bool removed, struct slice value);
/* Writes what was judged and answers when all nodes live by it; owns the op. */
void enlist_carry_out(struct op *op, struct enlist *x);

/* ---- roles.c ---- */
bool roles_judge(struct op *op, const Baton__V1__Resource *m, struct entry *e, size_t i);
bool roles_judge_removal(struct op *op, const Baton__V1__DeleteRequest *m, struct entry *e);
bool roles_write(struct op *op, struct enlist *x, struct entry *e);
/* What may stand there, of an issuer that is configured. false: the op has ended. */
bool roles_well_formed(struct op *op, const Baton__V1__RoleBinding *m, size_t i);

#endif
