/* What may be said of one of OpenSSL's providers, and is it the same as before? What a text may be, net/tls_provider.c judges. */
#include <string.h>

#include "app/config_priv.h"

typedef const char *setting_wrong(const char *name, const char *value);

/* name: value, each a text. The value is in no error: it may be what must not be there. */
static int read_settings(struct config_reader *r, const struct yaml_node *node, const char *shown, struct tls_settings *to, setting_wrong *judge, const char *example)
{
	struct tls_setting *all;
	const char *wrong;

	if (!node)
		return 0;
	if (node->kind != YAML_MAP || node->n > TLS_SETTINGS_MAX)
		return config_error(r, node, "%s: at most %d names with the value of each belong here: %s", shown, TLS_SETTINGS_MAX, example);
	all = arena_alloc(r->arena, (node->n + 1) * sizeof *all);
	for (const struct yaml_node *e = all ? node->first : NULL; e; e = e->next) {
		wrong = e->kind == YAML_TEXT && !e->nothing ? judge(e->key->text, e->text) : "a single value belongs here";
		if (wrong)
			return config_error(r, e->key, "%s: %s", shown, wrong);
		all[to->n++] = (struct tls_setting){arena_strdup(r->arena, e->key->text), arena_strdup(r->arena, e->text)};
	}
	to->all = all;
	return all && !arena_failed(r->arena) ? 0 : config_error(r, node, "the file is too large");
}

int config_provider_parameters(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	return read_settings(r, node, shown, to, tls_provider_parameter_wrong, "{pkcs11-module-path: /usr/lib/softhsm/libsofthsm2.so}");
}

int config_provider_environment(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	return read_settings(r, node, shown, to, tls_provider_variable_wrong, "{SOFTHSM2_CONF: /etc/baton/softhsm2.conf}");
}

static const char path_wanted[] = "an absolute path belongs here, and not all that there is";

/* Absolute, and not all that there is, by whichever words. */
static const char *path_wrong(const char *text)
{
	bool is_path = text[0] == '/' && text[strspn(text, "/.")] && !strstr(text, "/..") && strlen(text) <= 1024;

	return is_path ? NULL : path_wanted;
}

int config_provider_paths(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	static const struct config_texts those = {TLS_PATHS_MAX, "absolute paths", "[/opt/hsm]", path_wanted, path_wrong, NULL};
	struct tls_paths *paths = to;

	return config_set_texts(r, &those, node, shown, &paths->all, &paths->n);
}

int config_provider_check(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	static const char *const own[] = {"default", "base", "fips", "legacy", "null"};
	const struct tls_provider_config *p = to;
	const char *wrong = p->module[0] ? tls_provider_parameter_wrong("path", p->module) : NULL;

	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		if (!strcmp(p->name, own[i]))
			return config_error(r, node, "%s.name: %s is OpenSSL's own and has no keys: the default provider is always there", shown, p->name);
	if (strchr(p->name, '.'))
		return config_error(r, node, "%s.name: a provider's name has no dot here", shown);
	for (const struct tls_provider_config *other = r->config->tls_providers; other < p; other++)
		if (!strcmp(other->name, p->name))
			return config_error(r, node, "%s: provider %s stands in the list twice", shown, p->name);
	return wrong ? config_error(r, node, "%s.module: %s", shown, wrong) : 0;
}

/* ---- the same? ---- */

static bool same_settings(const struct tls_settings *a, const struct tls_settings *b)
{
	for (size_t i = 0; i < a->n && a->n == b->n; i++)
		if (strcmp(a->all[i].name, b->all[i].name) || strcmp(a->all[i].value, b->all[i].value))
			return false;
	return a->n == b->n;
}

static bool same_paths(const struct tls_paths *a, const struct tls_paths *b)
{
	for (size_t i = 0; i < a->n && a->n == b->n; i++)
		if (strcmp(a->all[i], b->all[i]))
			return false;
	return a->n == b->n;
}

bool config_same_providers(const struct config *a, const struct config *b)
{
	for (size_t i = 0; i < a->n_tls_providers && a->n_tls_providers == b->n_tls_providers; i++) {
		const struct tls_provider_config *p = &a->tls_providers[i], *q = &b->tls_providers[i];

		if (strcmp(p->name, q->name) || strcmp(p->module, q->module) || !same_settings(&p->parameters, &q->parameters) ||
		    !same_settings(&p->environment, &q->environment) || !same_paths(&p->reads, &q->reads) || !same_paths(&p->writes, &q->writes))
			return false;
	}
	return a->n_tls_providers == b->n_tls_providers;
}
