/* How does the stand-in work? One thread, one poll loop, blocking nowhere; state is only touched by that thread,
 * counters are atomic. */
#include "config.h"

#include "fake_broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "baton/v1/handoff.pb-c.h"
#include "client/pb.h"
#include "wire/grpc.h"
#include "wire/h2.h"

#define CONNS 16
#define STREAMS 128
#define HANDOFFS 4096
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"

struct stream {
	int32_t id; /* 0 = free */
	char path[64];
	bool token;
	struct grpc_reader reader;
	uint64_t handoff; /* of Run and Watch */
	uint32_t window;  /* of Subscribe */
	uint32_t held;
};

struct conn {
	struct fake *f;
	int fd;
	SSL *ssl;
	struct h2 *h2;
	struct buf out;
	bool open, closing;
	struct stream streams[STREAMS];
};

enum state { NONE, QUEUED, LEASED, DONE };

struct handoff {
	enum state state;
	char id[32], route[64], tool[64];
	struct buf envelope;
	uint32_t attempt;
	uint64_t fence;
	bool cut, stormed;
	int64_t stop_at;
};

struct fake {
	struct fake_options o;
	SSL_CTX *ctx;
	int listener, wake[2], port;
	pthread_t thread;
	struct conn conns[CONNS];
	struct handoff *handoffs;
	uint64_t n_handoffs, fence;
	int young; /* refusals given to that route */
	atomic_int connections, resumed, released, settled;
	char last[256];
};

static struct stream *find(struct conn *c, int32_t id)
{
	for (size_t i = 0; i < STREAMS; i++)
		if (c->streams[i].id == id)
			return &c->streams[i];
	return NULL;
}

static void reply(struct conn *c, struct stream *s, const ProtobufCMessage *m)
{
	struct buf b;
	uint8_t head[GRPC_HEAD_BYTES];

	buf_init(&b, 1 << 24);
	pb_pack(&b, m);
	grpc_head(head, b.n);
	h2_send(c->h2, s->id, slice_of(head, sizeof head), buf_slice(&b));
	buf_clear(&b);
}

static void finish(struct conn *c, struct stream *s)
{
	const struct h2_header t[] = {{SLICE_LIT("grpc-status"), SLICE_LIT("0")}};

	h2_finish(c->h2, s->id, t, 1);
}

static void deny(struct conn *c, struct stream *s)
{
	const struct h2_header t[] = {
		{SLICE_LIT("grpc-status"), SLICE_LIT("7")},
		{SLICE_LIT("grpc-message"), SLICE_LIT("missing_scope: refunds:draft is needed%0A\xE2\x80\x94 here")},
		{SLICE_LIT("baton-reason"), SLICE_LIT("missing_scope")},
		{SLICE_LIT("baton-trace-id"), SLICE_LIT(TRACE)},
		{SLICE_LIT("baton-policy-version"), SLICE_LIT("sha256:3f0a91c2b7de4410")},
		{SLICE_LIT("baton-retry-after-ms"), SLICE_LIT("250")},
	};

	h2_finish(c->h2, s->id, t, sizeof t / sizeof t[0]);
}

static void stale(struct conn *c, struct stream *s, int64_t server_time_ms)
{
	char text[24];
	const struct h2_header t[] = {
		{SLICE_LIT("grpc-status"), SLICE_LIT("3")},
		{SLICE_LIT("grpc-message"), SLICE_LIT("stale_envelope: stamp it anew")},
		{SLICE_LIT("baton-reason"), SLICE_LIT("stale_envelope")},
		{SLICE_LIT("baton-server-time-ms"), slice_of(text, (size_t)snprintf(text, sizeof text, "%lld",
			(long long)server_time_ms))},
	};

	h2_finish(c->h2, s->id, t, sizeof t / sizeof t[0]);
}

static void away(struct conn *c, struct stream *s)
{
	const struct h2_header t[] = {
		{SLICE_LIT("grpc-status"), SLICE_LIT("14")},
		{SLICE_LIT("grpc-message"), SLICE_LIT("store_unavailable: the store did not answer")},
		{SLICE_LIT("baton-reason"), SLICE_LIT("store_unavailable")},
	};

	h2_finish(c->h2, s->id, t, sizeof t / sizeof t[0]);
}

static void send_event(struct conn *c, struct stream *s, struct handoff *h, uint64_t cursor,
	Baton__V1__HandoffState state)
{
	Baton__V1__HandoffEvent e = BATON__V1__HANDOFF_EVENT__INIT;
	Baton__V1__Receipt r = BATON__V1__RECEIPT__INIT;
	Baton__V1__Result result = BATON__V1__RESULT__INIT;
	Baton__V1__Failure failure = BATON__V1__FAILURE__INIT;

	e.handoff_id = h->id;
	e.cursor = cursor;
	e.at_ms = clock_unix_ms();
	e.state = state;
	e.attempt = h->attempt;
	e.trace_id = (char *)TRACE;
	if (cursor == 1) {
		e.detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_RECEIPT;
		e.receipt = &r;
		r.handoff_id = h->id;
	} else if (state == BATON__V1__HANDOFF_STATE__HANDOFF_STATE_COMPLETED) {
		e.detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_RESULT;
		e.result = &result;
		result.payload = (ProtobufCBinaryData){strlen(c->f->last), (uint8_t *)c->f->last};
	} else {
		e.detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_FAILURE;
		e.failure = &failure;
		failure.code = c->f->last;
	}
	reply(c, s, &e.base);
}

/* Tells every Run and Watch of a handoff how it ended. */
static void tell_end(struct fake *f, uint64_t n, Baton__V1__HandoffState state)
{
	for (size_t i = 0; i < CONNS; i++)
		for (size_t k = 0; f->conns[i].open && k < STREAMS; k++) {
			struct stream *s = &f->conns[i].streams[k];

			if (s->id && s->handoff == n) {
				send_event(&f->conns[i], s, &f->handoffs[n], 2, state);
				finish(&f->conns[i], s);
				s->handoff = 0;
			}
		}
}

static void deliver_one(struct conn *c, struct stream *s, uint64_t n)
{
	struct handoff *h = &c->f->handoffs[n];
	Baton__V1__BrokerFrame frame = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__Delivery d = BATON__V1__DELIVERY__INIT;
	Baton__V1__Lease lease = BATON__V1__LEASE__INIT;
	Baton__V1__Agent sender = BATON__V1__AGENT__INIT;
	Baton__V1__Claims claims = BATON__V1__CLAIMS__INIT;
	char *scopes[] = {(char *)"orders:read", (char *)"refunds:draft"};

	h->state = LEASED;
	h->attempt++;
	h->fence = ++c->f->fence;
	s->held++;
	lease.handoff_id = h->id;
	lease.fencing_token = h->fence;
	sender.name = (char *)"planner";
	claims.subject = (char *)"user:ana";
	claims.issuer = (char *)"https://dev.baton.invalid";
	claims.tenant = (char *)"acme";
	claims.scopes = scopes;
	claims.n_scopes = 2;
	d.lease = &lease;
	d.envelope = baton__v1__task_envelope__unpack(NULL, h->envelope.n, h->envelope.p);
	d.attempt = h->attempt;
	d.max_attempts = 5;
	d.sender = &sender;
	d.claims = &claims;
	d.assertion = (char *)"an-assertion";
	d.traceparent = (char *)"00-" TRACE "-00f067aa0ba902b7-01";
	frame.frame_case = BATON__V1__BROKER_FRAME__FRAME_DELIVERY;
	frame.delivery = &d;
	reply(c, s, &frame.base);
	baton__v1__task_envelope__free_unpacked(d.envelope, NULL);
	if (strcmp(h->route, "cut") == 0 && !h->cut) {
		h->cut = true;
		c->closing = true;
	}
	if (strcmp(h->route, "stop") == 0)
		h->stop_at = clock_mono_ms() + 200;
}

static void deliver(struct fake *f)
{
	for (uint64_t n = 1; n < f->n_handoffs; n++) {
		if (f->handoffs[n].state != QUEUED)
			continue;
		for (size_t i = 0; i < CONNS && f->handoffs[n].state == QUEUED; i++)
			for (size_t k = 0; f->conns[i].open && k < STREAMS && f->handoffs[n].state == QUEUED; k++) {
				struct stream *s = &f->conns[i].streams[k];

				if (s->id && s->held < s->window && !f->conns[i].closing)
					deliver_one(&f->conns[i], s, n);
			}
	}
}

static uint64_t store(struct fake *f, const Baton__V1__SubmitRequest *r)
{
	struct handoff *h = &f->handoffs[f->n_handoffs];

	snprintf(h->id, sizeof h->id, "h%llu", (unsigned long long)f->n_handoffs);
	snprintf(h->route, sizeof h->route, "%s", r->envelope->route);
	snprintf(h->tool, sizeof h->tool, "%s", r->envelope->tool);
	buf_init(&h->envelope, 1 << 24);
	pb_pack(&h->envelope, &r->envelope->base);
	h->state = QUEUED;
	return f->n_handoffs++;
}

static void fill_receipt(Baton__V1__Receipt *r, const struct handoff *h, uint64_t ref)
{
	r->handoff_id = (char *)h->id;
	r->ref = ref;
	r->state = BATON__V1__HANDOFF_STATE__HANDOFF_STATE_QUEUED;
	r->trace_id = (char *)TRACE;
}

/* true: it has been answered in some other way. */
static bool misbehave(struct conn *c, struct stream *s, const char *route)
{
	if (strcmp(route, "deny") == 0)
		deny(c, s);
	else if (strcmp(route, "away") == 0)
		away(c, s);
	else if (strcmp(route, "goaway") == 0) {
		h2_goaway(c->h2, true, 0, "draining");
		c->closing = true;
	} else if (strcmp(route, "young") == 0 && c->f->young++ < 2) {
		stale(c, s, clock_unix_ms());
	} else if (strcmp(route, "skewed") == 0) {
		stale(c, s, clock_unix_ms() - 252000);
	} else if (strcmp(route, "silent") != 0)
		return false;
	return true;
}

static void on_submit(struct conn *c, struct stream *s, struct slice m, bool run)
{
	Baton__V1__SubmitRequest *r = baton__v1__submit_request__unpack(NULL, m.n, m.p);
	Baton__V1__Receipt receipt = BATON__V1__RECEIPT__INIT;
	uint64_t n;

	if (!misbehave(c, s, r->envelope->route)) {
		n = store(c->f, r);
		if (run) {
			s->handoff = n;
			send_event(c, s, &c->f->handoffs[n], 1, BATON__V1__HANDOFF_STATE__HANDOFF_STATE_QUEUED);
		} else {
			fill_receipt(&receipt, &c->f->handoffs[n], r->ref);
			reply(c, s, &receipt.base);
			finish(c, s);
		}
	}
	baton__v1__submit_request__free_unpacked(r, NULL);
	deliver(c->f);
}

static void on_pipe(struct conn *c, struct stream *s, struct slice m)
{
	Baton__V1__PipeFrame *p = baton__v1__pipe_frame__unpack(NULL, m.n, m.p);
	Baton__V1__PipeReply answer = BATON__V1__PIPE_REPLY__INIT;
	Baton__V1__Receipt receipt = BATON__V1__RECEIPT__INIT;
	Baton__V1__Decision no = BATON__V1__DECISION__INIT;

	answer.reply_case = BATON__V1__PIPE_REPLY__REPLY_RECEIPT;
	answer.receipt = &receipt;
	if (p->frame_case == BATON__V1__PIPE_FRAME__FRAME_SUBMIT && strcmp(p->submit->envelope->route, "young") == 0 &&
		c->f->young++ < 2) {
		no.outcome = BATON__V1__OUTCOME__OUTCOME_DENY;
		no.reason = BATON__V1__REASON__REASON_STALE_ENVELOPE;
		receipt.ref = p->submit->ref;
		receipt.decision = &no;
		reply(c, s, &answer.base);
	} else if (p->frame_case == BATON__V1__PIPE_FRAME__FRAME_SUBMIT) {
		fill_receipt(&receipt, &c->f->handoffs[store(c->f, p->submit)], p->submit->ref);
		reply(c, s, &answer.base);
	}
	baton__v1__pipe_frame__free_unpacked(p, NULL);
	deliver(c->f);
}

static uint64_t by_id(struct fake *f, const char *id)
{
	for (uint64_t n = 1; n < f->n_handoffs; n++)
		if (strcmp(f->handoffs[n].id, id) == 0)
			return n;
	return 0;
}

static void fill_handoff(Baton__V1__Handoff *h, const struct handoff *from, Baton__V1__Agent *sender)
{
	baton__v1__agent__init(sender);
	sender->name = (char *)"planner";
	h->handoff_id = (char *)from->id;
	h->route = (char *)from->route;
	h->tool = (char *)from->tool;
	h->sender = sender;
	h->attempt = from->attempt;
	h->accepted_at_ms = clock_unix_ms() - 4000;
	h->trace_id = (char *)TRACE;
	h->state = from->state == DONE ? BATON__V1__HANDOFF_STATE__HANDOFF_STATE_COMPLETED :
		BATON__V1__HANDOFF_STATE__HANDOFF_STATE_QUEUED;
	h->cursor = 1;
}

/* Get, Cancel: their requests begin alike, with the id as field 1. */
static void on_get(struct conn *c, struct stream *s, struct slice m, bool cancel)
{
	const struct h2_header t[] = {{SLICE_LIT("grpc-status"), SLICE_LIT("5")},
				      {SLICE_LIT("grpc-message"), SLICE_LIT("not_found: no such handoff")},
				      {SLICE_LIT("baton-reason"), SLICE_LIT("not_found")}};
	Baton__V1__Handoff h = BATON__V1__HANDOFF__INIT;
	Baton__V1__Agent sender;
	struct pb_field f = {0};
	char id[64] = "";
	bool with_envelope = false;
	uint64_t n;

	if (pb_next(&m, &f))
		slice_copy_str(f.bytes, id, sizeof id);
	if (!cancel && pb_next(&m, &f))
		with_envelope = f.value;
	if (strcmp(id, "away") == 0) {
		away(c, s);
		return;
	}
	n = by_id(c->f, id);
	if (n == 0) {
		h2_finish(c->h2, s->id, t, 3);
		return;
	}
	fill_handoff(&h, &c->f->handoffs[n], &sender);
	if (cancel && c->f->handoffs[n].state != DONE)
		h.state = BATON__V1__HANDOFF_STATE__HANDOFF_STATE_CANCELLED;
	if (with_envelope)
		h.envelope = baton__v1__task_envelope__unpack(NULL, c->f->handoffs[n].envelope.n, c->f->handoffs[n].envelope.p);
	reply(c, s, &h.base);
	finish(c, s);
	baton__v1__task_envelope__free_unpacked(h.envelope, NULL);
}

static void on_watch(struct conn *c, struct stream *s, struct slice m)
{
	Baton__V1__WatchRequest *r = baton__v1__watch_request__unpack(NULL, m.n, m.p);
	uint64_t n = by_id(c->f, r->handoff_id);

	if (r->after_cursor < 1)
		send_event(c, s, &c->f->handoffs[n], 1, BATON__V1__HANDOFF_STATE__HANDOFF_STATE_QUEUED);
	if (c->f->handoffs[n].state == DONE) {
		send_event(c, s, &c->f->handoffs[n], 2, BATON__V1__HANDOFF_STATE__HANDOFF_STATE_COMPLETED);
		finish(c, s);
	} else {
		s->handoff = n;
	}
	baton__v1__watch_request__free_unpacked(r, NULL);
}

static void on_list(struct conn *c, struct stream *s)
{
	Baton__V1__ListResponse l = BATON__V1__LIST_RESPONSE__INIT;
	Baton__V1__Handoff h[8], *list[8];
	Baton__V1__Agent sender[8];

	for (uint64_t n = 1; n < c->f->n_handoffs && l.n_handoffs < 8; n++) {
		baton__v1__handoff__init(&h[l.n_handoffs]);
		fill_handoff(&h[l.n_handoffs], &c->f->handoffs[n], &sender[l.n_handoffs]);
		list[l.n_handoffs] = &h[l.n_handoffs];
		l.n_handoffs++;
	}
	l.handoffs = list;
	reply(c, s, &l.base);
	finish(c, s);
}

static void on_whoami(struct conn *c, struct stream *s)
{
	Baton__V1__WhoAmIResponse w = BATON__V1__WHO_AM_IRESPONSE__INIT;
	Baton__V1__Agent a = BATON__V1__AGENT__INIT;
	Baton__V1__Decision d = BATON__V1__DECISION__INIT;

	a.name = (char *)"planner";
	a.tenant = (char *)"acme";
	d.outcome = s->token ? BATON__V1__OUTCOME__OUTCOME_ALLOW : BATON__V1__OUTCOME__OUTCOME_DENY;
	d.reason = s->token ? BATON__V1__REASON__REASON_ALLOWED : BATON__V1__REASON__REASON_MISSING_TOKEN;
	w.agent = &a;
	w.token = &d;
	w.server_time_ms = clock_unix_ms();
	w.server_version = (char *)"fake";
	reply(c, s, &w.base);
	finish(c, s);
}

/* ---- a subscriber's frames ---- */

static void settle(struct conn *c, struct stream *s, const Baton__V1__Lease *lease, bool ok, Baton__V1__Reason reason,
		   Baton__V1__HandoffState state)
{
	Baton__V1__BrokerFrame frame = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__Settled a = BATON__V1__SETTLED__INIT;

	a.lease = (Baton__V1__Lease *)lease;
	a.ok = ok;
	a.reason = reason;
	a.state = state;
	frame.frame_case = BATON__V1__BROKER_FRAME__FRAME_SETTLED;
	frame.settled = &a;
	reply(c, s, &frame.base);
}

static uint64_t by_lease(struct fake *f, const Baton__V1__Lease *lease)
{
	uint64_t n = by_id(f, lease->handoff_id);

	return n && f->handoffs[n].fence == lease->fencing_token && f->handoffs[n].state == LEASED ? n : 0;
}

static void on_report(struct conn *c, struct stream *s, const Baton__V1__Lease *lease, bool completed, bool again)
{
	struct fake *f = c->f;
	uint64_t n = by_lease(f, lease);
	Baton__V1__HandoffState end = completed ? BATON__V1__HANDOFF_STATE__HANDOFF_STATE_COMPLETED :
						  BATON__V1__HANDOFF_STATE__HANDOFF_STATE_FAILED;

	if (!n) {
		settle(c, s, lease, false, BATON__V1__REASON__REASON_LEASE_LOST, 0);
		return;
	}
	if (strcmp(f->handoffs[n].route, "storm") == 0 && !f->handoffs[n].stormed) {
		f->handoffs[n].stormed = true;
		settle(c, s, lease, false, BATON__V1__REASON__REASON_STORE_UNAVAILABLE, 0);
		return;
	}
	s->held--;
	f->handoffs[n].state = again ? QUEUED : DONE;
	atomic_fetch_add(&f->settled, 1);
	settle(c, s, lease, true, BATON__V1__REASON__REASON_ALLOWED, again ? BATON__V1__HANDOFF_STATE__HANDOFF_STATE_QUEUED :
		end);
	if (!again)
		tell_end(f, n, end);
}

static void on_open(struct conn *c, struct stream *s, const Baton__V1__Open *o)
{
	Baton__V1__BrokerFrame frame = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__Opened opened = BATON__V1__OPENED__INIT;
	Baton__V1__Lease *kept[16];

	s->window = o->max_in_flight ? o->max_in_flight : 1;
	for (size_t i = 0; i < o->n_resume && i < 16; i++)
		if (by_lease(c->f, o->resume[i])) {
			kept[opened.n_resumed++] = o->resume[i];
			s->held++;
		}
	atomic_fetch_add(&c->f->resumed, (int)opened.n_resumed);
	opened.node = (char *)"fake";
	opened.max_in_flight = s->window;
	opened.resumed = kept;
	frame.frame_case = BATON__V1__BROKER_FRAME__FRAME_OPENED;
	frame.opened = &opened;
	reply(c, s, &frame.base);
}

static void on_release(struct conn *c, struct stream *s, const Baton__V1__Lease *lease)
{
	uint64_t n = by_lease(c->f, lease);

	atomic_fetch_add(&c->f->released, 1);
	if (n) {
		c->f->handoffs[n].state = DONE; /* nobody else is there to take it */
		s->held--;
	}
	settle(c, s, lease, n != 0, 0, BATON__V1__HANDOFF_STATE__HANDOFF_STATE_QUEUED);
}

static void on_frame(struct conn *c, struct stream *s, struct slice m)
{
	Baton__V1__SubscriberFrame *f = baton__v1__subscriber_frame__unpack(NULL, m.n, m.p);

	switch (f->frame_case) {
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_OPEN:
		on_open(c, s, f->open);
		break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_FLOW:
		s->window = f->flow->max_in_flight;
		break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_COMPLETE:
		snprintf(c->f->last, sizeof c->f->last, "%.*s", (int)f->complete->result->payload.len,
			 (const char *)f->complete->result->payload.data);
		on_report(c, s, f->complete->lease, true, false);
		break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_FAIL:
		snprintf(c->f->last, sizeof c->f->last, "%s|%s", f->fail->failure->code, f->fail->failure->message);
		on_report(c, s, f->fail->lease, false, f->fail->failure->retryable);
		break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_RELEASE:
		on_release(c, s, f->release->lease);
		break;
	default:
		break;
	}
	baton__v1__subscriber_frame__free_unpacked(f, NULL);
	deliver(c->f);
}

static void on_message(struct conn *c, struct stream *s, struct slice m)
{
	const char *method = strrchr(s->path, '/');

	method = method ? method + 1 : "";
	if (strcmp(method, "Submit") == 0 || strcmp(method, "Run") == 0)
		on_submit(c, s, m, method[0] == 'R');
	else if (strcmp(method, "Pipe") == 0)
		on_pipe(c, s, m);
	else if (strcmp(method, "Subscribe") == 0)
		on_frame(c, s, m);
	else if (strcmp(method, "Get") == 0 || strcmp(method, "Cancel") == 0)
		on_get(c, s, m, method[0] == 'C');
	else if (strcmp(method, "Watch") == 0)
		on_watch(c, s, m);
	else if (strcmp(method, "List") == 0)
		on_list(c, s);
	else if (strcmp(method, "WhoAmI") == 0)
		on_whoami(c, s);
}

/* ---- HTTP/2 and TLS ---- */

static void on_headers(void *user, int32_t id, const struct h2_header *h, size_t n, bool end)
{
	const struct h2_header ok[] = {{SLICE_LIT(":status"), SLICE_LIT("200")},
				       {SLICE_LIT("content-type"), SLICE_LIT("application/grpc")}};
	const struct h2_header bad[] = {{SLICE_LIT(":status"), SLICE_LIT("502")}, {SLICE_LIT("content-type"),
		SLICE_LIT("text/html")}};
	struct conn *c = user;
	struct stream *s = find(c, 0);

	if (!s)
		return;
	memset(s, 0, sizeof *s);
	s->id = id;
	grpc_reader_init(&s->reader, 1 << 24);
	for (size_t i = 0; i < n; i++) {
		if (slice_is(h[i].name, ":path"))
			slice_copy_str(h[i].value, s->path, sizeof s->path);
		s->token |= slice_is(h[i].name, "authorization");
	}
	if (strstr(s->path, "Html"))
		h2_respond(c->h2, id, bad, 2, true);
	else
		h2_respond(c->h2, id, ok, 2, false);
}

static void on_data(void *user, int32_t id, struct slice data)
{
	struct conn *c = user;
	struct stream *s = find(c, id);
	struct slice m;
	size_t all = data.n;

	while (s && grpc_reader_next(&s->reader, &data, &m) == GRPC_READ_MESSAGE)
		on_message(c, s, m);
	h2_consume(c->h2, id, all);
}

static void on_closed(void *user, int32_t id, uint32_t code, bool refused)
{
	struct stream *s = find(user, id);

	if (s) {
		grpc_reader_clear(&s->reader);
		memset(s, 0, sizeof *s);
	}
}

static void nothing_trailers(void *user, int32_t id, const struct h2_header *h, size_t n)
{
}

static void nothing(void *user, int32_t id)
{
}

static void nothing_goaway(void *user, int32_t last, uint32_t code, struct slice debug)
{
}

static const struct h2_events events = {.on_headers = on_headers, .on_data = on_data, .on_trailers = nothing_trailers,
	.on_end = nothing,
					.on_writable = nothing, .on_closed = on_closed, .on_goaway = nothing_goaway};

static void conn_close(struct conn *c)
{
	for (size_t i = 0; i < STREAMS; i++)
		if (c->streams[i].id) {
			grpc_reader_clear(&c->streams[i].reader);
			memset(&c->streams[i], 0, sizeof c->streams[i]);
		}
	h2_free(c->h2);
	SSL_free(c->ssl);
	close(c->fd);
	buf_clear(&c->out);
	c->open = false;
	c->h2 = NULL;
	c->ssl = NULL;
}

static void conn_write(struct conn *c)
{
	for (;;) {
		int n;

		if (c->out.n == 0)
			h2_pull(c->h2, &c->out, 65536);
		if (c->out.n == 0)
			return;
		n = SSL_write(c->ssl, c->out.p, (int)c->out.n);
		if (n <= 0)
			return;
		buf_drop(&c->out, (size_t)n);
	}
}

static void conn_turn(struct conn *c)
{
	uint8_t chunk[16384];
	int n;

	ERR_clear_error();
	if (!SSL_is_init_finished(c->ssl)) {
		n = SSL_accept(c->ssl);
		if (n != 1) {
			n = SSL_get_error(c->ssl, n);
			if (n != SSL_ERROR_WANT_READ && n != SSL_ERROR_WANT_WRITE)
				conn_close(c);
			return;
		}
	}
	while ((n = SSL_read(c->ssl, chunk, sizeof chunk)) > 0)
		if (h2_feed(c->h2, slice_of(chunk, (size_t)n)) != 0)
			break;
	if (n <= 0 && SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ) {
		conn_close(c);
		return;
	}
	conn_write(c);
	if (c->closing)
		conn_close(c);
}

static void on_accept(struct fake *f)
{
	int fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct conn *c = NULL;

	if (fd < 0)
		return;
	atomic_fetch_add(&f->connections, 1);
	for (size_t i = 0; i < CONNS && !c; i++)
		if (!f->conns[i].open)
			c = &f->conns[i];
	if (!c || f->o.plain) {
		if (write(fd, "SSH-2.0-none\r\n", 14) < 0)
			perror("write");
		close(fd);
		return;
	}
	memset(c, 0, sizeof *c);
	c->f = f;
	c->fd = fd;
	c->open = true;
	buf_init(&c->out, 1 << 20);
	c->h2 = h2_new_server(&h2_limits_default, &events, c);
	c->ssl = SSL_new(f->ctx);
	SSL_set_fd(c->ssl, fd);
	SSL_set_accept_state(c->ssl);
}

static void send_stops(struct fake *f)
{
	for (uint64_t n = 1; n < f->n_handoffs; n++) {
		struct handoff *h = &f->handoffs[n];

		if (h->state != LEASED || !h->stop_at || clock_mono_ms() < h->stop_at)
			continue;
		for (size_t i = 0; i < CONNS; i++)
			for (size_t k = 0; f->conns[i].open && k < STREAMS; k++) {
				struct stream *s = &f->conns[i].streams[k];
				Baton__V1__BrokerFrame frame = BATON__V1__BROKER_FRAME__INIT;
				Baton__V1__Stop stop = BATON__V1__STOP__INIT;
				Baton__V1__Lease lease = BATON__V1__LEASE__INIT;

				if (!s->id || !s->held)
					continue;
				lease.handoff_id = h->id;
				lease.fencing_token = h->fence;
				stop.lease = &lease;
				stop.reason = BATON__V1__REASON__REASON_CANCELLED;
				frame.frame_case = BATON__V1__BROKER_FRAME__FRAME_STOP;
				frame.stop = &stop;
				reply(&f->conns[i], s, &frame.base);
				s->held--;
				h->state = DONE;
			}
	}
}

static void *run(void *arg)
{
	struct fake *f = arg;

	for (;;) {
		struct pollfd p[CONNS + 2] = {{.fd = f->listener, .events = POLLIN}, {.fd = f->wake[0], .events = POLLIN}};

		for (size_t i = 0; i < CONNS; i++)
			p[i + 2] = (struct pollfd){.fd = f->conns[i].open ? f->conns[i].fd : -1, .events = POLLIN};
		poll(p, CONNS + 2, 20);
		if (p[1].revents)
			return NULL;
		if (p[0].revents)
			on_accept(f);
		send_stops(f);
		for (size_t i = 0; i < CONNS; i++)
			if (f->conns[i].open)
				conn_turn(&f->conns[i]);
	}
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in, unsigned in_n,
	void *arg)
{
	static const unsigned char h2[] = {2, 'h', '2'};

	return SSL_select_next_proto((unsigned char **)(uintptr_t)out, n, h2, sizeof h2, in, in_n) == OPENSSL_NPN_NEGOTIATED ?
		       SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_up(struct fake *f)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)f->o.port)};
	socklen_t n = sizeof a;
	int one = 1;

	f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(f->listener, (struct sockaddr *)&a, sizeof a) || listen(f->listener, 16) || pipe(f->wake) ||
	    getsockname(f->listener, (struct sockaddr *)&a, &n))
		return false;
	f->port = ntohs(a.sin_port);
	if (f->o.plain)
		return true;
	f->ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_min_proto_version(f->ctx, TLS1_3_VERSION);
	SSL_CTX_set_num_tickets(f->ctx, 0);
	SSL_CTX_set_mode(f->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (!f->o.no_alpn)
		SSL_CTX_set_alpn_select_cb(f->ctx, choose_alpn, NULL);
	if (f->o.ca) {
		SSL_CTX_set_verify(f->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		if (SSL_CTX_load_verify_locations(f->ctx, f->o.ca, NULL) != 1)
			return false;
	}
	return SSL_CTX_use_certificate_chain_file(f->ctx, f->o.cert) == 1 &&
	       SSL_CTX_use_PrivateKey_file(f->ctx, f->o.key, SSL_FILETYPE_PEM) == 1;
}

struct fake *fake_start(const struct fake_options *o)
{
	struct fake *f = calloc(1, sizeof *f);

	f->o = *o;
	f->n_handoffs = 1;
	f->handoffs = calloc(HANDOFFS, sizeof *f->handoffs);
	if (!set_up(f) || pthread_create(&f->thread, NULL, run, f) != 0) {
		fprintf(stderr, "the fake broker cannot start: %s\n", strerror(errno));
		abort();
	}
	return f;
}

void fake_stop(struct fake *f)
{
	if (write(f->wake[1], "x", 1) != 1)
		perror("write");
	pthread_join(f->thread, NULL);
	for (size_t i = 0; i < CONNS; i++)
		if (f->conns[i].open)
			conn_close(&f->conns[i]);
	for (uint64_t n = 1; n < f->n_handoffs; n++)
		buf_clear(&f->handoffs[n].envelope);
	close(f->listener);
	close(f->wake[0]);
	close(f->wake[1]);
	SSL_CTX_free(f->ctx);
	free(f->handoffs);
	free(f);
}

int fake_port(const struct fake *f)
{
	return f->port;
}

int fake_connections(const struct fake *f)
{
	return atomic_load(&f->connections);
}

int fake_resumed(const struct fake *f)
{
	return atomic_load(&f->resumed);
}

int fake_released(const struct fake *f)
{
	return atomic_load(&f->released);
}

int fake_settled(const struct fake *f)
{
	return atomic_load(&f->settled);
}

const char *fake_last_result(const struct fake *f)
{
	return f->last;
}
