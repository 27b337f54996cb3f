/* How does it show that jansson ran out of memory? It is given a malloc() that remembers. */
#include "base/json.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool failed;

static void *take(size_t n)
{
	void *p = malloc(n);

	failed |= !p;
	return p;
}

static void use_ours(void)
{
	json_set_alloc_funcs(take, free);
}

json_t *json_read(struct slice bytes, json_error_t *e)
{
	json_t *root;

	pthread_once(&once, use_ours);
	failed = false;
	root = json_loadb((const char *)bytes.p, bytes.n, JSON_REJECT_DUPLICATES, e);
	errno = 0;
	if (!failed)
		return root;
	json_decref(root);
	errno = ENOMEM;
	return NULL;
}
