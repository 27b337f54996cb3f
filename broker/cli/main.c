/* Where does the program `baton` begin? Here, and at once in run.c; this file holds nothing that a test could want. */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"

int main(int argc, char **argv)
{
	struct output_stream o;
	FILE *out;

	signal(SIGPIPE, SIG_IGN);
	output_guard();
	out = output_begin(&o, STDOUT_FILENO);
	return out ? output_end(&o, cli_run(argv + (argc > 0), out, stderr), stderr) : EXIT_BUG;
}
