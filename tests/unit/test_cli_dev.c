/* Does the dev set-up hold together without a broker: files, settings, tokens that the broker's own verifier
 * accepts? */
#include "config.h"

#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/devproc.h"
#include "cli/devset.h"

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

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int setup(void **state)
{
	static const char *const names[] = {"BATON_ADDR", "BATON_CA", "BATON_CERT", "BATON_KEY", "BATON_TOKEN",
		"BATON_TOKEN_FILE",
					    "BATON_TIMEOUT", "BATON_OUTPUT", "BATON_METRICS", "BATON_DEV_DIR"};
	struct devset *d = calloc(1, sizeof *d);
	struct problem why = {""};
	char dir[] = "/tmp/baton-devset.XXXXXX";

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		unsetenv(names[i]);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(devset_init(d, dir, &why), 0);
	assert_int_equal(devset_make(d, clock_unix_ms(), &why), 0);
	setenv("BATON_DEV_DIR", d->dir, 1);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct devset *d = *state;

	nftw(d->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(d);
	return 0;
}

static const char *in(const struct devset *d, const char *name)
{
	static char paths[4][DEVSET_PATH + 128];
	static int at;

	at = (at + 1) % 4;
	snprintf(paths[at], sizeof paths[at], "%s/%s", d->dir, name);
	return paths[at];
}

static void secrets_are_for_the_owner_alone(void **state)
{
	static const char *const secrets[] = {"agents/planner.key", "agents/worker.key", "agents/planner.token",
		"tls/server.key", "tls/ca.key",
					      "issuer/key.pem"};
	struct devset *d = *state;
	struct stat st;

	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
		assert_int_equal(stat(in(d, secrets[i]), &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	assert_int_equal(stat(d->dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void making_it_again_keeps_what_is_good(void **state)
{
	struct devset *d = *state;
	struct problem why = {""};
	uint8_t *before, *after;
	size_t n, m;
	static const char *const kept[] = {"ca.pem", "agents/planner.pem", "issuer/jwks.json"};

	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(file_read(in(d, kept[i]), 1 << 16, &before, &n, &why), 0);
		assert_int_equal(devset_make(d, clock_unix_ms(), &why), 0);
		assert_int_equal(file_read(in(d, kept[i]), 1 << 16, &after, &m, &why), 0);
		assert_int_equal(n, m);
		assert_memory_equal(before, after, n);
		free(before);
		free(after);
	}
	/* A leaf with less than a day left is made anew, by the same CA. */
	assert_int_equal(file_read(in(d, "agents/planner.pem"), 1 << 16, &before, &n, &why), 0);
	assert_int_equal(devset_make(d, clock_unix_ms() + 7 * 24 * 3600 * 1000LL, &why), 0);
	assert_int_equal(file_read(in(d, "agents/planner.pem"), 1 << 16, &after, &m, &why), 0);
	assert_true(n != m || memcmp(before, after, n) != 0);
	free(before);
	free(after);
}

static void folders_with_odd_names_are_refused(void **state)
{
	struct devset d;
	struct problem why = {""};

	assert_int_equal(devset_init(&d, "/tmp/a b", &why), -1);
	assert_int_equal(devset_init(&d, "/tmp/a\"b", &why), -1);
	assert_int_equal(devset_init(&d, "/tmp/a$(x)", &why), -1);
	assert_int_equal(devset_init(&d, "/tmp/ab/", &why), 0);
	assert_string_equal(d.dir, "/tmp/ab");
	assert_int_equal(devset_init(&d, "rel", &why), 0);
	assert_int_equal(d.dir[0], '/');
}

#define VERIFY(d, cert, audience, token)                                                                                             \
	RUN((char *)"token", (char *)"verify", (char *)"--jwks", (char *)(uintptr_t)in(d, "issuer/jwks.json"), (char *)"--issuer",   \
	    (char *)"https://dev.baton.invalid", (char *)"--audience", (char *)audience, (char *)"--cert",                            \
	    (char *)(uintptr_t)in(d, cert), (char *)(uintptr_t)in(d, token))

static void minted_tokens_verify(void **state)
{
	struct devset *d = *state;

	expect(VERIFY(d, "agents/planner.pem", "support-agent-runtime", "agents/planner.token"), EXIT_YES, "", NULL);
	expect(VERIFY(d, "agents/worker.pem", "support-agent-runtime", "agents/planner.token"), EXIT_DENIED, "token_binding\n",
		NULL);
	expect(VERIFY(d, "agents/planner.pem", "somebody-else", "agents/planner.token"), EXIT_DENIED, "wrong_audience\n",
		NULL);
	expect(VERIFY(d, "agents/planner.pem", "support-agent-runtime", "issuer/jwks.json"), EXIT_DENIED, "invalid_token\n",
		NULL);
	expect(VERIFY(d, "agents/planner.pem", "support-agent-runtime", "agents/none"), EXIT_MISSING, NULL, NULL);
	expect(RUN((char *)"token", (char *)"verify", (char *)"--jwks", (char *)(uintptr_t)in(d, "issuer/jwks.json"),
		(char *)"--issuer",
		   (char *)"https://dev.baton.invalid", (char *)"--audience", (char *)"support-agent-runtime",
		   (char *)(uintptr_t)in(d, "agents/planner.token")), EXIT_DENIED, "token_binding\n", NULL);
	expect(RUN((char *)"token", (char *)"verify", (char *)"--jwks", (char *)(uintptr_t)in(d, "issuer/jwks.json"),
		(char *)"--issuer",
		   (char *)"https://other.invalid", (char *)"--audience", (char *)"support-agent-runtime",
		   (char *)(uintptr_t)in(d, "agents/planner.token")), EXIT_DENIED, "wrong_issuer\n", NULL);
	expect(RUN((char *)"token", (char *)"verify"), EXIT_USAGE, NULL, "--jwks, --issuer and --audience");
}

static void dev_token_takes_its_options(void **state)
{
	struct devset *d = *state;
	struct stat st;
	char *out = (char *)(uintptr_t)in(d, "minted");

	expect(RUN((char *)"dev", (char *)"token", (char *)"--as", (char *)"worker", (char *)"--scope", (char *)"x:y",
		(char *)"--audience",
		   (char *)"aud", (char *)"--ttl", (char *)"5m", (char *)"--subject", (char *)"user:bob", (char *)"--out", out),
	       EXIT_YES, "", NULL);
	assert_int_equal(stat(in(d, "minted"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	expect(RUN((char *)"token", (char *)"show", (char *)(uintptr_t)in(d, "minted")), EXIT_YES, "\"sub\": \"user:bob\"",
		"not verified");
	expect(RUN((char *)"token", (char *)"show", (char *)(uintptr_t)in(d, "minted")), EXIT_YES, "\"scope\": \"x:y\"", NULL);
	expect(RUN((char *)"token", (char *)"show", (char *)(uintptr_t)in(d, "minted")), EXIT_YES, "\"client_id\": \"worker\"",
		NULL);
	expect(RUN((char *)"token", (char *)"show", (char *)(uintptr_t)in(d, "ca.pem")), EXIT_MALFORMED, NULL, "no JWT");
	expect(RUN((char *)"dev", (char *)"token", (char *)"--ttl", (char *)"13h"), EXIT_USAGE, NULL, "--ttl");
	expect(RUN((char *)"dev", (char *)"token", (char *)"--as", (char *)"../x"), EXIT_USAGE, NULL, "not a name");
	expect(RUN((char *)"dev", (char *)"token", (char *)"--as", (char *)"nobody"), EXIT_MISSING, NULL, NULL);
}

/* flag, --as, environment, DIR/env: the first that says something. */
static void settings_come_in_order(void **state)
{
	struct devset *d = *state;
	struct cli c = {.out = stdout, .err = stderr};
	struct problem why = {""};
	char *plain[] = {NULL}, *as[] = {(char *)"--as", (char *)"worker", NULL},
	     *flags[] = {(char *)"--as", (char *)"worker", (char *)"--cert", (char *)"/flag.pem", NULL};

	args_parse(&c.args, plain, (enum opt[]){OPT_END}, &why);
	args_defaults(&c.args, &why);
	assert_int_equal(settings_resolve(&c), 0);
	assert_string_equal(c.set.cert, in(d, "agents/planner.pem"));
	assert_string_equal(c.set.token_file, in(d, "agents/planner.token"));

	setenv("BATON_CERT", "/env.pem", 1);
	memset(&c.set, 0, sizeof c.set);
	args_parse(&c.args, plain, (enum opt[]){OPT_END}, &why);
	args_defaults(&c.args, &why);
	assert_int_equal(settings_resolve(&c), 0);
	assert_string_equal(c.set.cert, "/env.pem");
	assert_string_equal(c.set.ca, in(d, "ca.pem"));
	assert_string_equal(c.set.token_file, ""); /* a dev token is no token of another certificate */

	memset(&c.set, 0, sizeof c.set);
	args_parse(&c.args, as, (enum opt[]){OPT_END}, &why);
	args_defaults(&c.args, &why);
	assert_int_equal(settings_resolve(&c), 0);
	assert_string_equal(c.set.cert, in(d, "agents/worker.pem"));

	memset(&c.set, 0, sizeof c.set);
	args_parse(&c.args, flags, (enum opt[]){OPT_END}, &why);
	args_defaults(&c.args, &why);
	assert_int_equal(settings_resolve(&c), 0);
	assert_string_equal(c.set.cert, "/flag.pem");
	assert_string_equal(c.set.key, in(d, "agents/worker.key"));
}

static void tokens_in_loose_files_are_refused(void **state)
{
	struct devset *d = *state;

	assert_int_equal(chmod(in(d, "agents/planner.token"), 0644), 0);
	expect(RUN((char *)"whoami"), EXIT_CONFIG, NULL, "0600");
	unlink(in(d, "agents/planner.token"));
	expect(RUN((char *)"whoami"), EXIT_MISSING, NULL, NULL);
}

/* `dev down` must never signal a process that is not the batond it started. */
static void a_foreign_process_is_never_taken_for_ours(void **state)
{
	struct devset *d = *state;
	char text[64];
	pid_t pid = fork();
	uint64_t start;

	if (pid == 0) {
		pause();
		_exit(0);
	}
	start = devproc_start_time(pid, NULL, NULL);
	assert_true(start > 0);
	/* right number and time, but no batond */
	snprintf(text, sizeof text, "%d %llu\n", (int)pid, (unsigned long long)start);
	assert_int_equal(file_write_atomic(in(d, "batond.pid"), slice_str(text), 0600, NULL), 0);
	assert_int_equal(devproc_running(d), 0);
	expect(RUN((char *)"dev", (char *)"down"), EXIT_YES, NULL, "was not running");
	assert_int_equal(kill(pid, 0), 0); /* alive */
	expect(RUN((char *)"dev", (char *)"status"), EXIT_NO, "batond is not running", NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(devproc_start_time(pid, NULL, NULL), 0);
}

static void a_broker_that_ends_at_once_is_reported(void **state)
{
	setenv("BATOND", "/bin/false", 1);
	expect(RUN((char *)"dev", (char *)"up"), EXIT_UNREACHABLE, NULL, "batond ended at once");
	setenv("BATOND", "/nonexistent", 1);
	expect(RUN((char *)"dev", (char *)"up"), EXIT_MISSING, NULL, "no such program");
	unsetenv("BATOND");
}

static void purge_asks_and_removes_only_a_set_up(void **state)
{
	struct devset *d = *state;
	char empty[] = "/tmp/baton-nothing.XXXXXX";

	assert_non_null(mkdtemp(empty));
	expect(RUN((char *)"dev", (char *)"down", (char *)"--purge", (char *)"--yes", (char *)"--dir", empty), EXIT_MISSING, NULL,
	       "no dev set-up in /tmp/baton-nothing.");
	expect(RUN((char *)"dev", (char *)"status", (char *)"--dir", empty), EXIT_MISSING, NULL, "no dev set-up in");
	expect(RUN((char *)"dev", (char *)"token", (char *)"--dir", empty), EXIT_MISSING, NULL, "no dev set-up in");
	assert_int_equal(access(empty, F_OK), 0);
	nftw(empty, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	expect(RUN((char *)"dev", (char *)"down", (char *)"--purge", (char *)"--yes"), EXIT_YES, NULL, NULL);
	assert_int_not_equal(access(d->dir, F_OK), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(secrets_are_for_the_owner_alone), T(making_it_again_keeps_what_is_good), T(folders_with_odd_names_are_refused),
		T(minted_tokens_verify), T(dev_token_takes_its_options), T(settings_come_in_order),
		T(tokens_in_loose_files_are_refused), T(a_foreign_process_is_never_taken_for_ours),
		T(a_broker_that_ends_at_once_is_reported), T(purge_asks_and_removes_only_a_set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
