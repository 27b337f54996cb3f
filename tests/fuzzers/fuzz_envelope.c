/* What does an envelope carry past its checks, and a text past redaction? The first byte chooses. 'e': the rest is a TaskEnvelope; when it
 * is taken, every rule of its fields holds in other words, and the line that the audit writes of it is one line of JSON. Anything else: the
 * rest is text, a known secret is planted in it, and nothing of that is left after redaction. */
#include <jansson.h>
#include <string.h>

#include "base/redact.h"
#include "fuzz.h"
#include "messaging/envelope.h"
#include "observe/audit_internal.h"
#include "rpc/table.h"
#include "rpc/task.h"

#define NOW_MS 1764000000000
#define PAYLOAD_MAX 1024
#define TEXT_MAX 16384

unsigned fuzz_good;

static const struct envelope_limits limits = {.window_ms = 300000, .clock_skew_ms = 30000, .max_payload = PAYLOAD_MAX};

/* ---- envelopes ---- */

static bool is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e)
			return false;
	return true;
}

static void check_taken(const struct envelope *e, const struct envelope_times *t)
{
	NEED(name_valid(e->route) && name_valid(e->tool) && (!e->tenant.n || name_valid(e->tenant)));
	NEED(e->nonce.n >= 16 && e->nonce.n <= 64 && is_printable(e->nonce) && !memchr(e->nonce.p, ' ', e->nonce.n));
	NEED(e->side_effect >= SIDE_EFFECT_READ && e->side_effect <= SIDE_EFFECT_EXTERNAL_SEND);
	NEED(e->trust >= TRUST_UNSPECIFIED && e->trust <= TRUST_USER && e->priority <= 9);
	NEED(e->payload.n <= PAYLOAD_MAX && e->idempotency_key.n <= 128 && e->destination.n <= 512 && e->content_type.n <= 127);
	NEED(is_printable(e->idempotency_key) && is_printable(e->destination) && is_printable(e->content_type));
	NEED(e->n_scopes <= 32 && e->n_labels <= 16);
	for (size_t i = 0; i < e->n_scopes; i++)
		NEED(e->scopes[i].n && is_printable(e->scopes[i]) && !memchr(e->scopes[i].p, ' ', e->scopes[i].n));
	NEED(e->issued_at_ms > 0 && e->issued_at_ms <= NOW_MS + limits.clock_skew_ms);
	NEED(t->expires_at_ms > NOW_MS && t->expires_at_ms <= e->issued_at_ms + limits.window_ms);
}

/* The same request whatever the order of its scopes; another one with another tool. */
static void check_print(struct envelope e)
{
	struct slice turned[32];
	uint8_t a[16], b[16];

	envelope_fingerprint(&e, a);
	for (size_t i = 0; i < e.n_scopes; i++)
		turned[i] = e.scopes[e.n_scopes - 1 - i];
	e.scopes = turned;
	envelope_fingerprint(&e, b);
	NEED(memcmp(a, b, sizeof a) == 0);
	e.tool = SLICE_LIT("another tool");
	envelope_fingerprint(&e, b);
	NEED(memcmp(a, b, sizeof a) != 0);
	envelope_idempotency("acme", "planner", "https://i.example", "s", e.route, e.idempotency_key, a);
	envelope_idempotency("acme", "planner", "https://i.example", "t", e.route, e.idempotency_key, b);
	NEED(memcmp(a, b, sizeof a) != 0);
}

static void check_deadline(const struct envelope *e)
{
	int64_t deadline = 0;
	struct verdict v = envelope_deadline(e, 60000, 3600000, NOW_MS, &deadline);

	NEED(!verdict_ok(&v) || (deadline > NOW_MS && deadline <= NOW_MS + 3600000 && deadline > e->start_at_ms));
}

/* One line of JSON, whatever is in the envelope. */
static void check_audit(const struct envelope *e, const struct verdict *v)
{
	static struct audit audit = {.node = "fuzz"};
	struct audit_record r = {
		.event = "decision", .at_ms = NOW_MS, .route = e->route, .tool = e->tool, .destination = e->destination,
		.parent_handoff_id = e->parent_handoff_id, .idempotency_key = e->idempotency_key, .outcome = v->outcome,
		.reason = v->reason, .field = slice_str(v->field), .message = slice_str(v->message), .subject = e->payload,
		.scopes = e->n_scopes ? e->scopes[0] : slice_of(NULL, 0), .stop_reason = e->tracestate,
	};
	struct buf line, scratch;
	json_t *j;

	buf_init(&line, AUDIT_LINE_BYTES);
	buf_init(&scratch, AUDIT_LINE_BYTES);
	NEED(audit_format(&audit, &line, &scratch, &r));
	NEED(line.p[line.n - 1] == '\n' && !memchr(line.p, '\n', line.n - 1) && utf8_valid(buf_slice(&line)));
	j = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	NEED(json_is_object(j));
	json_decref(j);
	buf_clear(&line);
	buf_clear(&scratch);
}

static void try_envelope(struct slice bytes)
{
	const struct rpc_row *row = rpc_row_find(SLICE_LIT("/baton.v1.HandoffService/Submit"), "agents");
	struct arena *arena = arena_new(4 << 20);
	struct prescan_fault fault;
	struct envelope_times times;
	struct envelope e;
	struct verdict v;
	pb_envelope *pb;

	NEED(row && arena);
	pb = (pb_envelope *)prescan_unpack(&baton__v1__task_envelope__descriptor, bytes, row->rules, arena, &fault);
	if (pb && task_envelope(arena, pb, &e)) {
		v = envelope_check(&e, &limits, NOW_MS, &times);
		NEED(verdict_ok(&v) || (v.reason != REASON_ALLOWED && v.message[0] && v.field[0]));
		check_audit(&e, &v);
		if (verdict_ok(&v)) {
			fuzz_good++;
			check_taken(&e, &times);
			check_print(e);
			check_deadline(&e);
		}
	}
	arena_free(arena);
}

/* ---- redaction ---- */

#define MARK "UExBTlRFRFNFQ1JFVA"
static const char *const secrets[] = {
	"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJmdXp6In0." MARK,
	" Bearer " MARK,
	"https://user:" MARK "@host.example/",
	"-----BEGIN PRIVATE KEY-----\n" MARK "\n-----END PRIVATE KEY-----",
};

static void redact(struct buf *out, struct slice text)
{
	buf_reset(out);
	NEED(redact_copy(out, text));
	NEED(redact_needed(text) || slice_eq(buf_slice(out), text));
}

static void try_text(uint8_t which, struct slice text)
{
	const char *secret = secrets[which % (sizeof secrets / sizeof secrets[0])];
	size_t at = text.n / 2;
	struct buf planted, out;

	buf_init(&planted, 2 * TEXT_MAX);
	buf_init(&out, 16 * TEXT_MAX);
	redact(&out, text);
	buf_put(&planted, text.p, at);
	buf_put_str(&planted, secret);
	buf_put(&planted, text.p + at, text.n - at);
	NEED(redact_needed(buf_slice(&planted)));
	redact(&out, buf_slice(&planted));
	/* The mark may stand in the text by itself: then it is no secret. */
	NEED(memmem(text.p, text.n, MARK, sizeof MARK - 1) || !memmem(out.p, out.n, MARK, sizeof MARK - 1));
	buf_clear(&planted);
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > TEXT_MAX)
		return 0;
	if (data[0] == 'e')
		try_envelope(slice_of(data + 1, size - 1));
	else
		try_text(data[0], slice_of(data + 1, size - 1));
	return 0;
}
