/* What do the commands of `baton ca` have in common? How names of servers are given, the folder is found, and answers are printed. */
#ifndef BATON_CLI_CAWORDS_H
#define BATON_CLI_CAWORDS_H

#include "cli/cafolder.h"
#include "cli/cli.h"

#define CAWORDS_TEXT 4096

/* --dns and --ip, each with commas or repeated. */
struct cawords {
	char text[CAWORDS_TEXT];
	size_t used;
	const char *dns[CA_NAMES_MAX + 2], *ips[CA_NAMES_MAX + 2]; /* one more than is taken, so that it is refused by name */
	struct ca_servers servers;
};
/* 0, or a complained exit code. w must stay where it is. */
int cawords_servers(const struct cli *c, struct cawords *w);

/* The folder that the command names, its last slashes off. 0, or a complained exit code. */
int cawords_dir(const struct cli *c, char *out, size_t size);
/* The same, open; NULL with *code, complained about. */
struct cafolder *cawords_open(const struct cli *c, int *code);

struct cafact {
	const char *key;   /* of JSON; of a line with " " for "_" */
	const char *value; /* NULL or "" = not shown */
};
/* In the form that -o asks for; with name, the first one's value. */
void cawords_print(const struct cli *c, const struct cafact *facts, size_t n);

#endif
