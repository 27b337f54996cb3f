/* What do exit codes mean? sysexits.h's numbers, and 1 for a valid "no". The manual page baton(1) lists them. */
#ifndef BATON_CLI_EXITS_H
#define BATON_CLI_EXITS_H

enum {
	EXIT_YES = 0,
	EXIT_NO = 1,           /* handoff failed, rejected, dead-lettered; a check failed */
	EXIT_USAGE = 64,
	EXIT_MALFORMED = 65,   /* file, envelope */
	EXIT_MISSING = 66,     /* a file */
	EXIT_UNREACHABLE = 69, /* TLS refused, no address, not ready */
	EXIT_BUG = 70,
	EXIT_OUTPUT = 74,      /* standard output cannot be written */
	EXIT_AGAIN = 75,       /* quota, store down, wait ran out */
	EXIT_PROTOCOL = 76,
	EXIT_DENIED = 77,
	EXIT_CONFIG = 78,
	EXIT_INTERRUPTED = 130,
};

#endif
