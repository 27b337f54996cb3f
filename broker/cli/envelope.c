/* What does a sender put into an envelope? The options' values, a random nonce, the time, and the trace it is
 * called in (TRACEPARENT). The broker judges it; only what cannot be said at all is refused here. */
#include "config.h"

#include "cli/envelope.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/words.h"
#include "baton/v1/handoff.pb-c.h"
#include "cli/cli.h"
#include "client/pb.h"
#include "client/status.h"

#define PAYLOAD_MAX (16 * 1024 * 1024)
#define LABELS_MAX 16
#define CLOCKS_AGREE_MS 2000
#define AGAIN_MS 250
#define SCOPES_MAX 32

struct draft {
	Baton__V1__TaskEnvelope e;
	struct buf payload;
	char nonce[B64URL_LEN(16) + 1];
	char *scopes[SCOPES_MAX];
	Baton__V1__TaskEnvelope__LabelsEntry labels[LABELS_MAX], *label_list[LABELS_MAX];
	char *label_text[LABELS_MAX]; /* owned copies, cut at '=' */
};

static int read_stdin(struct buf *out)
{
	for (;;) {
		uint8_t *to = buf_reserve(out, 65536);
		ssize_t n;

		if (!to)
			return -1;
		n = read(0, to, 65536);
		if (n < 0)
			return -1;
		if (n == 0)
			return 0;
		out->n += (size_t)n;
	}
}

static int read_payload(const struct cli *c, struct buf *out)
{
	const char *arg = c->args.text[OPT_PAYLOAD];
	struct problem why = {""};
	uint8_t *bytes = NULL;
	size_t n = 0;

	if (strcmp(arg, "-") == 0)
		return read_stdin(out) ? complain(c, EXIT_MALFORMED, "standard input cannot be read, or is over 16 MiB", NULL, NULL) :
			0;
	if (arg[0] != '@')
		return buf_put_str(out, arg) ? 0 : complain(c, EXIT_MALFORMED, "the payload is too large", NULL, NULL);
	if (!arg[1])
		return complain_usage(c, "--payload: `@` needs a file's name: @FILE");
	if (file_read(arg + 1, PAYLOAD_MAX, &bytes, &n, &why))
		return complain(c, access(arg + 1, F_OK) ? EXIT_MISSING : EXIT_MALFORMED, why.text, NULL, NULL);
	buf_put(out, bytes, n);
	free(bytes);
	return 0;
}

static int take_labels(const struct cli *c, struct draft *d)
{
	for (size_t i = 0; i < c->args.n_many; i++) {
		Baton__V1__TaskEnvelope__LabelsEntry *l = &d->labels[d->e.n_labels];
		char *equals;

		if (c->args.many[i].opt != OPT_LABEL)
			continue;
		if (d->e.n_labels == LABELS_MAX)
			return complain_usage(c, "--label: at most %d", LABELS_MAX);
		d->label_text[d->e.n_labels] = strdup(c->args.many[i].value);
		equals = d->label_text[d->e.n_labels] ? strchr(d->label_text[d->e.n_labels], '=') : NULL;
		if (!equals)
			return complain_usage(c, "--label: `%.64s` is not K=V", c->args.many[i].value);
		*equals = '\0';
		baton__v1__task_envelope__labels_entry__init(l);
		l->key = d->label_text[d->e.n_labels];
		l->value = equals + 1;
		d->label_list[d->e.n_labels++] = l;
	}
	d->e.labels = d->label_list;
	return 0;
}

static int take_scopes(const struct cli *c, struct draft *d)
{
	for (size_t i = 0; i < c->args.n_many; i++) {
		if (c->args.many[i].opt != OPT_SCOPE)
			continue;
		if (d->e.n_scopes == SCOPES_MAX)
			return complain_usage(c, "--scope: at most %d", SCOPES_MAX);
		d->scopes[d->e.n_scopes++] = (char *)(uintptr_t)c->args.many[i].value;
	}
	d->e.scopes = d->scopes;
	return 0;
}

/* protobuf-c's strings are char *, but it only reads them here. */
static void text(char **to, const char *from)
{
	if (from)
		*to = (char *)(uintptr_t)from;
}

static int fill(const struct cli *c, struct draft *d)
{
	const struct args *a = &c->args;
	int64_t now = clock_unix_ms();
	uint8_t random[16];
	int code;

	if (!a->text[OPT_ROUTE] || !a->text[OPT_TOOL])
		return complain_usage(c, "--route and --tool are needed (or --replay FILE)");
	if ((code = read_payload(c, &d->payload)) || (code = take_labels(c, d)) || (code = take_scopes(c, d)))
		return code;
	random_bytes(random, sizeof random);
	b64url_encode(random, sizeof random, d->nonce);
	text(&d->e.route, a->text[OPT_ROUTE]);
	text(&d->e.tool, a->text[OPT_TOOL]);
	text(&d->e.content_type, a->text[OPT_CONTENT_TYPE]);
	text(&d->e.nonce, a->text[OPT_NONCE] ? a->text[OPT_NONCE] : d->nonce);
	text(&d->e.idempotency_key, a->text[OPT_IDEMPOTENCY_KEY]);
	text(&d->e.destination, a->text[OPT_DESTINATION]);
	text(&d->e.traceparent, getenv("TRACEPARENT"));
	text(&d->e.tracestate, getenv("TRACESTATE"));
	d->e.side_effect = (Baton__V1__SideEffect)(a->number[OPT_SIDE_EFFECT] + SIDE_EFFECT_READ);
	d->e.trust = (Baton__V1__ContentTrust)(a->text[OPT_TRUST] ? a->number[OPT_TRUST] + TRUST_UNTRUSTED : 0);
	d->e.priority = (uint32_t)a->number[OPT_PRIORITY];
	d->e.payload = (ProtobufCBinaryData){d->payload.n, d->payload.p};
	d->e.issued_at_ms = now;
	d->e.deadline_ms = a->text[OPT_DEADLINE] ? now + a->number[OPT_DEADLINE] : 0;
	return 0;
}

static int replay(const struct cli *c, struct buf *out)
{
	const char *path = c->args.text[OPT_REPLAY];
	struct problem why = {""};
	uint8_t *bytes = NULL;
	size_t n = 0;

	if (c->args.given[OPT_ROUTE] || c->args.given[OPT_TOOL] || c->args.given[OPT_PAYLOAD] || c->args.given[OPT_NONCE])
		return complain_usage(c,
			"--replay sends the file's bytes as they are: no --route, --tool, --payload, --nonce beside it");
	if (file_read(path, ENVELOPE_MAX, &bytes, &n, &why))
		return complain(c, access(path, F_OK) ? EXIT_MISSING : EXIT_MALFORMED, why.text, NULL, NULL);
	buf_put(out, bytes, n);
	free(bytes);
	return 0;
}

int envelope_make(const struct cli *c, struct buf *out)
{
	struct draft d = {.e = BATON__V1__TASK_ENVELOPE__INIT};
	int code;

	if (c->args.text[OPT_REPLAY])
		return replay(c, out);
	buf_init(&d.payload, PAYLOAD_MAX + 65536);
	code = fill(c, &d);
	if (!code && !pb_pack(out, &d.e.base))
		code = complain(c, EXIT_MALFORMED, "the envelope is too large", NULL, NULL);
	if (!code && c->args.text[OPT_ENVELOPE_FILE])
		code = cli_write_file(c, c->args.text[OPT_ENVELOPE_FILE], buf_slice(out));
	for (size_t i = 0; i < LABELS_MAX; i++)
		free(d.label_text[i]);
	buf_clear(&d.payload);
	return code;
}

bool envelope_stamp_again(const struct cli *c, const struct client_status *s, int64_t deadline_mono_ms)
{
	int64_t off = s->server_time_ms ? clock_unix_ms() - s->server_time_ms : 0;

	if (s->reason != REASON_STALE_ENVELOPE || c->args.text[OPT_REPLAY] || c->args.text[OPT_NONCE] ||
		off > CLOCKS_AGREE_MS ||
	    off < -CLOCKS_AGREE_MS || clock_mono_ms() + AGAIN_MS >= deadline_mono_ms)
		return false;
	if (c->args.text[OPT_PAYLOAD] && strcmp(c->args.text[OPT_PAYLOAD], "-") == 0)
		return false; /* standard input was read to its end */
	cli_verbose(c, "refused as stale though the clocks agree: the store was restarted; stamping anew");
	nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000L}, NULL);
	return true;
}
