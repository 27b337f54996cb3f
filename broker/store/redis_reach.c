/* See redis_reach.h: the one place where a password is read, and wiped, on its way to a Redis. */
#include "store/redis_reach.h"

#include <stdlib.h>

#include "base/secret.h"
#include "store/redis_codec.h"

#define PASSWORD_MAX 4096

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

struct stream_target redis_target(const struct store_redis_config *c, const struct redis_url *at, int64_t timeout_ms, size_t write_cap)
{
	return (struct stream_target){
		.unix_path = or_null(at->unix_path),
		.host = or_null(at->host),
		.port = at->port,
		.tls = at->tls,
		.ca_file = or_null(c->ca_file),
		.cert_file = or_null(c->cert_file),
		.key_file = or_null(c->key_file),
		.connect_timeout_ms = timeout_ms,
		.write_cap = write_cap,
	};
}

enum redis_auth redis_auth_put(struct buf *out, const char *user, const char *file, struct problem *why)
{
	const struct slice name = slice_str(user), auth = SLICE_LIT("AUTH");
	uint8_t *password = NULL;
	size_t n = 0;
	bool ok;

	if (!*file)
		return REDIS_AUTH_NONE;
	if (secret_read_file(file, PASSWORD_MAX, &password, &n, why) != 0)
		return REDIS_AUTH_UNREADABLE;
	if (name.n)
		ok = resp_put(out, (const struct slice[]){auth, name, slice_of(password, n)}, 3);
	else
		ok = resp_put(out, (const struct slice[]){auth, slice_of(password, n)}, 2);
	secret_wipe(password, n);
	free(password);
	return ok ? REDIS_AUTH_ASKED : REDIS_AUTH_NO_ROOM;
}
