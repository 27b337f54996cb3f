/* What do the private server's files share? The job of the process that supervises it, and what that process tells Baton. */
#ifndef BATON_STORE_PRIVATE_PRIV_H
#define BATON_STORE_PRIVATE_PRIV_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/problem.h"

#define PRIVATE_PATH_BYTES 4096

enum private_state { PRIVATE_STARTING, PRIVATE_UP, PRIVATE_ENDED };

/* All that the supervising process ever does is in here, fixed before it is forked. */
struct private_job {
	char dir[PRIVATE_PATH_BYTES - 64], socket[108], conf[PRIVATE_PATH_BYTES], log[PRIVATE_PATH_BYTES];
	char *server, *checker; /* programs */
	int lock_fd;            /* the server inherits it */
	bool seccomp, landlock; /* confine it, as far as this kernel can */
};

/* One message on the channel, at each change. */
struct private_news {
	enum private_state state;
	pid_t pid;          /* of the server; 0 = none */
	struct problem why; /* of its end */
};

/* ---- private_supervise.c ---- */
/* The supervising process: confines itself, waits for a first byte on the channel, then keeps the server alive until the channel ends. */
void private_supervise(const struct private_job *j, int channel) __attribute__((noreturn));
/* Forks and executes, with an empty environment; in: a descriptor to read from, or -1; keep: one it shall inherit, or -1; what it writes
 * goes to the end of the file log. It gets SIGTERM when the calling process ends. -1 with why. */
pid_t private_spawn(const char *const *argv, int in, int keep, const char *log, struct problem *why);

/* ---- private_aof.c ---- */
/* Before a start: checks the append-only file under dir and, when its end is torn, keeps a copy and cuts the end off. Nothing there is
 * fine. -1: it is damaged elsewhere, and the server must not start. */
int private_repair_aof(const char *checker, const char *dir, const char *log, struct problem *why);

/* ---- private.c ---- */
/* Absolute path of a program on PATH, owned. NULL with why and the Debian package that has it. */
char *private_find_program(const char *name, const char *package, struct problem *why);

#endif
