/* How many connections has each agent on this node, and until when is the certificate good that it has them with? Thread-safe. */
#ifndef BATON_APP_CENSUS_H
#define BATON_APP_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

struct census;

struct census *census_new(uint32_t max_per_agent);
void census_free(struct census *c);
void census_set_max(struct census *c, uint32_t max_per_agent); /* holds for new connections */
/* Who comes, and by which certificate. */
struct census_entrant {
	const char *spiffe_id;
	int64_t certificate_ends_ms;
	bool refused;                /* its certificate is known to be no good: half of the agent's connections stay for those with a good one */
};
/* false when the agent has as many as it may, or memory is out. */
bool census_enter(struct census *c, const struct census_entrant *e);
/* *certificate_ends_ms: of the certificates that it is connected with the one that ends last; 0: it is away. */
uint32_t census_count(struct census *c, const char *spiffe_id, int64_t *certificate_ends_ms);
/* One that came with a certificate which ends then. */
void census_leave(struct census *c, const char *spiffe_id, int64_t certificate_ends_ms);

#endif
