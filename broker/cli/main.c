/* Where does the program `baton` begin? Here, and at once in run.c; this file holds nothing that a test could want. */
#include "config.h"

#include <signal.h>
#include <stdio.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	return cli_run(argv + (argc > 0), stdout, stderr);
}
