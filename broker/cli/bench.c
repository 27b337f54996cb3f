/* What does a durable cycle cost? Against a broker of its own, in a folder that is removed afterwards, or against
 * one that was named; servers' processor time is read from /proc where the broker is a dev set-up's. */
#include "config.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/cpu.h"
#include "cli/devproc.h"
#include "cli/devset.h"
#include "cli/load.h"
#include "client/creds.h"

#define READY_MS 30000
#define STOP_MS 30000
#define DEFAULT_CYCLES 20000
#define OWN_IN_FLIGHT 1000
#define OPEN_WINDOW 1000 /* with --rate: more than that under way, and the broker does not keep up */

struct bench {
	struct cli *c;
	struct devset set;
	bool own;              /* the set-up is ours: stop and remove it */
	pid_t batond;          /* 0 = not known: no processor times */
	struct client_creds *sender, *server;
	char token[8193];
	char addr[300];
	const char *fsync;
	struct cpu_times before, after;
	bool have_cpu;
};

static volatile sig_atomic_t interrupted; /* a signal handler has no other place to write to */

static void on_interrupt(int sig)
{
	interrupted = 1;
}

static void mark(void *user, bool begins)
{
	struct bench *b = user;

	if (!b->batond)
		return;
	b->have_cpu = cpu_read(b->batond, begins ? &b->before : &b->after) && (begins || b->have_cpu);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int own_broker(struct bench *b)
{
	const char *tmp = getenv("TMPDIR");
	struct problem why = {""};
	char dir[128];

	snprintf(dir, sizeof dir, "%.90s/baton-bench.XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
	if (!mkdtemp(dir))
		return complain(b->c, EXIT_CONFIG, "no temporary folder can be made", dir, "Is TMPDIR writable?");
	b->own = true;
	if (devset_init(&b->set, dir, &why))
		return complain(b->c, EXIT_CONFIG, why.text, NULL, NULL);
	b->set.fsync = b->c->args.text[OPT_FSYNC];
	b->set.only_reads = true;
	b->set.assertion = b->c->args.text[OPT_ASSERTION];
	b->set.workers = (int)b->c->args.number[OPT_WORKERS];
	b->set.max_in_flight = OWN_IN_FLIGHT;
	if (devset_make(&b->set, clock_unix_ms(), &why))
		return complain(b->c, EXIT_CONFIG, why.text, NULL, NULL);
	b->batond = devproc_start(&b->set, true, &why);
	if (b->batond < 0) {
		b->batond = 0;
		return complain(b->c, EXIT_MISSING, why.text, NULL, NULL);
	}
	if (devproc_wait_ready(&b->set, b->batond, READY_MS, &why))
		return complain(b->c, EXIT_UNREACHABLE, why.text, NULL, NULL);
	return 0;
}

/* Sender and server of a dev set-up: env.planner and env.worker. */
static int set_identities(struct bench *b)
{
	struct settings sender = {.addr = ""}, server = {.addr = ""};
	struct problem why = {""};
	struct client_error fault = {.fault = CLIENT_FINE};
	int code;

	if (settings_read_env(&sender, b->set.dir, "planner", &why) || settings_read_env(&server, b->set.dir, "worker", &why))
		return complain(b->c, EXIT_MISSING, why.text, NULL, "The set-up is made by: baton dev up");
	b->c->set = sender;
	b->c->args.given[OPT_TOKEN_FILE] = true; /* the set-up's token, whatever BATON_TOKEN says */
	if ((code = settings_token(b->c)))
		return code;
	b->sender = client_creds_load(sender.ca, sender.cert, sender.key, &fault);
	b->server = b->sender ? client_creds_load(server.ca, server.cert, server.key, &fault) : NULL;
	return b->server ? 0 : complain_client(b->c, &fault);
}

/* A broker named by flags or environment: one identity that may call and serve the route. */
static int named_broker(struct bench *b)
{
	struct client_error fault = {.fault = CLIENT_FINE};
	int code = settings_resolve(b->c);

	if (code || (code = settings_token(b->c)))
		return code;
	b->sender = client_creds_load(b->c->set.ca, b->c->set.cert, b->c->set.key, &fault);
	return b->sender ? 0 : complain_client(b->c, &fault);
}

/* What the set-up's configuration says. */
static const char *configured_fsync(const struct devset *d)
{
	char path[DEVSET_PATH + 32];
	uint8_t *text = NULL;
	size_t n = 0;
	bool everysec;

	snprintf(path, sizeof path, "%s/baton.yaml", d->dir);
	if (file_read(path, 65536, &text, &n, NULL))
		return "unknown";
	everysec = strstr((const char *)text, "fsync: everysec") != NULL;
	free(text);
	return everysec ? "everysec" : "always";
}

static int choose(struct bench *b)
{
	struct cli *c = b->c;
	struct problem why = {""};
	int code;

	if (c->args.given[OPT_DIR] && !c->args.given[OPT_ADDR]) {
		if (devset_init(&b->set, c->args.text[OPT_DIR], &why))
			return complain(c, EXIT_USAGE, why.text, NULL, NULL);
		b->fsync = configured_fsync(&b->set);
		if (!devset_exists(&b->set))
			return settings_no_dev(c, b->set.dir);
		b->batond = devproc_running(&b->set);
		return b->batond ? set_identities(b) : complain(c, EXIT_UNREACHABLE, "no batond runs there", b->set.dir,
			"baton dev up");
	}
	if (c->args.text[OPT_ADDR])
		return named_broker(b);
	b->fsync = c->args.text[OPT_FSYNC];
	code = own_broker(b);
	return code ? code : set_identities(b);
}

static void print(const struct bench *b, const struct load_result *r, double rate, double broker_us, double redis_us)
{
	const struct cli *c = b->c;

	if (cli_output(c) == OUTPUT_NAME) {
		fprintf(c->out, "%.0f\n", rate);
		return;
	}
	if (cli_json(c)) {
		fprintf(c->out,
			"{\"cycles\":%lld,\"rate_per_s\":%.0f,\"p50_us\":%lld,\"p99_us\":%lld,\"p999_us\":%lld,\"batond_us_per_cycle\":%.2f,"
			"\"redis_us_per_cycle\":%.2f,\"fsync\":\"%s\",\"lost\":%lld,\"duplicated\":%lld,\"rate_asked\":%lld}\n",
			(long long)r->cycles, rate, (long long)r->p50_us, (long long)r->p99_us, (long long)r->p999_us, broker_us, redis_us,
				b->fsync,
			(long long)r->lost, (long long)r->duplicated, (long long)c->args.number[OPT_RATE]);
		return;
	}
	fprintf(c->out,
		"cycles      %lld (submit, store, deliver, complete, settle), fsync %s\n"
		"rate        %.0f / s\n"
		"latency     p50 %lld us, p99 %lld us, p99.9 %lld us\n",
		(long long)r->cycles, b->fsync, rate, (long long)r->p50_us, (long long)r->p99_us, (long long)r->p999_us);
	if (b->have_cpu)
		fprintf(c->out, "processor   batond %.2f us, redis %.2f us, together %.2f us a cycle\n", broker_us, redis_us,
			broker_us + redis_us);
	fprintf(c->out, "lost        %lld\nduplicated  %lld\n", (long long)r->lost, (long long)r->duplicated);
}

static int measure(struct bench *b)
{
	const struct args *a = &b->c->args;
	struct problem why = {""};
	struct load_result r;
	struct load_options o = {
		.addr = b->c->set.addr, .sender = b->sender, .server = b->server ? b->server : b->sender, .token = b->c->token,
		.route = a->text[OPT_BENCH_ROUTE], .tool = a->text[OPT_BENCH_TOOL], .unary = a->number[OPT_MODE] == 1,
		.publishers = a->number[OPT_PUBLISHERS], .subscribers = a->number[OPT_SUBSCRIBERS], .window = a->number[OPT_WINDOW], .rate = a->number[OPT_RATE],
		.payload = a->number[OPT_PAYLOAD_BYTES], .warmup = a->number[OPT_WARMUP], .mark = mark, .user = b,
			.stop = &interrupted,
	};
	double cycles;

	if (o.rate && !a->given[OPT_WINDOW])
		o.window = OPEN_WINDOW;
	o.measure_ms = a->given[OPT_SECONDS] ? a->number[OPT_SECONDS] * 1000 : 0;
	o.cycles = a->given[OPT_SECONDS] ? 0 : a->given[OPT_CYCLES] ? a->number[OPT_CYCLES] : DEFAULT_CYCLES;
	if (load_run(&o, &r, &why))
		return complain(b->c, interrupted ? EXIT_INTERRUPTED : EXIT_NO, why.text, NULL, NULL);
	cycles = r.cycles > 0 ? (double)r.cycles : 1;
	print(b, &r, r.elapsed_us > 0 ? cycles * 1e6 / (double)r.elapsed_us : 0,
	      b->have_cpu ? (double)(b->after.broker_ns - b->before.broker_ns) / cycles / 1000 : 0,
	      b->have_cpu ? (double)(b->after.redis_ns - b->before.redis_ns) / cycles / 1000 : 0);
	return r.lost || r.duplicated ? EXIT_NO : EXIT_YES;
}

int cmd_bench(struct cli *c)
{
	struct bench b = {.c = c, .fsync = "unknown"};
	struct sigaction sa = {.sa_handler = on_interrupt};
	int code;

	if (c->args.given[OPT_SECONDS] && c->args.given[OPT_CYCLES])
		return complain_usage(c, "--cycles or --seconds, not both");
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	code = choose(&b);
	if (!code)
		code = measure(&b);
	if (b.own && b.batond)
		devproc_stop(&b.set, b.batond, STOP_MS, NULL);
	if (b.own && b.set.dir[0])
		nftw(b.set.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	client_creds_free(b.sender);
	client_creds_free(b.server);
	return code;
}
