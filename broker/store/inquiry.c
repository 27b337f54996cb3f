/* Who of several servers answers a question? See inquiry.h.
 *
 *     inquiry_ask() ──> one is asked ──answer──> on_answer
 *                        ↑      │ broken, late, knows nothing
 *                        └──────┘ the next one; after the last: on_nobody */
#include "store/inquiry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "store/redis_reach.h"

#define ANSWER_MS 1000 /* at most, of one server */
#define WRITE_CAP 65536
#define WORDS_MAX 4

struct inquiry {
	struct loop *loop;
	struct inquiry_config config;
	struct redis_url urls[INQUIRY_MAX];
	size_t n, at, tried;
	struct redis_login login;
	struct stream *stream;
	struct resp_reader *reader;
	struct loop_timer *timer;
	unsigned expect;        /* answers before the one to the question */
	bool answered;          /* the last answer has come: taken, or why_not */
	const char *why_not;
	char why[256];
};

static void next_one(struct inquiry *q);

static void hang_up(struct inquiry *q)
{
	loop_timer_stop(q->timer);
	redis_login_stop(&q->login);
	stream_close(q->stream);
	q->stream = NULL;
	resp_reader_free(q->reader);
	q->reader = NULL;
}

void inquiry_stop(struct inquiry *q)
{
	if (q)
		hang_up(q);
}

static void failed(struct inquiry *q, const char *why)
{
	const struct redis_url *u = &q->urls[q->at];

	snprintf(q->why, sizeof q->why, "%.20s %.100s:%d: %.120s", q->config.whom, u->host, u->port, why);
	hang_up(q);
	next_one(q);
}

static void on_timer(void *arg)
{
	struct inquiry *q = arg;

	if (q->tried <= q->n)
		failed(q, q->login.asked ? "the password for it did not come in time" : "did not answer in time");
	else
		q->config.on_nobody(q->config.arg, q->why);
}

static bool put_question(struct inquiry *q)
{
	struct buf *out = stream_out(q->stream);
	struct slice words[WORDS_MAX];
	size_t n = 0;

	for (; n < WORDS_MAX && q->config.question[n]; n++)
		words[n] = slice_str(q->config.question[n]);
	return out && resp_put(out, words, n);
}

static void on_password(void *user, struct slice password, const char *why)
{
	struct inquiry *q = user;

	q->expect = password.n != 0;
	if (why)
		failed(q, why);
	else if ((password.n && !redis_auth_put(q->stream, q->config.user, password)) || !put_question(q))
		failed(q, "out of memory");
}

static void on_open(void *user)
{
	struct inquiry *q = user;

	q->answered = false;
	q->expect = 0;
	q->reader = resp_reader_new();
	if (q->reader)
		redis_login_begin(&q->login, q->config.password_file);
	else
		failed(q, "out of memory");
}

static void on_reply(struct inquiry *q, const redisReply *r)
{
	if (q->expect && r->type != REDIS_REPLY_ERROR) {
		q->expect--;
		return;
	}
	q->answered = true;
	q->why_not = q->config.take(q->config.arg, r, &q->urls[q->at]);
}

static long on_data(void *user, struct slice bytes)
{
	struct inquiry *q = user;
	redisReply *r;

	if (resp_reader_feed(q->reader, bytes) != 0) {
		failed(q, "the server's answer breaks RESP or a size limit");
		return (long)bytes.n;
	}
	while (!q->answered && (r = resp_reader_next(q->reader))) {
		on_reply(q, r);
		freeReplyObject(r);
	}
	if (!q->answered && resp_reader_broken(q->reader)) {
		failed(q, "the server's answer is not RESP");
	} else if (q->answered && q->why_not) {
		failed(q, q->why_not);
	} else if (q->answered) {
		hang_up(q);
		q->config.on_answer(q->config.arg);
	}
	return (long)bytes.n;
}

static void on_close(void *user, const char *why)
{
	struct inquiry *q = user;

	q->stream = NULL;
	failed(q, why);
}

static const struct stream_events stream_events = {on_open, on_data, on_close};

/* When all have failed the timer says so, because nobody is called inside inquiry_ask(). */
static void next_one(struct inquiry *q)
{
	const struct store_redis_config *c = q->config.store;
	int64_t timeout_ms = c->timeout_ms < ANSWER_MS ? c->timeout_ms : ANSWER_MS;
	struct stream_target t;

	while (q->tried++ < q->n) {
		q->at = (q->at + 1) % q->n;
		t = redis_target(c, &q->urls[q->at], timeout_ms, WRITE_CAP);
		q->stream = stream_open(q->loop, &t, &stream_events, q);
		if (q->stream) {
			loop_timer_set(q->timer, 2 * timeout_ms);
			return;
		}
		snprintf(q->why, sizeof q->why, "out of memory");
	}
	loop_timer_set(q->timer, 0);
}

void inquiry_ask(struct inquiry *q)
{
	inquiry_stop(q);
	q->tried = 0;
	next_one(q);
}

void inquiry_set(struct inquiry *q, const struct redis_url *urls, size_t n)
{
	uint16_t r;

	memcpy(q->urls, urls, n * sizeof *urls);
	if (!q->n) {
		random_bytes(&r, sizeof r);
		q->at = r % n;
	}
	q->n = n;
	q->at %= n;
}

struct inquiry *inquiry_new(struct loop *l, const struct inquiry_config *c)
{
	struct inquiry *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	q->loop = l;
	q->config = *c;
	q->login = (struct redis_login){.from = c->store->secrets, .on_password = on_password, .user = q};
	q->timer = loop_timer_new(l, on_timer, q);
	if (q->timer)
		return q;
	free(q);
	return NULL;
}

void inquiry_free(struct inquiry *q)
{
	if (!q)
		return;
	hang_up(q);
	loop_timer_free(q->timer);
	free(q);
}
