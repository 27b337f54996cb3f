/* How does a command line become a call of one function? Find the verb, parse with its options, check the words,
 * run. */
#include "config.h"

#include <stdarg.h>
#include <string.h>

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
	if (args_defaults(&c->args, &why))
		return complain_usage(c, "%s", why.text);
	c->words = c->args.words + used;
	c->n_words = c->args.n_words - used;
	code = check_words(c);
	return code ? code : c->verb->run(c);
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
	if (c.verb) {
		code = run_verb(&c, argv, used);
	} else if (c.args.given[OPT_HELP] && (c.args.n_words == 0 || (used == 1 && c.args.n_words == 1))) {
		if (c.args.n_words)
			help_noun(out, c.args.words[0]);
		else
			help_all(out);
		code = EXIT_YES;
	} else {
		code = complain_usage(&c, "%s", why.text);
	}
	cli_close(&c);
	fflush(out);
	return code;
}
