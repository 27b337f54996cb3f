/* What does --help say? What the tables hold, at every level. */
#ifndef BATON_CLI_HELP_H
#define BATON_CLI_HELP_H

#include <stdio.h>

struct verb;

void help_all(FILE *out);
void help_noun(FILE *out, const char *noun);
void help_verb(FILE *out, const struct verb *v);

#endif
