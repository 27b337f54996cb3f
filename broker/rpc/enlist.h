/* What is being applied? One call's entries, judged one after the other, and the changes of the store that they become. Private to rpc/: kinds.h says who
 * judges what. */
#ifndef BATON_RPC_ENLIST_H
#define BATON_RPC_ENLIST_H

#include "baton/v1/admin.pb-c.h"
#include "rpc/op.h"

#define APPLY_MAX 32          /* a new agent takes two changes, one that has another id three */

struct kind;

/* One resource of a call. */
struct entry {
	const struct kind *kind;
	const char *tenant, *name;
	ProtobufCMessage *spec;           /* as it shall be, or was when it is removed */
	Baton__V1__Resource *before;      /* as it is; NULL: there is none, or it was retired and this is another */
	uint64_t version;                 /* of what the store has now; 0 = nothing */
	bool removed;                     /* it shall not be there any more */
	const char *action;               /* NULL: nothing changes */
	const char *diff;
};

struct enlist {
	const char *reason;
	const char *note;                 /* what else the audit says, before the reason; NULL: nothing */
	bool dry;
	struct entry v[APPLY_MAX];
	size_t n;
	struct store_change changes[STORE_CHANGES_MAX];
	size_t n_changes;
	bool over;                        /* they are more than a call may make */
	uint64_t generation;
	/* What is to be said when the store did not make the changes. True: the op has ended. NULL: what is always said. */
	bool (*on_failed)(struct op *op, const struct store_answer *a);
};

/* NULL: the reason is none, or memory is out, and the op has ended. */
struct enlist *enlist_new(struct op *op, const char *reason);
/* Ends the op: the entry's field is at fault, and of Apply's entries this one's. Always false. */
bool enlist_deny(struct op *op, enum reason r, size_t i, const char *field, const char *what);
/* Is the version that was given the one that there is? false: the op has ended. what: "role binding"; field: "role.name". */
bool enlist_check_version(struct op *op, const char *version, const struct entry *e, size_t i, const char *what, const char *field);
/* Shall a resource of this kind and name be there by an entry of the call that stands before this one, the i-th? */
bool enlist_makes(const struct entry *e, size_t i, const char *kind, struct slice name);
/* Has the trust domain of the SPIFFE id, which is well formed, a bundle, or will it have by an entry of the call that stands before (e NULL: there is none)? Else the
 * field is at fault, and the op has ended: no certificate of the domain is ever taken. */
bool enlist_vouched(struct op *op, const struct entry *e, size_t i, const char *field, const char *id);
/* Sets action and diff from what there was (NULL: nothing) and shall be. false: memory is out, and the op has ended. */
bool enlist_compare(struct op *op, struct entry *e, const ProtobufCMessage *was, const ProtobufCMessage *is, const char *action);
/* The entry under this name, as bytes, by whom and why. false: memory is out. */
bool enlist_put(struct op *op, struct enlist *x, const struct entry *e, struct slice name);
/* Whose something is that one alone may have, said by a resource of this name: given, or given back. */
void enlist_claim(struct op *op, struct enlist *x, struct slice name, struct slice whose, bool removed);
/* A version more of a resource that says nothing: nobody else who saw the same one makes a change that rests on it. Once a call. */
void enlist_guard(struct op *op, struct enlist *x, struct slice name);
/* Has the store room for so many new names, beside those that are kept for revocations? Else the op has ended. */
bool enlist_names_fit(struct op *op, size_t anew, const char *field);
void enlist_add(struct enlist *x, struct slice name, uint64_t version, bool removed, struct slice value);
/* Is m to be, as the i-th entry of the call? Into e. false: the op has ended. */
bool enlist_judge(struct op *op, const Baton__V1__Resource *m, struct entry *e, size_t i);
/* Writes what was judged and answers when all nodes live by it; owns the op. */
void enlist_carry_out(struct op *op, struct enlist *x);

#endif
