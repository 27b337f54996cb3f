/* Which files is the audit in? The one that is written now, and FILE.1, FILE.2 ... that it was rotated to, the newest first. Each is opened when its turn comes, for
 * they are renamed meanwhile: a file is known by its inode. Private to observe/audit*.c. */
#ifndef BATON_OBSERVE_AUDIT_FILES_H
#define BATON_OBSERVE_AUDIT_FILES_H

#include <sys/stat.h>

#include "observe/audit_internal.h"

#define AUDIT_FILES_MAX 100

struct audit_open_file {
	int fd;                          /* -1: none */
	dev_t dev;
	ino_t ino;
	off_t size;                      /* when it was opened */
};

bool audit_file_is(const struct audit_open_file *f, dev_t dev, ino_t ino);
void audit_file_close(struct audit_open_file *f);
/* The one that is written now; else -1: there is none, or it is no file. */
int audit_file_live(struct audit *a, struct audit_open_file *f);
/* The one that was written before `of`, or after it; the same again. -1: there is none any more; *lost: nor is `of` found, so that nobody can tell. */
int audit_file_before(struct audit *a, const struct audit_open_file *of, struct audit_open_file *f, bool *lost);
int audit_file_after(struct audit *a, const struct audit_open_file *of, struct audit_open_file *f);
int audit_file_again(struct audit *a, dev_t dev, ino_t ino, struct audit_open_file *f);

#endif
