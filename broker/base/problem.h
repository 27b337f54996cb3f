/* How does a function say in words why it failed? It fills in a problem: what happened, what was seen, what to do. */
#ifndef BATON_BASE_PROBLEM_H
#define BATON_BASE_PROBLEM_H

#include <stdarg.h>

struct problem {
	char text[768]; /* never holds a secret or a payload */
};

/* Returns -1, so that `return problem_set(...)` reads well. p may be NULL. */
int problem_set(struct problem *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "where: " in front of what is there. */
int problem_prefix(struct problem *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
