/* Which agents and routes does the configuration make? Its own list of agents, and the profiles of its folder: those that the store is
 * durable enough for. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/config.h"
#include "base/file.h"
#include "policy/profile.h"

#define PROFILE_MAX ((1 << 20) + 1) /* one more than a profile may have, so that the profile's own error is seen */
#define PROFILES_MAX 4096

static int is_profile(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && n > 5 && !strcmp(e->d_name + n - 5, ".json");
}

/* By bytes, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* One line a file; "..." where they no longer fit. */
static void add_warning(struct problem *warn, const char *file, const struct problem *w)
{
	char line[1200];
	size_t at = warn ? strlen(warn->text) : 0, n;

	if (!warn || !w->text[0])
		return;
	n = (size_t)snprintf(line, sizeof line, "%s%s: %s", at ? "\n" : "", file, w->text);
	if (at + n + 5 < sizeof warn->text)
		memcpy(warn->text + at, line, n + 1);
	else if (at < 4 || strcmp(warn->text + at - 4, "\n..."))
		snprintf(warn->text + (at < sizeof warn->text - 5 ? at : sizeof warn->text - 5), 5, "\n...");
}

/* What did something must not be forgotten, or it is done again: a store that may lose acknowledged work is for what only reads. */
static int check_durable(const struct config *c, const struct profile *p, struct problem *why)
{
	const struct profile_tool *t = c->store_fsync_always ? NULL : profile_first_effect(p);

	if (!t)
		return 0;
	return problem_set(why, "tools: %s is pinned %s%s, and store.fsync is everysec, which may lose acknowledged work. Set store.fsync: always, "
		"or tools.spec.%s.side_effect: read", t->name, side_effect_text(t->side_effect), t->has_spec ? "" : " (it has no spec)", t->name);
}

/* A route may do with less than the store demands, if it only reads. More would not be kept by a primary that was cut off. */
static int check_replicas(const struct config *c, const struct profile *p, struct problem *why)
{
	const struct profile_tool *t = profile_first_effect(p);

	if (p->replicas == PROFILE_REPLICAS_DEFAULT || p->replicas == c->store_replicas)
		return 0;
	if (p->replicas > c->store_replicas)
		return problem_set(why, "delivery.replicas: %u, and store.replicas is %u: raise that, it is the most that a route may ask for",
				   p->replicas, c->store_replicas);
	if (p->replicas || !t)
		return 0;
	return problem_set(why, "delivery.replicas: 0, and %s is pinned %s: a fail-over may lose what was acknowledged, and it would be done again. "
			   "Set delivery.replicas: 1 or more, or tools.spec.%s.side_effect: read", t->name, side_effect_text(t->side_effect), t->name);
}

static int add_profile(struct registry *r, const struct config *c, const char *file, struct problem *why, struct problem *warn)
{
	struct problem here = {""};
	struct profile *p = NULL;
	uint8_t *bytes = NULL;
	char path[1400];
	size_t n = 0;
	int rc = -1;

	snprintf(path, sizeof path, "%s/%s", c->profiles, file);
	if (file_read(path, PROFILE_MAX, &bytes, &n, why))
		return -1;
	p = profile_parse(slice_of(bytes, n), why, &here);
	if (p) {
		add_warning(warn, file, &here);
		rc = check_durable(c, p, why) || check_replicas(c, p, why) || registry_add_profile(r, p, why) ? -1 : 0;
	}
	if (rc)
		problem_prefix(why, "%s", path);
	profile_unref(p);
	free(bytes);
	return rc;
}

static int add_profiles(struct registry *r, const struct config *c, struct problem *why, struct problem *warn)
{
	const char *folder = c->profiles;
	struct dirent **names = NULL;
	int n = scandir(folder, &names, is_profile, by_name), rc = 0;

	if (n < 0)
		return problem_set(why, "the folder of profiles, %s, cannot be read: %s", folder, strerror(errno));
	if (n > PROFILES_MAX)
		rc = problem_set(why, "the folder of profiles, %s, has over %d files", folder, PROFILES_MAX);
	for (int i = 0; i < n && !rc; i++)
		rc = add_profile(r, c, names[i]->d_name, why, warn);
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return rc;
}

struct registry *config_registry(const struct config *c, struct problem *why, struct problem *warn)
{
	struct registry *r = registry_new();
	int rc = 0;

	if (warn)
		warn->text[0] = '\0';
	if (!r) {
		problem_set(why, "out of memory");
		return NULL;
	}
	for (size_t i = 0; i < c->n_agents && !rc; i++)
		rc = registry_add_agent(r, &c->agents[i].agent, why);
	if (rc || add_profiles(r, c, why, warn) || registry_check(r, why)) {
		registry_unref(r);
		return NULL;
	}
	return r;
}
