/* Who holds the key of the issuing CA? See keeper.h. This is the broker's end of the pipe. */
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
#include "confine/confine.h"

#define READY_MS 10000
#define GOODBYE_MS 2000

struct keeper {
	pid_t pid;
	int channel;
	uint8_t packet[KEEPER_PACKET_MAX];
};

static int fork_keeper(struct keeper *k, const struct keeper_config *c, struct problem *why)
{
	pid_t parent = getpid();
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return problem_set(why, "socketpair: %s", strerror(errno));
	k->pid = fork();
	if (k->pid == 0)
		keeper_serve(c, ends[1], parent);
	close(ends[1]);
	k->channel = ends[0];
	return k->pid > 0 ? 0 : problem_set(why, "fork: %s", strerror(errno));
}

static int wait_ready(struct keeper *k, struct keeper_answer *ready, struct problem *why)
{
	struct pollfd p = {.fd = k->channel, .events = POLLIN};
	int rc = poll(&p, 1, READY_MS) > 0 ? keeper_receive(k, ready) : 0;

	if (rc == 0)
		return problem_set(why, "the keeper was not ready within %d s", READY_MS / 1000);
	if (rc < 0)
		return problem_set(why, "the keeper ended at once");
	return ready->status == KEEPER_OK ? 0 : problem_set(why, "%.*s", (int)ready->why.n, (const char *)ready->why.p);
}

struct keeper *keeper_start(const struct keeper_config *c, struct keeper_answer *ready, struct problem *why)
{
	struct keeper *k = calloc(1, sizeof *k);

	if (!k) {
		problem_set(why, "out of memory");
		return NULL;
	}
	k->channel = -1;
	if (fork_keeper(k, c, why) == 0 && confine_give_up_becoming(why) == 0 && wait_ready(k, ready, why) == 0)
		return k;
	keeper_stop(k);
	return NULL;
}

int keeper_fd(const struct keeper *k)
{
	return k->channel;
}

pid_t keeper_pid(const struct keeper *k)
{
	return k->pid;
}

bool keeper_send(struct keeper *k, const struct keeper_ask *a)
{
	struct buf b;
	bool sent;

	buf_init(&b, KEEPER_PACKET_MAX);
	sent = keeper_put_ask(&b, a) && send(k->channel, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)b.n;
	buf_clear(&b);
	return sent;
}

/* What is no packet is taken for its end: the keeper is ours, and says nothing else. */
int keeper_receive(struct keeper *k, struct keeper_answer *out)
{
	ssize_t n = recv(k->channel, k->packet, sizeof k->packet, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n > 0 && keeper_get_answer(slice_of(k->packet, (size_t)n), out) ? 1 : -1;
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
	if (k->channel >= 0)
		close(k->channel); /* it ends with that */
	if (k->pid > 0)
		wait_for(k->pid, GOODBYE_MS); /* one that is stopped ends when it goes on: its channel has ended */
	free(k);
}
