/* What do private.c and private_aof.c share? Running a program, and the repair of the append-only file. */
#ifndef BATON_STORE_PRIVATE_PRIV_H
#define BATON_STORE_PRIVATE_PRIV_H

#include <sys/types.h>

#include "base/problem.h"

/* Absolute path of a program on PATH, owned. NULL with why and the Debian package that has it. */
char *private_find_program(const char *name, const char *package, struct problem *why);
/* Forks and executes; in: a descriptor to read from, or -1; keep: one it shall inherit, or -1; what it writes goes to the end of the
 * file log. It gets SIGTERM when the calling thread ends. -1 with why. */
pid_t private_spawn(const char *const *argv, int in, int keep, const char *log, struct problem *why);

/* Before a start: checks the append-only file under dir and, when its end is torn, keeps a copy and cuts the end off. Nothing there is
 * fine. -1: it is damaged elsewhere, and the server must not start. */
int private_repair_aof(const char *checker, const char *dir, const char *log, struct problem *why);

#endif
