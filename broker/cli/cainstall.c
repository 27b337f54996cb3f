/* How does a broker come by the CA that it issues with? The intermediate that issues now, and its key, are written where `issuing` of its configuration names
 * them; after each rotation again. The root stays away from it. */
#include "config.h"

#include <stdio.h>

#include "base/clock.h"
#include "cli/cawords.h"

/* The key first: a broker that looks in between finds a pair that does not fit, and goes on with the one before. */
static int install(const struct cafolder *f, const char *out, const char *key_path, struct problem *why)
{
	const struct caintermediate *now = &f->all[f->current];
	const struct slice one = buf_slice(&now->der);
	struct ca_key *key = cafolder_key(f, f->current, why);
	int rc = key ? cafolder_write_key(key_path, key, why) : -1;

	ca_key_free(key);
	return rc < 0 ? -1 : cafolder_write_pem(out, CA_PEM_CERTIFICATE, &one, 1, why);
}

static void print_installed(struct cli *c, const struct cafolder *f, const char *key_path)
{
	char end[25];
	const struct cafact facts[] = {{"intermediate", f->all[f->current].name}, {"cert", c->args.text[OPT_INSTALL_OUT]}, {"key", key_path}, {"issues_until", end}};

	clock_format_utc(f->all[f->current].info.not_after_ms, end);
	cawords_print(c, facts, sizeof facts / sizeof facts[0]);
}

int cmd_ca_install(struct cli *c)
{
	const char *out = c->args.text[OPT_INSTALL_OUT];
	char key_path[SETTING_MAX];
	struct problem why = {""};
	struct cafolder *f;
	int code;

	if (!out)
		return complain_usage(c, "`ca install` needs --out, the file that issuing.cert names");
	if (cafolder_key_path(out, key_path, sizeof key_path, &why) < 0)
		return complain_usage(c, "%s", why.text);
	f = cawords_open(c, &code);
	if (!f)
		return code;
	if (install(f, out, key_path, &why) < 0)
		code = complain(c, EXIT_CONFIG, "the intermediate was not written", why.text, NULL);
	else {
		print_installed(c, f, key_path);
		code = EXIT_YES;
	}
	cafolder_close(f);
	return code;
}
