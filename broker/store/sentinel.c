/* Who is the primary now? See sentinel.h. One question is one connection to each sentinel in turn, until one answers:
 *
 *     sentinel_ask() ──> one is asked ──address──> on_primary
 *                         ↑      │ broken, late, knows none
 *                         └──────┘ the next one; after the last: on_nobody */
#include "store/sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "net/stream.h"
#include "store/redis_remedy.h"

#define ANSWER_MS 1000 /* at most, of one sentinel */
#define WRITE_CAP 65536
#define PASSWORD_MAX 4096

struct sentinel {
	struct loop *loop;
	const struct store_redis_config *config;
	struct sentinel_events ev;
	void *user;
	struct redis_url urls[SENTINELS_MAX];
	size_t n, at, tried;
	struct stream *stream;
	struct resp_reader *reader;
	struct loop_timer *timer;
	unsigned expect;        /* answers before the one that names the primary */
	struct redis_url found;
	bool answered;          /* the last answer has come: `found`, or why_not */
	const char *why_not;
	char why[256];
};

/* ---- the answer ---- */

static bool host_valid(struct slice host)
{
	for (size_t i = 0; i < host.n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_-", host.p[i]) || !host.p[i])
			return false;
	return host.n > 0;
}

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
	if (!host_valid(resp_bytes(r->element[0])) || !slice_copy_str(resp_bytes(r->element[0]), out->host, sizeof out->host))
		return "names no host";
	out->port = (int)v;
	return NULL;
}

/* ---- asking ---- */

static void next_one(struct sentinel *s);

static void hang_up(struct sentinel *s)
{
	loop_timer_stop(s->timer);
	stream_close(s->stream);
	s->stream = NULL;
	resp_reader_free(s->reader);
	s->reader = NULL;
}

void sentinel_stop(struct sentinel *s)
{
	if (s)
		hang_up(s);
}

static void failed(struct sentinel *s, const char *why)
{
	const struct redis_url *u = &s->urls[s->at];

	snprintf(s->why, sizeof s->why, "sentinel %.100s:%d: %.120s", u->host, u->port, why);
	hang_up(s);
	next_one(s);
}

static void on_timer(void *arg)
{
	struct sentinel *s = arg;

	if (s->tried <= s->n) {
		failed(s, "did not answer in time");
		return;
	}
	s->ev.on_nobody(s->user, s->why, strstr(s->why, "TLS: ") ? redis_remedy(s->why)
		: "see that the sentinels of store.sentinels run, can be reached and know store.sentinel_master");
}

static bool authenticate(struct sentinel *s, struct buf *out)
{
	struct problem why = {""};
	uint8_t *password = NULL;
	size_t n = 0;
	bool ok;

	if (!*s->config->sentinel_password_file)
		return true;
	if (secret_read_file(s->config->sentinel_password_file, PASSWORD_MAX, &password, &n, &why) != 0) {
		failed(s, why.text);
		return false;
	}
	if (*s->config->sentinel_user)
		ok = resp_put(out, (const struct slice[]){SLICE_LIT("AUTH"), slice_str(s->config->sentinel_user), slice_of(password, n)}, 3);
	else
		ok = resp_put(out, (const struct slice[]){SLICE_LIT("AUTH"), slice_of(password, n)}, 2);
	secret_wipe(password, n);
	free(password);
	s->expect = 1;
	if (!ok)
		failed(s, "out of memory");
	return ok;
}

static void on_open(void *user)
{
	struct sentinel *s = user;
	struct buf *out = stream_out(s->stream);

	s->expect = 0;
	s->answered = false;
	s->reader = resp_reader_new();
	if (!out || !s->reader)
		failed(s, "out of memory");
	else if (authenticate(s, out) && !resp_put(out, (const struct slice[]){SLICE_LIT("SENTINEL"), SLICE_LIT("get-master-addr-by-name"),
						   slice_str(s->config->sentinel_master)}, 3))
		failed(s, "out of memory");
}

static void on_reply(struct sentinel *s, const redisReply *r)
{
	bool last = s->expect == 0;

	if (!last && r->type != REDIS_REPLY_ERROR) {
		s->expect--;
		return;
	}
	s->answered = true;
	s->found = s->urls[s->at]; /* whether it speaks TLS */
	s->why_not = sentinel_address(r, &s->found);
}

static long on_data(void *user, struct slice bytes)
{
	struct sentinel *s = user;
	redisReply *r;

	if (resp_reader_feed(s->reader, bytes) != 0) {
		failed(s, "the server's answer breaks RESP or a size limit");
		return (long)bytes.n;
	}
	while (!s->answered && (r = resp_reader_next(s->reader))) {
		on_reply(s, r);
		freeReplyObject(r);
	}
	if (!s->answered && resp_reader_broken(s->reader)) {
		failed(s, "the server's answer is not RESP");
	} else if (s->answered && s->why_not) {
		failed(s, s->why_not);
	} else if (s->answered) {
		hang_up(s);
		s->ev.on_primary(s->user, &s->found);
	}
	return (long)bytes.n;
}

static void on_close(void *user, const char *why)
{
	struct sentinel *s = user;

	s->stream = NULL;
	failed(s, why);
}

static const struct stream_events stream_events = {on_open, on_data, on_close};

/* When all have failed the timer says so, because nobody is called inside sentinel_ask(). */
static void next_one(struct sentinel *s)
{
	const struct store_redis_config *c = s->config;
	const char *ca = *c->ca_file ? c->ca_file : NULL, *cert = *c->cert_file ? c->cert_file : NULL, *key = *c->key_file ? c->key_file : NULL;
	struct stream_target t = {.ca_file = ca, .cert_file = cert, .key_file = key, .write_cap = WRITE_CAP};

	while (s->tried++ < s->n) {
		s->at = (s->at + 1) % s->n;
		t.host = s->urls[s->at].host;
		t.port = s->urls[s->at].port;
		t.tls = s->urls[s->at].tls;
		t.connect_timeout_ms = c->timeout_ms < ANSWER_MS ? c->timeout_ms : ANSWER_MS;
		s->stream = stream_open(s->loop, &t, &stream_events, s);
		if (s->stream) {
			loop_timer_set(s->timer, 2 * t.connect_timeout_ms);
			return;
		}
		snprintf(s->why, sizeof s->why, "out of memory");
	}
	loop_timer_set(s->timer, 0);
}

void sentinel_ask(struct sentinel *s)
{
	sentinel_stop(s);
	s->tried = 0;
	next_one(s);
}

/* ---- life ---- */

static int read_urls(struct sentinel *s, const char *list, struct problem *why)
{
	char one[320];

	while (*list) {
		size_t n = strcspn(list, ",");
		struct redis_url *u = &s->urls[s->n];

		if (s->n == SENTINELS_MAX)
			return problem_set(why, "store.sentinels: more than %d", SENTINELS_MAX);
		if (!slice_copy_str(slice_of(list, n), one, sizeof one))
			return problem_set(why, "store.sentinels: an url is too long");
		if (redis_url_parse(one, u, why) != 0)
			return problem_prefix(why, "store.sentinels");
		if (*u->unix_path || u->db || (s->n && u->tls != s->urls[0].tls))
			return problem_set(why, "store.sentinels: all are redis://host:port, or all are rediss://host:port");
		s->n++;
		list += n + (list[n] == ',');
	}
	return 0;
}

struct sentinel *sentinel_new(struct loop *l, const struct store_redis_config *c, const struct sentinel_events *ev, void *user,
			      struct problem *why)
{
	struct sentinel *s = calloc(1, sizeof *s);
	uint16_t r;

	if (!s) {
		problem_set(why, "out of memory");
		return NULL;
	}
	*s = (struct sentinel){.loop = l, .config = c, .ev = *ev, .user = user};
	s->timer = loop_timer_new(l, on_timer, s);
	if (!s->timer) {
		problem_set(why, "out of memory");
		goto out;
	}
	if (read_urls(s, c->sentinels, why) != 0)
		goto out;
	random_bytes(&r, sizeof r);
	s->at = r % s->n;
	return s;
out:
	sentinel_free(s);
	return NULL;
}

void sentinel_free(struct sentinel *s)
{
	if (!s)
		return;
	hang_up(s);
	loop_timer_free(s->timer);
	free(s);
}
