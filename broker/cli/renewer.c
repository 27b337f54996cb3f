/* When is a certificate renewed, and when again after a failure? See renewal.h. The one question is renewal.c's. */
#include "config.h"

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/secret.h"
#include "cli/renewal.h"
#include "cli/text.h"

#define WAIT_MAX_MS 60000 /* the wall clock may be set meanwhile */

int64_t renewal_due(int64_t from_ms, int64_t not_after_ms, uint32_t luck)
{
	int64_t life = not_after_ms > from_ms ? not_after_ms - from_ms : 0;

	return from_ms + life / 3 * 2 - (int64_t)((double)life / 30 * luck / UINT32_MAX);
}

int64_t renewal_pause(int64_t *backoff_ms, uint32_t luck)
{
	int64_t full = *backoff_ms ? *backoff_ms : RENEWAL_BACKOFF_MIN_MS;

	*backoff_ms = full * 2 > RENEWAL_BACKOFF_MAX_MS ? RENEWAL_BACKOFF_MAX_MS : full * 2;
	return full / 2 + (int64_t)((double)full / 2 * luck / UINT32_MAX);
}

static uint32_t luck(void)
{
	uint32_t n;

	random_bytes(&n, sizeof n);
	return n;
}

static void say(const struct renewer *r, const char *what)
{
	const struct cli *c = r->c;

	fflush(c->out);
	text_print(c->err, slice_str(what), false);
	fputc('\n', c->err);
	fflush(c->err);
}

/* What is in the file is this now. */
static void take(struct renewer *r, const struct certinfo *cert, int64_t from_ms)
{
	r->cert = *cert;
	r->due_ms = renewal_due(from_ms, cert->not_after_ms, luck());
	r->again_ms = r->backoff_ms = 0;
}

/* Since when it can have been good: it was written then, but for what it is dated back. */
static int64_t begun(const struct renewer *r, const struct certinfo *cert)
{
	int64_t latest = cert->not_before_ms + CA_BACKDATE_MS, at;
	struct stat st;

	if (stat(r->files.agent, &st) < 0)
		return cert->not_before_ms;
	at = (int64_t)st.st_mtime * 1000;
	return at < cert->not_before_ms ? cert->not_before_ms : at < latest ? at : latest;
}

int renewer_init(struct renewer *r, struct cli *c, bool keeps_lock)
{
	struct problem why = {""};
	struct certinfo cert;
	int rc;

	memset(r, 0, sizeof *r);
	r->files.lock = -1;
	r->c = c;
	r->keeps_lock = keeps_lock;
	if (certinfo_read(c->set.cert, &cert, &why) < 0)
		return complain(c, EXIT_MISSING, why.text, NULL, "Name what `baton enroll` made with --cert and --key.");
	if (idfiles_of(&r->files, c->set.cert, c->set.key, c->set.ca, &why) < 0)
		return complain(c, EXIT_USAGE, why.text, NULL, NULL);
	rc = keeps_lock ? idfiles_lock(&r->files, &why) : 0;
	if (rc)
		return complain(c, rc > 0 ? EXIT_AGAIN : EXIT_CONFIG, why.text, NULL, NULL);
	if (!r->files.bundle[0])
		cli_note(c, "%s stays as it is: only bundle.pem in the certificate's folder is renewed with it", c->set.ca);
	take(r, &cert, begun(r, &cert));
	return 0;
}

void renewer_clear(struct renewer *r)
{
	renewal_free(r->now);
	r->now = NULL;
	idfiles_unlock(&r->files);
}

/* ---- one try ---- */

static void fail(struct renewer *r, const char *what)
{
	int64_t pause = renewal_pause(&r->backoff_ms, luck());
	char line[1200];

	r->again_ms = clock_mono_ms() + pause;
	snprintf(line, sizeof line, "%.200s was not renewed: %.800s; again in %lld s", r->files.agent, what, (long long)(pause + 999) / 1000);
	say(r, line);
}

bool renewer_look(struct renewer *r)
{
	struct certinfo cert;

	if (certinfo_read(r->files.agent, &cert, NULL) < 0 || strcmp(cert.x5t_s256, r->cert.x5t_s256) == 0)
		return false;
	take(r, &cert, begun(r, &cert));
	return true;
}

/* Between two times others may. */
static void unlock(struct renewer *r)
{
	if (!r->keeps_lock)
		idfiles_unlock(&r->files);
}

static enum renewer_event begin(struct renewer *r)
{
	struct problem why = {""};

	if (renewer_look(r))
		return RENEWER_RENEWED;
	if (idfiles_lock(&r->files, &why)) {
		fail(r, why.text);
	} else if (!(r->now = renewal_new(&r->c->set, &r->files, r->c->args.number[OPT_TIMEOUT]))) {
		fail(r, "out of memory");
		unlock(r);
	}
	return RENEWER_QUIET;
}

static enum renewer_event end(struct renewer *r, enum renewal_end how)
{
	char what[800];
	struct certinfo cert;

	if (how == RENEWAL_DONE) {
		cert = *renewal_cert(r->now);
		take(r, &cert, clock_unix_ms());
		if (*renewal_clock(r->now))
			cli_note(r->c, "warning: %s: set the clock", renewal_clock(r->now));
	} else {
		renewal_failure(r->now, what, sizeof what);
		fail(r, what);
	}
	renewal_free(r->now);
	r->now = NULL;
	unlock(r);
	return how == RENEWAL_DONE ? RENEWER_RENEWED : RENEWER_QUIET;
}

static enum renewer_event step(struct renewer *r)
{
	enum renewal_end how;

	if (!r->now && clock_unix_ms() >= r->due_ms && clock_mono_ms() >= r->again_ms) {
		enum renewer_event e = begin(r);

		if (e != RENEWER_QUIET)
			return e;
	}
	how = r->now ? renewal_step(r->now) : RENEWAL_GOES_ON;
	return how == RENEWAL_GOES_ON ? RENEWER_QUIET : end(r, how);
}

enum renewer_event renewer_tick(struct renewer *r)
{
	enum renewer_event e = step(r);
	char until[40], line[600];

	if (e == RENEWER_QUIET && !r->now && clock_unix_ms() >= r->cert.not_after_ms)
		e = renewer_look(r) ? RENEWER_RENEWED : RENEWER_ENDED;
	if (e == RENEWER_RENEWED) {
		text_time(r->cert.not_after_ms, true, until);
		cli_note(r->c, "%s is renewed: good until %s", r->files.agent, until);
	} else if (e == RENEWER_ENDED) {
		snprintf(line, sizeof line, "%.400s has ended and was not renewed: ask for a new token, and enroll again", r->files.agent);
		say(r, line);
	}
	return e;
}

/* ---- for poll(2) ---- */

int renewer_fd(const struct renewer *r)
{
	return r->now ? renewal_fd(r->now) : -1;
}

short renewer_events(const struct renewer *r)
{
	return renewal_events(r->now);
}

int renewer_wait(const struct renewer *r)
{
	int64_t mono = clock_mono_ms(), left, ends = r->cert.not_after_ms - clock_unix_ms();

	if (r->now) {
		left = renewal_deadline(r->now) - mono;
	} else {
		left = r->due_ms - clock_unix_ms();
		left = r->again_ms - mono > left ? r->again_ms - mono : left;
		left = ends < left ? ends : left;
	}
	return left <= 0 ? 0 : left < WAIT_MAX_MS ? (int)left : WAIT_MAX_MS;
}
