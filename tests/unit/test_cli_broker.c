/* Do the commands do their work with a broker: send, run, get, watch, list, cancel, whoami, doctor, serve, bench?
 * Against the stand-in of fake_broker.c; a serving command runs in a child process, as it does in life. */
#include "config.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/devset.h"
#include "fake_broker.h"

struct fixture {
	struct devset d;
	struct fake *fake;
};

struct ran {
	int code;
	char *out, *err;
};

#define RUN(...) run((char *const[]){__VA_ARGS__, NULL})
static struct ran run(char *const *argv)
{
	struct ran o = {0};
	size_t n, m;
	FILE *out = open_memstream(&o.out, &n), *err = open_memstream(&o.err, &m);

	o.code = cli_run(argv, out, err);
	fclose(out);
	fclose(err);
	return o;
}

static void expect(struct ran o, int code, const char *out, const char *err)
{
	if (o.code != code || (out && !strstr(o.out, out)) || (err && !strstr(o.err, err)))
		print_message("code %d\nout: %s\nerr: %s\n", o.code, o.out, o.err);
	assert_int_equal(o.code, code);
	if (out)
		assert_non_null(strstr(o.out, out));
	if (err)
		assert_non_null(strstr(o.err, err));
	free(o.out);
	free(o.err);
}

#define HANDOFF(verb, route, ...)                                                                                      \
	RUN((char *)"handoff", (char *)(verb), (char *)"--route", (char *)(route), (char *)"--tool",                   \
	    (char *)"orders.lookup", __VA_ARGS__)
#define SEND(route, ...) HANDOFF("send", route, __VA_ARGS__)
#define FOLLOW(route, ...) HANDOFF("run", route, __VA_ARGS__)

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int setup(void **state)
{
	static const char *const names[] = {"BATON_ADDR", "BATON_CA", "BATON_CERT", "BATON_KEY", "BATON_TOKEN",
		"BATON_TOKEN_FILE",
					    "BATON_TIMEOUT", "BATON_OUTPUT", "BATON_METRICS", "BATON_DEV_DIR", "TRACEPARENT"};
	struct fixture *f = calloc(1, sizeof *f);
	struct problem why = {""};
	char dir[] = "/tmp/baton-clitest.XXXXXX";
	char cert[DEVSET_PATH + 64], key[DEVSET_PATH + 64], ca[DEVSET_PATH + 64];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		unsetenv(names[i]);
	signal(SIGPIPE, SIG_IGN);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(devset_init(&f->d, dir, &why), 0);
	assert_int_equal(devset_make(&f->d, clock_unix_ms(), &why), 0);
	snprintf(cert, sizeof cert, "%s/tls/server.pem", f->d.dir);
	snprintf(key, sizeof key, "%s/tls/server.key", f->d.dir);
	snprintf(ca, sizeof ca, "%s/ca.pem", f->d.dir);
	f->fake = fake_start(&(struct fake_options){.cert = cert, .key = key, .ca = ca, .port = f->d.agents_port});
	setenv("BATON_DEV_DIR", f->d.dir, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_stop(f->fake);
	nftw(f->d.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* `baton serve --as worker -q <options> -- sh -c <script>` in a process of its own: this program again, as baton
 * (main() below). */
static pid_t serve(const char *script, const char *option, const char *value)
{
	const char *argv[16] = {"baton", "serve", "--as", "worker", "-q", "--route", "any", option};
	size_t n = 8;
	pid_t pid;

	if (value)
		argv[n++] = value;
	argv[n++] = "--";
	argv[n++] = "sh";
	argv[n++] = "-c";
	argv[n++] = script;
	pid = fork();
	if (pid == 0) {
		execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
		_exit(126);
	}
	return pid;
}

static int wait_exit(pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void wait_for(int (*what)(const struct fake *), const struct fake *f, int n)
{
	int64_t deadline = clock_mono_ms() + 20000;

	while (what(f) < n && clock_mono_ms() < deadline)
		usleep(5000);
	assert_true(what(f) >= n);
}

static void whoami_shows_the_agent(void **state)
{
	expect(RUN((char *)"whoami"), EXIT_YES, "agent:        planner", NULL);
	expect(RUN((char *)"whoami", (char *)"--addr", (char *)"127.0.0.1:0"), EXIT_USAGE, NULL, "the port is 1 to 65535");
	expect(RUN((char *)"whoami", (char *)"-o", (char *)"json"), EXIT_YES, "\"reason\":\"allowed\"", NULL);
	expect(RUN((char *)"whoami", (char *)"-v"), EXIT_YES, NULL, "TLSv1.3");
	expect(RUN((char *)"whoami", (char *)"-o", (char *)"name"), EXIT_YES, "planner\n", NULL);
}

static void send_prints_a_receipt(void **state)
{
	expect(SEND("any", (char *)"--payload", (char *)"{}"), EXIT_YES, "ID  STATE   DUPLICATE  TRACE", NULL);
	expect(SEND("any", (char *)"-o", (char *)"name"), EXIT_YES, "h2\n", NULL);
	expect(SEND("any", (char *)"-q", (char *)"--utc"), EXIT_YES, "h3\n", NULL);
	expect(SEND("any", (char *)"--dry-run"), EXIT_YES, "OUTCOME      REASON       POLICY  TRACE\n", NULL);
	expect(SEND("any", (char *)"-o", (char *)"json", (char *)"--label", (char *)"k=v"), EXIT_YES, "\"handoff_id\":\"h5\"",
		NULL);
	expect(SEND("any", (char *)"--label", (char *)"kv"), EXIT_USAGE, NULL, "not K=V");
	expect(SEND("any", (char *)"--payload", (char *)"@/nonexistent"), EXIT_MISSING, NULL, NULL);
	expect(RUN((char *)"handoff", (char *)"send"), EXIT_USAGE, NULL, "--route and --tool");
}

static void a_denial_says_reason_policy_and_trace(void **state)
{
	expect(SEND("deny", (char *)"-q"), EXIT_DENIED, NULL,
	       "denied: missing_scope\n    refunds:draft is needed \xE2\x80\x94 here\n"
	       "    Ask https://dev.baton.invalid for that scope.\n    Again in 250 ms.\n"
	       "    policy sha256:3f0a91c2b7de4410  trace 4bf92f3577b34da6a3ce929d0e0e4736\n");
	expect(FOLLOW("deny", (char *)"-q"), EXIT_DENIED, NULL, "denied: missing_scope");
}

static void a_store_that_is_away_is_told_to_each_call(void **state)
{
	expect(SEND("away", (char *)"-q"), EXIT_AGAIN, NULL, "    The outcome is unknown. The same bytes are accepted once: "
		"--envelope-file keeps them, --replay sends them again.\n");
	expect(FOLLOW("away", (char *)"-q"), EXIT_AGAIN, NULL, "The outcome is unknown.");
	expect(RUN((char *)"handoff", (char *)"get", (char *)"away"), EXIT_AGAIN, NULL,
		"try again: store_unavailable\n    the store did not answer\n    baton doctor says how the store is.\n");
}

static void silence_and_goaway_have_their_codes(void **state)
{
	expect(SEND("silent", (char *)"--timeout", (char *)"200ms"), EXIT_AGAIN, NULL, "no answer in time");
	expect(FOLLOW("silent", (char *)"--timeout", (char *)"200ms"), EXIT_AGAIN, NULL, "no answer in time");
	expect(SEND("goaway", (char *)"-q"), EXIT_UNREACHABLE, NULL, NULL);
	expect(RUN((char *)"whoami", (char *)"--addr", (char *)"127.0.0.1:1"), EXIT_UNREACHABLE, NULL, "Connection refused");
}

static void the_same_bytes_can_be_sent_again(void **state)
{
	struct fixture *f = *state;
	char file[DEVSET_PATH + 32], *again = file;
	struct stat st;
	uint8_t *bytes = NULL;
	size_t n = 0;

	snprintf(file, sizeof file, "%s/envelope", f->d.dir);
	expect(SEND("any", (char *)"--envelope-file", file, (char *)"--nonce", (char *)"0123456789abcdef"), EXIT_YES, NULL,
		NULL);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_read(file, 4096, &bytes, &n, NULL), 0);
	assert_non_null(memmem(bytes, n, "0123456789abcdef", 16));
	free(bytes);
	expect(RUN((char *)"handoff", (char *)"send", (char *)"--replay", again, (char *)"-o", (char *)"name"), EXIT_YES, "h2",
		NULL);
	expect(RUN((char *)"handoff", (char *)"send", (char *)"--replay", again, (char *)"--route", (char *)"x"), EXIT_USAGE,
		NULL, "as they are");
	expect(RUN((char *)"handoff", (char *)"send", (char *)"--replay", (char *)"/nonexistent"), EXIT_MISSING, NULL, NULL);
}

static void a_store_that_has_just_begun_is_waited_for(void **state)
{
	expect(SEND("young", (char *)"-v"), EXIT_YES, NULL, "stamping anew");
}

static void run_waits_for_it_too(void **state)
{
	pid_t pid = serve("echo done", "--once", NULL);

	expect(FOLLOW("young", (char *)"-q"), EXIT_YES, "done\n", NULL);
	assert_int_equal(wait_exit(pid), 0);
}

static void other_stale_envelopes_are_denied(void **state)
{
	expect(SEND("young", (char *)"--nonce", (char *)"0123456789abcdef"), EXIT_DENIED, NULL, "denied: stale_envelope");
	expect(SEND("skewed", (char *)"-q"), EXIT_DENIED, NULL, "Set this machine's clock.");
}

static void lists_and_single_ones_are_shown(void **state)
{
	expect(SEND("any", (char *)"-q"), EXIT_YES, NULL, NULL);
	expect(RUN((char *)"handoff", (char *)"list"), EXIT_YES,
		"ID  STATE   ROUTE  TOOL           SENDER   ASSIGNEE  TRY  AGE\nh1", NULL);
	expect(RUN((char *)"handoff", (char *)"list", (char *)"-o", (char *)"json"), EXIT_YES, "[{\"handoff_id\":\"h1\"",
		NULL);
	expect(RUN((char *)"handoff", (char *)"list", (char *)"--no-headers", (char *)"-o", (char *)"wide"), EXIT_YES, "h1",
		NULL);
	expect(RUN((char *)"handoff", (char *)"get", (char *)"h1"), EXIT_YES, "EVENTS", NULL);
	expect(RUN((char *)"handoff", (char *)"get", (char *)"h1", (char *)"-o", (char *)"json"), EXIT_YES,
		"\"route\":\"any\"", NULL);
	expect(RUN((char *)"handoff", (char *)"get", (char *)"nope"), EXIT_NO, NULL, "not_found");
	expect(RUN((char *)"handoff", (char *)"get", (char *)"h1", (char *)"--envelope"), EXIT_YES, "ENVELOPE\nnonce:", NULL);
	expect(RUN((char *)"handoff", (char *)"cancel", (char *)"h1"), EXIT_YES, "h1 cancelled", NULL);
}

static void envelopes_are_shown_field_by_field(void **state)
{
	static const char *const shown[] = {"nonce:         0123456789abcdef\n", "side effect:   draft\n", "idempotency:   k-1\n",
		"destination:   api.example.com\n", "scopes:        a:b c\n", "trust:         user\n", "priority:      7\n", "issued:        ",
		"deadline:      ", "label:         k=v\n", "content type:  text/plain\n", "payload:       hello\n"};

	expect(SEND("any", (char *)"--nonce", (char *)"0123456789abcdef", (char *)"--side-effect", (char *)"draft",
		    (char *)"--idempotency-key", (char *)"k-1", (char *)"--destination", (char *)"api.example.com", (char *)"--scope",
		    (char *)"a:b", (char *)"--scope", (char *)"c", (char *)"--trust", (char *)"user", (char *)"--priority", (char *)"7",
		    (char *)"--deadline", (char *)"1h", (char *)"--label", (char *)"k=v", (char *)"--content-type", (char *)"text/plain",
		    (char *)"--payload", (char *)"hello"), EXIT_YES, NULL, NULL);
	for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
		expect(RUN((char *)"handoff", (char *)"get", (char *)"h1", (char *)"--envelope"), EXIT_YES, shown[i], NULL);
}

static void what_is_over_is_not_cancelled(void **state)
{
	pid_t pid = serve("echo done", "--once", NULL);

	expect(FOLLOW("any", (char *)"-q"), EXIT_YES, "done\n", NULL);
	assert_int_equal(wait_exit(pid), 0);
	expect(RUN((char *)"handoff", (char *)"cancel", (char *)"h1"), EXIT_NO, "h1 completed",
		"not cancelled: h1 had already ended as completed");
}

/* `-q` gives the result to the byte; rows end in a line's end. */
static void results_are_not_touched(void **state)
{
	pid_t pid = serve("printf x", "--count", "2");
	struct ran o = FOLLOW("any", (char *)"-q");

	assert_int_equal(o.code, EXIT_YES);
	assert_string_equal(o.out, "x");
	expect(o, EXIT_YES, NULL, NULL);
	expect(FOLLOW("any", (char *)"--utc"), EXIT_YES, "\nx\n", NULL);
	assert_int_equal(wait_exit(pid), 0);
}

#define NAMED " trace 4bf92f3577b34da6a3ce929d0e0e4736\n"
static void runs_and_watches_say_what_they_are_called(void **state)
{
	pid_t pid = serve("echo out of stock >&2; exit 3", "--count", "2");

	expect(FOLLOW("any", (char *)"--utc"), EXIT_NO, "TIME", "handoff h1" NAMED);
	expect(FOLLOW("any", (char *)"-q"), EXIT_NO, "", "failed: exit_3|out of stock\n    handoff h2 " NAMED);
	assert_int_equal(wait_exit(pid), 0);
	expect(RUN((char *)"handoff", (char *)"watch", (char *)"h1"), EXIT_YES, "completed", "handoff h1" NAMED);
	expect(RUN((char *)"handoff", (char *)"watch", (char *)"h1", (char *)"-o", (char *)"json"), EXIT_YES,
		"{\"handoff_id\":\"h1\",\"state\":\"completed\",", NULL);
	expect(RUN((char *)"handoff", (char *)"watch", (char *)"h1", (char *)"-o", (char *)"jsonl"), EXIT_YES,
		"{\"handoff_id\":\"h1\",\"cursor\":1,", NULL);
}

/* baton with argv in a process of its own, standard error in a file. */
static pid_t start(const char *const *argv, const char *errors)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (!freopen(errors, "w", stderr) || !freopen("/dev/null", "w", stdout))
			_exit(125);
		execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
		_exit(126);
	}
	return pid;
}

static void an_interrupt_leaves_it_in_force(void **state)
{
	struct fixture *f = *state;
	char errors[DEVSET_PATH + 32];
	const char *argv[] = {"baton", "handoff", "run", "--route", "any", "--tool", "orders.lookup", NULL};
	uint8_t *text = NULL;
	size_t n = 0;
	pid_t pid;

	snprintf(errors, sizeof errors, "%s/errors", f->d.dir);
	pid = start(argv, errors);
	for (int i = 0; i < 2000 && !(text && strstr((char *)text, "trace")); i++) {
		usleep(5000);
		free(text);
		text = NULL;
		file_read(errors, 4096, &text, &n, NULL);
	}
	free(text);
	kill(pid, SIGINT);
	assert_int_equal(wait_exit(pid), EXIT_INTERRUPTED);
	assert_int_equal(file_read(errors, 4096, &text, &n, NULL), 0);
	assert_string_equal(text, "handoff h1" NAMED "left in force: baton handoff watch h1\n");
	free(text);
}

static void run_follows_to_the_result(void **state)
{
	struct fixture *f = *state;
	pid_t pid = serve("cat", "--once", NULL);

	expect(FOLLOW("any", (char *)"--payload", (char *)"{\"order\":\"A-1\"}", (char *)"-q"), EXIT_YES,
		"{\"order\":\"A-1\"}", NULL);
	assert_int_equal(wait_exit(pid), 0);
	assert_int_equal(fake_settled(f->fake), 1);
	expect(RUN((char *)"handoff", (char *)"watch", (char *)"h1"), EXIT_YES, "completed", NULL);
}

static void run_in_json_is_one_object(void **state)
{
	pid_t pid = serve("echo done", "--count", "2");

	expect(FOLLOW("any", (char *)"-o", (char *)"json"), EXIT_YES,
	       "{\"handoff_id\":\"h1\",\"state\":\"completed\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"result\":{\"payload\":\"done\\n\"", NULL);
	expect(FOLLOW("any", (char *)"--utc"), EXIT_YES, "TIME             #  STATE           TRY  DETAIL", NULL);
	assert_int_equal(wait_exit(pid), 0);
}

static void the_command_gets_a_clean_environment(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	setenv("LEAK", "secret", 1);
	pid = serve("echo \"$BATON_HANDOFF_ID $BATON_ROUTE $BATON_TOOL $BATON_ATTEMPT $BATON_FENCE $BATON_SUBJECT $BATON_TENANT "
		    "$BATON_SENDER [$BATON_SCOPES] [$LEAK$HOME] $(cat $BATON_ASSERTION_FILE) $(stat -c %a $BATON_ASSERTION_FILE) "
		    "${TRACEPARENT%%-00f067aa0ba902b7-01}\"", "--once", NULL);
	unsetenv("LEAK");
	expect(SEND("any", (char *)"-q"), EXIT_YES, NULL, NULL);
	assert_int_equal(wait_exit(pid), 0);
	assert_string_equal(fake_last_result(f->fake),
		"h1 any orders.lookup 1 1 user:ana acme planner [orders:read refunds:draft] [] "
						       "an-assertion 600 00-4bf92f3577b34da6a3ce929d0e0e4736\n");
}

static void exit_codes_become_reports(void **state)
{
	struct fixture *f = *state;
	pid_t pid = serve("echo first >&2; echo 'bad order Bearer abcdefghijklmnop' >&2; exit 3", "--once", NULL);

	expect(FOLLOW("any", (char *)"-q"), EXIT_NO, NULL, NULL);
	assert_int_equal(wait_exit(pid), 0);
	assert_non_null(strstr(fake_last_result(f->fake), "exit_3|bad order"));
	assert_null(strstr(fake_last_result(f->fake), "abcdefghijklmnop")); /* a token on standard error goes no further */

	pid = serve("kill -9 $$", "--once", NULL);
	expect(FOLLOW("any", (char *)"-q"), EXIT_NO, NULL, NULL);
	assert_int_equal(wait_exit(pid), 0);
	assert_string_equal(fake_last_result(f->fake), "signal_9|");

	pid = serve("[ $BATON_ATTEMPT = 2 ] && echo ok && exit 0; exit 75", "--count", "2"); /* tried again, then done */
	expect(FOLLOW("any", (char *)"-q"), EXIT_YES, "ok\n", NULL);
	assert_int_equal(wait_exit(pid), 0);
}

static void too_much_output_fails(void **state)
{
	struct fixture *f = *state;
	pid_t pid = serve("yes", "--once", NULL);

	expect(FOLLOW("any", (char *)"-q"), EXIT_NO, NULL, NULL);
	assert_int_equal(wait_exit(pid), 0);
	assert_string_equal(fake_last_result(f->fake), "output_too_large|the command wrote more than 1 MiB");
}

static void payload_need_not_be_read(void **state)
{
	pid_t pid = serve("exec 0<&-; echo fine", "--once", NULL);
	char *big = malloc(300001);

	memset(big, 'x', 300000);
	big[300000] = '\0';
	expect(FOLLOW("any", (char *)"--payload", big, (char *)"-q"), EXIT_YES, "fine\n", NULL);
	free(big);
	assert_int_equal(wait_exit(pid), 0);
}

static void a_cut_is_survived_and_the_lease_resumed(void **state)
{
	struct fixture *f = *state;
	pid_t pid = serve("sleep 1; echo through", "--once", NULL);

	expect(FOLLOW("cut", (char *)"-q"), EXIT_YES, "through\n", NULL);
	assert_int_equal(wait_exit(pid), 0);
	assert_int_equal(fake_resumed(f->fake), 1);
	assert_int_equal(fake_settled(f->fake), 1);
}

static void a_report_is_sent_again_when_the_store_was_away(void **state)
{
	struct fixture *f = *state;
	pid_t pid = serve("echo stored", "--once", NULL);

	expect(FOLLOW("storm", (char *)"-q"), EXIT_YES, "stored\n", NULL);
	assert_int_equal(wait_exit(pid), 0);
	assert_int_equal(fake_settled(f->fake), 1);
}

static void a_stop_kills_the_whole_group(void **state)
{
	struct fixture *f = *state;
	char mark[DEVSET_PATH + 32], script[DEVSET_PATH * 4];
	uint8_t *text = NULL;
	size_t n;
	pid_t pid;

	snprintf(mark, sizeof mark, "%s/mark", f->d.dir);
	snprintf(script, sizeof script, "(trap '' TERM; sleep 60) & echo $! > %s.tmp; mv %s.tmp %s; wait", mark, mark, mark);
	pid = serve(script, "--grace", "0s");
	expect(SEND("stop", (char *)"-q"), EXIT_YES, NULL, NULL);
	for (int i = 0; i < 2000 && access(mark, F_OK) != 0; i++)
		usleep(5000);
	assert_int_equal(file_read(mark, 64, &text, &n, NULL), 0);
	for (int i = 0; i < 2000 && kill(atoi((char *)text), 0) == 0; i++)
		usleep(5000);
	assert_int_not_equal(kill(atoi((char *)text), 0), 0); /* gone, though it ignored SIGTERM */
	free(text);
	kill(pid, SIGTERM);
	assert_int_equal(wait_exit(pid), 0);
	assert_int_equal(fake_settled(f->fake), 0);
}

static void sigterm_lets_work_finish(void **state)
{
	struct fixture *f = *state;
	char mark[DEVSET_PATH + 32], script[DEVSET_PATH * 4];
	pid_t pid;

	snprintf(mark, sizeof mark, "%s/mark", f->d.dir);
	snprintf(script, sizeof script, "touch %s; sleep 0.5; echo finished", mark);
	pid = serve(script, "--grace", "20s");
	expect(SEND("any", (char *)"-q"), EXIT_YES, NULL, NULL);
	for (int i = 0; i < 2000 && access(mark, F_OK) != 0; i++)
		usleep(5000);
	kill(pid, SIGTERM);
	assert_int_equal(wait_exit(pid), 0);
	assert_int_equal(fake_settled(f->fake), 1);
	assert_string_equal(fake_last_result(f->fake), "finished\n");
}

static void what_cannot_finish_is_given_back(void **state)
{
	struct fixture *f = *state;
	char mark[DEVSET_PATH + 32], script[DEVSET_PATH * 4];
	pid_t pid;

	snprintf(mark, sizeof mark, "%s/mark", f->d.dir);
	snprintf(script, sizeof script, "touch %s; exec sleep 60", mark);
	pid = serve(script, "--grace", "0s");
	expect(SEND("any", (char *)"-q"), EXIT_YES, NULL, NULL);
	for (int i = 0; i < 2000 && access(mark, F_OK) != 0; i++)
		usleep(5000);
	kill(pid, SIGTERM);
	assert_int_equal(wait_exit(pid), 0);
	wait_for(fake_released, f->fake, 1);
	assert_int_equal(fake_settled(f->fake), 0);
}

static void serve_needs_a_program_and_a_broker(void **state)
{
	expect(RUN((char *)"serve", (char *)"--as", (char *)"worker", (char *)"--route", (char *)"any", (char *)"--",
		(char *)"no-such-program"),
	       EXIT_MISSING, NULL, "no such program");
	expect(RUN((char *)"serve", (char *)"--as", (char *)"nobody", (char *)"--route", (char *)"any", (char *)"--",
		(char *)"cat"), EXIT_MISSING,
	       NULL, NULL);
	expect(RUN((char *)"serve", (char *)"--", (char *)"cat"), EXIT_USAGE, NULL, "needs --route");
}

static void doctor_checks_one_by_one(void **state)
{
	expect(RUN((char *)"doctor"), EXIT_UNREACHABLE, "readyz         FAIL", NULL); /* the stand-in has no metrics port */
	expect(RUN((char *)"doctor"), EXIT_UNREACHABLE, "handshake      ok      TLSv1.3", NULL);
	expect(RUN((char *)"doctor"), EXIT_UNREACHABLE, "ALPN           ok      h2", NULL);
	expect(RUN((char *)"doctor"), EXIT_UNREACHABLE, "token binding  ok      bound to this certificate", NULL);
	expect(RUN((char *)"doctor"), EXIT_UNREACHABLE, "Redis was not checked", NULL);
	expect(RUN((char *)"doctor", (char *)"--addr", (char *)"127.0.0.1:1"), EXIT_UNREACHABLE, "handshake    FAIL", NULL);
	expect(RUN((char *)"doctor", (char *)"-o", (char *)"json"), EXIT_UNREACHABLE, "{\"check\":\"token\",\"result\":\"ok\"",
		NULL);
}

/* One answer to whoever asks first; the port. */
static int answer_once(const char *status, const char *body)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	if (fork() == 0) {
		char asked[512];
		int fd;

		alarm(20);
		fd = accept(listener, NULL, NULL);
		if (read(fd, asked, sizeof asked) > 0)
			dprintf(fd, "HTTP/1.1 %s\r\ncontent-type: application/json\r\n\r\n%s", status, body);
		_exit(0);
	}
	close(listener);
	return ntohs(a.sin_port);
}

static void doctor_asks(const char *status, const char *body, int code, const char *const *rows)
{
	char addr[64];
	struct ran o;

	snprintf(addr, sizeof addr, "127.0.0.1:%d", answer_once(status, body));
	o = RUN((char *)"doctor", (char *)"--metrics", addr);
	assert_int_equal(waitpid(-1, NULL, 0) > 0, 1);
	for (; *rows; rows++)
		if (!strstr(o.out, *rows))
			fail_msg("no row `%s` in\n%s", *rows, o.out);
	expect(o, code, NULL, NULL);
}

static void doctor_shows_the_brokers_own_checks(void **state)
{
	static const char ready[] = "{\"ready\":true,\"checks\":[{\"check\":\"store\",\"ok\":true,\"remedy\":\"\"},"
		"{\"check\":\"certificate\",\"ok\":true,\"remedy\":\"expires soon: replace it\"},{\"check\":\"trust\",\"ok\":true,"
		"\"remedy\":\"\"},{\"check\":\"keys\",\"ok\":true,\"remedy\":\"they serve 90 s more\"}]}";
	static const char broken[] = "{\"ready\":false,\"checks\":[{\"check\":\"store\",\"ok\":false,\"remedy\":\"refused: start it\"},"
		"{\"check\":\"audit\",\"ok\":true,\"remedy\":\"\"},{\"check\":\"moon\",\"ok\":false,\"remedy\":\"wait\"}]}";
	static const char partial[] = "{\"ready\":true,\"checks\":[{\"check\":\"store\",\"ok\":true,\"remedy\":\"primary 10.0.0.2:6379 is missing\"}]}";
	static const char *const lacks_one[] = {"readyz         ok", "broker store   warn    Redis: primary 10.0.0.2:6379 is missing\n", NULL};
	static const char *const fine[] = {"broker store        ok      Redis answers", "readyz              ok",
		"broker certificate  warn    the broker's certificate: expires soon: replace it", "broker trust        ok",
		"broker keys         warn    issuers' keys: they serve 90 s more", NULL};
	static const char *const bad[] = {"readyz         FAIL", "broker store   FAIL    Redis: refused: start it\n",
		"broker audit   ok", "broker moon    FAIL    newer than this baton: wait", NULL};
	static const char *const other[] = {"readyz         FAIL", "broker store   skipped  Redis was not checked", NULL};

	doctor_asks("200 OK", ready, EXIT_YES, fine);
	doctor_asks("200 OK", partial, EXIT_YES, lacks_one);
	doctor_asks("503 Service Unavailable", broken, EXIT_UNREACHABLE, bad);
	doctor_asks("404 Not Found", "<html>", EXIT_UNREACHABLE, other);
}

static void bench_counts_every_cycle(void **state)
{
	struct fixture *f = *state;
	char addr[64], ca[DEVSET_PATH + 64], cert[DEVSET_PATH + 64], key[DEVSET_PATH + 64];
	struct ran o;

	snprintf(addr, sizeof addr, "127.0.0.1:%d", fake_port(f->fake));
	snprintf(ca, sizeof ca, "%s/ca.pem", f->d.dir);
	snprintf(cert, sizeof cert, "%s/agents/planner.pem", f->d.dir);
	snprintf(key, sizeof key, "%s/agents/planner.key", f->d.dir);
	for (int unary = 0; unary < 2; unary++)
		expect(RUN((char *)"bench", (char *)"--addr", addr, (char *)"--ca", ca, (char *)"--cert", cert, (char *)"--key", key,
			   (char *)"--cycles", (char *)"300", (char *)"--warmup", (char *)"20", (char *)"--window", (char *)"16",
			   (char *)"--mode", (char *)(unary ? "unary" : "pipe"), (char *)"-o", (char *)"json"),
		       EXIT_YES, "{\"cycles\":300,", NULL);
	assert_true(fake_settled(f->fake) >= 640);
	expect(RUN((char *)"bench", (char *)"--addr", addr, (char *)"--ca", ca, (char *)"--cert", cert, (char *)"--key", key,
		   (char *)"--cycles", (char *)"50", (char *)"--warmup", (char *)"0", (char *)"--route", (char *)"young"),
	       EXIT_YES, "lost        0\nduplicated  0\n", NULL);
	expect(RUN((char *)"bench", (char *)"--addr", addr, (char *)"--ca", ca, (char *)"--cert", cert, (char *)"--key", key,
		   (char *)"--mode", (char *)"unary", (char *)"--route", (char *)"deny"), EXIT_NO, NULL, "missing_scope");
	o = RUN((char *)"bench", (char *)"--addr", addr, (char *)"--ca", ca, (char *)"--cert", cert, (char *)"--key", key,
		   (char *)"--cycles", (char *)"50", (char *)"--warmup", (char *)"0", (char *)"-o", (char *)"name");
	assert_true(o.out[0] >= '1' && o.out[0] <= '9' && strchr(o.out, '\n') == o.out + strlen(o.out) - 1);
	expect(o, EXIT_YES, NULL, NULL);
	expect(RUN((char *)"bench", (char *)"--addr", addr, (char *)"--ca", ca, (char *)"--cert", cert, (char *)"--key", key,
		   (char *)"--cycles", (char *)"100", (char *)"--publishers", (char *)"2", (char *)"--subscribers", (char *)"2"),
	       EXIT_YES, "lost        0\nduplicated  0\n", NULL);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_store_that_is_away_is_told_to_each_call), T(envelopes_are_shown_field_by_field),
		T(what_is_over_is_not_cancelled), T(results_are_not_touched), T(runs_and_watches_say_what_they_are_called),
		T(an_interrupt_leaves_it_in_force), T(doctor_shows_the_brokers_own_checks), T(whoami_shows_the_agent), T(send_prints_a_receipt), T(a_denial_says_reason_policy_and_trace),
		T(silence_and_goaway_have_their_codes), T(the_same_bytes_can_be_sent_again), T(lists_and_single_ones_are_shown),
		T(a_store_that_has_just_begun_is_waited_for), T(run_waits_for_it_too), T(other_stale_envelopes_are_denied),
		T(run_follows_to_the_result), T(run_in_json_is_one_object), T(the_command_gets_a_clean_environment),
		T(exit_codes_become_reports), T(too_much_output_fails), T(payload_need_not_be_read),
		T(a_cut_is_survived_and_the_lease_resumed), T(a_report_is_sent_again_when_the_store_was_away),
		T(a_stop_kills_the_whole_group), T(sigterm_lets_work_finish), T(what_cannot_finish_is_given_back),
		T(serve_needs_a_program_and_a_broker), T(doctor_checks_one_by_one), T(bench_counts_every_cycle),
	};

	if (argc > 1)
		return cli_run(argv + 1, stdout, stderr);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
