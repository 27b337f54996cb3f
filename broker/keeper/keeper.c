/* Who holds the keys? See keeper.h. This is the broker's end of the pipes. */
#include "config.h"

#include "keeper/keeper.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "confine/confine.h"

#define READY_MS 10000
#define GOODBYE_MS 2000

struct keeper_channel {
	int fd;
	size_t n; /* of the packet: received last */
	uint8_t packet[KEEPER_PACKET_MAX];
};

struct keeper {
	pid_t pid;
	unsigned n;
	struct keeper_channel channels[];
};

/* The keeper's ends into `far`. */
static int open_channels(struct keeper *k, int *far, struct problem *why)
{
	int ends[2];

	for (unsigned i = 0; i < k->n; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
			return problem_set(why, "socketpair: %s", strerror(errno));
		k->channels[i].fd = ends[0];
		far[i] = ends[1];
	}
	return 0;
}

static int fork_keeper(struct keeper *k, const struct keeper_config *c, struct problem *why)
{
	int far[KEEPER_CHANNELS_MAX], rc;
	pid_t parent = getpid();

	memset(far, -1, sizeof far);
	rc = open_channels(k, far, why);
	if (rc == 0) {
		k->pid = fork();
		if (k->pid == 0)
			keeper_serve(c, far, parent);
		rc = k->pid > 0 ? 0 : problem_set(why, "fork: %s", strerror(errno));
	}
	for (unsigned i = 0; i < k->n && far[i] >= 0; i++)
		close(far[i]);
	return rc;
}

static int wait_ready(struct keeper *k, struct keeper_answer *ready, struct problem *why)
{
	struct pollfd p = {.fd = k->channels[0].fd, .events = POLLIN};
	int rc = poll(&p, 1, READY_MS) > 0 ? keeper_receive(&k->channels[0], ready) : 0;

	if (rc == 0)
		return problem_set(why, "the keeper was not ready within %d s", READY_MS / 1000);
	if (rc < 0)
		return problem_set(why, "the keeper ended at once");
	return ready->status == KEEPER_OK ? 0 : problem_set(why, "%.*s", (int)ready->why.n, (const char *)ready->why.p);
}

struct keeper *keeper_start(const struct keeper_config *c, struct keeper_answer *ready, struct problem *why)
{
	struct keeper *k = c->channels && c->channels <= KEEPER_CHANNELS_MAX ? calloc(1, sizeof *k + c->channels * sizeof k->channels[0]) : NULL;

	if (!k) {
		problem_set(why, "out of memory");
		return NULL;
	}
	k->n = c->channels;
	for (unsigned i = 0; i < k->n; i++)
		k->channels[i].fd = -1;
	if (fork_keeper(k, c, why) == 0 && confine_give_up_becoming(why) == 0 && wait_ready(k, ready, why) == 0)
		return k;
	keeper_stop(k);
	return NULL;
}

struct keeper_channel *keeper_channel(struct keeper *k, unsigned i)
{
	return &k->channels[i];
}

int keeper_fd(const struct keeper_channel *c)
{
	return c->fd;
}

pid_t keeper_pid(const struct keeper *k)
{
	return k->pid;
}

int keeper_send(struct keeper_channel *c, struct slice packet)
{
	ssize_t n;

	do
		n = send(c->fd, packet.p, packet.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
		return 0;
	return n == (ssize_t)packet.n ? 1 : -1;
}

/* What is no packet is taken for its end: the keeper is ours, and says nothing else. */
int keeper_receive(struct keeper_channel *c, struct keeper_answer *out)
{
	ssize_t n = recv(c->fd, c->packet, sizeof c->packet, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	c->n = n > 0 ? (size_t)n : 0;
	return n > 0 && keeper_get_answer(slice_of(c->packet, (size_t)n), out) ? 1 : -1;
}

void keeper_forget(struct keeper_channel *c)
{
	secret_wipe(c->packet, c->n);
	c->n = 0;
}

static void wait_for(pid_t pid, int64_t ms)
{
	const struct timespec step = {0, 10000000};
	int64_t until = clock_mono_ms() + ms;

	while (waitpid(pid, NULL, WNOHANG) == 0 && clock_mono_ms() < until)
		nanosleep(&step, NULL);
}

void keeper_stop(struct keeper *k)
{
	if (!k)
		return;
	for (unsigned i = 0; i < k->n; i++)
		if (k->channels[i].fd >= 0)
			close(k->channels[i].fd); /* it ends with the first */
	if (k->pid > 0)
		wait_for(k->pid, GOODBYE_MS); /* one that is stopped ends when it goes on: its channel has ended */
	free(k);
}
