/* How is one cycle told from another? Its number stands in the payload's first bytes and in the submit's ref; the
 * window's slots hold what is under way. Envelopes are encoded once: only nonce, time and number change. Frames are
 * read field by field (client/pb), which costs less than unpacking; this side's cost must not be what is measured. */
#include "config.h"

#include "cli/load.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/secret.h"
#include "base/words.h"
#include "client/conn.h"
#include "cli/pace.h"
#include "client/pb.h"

#define CONNECT_MS 10000
#define STALL_MS 20000
#define HOLD_MS 250         /* between tries while a store that was just started takes nothing yet */
#define HOLDS_MAX 240
#define WAIT_US 100000
#define CONNS_MAX 32
#define UNARY_PER_CONN 100  /* stays under streams_per_connection */
#define CYCLES_MAX (1 << 28)
#define KEY_MAX 160
#define NONCE_TEXT 28       /* 12 random characters and 16 of the number */
#define NUMBER_TEXT 16      /* hex digits of a cycle's number in the payload */
#define RUN_TEXT 16
#define SERVICE "/baton.v1.HandoffService/"

enum cycle { FREE = 0, SENT = 1, ACKED = 2, DELIVERED = 4, SETTLED = 8 };

struct flight { /* a delivery that waits to be settled */
	uint64_t number;  /* 0 = empty slot */
	uint64_t hash;    /* of its handoff's id */
};

struct load {
	const struct load_options *o;
	struct client *conns[CONNS_MAX];
	struct client_call *pipes[16], *subs[16];
	struct buf envelope, frame, answer;
	size_t nonce_at, issued_at, number_at;
	char run[RUN_TEXT + 1];
	struct pace pace;
	uint64_t next;        /* number of the next cycle; they begin at 1 */
	uint64_t acked, settled, delivered_twice;
	uint64_t under_way;
	uint64_t warm;        /* settled when measuring begins */
	int64_t began_us, ended_us, progress_ms;
	uint8_t *cycle;       /* enum cycle bits by number */
	uint32_t *sent_us;    /* by number; the clock's low bits, which wrap after 71 minutes */
	uint32_t *latency_us; /* of measured cycles */
	size_t n_latency, cap_latency, cap_cycle;
	struct flight *flights;
	size_t n_flights;     /* power of two */
	struct problem *why;
	bool failed, opened_all;
	int64_t opened;
	bool draining;
	int64_t hold_until_ms;
	int holds;
};

static void fail(struct load *l, const char *text)
{
	if (!l->failed)
		problem_set(l->why, "%s", text);
	l->failed = true;
}

static void hex16(uint64_t v, char out[NUMBER_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = NUMBER_TEXT - 1; i >= 0; i--, v >>= 4)
		out[i] = digits[v & 15];
}

static bool unhex16(const uint8_t *p, uint64_t *out)
{
	uint64_t v = 0;

	for (int i = 0; i < NUMBER_TEXT; i++) {
		int d = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10 : -1;

		if (d < 0)
			return false;
		v = v << 4 | (unsigned)d;
	}
	*out = v;
	return true;
}

/* ---- submitting ---- */

/* {"bench":"RUN","n":"NUMBER","pad":"xxx"} of exactly `payload` bytes. */
static bool encode_envelope(struct load *l)
{
	const struct load_options *o = l->o;
	struct buf payload;
	char nonce[NONCE_TEXT + 1] = "";
	uint8_t random[9];
	bool ok;

	buf_init(&payload, (size_t)o->payload + 1);
	buf_printf(&payload, "{\"bench\":\"%s\",\"n\":\"%016d\",\"pad\":\"", l->run, 0);
	while (payload.n + 2 < (size_t)o->payload)
		buf_put_u8(&payload, 'x');
	ok = buf_put_str(&payload, "\"}");
	random_bytes(random, sizeof random);
	b64url_encode(random, sizeof random, nonce);
	memset(nonce + 12, '0', 16);
	ok = ok && pb_put_bytes(&l->envelope, 1, slice_str(o->route)) && pb_put_bytes(&l->envelope, 2, slice_str(o->tool)) &&
	     pb_put_varint(&l->envelope, 3, SIDE_EFFECT_READ) && pb_put_bytes(&l->envelope, 4, buf_slice(&payload));
	l->number_at = l->envelope.n - payload.n + strlen("{\"bench\":\"") + RUN_TEXT + strlen("\",\"n\":\"");
	ok = ok && pb_put_bytes(&l->envelope, 6, slice_of(nonce, NONCE_TEXT));
	l->nonce_at = l->envelope.n - NONCE_TEXT + 12;
	ok = ok && pb_put_varint(&l->envelope, 7, (uint64_t)clock_unix_ms());
	l->issued_at = l->envelope.n - 6; /* a Unix time in ms takes six bytes from 2004 to 2109 */
	buf_clear(&payload);
	return ok;
}

static void stamp(struct load *l, uint64_t number, int64_t now_ms)
{
	uint8_t *t = l->envelope.p + l->issued_at;

	hex16(number, (char *)l->envelope.p + l->nonce_at);
	hex16(number, (char *)l->envelope.p + l->number_at);
	for (int i = 0; i < 6; i++, now_ms >>= 7)
		t[i] = (uint8_t)((now_ms & 0x7F) | (i < 5 ? 0x80 : 0));
}

static bool grow(struct load *l)
{
	size_t cap = l->cap_cycle ? l->cap_cycle * 2 : 1 << 16;
	uint8_t *p = NULL;
	uint32_t *t = NULL;

	if (l->next < l->cap_cycle)
		return true;
	if (cap <= CYCLES_MAX && (t = realloc(l->sent_us, cap * sizeof *t)))
		l->sent_us = t;
	if (!t || !(p = realloc(l->cycle, cap))) {
		fail(l, "too many cycles for this machine's memory");
		return false;
	}
	memset(p + l->cap_cycle, 0, cap - l->cap_cycle);
	l->cycle = p;
	l->cap_cycle = cap;
	return true;
}

static void on_unary_message(void *user, struct client_call *call, struct slice message);
static void on_unary_end(void *user, struct client_call *call, const struct client_status *s);
static const struct client_call_events unary_events = {.on_message = on_unary_message, .on_end = on_unary_end};

static void send_one(struct load *l, int64_t now_ms, int64_t due_us)
{
	uint64_t number = l->next;
	size_t at = number % (uint64_t)l->o->publishers;

	if (!grow(l))
		return;
	l->next++;
	stamp(l, number, now_ms);
	buf_reset(&l->frame);
	pb_submit_request(&l->frame, buf_slice(&l->envelope), number, false);
	l->cycle[number] = SENT;
	l->under_way++;
	l->sent_us[number] = (uint32_t)due_us;
	if (l->o->unary) {
		struct client_call_spec spec = {.path = SERVICE "Submit", .token = l->o->token, .events = &unary_events, .user = l};
		struct client_call *call = client_call_start(l->conns[at], &spec);

		if (!call) {
			fail(l, "a call could not be started");
			return;
		}
		client_call_send(call, buf_slice(&l->frame));
		client_call_half_close(call);
	} else if (l->pipes[at]) {
		buf_reset(&l->answer);
		pb_put_bytes(&l->answer, 1, buf_slice(&l->frame));
		client_call_send(l->pipes[at], buf_slice(&l->answer));
	}
}

static void refill(struct load *l)
{
	int64_t now_ms = clock_unix_ms(), now_us = clock_mono_us();

	if (now_us / 1000 < l->hold_until_ms)
		return;
	l->draining = l->ended_us != 0; /* until then the window stays full */
	while (!l->failed && !l->draining && l->opened_all && l->under_way < (uint64_t)l->o->window && pace_due_us(&l->pace, now_us) <= now_us)
		send_one(l, now_ms, pace_begin(&l->pace, now_us));
}

/* Until there is something to do by the clock. */
static struct timespec patience(const struct load *l)
{
	int64_t now_us = clock_mono_us(), us = l->pace.rate && l->opened_all && !l->draining ? pace_due_us(&l->pace, now_us) - now_us : WAIT_US;

	us = us < 0 ? 0 : us < WAIT_US ? us : WAIT_US;
	return (struct timespec){.tv_nsec = (long)us * 1000};
}

/* ---- receipts ---- */

static void on_receipt(struct load *l, struct slice bytes)
{
	struct pb_field f;
	uint64_t ref = 0;
	bool accepted = false;

	while (pb_next(&bytes, &f)) {
		if (f.number == 1)
			ref = f.value;
		else if (f.number == 2)
			accepted = f.bytes.n > 0;
	}
	if (ref == 0 || ref >= l->next)
		fail(l, "a receipt names no envelope of ours");
	else if (!accepted)
		fail(l, "the broker refused an envelope");
	else if (!(l->cycle[ref] & ACKED)) {
		l->cycle[ref] |= ACKED;
		l->acked++;
	}
}

/* A store that was just started refuses what was issued before, and for the allowed clock skew after: only before
 * the first one was accepted, and only for so long. true: it was that, and the envelope counts no more. */
static bool hold_on(struct load *l, enum reason reason)
{
	int64_t now = clock_mono_ms();

	if (reason != REASON_STALE_ENVELOPE || l->settled || l->holds > HOLDS_MAX)
		return false;
	l->under_way--;
	pace_restart(&l->pace);
	if (now >= l->hold_until_ms) {
		l->holds++;
		l->hold_until_ms = now + HOLD_MS;
	}
	l->progress_ms = now;
	return true;
}

/* Says why the broker refused: a Receipt's decision, its reason and message. */
static void explain_refusal(struct load *l, struct slice receipt)
{
	struct pb_field f, d;
	char text[300] = "", message[200] = "";
	enum reason reason = REASON_UNSPECIFIED;

	while (pb_next(&receipt, &f)) {
		if (f.number != 5 || f.type != 2)
			continue;
		while (pb_next(&f.bytes, &d)) {
			if (d.number == 2 && d.type == 0)
				reason = (enum reason)d.value;
			else if (d.number == 4 && d.type == 2 && utf8_is_text(d.bytes))
				snprintf(message, sizeof message, "%.*s", d.bytes.n < 190 ? (int)d.bytes.n : 190, (const char *)d.bytes.p);
		}
	}
	if (hold_on(l, reason))
		return;
	snprintf(text, sizeof text, "the broker refused an envelope: %s: %s", reason_text(reason), message);
	fail(l, text);
}

static bool receipt_refused(struct slice receipt)
{
	struct pb_field f;

	while (pb_next(&receipt, &f))
		if (f.number == 2 && f.bytes.n)
			return false;
	return true;
}

static void on_pipe_message(void *user, struct client_call *call, struct slice message)
{
	struct load *l = user;
	struct pb_field f;

	while (pb_next(&message, &f)) {
		if (f.number != 1 || f.type != 2)
			continue;
		if (receipt_refused(f.bytes))
			explain_refusal(l, f.bytes);
		else
			on_receipt(l, f.bytes);
	}
}

static void on_unary_message(void *user, struct client_call *call, struct slice message)
{
	on_receipt(user, message);
}

static void on_stream_end(void *user, struct client_call *call, const struct client_status *s)
{
	char text[700];

	snprintf(text, sizeof text, "a stream ended: %s: %.600s", s->reason ? reason_text(s->reason) :
		grpc_status_text(s->code), s->message);
	fail(user, text);
}

static void on_unary_end(void *user, struct client_call *call, const struct client_status *s)
{
	if (s->code != GRPC_OK && !hold_on(user, s->reason))
		on_stream_end(user, call, s);
}

/* ---- deliveries ---- */

static uint64_t hash_id(struct slice id)
{
	uint64_t h = 1469598103934665603ULL;

	for (size_t i = 0; i < id.n; i++)
		h = (h ^ id.p[i]) * 1099511628211ULL;
	return h ? h : 1;
}

static struct flight *flight_at(struct load *l, uint64_t hash, bool empty)
{
	for (size_t i = 0; i < l->n_flights; i++) {
		struct flight *f = &l->flights[(hash + i) & (l->n_flights - 1)];

		if (f->hash == (empty ? 0 : hash))
			return f;
		if (!empty && f->hash == 0)
			return NULL;
	}
	return NULL;
}

/* Linear probing without tombstones: what stands behind moves up. */
static void flight_remove(struct load *l, struct flight *f)
{
	size_t mask = l->n_flights - 1, hole = (size_t)(f - l->flights);

	for (size_t i = (hole + 1) & mask; l->flights[i].hash; i = (i + 1) & mask) {
		size_t home = l->flights[i].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			l->flights[hole] = l->flights[i];
			hole = i;
		}
	}
	l->flights[hole].hash = 0;
}

static struct slice lease_id(struct slice lease)
{
	struct pb_field f;

	while (pb_next(&lease, &f))
		if (f.number == 1 && f.type == 2)
			return f.bytes;
	return slice_of(NULL, 0);
}

/* The number in a payload of this run; 0 for foreign work. */
static uint64_t payload_number(const struct load *l, struct slice envelope)
{
	static const char head[] = "{\"bench\":\"", mid[] = "\",\"n\":\"";
	struct pb_field f;
	uint64_t number = 0;

	while (pb_next(&envelope, &f)) {
		if (f.number != 4 || f.type != 2)
			continue;
		if (f.bytes.n < sizeof head + RUN_TEXT + sizeof mid + NUMBER_TEXT || memcmp(f.bytes.p, head, sizeof head - 1) != 0 ||
		    memcmp(f.bytes.p + sizeof head - 1, l->run, RUN_TEXT) != 0)
			return 0;
		return unhex16(f.bytes.p + sizeof head - 1 + RUN_TEXT + sizeof mid - 1, &number) ? number : 0;
	}
	return 0;
}

/* SubscriberFrame {complete {lease, result {"{}"}}} or {release {lease}}. */
static void answer(struct load *l, struct client_call *call, struct slice lease, bool complete)
{
	static const uint8_t result[] = {0x0A, 2, '{', '}'};

	buf_reset(&l->frame);
	buf_reset(&l->answer);
	pb_put_bytes(&l->frame, 1, lease);
	if (complete)
		pb_put_bytes(&l->frame, 2, slice_of(result, sizeof result));
	pb_put_bytes(&l->answer, complete ? 6 : 9, buf_slice(&l->frame));
	client_call_send(call, buf_slice(&l->answer));
}

static void on_delivery(struct load *l, struct client_call *call, struct slice bytes)
{
	struct slice lease = {NULL, 0};
	uint64_t number = 0;
	struct flight *slot;
	struct pb_field f;

	while (pb_next(&bytes, &f)) {
		if (f.number == 1 && f.type == 2)
			lease = f.bytes;
		else if (f.number == 2 && f.type == 2)
			number = payload_number(l, f.bytes);
	}
	if (number == 0 || number >= l->next) { /* somebody else's work: it is not ours to finish */
		answer(l, call, lease, false);
		return;
	}
	if (l->cycle[number] & DELIVERED)
		l->delivered_twice++;
	l->cycle[number] |= DELIVERED;
	slot = flight_at(l, hash_id(lease_id(lease)), true);
	if (!slot) {
		fail(l, "more deliveries than the window");
		return;
	}
	*slot = (struct flight){number, hash_id(lease_id(lease))};
	answer(l, call, lease, true);
}

static void keep_latency(struct load *l, uint64_t number, int64_t now_us)
{
	if (l->n_latency == l->cap_latency) {
		size_t cap = l->cap_latency ? l->cap_latency * 2 : 1 << 16;
		uint32_t *p = realloc(l->latency_us, cap * sizeof *p);

		if (!p) {
			fail(l, "out of memory");
			return;
		}
		l->latency_us = p;
		l->cap_latency = cap;
	}
	l->latency_us[l->n_latency++] = (uint32_t)now_us - l->sent_us[number];
}

static void count_settled(struct load *l, uint64_t number)
{
	int64_t now = clock_mono_us();

	if (l->cycle[number] & SETTLED)
		return;
	l->cycle[number] |= SETTLED;
	l->settled++;
	l->under_way--;
	l->progress_ms = now / 1000;
	if (l->began_us && !l->ended_us) {
		keep_latency(l, number, now);
		if (l->o->cycles ? (int64_t)l->n_latency == l->o->cycles : now - l->began_us >= l->o->measure_ms * 1000) {
			l->ended_us = now;
			l->o->mark(l->o->user, false);
		}
	} else if (!l->began_us && (int64_t)l->settled >= l->o->warmup) {
		l->o->mark(l->o->user, true);
		l->warm = l->settled;
		l->began_us = clock_mono_us();
	}
}

static void on_settled(struct load *l, struct slice bytes)
{
	struct slice lease = {NULL, 0};
	uint64_t ok = 0, reason = 0;
	struct flight *slot;
	struct pb_field f;
	char text[120];

	while (pb_next(&bytes, &f)) {
		if (f.number == 1 && f.type == 2)
			lease = f.bytes;
		else if (f.number == 2)
			ok = f.value;
		else if (f.number == 3)
			reason = f.value;
	}
	slot = flight_at(l, hash_id(lease_id(lease)), false);
	if (!slot)
		return; /* of a release */
	if (!ok) {
		snprintf(text, sizeof text, "a completion was not settled: %s", reason_text((enum reason)reason));
		fail(l, text);
		return;
	}
	count_settled(l, slot->number);
	flight_remove(l, slot);
}

static void on_sub_message(void *user, struct client_call *call, struct slice message)
{
	struct load *l = user;
	struct pb_field f;

	while (pb_next(&message, &f)) {
		if (f.number == 1)
			l->opened++;
		else if (f.number == 2 && f.type == 2)
			on_delivery(l, call, f.bytes);
		else if (f.number == 3 && f.type == 2)
			on_settled(l, f.bytes);
	}
	l->opened_all = l->opened >= l->o->subscribers;
}

static const struct client_call_events pipe_events = {.on_message = on_pipe_message, .on_end = on_stream_end};
static const struct client_call_events sub_events = {.on_message = on_sub_message, .on_end = on_stream_end};

/* ---- the loop ---- */

static int connect_one(struct load *l, size_t at, const struct client_creds *creds)
{
	struct client_error why;

	l->conns[at] = client_new(creds, l->o->addr, &why);
	if (!l->conns[at] || client_connect(l->conns[at], clock_mono_ms() + CONNECT_MS, &why))
		return problem_set(l->why, "%s", why.what);
	return 0;
}

static struct client_call *start(struct load *l, size_t conn, const char *path, const char *token,
	const struct client_call_events *ev)
{
	struct client_call_spec spec = {.path = path, .token = token, .events = ev, .user = l};

	return client_call_start(l->conns[conn], &spec);
}

static void send_open(struct load *l, struct client_call *call)
{
	struct buf open;

	buf_init(&open, 1024);
	buf_reset(&l->frame);
	pb_put_bytes(&open, 1, slice_str(l->o->route));
	pb_put_varint(&open, 2, (uint64_t)l->o->window);
	pb_put_bytes(&l->frame, 1, buf_slice(&open));
	client_call_send(call, buf_slice(&l->frame));
	buf_clear(&open);
}

static int open_all(struct load *l)
{
	const struct load_options *o = l->o;

	for (int64_t i = 0; i < o->publishers; i++) {
		if (connect_one(l, (size_t)i, o->sender))
			return -1;
		if (!o->unary && !(l->pipes[i] = start(l, (size_t)i, SERVICE "Pipe", o->token, &pipe_events)))
			return problem_set(l->why, "Pipe could not be started");
	}
	for (int64_t i = 0; i < o->subscribers; i++) {
		size_t at = (size_t)(o->publishers + i);

		if (connect_one(l, at, o->server))
			return -1;
		l->subs[i] = start(l, at, SERVICE "Subscribe", NULL, &sub_events);
		if (!l->subs[i])
			return problem_set(l->why, "Subscribe could not be started");
		send_open(l, l->subs[i]);
	}
	return 0;
}

static void turn(struct load *l)
{
	size_t n = (size_t)(l->o->publishers + l->o->subscribers);
	struct pollfd p[CONNS_MAX];
	struct timespec wait;
	bool pending = false;

	refill(l);
	wait = patience(l);
	for (size_t i = 0; i < n; i++) {
		client_flush(l->conns[i]);
		p[i] = (struct pollfd){.fd = client_fd(l->conns[i]), .events = client_events(l->conns[i])};
		pending = pending || client_pending(l->conns[i]);
	}
	if (pending)
		wait = (struct timespec){0};
	if (ppoll(p, n, &wait, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (p[i].revents || pending)
			client_io(l->conns[i]);
}

static bool done(struct load *l)
{
	if (*l->o->stop)
		fail(l, "interrupted");
	if (l->failed)
		return true;
	if (l->draining && l->under_way == 0)
		return true;
	if (clock_mono_ms() - l->progress_ms < STALL_MS)
		return false;
	if (!l->draining)
		fail(l, l->opened_all ? "nothing was settled for 20 s" : "the broker did not open the subscription");
	return true;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int64_t quantile(const struct load *l, int64_t per_mille)
{
	return l->n_latency ? l->latency_us[(l->n_latency - 1) * (size_t)per_mille / 1000] : 0;
}

static void summarize(struct load *l, struct load_result *r)
{
	*r = (struct load_result){.cycles = (int64_t)l->n_latency, .duplicated = (int64_t)l->delivered_twice};
	r->elapsed_us = l->ended_us - l->began_us;
	qsort(l->latency_us, l->n_latency, sizeof *l->latency_us, by_size);
	r->p50_us = quantile(l, 500);
	r->p99_us = quantile(l, 990);
	r->p999_us = quantile(l, 999);
	for (uint64_t i = 1; i < l->next; i++)
		r->lost += (l->cycle[i] & ACKED) && !(l->cycle[i] & SETTLED);
}

static bool prepare(struct load *l)
{
	uint8_t random[RUN_TEXT / 2];

	random_bytes(random, sizeof random);
	hex_encode(random, sizeof random, l->run);
	buf_init(&l->envelope, (size_t)l->o->payload + 1024);
	buf_init(&l->frame, (size_t)l->o->payload + 2048);
	buf_init(&l->answer, (size_t)l->o->payload + 2048);
	l->next = 1;
	for (l->n_flights = 64; l->n_flights < (size_t)l->o->window * 8; l->n_flights *= 2)
		;
	l->flights = calloc(l->n_flights, sizeof *l->flights);
	return l->flights && encode_envelope(l);
}

int load_run(const struct load_options *o, struct load_result *out, struct problem *why)
{
	struct load *l = calloc(1, sizeof *l);
	int rc = -1;

	if (!l)
		return problem_set(why, "out of memory");
	l->o = o;
	l->pace.rate = o->rate;
	l->why = why;
	if (o->unary && o->window > o->publishers * UNARY_PER_CONN)
		problem_set(why, "unary: a window of %lld needs more --publishers (100 calls a connection)", (long long)o->window);
	else if (!prepare(l))
		problem_set(why, "out of memory");
	else if (open_all(l) == 0) {
		l->progress_ms = clock_mono_ms();
		while (!done(l))
			turn(l);
		rc = l->failed || !l->ended_us ? -1 : 0;
		if (rc == 0)
			summarize(l, out);
		else if (!l->failed)
			problem_set(why, "measuring did not come to its end");
	}
	for (size_t i = 0; i < CONNS_MAX; i++)
		client_free(l->conns[i]);
	buf_clear(&l->envelope);
	buf_clear(&l->frame);
	buf_clear(&l->answer);
	free(l->cycle);
	free(l->sent_us);
	free(l->latency_us);
	free(l->flights);
	free(l);
	return rc;
}
