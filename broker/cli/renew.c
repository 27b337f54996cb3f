/* How does an agent keep its identity? `baton renew` replaces key and certificate once, now; with --daemon whenever they are due, until somebody ends it
 * or the certificate ended without a next one. What is asked and when is renewal.h. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cawords.h"
#include "cli/cli.h"
#include "cli/renewal.h"

static void print(const struct cli *c, const struct certinfo *cert, const struct idfiles *f)
{
	char until[25];
	const struct cafact facts[] = {{"spiffe_id", cert->spiffe_id}, {"not_after", until}, {"cert", f->agent}};

	clock_format_utc(cert->not_after_ms, until);
	cawords_print(c, facts, sizeof facts / sizeof facts[0]);
}

/* ---- once ---- */

static void wait_for(const struct renewal *r)
{
	struct pollfd p = {.fd = renewal_fd(r), .events = renewal_events(r)};
	int64_t left = renewal_deadline(r) - clock_mono_ms();

	poll(&p, 1, left < 0 ? 0 : left < 60000 ? (int)left : 60000);
}

static int renew_once(struct cli *c, const struct idfiles *f)
{
	struct renewal *r = renewal_new(&c->set, f, c->args.number[OPT_TIMEOUT]);
	enum renewal_end end;
	int code = EXIT_YES;

	if (!r)
		return complain(c, EXIT_BUG, "out of memory", NULL, NULL);
	while ((end = renewal_step(r)) == RENEWAL_GOES_ON)
		wait_for(r);
	if (end == RENEWAL_DONE)
		print(c, renewal_cert(r), f);
	if (end == RENEWAL_DONE && *renewal_clock(r))
		cli_note(c, "warning: %s: set the clock", renewal_clock(r));
	if (end == RENEWAL_FAILED)
		code = renewal_complain(r, c);
	renewal_free(r);
	return code;
}

/* ---- again and again ---- */

/* Signals that end it are read from here. */
static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int stay(struct cli *c, struct renewer *r)
{
	struct pollfd p[2] = {{.fd = open_signals(), .events = POLLIN}};
	enum renewer_event e = RENEWER_QUIET;

	if (p[0].fd < 0)
		return complain(c, EXIT_BUG, "no signalfd", strerror(errno), NULL);
	while (e != RENEWER_ENDED) {
		e = renewer_tick(r);
		p[1] = (struct pollfd){.fd = renewer_fd(r), .events = renewer_fd(r) < 0 ? 0 : renewer_events(r)};
		if (e != RENEWER_ENDED && poll(p, 2, renewer_wait(r)) > 0 && p[0].revents)
			break;
	}
	close(p[0].fd);
	return e == RENEWER_ENDED ? EXIT_DENIED : EXIT_YES;
}

static void announce(const struct cli *c, const struct renewer *r)
{
	char until[25], due[25];

	clock_format_utc(r->cert.not_after_ms, until);
	clock_format_utc(r->due_ms, due);
	cli_note(c, "%s of %s is good until %s, renewed from %s on", r->files.agent, r->cert.spiffe_id, until, due);
}

/* The broker would not let it in. */
static int check_end(const struct cli *c, const struct renewer *r)
{
	char until[25], what[SETTING_MAX + 80];

	if (clock_unix_ms() < r->cert.not_after_ms)
		return 0;
	clock_format_utc(r->cert.not_after_ms, until);
	snprintf(what, sizeof what, "%.4000s has ended, %s", r->files.agent, until);
	return complain(c, EXIT_DENIED, what, NULL, "Ask for a new token (baton agent enroll-token), then: baton enroll --force");
}

int cmd_renew(struct cli *c)
{
	struct renewer r = {.files = {.lock = -1}};
	int code = settings_resolve(c);

	if (!code && !c->set.addr[0])
		code = complain(c, EXIT_UNREACHABLE, "no broker was named", NULL, "Use --addr or BATON_ADDR: its port for agents.");
	if (!code && !(c->set.cert[0] && c->set.key[0] && c->set.ca[0]))
		code = complain_usage(c, "`renew` needs --cert, --key and --ca, or BATON_CERT, BATON_KEY and BATON_CA: what `baton enroll` made");
	if (!code)
		code = renewer_init(&r, c, true);
	if (!code)
		code = check_end(c, &r);
	if (!code && c->args.given[OPT_DAEMON])
		announce(c, &r);
	if (!code)
		code = c->args.given[OPT_DAEMON] ? stay(c, &r) : renew_once(c, &r.files);
	renewer_clear(&r);
	return code;
}
