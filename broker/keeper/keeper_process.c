/* What is the keeper's life? It becomes its user, reads its files, gives up everything else that a process may do, and answers one ask after the other until
 * the broker's end of the pipe is closed. */
#include "config.h"

#include <signal.h>
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

/* Nothing of the broker's stays open here but the channel and the standard three. */
static void close_others(int channel)
{
	if (channel > 3)
		syscall(SYS_close_range, 3u, (unsigned)channel - 1, 0u);
	syscall(SYS_close_range, (unsigned)channel + 1, ~0u, 0u);
}

/* A sanitizer's runtime looks at the process, for its reports. */
static int allow_files(struct confine_files *f, const struct keeper_files *files, struct problem *why)
{
	if (SANITIZED && confine_files_path(f, "/proc", CONFINE_READ, why) < 0)
		return -1;
	return confine_files_file(f, files->cert, CONFINE_READ, why) < 0 || confine_files_file(f, files->key, CONFINE_READ, why) < 0 ||
	       confine_files_file(f, files->record, CONFINE_WRITE, why) < 0 ? -1 : 0;
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

static void answer_all(struct keeper_issuer *k, int channel)
{
	static uint8_t packet[KEEPER_PACKET_MAX];
	struct keeper_answer answer;
	struct keeper_ask ask;
	ssize_t n;

	while ((n = recv(channel, packet, sizeof packet, 0)) > 0) {
		if (!keeper_get_ask(slice_of(packet, (size_t)n), &ask))
			return; /* the broker says nothing else, so it is not the broker any more */
		keeper_issuer_answer(k, &ask, clock_unix_ms(), clock_mono_ms(), &answer);
		say(channel, &answer);
	}
}

static struct keeper_issuer *prepare(const struct keeper_config *c, pid_t parent, struct problem *why)
{
	struct keeper_issuer *k = become(c, parent, why) == 0 ? keeper_issuer_new(&c->files, c->max_ttl_ms, why) : NULL;

	if (k && confine(c, why) == 0)
		return k;
	keeper_issuer_free(k);
	return NULL;
}

void keeper_serve(const struct keeper_config *c, int channel, pid_t parent)
{
	const struct keeper_ask hello = {.kind = KEEPER_RELOAD};
	struct keeper_answer ready;
	struct problem why = {""};
	struct keeper_issuer *k;

	prctl(PR_SET_NAME, "batond-keeper");
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	close_others(channel);
	umask(077);
	k = prepare(c, parent, &why);
	if (!k) {
		say_failed(channel, &why);
		_exit(1);
	}
	keeper_issuer_answer(k, &hello, clock_unix_ms(), clock_mono_ms(), &ready); /* it can read its files still, as it must when they are replaced */
	say(channel, &ready);
	if (ready.status == KEEPER_OK)
		answer_all(k, channel);
	keeper_issuer_free(k);
	_exit(0);
}
