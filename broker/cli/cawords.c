/* How are the words of `baton ca` read, and its answers written? */
#include "config.h"

#include "cli/cawords.h"

#include <stdio.h>
#include <string.h>

#include "base/jsonw.h"
#include "cli/text.h"

#define WIDTH 14

/* The parts of one value, each as a text of its own behind those that are there. */
static bool add(struct cawords *w, const char *value, const char **names)
{
	size_t n = 0;

	while (names[n])
		n++;
	for (const char *p = value;; p++) {
		size_t len = strcspn(p, ",");

		if (n > CA_NAMES_MAX || len + 1 > sizeof w->text - w->used)
			return false;
		memcpy(w->text + w->used, p, len);
		names[n++] = w->text + w->used;
		w->used += len + 1; /* the text began as NULs */
		p += len;
		if (!*p)
			return true;
	}
}

int cawords_servers(const struct cli *c, struct cawords *w)
{
	memset(w, 0, sizeof *w);
	w->servers = (struct ca_servers){w->dns, w->ips};
	for (size_t i = 0; i < c->args.n_many; i++) {
		enum opt o = c->args.many[i].opt;

		if ((o == OPT_DNS || o == OPT_IP) && !add(w, c->args.many[i].value, o == OPT_DNS ? w->dns : w->ips))
			return complain_usage(c, "--%s: at most %d names", option_row(o)->name, CA_NAMES_MAX);
	}
	return 0;
}

int cawords_dir(const struct cli *c, char *out, size_t size)
{
	struct slice dir = slice_str(c->words[0]);

	while (dir.n > 1 && dir.p[dir.n - 1] == '/')
		dir.n--;
	return dir.n && slice_copy_str(dir, out, size) ? 0 : complain_usage(c, "the folder's name is empty or too long");
}

struct cafolder *cawords_open(const struct cli *c, int *code)
{
	char dir[CAFOLDER_DIR], what[CAFOLDER_DIR + 64];
	struct problem why = {""};
	struct cafolder *f = NULL;

	*code = cawords_dir(c, dir, sizeof dir);
	if (*code)
		return NULL;
	snprintf(what, sizeof what, "there is no CA in %s", dir);
	if (!cafolder_is_there(dir))
		*code = complain(c, EXIT_MISSING, what, NULL, "Make one: baton ca init DIR --trust-domain NAME");
	else if (!(f = cafolder_open(dir, &why)))
		*code = complain(c, EXIT_CONFIG, why.text, NULL, NULL);
	return f;
}

static void print_json(const struct cli *c, const struct cafact *facts, size_t n)
{
	struct jsonw w;
	struct buf b;

	buf_init(&b, 65536);
	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	for (size_t i = 0; i < n; i++)
		if (facts[i].value && *facts[i].value)
			jsonw_str(&w, facts[i].key, facts[i].value);
	jsonw_end_object(&w);
	fwrite(b.p, 1, b.n, c->out);
	fputc('\n', c->out);
	buf_clear(&b);
}

static void print_lines(const struct cli *c, const struct cafact *facts, size_t n)
{
	char key[32];

	for (size_t i = 0; i < n; i++) {
		snprintf(key, sizeof key, "%s:", facts[i].key);
		for (char *p = key; *p; p++)
			*p = *p == '_' ? ' ' : *p;
		text_line(c->out, WIDTH, key, facts[i].value);
	}
}

void cawords_print(const struct cli *c, const struct cafact *facts, size_t n)
{
	if (cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", facts[0].value);
	else if (cli_json(c))
		print_json(c, facts, n);
	else
		print_lines(c, facts, n);
}
