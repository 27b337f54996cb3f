/* What is the keeper's life? It becomes its user, reads its files, gives up everything else that a process may do, and answers one ask after the other until
 * the broker's end of a pipe is closed. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "confine/confine.h"
#include "keeper/keeper.h"
#include "keeper/record.h"
#include "keeper/signer.h"

#define TURN 64            /* assertions for one line, before the next one's turn */
#define COUNT_MS 60000     /* what was signed and handed out is summed up so often */

#define ORPHANED SIGUSR1   /* the broker is no more, where the kernel lets that be told: the end of the pipes says it too. What was signed is written down first */

/* What a keyboard or a process group sends is the broker's to answer. */
static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
static volatile sig_atomic_t orphaned;

static void on_orphaned(int signo)
{
	(void)signo;
	orphaned = 1;
}

static void set_signals(void)
{
	const struct sigaction last = {.sa_handler = on_orphaned};

	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	sigaction(ORPHANED, &last, NULL);
}

/* A pipe to the broker. Who does not read what he is owed is asked nothing more until he has it, and keeps nobody else from his. */
struct line {
	int fd;
	struct buf owed;
};

/* It may have been a secret. */
static void settle(struct line *l)
{
	secret_wipe(l->owed.p, l->owed.n);
	buf_reset(&l->owed);
}

/* Sends what is owed, or what the pipe takes of it: all or nothing. false: nobody is there to take it. */
static bool pay(struct line *l)
{
	ssize_t n;

	do
		n = l->owed.n ? send(l->fd, l->owed.p, l->owed.n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
		return true;
	settle(l);
	return n >= 0;
}

static bool say(struct line *l, const struct keeper_answer *a)
{
	if (!keeper_put_answer(&l->owed, a)) /* memory is out: who asked hears nothing, in time */
		settle(l);
	return pay(l);
}

static void say_failed(struct line *l, const struct problem *why)
{
	const struct keeper_answer a = {.status = KEEPER_FAILED, .why = slice_str(why->text)};

	say(l, &a);
}

/* Nothing of the broker's stays open here but the channels and the standard three. */
static void close_others(const int *channels, unsigned n)
{
	unsigned next = 3;

	for (unsigned i = 0; i < n; i++) {
		unsigned fd = (unsigned)channels[i];

		if (fd > next)
			syscall(SYS_close_range, next, fd - 1, 0u);
		next = fd + 1;
	}
	syscall(SYS_close_range, next, ~0u, 0u);
}

/* All that it has. */
struct office {
	struct keeper_issuer *issuer; /* NULL: it issues no certificates */
	struct keeper_signer *signer;
	struct keeper_lender *lender;
	const char *own[3];           /* files that the lender lends to nobody */
	const char *record_path;
	struct record *record;        /* NULL: the issuer has it */
};

/* A sanitizer's runtime looks at the process, for its reports. */
static int allow_files(struct confine_files *f, const struct keeper_config *c, struct problem *why)
{
	const struct keeper_files *files = &c->files;
	const struct keeper_secrets *s = &c->secrets;

	if (SANITIZED && confine_files_path(f, "/proc", CONFINE_READ, why) < 0)
		return -1;
	if (files->cert[0] && (confine_files_file(f, files->cert, CONFINE_READ, why) < 0 || confine_files_file(f, files->key, CONFINE_READ, why) < 0))
		return -1;
	for (size_t i = 0; i < s->n; i++)
		if (confine_files_file(f, s->files[i], CONFINE_READ, why) < 0)
			return -1;
	if (s->folder[0] && confine_files_path(f, s->folder, CONFINE_READ, why) < 0)
		return -1;
	return confine_files_file(f, files->record, CONFINE_WRITE, why) < 0 ? -1 : 0;
}

static int confine_folders(const struct keeper_config *c, struct problem *why)
{
	struct confine_files *f = confine_files_new(true, why);
	int rc = f && allow_files(f, c, why) == 0 ? confine_files_enforce(f, why) : -1;

	confine_files_free(f);
	return rc < 0 ? -1 : 0;
}

static int confine(const struct keeper_config *c, struct problem *why)
{
	if (c->landlock && confine_folders(c, why) < 0)
		return -1;
	return c->seccomp ? confine_calls(CONFINE_KEEPER, why) : 0;
}

/* Becoming somebody else undoes what the broker said of itself; it is said again. */
static int become(const struct keeper_config *c, pid_t parent, struct problem *why)
{
	if (c->user[0] && confine_become(c->user, why) < 0)
		return -1;
	if (confine_process(why) < 0)
		return -1;
	if (prctl(PR_SET_PDEATHSIG, ORPHANED) != 0 || getppid() != parent)
		return problem_set(why, "the broker has ended");
	return 0;
}

/* ---- its work ---- */

static enum keeper_status reopen(struct office *o, struct problem *why)
{
	struct record *fresh = record_open(o->record_path, why);

	if (!fresh)
		return KEEPER_FAILED;
	record_close(o->record);
	o->record = fresh;
	return KEEPER_OK;
}

/* Points into o and why, until the next, or until the lender forgets. */
static void answer(struct office *o, const struct keeper_ask *a, struct keeper_answer *out, struct problem *why)
{
	*out = (struct keeper_answer){.tag = a->tag};
	if (a->kind == KEEPER_SIGN) {
		keeper_signer_answer(o->signer, a, clock_unix_ms(), clock_mono_ms(), out);
	} else if (a->kind == KEEPER_SECRET) {
		keeper_lender_answer(o->lender, a, clock_unix_ms(), clock_mono_ms(), out);
	} else if (o->issuer) {
		keeper_issuer_answer(o->issuer, a, clock_unix_ms(), clock_mono_ms(), out);
	} else {
		out->status = a->kind == KEEPER_RELOAD ? reopen(o, why) : KEEPER_REFUSED;
		out->why = a->kind == KEEPER_RELOAD ? slice_str(why->text) : SLICE_LIT("no certificates are issued here");
	}
}

/* What one line has to ask, some of it. false: it has ended, or says what the broker does not, so that it is not the broker any more. */
static bool answer_some(struct office *o, struct line *l)
{
	static uint8_t packet[KEEPER_PACKET_MAX];
	struct keeper_answer out;
	struct problem why = {""};
	struct keeper_ask ask;
	bool said;

	if (!pay(l))
		return false;
	for (int i = 0; i < TURN && !l->owed.n; i++) {
		ssize_t n = recv(l->fd, packet, sizeof packet, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0 || !keeper_get_ask(slice_of(packet, (size_t)n), &ask))
			return false;
		answer(o, &ask, &out, &why);
		said = say(l, &out);
		keeper_lender_forget(o->lender);
		if (!said)
			return false;
		if (ask.kind != KEEPER_SIGN) /* it waited for the disk: a turn of its own */
			return true;
	}
	return true;
}

/* A line that cannot be written is no reason to stop: the next one has its sum. */
static void sum_up_one(struct office *o, const char *what, struct record_count *c)
{
	struct problem why = {""};

	if ((c->given || c->refused) && record_add_count(o->issuer ? keeper_issuer_record(o->issuer) : o->record, what, c, clock_unix_ms(), &why) == 0)
		*c = (struct record_count){0};
}

static void sum_up(struct office *o)
{
	sum_up_one(o, "assertions", keeper_signer_count(o->signer));
	sum_up_one(o, "secrets", keeper_lender_count(o->lender));
}

/* The lines are the broker's own, and end with it: one that is over, or has gone wrong, ends all. */
static void answer_all(struct office *o, struct line *lines, unsigned n)
{
	struct pollfd p[KEEPER_CHANNELS_MAX];
	int64_t summed_ms = clock_mono_ms();

	while (!orphaned) {
		int ready;

		for (unsigned i = 0; i < n; i++)
			p[i] = (struct pollfd){.fd = lines[i].fd, .events = lines[i].owed.n ? POLLOUT : POLLIN};
		ready = poll(p, n, COUNT_MS);
		for (unsigned i = 0; i < n && ready > 0; i++)
			if (p[i].revents && !answer_some(o, &lines[i]))
				return;
		if (clock_mono_ms() - summed_ms >= COUNT_MS) {
			summed_ms = clock_mono_ms();
			sum_up(o);
		}
	}
}

/* ---- its beginning and end ---- */

static void office_close(struct office *o)
{
	keeper_issuer_free(o->issuer);
	keeper_signer_free(o->signer);
	keeper_lender_free(o->lender);
	record_close(o->record);
}

static int office_open(struct office *o, const struct keeper_config *c, struct problem *why)
{
	o->record_path = c->files.record;
	if (c->files.cert[0])
		o->issuer = keeper_issuer_new(&c->files, c->max_ttl_ms, why);
	else
		o->record = record_open(c->files.record, why);
	o->signer = o->issuer || o->record ? keeper_signer_new(c->assertion_key, c->assertion_issuer, why) : NULL;
	if (!o->signer)
		return -1;
	o->own[0] = c->files.key, o->own[1] = c->assertion_key, o->own[2] = c->files.record;
	o->lender = keeper_lender_new(&c->secrets, o->own, sizeof o->own / sizeof o->own[0], clock_mono_ms());
	return o->lender ? 0 : problem_set(why, "out of memory");
}

void keeper_serve(const struct keeper_config *c, const int *channels, pid_t parent)
{
	const struct keeper_ask hello = {.kind = KEEPER_RELOAD};
	struct line lines[KEEPER_CHANNELS_MAX];
	struct office o = {0};
	struct keeper_answer ready;
	struct problem why = {""};

	prctl(PR_SET_NAME, "batond-keeper");
	set_signals();
	for (unsigned i = 0; i < c->channels; i++) {
		lines[i].fd = channels[i];
		buf_init(&lines[i].owed, KEEPER_PACKET_MAX);
	}
	close_others(channels, c->channels);
	umask(077);
	if (become(c, parent, &why) < 0 || office_open(&o, c, &why) < 0 || confine(c, &why) < 0) {
		say_failed(&lines[0], &why);
		_exit(1);
	}
	answer(&o, &hello, &ready, &why); /* it can read its files still, as it must when they are replaced */
	say(&lines[0], &ready);
	if (ready.status == KEEPER_OK)
		answer_all(&o, lines, c->channels);
	sum_up(&o);
	office_close(&o);
	for (unsigned i = 0; i < c->channels; i++) {
		settle(&lines[i]);
		buf_clear(&lines[i].owed);
	}
	_exit(0);
}
