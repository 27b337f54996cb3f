/* What is the keeper's life? It becomes its user, reads its files, gives up everything else that a process may do, and answers one ask after the other until
 * the broker's end of the first pipe is closed. */
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

#define TURN 64            /* asks of one channel, before the next one's */
#define COUNT_MS 60000     /* what was signed is summed up so often */

/* What a keyboard or a process group sends is the broker's to answer. */
static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

static void say(int channel, const struct keeper_answer *a)
{
	struct buf b;

	buf_init(&b, KEEPER_PACKET_MAX);
	if (keeper_put_answer(&b, a))
		send(channel, b.p, b.n, MSG_NOSIGNAL);
	buf_clear(&b);
}

static void say_failed(int channel, const struct problem *why)
{
	const struct keeper_answer a = {.status = KEEPER_FAILED, .why = slice_str(why->text)};

	say(channel, &a);
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
	const char *record_path;
	struct record *record;        /* NULL: the issuer has it */
};

/* A sanitizer's runtime looks at the process, for its reports. */
static int allow_files(struct confine_files *f, const struct keeper_files *files, struct problem *why)
{
	if (SANITIZED && confine_files_path(f, "/proc", CONFINE_READ, why) < 0)
		return -1;
	if (files->cert[0] && (confine_files_file(f, files->cert, CONFINE_READ, why) < 0 || confine_files_file(f, files->key, CONFINE_READ, why) < 0))
		return -1;
	return confine_files_file(f, files->record, CONFINE_WRITE, why) < 0 ? -1 : 0;
}

static int confine_folders(const struct keeper_files *files, struct problem *why)
{
	struct confine_files *f = confine_files_new(true, why);
	int rc = f && allow_files(f, files, why) == 0 ? confine_files_enforce(f, why) : -1;

	confine_files_free(f);
	return rc < 0 ? -1 : 0;
}

static int confine(const struct keeper_config *c, struct problem *why)
{
	if (c->landlock && confine_folders(&c->files, why) < 0)
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
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
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

/* Points into o and why, until the next. */
static void answer(struct office *o, const struct keeper_ask *a, struct keeper_answer *out, struct problem *why)
{
	*out = (struct keeper_answer){.tag = a->tag};
	if (a->kind == KEEPER_SIGN) {
		keeper_signer_answer(o->signer, a, clock_unix_ms(), clock_mono_ms(), out);
	} else if (o->issuer) {
		keeper_issuer_answer(o->issuer, a, clock_unix_ms(), clock_mono_ms(), out);
	} else {
		out->status = a->kind == KEEPER_RELOAD ? reopen(o, why) : KEEPER_REFUSED;
		out->why = a->kind == KEEPER_RELOAD ? slice_str(why->text) : SLICE_LIT("no certificates are issued here");
	}
}

/* What one channel has to ask, some of it. false: it has ended, or says what the broker does not, so that it is not the broker any more. */
static bool answer_some(struct office *o, int channel)
{
	static uint8_t packet[KEEPER_PACKET_MAX];
	struct keeper_answer out;
	struct problem why = {""};
	struct keeper_ask ask;

	for (int i = 0; i < TURN; i++) {
		ssize_t n = recv(channel, packet, sizeof packet, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0 || !keeper_get_ask(slice_of(packet, (size_t)n), &ask))
			return false;
		answer(o, &ask, &out, &why);
		say(channel, &out);
	}
	return true;
}

/* A line that cannot be written is no reason to stop: the next one has its sum. */
static void sum_up(struct office *o)
{
	struct record_count *c = keeper_signer_count(o->signer);
	struct problem why = {""};

	if ((c->given || c->refused) && record_add_count(o->issuer ? keeper_issuer_record(o->issuer) : o->record, c, clock_unix_ms(), &why) == 0)
		*c = (struct record_count){0};
}

static void answer_all(struct office *o, const int *channels, unsigned n)
{
	struct pollfd p[KEEPER_CHANNELS_MAX];
	int64_t summed_ms = clock_mono_ms();

	for (unsigned i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = channels[i], .events = POLLIN};
	while (true) {
		int ready = poll(p, n, COUNT_MS);

		for (unsigned i = 0; i < n && ready > 0; i++) {
			if (!p[i].revents || answer_some(o, channels[i]))
				continue;
			if (i == 0)
				return;
			p[i].fd = -1;
		}
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
	return o->signer ? 0 : -1;
}

void keeper_serve(const struct keeper_config *c, const int *channels, pid_t parent)
{
	const struct keeper_ask hello = {.kind = KEEPER_RELOAD};
	struct office o = {0};
	struct keeper_answer ready;
	struct problem why = {""};

	prctl(PR_SET_NAME, "batond-keeper");
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	close_others(channels, c->channels);
	umask(077);
	if (become(c, parent, &why) < 0 || office_open(&o, c, &why) < 0 || confine(c, &why) < 0) {
		say_failed(channels[0], &why);
		_exit(1);
	}
	answer(&o, &hello, &ready, &why); /* it can read its files still, as it must when they are replaced */
	say(channels[0], &ready);
	if (ready.status == KEEPER_OK)
		answer_all(&o, channels, c->channels);
	sum_up(&o);
	office_close(&o);
	_exit(0);
}
