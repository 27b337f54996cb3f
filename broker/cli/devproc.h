/* How is a batond started, found again and stopped? By a pid file that also holds when the process began, so that a
 * number used again by somebody else is never taken for ours. */
#ifndef BATON_CLI_DEVPROC_H
#define BATON_CLI_DEVPROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/problem.h"
#include "cli/devset.h"

/* Finds batond: $BATOND, beside this program, ../sbin beside that, PATH. */
int devproc_find(char *out, size_t size, struct problem *why);
/* Starts batond in DIR (its output in DIR/batond.log), writes DIR/batond.pid. die_with_us: it gets SIGTERM when
 * this process ends. The pid, or -1. */
pid_t devproc_start(const struct devset *d, bool die_with_us, struct problem *why);
/* Waits until /readyz says 200. -1 with why, the log's last lines in it, when the process ended or the time was
 * over. */
int devproc_wait_ready(const struct devset *d, pid_t pid, int64_t timeout_ms, struct problem *why);
/* The pid of the batond that runs in DIR, or 0. */
pid_t devproc_running(const struct devset *d);
/* SIGTERM, and wait. 0; -1 with why when it still runs after the time. */
int devproc_stop(const struct devset *d, pid_t pid, int64_t timeout_ms, struct problem *why);

/* Field 22 of /proc/PID/stat: when it began, in clock ticks since boot; 0 when there is no such process (or only
 * its zombie). comm (may be NULL) gets its name. */
uint64_t devproc_start_time(pid_t pid, char comm[32], pid_t *parent);

#endif
