/* How does an agent get its first certificate? With a token that pins the broker's CAs: they are fetched over a connection that nobody vouches for and
 * compared with the pin; only over a second one, which they vouch for, does the token go. The key is made here and stays here. What is kept where is
 * idfiles.h; how an answer is judged is certanswer.c. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "cli/admin.h"
#include "cli/cawords.h"
#include "cli/idfiles.h"
#include "cli/text.h"
#include "client/addr.h"
#include "client/conn.h"
#include "client/stream.h"
#include "identity/enrolment.h"

#define ENROL_ARENA (64 * 1024 * 1024)
#define TOKEN_FILE_MAX 8192

struct enroll {
	struct cli *c;
	const char *server;
	struct idfiles files;
	uint8_t pin[SHA256_BYTES];
	struct arena *arena; /* what the broker answered */
	struct slice cas[CERTANSWER_BUNDLE_MAX];
	size_t n_cas;
	struct ca_key *key;
	struct certanswer got;
};

/* ---- the token ---- */

/* From the file, or standard input, into c->token. */
static int read_token(struct cli *c)
{
	const char *path = c->args.text[OPT_TOKEN_FILE];
	bool piped = strcmp(path, "-") == 0;
	struct problem why = {""};
	uint8_t *bytes = NULL;
	size_t n = 0;
	int rc = piped ? file_read_fd(0, "standard input", TOKEN_FILE_MAX, &bytes, &n, &why) : secret_read_file(path, TOKEN_FILE_MAX, &bytes, &n, &why);

	if (rc < 0)
		return complain(c, !piped && access(path, F_OK) ? EXIT_MISSING : EXIT_CONFIG, why.text, NULL, "A token's file is a regular file of mode 0600.");
	while (n && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
		n--;
	slice_copy_str(slice_of(bytes, n), c->token, sizeof c->token);
	secret_wipe(bytes, n);
	free(bytes);
	return 0;
}

static int take_token(struct enroll *e)
{
	struct cli *c = e->c;
	const char *fault;
	uint64_t agent_key;
	int code = read_token(c);

	if (code)
		return code;
	fault = enrolment_token_read(slice_str(c->token), &agent_key, e->pin);
	return fault ? complain(c, EXIT_USAGE, fault, NULL, "It is what `baton agent enroll-token` printed, on one line.") : 0;
}

/* ---- the broker ---- */

static void hang_up(struct cli *c)
{
	client_free(c->conn);
	client_creds_free(c->creds);
	c->conn = NULL;
	c->creds = NULL;
}

/* With these credentials, which it takes; NULL: why there are none. */
static int reach(struct enroll *e, struct client_creds *creds, struct client_error *why)
{
	struct cli *c = e->c;

	hang_up(c);
	c->creds = creds;
	c->conn = c->creds ? client_new(c->creds, e->server, why) : NULL;
	if (!c->conn || client_connect(c->conn, clock_mono_ms() + c->args.number[OPT_TIMEOUT], why))
		return complain_client(c, why);
	return 0;
}

static void *ask(struct enroll *e, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *answer, struct client_status *s)
{
	return client_unary(e->c->conn, method, NULL, q, answer, e->c->args.number[OPT_TIMEOUT], e->arena, s);
}

/* What is said here anybody may hear, and what is heard is worth nothing before it is compared with the pin. */
static int fetch_bundle(struct enroll *e)
{
	Baton__V1__GetBundleRequest q = BATON__V1__GET_BUNDLE_REQUEST__INIT;
	struct client_error why = {.fault = CLIENT_FINE};
	struct client_status status;
	uint8_t pin[SHA256_BYTES];
	Baton__V1__Bundle *m;
	int code = reach(e, client_creds_unverified(&why), &why);

	if (code)
		return code;
	m = ask(e, ADMIN_ENROL "GetBundle", &q.base, &baton__v1__bundle__descriptor, &status);
	if (!m)
		return complain_status(e->c, &status);
	e->n_cas = certanswer_slices(m->bundle_der, m->n_bundle_der, e->cas, CERTANSWER_BUNDLE_MAX, NULL);
	if (enrolment_pin(e->cas, e->n_cas, pin) && memcmp(pin, e->pin, sizeof pin) == 0)
		return 0;
	return complain(e->c, EXIT_PROTOCOL, "the broker's CA bundle is not the one that this token was made for", "The token was not sent.",
			"Is that the broker that made the token? If its CAs were changed since then, ask for a new token. Otherwise somebody answers in its place.");
}

/* What was refused, or lost: the certificate may be made already, and the same key gets it again. */
static int complain_enrol(const struct enroll *e, struct client_status *s)
{
	int code;

	if (s->code == GRPC_UNAVAILABLE)
		s->local = false; /* the broker was there before the question was sent: that is no "not reachable" */
	code = complain_status(e->c, s);
	if (code == EXIT_AGAIN)
		cli_note(e->c, "The key is kept in %s: the same command with the same token goes on from there.", e->files.pending);
	else if (code == EXIT_DENIED)
		cli_note(e->c, "A token is good for its time, and for the first key that came with it. Ask for a new one: baton agent enroll-token NAME");
	return code;
}

static int ask_for_certificate(struct enroll *e, Baton__V1__Certificate **m)
{
	Baton__V1__EnrolRequest q = BATON__V1__ENROL_REQUEST__INIT;
	struct client_status status;
	struct problem why = {""};
	struct buf csr;
	int code = 0;

	buf_init(&csr, CA_REQUEST_MAX);
	if (enrolment_request(e->key, &csr, &why) < 0) {
		code = complain(e->c, EXIT_BUG, why.text, NULL, NULL);
	} else {
		q.token = e->c->token;
		q.csr_der = (ProtobufCBinaryData){csr.n, csr.p};
		*m = ask(e, ADMIN_ENROL "Enrol", &q.base, &baton__v1__certificate__descriptor, &status);
		if (!*m)
			code = complain_enrol(e, &status);
	}
	buf_clear(&csr);
	return code;
}

static int keep(struct enroll *e, const Baton__V1__Certificate *m)
{
	struct problem why = {""};

	if (certanswer_judge(&e->got, m, e->key, NULL, e->c->conn, clock_unix_ms(), &why) < 0)
		return complain(e->c, e->got.is_early ? EXIT_CONFIG : EXIT_PROTOCOL, "the broker's certificate is not kept", why.text,
				e->got.is_early ? "The key is kept: once the clock is right the same command with the same token goes on from there." : NULL);
	if (idfiles_write(&e->files, e->key, &e->got, &why) < 0)
		return complain(e->c, EXIT_CONFIG, "the certificate could not be written", why.text, NULL);
	idfiles_forget_pending(&e->files);
	return 0;
}

static int enroll(struct enroll *e)
{
	struct client_error error = {.fault = CLIENT_FINE};
	struct problem why = {""};
	Baton__V1__Certificate *m = NULL;
	int code = fetch_bundle(e);

	if (!code)
		code = reach(e, client_creds_unnamed(e->cas, e->n_cas, &error), &error);
	if (code)
		return code;
	e->key = idfiles_pending(&e->files, slice_str(e->c->token), &why);
	if (!e->key)
		return complain(e->c, EXIT_CONFIG, why.text, NULL, NULL);
	code = ask_for_certificate(e, &m);
	return code ? code : keep(e, m);
}

/* ---- the command ---- */

/* Before anything is asked: where it will lie. */
static int open_folder(struct enroll *e)
{
	struct cli *c = e->c;
	struct problem why = {""};
	int rc = idfiles_make(&e->files, c->args.text[OPT_ENROL_OUT], &why);

	if (rc == 0)
		rc = idfiles_lock(&e->files, &why);
	if (rc)
		return complain(c, rc > 0 ? EXIT_AGAIN : EXIT_CONFIG, why.text, NULL, NULL);
	if (!c->args.given[OPT_FORCE] && idfiles_enrolled(&e->files)) {
		snprintf(why.text, sizeof why.text, "%.600s is there already", e->files.agent);
		return complain(c, EXIT_CONFIG, why.text, NULL, "Name another folder, or replace it with --force. A certificate that is still good is renewed: baton renew");
	}
	return 0;
}

static void print(const struct enroll *e)
{
	char until[25];
	const struct cafact facts[] = {{"spiffe_id", e->got.leaf.spiffe_id}, {"not_after", until}, {"cert", e->files.agent}, {"key", e->files.agent}, {"ca", e->files.bundle}};

	clock_format_utc(e->got.leaf.not_after_ms, until);
	cawords_print(e->c, facts, sizeof facts / sizeof facts[0]);
	if (e->got.clock[0])
		cli_note(e->c, "warning: %s: set the clock", e->got.clock);
	cli_note(e->c, "use it: baton whoami --addr HOST:PORT --cert %s --key %s --ca %s", e->files.agent, e->files.agent, e->files.bundle);
	cli_note(e->c, "keep it: baton renew --daemon, with the same options");
}

/* What is missing, or spelled wrong. */
static int check_options(struct enroll *e)
{
	struct cli *c = e->c;
	struct problem why = {""};
	struct addr a;

	if (!e->server || !*e->server)
		return complain_usage(c, "`enroll` needs --server HOST:PORT, the broker's listen.enrol");
	if (addr_split(e->server, &a, &why))
		return complain(c, EXIT_USAGE, why.text, NULL, ADDR_ADVICE);
	if (!c->args.given[OPT_TOKEN_FILE])
		return complain_usage(c, "`enroll` needs --token-file FILE, or - for standard input: what `baton agent enroll-token` printed");
	if (!c->args.text[OPT_ENROL_OUT])
		return complain_usage(c, "`enroll` needs --out DIR, the folder for its key and certificate");
	return 0;
}

int cmd_enroll(struct cli *c)
{
	struct enroll e = {.c = c, .server = c->args.text[OPT_ENROL_SERVER], .files = {.lock = -1}};
	int code = check_options(&e);

	if (!code)
		code = take_token(&e);
	if (!code)
		code = open_folder(&e);
	if (!code)
		code = (e.arena = arena_new(ENROL_ARENA)) ? enroll(&e) : EXIT_BUG;
	if (!code)
		print(&e);
	idfiles_unlock(&e.files);
	ca_key_free(e.key);
	arena_free(e.arena);
	return code;
}
