/* From whom does a secret come that stands in a file? Whoever needs one does not open the file: it asks, goes on with other things, and hears. */
#ifndef BATON_BASE_SECRET_SOURCE_H
#define BATON_BASE_SECRET_SOURCE_H

#include <stdint.h>

#include "base/slice.h"

/* A file that the configuration names; or, of those in a folder for the host of this url, the one of this name. What is not meant is "". */
struct secret_wanted {
	const char *file;
	const char *url, *name;
};

enum secret_result {
	SECRET_HERE,
	SECRET_REFUSED, /* the same again will be refused too */
	SECRET_LATER,   /* it could not be had now */
};

/* secret: wiped after the call. why: "" when it is here; valid for the call. */
typedef void secret_came(void *of, enum secret_result result, struct slice secret, const char *why);

/* One thread each. */
struct secret_source {
	/* An id; then `came` is called once, never inside this call, unless it is cancelled. 0: it cannot be asked now. */
	uint64_t (*ask)(void *arg, const struct secret_wanted *what, secret_came *came, void *of);
	void (*cancel)(void *arg, uint64_t id); /* 0, and what has come, is fine */
	void *arg;
};

#endif
