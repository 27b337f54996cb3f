/* How does a command become an agent? One Subscribe stream brings deliveries, each runs the command once (work.c),
 * its exit is reported and must be settled. One thread, one poll loop; a broken stream is opened again, with the
 * leases that are still being worked on. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/secret.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/renewal.h"
#include "cli/work.h"
#include "client/pb.h"
#include "client/stream.h"

#define FRAME_ARENA (2 * CLIENT_MESSAGE_MAX)
#define WORKS_MAX 1000
#define STOP_GRACE_MS 2000
#define BACKOFF_MIN_MS 250
#define BACKOFF_MAX_MS 15000
#define RESEND_MS 1000
#define LAST_WORDS_MS 2000
#define ROUTES_MAX 16
#define QUIET_MS 500         /* what the broker sent before it heard of the window is here by then */
#define CHANGE_MS 15000      /* before the certificate ends: the new one is shown, quiet or not */
#define CHANGE_AT_ONCE_MS 3000 /* and reports that are under way are not waited for */

struct serve {
	struct cli *c;
	struct client_stream *stream;
	struct arena *arena;
	struct work *works;
	size_t n_works;
	char dir[128];            /* for assertion files; "" = not made */
	int signals;
	uint32_t max;             /* at once */
	int64_t count;            /* leave after so many; 0 = never */
	int64_t settled;
	uint32_t window;          /* as last told to the broker */
	bool draining;            /* the node said that it goes away: leave it once nothing is held */
	bool leaving;
	int64_t leave_by;         /* monotonic ms: then what still runs is released */
	int64_t retry_at;         /* connect again then; 0 = connected */
	int64_t backoff;
	bool renews;
	struct renewer renewer;   /* --renew */
	int64_t change_at;        /* nothing is held or taken: connect with the new certificate then; 0 = no */
	bool over;
	int code;
	struct pollfd polled[3 + 3 * WORKS_MAX];
};

static void send_frame(struct serve *s, const Baton__V1__SubscriberFrame *f)
{
	if (s->stream)
		client_stream_send(s->stream, &f->base);
}

static size_t in_state(const struct serve *s, enum work_state state)
{
	size_t n = 0;

	for (const struct work *w = s->works; w; w = w->next)
		n += w->state == state;
	return n;
}

/* How many deliveries may be held now: reports under way count as done, so that no refill overtakes the last one. */
static uint32_t wanted_window(const struct serve *s)
{
	int64_t left = s->count - s->settled - (int64_t)in_state(s, WORK_REPORTING);

	if (s->leaving || s->change_at)
		return 0;
	if (s->count == 0)
		return s->max;
	return left <= 0 ? 0 : left < s->max ? (uint32_t)left : s->max;
}

static void send_window(struct serve *s)
{
	Baton__V1__SubscriberFrame f = BATON__V1__SUBSCRIBER_FRAME__INIT;
	Baton__V1__Flow flow = BATON__V1__FLOW__INIT;

	if (wanted_window(s) == s->window)
		return;
	s->window = flow.max_in_flight = wanted_window(s);
	f.frame_case = BATON__V1__SUBSCRIBER_FRAME__FRAME_FLOW;
	f.flow = &flow;
	send_frame(s, &f);
}

static void send_release(struct serve *s, const Baton__V1__Lease *lease)
{
	Baton__V1__SubscriberFrame f = BATON__V1__SUBSCRIBER_FRAME__INIT;
	Baton__V1__Release release = BATON__V1__RELEASE__INIT;

	release.lease = (Baton__V1__Lease *)(uintptr_t)lease;
	f.frame_case = BATON__V1__SUBSCRIBER_FRAME__FRAME_RELEASE;
	f.release = &release;
	send_frame(s, &f);
}

static void send_report(struct serve *s, struct work *w)
{
	w->resend_at = 0;
	send_window(s);
	if (s->stream)
		client_stream_send_bytes(s->stream, buf_slice(&w->report));
}

static void drop_work(struct serve *s, struct work *w)
{
	struct work **at = &s->works;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	s->n_works--;
	work_free(w);
}

static struct work *find_work(struct serve *s, const Baton__V1__Lease *lease)
{
	for (struct work *w = s->works; lease && w; w = w->next)
		if (w->fence == lease->fencing_token && strcmp(w->id, lease->handoff_id) == 0)
			return w;
	return NULL;
}

/* ---- what the broker says ---- */

static void stop_work(struct serve *s, struct work *w, const char *why)
{
	cli_note(s->c, "%s stopped: %s", w->id, why);
	if (w->pid > 0)
		work_stop(w, STOP_GRACE_MS);
	else
		drop_work(s, w);
}

static void send_accept(struct serve *s, Baton__V1__Lease *lease)
{
	Baton__V1__SubscriberFrame f = BATON__V1__SUBSCRIBER_FRAME__INIT;
	Baton__V1__Accept accept = BATON__V1__ACCEPT__INIT;

	accept.lease = lease;
	f.frame_case = BATON__V1__SUBSCRIBER_FRAME__FRAME_ACCEPT;
	f.accept = &accept;
	send_frame(s, &f);
}

/* The command could not be started: say so, so that another server may. */
static void send_start_failure(struct serve *s, Baton__V1__Lease *lease, const char *message)
{
	Baton__V1__SubscriberFrame f = BATON__V1__SUBSCRIBER_FRAME__INIT;
	Baton__V1__Fail fail = BATON__V1__FAIL__INIT;
	Baton__V1__Failure failure = BATON__V1__FAILURE__INIT;

	failure.code = (char *)(uintptr_t)"not_started";
	failure.message = (char *)(uintptr_t)message;
	failure.retryable = true;
	fail.lease = lease;
	fail.failure = &failure;
	f.frame_case = BATON__V1__SUBSCRIBER_FRAME__FRAME_FAIL;
	f.fail = &fail;
	send_frame(s, &f);
}

static void on_delivery(struct serve *s, const Baton__V1__Delivery *d)
{
	struct problem why = {""};
	struct work *w;

	if (!d->lease || !d->envelope)
		return;
	if (wanted_window(s) == 0 || s->n_works >= WORKS_MAX || in_state(s, WORK_RUNNING) >= s->max) {
		send_release(s, d->lease);
		return;
	}
	w = work_start(d, s->c->args.rest, s->dir, &why);
	if (!w) {
		cli_note(s->c, "%s could not be started: %s", d->lease->handoff_id, why.text);
		send_start_failure(s, d->lease, why.text);
		return;
	}
	w->content_type = s->c->args.text[OPT_RESULT_TYPE];
	w->next = s->works;
	s->works = w;
	s->n_works++;
	send_accept(s, d->lease);
	cli_note(s->c, "%s try %u of %u: %s for %s", w->id, d->attempt, d->max_attempts, d->envelope->tool,
		 d->claims ? d->claims->subject : "?");
}

static void on_opened(struct serve *s, const Baton__V1__Opened *o)
{
	struct work *next;

	s->backoff = BACKOFF_MIN_MS;
	cli_note(s->c, "serving on %s, %u at once", o->node, o->max_in_flight);
	for (struct work *w = s->works; w; w = next) {
		bool kept = false;

		next = w->next;
		for (size_t i = 0; i < o->n_resumed; i++)
			kept |= o->resumed[i]->fencing_token == w->fence && strcmp(o->resumed[i]->handoff_id, w->id) == 0;
		if (w->state == WORK_STOPPING)
			continue;
		if (!kept)
			stop_work(s, w, "its lease was lost while the connection was down");
		else if (w->state == WORK_REPORTING)
			send_report(s, w);
	}
}

static void on_settled(struct serve *s, const Baton__V1__Settled *a)
{
	struct work *w = find_work(s, a->lease);
	enum reason reason = (enum reason)a->reason;

	if (!w || w->state != WORK_REPORTING)
		return;
	if (a->ok) {
		cli_note(s->c, "%s settled: %s after %lld ms", w->id, state_text((enum handoff_state)a->state),
			 (long long)(clock_mono_ms() - w->started_at));
		s->settled++;
		drop_work(s, w);
	} else if (reason == REASON_STORE_UNAVAILABLE) {
		w->resend_at = clock_mono_ms() + RESEND_MS;
	} else if ((reason == REASON_GUARDRAIL_DENIED || reason == REASON_PAYLOAD_TOO_LARGE) && !w->refused_once) {
		w->refused_once = true;
		work_report_failure(w, "result_refused", reason_text(reason), false);
		send_report(s, w);
	} else {
		cli_note(s->c, "%s was not settled: %s", w->id, reason_text(reason));
		drop_work(s, w);
	}
	send_window(s);
}

static void on_stop(struct serve *s, const Baton__V1__Stop *stop)
{
	struct work *w = find_work(s, stop->lease);

	if (w && w->state != WORK_STOPPING)
		stop_work(s, w, reason_text((enum reason)stop->reason));
	send_window(s);
}

static void on_assertion(struct serve *s, const Baton__V1__AssertionRenewed *a)
{
	struct work *w = find_work(s, a->lease);
	struct problem why = {""};

	if (w && w->assertion[0] && work_write_assertion(w, a->assertion, &why))
		cli_note(s->c, "%s: %s", w->id, why.text);
}

static void on_frame(struct serve *s, const Baton__V1__BrokerFrame *f)
{
	switch (f->frame_case) {
	case BATON__V1__BROKER_FRAME__FRAME_OPENED:
		on_opened(s, f->opened);
		break;
	case BATON__V1__BROKER_FRAME__FRAME_DELIVERY:
		on_delivery(s, f->delivery);
		break;
	case BATON__V1__BROKER_FRAME__FRAME_SETTLED:
		on_settled(s, f->settled);
		break;
	case BATON__V1__BROKER_FRAME__FRAME_STOP:
		on_stop(s, f->stop);
		break;
	case BATON__V1__BROKER_FRAME__FRAME_ASSERTION:
		on_assertion(s, f->assertion);
		break;
	case BATON__V1__BROKER_FRAME__FRAME_NOTICE:
		cli_note(s->c, "notice from the broker: %s", f->notice->message);
		s->draining |= f->notice->kind == BATON__V1__NOTICE_KIND__NOTICE_KIND_DRAINING;
		break;
	default: /* a kind from the future */
		break;
	}
}

/* ---- the stream ---- */

static void send_open(struct serve *s)
{
	Baton__V1__SubscriberFrame f = BATON__V1__SUBSCRIBER_FRAME__INIT;
	Baton__V1__Open open = BATON__V1__OPEN__INIT;
	Baton__V1__Lease leases[WORKS_MAX], *list[WORKS_MAX];
	char *routes[ROUTES_MAX], instance[64];

	for (size_t i = 0; i < s->c->args.n_many; i++)
		if (s->c->args.many[i].opt == OPT_ROUTES && open.n_routes < ROUTES_MAX)
			routes[open.n_routes++] = (char *)(uintptr_t)s->c->args.many[i].value;
	for (struct work *w = s->works; w && open.n_resume < WORKS_MAX; w = w->next) {
		if (w->state == WORK_STOPPING)
			continue;
		baton__v1__lease__init(&leases[open.n_resume]);
		leases[open.n_resume].handoff_id = w->id;
		leases[open.n_resume].fencing_token = w->fence;
		list[open.n_resume] = &leases[open.n_resume];
		open.n_resume++;
	}
	snprintf(instance, sizeof instance, "pid-%d", (int)getpid());
	open.routes = routes;
	open.resume = list;
	open.instance = instance;
	/* 0 would read as "not set", which is 1: a worker that is leaving opens with 1 and pauses at once. */
	s->window = wanted_window(s) ? wanted_window(s) : 1;
	open.max_in_flight = s->window;
	f.frame_case = BATON__V1__SUBSCRIBER_FRAME__FRAME_OPEN;
	f.open = &open;
	send_frame(s, &f);
	send_window(s);
}

static bool open_stream(struct serve *s)
{
	s->stream = client_stream_open(s->c->conn, "Subscribe", NULL, 0);
	if (s->stream)
		send_open(s);
	if (s->renews)
		renewer_look(&s->renewer); /* the file that was just read may be a newer one than it knows */
	return s->stream != NULL;
}

static void retry_later(struct serve *s)
{
	uint32_t jitter;

	random_bytes(&jitter, sizeof jitter);
	client_stream_free(s->stream);
	s->stream = NULL;
	s->retry_at = clock_mono_ms() + s->backoff / 2 + jitter % (uint32_t)(s->backoff / 2 + 1);
	s->backoff = s->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : s->backoff * 2;
}

static void reconnect(struct serve *s)
{
	s->retry_at = s->change_at = 0;
	s->draining = false;
	cli_close(s->c);
	if (cli_dial(s->c) || !open_stream(s))
		retry_later(s);
}

/* The stream is over: for good when the broker refused us, else for a while. */
static void on_stream_end(struct serve *s)
{
	const struct client_status *st = client_stream_status(s->stream);
	int code = st->code == GRPC_OK ? EXIT_AGAIN : exit_for_status(st);

	if (s->over)
		return;
	if (code == EXIT_AGAIN || code == EXIT_UNREACHABLE || st->code == GRPC_UNAVAILABLE) {
		cli_note(s->c, "the stream broke (%s); trying again", st->message[0] ? st->message : grpc_status_text(st->code));
		retry_later(s);
		return;
	}
	s->code = complain_status(s->c, st);
	s->over = true;
}

static void read_frames(struct serve *s)
{
	struct slice message;

	while (s->stream && client_stream_next(s->stream, &message)) {
		struct prescan_fault fault;
		Baton__V1__BrokerFrame *f;

		arena_reset(s->arena);
		f = (void *)pb_unpack(&baton__v1__broker_frame__descriptor, message, s->arena, &fault);
		if (f)
			on_frame(s, f);
		else
			cli_note(s->c, "a frame of the broker cannot be read: %s %s", fault.what, fault.field);
	}
	if (s->stream && client_stream_ended(s->stream))
		on_stream_end(s);
}

/* ---- the certificate ---- */

/* The connection shows a certificate that was renewed since: it goes on, until nothing is held or that certificate is about to end. Then it is made
 * anew, as after a break: what is still worked on is resumed, since the agent is the same. */
static void change_certificate(struct serve *s, int64_t now)
{
	const struct certinfo *shown = s->stream ? client_creds_cert(s->c->creds) : NULL;
	int64_t left = shown ? shown->not_after_ms - clock_unix_ms() : 0;
	bool late = left <= CHANGE_AT_ONCE_MS || (left <= CHANGE_MS && in_state(s, WORK_REPORTING) == 0);

	if (!shown || s->leaving || strcmp(shown->x5t_s256, s->renewer.cert.x5t_s256) == 0) {
		s->change_at = 0;
		return;
	}
	if (!s->change_at && s->n_works == 0) {
		s->change_at = now + QUIET_MS;
		send_window(s);
	}
	if (!late && (!s->change_at || now < s->change_at))
		return;
	cli_note(s->c, "connecting with the new certificate");
	client_stream_free(s->stream);
	s->stream = NULL;
	reconnect(s);
}

static void renew(struct serve *s, int64_t now)
{
	if (renewer_tick(&s->renewer) == RENEWER_ENDED) {
		s->code = EXIT_DENIED;
		s->over = true;
	}
	change_certificate(s, now);
}

/* ---- processes and signals ---- */

static void on_child(struct serve *s, pid_t pid, int status)
{
	for (struct work *w = s->works; w; w = w->next) {
		if (w->pid != pid)
			continue;
		work_ended(w, status);
		if (w->state == WORK_REPORTING)
			send_report(s, w);
		else
			drop_work(s, w);
		return;
	}
}

static void leave(struct serve *s)
{
	s->leave_by = s->leaving ? clock_mono_ms() : clock_mono_ms() + s->c->args.number[OPT_GRACE];
	if (!s->leaving)
		cli_note(s->c, "leaving: %zu still at work", s->n_works);
	s->leaving = true;
	send_window(s);
}

static void on_signals(struct serve *s)
{
	struct signalfd_siginfo info;
	siginfo_t dead = {.si_pid = 0};
	int status;

	while (read(s->signals, &info, sizeof info) == sizeof info)
		if (info.ssi_signo != SIGCHLD)
			leave(s);
	while (waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) == 0 && dead.si_pid > 0) {
		kill(-dead.si_pid, SIGKILL); /* what it left behind; before it is reaped, while the number is still its own */
		if (waitpid(dead.si_pid, &status, 0) == dead.si_pid)
			on_child(s, dead.si_pid, status);
		dead.si_pid = 0;
	}
}

/* The grace is over: what still runs is given back and ended. */
static void give_back(struct serve *s)
{
	for (struct work *w = s->works; w; w = w->next)
		if (w->state == WORK_RUNNING) {
			Baton__V1__Lease lease = BATON__V1__LEASE__INIT;

			lease.handoff_id = w->id;
			lease.fencing_token = w->fence;
			send_release(s, &lease);
			work_stop(w, STOP_GRACE_MS);
		}
}

static void on_time(struct serve *s, int64_t now)
{
	for (struct work *w = s->works; w; w = w->next) {
		if (w->kill_at && now >= w->kill_at && w->pid > 0) {
			kill(-w->pid, SIGKILL);
			w->kill_at = 0;
		}
		if (w->resend_at && now >= w->resend_at)
			send_report(s, w);
	}
	if (s->leaving && now >= s->leave_by)
		give_back(s);
	if (s->leaving && now >= s->leave_by + STOP_GRACE_MS + LAST_WORDS_MS)
		s->over = true; /* reports that nobody settles: their leases lapse */
	if (s->draining && s->stream && s->n_works == 0 && !s->leaving) {
		retry_later(s);
		cli_close(s->c);
	}
	if (s->retry_at && now >= s->retry_at)
		reconnect(s);
	if (s->renews)
		renew(s, now);
	if ((s->leaving || (s->count && s->settled >= s->count)) && s->n_works == 0)
		s->over = true;
}

static int sooner(int64_t at, int64_t now, int wait)
{
	if (!at)
		return wait;
	return at <= now ? 0 : at - now < wait ? (int)(at - now) : wait;
}

static int next_wait(const struct serve *s)
{
	int64_t now = clock_mono_ms();
	int wait = 1000;

	for (const struct work *w = s->works; w; w = w->next) {
		wait = sooner(w->kill_at, now, wait);
		wait = sooner(w->resend_at, now, wait);
	}
	wait = sooner(s->retry_at, now, wait);
	wait = sooner(s->change_at, now, wait);
	if (s->renews)
		wait = sooner(now + renewer_wait(&s->renewer), now, wait);
	if (s->leaving && s->leave_by > now)
		wait = sooner(s->leave_by, now, wait);
	return s->c->conn && client_pending(s->c->conn) ? 0 : wait;
}

static size_t watch(struct pollfd *p, size_t n, int fd, short events)
{
	if (fd < 0)
		return n;
	p[n] = (struct pollfd){.fd = fd, .events = events};
	return n + 1;
}

static void turn(struct serve *s)
{
	struct pollfd *p = s->polled;
	size_t n = watch(p, 0, s->signals, POLLIN);

	if (s->c->conn && client_state(s->c->conn) != CLIENT_CLOSED)
		n = watch(p, n, client_fd(s->c->conn), client_events(s->c->conn));
	if (s->renews && renewer_fd(&s->renewer) >= 0)
		n = watch(p, n, renewer_fd(&s->renewer), renewer_events(&s->renewer));
	for (const struct work *w = s->works; w; w = w->next) {
		n = watch(p, n, w->in, POLLOUT);
		n = watch(p, n, w->out, POLLIN);
		n = watch(p, n, w->err, POLLIN);
	}
	if (poll(p, n, next_wait(s)) < 0 && errno != EINTR)
		return;
	for (struct work *w = s->works; w; w = w->next)
		work_io(w);
	on_signals(s);
	if (s->c->conn && client_state(s->c->conn) != CLIENT_CLOSED)
		client_io(s->c->conn);
	read_frames(s);
	on_time(s, clock_mono_ms());
	if (s->c->conn && client_state(s->c->conn) != CLIENT_CLOSED)
		client_flush(s->c->conn);
}

static bool command_exists(const char *name)
{
	char path[4096];

	if (strchr(name, '/'))
		return access(name, X_OK) == 0;
	for (const char *p = getenv("PATH"); p && *p;) {
		size_t n = strcspn(p, ":");

		if ((size_t)snprintf(path, sizeof path, "%.*s/%s", (int)n, n ? p : ".", name) < sizeof path && access(path,
			X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

/* As the broker has it: 1 to 127 printable characters. */
static int check_type(const struct cli *c)
{
	const char *type = c->args.text[OPT_RESULT_TYPE];

	if (type && (!*type || strlen(type) > 127 || !utf8_is_text(slice_str(type))))
		return complain_usage(c, "--content-type: 1 to 127 printable characters");
	return 0;
}

static int prepare(struct serve *s)
{
	const char *tmp = getenv("TMPDIR");
	sigset_t set;

	s->backoff = BACKOFF_MIN_MS;
	s->max = (uint32_t)s->c->args.number[OPT_MAX];
	s->count = s->c->args.given[OPT_ONCE] ? 1 : s->c->args.number[OPT_COUNT_N];
	if (!command_exists(s->c->args.rest[0]))
		return complain(s->c, EXIT_MISSING, s->c->args.rest[0], "There is no such program to run.", NULL);
	snprintf(s->dir, sizeof s->dir, "%.90s/baton-serve.XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
	s->arena = arena_new(FRAME_ARENA);
	if (!s->arena || !mkdtemp(s->dir)) {
		s->dir[0] = '\0';
		return complain(s->c, EXIT_CONFIG, "no temporary folder can be made", NULL, "Is TMPDIR writable?");
	}
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return s->signals < 0 ? complain(s->c, EXIT_BUG, "no signalfd", strerror(errno), NULL) : 0;
}

static void finish(struct serve *s)
{
	struct work *w;

	for (w = s->works; w; w = w->next)
		if (w->pid > 0) {
			kill(-w->pid, SIGKILL);
			waitpid(w->pid, NULL, 0);
			w->pid = 0;
		}
	while (s->works)
		drop_work(s, s->works);
	if (s->stream && s->c->conn && client_state(s->c->conn) == CLIENT_READY) {
		client_stream_half_close(s->stream);
		client_flush(s->c->conn);
	}
	client_stream_free(s->stream);
	renewer_clear(&s->renewer);
	if (s->signals >= 0)
		close(s->signals);
	if (s->dir[0])
		rmdir(s->dir);
	arena_free(s->arena);
}

static int prepare_renewal(struct serve *s)
{
	int code = settings_resolve(s->c);

	s->renews = !code && !(code = renewer_init(&s->renewer, s->c, false));
	return code;
}

int cmd_serve(struct cli *c)
{
	struct serve s = {.c = c, .signals = -1, .renewer = {.files = {.lock = -1}}};
	bool route = false;

	for (size_t i = 0; i < c->args.n_many; i++)
		route |= c->args.many[i].opt == OPT_ROUTES;
	if (!route)
		return complain_usage(c, "`serve` needs --route R");
	if ((s.code = check_type(c)))
		return s.code;
	s.code = prepare(&s);
	if (!s.code && c->args.given[OPT_RENEW])
		s.code = prepare_renewal(&s);
	if (!s.code)
		s.code = cli_connect(c);
	if (!s.code && !open_stream(&s))
		s.code = complain(c, EXIT_BUG, "the call cannot be started", NULL, NULL);
	if (!s.code) {
		client_flush(c->conn);
		while (!s.over)
			turn(&s);
	}
	finish(&s);
	return s.code;
}
