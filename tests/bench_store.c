/* What does a handoff cost in the store? Runs accept, lease, finish in batches against a private redis-server and prints CPU time per
 * handoff, of Redis and of this process. By hand: bench_store [handoffs per batch size] [always]. Not a test: nothing is asserted.
 * Against a Redis of your own, which is left full: bench_store HANDOFFS always|everysec URL PID REPLICAS, the last as store.replicas. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/loop.h"
#include "store/store.h"

#define BATCH_MAX 256
#define PAYLOAD 1024
#define SLOT ((struct store_slot){"acme", "bench"})

struct bench {
	struct loop *loop;
	struct store *store;
	size_t waiting, n_leased;
	uint64_t counter;
	struct store_record leased[BATCH_MAX];
	uint8_t payload[PAYLOAD];
	bool ready;
};

static void on_state(void *user, bool ok, const char *why, const char *remedy)
{
	struct bench *b = user;

	b->ready = ok;
	if (!ok)
		fprintf(stderr, "%s: %s\n", why, remedy);
	loop_stop(b->loop);
}

static void on_done(void *user, uint64_t op, const struct store_answer *a)
{
	struct bench *b = user;

	if (a->status != STORE_OK) {
		fprintf(stderr, "call %d: %s\n", (int)op, store_status_text(a->status));
		exit(1);
	}
	for (size_t i = 0; i < a->n_items; i++)
		if (b->n_leased < BATCH_MAX && a->items[i].task.n == PAYLOAD)
			b->leased[b->n_leased++] = a->items[i].record;
	if (--b->waiting == 0)
		loop_stop(b->loop);
}

static void turn(struct bench *b, size_t answers)
{
	b->waiting = answers;
	loop_run(b->loop);
}

static void accept_all(struct bench *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct store_accept r = {.slot = SLOT, .state = STATE_QUEUED, .sender = 7, .max_attempts = 3,
					 .issued_at_ms = clock_unix_ms() + 60000, .task = slice_of(b->payload, PAYLOAD)};

		b->counter++;
		handoff_id_make("acme", "bench", "sender", slice_of(&b->counter, sizeof b->counter), &r.id);
		b->store->ops->accept(b->store, &r, on_done, b, 1);
	}
	turn(b, n);
}

static void lease_all(struct bench *b, size_t n)
{
	struct store_lease l = {.slot = SLOT, .max = (uint32_t)n, .owner = 9, .lease_ms = 60000};

	b->n_leased = 0;
	while (b->n_leased < n) {
		b->store->ops->lease(b->store, &l, on_done, b, 2);
		turn(b, 1);
	}
}

static void finish_all(struct bench *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct store_finish f = {.slot = SLOT, .id = b->leased[i].id, .fence = b->leased[i].fence, .owner = 9,
					 .outcome = slice_of(b->payload, 64)};

		b->store->ops->finish(b->store, &f, on_done, b, 3);
	}
	turn(b, n);
}

/* All threads, in µs. */
static long long redis_cpu(int pid)
{
	char path[64];
	unsigned long long user = 0, sys = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) != 2)
			user = sys = 0;
		fclose(f);
	}
	return (long long)((user + sys) * 1000000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}

static long long own_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec * 1000000ll + u.ru_utime.tv_usec + u.ru_stime.tv_sec * 1000000ll + u.ru_stime.tv_usec;
}

static void measure(struct bench *b, int pid, size_t batch, size_t handoffs)
{
	long long r0 = redis_cpu(pid), o0 = own_cpu(), t0 = clock_mono_us();
	size_t n = 0;

	for (; n < handoffs; n += batch) {
		accept_all(b, batch);
		lease_all(b, batch);
		finish_all(b, batch);
	}
	printf("%3zu a call: redis %6.1f us, baton %6.1f us, wall %7.1f us a handoff\n", batch, (double)(redis_cpu(pid) - r0) / (double)n,
		(double)(own_cpu() - o0) / (double)n, (double)(clock_mono_us() - t0) / (double)n);
}

int main(int argc, char **argv)
{
	size_t handoffs = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	bool always = argc > 2 && strcmp(argv[2], "always") == 0;
	char dir[] = "/tmp/baton-bench-XXXXXX", keys[64];
	struct problem why = {""};
	struct bench b = {0};
	struct store_redis_config c = {
		.timeout_ms = 5000, .fsync_always = always, .node = "bench", .run = "bench", .on_state = on_state, .user = &b,
		.limits = {.max_waiting = 1u << 24, .max_waiting_bytes = 1ull << 40, .keep_finished_ms = 3600000},
	};
	struct redis_private *p = NULL;
	int pid = argc > 5 ? atoi(argv[4]) : 0;

	log_open(2, LOG_ERROR, false);
	if (!mkdtemp(dir))
		return 1;
	snprintf(keys, sizeof keys, "%s/keys", dir);
	if (pid) {
		c.url = argv[3];
		c.replicas = (uint32_t)atoi(argv[5]);
	} else {
		p = redis_private_new(&(struct redis_private_config){.dir = dir, .fsync_always = always}, &why);
		if (!p || redis_private_start(p, &why) != 0)
			goto out;
		c.url = redis_private_url(p);
		pid = redis_private_pid(p);
	}
	if (seal_keys_create(keys, &why) != 0 || !(c.keys = seal_keys_load(keys, &why)))
		goto out;
	b.loop = loop_new();
	b.store = store_redis_new(b.loop, &c, false, &why);
	if (!b.store)
		goto out;
	random_bytes(b.payload, sizeof b.payload);
	loop_run(b.loop);
	if (b.ready) {
		accept_all(&b, 1);
		lease_all(&b, 1);
		finish_all(&b, 1);
		measure(&b, pid, 64, handoffs);
		measure(&b, pid, 16, handoffs);
		measure(&b, pid, 1, handoffs / 5);
	}
	b.store->ops->free(b.store);
	loop_free(b.loop);
out:
	if (why.text[0])
		fprintf(stderr, "%s\n", why.text);
	redis_private_stop(p);
	fprintf(stderr, "left behind: %s\n", dir);
	return why.text[0] != '\0';
}
