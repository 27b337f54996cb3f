/* What is registered, as a file that `baton apply` takes back? YAML, a document a resource; libyaml writes it, and every text stands in quotes. */
#include "config.h"

#include "cli/export.h"

#include "base/encode.h"
#include "cli/admin.h"
#include "cli/listing.h"

#define PAGE 200
#define TEXT_MAX (1024 * 1024)
#define PAGE_BYTES_MAX (64 * 1024 * 1024)

struct exporting {
	struct cli *c;
	struct arena *arena; /* of a page */
	struct buf text;
	struct yaml_writer *yaml;
	size_t written, left_static, left_gone;
};

static void put_der(struct yaml_writer *y, const ProtobufCBinaryData *b)
{
	struct buf text;

	buf_init(&text, TEXT_MAX);
	if (b64_encode(&text, slice_of(b->data, b->len)) && buf_put_u8(&text, 0))
		yaml_writer_text(y, NULL, (const char *)text.p);
	buf_clear(&text);
}

static void put_many(struct yaml_writer *y, const struct res_field *f, const ProtobufCMessage *m)
{
	if (f->type == RES_PAIRS)
		yaml_writer_map(y, f->name);
	else
		yaml_writer_list(y, f->name);
	for (size_t i = 0; i < *res_count(m, f); i++) {
		if (f->type == RES_WORDS)
			yaml_writer_text(y, NULL, (*res_words(m, f))[i]);
		else if (f->type == RES_DER)
			put_der(y, &res_bytes(m, f)[i]);
		else
			yaml_writer_entry(y, *res_side((*res_pairs(m, f))[i], 0), *res_side((*res_pairs(m, f))[i], 1));
	}
	if (f->type == RES_PAIRS)
		yaml_writer_end_map(y);
	else
		yaml_writer_end_list(y);
}

/* Bytes that are no text of one line, as the file must have them, were never in a file. */
static void put_bytes(struct yaml_writer *y, const struct res_field *f, const ProtobufCBinaryData *b, struct arena *arena)
{
	char *text = arena_strndup(arena, b->data, b->len);

	for (char *p = text; p && *p; p++)
		if (*p == '\n' || *p == '\r' || *p == '\t')
			*p = ' '; /* between the words of JSON one is as good as the other */
	yaml_writer_text(y, f->name, text ? text : "");
}

static void put_field(struct yaml_writer *y, const struct res_field *f, const ProtobufCMessage *m, struct arena *arena)
{
	char number[RES_NUMBER_MAX];

	if (res_is_default(m, f))
		return;
	if (f->type == RES_TEXT)
		yaml_writer_text(y, f->name, *res_text(m, f));
	else if (f->type == RES_BYTES)
		put_bytes(y, f, res_bytes(m, f), arena);
	else if (res_is_many(f))
		put_many(y, f, m);
	else
		yaml_writer_word(y, f->name, res_number_text(m, f, number));
}

bool export_put(struct yaml_writer *y, const struct res_kind *k, const ProtobufCMessage *spec, struct arena *arena)
{
	yaml_writer_document(y);
	yaml_writer_word(y, "kind", k->name);
	for (size_t i = 0; i < k->n_fields; i++)
		put_field(y, &k->fields[i], spec, arena);
	return yaml_writer_end_document(y);
}

static int put(struct exporting *x, const struct res_kind *k, const Baton__V1__Resource *r)
{
	const ProtobufCMessage *m = res_spec(k, r);

	if (!m)
		return complain(x->c, EXIT_PROTOCOL, "the broker's answer is of another kind", k->name, "Use a baton of the broker's version.");
	if (!r->is_static && !*r->version) /* it is there because others name it */
		return 0;
	if (r->is_static || res_gone(k, m)) {
		x->left_static += r->is_static;
		x->left_gone += !r->is_static;
		return 0;
	}
	if (!export_put(x->yaml, k, m, x->arena))
		return complain(x->c, EXIT_BUG, "a resource could not be written as YAML", res_id(k, m), NULL);
	fwrite(x->text.p, 1, x->text.n, x->c->out);
	buf_reset(&x->text);
	x->written++;
	return 0;
}

static int put_kind(struct exporting *x, const struct res_kind *k)
{
	Baton__V1__ListResourcesRequest q = BATON__V1__LIST_RESOURCES_REQUEST__INIT;
	struct client_status status;
	char token[512] = "";
	int code = 0;

	if (x->c->args.given[OPT_TENANT] && k->tenant == RES_NO_TENANT)
		return 0;
	q.kind = (char *)(uintptr_t)k->name;
	q.tenant = admin_text(x->c, OPT_TENANT);
	q.page_token = token;
	q.page_size = PAGE;
	for (;;) {
		Baton__V1__ListResourcesResponse *page;

		arena_reset(x->arena);
		page = admin_try(x->c, ADMIN_RESOURCE "List", &q.base, &baton__v1__list_resources_response__descriptor, x->arena, &status);
		if (!page && status.reason == REASON_ROLE_DENIED && k->tenant == RES_NO_TENANT) {
			cli_note(x->c, "%s: left out, for they are for all tenants and you have your roles for one", k->name);
			return 0;
		}
		if (!page)
			code = complain_status(x->c, &status);
		for (size_t i = 0; page && !code && i < page->n_resources; i++)
			code = put(x, k, page->resources[i]);
		if (!page || code || !listing_next(page->next_page_token, token, sizeof token))
			return code;
	}
}

int cmd_export(struct cli *c)
{
	struct exporting x = {.c = c, .arena = arena_new(ADMIN_ARENA)};
	int code;

	buf_init(&x.text, PAGE_BYTES_MAX);
	x.yaml = yaml_writer_new(&x.text);
	code = x.arena && x.yaml ? admin_connect(c) : EXIT_BUG;
	for (size_t i = 0; !code && i < n_res_kinds; i++)
		code = put_kind(&x, &res_kinds[i]);
	if (!code && !x.written)
		fputs("---\n", c->out); /* a document in which nothing stands: apply takes it, and refuses a file that is empty */
	if (!code && x.left_static)
		cli_note(c, "%zu of the broker's configuration file left out: they change there alone", x.left_static);
	if (!code && x.left_gone)
		cli_note(c, "%zu retired left out", x.left_gone);
	yaml_writer_free(x.yaml);
	buf_clear(&x.text);
	arena_free(x.arena);
	return code;
}
