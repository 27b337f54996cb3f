/* How is a JSON file read strictly? By tables: one row a member with its reader, its bounds and where it goes. An
 * unknown member, a missing one, a wrong type or a value out of bounds is an error that names the member by its
 * path. */
#ifndef BATON_POLICY_JSONR_H
#define BATON_POLICY_JSONR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/problem.h"
#include "base/slice.h"

struct jsonr {
	struct arena *arena; /* borrowed: what is read lives in it */
	struct problem *why; /* may be NULL */
	char path[256];
	size_t path_n;
};

/* A list of texts: `"names": ["a", "b"]`. v is in the arena. */
struct text_list {
	const char *const *v;
	size_t n;
};

/* What a text must look like. */
struct text_shape {
	const char *what;             /* "a name: [a-z0-9]..." */
	bool (*ok)(struct slice text);
};

struct text_choice {
	const char *text; /* NULL ends the list */
	int value;
};

struct json_member;
/* Reads v into what `to` points at (the member's own field). 0, or -1 with why. */
typedef int json_reader(struct jsonr *r, const json_t *v, const struct json_member *m, void *to);

struct json_member {
	const char *name;
	json_reader *read;
	size_t offset;            /* of the field in the struct that the object is read into */
	bool required;
	int64_t min, max;         /* of a number; of a list's length */
	const struct text_shape *shape;    /* of a text, of a list's texts */
	const struct text_choice *choices;
	const struct json_member *members; /* of an object; a row without name ends it */
};

json_reader jsonr_object;  /* members go to fields of the struct at the same `to` */
json_reader jsonr_u32, jsonr_i64, jsonr_bool;
json_reader jsonr_text;    /* const char * */
json_reader jsonr_choice;  /* int */
json_reader jsonr_texts;   /* struct text_list; no text twice */

/* Reads an object's members into the struct at `to`. */
int jsonr_members(struct jsonr *r, const json_t *object, const struct json_member *members, void *to);
/* "path: text". Returns -1. */
int jsonr_error(struct jsonr *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Steps into a member (index -1) or an element; returns what jsonr_leave() takes to step back. */
size_t jsonr_enter(struct jsonr *r, const char *name, long index);
void jsonr_leave(struct jsonr *r, size_t mark);
/* "a list", "a number", ... */
const char *jsonr_kind(const json_t *v);

#endif
