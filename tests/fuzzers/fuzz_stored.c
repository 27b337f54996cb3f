/* What can come out of the store, once Redis may have written it? The first byte says how: 'r' takes the rest as a sealed blob, which must
 * not open; a kind's letter seals the rest under that kind and opens it, but not as another's, nor with one bit changed. 'T' then reads it
 * as a record, a task, an outcome and events, each behind its length, and shows the handoff's life as a watcher would see it. 'n' takes it as what
 * a node tells of itself, which is read to nothing or to what can be told again. */
#include <string.h>

#include "client/pb.h"
#include "fuzz.h"
#include "kit.h"
#include "rpc/events.h"
#include "rpc/nodereport.h"
#include "store/record.h"
#include "store/seal_keys.h"

#define INPUT_MAX 16384
#define EVENTS_MAX 16
#define NOW_MS 1764000000000

unsigned fuzz_good;

static struct kit kit;
static struct seal *seal, *other;
static struct arena *arena;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct seal_keys keys = {.n = 2, .key = {{"new", {1, 2, 3, 4}, {9}}, {"old", {5, 6, 7, 8}, {7}}}};
	static struct seal_keys others = {.n = 1, .key = {{"new", {1, 2, 3, 4}, {8}}}};

	kit_make(&kit);
	seal = seal_new(&keys);
	other = seal_new(&others);
	arena = arena_new(8 << 20);
	NEED(seal && other && arena);
	return 0;
}

static const uint8_t id[HANDOFF_ID_BYTES] = {1}, token[SEAL_TOKEN_BYTES] = {2};

static struct seal_name name_of(enum seal_kind kind)
{
	return (struct seal_name){kind, KIT_TENANT, KIT_ROUTE, id, token};
}

static bool opens(struct seal *s, const struct seal_name *name, struct slice sealed)
{
	uint8_t *out = malloc(sealed.n + 1);
	long n = seal_open(s, name, sealed, out);

	NEED(n <= (long)sealed.n);
	free(out);
	return n >= 0;
}

/* Nobody has the key: nothing opens. */
static void try_raw(struct slice sealed)
{
	struct seal_name name = name_of(SEAL_TASK);

	NEED(!opens(seal, &name, sealed));
}

static void try_sealed(enum seal_kind kind, struct slice plain)
{
	struct seal_name name = name_of(kind), wrong = name;
	size_t n = plain.n + seal_overhead(seal);
	uint8_t *sealed = malloc(n), *back = malloc(n);

	NEED(sealed && back && seal_put(seal, &name, plain, sealed) == 0);
	NEED(seal_open(seal, &name, slice_of(sealed, n), back) == (long)plain.n && (!plain.n || !memcmp(back, plain.p, plain.n)));
	wrong.kind = kind == SEAL_TASK ? SEAL_PROGRESS : SEAL_TASK;
	NEED(!opens(seal, &wrong, slice_of(sealed, n)));
	wrong = name;
	wrong.route = "mail";
	NEED(!opens(seal, &wrong, slice_of(sealed, n)));
	NEED(!opens(other, &name, slice_of(sealed, n)) && !opens(seal, &name, slice_of(sealed, n - 1)));
	sealed[plain.n ? plain.p[0] % n : 0] ^= 1;
	NEED(!opens(seal, &name, slice_of(sealed, n)));
	free(sealed);
	free(back);
}

/* ---- what it says ---- */

/* Behind its length in two bytes; what is left when that says more. */
static struct slice take_blob(struct slice *in)
{
	size_t head = in->n < 2 ? in->n : 2, n = (size_t)be_get(in->p, (unsigned)head);
	struct slice blob;

	n = n < in->n - head ? n : in->n - head;
	blob = slice_of(in->p + head, n);
	*in = slice_of(in->p + head + n, in->n - head - n);
	return blob;
}

/* A watcher's program can read each event, and its fields are what was asked for. */
static void show(const struct life_view *v, uint64_t cursor)
{
	Baton__V1__HandoffEvent *e = life_event_at(arena, v, cursor);
	struct prescan_fault fault;
	struct buf bytes;

	if (!e)
		return;
	fuzz_good++;
	NEED(e->cursor == cursor && strcmp(e->trace_id, v->task->trace_id) == 0);
	buf_init(&bytes, 1 << 20);
	NEED(pb_pack(&bytes, &e->base));
	NEED(pb_unpack(&baton__v1__handoff_event__descriptor, buf_slice(&bytes), arena, &fault));
	buf_clear(&bytes);
}

static void show_life(const struct store_record *r, const pb_task *t, struct slice outcome, struct slice rest)
{
	struct store_event events[EVENTS_MAX];
	struct life_view v = {.world = kit.world, .tenant = KIT_TENANT, .record = r, .task = t, .outcome = outcome, .events = events,
			      .id_text = "AAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	const uint8_t *at;

	while (rest.n && v.n_events < EVENTS_MAX)
		if (record_event_decode(take_blob(&rest), &events[v.n_events], &at))
			v.n_events++;
	for (uint64_t c = 1; c <= r->cursor && c <= EVENTS_MAX; c++)
		show(&v, c);
	if (r->cursor > EVENTS_MAX)
		show(&v, r->cursor);
}

static void judge(const pb_task *t)
{
	pb_envelope *e = task_unpack_envelope(arena, t);
	struct verdict v;

	if (!e)
		return;
	v = task_judge(arena, kit.world, t, e, NOW_MS);
	NEED(v.outcome == OUTCOME_DENY || (strcmp(t->tenant, KIT_TENANT) == 0 && strcmp(t->sender, KIT_SENDER) == 0 &&
					     t->authority_until_ms > NOW_MS));
}

static void read_stored(struct slice in)
{
	static const uint8_t tag[4];
	struct slice task, outcome;
	struct record r;
	pb_task *t;

	arena_reset(arena);
	if (in.n < LEASED_BYTES || !record_decode(tag, in.p, in.p + HANDOFF_ID_BYTES, &r))
		return;
	in = slice_of(in.p + LEASED_BYTES, in.n - LEASED_BYTES);
	task = take_blob(&in);
	outcome = take_blob(&in);
	t = task_unpack(arena, task);
	if (!t)
		return;
	judge(t);
	show_life(&r.r, t, outcome, in);
}

static void read_report(struct slice in)
{
	uint8_t first[STORE_REPORT_MAX], second[STORE_REPORT_MAX];
	struct node_report r;
	size_t n;

	if (!node_report_read(in, &r)) {
		NEED(node_report_pack(&r, first) == 0);
		return;
	}
	fuzz_good++;
	n = node_report_pack(&r, first);
	NEED(node_report_read(slice_of(first, n), &r) && node_report_pack(&r, second) == n && memcmp(first, second, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	rest = slice_of(data + 1, size - 1);
	if (data[0] == 'r')
		try_raw(rest);
	else if (data[0] && strchr("TPBCFRXE", data[0]))
		try_sealed((enum seal_kind)data[0], rest);
	if (data[0] == 'T')
		read_stored(rest);
	else if (data[0] == 'n')
		read_report(rest);
	return 0;
}
