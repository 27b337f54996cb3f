/* Which .proto files does this program carry? The contract with agents, taken in when it was built. */
#ifndef BATON_CLI_PROTOS_H
#define BATON_CLI_PROTOS_H

#include <stddef.h>

struct proto_file {
	const char *path; /* "baton/v1/handoff.proto" */
	const char *text;
};

extern const struct proto_file proto_files[];
extern const size_t n_proto_files;

#endif
