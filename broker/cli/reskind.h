/* What can stand in a file of resources? One row a kind, and in it one row a field: what it is called there, what it may be, and where it stands in the
 * message. Who reads, compares, shows and writes resources goes by these rows and knows no kind. */
#ifndef BATON_CLI_RESKIND_H
#define BATON_CLI_RESKIND_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "base/arena.h"
#include "baton/v1/admin.pb-c.h"

enum res_type { RES_TEXT, RES_NUMBER, RES_BOOL, RES_TIME, RES_CHOICE, RES_BYTES, RES_WORDS, RES_PAIRS, RES_DER, RES_COUNT, RES_SIZE };

#define RES_FIELDS_MAX 32

struct res_word {
	const char *text; /* NULL ends the list */
	int value;
};

struct res_field {
	const char *name;
	enum res_type type;
	size_t at;                               /* of its value in the message, or in the one within */
	size_t within;                           /* where the message has a pointer to the one that holds it, a number; 0: none */
	const ProtobufCMessageDescriptor *inner; /* of the one within */
	size_t count;                            /* of the length of RES_WORDS, RES_PAIRS or RES_DER: the place of a size_t */
	bool required;
	bool unique;                             /* no two resources of a kind have the same */
	bool stays;                              /* left out, it is as it is: a number */
	bool shown;                              /* written and shown also when it is 0, for its default is not always that */
	uint64_t min, max;                       /* of RES_NUMBER; of RES_COUNT, which the message has in 64 bits; of RES_SIZE, a count of bytes */
	const struct res_word *words;            /* of RES_CHOICE */
	const ProtobufCMessageDescriptor *entry; /* of RES_PAIRS: map<string, string> */
	const char *(*wrong)(const char *text);  /* of a text, and of each of RES_WORDS: what is wrong; NULL = nothing */
	const char *label;                       /* of RES_DER: of each one's PEM */
	const char *todo;                        /* what to write instead; needed with `required` */
	bool json;                               /* of RES_BYTES: JSON, which is kept without blanks */
	const char *from_file;                   /* of RES_BYTES: the key by which a file is named that holds it, beside the file of resources; NULL: none */
	const char *sent;                        /* what the broker calls it; NULL: the same */
};

/* A key that people try, and why it is none. */
struct res_refused {
	const char *name, *why; /* name NULL ends the list */
	const char *instead;    /* a field that says it; NULL: none does */
};

#define RES_NO_TENANT ((size_t)-1)

struct res_kind {
	const char *name;
	int spec_case;                           /* of Resource */
	const ProtobufCMessageDescriptor *spec;
	const struct res_field *fields;
	size_t n_fields;
	const struct res_refused *refused;
	size_t tenant, id;                       /* where the message has its tenant (or RES_NO_TENANT) and its name */
	/* Defaults that depend on other fields; NULL: there are none. given: by field. */
	void (*finish)(ProtobufCMessage *spec, const bool *given);
	const char *made;                        /* what a first version is called: "registered" */
	/* It is there for its history alone, and the name is free; NULL: never. */
	bool (*gone)(const ProtobufCMessage *spec);
};

extern const struct res_kind res_kinds[];
extern const size_t n_res_kinds;
extern const struct res_refused res_refused_everywhere[];

/* NULL: there is none of this name. */
const struct res_kind *res_kind_find(const char *name);
/* The kind's message in r, or NULL when it holds another. */
ProtobufCMessage *res_spec(const struct res_kind *k, const Baton__V1__Resource *r);
void res_set_spec(const struct res_kind *k, Baton__V1__Resource *r, ProtobufCMessage *spec);
bool res_gone(const struct res_kind *k, const ProtobufCMessage *spec);
/* "" for a kind without tenants. */
const char *res_tenant(const struct res_kind *k, const ProtobufCMessage *spec);
const char *res_id(const struct res_kind *k, const ProtobufCMessage *spec);
/* "agent/acme/planner", in the arena. NULL: memory is out. */
char *res_name(const struct res_kind *k, const char *tenant, const char *id, struct arena *a);
/* By the name in files. -1: none. */
int res_field_find(const struct res_kind *k, const char *name);

/* Every message within that the kind's fields have, in the arena. false: memory is out. */
bool res_make_inner(const struct res_kind *k, ProtobufCMessage *spec, struct arena *a);

/* A field's value, by its type. */
static inline void *res_at(const ProtobufCMessage *spec, size_t at)
{
	return (char *)(uintptr_t)spec + at;
}
static inline char **res_text(const ProtobufCMessage *spec, const struct res_field *f)
{
	return res_at(spec, f->at);
}
static inline size_t *res_count(const ProtobufCMessage *spec, const struct res_field *f)
{
	return res_at(spec, f->count);
}
static inline char ***res_words(const ProtobufCMessage *spec, const struct res_field *f)
{
	return res_at(spec, f->at);
}
static inline ProtobufCMessage ***res_pairs(const ProtobufCMessage *spec, const struct res_field *f)
{
	return res_at(spec, f->at);
}
/* Bytes that a file has as a text; of RES_DER the first of them. */
static inline ProtobufCBinaryData *res_bytes(const ProtobufCMessage *spec, const struct res_field *f)
{
	return f->type == RES_DER ? *(ProtobufCBinaryData **)res_at(spec, f->at) : (ProtobufCBinaryData *)res_at(spec, f->at);
}
/* A list of some kind? */
static inline bool res_is_many(const struct res_field *f)
{
	return f->type == RES_WORDS || f->type == RES_PAIRS || f->type == RES_DER;
}
/* Of an entry of RES_PAIRS: 0 its key, 1 its value. */
static inline char **res_side(const ProtobufCMessage *entry, unsigned side)
{
	return res_at(entry, entry->descriptor->fields[side].offset);
}
/* Of RES_NUMBER, RES_COUNT, RES_SIZE, RES_BOOL, RES_TIME, RES_CHOICE. A time that RFC 3339 cannot say is never, as 0 is. */
int64_t res_number(const ProtobufCMessage *spec, const struct res_field *f);
/* The one within must be there: res_make_inner(). */
void res_set_number(ProtobufCMessage *spec, const struct res_field *f, int64_t v);
/* A number as files have it: 12, true, 2027-01-01T00:00:00Z, active. */
#define RES_NUMBER_MAX 40
const char *res_number_text(const ProtobufCMessage *spec, const struct res_field *f, char out[RES_NUMBER_MAX]);
/* It is left out when it is written: nothing, and that is its default. */
bool res_is_default(const ProtobufCMessage *spec, const struct res_field *f);

#endif
