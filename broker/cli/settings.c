/* Where is the broker, and who are we? Asked in this order: flag (--as NAME stands for the flags of that agent),
 * environment, DIR/env of `baton dev up`. Then the connection is made. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "client/addr.h"
#include "client/conn.h"

#define ENV_FILE_MAX 65536
#define TOKEN_FILE_MAX 8192
#define ADMIN_ADDR_DEFAULT ADDR_LOCAL "/run/baton/admin.sock"

struct field {
	const char *env;
	enum opt opt;
	size_t at, size;
};

#define FIELD(e, o, m) {e, o, offsetof(struct settings, m), sizeof((struct settings *)0)->m}
static const struct field fields[] = {
	FIELD("BATON_ADDR", OPT_ADDR, addr), FIELD("BATON_CA", OPT_CA, ca), FIELD("BATON_CERT", OPT_CERT, cert),
	FIELD("BATON_KEY", OPT_KEY, key), FIELD("BATON_TOKEN_FILE", OPT_TOKEN_FILE, token_file),
	FIELD("BATON_METRICS", OPT_METRICS, metrics), FIELD("BATON_ADMIN_ADDR", OPT_ADMIN_ADDR, admin_addr),
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

static char *place(struct settings *s, const struct field *f)
{
	return (char *)s + f->at;
}

static void take_line(struct settings *s, struct slice line)
{
	for (size_t i = 0; i < N_FIELDS; i++) {
		size_t n = strlen(fields[i].env);

		if (line.n > n && memcmp(line.p, fields[i].env, n) == 0 && line.p[n] == '=' && !*place(s, &fields[i]))
			slice_copy_str(slice_of(line.p + n + 1, line.n - n - 1), place(s, &fields[i]), fields[i].size);
	}
}

int settings_read_env(struct settings *s, const char *dir, const char *name, struct problem *why)
{
	char path[SETTING_MAX + 128];
	uint8_t *bytes = NULL;
	size_t n = 0;

	if (name && *name && !name_valid(slice_str(name)))
		return problem_set(why, "`%.64s` is not a name", name);
	snprintf(path, sizeof path, "%s/env%s%s", dir, name && *name ? "." : "", name && *name ? name : "");
	if (file_read(path, ENV_FILE_MAX, &bytes, &n, why))
		return -1;
	for (size_t at = 0; at < n;) {
		const uint8_t *end = memchr(bytes + at, '\n', n - at);
		size_t len = end ? (size_t)(end - bytes) - at : n - at;

		take_line(s, slice_of(bytes + at, len));
		at += len + 1;
	}
	free(bytes);
	return 0;
}

bool settings_dev_dir(const struct args *a, char *out, size_t size)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n;

	if (a->text[OPT_DIR])
		n = snprintf(out, size, "%s", a->text[OPT_DIR]);
	else if (state && *state == '/')
		n = snprintf(out, size, "%s/baton/dev", state);
	else if (home && *home == '/')
		n = snprintf(out, size, "%s/.local/state/baton/dev", home);
	else
		return false;
	return n > 0 && (size_t)n < size;
}

static int take_as(struct cli *c, const char *dir)
{
	struct problem why = {""};
	struct settings s = {.addr = ""};

	if (!*dir)
		return complain(c, EXIT_CONFIG, "--as needs a dev set-up, and no folder for it is known", NULL,
			"Name it with --dir.");
	if (settings_read_env(&s, dir, c->args.text[OPT_AS], &why))
		return complain(c, EXIT_MISSING, why.text, NULL, "Agents of the dev set-up are made by: baton dev up");
	for (size_t i = 0; i < N_FIELDS; i++)
		if (!*place(&c->set, &fields[i]))
			snprintf(place(&c->set, &fields[i]), fields[i].size, "%s", place(&s, &fields[i]));
	return 0;
}

/* An address that is spelled wrong is a usage error, before anything is opened. */
static int check_addr(const struct cli *c, const char *addr)
{
	struct problem why = {""};
	struct addr a;

	if (!*addr || addr_split(addr, &a, &why) == 0)
		return 0;
	return complain(c, EXIT_USAGE, why.text, NULL, ADDR_ADVICE);
}

int settings_no_dev(const struct cli *c, const char *dir)
{
	char what[SETTING_MAX + 32];

	snprintf(what, sizeof what, "no dev set-up in %s", dir);
	return complain(c, EXIT_MISSING, what, NULL, "One is made by: baton dev up");
}

static void take_dev(struct cli *c, const char *dir)
{
	struct settings dev = {.addr = ""};
	bool own_identity = c->set.cert[0] != '\0';

	if (!*dir || settings_read_env(&dev, dir, NULL, NULL))
		return;
	for (size_t i = 0; i < N_FIELDS; i++) {
		if (fields[i].opt == OPT_TOKEN_FILE && own_identity)
			continue; /* a dev token says nothing about another certificate */
		if (!*place(&c->set, &fields[i]))
			snprintf(place(&c->set, &fields[i]), fields[i].size, "%s", place(&dev, &fields[i]));
	}
}

int settings_resolve(struct cli *c)
{
	char dir[SETTING_MAX] = "";
	int code;

	settings_dev_dir(&c->args, dir, sizeof dir);
	if (c->args.given[OPT_DIR] && settings_read_env(&(struct settings){.addr = ""}, dir, NULL, NULL))
		return settings_no_dev(c, dir);
	for (size_t i = 0; i < N_FIELDS; i++)
		if (c->args.given[fields[i].opt] &&
		    (size_t)snprintf(place(&c->set, &fields[i]), fields[i].size, "%s", c->args.text[fields[i].opt]) >= fields[i].size)
			return complain_usage(c, "--%s: too long", option_row(fields[i].opt)->name);
	if (c->args.given[OPT_AS] && (code = take_as(c, dir)))
		return code;
	for (size_t i = 0; i < N_FIELDS; i++)
		if (!*place(&c->set, &fields[i]) && c->args.text[fields[i].opt] &&
		    (size_t)snprintf(place(&c->set, &fields[i]), fields[i].size, "%s", c->args.text[fields[i].opt]) >= fields[i].size)
			return complain_usage(c, "%s: too long", fields[i].env);
	take_dev(c, dir);
	if (!c->set.admin_addr[0])
		snprintf(c->set.admin_addr, sizeof c->set.admin_addr, "%s", ADMIN_ADDR_DEFAULT);
	code = check_addr(c, c->set.addr);
	if (!code && strncmp(c->set.admin_addr, ADDR_LOCAL, sizeof ADDR_LOCAL - 1) != 0)
		code = check_addr(c, c->set.admin_addr);
	return !code && c->args.given[OPT_METRICS] ? check_addr(c, c->set.metrics) : code;
}

int settings_token(struct cli *c)
{
	const char *env = getenv("BATON_TOKEN");
	struct problem why = {""};
	uint8_t *bytes = NULL;
	size_t n = 0;
	bool by_flag = c->args.given[OPT_TOKEN_FILE] || c->args.given[OPT_AS];

	c->token[0] = '\0';
	if (env && *env && !by_flag) {
		if ((size_t)snprintf(c->token, sizeof c->token, "%s", env) >= sizeof c->token)
			return complain(c, EXIT_MALFORMED, "BATON_TOKEN is longer than 8 KiB", NULL, NULL);
		return 0;
	}
	if (!c->set.token_file[0])
		return 0;
	if (secret_read_file(c->set.token_file, TOKEN_FILE_MAX, &bytes, &n, &why))
		return complain(c, access(c->set.token_file, F_OK) ? EXIT_MISSING : EXIT_CONFIG, why.text, NULL,
			"A token's file is a regular file of mode 0600.");
	slice_copy_str(slice_of(bytes, n), c->token, sizeof c->token);
	secret_wipe(bytes, n);
	free(bytes);
	for (const char *p = c->token; *p; p++)
		if (*p <= ' ' || *p > '~')
			return complain(c, EXIT_MALFORMED, "the token's file holds more than a token", NULL, NULL);
	return 0;
}

/* To where and as whom is settled. */
static int dial(struct cli *c)
{
	struct client_error why = {.fault = CLIENT_FINE};
	int code;

	if (!c->set.addr[0])
		return complain(c, EXIT_UNREACHABLE, "no broker was named", NULL,
				"Use --addr or BATON_ADDR, or start one for trying out: baton dev up");
	if ((code = settings_token(c)))
		return code;
	cli_verbose(c, "broker %s, certificate %s, token %s", c->set.addr, c->set.cert, c->token[0] ? "yes" : "none");
	c->creds = client_creds_load(c->set.ca, c->set.cert, c->set.key, &why);
	if (!c->creds)
		return complain_client(c, &why);
	c->conn = client_new(c->creds, c->set.addr, &why);
	return c->conn ? 0 : complain_client(c, &why);
}

int cli_dial(struct cli *c)
{
	int code = settings_resolve(c);

	return code ? code : dial(c);
}

int cli_connect(struct cli *c)
{
	int code = settings_resolve(c);

	return code ? code : cli_connect_as_set(c);
}

int cli_connect_as_set(struct cli *c)
{
	struct client_error why = {.fault = CLIENT_FINE};
	int code = dial(c);

	if (code)
		return code;
	if (client_connect(c->conn, clock_mono_ms() + c->args.number[OPT_TIMEOUT], &why))
		return complain_client(c, &why);
	cli_verbose(c, "connected: %s", client_tls_text(c->conn));
	return 0;
}

void cli_close(struct cli *c)
{
	client_free(c->conn);
	client_creds_free(c->creds);
	c->conn = NULL;
	c->creds = NULL;
	secret_wipe(c->token, sizeof c->token);
}
