/* Whose tokens count, and has the broker their keys? An operator's list and show. */
#include "config.h"

#include "baton/v1/admin.pb-c.h"
#include "cli/resource.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define WIDTH 14

typedef Baton__V1__Issuer issuer;

static const char *const columns[] = {"NAME", "URL", "TENANTS", "KEYS", "GOOD-UNTIL", "ALGORITHMS", "BINDING"};

static const char *good_until(const struct cli *c, const issuer *s, char out[40])
{
	if (s->keys_good_until_ms)
		text_time(s->keys_good_until_ms, c->args.given[OPT_UTC], out);
	else
		snprintf(out, 40, "%s", s->keys ? "static" : "");
	return out;
}

static void add_row(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	const issuer *s = r->issuer;
	char text[40];

	table_cell(t, s->name);
	table_cell(t, s->url);
	resource_cell_words(t, s->tenants, s->n_tenants);
	snprintf(text, sizeof text, "%u", s->keys);
	table_cell(t, text);
	table_cell(t, good_until(c, s, text));
	if (t->n <= 5)
		return;
	resource_cell_words(t, s->algorithms, s->n_algorithms);
	table_cell(t, s->binding);
}

static void print_one(const struct cli *c, const resource *r)
{
	const issuer *s = r->issuer;
	char text[48];

	text_line(c->out, WIDTH, "name:", s->name);
	text_line(c->out, WIDTH, "url:", s->url);
	text_line_words(c->out, WIDTH, "tenants:", s->tenants, s->n_tenants);
	if (s->n_audiences)
		text_line_words(c->out, WIDTH, "audiences:", s->audiences, s->n_audiences);
	text_line_words(c->out, WIDTH, "algorithms:", s->algorithms, s->n_algorithms);
	text_line(c->out, WIDTH, "binding:", s->binding);
	snprintf(text, sizeof text, "%u s", s->max_lifetime_s);
	text_line(c->out, WIDTH, "max lifetime:", text);
	text_line(c->out, WIDTH, "tenant in:", s->tenant_claim);
	text_line(c->out, WIDTH, "client in:", s->client_claim);
	text_line(c->out, WIDTH, "scopes in:", s->scope_claim);
	snprintf(text, sizeof text, "%u", s->keys);
	text_line(c->out, WIDTH, "keys:", s->keys ? text : "none yet: its tokens are refused");
	text_line(c->out, WIDTH, "good until:", good_until(c, s, text));
	text_line(c->out, WIDTH, "version:", "static: it stands in the broker's configuration file");
}

static const char *name_of(const resource *r)
{
	return r->issuer->name;
}

static const struct resource_view view = {
	.kind = "issuer", .spec = BATON__V1__RESOURCE__SPEC_ISSUER, .lists = "baton issuer list shows all.", .stranger = "the broker's answer is no issuer",
	.columns = columns, .shown = 5, .wide = 7, .row = add_row, .name = name_of, .print = print_one,
};

int cmd_issuer_list(struct cli *c)
{
	return resource_list(c, &view);
}

int cmd_issuer_show(struct cli *c)
{
	return resource_show(c, &view);
}
