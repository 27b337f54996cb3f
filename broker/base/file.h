/* How is a whole file read, or written so that a crash leaves the old or the new one? */
#ifndef BATON_BASE_FILE_H
#define BATON_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/problem.h"
#include "base/slice.h"

/* Owned result in *out (NUL added, not counted). 0, or -1 with why: missing, not a regular file, over max. */
int file_read(const char *path, size_t max, uint8_t **out, size_t *n, struct problem *why);
/* The rest of an open file, under the same rules; path is for the message. Memory given up on the way is wiped. */
int file_read_fd(int fd, const char *path, size_t max, uint8_t **out, size_t *n, struct problem *why);
/* Temporary file beside it, fsync, rename, fsync of the folder. */
int file_write_atomic(const char *path, struct slice bytes, mode_t mode, struct problem *why);
/* Syncs the folder that `path` is in: a new name is durable only then. 0, or -1 with errno. */
int file_sync_folder(const char *path);
/* Makes the folder (parents too). An existing one must be a folder that we own and nobody else may write or, when
 * mode is 0700, enter. */
int file_make_dir(const char *path, mode_t mode, struct problem *why);
/* Is the folder that is there fit for that? */
int file_check_dir(const char *path, mode_t mode, struct problem *why);
/* Takes the lock that is the file `path`, made when it is missing, and waits that long for whoever has it. The descriptor: the lock is given back when all who
 * inherited it have closed it, by their end at the latest. -1 with why; *taken: somebody else has it still. */
int file_lock(const char *path, int64_t wait_ms, bool *taken, struct problem *why);

#endif
