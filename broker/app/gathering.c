/* What is in the secret files of the configured issuers? See gathering.h. */
#include "app/gathering.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#define PATIENCE_MS 5000

struct gathered {
	struct gathering *of;
	char file[sizeof ((struct introspection_rule *)0)->secret_file];
	uint64_t asked;         /* 0: nobody is */
	uint8_t *secret;
	size_t n;
	bool late;              /* it could not be had now */
	char why[512];          /* "": it is here */
};

struct gathering {
	const struct secret_source *from;
	void (*done)(void *arg);
	void *arg;
	struct loop_timer *timer;
	size_t n, missing;
	struct gathered all[];
};

static void came(void *of, enum secret_result result, struct slice secret, const char *why)
{
	struct gathered *one = of;

	one->asked = 0;
	one->late = result == SECRET_LATER;
	one->secret = result == SECRET_HERE ? malloc(secret.n + 1) : NULL;
	snprintf(one->why, sizeof one->why, "%s", one->secret ? "" : *why ? why : "out of memory");
	if (one->secret) {
		memcpy(one->secret, secret.p, secret.n);
		one->n = secret.n;
	}
	if (--one->of->missing == 0)
		loop_timer_set(one->of->timer, 0);
}

static void cancel(struct gathering *g)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->all[i].asked)
			g->from->cancel(g->from->arg, g->all[i].asked);
		g->all[i].asked = 0;
	}
}

static void on_timer(void *arg)
{
	struct gathering *g = arg;

	cancel(g);
	g->done(g->arg);
}

static void ask(struct gathering *g, const char *file)
{
	struct gathered *one = &g->all[g->n++];

	*one = (struct gathered){.of = g, .late = true, .why = "the keeper did not answer in time"};
	snprintf(one->file, sizeof one->file, "%s", file);
	one->asked = g->from->ask(g->from->arg, &(struct secret_wanted){.file = one->file, .url = "", .name = ""}, came, one);
	g->missing += one->asked != 0;
}

struct gathering *gathering_new(struct loop *l, const struct secret_source *from, const struct issuer_rule *issuers, size_t n, void (*done)(void *arg), void *arg)
{
	struct gathering *g = calloc(1, sizeof *g + n * sizeof g->all[0]);

	if (!g)
		return NULL;
	*g = (struct gathering){.from = from, .done = done, .arg = arg};
	g->timer = loop_timer_new(l, on_timer, g);
	if (!g->timer) {
		free(g);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		if (issuers[i].introspection.url[0] && issuers[i].introspection.secret_file[0])
			ask(g, issuers[i].introspection.secret_file);
	loop_timer_set(g->timer, g->missing ? PATIENCE_MS : 0);
	return g;
}

struct slice gathering_find(const struct gathering *g, const char *file, const char **why)
{
	for (size_t i = 0; i < g->n; i++) {
		if (strcmp(g->all[i].file, file) != 0)
			continue;
		*why = g->all[i].why;
		return slice_of(g->all[i].secret, g->all[i].n);
	}
	*why = "it was not asked for";
	return slice_of(NULL, 0);
}

bool gathering_is_late(const struct gathering *g)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->all[i].late)
			return true;
	return false;
}

void gathering_free(struct gathering *g)
{
	if (!g)
		return;
	cancel(g);
	for (size_t i = 0; i < g->n; i++) {
		secret_wipe(g->all[i].secret, g->all[i].n);
		free(g->all[i].secret);
	}
	loop_timer_free(g->timer);
	free(g);
}
