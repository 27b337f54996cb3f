/* How much processor time have the broker and its Redis used? Read from /proc, all threads together. */
#ifndef BATON_CLI_CPU_H
#define BATON_CLI_CPU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cpu_times {
	int64_t broker_ns; /* batond and its children but Redis */
	int64_t redis_ns;  /* redis-server below batond */
};

/* false when batond's figures cannot be read. */
bool cpu_read(pid_t batond, struct cpu_times *out);

#endif
