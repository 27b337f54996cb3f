/* How does a command line become a call of one function? Find the verb, parse with its options, check the words,
 * run. */
#include "config.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/verbs.h"

void cli_note(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	if (c->args.given[OPT_QUIET])
		return;
	fflush(c->out); /* what was answered before stands before it */
	va_start(ap, fmt);
	vfprintf(c->err, fmt, ap);
	va_end(ap);
	fputc('\n', c->err);
	fflush(c->err);
}

int cli_confirm(const struct cli *c, const char *what, const char *declined, const char *question, ...)
{
	char answer[16] = "";
	va_list ap;

	if (c->args.given[OPT_YES])
		return 0;
	if (!isatty(0))
		return complain(c, EXIT_USAGE, what, NULL, "Say --yes to mean it.");
	va_start(ap, question);
	vfprintf(c->err, question, ap);
	va_end(ap);
	fputs(" [y/N] ", c->err);
	if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
		return complain(c, EXIT_NO, declined, NULL, NULL);
	return 0;
}

void cli_verbose(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	if (!c->args.given[OPT_VERBOSE])
		return;
	fflush(c->out); /* what was answered before stands before it */
	va_start(ap, fmt);
	vfprintf(c->err, fmt, ap);
	va_end(ap);
	fputc('\n', c->err);
	fflush(c->err);
}

static bool folder_there(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[SETTING_MAX];

	if (!slash || slash == path)
		return true;
	return slice_copy_str(slice_of(path, (size_t)(slash - path)), folder, sizeof folder) && access(folder, F_OK) == 0;
}

int cli_write_file(const struct cli *c, const char *path, struct slice bytes)
{
	struct problem why = {""};
	char what[SETTING_MAX + 64];

	if (!folder_there(path)) {
		snprintf(what, sizeof what, "cannot write %s: its folder does not exist", path);
		return complain(c, EXIT_MISSING, what, NULL, NULL);
	}
	if (file_write_atomic(path, bytes, 0600, &why) == 0)
		return 0;
	snprintf(what, sizeof what, "cannot write %s", path);
	return complain(c, EXIT_CONFIG, what, why.text, NULL);
}

static int check_words(struct cli *c)
{
	const struct verb *v = c->verb;
	const char *space = v->verb ? " " : "", *verb = v->verb ? v->verb : "";

	if (c->n_words < v->min_words)
		return complain_usage(c, "`%s%s%s` needs %s", v->noun, space, verb, v->args);
	if (c->n_words > v->max_words)
		return complain_usage(c, "`%s%s%s` takes no `%.64s`", v->noun, space, verb, c->words[v->max_words]);
	if (v->wants_rest && (!c->args.rest || !c->args.rest[0]))
		return complain_usage(c, "`%s%s%s` needs a command: %s", v->noun, space, verb, v->args);
	if (!v->wants_rest && c->args.rest)
		return complain_usage(c, "`%s%s%s` takes no `--`", v->noun, space, verb);
	return 0;
}

static int run_verb(struct cli *c, char *const *argv, size_t used)
{
	struct problem why = {""};
	int code;

	if (args_parse(&c->args, argv, c->verb->opts, &why))
		return complain_usage(c, "%s", why.text);
	if (c->args.given[OPT_HELP]) {
		help_verb(c->out, c->verb);
		return EXIT_YES;
	}
	if (c->args.given[OPT_VERSION])
		return cmd_version(c);
	if (args_defaults(&c->args, &why))
		return complain_usage(c, "%s", why.text);
	c->words = c->args.words + used;
	c->n_words = c->args.n_words - used;
	code = check_words(c);
	return code ? code : c->verb->run(c);
}

int cmd_help(struct cli *c)
{
	struct problem why = {""};
	size_t used = 0;
	const struct verb *v;

	if (!c->n_words) {
		help_all(c->out);
		return EXIT_YES;
	}
	v = verb_find(c->words, c->n_words, &used, &why);
	if (v && used == c->n_words)
		help_verb(c->out, v);
	else if (used == 1 && c->n_words == 1)
		help_noun(c->out, c->words[0]);
	else
		return complain_usage(c, "%s", v ? "`help` takes one command" : why.text);
	return EXIT_YES;
}

/* No verb: help, the version, or what is wrong. */
static int run_alone(struct cli *c, size_t used, const char *why)
{
	if (c->args.unknown)
		return complain_usage(c, "unknown option %.64s", c->args.unknown);
	if (c->args.n_words > used || c->args.n_words > 1 || !(c->args.given[OPT_HELP] || c->args.given[OPT_VERSION]))
		return complain_usage(c, "%s", why);
	if (c->args.given[OPT_VERSION])
		return cmd_version(c);
	if (used)
		help_noun(c->out, c->args.words[0]);
	else
		help_all(c->out);
	return EXIT_YES;
}

int cli_run(char *const *argv, FILE *out, FILE *err)
{
	struct cli c = {.out = out, .err = err};
	struct problem why = {""};
	size_t used = 0;
	int code;

	if (args_parse(&c.args, argv, NULL, &why))
		return complain_usage(&c, "%s", why.text);
	c.verb = verb_find(c.args.words, c.args.n_words, &used, &why);
	code = c.verb ? run_verb(&c, argv, used) : run_alone(&c, used, why.text);
	cli_close(&c);
	fflush(out);
	return code;
}
