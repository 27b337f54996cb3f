/* How is the configuration read? The file's tree is walked beside the table of rows: what the file has is set, what
 * it has not gets its default through the same setter, what the table has not is refused with the keys that there
 * are. */
#include "app/config_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/near.h"
#include "base/words.h"
#include "identity/spiffe.h"
#include "net/keyuri.h"

#define FILE_MAX (1 << 20)
#define ARENA_MAX (128 << 20) /* 4096 agents of 11 KiB, and the tree */
#define PATH_SIZE 128
#define KEYS_MAX 64           /* of one section */
#define MESSAGE_ROOM (1u << 20) /* what a message has beside its payload */

/* Where the reader is: as the table has it ("issuers[]") and as people read it ("issuers[0]"). */
struct place {
	char table[PATH_SIZE], shown[PATH_SIZE];
};

struct loaded {
	struct config pub; /* first: config_free casts back */
	struct arena *arena;
};

int config_error(struct config_reader *r, const struct yaml_node *node, const char *fmt, ...)
{
	char text[640];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return problem_set(r->why, "%s:%u:%u: %s", r->file, node ? node->line : 1, node ? node->column : 1, text);
}

static struct place inside(const struct place *p, const char *key)
{
	struct place in;

	snprintf(in.table, sizeof in.table, "%.60s%s%.60s", p->table, p->table[0] ? "." : "", key);
	snprintf(in.shown, sizeof in.shown, "%.60s%s%.60s", p->shown, p->shown[0] ? "." : "", key);
	return in;
}

/* Is it a row of a key right inside the place? Then its key, else NULL. */
static const char *key_in(const struct config_row *row, const struct place *p)
{
	size_t n = strlen(p->table);
	const char *key = row->path;

	if (n) {
		if (strncmp(row->path, p->table, n) || row->path[n] != '.')
			return NULL;
		key += n + 1;
	}
	return strpbrk(key, ".[") ? NULL : key;
}

static const struct config_row *find_row(const char *table_path)
{
	for (size_t i = 0; i < config_n_rows; i++)
		if (!strcmp(config_rows[i].path, table_path))
			return &config_rows[i];
	return NULL;
}

static int unknown_key(struct config_reader *r, const struct yaml_node *key, const struct place *p)
{
	struct place at = inside(p, key->text);
	const char *known[KEYS_MAX], *hint = config_hint(at.table), *meant;
	char list[400] = "", quoted[64];
	size_t n = 0, len = 0;

	for (size_t i = 0; i < config_n_rows && n < KEYS_MAX; i++) {
		const char *k = key_in(&config_rows[i], p);

		if (!k)
			continue;
		len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", n ? ", " : "", k);
		if (len >= sizeof list)
			len = sizeof list - 1;
		known[n++] = k;
	}
	meant = near_word(slice_str(key->text), known, n);
	near_show(slice_str(key->text), quoted);
	return config_error(r, key, "unknown key `%s`%s%s\n    %s%s%s%s%sKnown keys: %s", quoted, p->shown[0] ? " in "
		: "",
			    p->shown, hint ? hint : "", hint ? " " : "", meant ? "Did you mean `" : "", meant ? meant
				: "",
			    meant ? "`? " : "", list);
}

/* ---- lists ---- */

static int read_map(struct config_reader *r, const struct yaml_node *map, const struct place *p,
	const struct yaml_node *parent, void *base);

static int check_list(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const struct place *p)
{
	if (node->kind != YAML_LIST)
		return config_error(r, node, "%s: a list belongs here", p->shown);
	if ((int64_t)node->n < row->min)
		return config_error(r, node, "%s is empty. %s", p->shown, row->note ? row->note : "");
	if ((int64_t)node->n > row->max)
		return config_error(r, node, "%s has %zu elements, and at most %lld are taken", p->shown, node->n,
			(long long)row->max);
	return 0;
}

static int read_names(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const struct place *p, void *base)
{
	char (*names)[64] = (char (*)[64])((char *)base + row->offset);
	size_t *n = (size_t *)((char *)base + row->count);

	if (check_list(r, row, node, p))
		return -1;
	for (const struct yaml_node *e = node->first; e; e = e->next) {
		char quoted[64];

		if (e->kind != YAML_TEXT || !name_valid(slice_str(e->text)))
			return config_error(r, e, "%s: \"%s\" is not a name: [a-z0-9][a-z0-9._-]{0,62}", p->shown,
					    e->kind == YAML_TEXT ? near_show(slice_str(e->text), quoted)
						: "a list or mapping");
		for (size_t i = 0; i < *n; i++)
			if (!strcmp(names[i], e->text))
				return config_error(r, e, "%s: %s stands in the list twice", p->shown, e->text);
		slice_copy_str(slice_str(e->text), names[(*n)++], 64);
	}
	return 0;
}

static int read_list(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const struct place *p, void *base)
{
	size_t *n = (size_t *)((char *)base + row->count), i = 0;
	char *items;

	if (check_list(r, row, node, p))
		return -1;
	items = arena_zalloc(r->arena, (node->n + 1) * row->size);
	if (!items)
		return config_error(r, node, "the file is too large");
	*(void **)((char *)base + row->offset) = items;
	for (const struct yaml_node *e = node->first; e; e = e->next, i++) {
		void *item = items + i * row->size;
		struct place in;

		snprintf(in.table, sizeof in.table, "%.100s[]", p->table);
		snprintf(in.shown, sizeof in.shown, "%.100s[%zu]", p->shown, i);
		if (e->kind != YAML_MAP)
			return config_error(r, e, "%s: keys and values belong here", in.shown);
		if (read_map(r, e, &in, e, item) || row->custom(r, e, in.shown, item))
			return -1;
	}
	*n = node->n;
	return 0;
}

/* ---- sections ---- */

static int read_value(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const struct place *p, void *base)
{
	void *to = (char *)base + row->offset;

	if (node->kind == YAML_TEXT && node->nothing)
		return config_error(r, node, "%s has no value. Write \"\" for nothing, or remove the line", p->shown);
	switch (row->kind) {
	case KIND_SECTION:
		if (node->kind != YAML_MAP)
			return config_error(r, node, "%s: keys and values belong here", p->shown);
		return read_map(r, node, p, node, base);
	case KIND_LIST:
		return read_list(r, row, node, p, base);
	case KIND_NAMES:
		return read_names(r, row, node, p, base);
	case KIND_CUSTOM:
		return row->custom(r, node, p->shown, to);
	default:
		if (node->kind != YAML_TEXT)
			return config_error(r, node, "%s: a single value belongs here, not a %s", p->shown,
					    node->kind == YAML_LIST ? "list" : "mapping");
		return config_set(r, row, node, p->shown, node->text, to);
	}
}

/* The file says nothing of it: the default, or an error at the section's place. */
static int read_default(struct config_reader *r, const struct config_row *row, const struct place *p,
	const struct yaml_node *parent,
			void *base)
{
	void *to = (char *)base + row->offset;

	if (row->kind == KIND_SECTION)
		return read_map(r, NULL, p, parent, base);
	if (row->kind == KIND_CUSTOM)
		return row->custom(r, NULL, p->shown, to);
	if (row->def)
		return config_set(r, row, parent, p->shown, row->def, to);
	if (row->required)
		return config_error(r, parent, "%s is not set. %s", p->shown, row->note ? row->note : "");
	return 0;
}

/* map NULL: the section is not in the file. parent: where an error about something missing points to. */
static int read_map(struct config_reader *r, const struct yaml_node *map, const struct place *p,
	const struct yaml_node *parent, void *base)
{
	for (const struct yaml_node *e = map ? map->first : NULL; e; e = e->next) {
		struct place in = inside(p, e->key->text);
		const struct config_row *row = strpbrk(e->key->text, ".[") ? NULL : find_row(in.table);

		if (!row)
			return unknown_key(r, e->key, p);
		if (read_value(r, row, e, &in, base))
			return -1;
	}
	for (size_t i = 0; i < config_n_rows; i++) {
		const char *key = key_in(&config_rows[i], p);
		struct place in;

		if (!key || yaml_tree_get(map, key))
			continue;
		in = inside(p, key);
		if (read_default(r, &config_rows[i], &in, parent, base))
			return -1;
	}
	return 0;
}

/* ---- the whole ---- */

static const struct yaml_node *node_at(const struct yaml_node *root, const char *section, const char *key)
{
	const struct yaml_node *s = yaml_tree_get(root, section), *n = yaml_tree_get(s, key);

	return n ? n : s ? s : root;
}

static int default_node(struct config_reader *r, const struct yaml_node *root)
{
	const struct config_row *row = find_row("node");
	char host[256] = "";
	struct config *c = r->config;

	if (c->node[0])
		return 0;
	if (gethostname(host, sizeof host - 1) || !host[0] || row->check(host))
		return config_error(r, root, "node is not set, and the host's name does not do: set node");
	c->node = arena_strdup(r->arena, host);
	return c->node ? 0 : config_error(r, root, "the file is too large");
}

/* Every agent's certificate must come from a trust domain that is listed, or the agent could never connect. */
static int check_agent(struct config_reader *r, const struct yaml_node *node, size_t i, struct registry *seen)
{
	const struct config *c = r->config;
	const struct agent *a = &c->agents[i].agent;
	struct problem why = {""};
	struct spiffe_id id;
	const char *wrong = spiffe_parse(slice_str(a->spiffe_id), &id);

	if (wrong)
		return config_error(r, node, "agents[%zu].id: %s", i, wrong);
	for (size_t t = 0; t <= c->n_trust; t++) {
		if (t == c->n_trust)
			return config_error(r, yaml_tree_get(node, "id"),
				"agents[%zu].id: trust domain %.*s is not listed under tls.trust", i,
					    (int)id.trust_domain.n, (const char *)id.trust_domain.p);
		if (slice_is(id.trust_domain, c->trust[t].domain))
			break;
	}
	return registry_add_agent(seen, a, &why) ? config_error(r, node, "agents[%zu]: %s", i, why.text) : 0;
}

static int check_agents(struct config_reader *r, const struct yaml_node *root)
{
	const struct yaml_node *list = yaml_tree_get(root, "agents"), *e = list ? list->first : NULL;
	struct registry *seen = registry_new();
	int rc = seen ? 0 : config_error(r, root, "out of memory");

	for (size_t i = 0; i < r->config->n_agents && !rc; i++, e = e->next)
		rc = check_agent(r, e, i, seen);
	registry_unref(seen);
	return rc;
}

static bool has_tls(const char *urls)
{
	return strncmp(urls, "rediss://", 9) == 0;
}

static int check_store(struct config_reader *r, const struct yaml_node *root)
{
	const struct config *c = r->config;
	bool own = c->store_url[0] || c->store_sentinels[0] || c->store_cluster[0];

	if (c->store_cluster[0] && (c->store_url[0] || c->store_sentinels[0]))
		return config_error(r, node_at(root, "store", "cluster"), "store.cluster says where the store is: remove %s",
			c->store_url[0] ? "store.url" : "store.sentinels");
	if (c->store_url[0] && c->store_sentinels[0])
		return config_error(r, node_at(root, "store", "sentinels"), "store.sentinels say where the store is: remove store.url");
	if (!c->store_sentinels[0] != !c->store_sentinel_master[0])
		return config_error(r, node_at(root, "store", "sentinels"), "store.sentinels and store.sentinel_master go together");
	if (!c->store_sentinels[0] && (c->store_sentinel_user[0] || c->store_sentinel_password_file[0]))
		return config_error(r, node_at(root, "store", "sentinel_user"),
			"store.sentinel_user and store.sentinel_password_file are for store.sentinels only");
	if (!own && (c->store_password_file[0] || c->store_user[0]))
		return config_error(r, node_at(root, "store", "url"),
			"store.url is \"\": the private redis-server takes no user or password");
	if (!own && c->store_replicas)
		return config_error(r, node_at(root, "store", "replicas"), "store.replicas: the private redis-server has none; name a Redis of your own");
	if (!(has_tls(c->store_url) || has_tls(c->store_sentinels) || has_tls(c->store_cluster)) && (c->store_ca[0] || c->store_cert[0] || c->store_key[0]))
		return config_error(r, node_at(root, "store", "url"),
			"store.ca, store.cert and store.key are for rediss:// only");
	if (!c->store_cert[0] != !c->store_key[0])
		return config_error(r, node_at(root, "store", "cert"), "store.cert and store.key go together");
	/* an envelope may be dated ahead by the skew and be judged by a clock that is behind by it, and wait for the store after that */
	if (c->store_keep_finished_ms < c->envelope_window_ms + 2 * c->clock_skew_ms + c->store_timeout_ms)
		return config_error(r, node_at(root, "store", "keep_finished"),
				    "store.keep_finished is shorter than envelope.window + twice clock_skew + store.timeout");
	return 0;
}

#define BURST_S 10 /* what a budget of frames saves up, in seconds of its rate */

/* A cap under which the largest envelope that is taken would never fit is a mistake. */
static int check_holds_one(struct config_reader *r, const struct yaml_node *root, const char *key, uint64_t bytes)
{
	if (!bytes || bytes >= r->config->max_payload + MESSAGE_ROOM)
		return 0;
	return config_error(r, node_at(root, "limits", key),
			    "limits.%s is too small for one payload of envelope.max_payload: it must be at least that and 1MiB, or 0 for no cap", key);
}

/* Get answers with a handoff's payload and its result at once. */
static int finish_limits(struct config_reader *r, const struct yaml_node *root)
{
	struct config *c = r->config;
	struct h2_limits *h2 = &c->server.h2;

	if (c->buffered_per_connection < 2 * c->max_payload + 2 * MESSAGE_ROOM)
		return config_error(r, node_at(root, "limits", "buffered_per_connection"),
				    "limits.buffered_per_connection is too small for two payloads of envelope.max_payload: it must be "
				    "at least twice that and 2MiB");
	if (check_holds_one(r, root, "waiting_bytes_per_sender", c->waiting_bytes_per_sender)
	    || check_holds_one(r, root, "waiting_bytes_per_tenant", c->waiting_bytes_per_tenant))
		return -1;
	c->server.partial_bytes = c->buffered_per_connection;
	h2->connection_queue = (uint32_t)c->buffered_per_connection;
	h2->reset_burst = BURST_S * h2->reset_rate;
	h2->control_burst = BURST_S * h2->control_rate;
	h2->ping_burst = BURST_S * h2->ping_rate;
	return 0;
}

/* Which keys need which others. */
static int check_issuing(struct config_reader *r, const struct yaml_node *root)
{
	struct config *c = r->config;
	bool any = c->issuing_cert[0] || c->issuing_key[0] || c->issuing_bundle[0], all = c->issuing_cert[0] && c->issuing_key[0] && c->issuing_bundle[0];

	if (any && !all)
		return config_error(r, yaml_tree_get(root, "issuing"), "issuing: cert, key and bundle belong together: name all three, or remove the section");
	if (!any && c->listen_enrol[0])
		return config_error(r, node_at(root, "listen", "enrol"), "listen.enrol: there is nothing to enrol with: name a CA's certificate, its key and the bundle under issuing");
	return 0;
}

/* Its own user can be in no folder of the broker's. */
static int finish_keeper(struct config_reader *r, const struct yaml_node *root)
{
	struct config *c = r->config;

	if (c->keeper_user[0] && !c->keeper_record[0])
		return config_error(r, node_at(root, "keeper", "user"), "keeper.user: name keeper.record too, a file in a folder that this user can write");
	if (c->keeper_user[0] && !c->assertion_key_file[0])
		return config_error(r, node_at(root, "keeper", "user"), "keeper.user: name assertion.key_file too, a file of this user's; it is made when it is missing");
	if (!c->keeper_record[0])
		c->keeper_record = arena_printf(r->arena, "%s/keeper/record.jsonl", c->state_dir);
	if (!c->assertion_key_file[0])
		c->assertion_key_file = arena_printf(r->arena, "%s/assertion.key", c->state_dir);
	return c->keeper_record && c->assertion_key_file ? 0 : config_error(r, root, "the file is too large");
}

/* Who reads it, and which file is watched for it. */
static int finish_key(struct config_reader *r, const struct yaml_node *root)
{
	struct config *c = r->config;
	struct keyuri u;

	c->tls_key_file = c->tls_key;
	if (!keyuri_is(c->tls_key))
		return 0;
	keyuri_parse(c->tls_key, &u);
	if (!c->n_tls_providers)
		return config_error(r, node_at(root, "tls", "key"), "tls.key: a provider of OpenSSL reads %s: URIs, and tls.providers names none. List it: providers: [{name: pkcs11}]", u.scheme);
	c->tls_key_file = arena_strdup(r->arena, u.pin_file);
	return c->tls_key_file ? 0 : config_error(r, root, "the file is too large");
}

int config_finish(struct config_reader *r, const struct yaml_node *root)
{
	struct config *c = r->config;

	for (size_t i = 0; i < c->n_trust; i++)
		((struct trust_domain_config *)(uintptr_t)&c->trust[i])->crl_grace_ms = c->crl_grace_ms;
	if (default_node(r, root) || finish_key(r, root) || check_agents(r, root) || check_store(r, root) || check_issuing(r, root) || finish_keeper(r, root) || finish_limits(r, root))
		return -1;
	if (!c->store_keys_file[0])
		c->store_keys_file = arena_printf(r->arena, "%s/seal.keys", c->state_dir);
	if (!c->assertion_issuer[0])
		c->assertion_issuer = arena_printf(r->arena, "baton:%s", c->node);
	c->listen_http1 = "";
	if (!c->store_keys_file || !c->assertion_issuer)
		return config_error(r, root, "the file is too large");
	return 0;
}

static int read_file(struct config_reader *r)
{
	const struct place top = {"", ""};
	const struct yaml_node *root;
	uint8_t *bytes = NULL;
	size_t n = 0;
	int rc = -1;

	if (file_read(r->file, FILE_MAX, &bytes, &n, r->why))
		return -1;
	root = yaml_tree_parse(slice_of(bytes, n), r->file, r->arena, r->why);
	if (!root)
		goto out;
	if (root->kind != YAML_MAP) {
		config_error(r, root, "the file is not a mapping: it begins with `version: 1`");
		goto out;
	}
	rc = read_map(r, root, &top, root, r->config) || config_finish(r, root) ? -1 : 0;
out:
	free(bytes);
	return rc;
}

struct config *config_load(const char *path, struct problem *why)
{
	struct config_reader r = {.file = path, .why = why};
	struct loaded *l = calloc(1, sizeof *l);

	if (l)
		l->arena = arena_new(ARENA_MAX);
	if (!l || !l->arena) {
		free(l);
		problem_set(why, "out of memory");
		return NULL;
	}
	r.arena = l->arena;
	r.config = &l->pub;
	l->pub.server.h2 = (struct h2_limits)H2_LIMITS_DEFAULT;
	if (read_file(&r)) {
		config_free(&l->pub);
		return NULL;
	}
	return &l->pub;
}

void config_free(struct config *c)
{
	struct loaded *l = (struct loaded *)c;

	if (!c)
		return;
	arena_free(l->arena);
	free(l);
}

struct store_slot_limits config_slot_limits(const struct config *c)
{
	return (struct store_slot_limits){
		.max_waiting = c->waiting_per_route,
		.max_waiting_bytes = c->waiting_bytes,
		.max_per_sender = c->waiting_per_sender,
		.max_bytes_per_sender = c->waiting_bytes_per_sender,
		.clock_skew_ms = (uint32_t)c->clock_skew_ms,
		.keep_finished_ms = c->store_keep_finished_ms,
		.max_lost = c->store_max_lost,
		.hold_ms = c->store_hold_ms,
	};
}
