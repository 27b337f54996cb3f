/* Does the client speak to a broker over mutual TLS, and does it say well why it cannot? Each refusal beside the
 * twin that passes. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "baton/v1/handoff.pb-c.h"
#include "client/stream.h"
#include "client_pki.h"
#include "fake_broker.h"
#include "identity/ca.h"

#define WAIT_MS 10000

struct fixture {
	struct client_pki pki;
	struct fake *fake;
	struct fake_options options;
	char cert[160], key[160], ca[160];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	client_pki_make(&f->pki);
	snprintf(f->cert, sizeof f->cert, "%s", client_pki_path(&f->pki, "server.pem"));
	snprintf(f->key, sizeof f->key, "%s", client_pki_path(&f->pki, "server.key"));
	snprintf(f->ca, sizeof f->ca, "%s", client_pki_path(&f->pki, "ca.pem"));
	f->options = (struct fake_options){.cert = f->cert, .key = f->key, .ca = f->ca};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->fake)
		fake_stop(f->fake);
	client_pki_remove(&f->pki);
	free(f);
	return 0;
}

static struct client_creds *creds(struct fixture *f, const char *ca, const char *name, struct client_error *why)
{
	char cert[80], key[80];

	snprintf(cert, sizeof cert, "%s.pem", name);
	snprintf(key, sizeof key, "%s.key", name);
	return client_creds_load(client_pki_path(&f->pki, ca), client_pki_path(&f->pki, cert), client_pki_path(&f->pki, key),
		why);
}

static void address(struct fixture *f, char out[64])
{
	if (!f->fake)
		f->fake = fake_start(&f->options);
	snprintf(out, 64, "127.0.0.1:%d", fake_port(f->fake));
}

/* Connects as `name`, believing `ca`; the fault, with its words in *why. */
static enum client_fault try_connect(struct fixture *f, const char *ca, const char *name, struct client_error *why)
{
	struct client_creds *k;
	struct client *c;
	char addr[64];
	enum client_fault fault = CLIENT_FINE;

	memset(why, 0, sizeof *why);
	address(f, addr);
	k = creds(f, ca, name, why);
	assert_non_null(k);
	c = client_new(k, addr, why);
	if (!c || client_connect(c, clock_mono_ms() + WAIT_MS, why))
		fault = why->fault;
	client_free(c);
	client_creds_free(k);
	return fault;
}

static void connects_when_both_sides_trust(void **state)
{
	struct client_error why;

	assert_int_equal(try_connect(*state, "ca.pem", "planner", &why), CLIENT_FINE);
}

static void explains_unknown_ca_of_ours(void **state)
{
	struct client_error why;

	assert_int_equal(try_connect(*state, "ca.pem", "stranger", &why), CLIENT_FAULT_UNREACHABLE);
	assert_non_null(strstr(why.what, "unknown_ca"));
	assert_non_null(strstr(why.seen, "stranger.pem"));
}

static void explains_expired_certificate(void **state)
{
	struct client_error why;

	assert_int_equal(try_connect(*state, "ca.pem", "expired", &why), CLIENT_FAULT_UNREACHABLE);
	assert_non_null(strstr(why.what, "the broker closed the handshake (certificate_expired)"));
	assert_non_null(strstr(why.seen, "expired.pem expired 3 h ago"));
	assert_non_null(strstr(why.todo, "Renew it"));
}

static void refuses_a_broker_of_another_ca(void **state)
{
	struct client_error why;

	assert_int_equal(try_connect(*state, "other-ca.pem", "planner", &why), CLIENT_FAULT_UNREACHABLE);
	assert_non_null(strstr(why.what, "the broker's certificate is refused"));
	assert_non_null(strstr(why.seen, "other-ca.pem"));
}

static void refuses_a_broker_of_another_name(void **state)
{
	struct fixture *f = *state;
	struct client_error why;

	snprintf(f->cert, sizeof f->cert, "%s", client_pki_path(&f->pki, "elsewhere.pem"));
	snprintf(f->key, sizeof f->key, "%s", client_pki_path(&f->pki, "elsewhere.key"));
	assert_int_equal(try_connect(f, "ca.pem", "planner", &why), CLIENT_FAULT_UNREACHABLE);
	assert_non_null(strstr(why.seen, "not made for the name"));
}

static struct buf ca_der(struct fixture *f, const char *name)
{
	struct buf der;
	uint8_t *pem = NULL;
	size_t n = 0;

	buf_init(&der, 65536);
	assert_int_equal(file_read(client_pki_path(&f->pki, name), 65536, &pem, &n, NULL), 0);
	assert_int_equal(ca_pem_read(CA_PEM_CERTIFICATE, slice_of(pem, n), 0, &der, NULL), 1);
	free(pem);
	return der;
}

/* Shows no certificate; bundle NULL: verifies nothing. Is the broker vouched for by `other`, once connected? */
static enum client_fault try_unnamed(struct fixture *f, const char *bundle, const char *other, bool *vouched, struct client_error *why)
{
	struct buf der = {0}, der2 = ca_der(f, other);
	struct slice one = slice_of(NULL, 0), two = buf_slice(&der2);
	struct client_creds *k;
	struct client *c;
	char addr[64];
	enum client_fault fault = CLIENT_FINE;

	if (bundle) {
		der = ca_der(f, bundle);
		one = buf_slice(&der);
	}
	memset(why, 0, sizeof *why);
	address(f, addr);
	k = bundle ? client_creds_unnamed(&one, 1, why) : client_creds_unverified(why);
	assert_non_null(k);
	assert_false(client_creds_named(k));
	c = client_new(k, addr, why);
	if (!c || client_connect(c, clock_mono_ms() + WAIT_MS, why))
		fault = why->fault;
	else
		*vouched = client_vouched(c, &two, 1);
	client_free(c);
	client_creds_free(k);
	buf_clear(&der);
	buf_clear(&der2);
	return fault;
}

static void without_a_certificate_the_bundle_decides_whom_it_believes(void **state)
{
	struct fixture *f = *state;
	struct client_error why;
	bool vouched = false;

	f->options.ca = NULL;
	assert_int_equal(try_unnamed(f, "ca.pem", "ca.pem", &vouched, &why), CLIENT_FINE);
	assert_true(vouched);
	assert_int_equal(try_unnamed(f, "ca.pem", "other-ca.pem", &vouched, &why), CLIENT_FINE);
	assert_false(vouched);
	assert_int_equal(try_unnamed(f, "other-ca.pem", "ca.pem", &vouched, &why), CLIENT_FAULT_UNREACHABLE);
	assert_non_null(strstr(why.what, "the broker's certificate is refused"));
	assert_null(strstr(why.todo, "--ca"));
	assert_int_equal(try_unnamed(f, NULL, "other-ca.pem", &vouched, &why), CLIENT_FINE);
	assert_false(vouched);
}

static void without_a_certificate_the_agents_port_is_the_wrong_one(void **state)
{
	struct client_error why;
	bool vouched;

	assert_int_equal(try_unnamed(*state, "ca.pem", "ca.pem", &vouched, &why), CLIENT_FAULT_UNREACHABLE);
	assert_non_null(strstr(why.what, "certificate_required"));
	assert_non_null(strstr(why.todo, "listen.enrol"));
}

static void a_bundle_of_something_else_makes_no_connection(void **state)
{
	const struct slice junk = SLICE_LIT("junk");
	struct client_error why = {.fault = CLIENT_FINE};

	assert_null(client_creds_unnamed(&junk, 1, &why));
	assert_int_equal(why.fault, CLIENT_FAULT_PROTOCOL);
	assert_null(client_creds_unnamed(&junk, 0, &why)); /* nobody is believed, not anybody */
	assert_int_equal(why.fault, CLIENT_FAULT_PROTOCOL);
}

static void needs_alpn_h2(void **state)
{
	struct fixture *f = *state;
	struct client_error why;

	f->options.no_alpn = true;
	assert_int_equal(try_connect(f, "ca.pem", "planner", &why), CLIENT_FAULT_PROTOCOL);
	assert_non_null(strstr(why.what, "ALPN"));
}

static void needs_tls(void **state)
{
	struct fixture *f = *state;
	struct client_error why;

	f->options.plain = true;
	assert_int_equal(try_connect(f, "ca.pem", "planner", &why), CLIENT_FAULT_PROTOCOL);
	assert_non_null(strstr(why.what, "does not speak TLS"));
}

static void says_connection_refused(void **state)
{
	struct fixture *f = *state;
	struct client_error why;
	struct client_creds *k = creds(f, "ca.pem", "planner", &why);
	struct client *c;
	char addr[64];

	address(f, addr);
	fake_stop(f->fake); /* the port is free now */
	f->fake = NULL;
	c = client_new(k, addr, &why);
	assert_true(!c || client_connect(c, clock_mono_ms() + WAIT_MS, &why) != 0);
	assert_int_equal(why.fault, CLIENT_FAULT_UNREACHABLE);
	assert_non_null(strstr(why.what, "refused"));
	client_free(c);
	client_creds_free(k);
}

static void refuses_bad_addresses(void **state)
{
	static const char *const bad[] = {"nohost", ":7443", "host:", "::1:7443", ""};
	struct client_error why;
	struct client_creds *k = creds(*state, "ca.pem", "planner", &why);

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why.fault = CLIENT_FINE;
		assert_null(client_new(k, bad[i], &why));
		assert_int_equal(why.fault, CLIENT_FAULT_CONFIG);
	}
	client_creds_free(k);
}

static void judges_credential_files(void **state)
{
	struct fixture *f = *state;
	struct client_error why = {.fault = CLIENT_FINE};
	struct client_creds *k = creds(f, "ca.pem", "planner", &why);

	assert_non_null(k);
	client_creds_free(k);
	assert_null(creds(f, "none.pem", "planner", &why));
	assert_int_equal(why.fault, CLIENT_FAULT_MISSING);
	assert_null(client_creds_load(client_pki_path(&f->pki, "ca.pem"), client_pki_path(&f->pki, "planner.pem"),
				      client_pki_path(&f->pki, "worker.key"), &why));
	assert_int_equal(why.fault, CLIENT_FAULT_CONFIG);
	assert_non_null(strstr(why.what, "is not the key of"));
	assert_null(client_creds_load("", client_pki_path(&f->pki, "planner.pem"), client_pki_path(&f->pki, "planner.key"),
		&why));
	assert_int_equal(why.fault, CLIENT_FAULT_CONFIG);
	assert_int_equal(chmod(client_pki_path(&f->pki, "planner.key"), 0644), 0);
	assert_null(creds(f, "ca.pem", "planner", &why));
	assert_int_equal(why.fault, CLIENT_FAULT_CONFIG);
}

/* ---- calls ---- */

struct open_client {
	struct client_creds *k;
	struct client *c;
	struct arena *arena;
};

static struct open_client open_client(struct fixture *f)
{
	struct client_error why = {.fault = CLIENT_FINE};
	struct open_client o = {.arena = arena_new(1 << 20)};
	char addr[64];

	address(f, addr);
	o.k = creds(f, "ca.pem", "planner", &why);
	o.c = client_new(o.k, addr, &why);
	assert_int_equal(client_connect(o.c, clock_mono_ms() + WAIT_MS, &why), 0);
	return o;
}

static void close_client(struct open_client *o)
{
	client_free(o->c);
	client_creds_free(o->k);
	arena_free(o->arena);
}

static Baton__V1__Receipt *submit(struct open_client *o, const char *route, int64_t timeout,
	struct client_status *status)
{
	Baton__V1__SubmitRequest r = BATON__V1__SUBMIT_REQUEST__INIT;
	Baton__V1__TaskEnvelope e = BATON__V1__TASK_ENVELOPE__INIT;

	e.route = (char *)(uintptr_t)route;
	e.tool = (char *)(uintptr_t)"t";
	r.envelope = &e;
	r.ref = 42;
	return (void *)client_unary(o->c, "Submit", "tok", &r.base, &baton__v1__receipt__descriptor, timeout, o->arena,
		status);
}

static void unary_call_answers(void **state)
{
	struct open_client o = open_client(*state);
	struct client_status status;
	Baton__V1__Receipt *r = submit(&o, "any", WAIT_MS, &status);

	assert_non_null(r);
	assert_int_equal(status.code, GRPC_OK);
	assert_string_equal(r->handoff_id, "h1");
	assert_int_equal(r->ref, 42);
	close_client(&o);
}

static void token_travels_as_bearer(void **state)
{
	struct open_client o = open_client(*state);
	Baton__V1__WhoAmIRequest q = BATON__V1__WHO_AM_IREQUEST__INIT;
	struct client_status status;
	Baton__V1__WhoAmIResponse *with = (void *)client_unary(o.c, "WhoAmI", "tok", &q.base,
		&baton__v1__who_am_iresponse__descriptor,
								WAIT_MS, o.arena, &status);
	Baton__V1__WhoAmIResponse *without = (void *)client_unary(o.c, "WhoAmI", NULL, &q.base,
								  &baton__v1__who_am_iresponse__descriptor, WAIT_MS, o.arena, &status);

	assert_int_equal(with->token->outcome, BATON__V1__OUTCOME__OUTCOME_ALLOW);
	assert_int_equal(without->token->outcome, BATON__V1__OUTCOME__OUTCOME_DENY);
	close_client(&o);
}

static void denial_is_read_from_trailers(void **state)
{
	struct open_client o = open_client(*state);
	struct client_status s;

	assert_null(submit(&o, "deny", WAIT_MS, &s));
	assert_int_equal(s.code, GRPC_PERMISSION_DENIED);
	assert_int_equal(s.reason, REASON_MISSING_SCOPE);
	/* the line end is not passed on */
	assert_string_equal(s.message, "missing_scope: refunds:draft is needed \xE2\x80\x94 here");
	assert_string_equal(s.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
	assert_string_equal(s.policy_version, "sha256:3f0a91c2b7de4410");
	assert_int_equal(s.retry_after_ms, 250);
	assert_false(s.local);
	assert_non_null(submit(&o, "any", WAIT_MS, &s)); /* the connection lives on */
	close_client(&o);
}

static void silence_ends_at_the_deadline(void **state)
{
	struct open_client o = open_client(*state);
	struct client_status s;

	assert_null(submit(&o, "silent", 150, &s));
	assert_int_equal(s.code, GRPC_DEADLINE_EXCEEDED);
	assert_true(s.local);
	assert_non_null(submit(&o, "any", WAIT_MS, &s));
	close_client(&o);
}

static void goaway_makes_calls_unavailable(void **state)
{
	struct open_client o = open_client(*state);
	struct client_status s;

	assert_null(submit(&o, "goaway", WAIT_MS, &s));
	assert_int_equal(s.code, GRPC_UNAVAILABLE);
	assert_null(submit(&o, "any", WAIT_MS, &s));
	assert_int_equal(s.code, GRPC_UNAVAILABLE);
	assert_non_null(strstr(s.message, "draining"));
	close_client(&o);
}

static void answer_without_grpc_is_said(void **state)
{
	struct open_client o = open_client(*state);
	Baton__V1__WhoAmIRequest q = BATON__V1__WHO_AM_IREQUEST__INIT;
	struct client_status s;

	assert_null(client_unary(o.c, "Html", NULL, &q.base, &baton__v1__who_am_iresponse__descriptor, WAIT_MS, o.arena, &s));
	assert_int_equal(s.code, GRPC_UNAVAILABLE); /* HTTP 502 */
	assert_non_null(strstr(s.message, "502"));
	close_client(&o);
}

/* ---- many calls at once ---- */

struct many {
	int messages, ends, bad;
};

static void many_message(void *user, struct client_call *call, struct slice m)
{
	((struct many *)user)->messages++;
}

static void many_end(void *user, struct client_call *call, const struct client_status *s)
{
	((struct many *)user)->ends++;
	((struct many *)user)->bad += s->code != GRPC_OK;
}

static const struct client_call_events many_events = {.on_message = many_message, .on_end = many_end};

static void one_connection_carries_many_calls(void **state)
{
	struct fixture *f = *state;
	struct open_client o = open_client(f);
	struct many m = {0};
	struct client_call_spec spec = {.path = CLIENT_SERVICE "WhoAmI", .events = &many_events, .user = &m};
	int64_t deadline = clock_mono_ms() + WAIT_MS;
	struct client_call *dropped;

	for (int i = 0; i < 64; i++) {
		struct client_call *call = client_call_start(o.c, &spec);

		assert_non_null(call);
		client_call_send(call, slice_of("", 0));
		client_call_half_close(call);
	}
	dropped = client_call_start(o.c, &spec);
	client_call_drop(dropped);
	while (m.ends < 64 && client_wait(o.c, deadline))
		;
	assert_int_equal(m.messages, 64);
	assert_int_equal(m.ends, 64);
	assert_int_equal(m.bad, 0);
	assert_int_equal(client_calls(o.c), 0);
	assert_int_equal(fake_connections(f->fake), 1);
	close_client(&o);
}

static void large_answers_are_refused(void **state)
{
	struct open_client o = open_client(*state);
	struct many m = {0};
	struct client_call_spec spec = {.path = CLIENT_SERVICE "WhoAmI", .events = &many_events, .user = &m, .max_message = 8};
	int64_t deadline = clock_mono_ms() + WAIT_MS;
	struct client_call *call = client_call_start(o.c, &spec);

	client_call_send(call, slice_of("", 0));
	client_call_half_close(call);
	while (m.ends < 1 && client_wait(o.c, deadline))
		;
	assert_int_equal(m.messages, 0);
	assert_int_equal(m.bad, 1);
	close_client(&o);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(connects_when_both_sides_trust), T(explains_unknown_ca_of_ours), T(explains_expired_certificate),
		T(refuses_a_broker_of_another_ca), T(refuses_a_broker_of_another_name),
		T(without_a_certificate_the_bundle_decides_whom_it_believes), T(without_a_certificate_the_agents_port_is_the_wrong_one),
		T(a_bundle_of_something_else_makes_no_connection), T(needs_alpn_h2), T(needs_tls),
		T(says_connection_refused), T(refuses_bad_addresses), T(judges_credential_files), T(unary_call_answers),
		T(token_travels_as_bearer), T(denial_is_read_from_trailers), T(silence_ends_at_the_deadline),
		T(goaway_makes_calls_unavailable), T(answer_without_grpc_is_said), T(one_connection_carries_many_calls),
		T(large_answers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
