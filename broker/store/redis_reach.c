/* See redis_reach.h: the one place that a password goes through, on its way to a Redis. */
#include "store/redis_reach.h"

#include <stdlib.h>

#include "base/secret.h"
#include "store/redis_codec.h"

#define PASSWORD_MAX 4096
#define GREETING_MAX 4096 /* what else is written until the first answer */

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

static void read_now(struct redis_login *l, const char *file)
{
	uint8_t *password = NULL;
	struct problem why = {""};
	size_t n = 0;
	bool ok = !*file || secret_read_file(file, PASSWORD_MAX, &password, &n, &why) == 0;

	l->on_password(l->user, slice_of(password, n), ok ? NULL : why.text);
	secret_wipe(password, n);
	free(password);
}

static void on_secret(void *of, enum secret_result result, struct slice secret, const char *why)
{
	struct redis_login *l = of;

	l->asked = 0;
	l->on_password(l->user, secret, result == SECRET_HERE ? NULL : why);
}

void redis_login_begin(struct redis_login *l, const char *file)
{
	if (!*file || !l->from) {
		read_now(l, file);
		return;
	}
	l->asked = l->from->ask(l->from->arg, &(struct secret_wanted){.file = file, .url = "", .name = ""}, on_secret, l);
	if (!l->asked)
		l->on_password(l->user, slice_of(NULL, 0), "the password cannot be asked for now");
}

void redis_login_stop(struct redis_login *l)
{
	if (l->asked)
		l->from->cancel(l->from->arg, l->asked);
	l->asked = 0;
}

bool redis_auth_put(struct stream *s, const char *user, struct slice password)
{
	const struct slice name = slice_str(user), auth = SLICE_LIT("AUTH");
	struct buf *out = stream_out_secret(s, PASSWORD_MAX + GREETING_MAX);

	if (!out)
		return false;
	if (name.n)
		return resp_put(out, (const struct slice[]){auth, name, password}, 3);
	return resp_put(out, (const struct slice[]){auth, password}, 2);
}
