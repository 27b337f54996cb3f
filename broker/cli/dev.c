/* How does somebody try Baton in a minute? `dev up` makes and starts a set-up of one broker and two agents, `dev
 * down` stops it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jsonw.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/devproc.h"
#include "cli/devset.h"
#include "cli/readyz.h"

#define READY_MS 30000
#define STOP_MS 30000
#define PURGE_FDS 16

/* The set-up that the options name. 0, or an exit code. */
static int open_set(struct cli *c, struct devset *d)
{
	char dir[SETTING_MAX];
	struct problem why = {""};

	if (!settings_dev_dir(&c->args, dir, sizeof dir))
		return complain(c, EXIT_CONFIG, "no folder for the dev set-up is known", NULL,
			"Name one with --dir or BATON_DEV_DIR.");
	if (devset_init(d, dir, &why))
		return complain(c, EXIT_USAGE, why.text, NULL, NULL);
	d->workers = (int)c->args.number[OPT_WORKERS];
	return 0;
}

/* The same, when one was made there. */
static int find_set(struct cli *c, struct devset *d)
{
	int code = open_set(c, d);

	return code || devset_exists(d) ? code : settings_no_dev(c, d->dir);
}

/* One `dev up` or `dev down` at a time in a folder. The descriptor, or -1. */
static int lock_set(const struct devset *d)
{
	char path[DEVSET_PATH + 32];
	int fd;

	snprintf(path, sizeof path, "%s/lock", d->dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void print_status(struct cli *c, const struct devset *d, pid_t pid, const char *text)
{
	struct settings s = {.addr = ""};
	struct jsonw w;
	struct buf b;

	settings_read_env(&s, d->dir, NULL, NULL);
	if (cli_output(c) == OUTPUT_NAME) {
		fprintf(c->out, "%s\n", s.addr);
		return;
	}
	if (!cli_json(c)) {
		fprintf(c->out, "%s\n  folder   %s\n", text, d->dir);
		if (pid)
			fprintf(c->out, "  agents   %s\n  metrics  http://%s/metrics\n  pid      %d\n  env      %s/env (planner), %s/env.worker\n",
				s.addr, s.metrics, (int)pid, d->dir, d->dir);
		return;
	}
	buf_init(&b, 16384);
	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	jsonw_bool(&w, "running", pid != 0);
	jsonw_str(&w, "dir", d->dir);
	if (pid) {
		jsonw_int(&w, "pid", pid);
		jsonw_str(&w, "addr", s.addr);
		jsonw_str(&w, "metrics", s.metrics);
	}
	jsonw_end_object(&w);
	fwrite(b.p, 1, b.n, c->out);
	fputc('\n', c->out);
	buf_clear(&b);
}

/* What `dev up` made; with --quiet its exit code says enough. */
static void print_up(struct cli *c, const struct devset *d, pid_t pid, const char *text)
{
	if (!c->args.given[OPT_QUIET] || cli_output(c) > OUTPUT_WIDE)
		print_status(c, d, pid, text);
}

static pid_t foreground_pid;

static void pass_on(int sig)
{
	if (foreground_pid > 0)
		kill(foreground_pid, SIGTERM);
}

static int stay(struct cli *c, const struct devset *d, pid_t pid)
{
	struct sigaction sa = {.sa_handler = pass_on};
	char path[DEVSET_PATH + 32];
	int status = 0;

	foreground_pid = pid;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	fflush(c->out);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	snprintf(path, sizeof path, "%s/batond.pid", d->dir);
	unlink(path);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BUG;
}

static int start(struct cli *c, struct devset *d, pid_t *pid)
{
	struct problem why = {""};

	if (devset_make(d, clock_unix_ms(), &why))
		return complain(c, EXIT_CONFIG, why.text, NULL, NULL);
	*pid = devproc_start(d, c->args.given[OPT_FOREGROUND], &why);
	if (*pid < 0)
		return complain(c, EXIT_MISSING, why.text, NULL, NULL);
	if (devproc_wait_ready(d, *pid, READY_MS, &why)) {
		char hint[DEVSET_PATH + 64];

		if (devproc_running(d) == *pid)
			devproc_stop(d, *pid, STOP_MS, NULL);
		snprintf(hint, sizeof hint, "Its log: %s/batond.log", d->dir);
		return complain(c, EXIT_UNREACHABLE, why.text, NULL, hint);
	}
	return 0;
}

int cmd_dev_up(struct cli *c)
{
	struct devset d;
	struct problem why = {""};
	int lock, code = open_set(c, &d);
	pid_t pid;

	if (code)
		return code;
	if (file_make_dir(d.dir, 0700, &why))
		return complain(c, EXIT_CONFIG, why.text, NULL, NULL);
	lock = lock_set(&d);
	pid = devproc_running(&d);
	if (pid) {
		if (devset_tokens(&d, clock_unix_ms(), &why))
			code = complain(c, EXIT_CONFIG, why.text, NULL, NULL);
		else
			print_up(c, &d, pid, "batond is running already; its agents' tokens are fresh");
		close(lock);
		return code;
	}
	code = start(c, &d, &pid);
	close(lock);
	if (code)
		return code;
	print_up(c, &d, pid, "batond is ready");
	if (cli_output(c) <= OUTPUT_WIDE)
		cli_note(c, "Try: baton serve --as worker --route " DEVSET_ROUTE " -- cat\n"
			    "and: baton handoff run --route " DEVSET_ROUTE " --tool orders.lookup --payload '{\"order\":\"A-1009\"}'");
	return c->args.given[OPT_FOREGROUND] ? stay(c, &d, pid) : EXIT_YES;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

/* Asked before anything is stopped. */
static int may_purge(const struct cli *c, const struct devset *d)
{
	return c->args.given[OPT_PURGE] ? cli_confirm(c, "--purge removes the folder with all its handoffs", "not removed",
						      "Remove %s with all its handoffs?", d->dir) : 0;
}

static int purge(const struct cli *c, const struct devset *d)
{
	if (nftw(d->dir, remove_one, PURGE_FDS, FTW_DEPTH | FTW_PHYS) != 0)
		return complain(c, EXIT_CONFIG, "the folder could not be removed", d->dir, strerror(errno));
	return EXIT_YES;
}

int cmd_dev_down(struct cli *c)
{
	struct devset d;
	struct problem why = {""};
	int lock, code = find_set(c, &d);
	pid_t pid;

	if (code || (code = may_purge(c, &d)))
		return code;
	lock = lock_set(&d);
	pid = devproc_running(&d);
	if (pid && devproc_stop(&d, pid, STOP_MS, &why))
		code = complain(c, EXIT_AGAIN, why.text, NULL, NULL);
	else
		cli_note(c, pid ? "stopped" : "was not running");
	if (!code && c->args.given[OPT_PURGE])
		code = purge(c, &d);
	if (lock >= 0)
		close(lock);
	return code;
}

int cmd_dev_status(struct cli *c)
{
	struct devset d;
	int code = find_set(c, &d);
	struct settings s = {.addr = ""};
	pid_t pid;

	if (code)
		return code;
	pid = devproc_running(&d);
	if (!pid) {
		print_status(c, &d, 0, "batond is not running");
		return EXIT_NO;
	}
	settings_read_env(&s, d.dir, NULL, NULL);
	if (readyz_get(s.metrics, 2000, NULL, 0, NULL) == 200) {
		print_status(c, &d, pid, "batond is running and ready");
		return EXIT_YES;
	}
	print_status(c, &d, pid, "batond is running, but not ready");
	return EXIT_UNREACHABLE;
}

int cmd_dev_token(struct cli *c)
{
	struct devset d;
	struct problem why = {""};
	struct devset_token t = {.agent = c->args.text[OPT_AS] ? c->args.text[OPT_AS] : "planner",
		.subject = c->args.text[OPT_SUBJECT],
				 .audience = c->args.text[OPT_AUDIENCE] ? c->args.text[OPT_AUDIENCE] : DEVSET_AUDIENCE,
				 .scope = c->args.text[OPT_TOKEN_SCOPE], .lifetime_ms = c->args.number[OPT_TTL]};
	struct buf b;
	int code = find_set(c, &d);

	if (code)
		return code;
	if (!name_valid(slice_str(t.agent)))
		return complain_usage(c, "--as: `%.64s` is not a name", t.agent);
	buf_init(&b, 8192);
	if (devset_mint(&d, &t, clock_unix_ms(), &b, &why))
		code = complain(c, EXIT_MISSING, why.text, NULL, "The set-up is made by: baton dev up");
	else if (!c->args.text[OPT_OUT])
		fprintf(c->out, "%.*s\n", (int)b.n, (const char *)b.p);
	else
		code = cli_write_file(c, c->args.text[OPT_OUT], buf_slice(&b));
	buf_clear(&b);
	return code;
}
