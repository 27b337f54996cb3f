/* Which commands are there? One row each: noun, verb, what it takes, the function that does it. Rows without a
 * function name what a later version will do. */
#ifndef BATON_CLI_VERBS_H
#define BATON_CLI_VERBS_H

#include "cli/options.h"

struct cli;

struct verb {
	const char *noun, *verb;  /* verb NULL: the noun stands alone */
	const char *args;         /* synopsis of what is no option: "ID", "[FILE]", "-- COMMAND..." */
	const char *help;         /* one line */
	const enum opt *opts;     /* its own options */
	size_t min_words, max_words; /* after noun and verb */
	bool wants_rest;          /* "-- COMMAND" is needed */
	int (*run)(struct cli *c); /* exit code */
};

extern const struct verb verbs[];
extern const size_t n_verbs;

/* Looks the first words up. *used: how many of them name the command. NULL with why: unknown (with near misses),
 * incomplete, or not in this version. */
const struct verb *verb_find(const char *const *words, size_t n, size_t *used, struct problem *why);
bool verb_is_noun(const char *word); /* of a command in this version */

#endif
