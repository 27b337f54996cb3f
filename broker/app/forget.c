/* Which revocations need not be kept any more? Each takes a name, of which the store has a number for all tenants. One that has ended by itself is shown for
 * REVOKED_SHOWN_MS more; then each node has the store forget it, and forgets it. No single clock says when: the store goes by its own, and a node begins only when
 * its wall clock went as its monotonic one for an hour, so that one that leapt, and is set right again, takes nothing away. A round each hour goes through all,
 * a call's worth a tick. */
#include <stdlib.h>
#include <string.h>

#include "app/node_priv.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "rpc/revoked.h"

#define ROOM (1u << 20) /* to read one in */
#define ROUND_MS (60 * INT64_C(60000))
#define LEAP_MS 60000

struct forgetting {
	struct resources *of; /* as they were when the round began; what follows borrows from it */
	size_t at;            /* those before it were looked at */
	size_t n;             /* the store is asked for these; 0: for none */
	struct store_change change[STORE_CHANGES_MAX];
	size_t forgotten;
};

/* ---- a round ---- */

static void end(struct node *n)
{
	struct forgetting *f = n->forgetting;

	if (f->forgotten) {
		n->sharing.changed = n->sharing.revoked = true;
		log_event(LOG_INFO, "revocation.forgotten", F_INT("revocations", (long long)f->forgotten), F_STR("why", "they ended by themselves more than 7 days ago"));
	}
	resources_unref(f->of);
	free(f);
	n->forgetting = NULL;
}

static void note(struct node *n, struct arena *a, const struct resource *r)
{
	const pb_revocation *m = revoked_unpack(a, r);
	struct audit_record line = {.event = "revocation.forgotten", .at_ms = clock_unix_ms()};
	struct revocation v;

	if (!m)
		return;
	revoked_entry(m, &v);
	line.tenant = slice_str(revocation_tenant(&v));
	line.message = slice_str(arena_printf(a, "%s (%s) ended by itself, and is not kept any longer", revoked_text(a, m), m->id));
	audit_note(n->control_audit, &line);
}

/* What the store has no more. */
static void forget_here(struct node *n, struct forgetting *f)
{
	struct resource v[STORE_CHANGES_MAX];
	struct arena *a = arena_new(ROOM);
	struct resources *now;

	for (size_t i = 0; i < f->n; i++)
		v[i] = *resources_find(f->of, f->change[i].name);
	now = resources_without(n->resources, v, f->n);
	for (size_t i = 0; now && a && i < f->n; i++) {
		note(n, a, &v[i]);
		arena_reset(a);
	}
	if (a)
		arena_free(a);
	audit_flush(n->control_audit);
	if (!now)
		return;
	resources_unref(n->resources);
	n->resources = now;
	f->forgotten += f->n;
}

static void ask(struct node *n);

static void on_answer(void *user, uint64_t op, const struct store_answer *a)
{
	struct node *n = user;
	struct forgetting *f = n->forgetting;

	(void)op;
	if (a->status == STORE_CONFLICT && a->at < f->n) { /* too early by the store's clock, or it was changed: the others all the same */
		f->n--;
		memmove(&f->change[a->at], &f->change[a->at + 1], (f->n - a->at) * sizeof f->change[0]);
		if (f->n)
			ask(n);
	} else if (a->status == STORE_OK) {
		forget_here(n, f);
		f->n = 0;
	} else {
		end(n);
	}
}

static void ask(struct node *n)
{
	struct forgetting *f = n->forgetting;

	n->sharing.store->ops->change(n->sharing.store, f->change, f->n, on_answer, n, 0);
}

/* Those of which it is time, up to a call's worth. */
static void pick(struct forgetting *f, struct arena *a, int64_t now_ms)
{
	for (; f->at < resources_count(f->of) && f->n < STORE_CHANGES_MAX; f->at++) {
		const struct resource *r = resources_at(f->of, f->at);
		int64_t after_ms;

		if (!kept_is(r->name)) {
			f->at = resources_count(f->of);
			break;
		}
		after_ms = revoked_forget_after_ms(a, r);
		arena_reset(a);
		if (after_ms >= now_ms)
			continue;
		f->change[f->n++] = (struct store_change){.name = r->name, .version = r->version + 1, .forget_after_ms = after_ms};
	}
}

static void go_on(struct node *n)
{
	struct forgetting *f = n->forgetting;
	struct arena *a = arena_new(ROOM);

	if (a) {
		pick(f, a, clock_unix_ms());
		arena_free(a);
	}
	if (f->n)
		ask(n);
	else
		end(n);
}

static void begin(struct node *n)
{
	n->forgetting = calloc(1, sizeof *n->forgetting);
	if (!n->forgetting)
		return;
	n->forgetting->of = resources_ref(n->resources);
	n->forgetting->at = resources_place(n->resources, SLICE_LIT(REVOKED_PREFIX));
}

/* ---- when ---- */

/* Did both clocks go on together for an hour? From now on the next one is looked at. */
static bool hour_is_over(struct node *n)
{
	int64_t mono = clock_mono_ms(), unix_ms = clock_unix_ms(), went = mono - n->hour_mono_ms, apart = unix_ms - n->hour_unix_ms - went;
	bool leapt = !n->hour_mono_ms || apart > LEAP_MS || apart < -LEAP_MS, over = !leapt && went >= ROUND_MS;

	if (leapt && n->forgetting)
		n->forgetting->at = resources_count(n->forgetting->of); /* no more of this round */
	if (leapt || over) {
		n->hour_mono_ms = mono;
		n->hour_unix_ms = unix_ms;
	}
	return over;
}

void forget_look(struct node *n)
{
	bool over = hour_is_over(n);

	if ((n->forgetting && n->forgetting->n) || !n->sharing.confirmed || n->sharing.whole || n->sharing.behind || !audit_healthy(n->audit))
		return;
	if (over && !n->forgetting)
		begin(n);
	if (n->forgetting)
		go_on(n);
}

void forget_close(struct node *n)
{
	if (n->forgetting)
		end(n);
}
