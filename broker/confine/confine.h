/* What may this process still do once it is up? Less than its user may. No other process of that user reads its memory; no variable
 * that it was given is left; it opens what lies in the folders named here and nothing else (Landlock); it makes the system calls of a
 * table and no others (seccomp). Each part only takes away, and nothing gives it back: threads and children inherit it. */
#ifndef BATON_CONFINE_CONFINE_H
#define BATON_CONFINE_CONFINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/problem.h"

/* ---- process.c ---- */
/* First of all in main(): prctl(2) PR_SET_DUMPABLE 0 and PR_SET_NO_NEW_PRIVS, no core file. -1 with why. */
int confine_process(struct problem *why);

/* ---- user.c ---- */
/* This process runs as `user` from now on, in its group alone, with no capability. Whoever has no right to that is refused. Undumpable and the signal for
 * the parent's end are to be set after it: the kernel takes them back. -1 with why. */
int confine_become(const char *user, struct problem *why);
/* As whom that would be; "": as it is now. -1 with why. */
int confine_uid_of(const char *user, uid_t *out, struct problem *why);
/* Gives up all capabilities, but root's. -1 with why. */
int confine_give_up_rights(struct problem *why);
/* Gives up those to become another user or group; others (a low port, say) stay. -1 with why. */
int confine_give_up_becoming(struct problem *why);

/* ---- environment.c ---- */
/* Before any thread: drops every variable but those of its table, and wipes the text that the kernel shows in /proc/PID/environ. */
void confine_environment(void);

/* ---- files.c: Landlock, landlock(7) ---- */
enum confine_right {
	CONFINE_READ,  /* files and lists of files */
	CONFINE_WRITE, /* also: make, change, rename and remove files */
	CONFINE_OWN,   /* also: folders and sockets */
};

struct confine_files;

/* Nothing is allowed but binding TCP ports that are named and, unless offline, connecting anywhere. Owned, NULL with why. */
struct confine_files *confine_files_new(bool offline, struct problem *why);
/* A file alone, or a folder and all below it. What is not there is passed over. -1 with why. */
int confine_files_path(struct confine_files *f, const char *path, enum confine_right right, struct problem *why);
/* The folder that a file stands in, as it is named and as its links resolve: a file that is renamed into its place is another file for
 * the kernel. What is no regular file (/dev/null) is allowed by itself. "" is passed over. -1 with why. */
int confine_files_file(struct confine_files *f, const char *file, enum confine_right right, struct problem *why);
/* This one program may be executed, and the loader that it names; its libraries are read like other files. -1 with why. */
int confine_files_program(struct confine_files *f, const char *program, struct problem *why);
int confine_files_bind(struct confine_files *f, uint16_t port, struct problem *why);
/* From now on, for this thread and those that it starts. The ABI in force; 0: this kernel has no Landlock; -1 with why. */
int confine_files_enforce(struct confine_files *f, struct problem *why);
/* Whether what is in force lets this thread read a file or folder. What cannot be read for another reason counts as within. */
bool confine_files_within(const char *path);
void confine_files_free(struct confine_files *f);

/* ---- calls.c: seccomp, seccomp(2) ---- */
enum confine_role {
	CONFINE_BROKER,  /* batond: what its table allows */
	CONFINE_KEEPER,  /* who holds keys for it: of that table what computing, its files and one pipe need */
	CONFINE_PROGRAM, /* a program that is not ours, and who starts it: all but what its table denies; no network */
};
/* From now on, for all threads. -1 with why: nothing is in force. */
int confine_calls(enum confine_role role, struct problem *why);

#endif
