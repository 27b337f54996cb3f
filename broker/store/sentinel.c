/* Who is the primary now? See sentinel.h. How several are asked in turn is inquiry.c's; here is the question, and what its answer must be like. */
#include "store/sentinel.h"

#include <stdlib.h>
#include <string.h>

#include "store/inquiry.h"
#include "store/redis_remedy.h"

struct sentinel {
	struct sentinel_events ev;
	void *user;
	const char *question[4];
	struct inquiry *inquiry;
	struct redis_url found;
};

const char *sentinel_address(const redisReply *r, struct redis_url *out)
{
	char port[8], *end;
	long v;

	if (r->type == REDIS_REPLY_NIL || (r->type == REDIS_REPLY_ARRAY && !r->elements))
		return "knows no primary of the name in store.sentinel_master";
	if (r->type == REDIS_REPLY_ERROR)
		return resp_error_is(r, "NOAUTH") || resp_error_is(r, "WRONGPASS") || resp_error_is(r, "NOPERM")
			? "refuses the user or password: see store.sentinel_user and store.sentinel_password_file" : "answers with an error";
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || !slice_copy_str(resp_bytes(r->element[1]), port, sizeof port))
		return "does not answer as a sentinel does";
	v = strtol(port, &end, 10);
	if (port[0] < '1' || port[0] > '9' || *end || v > 65535)
		return "names no port";
	if (!redis_url_aim(out, resp_bytes(r->element[0]), v))
		return "names no host";
	return NULL;
}

static const char *take(void *arg, const redisReply *r, const struct redis_url *from)
{
	struct sentinel *s = arg;

	s->found = *from; /* whether it speaks TLS */
	return sentinel_address(r, &s->found);
}

static void on_answer(void *arg)
{
	struct sentinel *s = arg;

	s->ev.on_primary(s->user, &s->found);
}

static void on_nobody(void *arg, const char *why)
{
	struct sentinel *s = arg;

	s->ev.on_nobody(s->user, why, strstr(why, "TLS: ") ? redis_remedy(why)
		: "see that the sentinels of store.sentinels run, can be reached and know store.sentinel_master");
}

void sentinel_ask(struct sentinel *s)
{
	inquiry_ask(s->inquiry);
}

void sentinel_stop(struct sentinel *s)
{
	if (s)
		inquiry_stop(s->inquiry);
}

struct sentinel *sentinel_new(struct loop *l, const struct store_redis_config *c, const struct sentinel_events *ev, void *user,
			      struct problem *why)
{
	struct sentinel *s = calloc(1, sizeof *s);
	struct redis_url urls[SENTINELS_MAX];
	size_t n;

	if (!s) {
		problem_set(why, "out of memory");
		return NULL;
	}
	*s = (struct sentinel){.ev = *ev, .user = user, .question = {"SENTINEL", "get-master-addr-by-name", c->sentinel_master}};
	if (redis_urls_parse(c->sentinels, "store.sentinels", urls, SENTINELS_MAX, &n, why) != 0)
		goto out;
	s->inquiry = inquiry_new(l, &(struct inquiry_config){.whom = "sentinel", .question = s->question, .user = c->sentinel_user,
		.password_file = c->sentinel_password_file, .store = c, .take = take, .on_answer = on_answer, .on_nobody = on_nobody, .arg = s});
	if (!s->inquiry) {
		problem_set(why, "out of memory");
		goto out;
	}
	inquiry_set(s->inquiry, urls, n);
	return s;
out:
	sentinel_free(s);
	return NULL;
}

void sentinel_free(struct sentinel *s)
{
	if (!s)
		return;
	inquiry_free(s->inquiry);
	free(s);
}
