/* Is this Redis fit to keep what Baton acknowledges? Pure functions over its answers to INFO, CONFIG GET and FUNCTION. */
#ifndef BATON_STORE_REDIS_CHECKS_H
#define BATON_STORE_REDIS_CHECKS_H

#include "store/redis_codec.h"
#include "store/redis_conn.h"

struct fault {
	char why[256];
	char remedy[256];
};

extern const char store_library[]; /* baton2.lua, embedded by the build */
#define STORE_LIBRARY_NAME "baton2"

/* Value of "name:" in an INFO text, matched as a whole line; empty when it is not there. */
struct slice info_field(struct slice info, const char *name);

/* What the configuration demands of the server. */
struct demand {
	bool fsync_always;
	bool cluster;
	uint32_t replicas;
};

/* The questions, in order; check() is asked with the answer to each. */
struct check {
	const char *argv[4];
	bool (*ok)(const redisReply *r, const struct demand *d, struct fault *f);
};
extern const struct check redis_checks[];
extern const size_t redis_checks_n;
/* master_replid out of INFO replication. false: it is not there, or this is a replica. */
bool check_replid(const redisReply *r, char out[REPLID_BYTES + 1]);
#define CHECK_REPLICATION 1 /* its index */

/* The answer to FUNCTION LIST LIBRARYNAME baton2 WITHCODE: is it our code? */
bool check_library(const redisReply *r, struct fault *f);
/* The answer to baton2_join: may this node work on what is kept here? */
bool check_joined(const redisReply *r, struct fault *f);
#define JOINED_NAME_TWICE 2 /* it may, and another node that is connected has its name */
/* The answer to baton2_rights: does the user lack none? */
bool check_rights(const redisReply *r, struct fault *f);
/* Words for an answer that is an error. */
bool check_no_error(const redisReply *r, struct fault *f);

#endif
