/* Where does a unit test put its files? In a folder of its own, which it makes at its beginning and removes at its end. */
#ifndef BATON_TESTS_UNIT_FOLDER_H
#define BATON_TESTS_UNIT_FOLDER_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"

static char folder[] = "/tmp/baton-unit-XXXXXX"; /* for mkdtemp() */

/* The path of what is called so in it; until the next. */
static inline const char *in(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static inline void put(const char *name, const char *text, mode_t mode)
{
	struct problem why;

	assert_int_equal(file_write_atomic(in(name), slice_str(text), mode, &why), 0);
}

static inline int folder_remove(void)
{
	char command[64];

	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

#endif
