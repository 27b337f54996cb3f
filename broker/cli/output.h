/* How is standard output written, and what if it cannot be? The stream remembers its first error; a reader that
 * has gone ends the program as silently as SIGPIPE would. */
#ifndef BATON_CLI_OUTPUT_H
#define BATON_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

struct output_stream {
	int fd;
	int error; /* errno of the first write that failed; 0 = none */
	FILE *file;
};

/* Opens /dev/null, the wrong way round, where standard input, output or error is closed: no socket gets its number. */
void output_guard(void);
/* A stream onto fd; o must live until output_end(). A terminal's is line by line. */
FILE *output_begin(struct output_stream *o, int fd);
/* Writes the rest. The exit code: `code`, or EXIT_OUTPUT, complained about on err, when it was 0 and not all of the
 * answer could be written. */
int output_end(struct output_stream *o, int code, FILE *err);

#endif
