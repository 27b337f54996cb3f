/* How does bash complete `baton`? By a script written from the tables: commands, options, and the values of choices. */
#include "config.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/verbs.h"

static void print_words(FILE *out, const char *choices)
{
	for (; *choices; choices++)
		fputc(*choices == '|' ? ' ' : *choices, out);
}

static void print_values(FILE *out)
{
	fputs("\tcase \"$prev\" in\n", out);
	for (int o = OPT_ADDR; o < OPT_COUNT; o++) {
		const struct option_row *r = option_row((enum opt)o);

		if (r->kind == KIND_CHOICE) {
			fprintf(out, "\t--%s", r->name);
			if (r->letter)
				fprintf(out, "|-%c", r->letter);
			fputs(") COMPREPLY=($(compgen -W \"", out);
			print_words(out, r->arg);
			fputs("\" -- \"$cur\")); return ;;\n", out);
		} else if (option_is_path(r)) {
			fprintf(out, "\t--%s", r->name);
			if (r->letter)
				fprintf(out, "|-%c", r->letter);
			fputs(") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", out);
		}
	}
	fputs("\tesac\n", out);
}

static void print_options(FILE *out)
{
	fputs("\tlocal every=\"", out);
	for (int o = OPT_ADDR; o <= OPT_GLOBAL_LAST; o++)
		fprintf(out, "--%s ", option_row((enum opt)o)->name);
	fputs("\" own=\"\"\n\tcase \"$noun $verb\" in\n", out);
	for (size_t i = 0; i < n_verbs; i++) {
		fprintf(out, "\t\"%s %s\"%s) own=\"", verbs[i].noun, verbs[i].verb ? verbs[i].verb : "", verbs[i].verb ? "" : "*");
		for (const enum opt *p = verbs[i].opts; *p != OPT_END; p++)
			fprintf(out, "--%s ", option_row(*p)->name);
		fputs("\" ;;\n", out);
	}
	fputs("\tesac\n", out);
}

static void print_verbs(FILE *out)
{
	fputs("\tcase \"$noun\" in\n\t\"\") COMPREPLY=($(compgen -W \"", out);
	for (size_t i = 0; i < n_verbs; i++)
		if (i == 0 || strcmp(verbs[i].noun, verbs[i - 1].noun) != 0)
			fprintf(out, "%s ", verbs[i].noun);
	fputs("\" -- \"$cur\")); return ;;\n", out);
	for (size_t i = 0; i < n_verbs; i++) {
		if (!verbs[i].verb || (i && strcmp(verbs[i].noun, verbs[i - 1].noun) == 0))
			continue;
		fprintf(out, "\t%s) [ -n \"$verb\" ] || COMPREPLY=($(compgen -W \"", verbs[i].noun);
		for (size_t k = i; k < n_verbs && strcmp(verbs[k].noun, verbs[i].noun) == 0; k++)
			fprintf(out, "%s ", verbs[k].verb);
		fputs("\" -- \"$cur\")) ;;\n", out);
	}
	fputs("\tesac\n", out);
}

int cmd_completion_bash(struct cli *c)
{
	fputs("# bash completion of baton: source <(baton completion bash)\n"
	      "_baton() {\n"
	      "\tlocal cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" noun=\"\" verb=\"\" w i\n"
	      "\tCOMPREPLY=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tw=\"${COMP_WORDS[i]}\"\n"
	      "\t\t[[ $w == -* ]] && continue\n"
	      "\t\tif [ -z \"$noun\" ]; then noun=\"$w\"; elif [ -z \"$verb\" ]; then verb=\"$w\"; fi\n"
	      "\tdone\n", c->out);
	print_values(c->out);
	print_options(c->out);
	fputs("\tif [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$own $every\" -- \"$cur\")); return; fi\n", c->out);
	print_verbs(c->out);
	fputs("}\ncomplete -o default -F _baton baton\n", c->out);
	return EXIT_YES;
}
