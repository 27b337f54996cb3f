/* How are the tables laid out for people? Synopsis, one line of help, options in the order of the table. */
#include "config.h"

#include "cli/help.h"

#include <string.h>

#include "cli/verbs.h"

static void print_option(FILE *out, const struct option_row *r)
{
	char left[160];
	char letter[8] = "    ";

	if (r->letter)
		snprintf(letter, sizeof letter, "-%c, ", r->letter);
	snprintf(left, sizeof left, "%s--%s%s%s", letter, r->name, r->arg ? " " : "", r->arg ? r->arg : "");
	if (strlen(left) > 30)
		fprintf(out, "  %s\n  %-30s  %s", left, "", r->help);
	else
		fprintf(out, "  %-30s  %s", left, r->help);
	if (r->fallback && *r->fallback)
		fprintf(out, " (%s)", r->fallback);
	if (r->env)
		fprintf(out, " [%s]", r->env);
	fputc('\n', out);
}

static void print_globals(FILE *out)
{
	fputs("\nEverywhere\n", out);
	for (int o = OPT_ADDR; o <= OPT_GLOBAL_LAST; o++)
		print_option(out, option_row((enum opt)o));
	fputs("\nAn option beats its [variable], and that beats the env file of `baton dev up`.\n"
	      "TIME is 500ms, 10s, 5m, 1h or 2d; a number alone is seconds. A value that begins with -- is written --OPTION=VALUE.\n",
	      out);
}

static void print_line(FILE *out, const struct verb *v)
{
	char left[96];

	snprintf(left, sizeof left, "%s%s%s%s%s", v->noun, v->verb ? " " : "", v->verb ? v->verb : "", *v->args ? " " : "",
		v->args);
	fprintf(out, "  %-28s  %s\n", left, v->help);
}

void help_all(FILE *out)
{
	fputs("baton: hand work between agents, and stay in charge of it\n\nUsage: baton COMMAND [OPTION...]\n\nCommands\n",
		out);
	for (size_t i = 0; i < n_verbs; i++)
		print_line(out, &verbs[i]);
	print_globals(out);
	fputs("\n`baton COMMAND --help` tells more; baton(1) lists the exit codes.\n", out);
}

void help_noun(FILE *out, const char *noun)
{
	fprintf(out, "Usage: baton %s VERB [OPTION...]\n\n", noun);
	for (size_t i = 0; i < n_verbs; i++)
		if (strcmp(verbs[i].noun, noun) == 0)
			print_line(out, &verbs[i]);
}

void help_verb(FILE *out, const struct verb *v)
{
	fprintf(out, "Usage: baton %s%s%s [OPTION...]%s%s\n\n%s\n", v->noun, v->verb ? " " : "", v->verb ? v->verb : "",
		*v->args ? " " : "",
		v->args, v->help);
	if (v->opts[0] != OPT_END)
		fputs("\nOptions\n", out);
	for (const enum opt *o = v->opts; *o != OPT_END; o++)
		print_option(out, option_row(*o));
	print_globals(out);
}
