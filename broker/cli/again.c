/* Is a stream that broke worth beginning anew? See again.h. */
#include "config.h"

#include "cli/again.h"

#include <string.h>
#include <time.h>

#include "base/secret.h"
#include "cli/cli.h"
#include "client/conn.h"

bool again_worth(const struct client_status *s)
{
	return s->code == GRPC_UNAVAILABLE || s->reason == REASON_EXPIRED_TOKEN || (s->code == GRPC_CANCELLED && !s->reason);
}

bool again_other_token(struct cli *c, int (*connect)(struct cli *c))
{
	uint8_t before[SHA256_BYTES], now[SHA256_BYTES];

	sha256(slice_str(c->token), before);
	cli_close(c);
	if (connect(c))
		cli_close(c); /* away just now: it is tried again, with what was read */
	sha256(slice_str(c->token), now);
	return memcmp(before, now, sizeof now) != 0;
}

void again_pause(int tries)
{
	nanosleep(&(struct timespec){.tv_sec = 1 << (tries < 4 ? tries : 4)}, NULL);
}
