/* The keeper: what is said on its pipe, what it issues and refuses, that it writes down before it answers, and that it is a process that can do nothing
 * else. */
#include <config.h>

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "identity/ca.h"
#include "keeper/keeper.h"
#include "keeper/signer.h"

#define HOUR 3600000LL

static char dir[64], cert[96], key[96], record[96], assertion_key[96];
static const struct keeper_files files = {cert, key, record};

/* ---- a CA, in files ---- */

static void write_file(const char *path, struct slice bytes, mode_t mode)
{
	struct problem why = {""};

	if (file_write_atomic(path, bytes, mode, &why) < 0)
		fail_msg("%s", why.text);
}

static void make_authority(const char *domain, int64_t lives_ms)
{
	struct problem why = {""};
	int64_t now = clock_unix_ms();
	struct ca_authority root = {.trust_domain = domain, .not_before_ms = now - HOUR, .not_after_ms = now + 48 * HOUR}, mid = root;
	struct ca_key *root_key = ca_key_new(CA_P256, &why), *mid_key = ca_key_new(CA_P256, &why);
	struct buf root_der, mid_der, public, pem;
	char text[CA_KEY_PEM_MAX];
	struct ca_issuer *by;
	size_t n = 0;

	buf_init(&root_der, 1 << 16);
	buf_init(&mid_der, 1 << 16);
	buf_init(&public, 1 << 16);
	buf_init(&pem, 1 << 16);
	ca_serial_new(root.serial);
	ca_serial_new(mid.serial);
	mid.not_after_ms = now + lives_ms;
	assert_int_equal(ca_make_root(root_key, &root, &root_der, &why), 0);
	by = ca_issuer_new(buf_slice(&root_der), root_key, &why);
	assert_non_null(by);
	assert_int_equal(ca_key_public(mid_key, &public, &why), 0);
	assert_int_equal(ca_make_intermediate(by, buf_slice(&public), &mid, &mid_der, &why), 0);
	assert_int_equal(ca_pem_write(CA_PEM_CERTIFICATE, buf_slice(&mid_der), &pem, &why), 0);
	assert_int_equal(ca_key_write(mid_key, text, &n, &why), 0);
	write_file(cert, buf_slice(&pem), 0644);
	write_file(key, slice_of(text, n), 0600);
	ca_issuer_free(by);
	ca_key_free(mid_key);
	buf_clear(&root_der);
	buf_clear(&mid_der);
	buf_clear(&public);
	buf_clear(&pem);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/keeper-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(cert, sizeof cert, "%s/mid.pem", dir);
	snprintf(key, sizeof key, "%s/mid.key", dir);
	snprintf(record, sizeof record, "%s/record.jsonl", dir);
	snprintf(assertion_key, sizeof assertion_key, "%s/assertion.key", dir);
	make_authority("acme.example", 24 * HOUR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(cert);
	unlink(key);
	unlink(record);
	unlink(assertion_key);
	return rmdir(dir);
}

static struct buf public_key(void)
{
	struct problem why = {""};
	struct ca_key *k = ca_key_new(CA_P256, &why);
	struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(ca_key_public(k, &b, &why), 0);
	ca_key_free(k);
	return b;
}

static struct keeper_issuer *issuer(void)
{
	struct problem why = {""};
	struct keeper_issuer *k = keeper_issuer_new(&files, 8 * HOUR, &why);

	if (!k)
		fail_msg("%s", why.text);
	return k;
}

static enum keeper_status ask_at(struct keeper_issuer *k, const char *id, int64_t ttl, int64_t now, int64_t mono, struct keeper_answer *out)
{
	struct buf pub = public_key();
	const struct keeper_ask a = {.kind = KEEPER_ISSUE, .tag = 7, .ttl_ms = ttl, .not_before_ms = now - 60000, .until_ms = mono + 1000, .spiffe_id = slice_str(id), .public_key = buf_slice(&pub)};

	keeper_issuer_answer(k, &a, now, mono, out);
	buf_clear(&pub);
	return out->status;
}

static enum keeper_status ask(struct keeper_issuer *k, const char *id, int64_t ttl, int64_t now, struct keeper_answer *out)
{
	return ask_at(k, id, ttl, now, now, out);
}

static size_t recorded(void)
{
	struct problem why = {""};
	uint8_t *text = NULL;
	size_t n = 0, lines = 0;

	if (file_read(record, 1 << 20, &text, &n, &why) < 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		lines += text[i] == '\n' && i > 0 && text[i - 1] == '}';
	free(text);
	return lines;
}

/* ---- tests ---- */

static void test_packets(void **state)
{
	const struct keeper_ask ask = {.kind = KEEPER_ISSUE, .tag = UINT64_MAX, .ttl_ms = HOUR, .not_before_ms = 5, .until_ms = 6, .spiffe_id = SLICE_LIT("spiffe://a/b"), .public_key = SLICE_LIT("key")};
	const struct keeper_answer answer = {.status = KEEPER_BUSY, .tag = 9, .not_before_ms = 1, .not_after_ms = 2, .why = SLICE_LIT("later")};
	struct keeper_answer answer_back;
	struct keeper_ask back;
	struct buf b, c;

	(void)state;
	buf_init(&b, KEEPER_PACKET_MAX);
	buf_init(&c, KEEPER_PACKET_MAX);
	assert_true(keeper_put_ask(&b, &ask));
	assert_true(keeper_get_ask(buf_slice(&b), &back));
	assert_true(back.tag == UINT64_MAX && back.ttl_ms == HOUR && back.not_before_ms == 5 && back.until_ms == 6 && slice_eq(back.spiffe_id, ask.spiffe_id) &&
		    slice_eq(back.public_key, ask.public_key));
	assert_true(keeper_put_answer(&c, &answer));
	assert_true(keeper_get_answer(buf_slice(&c), &answer_back));
	assert_true(answer_back.status == KEEPER_BUSY && answer_back.tag == 9 && slice_is(answer_back.why, "later"));
	for (size_t n = 0; n < b.n; n++) /* cut anywhere it is none; nor is it with a byte more, or of another version */
		assert_false(keeper_get_ask(slice_of(b.p, n), &back));
	buf_put_u8(&b, 0);
	assert_false(keeper_get_ask(buf_slice(&b), &back));
	b.p[0] = 2;
	assert_false(keeper_get_ask(slice_of(b.p, b.n - 1), &back));
	b.p[0] = 1, b.p[1] = KEEPER_KINDS;
	assert_false(keeper_get_ask(slice_of(b.p, b.n - 1), &back));
	b.p[1] = KEEPER_ISSUE, b.p[10] = 0x80; /* a time below 0 */
	assert_false(keeper_get_ask(slice_of(b.p, b.n - 1), &back));
	buf_clear(&b);
	buf_clear(&c);
}

/* A secret comes back whole; of what is asked for either the file is named, or host and name. */
static void test_secret_packets(void **state)
{
	const struct secret_wanted good[] = {{"/etc/baton/redis.password", "", ""}, {"", "https://login.acme.example/introspect", "acme"}};
	const struct secret_wanted bad[] = {{"", "", ""}, {"/a", "https://a", ""}, {"/a", "https://a", "b"}, {"", "https://a", ""}, {"", "", "b"}, {"/a", "", "b"}};
	struct keeper_answer answer = {.status = KEEPER_OK, .tag = 4}, answer_back;
	static uint8_t large[KEEPER_SECRET_MAX + 1];
	struct keeper_ask back;
	struct buf b;

	(void)state;
	buf_init(&b, KEEPER_PACKET_MAX);
	for (size_t i = 0; i < 2; i++) {
		buf_reset(&b);
		assert_true(keeper_put_ask(&b, &(struct keeper_ask){.kind = KEEPER_SECRET, .tag = 3, .until_ms = 9, .secret = good[i]}));
		assert_true(keeper_get_ask(buf_slice(&b), &back));
		assert_true(back.kind == KEEPER_SECRET && back.tag == 3 && back.until_ms == 9);
		assert_string_equal(back.secret.file, good[i].file);
		assert_string_equal(back.secret.url, good[i].url);
		assert_string_equal(back.secret.name, good[i].name);
		for (size_t n = 0; n < b.n; n++)
			assert_false(keeper_get_ask(slice_of(b.p, n), &back));
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_reset(&b);
		assert_true(keeper_put_ask(&b, &(struct keeper_ask){.kind = KEEPER_SECRET, .secret = bad[i]}));
		assert_false(keeper_get_ask(buf_slice(&b), &back));
	}
	buf_reset(&b);
	answer.secret = slice_of(large, KEEPER_SECRET_MAX);
	assert_true(keeper_put_answer(&b, &answer));
	assert_true(keeper_get_answer(buf_slice(&b), &answer_back));
	assert_true(answer_back.secret.n == KEEPER_SECRET_MAX && answer_back.secret.p + KEEPER_SECRET_MAX == b.p + b.n); /* the last of the packet */
	buf_reset(&b);
	answer.secret.n++;
	assert_false(keeper_put_answer(&b, &answer));
	buf_clear(&b);
}

static void test_issues_and_records(void **state)
{
	struct keeper_issuer *k = issuer();
	int64_t now = clock_unix_ms();
	struct ca_cert_info info;
	struct problem why = {""};
	struct keeper_answer a;

	(void)state;
	assert_int_equal(recorded(), 0);
	assert_int_equal(ask(k, "spiffe://acme.example/planner", HOUR, now, &a), KEEPER_OK);
	assert_int_equal(a.tag, 7);
	assert_int_equal(ca_cert_info(a.certificate, &info, &why), 0);
	assert_string_equal(info.spiffe_id, "spiffe://acme.example/planner");
	assert_true(info.not_after_ms <= now + HOUR && info.not_after_ms > now + HOUR - 1000 && info.not_before_ms <= now - 59000 && info.not_before_ms > now - 62000);
	assert_true(ca_cert_signed_by(a.certificate, a.issuer));
	assert_int_equal(recorded(), 1);
	keeper_issuer_free(k);
}

static void test_refuses(void **state)
{
	struct keeper_issuer *k = issuer();
	int64_t now = clock_unix_ms();
	struct keeper_answer a;

	(void)state;
	assert_int_equal(ask(k, "spiffe://other.example/planner", HOUR, now, &a), KEEPER_REFUSED);
	assert_int_equal(ask(k, "spiffe://acme.example/a*", HOUR, now, &a), KEEPER_REFUSED);
	assert_int_equal(ask(k, "", HOUR, now, &a), KEEPER_REFUSED);
	assert_int_equal(ask(k, "spiffe://acme.example/planner", 9 * HOUR, now, &a), KEEPER_REFUSED); /* over what it was made for */
	assert_int_equal(ask(k, "spiffe://acme.example/planner", 1000, now, &a), KEEPER_REFUSED);
	assert_int_equal(ask(k, "spiffe://acme.example/planner", HOUR, now + 25 * HOUR, &a), KEEPER_REFUSED); /* the CA's certificate has ended */
	assert_true(a.why.n > 0 && !a.certificate.n);
	const struct keeper_ask junk = {.kind = KEEPER_ISSUE, .ttl_ms = HOUR, .not_before_ms = now, .until_ms = now, .spiffe_id = SLICE_LIT("spiffe://acme.example/planner"), .public_key = SLICE_LIT("no key")};
	keeper_issuer_answer(k, &junk, now, now, &a);
	assert_int_equal(a.status, KEEPER_REFUSED);
	assert_int_equal(recorded(), 1); /* of the test before */
	assert_int_equal(ask(k, "spiffe://acme.example/planner", 8 * HOUR, now, &a), KEEPER_OK);
	assert_int_equal(ask(k, "spiffe://acme.example/planner", 8 * HOUR, now + 20 * HOUR, &a), KEEPER_OK); /* no longer than its issuer */
	assert_true(a.not_after_ms <= now + 24 * HOUR);
	keeper_issuer_free(k);
}

static void test_caps(void **state)
{
	struct keeper_issuer *k = issuer();
	int64_t now = clock_unix_ms();
	struct keeper_answer a;
	char id[64];

	(void)state;
	for (int i = 0; i < KEEPER_PER_MINUTE; i++)
		assert_int_equal(ask(k, "spiffe://acme.example/greedy", HOUR, now + i, &a), KEEPER_OK);
	for (int i = 0; i < 2 * KEEPER_PER_SECOND; i++) /* what it is refused is nobody else's loss */
		assert_int_equal(ask(k, "spiffe://acme.example/greedy", HOUR, now + 100, &a), KEEPER_BUSY);
	assert_int_equal(ask(k, "spiffe://acme.example/modest", HOUR, now + 100, &a), KEEPER_OK);
	assert_int_equal(ask(k, "spiffe://acme.example/greedy", HOUR, now + 60000, &a), KEEPER_OK);
	for (int i = 0; i < KEEPER_PER_SECOND; i++) {
		snprintf(id, sizeof id, "spiffe://acme.example/a%d", i);
		assert_int_equal(ask_at(k, id, HOUR, now, 200000000000000, &a), KEEPER_OK);
	}
	assert_int_equal(ask_at(k, "spiffe://acme.example/late", HOUR, now, 200000000000000, &a), KEEPER_BUSY);
	assert_int_equal(ask_at(k, "spiffe://acme.example/late", HOUR, now - HOUR / 2, 200000000001000, &a), KEEPER_OK); /* the wall clock was set back */
	keeper_issuer_free(k);
}

/* Who asked has gone, or a certificate would begin when it must not. */
static void test_dates(void **state)
{
	struct keeper_issuer *k = issuer();
	int64_t now = clock_unix_ms();
	struct buf pub = public_key();
	struct keeper_ask q = {.kind = KEEPER_ISSUE, .ttl_ms = HOUR, .not_before_ms = now, .until_ms = 1000, .spiffe_id = SLICE_LIT("spiffe://acme.example/dated"), .public_key = buf_slice(&pub)};
	struct keeper_answer a;
	size_t had = recorded();

	(void)state;
	keeper_issuer_answer(k, &q, now, 1001, &a);
	assert_int_equal(a.status, KEEPER_BUSY);
	q.not_before_ms = now + 1000;
	keeper_issuer_answer(k, &q, now, 1000, &a);
	assert_int_equal(a.status, KEEPER_REFUSED);
	q.not_before_ms = now - HOUR / 4;
	keeper_issuer_answer(k, &q, now, 1000, &a);
	assert_int_equal(a.status, KEEPER_REFUSED);
	assert_int_equal(recorded(), had);
	q.not_before_ms = now - CA_BACKDATE_MS;
	keeper_issuer_answer(k, &q, now, 1000, &a);
	assert_int_equal(a.status, KEEPER_OK);
	q.not_before_ms = (now - CA_BACKDATE_MS) / 1000 * 1000 - 3000; /* decided 3 s ago: not longer by that */
	keeper_issuer_answer(k, &q, now, 1000, &a);
	assert_int_equal(a.status, KEEPER_OK);
	assert_true(a.not_after_ms - a.not_before_ms == HOUR + CA_BACKDATE_MS);
	keeper_issuer_free(k);
	buf_clear(&pub);
}

/* What cannot be written down is not issued. */
static void test_no_record(void **state)
{
	struct keeper_issuer *k = issuer();
	struct problem why = {""};
	struct keeper_answer a;
	size_t had;
	struct rlimit full = {0}, before;
	struct stat st;

	(void)state;
	assert_int_equal(stat(record, &st), 0);
	getrlimit(RLIMIT_FSIZE, &before);
	full = (struct rlimit){.rlim_cur = (rlim_t)st.st_size + 10, .rlim_max = before.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	assert_int_equal(ask(k, "spiffe://acme.example/unwritten", HOUR, clock_unix_ms(), &a), KEEPER_FAILED);
	assert_true(!a.certificate.n && a.why.n);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	had = recorded();
	assert_int_equal(ask(k, "spiffe://acme.example/written", HOUR, clock_unix_ms(), &a), KEEPER_OK);
	assert_int_equal(recorded(), had + 1); /* a whole line, behind what is left of the other */
	keeper_issuer_free(k);
	unlink(record);
	assert_int_equal(symlink("/dev/full", record), 0);
	assert_null(keeper_issuer_new(&files, 8 * HOUR, &why)); /* no link is followed, and nobody waits at a pipe */
	unlink(record);
	assert_int_equal(mkfifo(record, 0600), 0);
	assert_null(keeper_issuer_new(&files, 8 * HOUR, &why));
	unlink(record);
}

static void test_reload(void **state)
{
	const struct keeper_ask again = {.kind = KEEPER_RELOAD, .tag = 3};
	struct keeper_issuer *k = issuer();
	struct ca_cert_info before, after;
	int64_t now = clock_unix_ms();
	struct problem why = {""};
	struct keeper_answer a;

	(void)state;
	keeper_issuer_answer(k, &again, now, now, &a);
	assert_int_equal(ca_cert_info(a.issuer, &before, &why), 0);
	make_authority("other.example", 24 * HOUR);
	keeper_issuer_answer(k, &again, now, now, &a);
	assert_int_equal(a.status, KEEPER_FAILED);
	write_file(key, SLICE_LIT("no key"), 0600);
	keeper_issuer_answer(k, &again, now, now, &a);
	assert_int_equal(a.status, KEEPER_FAILED);
	assert_int_equal(ask(k, "spiffe://acme.example/planner", HOUR, now, &a), KEEPER_OK); /* it goes on with what it had */
	make_authority("acme.example", 24 * HOUR);
	assert_int_equal(chmod(key, 0640), 0);
	keeper_issuer_answer(k, &again, now, now, &a);
	assert_int_equal(a.status, KEEPER_FAILED);
	assert_int_equal(chmod(key, 0600), 0);
	keeper_issuer_answer(k, &again, now, now, &a);
	assert_int_equal(a.status, KEEPER_OK);
	assert_int_equal(ca_cert_info(a.issuer, &after, &why), 0);
	assert_memory_not_equal(before.serial, after.serial, CA_SERIAL_BYTES);
	assert_int_equal(ask(k, "spiffe://acme.example/planner", HOUR, now, &a), KEEPER_OK);
	assert_true(ca_cert_signed_by(a.certificate, a.issuer));
	keeper_issuer_free(k);
}

/* ---- assertions ---- */

#define X5T "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"

static struct keeper_ask sign_ask(int64_t ends_ms, int64_t until_ms)
{
	return (struct keeper_ask){.kind = KEEPER_SIGN, .tag = 21, .until_ms = until_ms, .assertion = {
		.audience = "spiffe://acme.example/worker", .receiver_x5t = X5T, .tenant = "acme", .route = "refunds", .tool = "", .destination = "",
		.side_effect = "read_only", .handoff_id = "h-1", .fence = 7, .attempt = 2, .payload_sha256 = {1, 2, 3}, .subject = "alice",
		.subject_issuer = "https://login.acme.example", .sender_spiffe_id = "spiffe://acme.example/planner", .scope = "orders:read",
		.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736", .jti = "j-1", .expires_at_ms = ends_ms}};
}

static void test_sign_packets(void **state)
{
	struct keeper_ask a = sign_ask(5, 6), back;
	char *long_text = calloc(1, KEEPER_TEXT_MAX + 1);
	struct buf b;

	(void)state;
	buf_init(&b, KEEPER_PACKET_MAX);
	assert_true(keeper_put_ask(&b, &a));
	assert_true(keeper_get_ask(buf_slice(&b), &back));
	assert_true(back.kind == KEEPER_SIGN && back.until_ms == 6 && back.assertion.expires_at_ms == 5 && back.assertion.fence == 7 && back.assertion.attempt == 2);
	assert_memory_equal(back.assertion.payload_sha256, a.assertion.payload_sha256, 32);
	assert_string_equal(back.assertion.audience, a.assertion.audience);
	assert_string_equal(back.assertion.tool, "");
	assert_string_equal(back.assertion.jti, "j-1");
	for (size_t n = 0; n < b.n; n++)
		assert_false(keeper_get_ask(slice_of(b.p, n), &back));
	b.p[b.n - 1] = 'x'; /* a text that does not end; one that ends twice */
	assert_false(keeper_get_ask(buf_slice(&b), &back));
	b.p[b.n - 1] = b.p[b.n - 2] = 0;
	assert_false(keeper_get_ask(buf_slice(&b), &back));
	memset(long_text, 'x', KEEPER_TEXT_MAX);
	a.assertion.scope = long_text;
	buf_reset(&b);
	assert_false(keeper_put_ask(&b, &a));
	free(long_text);
	buf_clear(&b);
}

static struct keeper_signer *signer(void)
{
	struct problem why = {""};
	struct keeper_signer *k = keeper_signer_new(assertion_key, "baton:node-1", &why);

	if (!k)
		fail_msg("%s", why.text);
	return k;
}

static const char *verified(struct slice token, const char *x5t, int64_t now_ms, struct assertion_claims *out)
{
	struct arena *arena = arena_new(1 << 20);
	struct problem why = {""};
	struct assertion_key *k = assertion_key_load(assertion_key, &why);
	bool expired;
	const char *wrong = assertion_verify(k, token, "spiffe://acme.example/worker", x5t, now_ms, arena, out, &expired);
	bool ours = !wrong && strcmp(out->issuer, "baton:node-1") == 0 && strcmp(out->handoff_id, "h-1") == 0 && out->fence == 7;

	assertion_key_free(k);
	arena_free(arena);
	return wrong ? wrong : ours ? NULL : "it says something else";
}

/* In its own name, from now on, and for no longer than it may. */
static void test_signs(void **state)
{
	const int64_t now = 1764000000000;
	struct keeper_ask q = sign_ask(now + 60000, 1000);
	struct keeper_signer *k = signer();
	struct assertion_claims c;
	struct keeper_answer a;

	(void)state;
	keeper_signer_answer(k, &q, now, 1000, &a);
	assert_int_equal(a.status, KEEPER_OK);
	assert_true(a.tag == 21 && a.not_after_ms == now + 60000);
	assert_null(verified(a.token, X5T, now, &c));
	assert_int_equal(c.expires_at_ms, now + 60000);
	assert_non_null(verified(a.token, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", now, &c));
	q = sign_ask(INT64_MAX, 1000);
	q.assertion.issuer = "baton:somebody";
	q.assertion.now_ms = now + 1000000;
	keeper_signer_answer(k, &q, now, 1000, &a);
	assert_null(verified(a.token, X5T, now, &c));
	assert_true(c.expires_at_ms == now + ASSERTION_LIFE_MS && a.not_after_ms == c.expires_at_ms);
	assert_true(keeper_signer_count(k)->given == 2 && keeper_signer_count(k)->refused == 0 && keeper_signer_count(k)->since_ms == now);
	keeper_signer_free(k);
}

static void test_sign_refuses(void **state)
{
	const int64_t now = 1764000000000;
	const struct keeper_ask good = sign_ask(now + 60000, 1000);
	struct keeper_ask bad[7], over = good;
	struct keeper_signer *k = signer();
	struct keeper_answer a;
	struct problem why = {""};

	(void)state;
	for (size_t i = 0; i < 7; i++)
		bad[i] = good;
	bad[0].assertion.audience = "worker";
	bad[1].assertion.audience = "";
	bad[2].assertion.receiver_x5t = "";
	bad[3].assertion.receiver_x5t = X5T "A";
	bad[4].assertion.handoff_id = "";
	bad[5].assertion.fence = 0;
	bad[6].assertion.jti = "";
	over.assertion.expires_at_ms = now + 999;
	for (size_t i = 0; i < 7; i++) {
		keeper_signer_answer(k, &bad[i], now, 1000, &a);
		assert_int_equal(a.status, KEEPER_REFUSED);
		assert_true(a.why.n && !a.token.n);
	}
	keeper_signer_answer(k, &good, now, 1001, &a); /* nobody waits for it */
	assert_int_equal(a.status, KEEPER_BUSY);
	keeper_signer_answer(k, &over, now, 1000, &a); /* it ends within this second, and is wrong in nothing else */
	assert_int_equal(a.status, KEEPER_BUSY);
	assert_true(a.why.n && !a.token.n);
	keeper_signer_answer(k, &good, now, 1000, &a);
	assert_int_equal(a.status, KEEPER_OK);
	assert_true(keeper_signer_count(k)->given == 1 && keeper_signer_count(k)->refused == 9);
	keeper_signer_free(k);
	assert_int_equal(chmod(assertion_key, 0644), 0);
	assert_null(keeper_signer_new(assertion_key, "baton:node-1", &why));
	assert_non_null(strstr(why.text, "assertion.key_file"));
	assert_int_equal(chmod(assertion_key, 0600), 0);
}

/* ---- the process ---- */

static int receive(struct keeper_channel *c, struct keeper_answer *a)
{
	struct pollfd p = {.fd = keeper_fd(c), .events = POLLIN};

	assert_int_equal(poll(&p, 1, 10000), 1);
	return keeper_receive(c, a);
}

static int send_ask(struct keeper_channel *c, const struct keeper_ask *a)
{
	struct buf b;
	int rc;

	buf_init(&b, KEEPER_PACKET_MAX);
	assert_true(keeper_put_ask(&b, a));
	rc = keeper_send(c, buf_slice(&b));
	buf_clear(&b);
	return rc;
}

static struct keeper_config process_config(void)
{
	return (struct keeper_config){.files = files, .max_ttl_ms = HOUR, .assertion_key = assertion_key, .assertion_issuer = "baton:node-1", .user = "", .secrets = {.folder = ""},
		.seccomp = true, .landlock = true, .channels = 3};
}

/* Confined as it is in a broker. */
static void test_process(void **state)
{
	const struct keeper_config c = process_config();
	struct buf pub = public_key();
	const struct keeper_ask a = {.kind = KEEPER_ISSUE, .tag = 11, .ttl_ms = HOUR, .not_before_ms = clock_unix_ms(), .until_ms = clock_mono_ms() + 10000, .spiffe_id = SLICE_LIT("spiffe://acme.example/planner"), .public_key = buf_slice(&pub)};
	const struct keeper_ask again = {.kind = KEEPER_RELOAD, .tag = 12}, sign = sign_ask(INT64_MAX, clock_mono_ms() + 10000);
	struct keeper_channel *control, *first, *second;
	struct assertion_claims claims;
	struct problem why = {""};
	struct keeper_answer answer;
	struct keeper *k = keeper_start(&c, &answer, &why);
	size_t had = recorded();

	(void)state;
	if (!k)
		fail_msg("%s", why.text);
	control = keeper_channel(k, 0), first = keeper_channel(k, 1), second = keeper_channel(k, 2);
	assert_true(answer.issuer.n > 0);
	assert_int_equal(send_ask(first, &a), 1);
	assert_int_equal(send_ask(second, &sign), 1);
	assert_int_equal(receive(first, &answer), 1);
	assert_int_equal(answer.status, KEEPER_OK);
	assert_true(answer.tag == 11 && answer.certificate.n > 0);
	assert_int_equal(receive(second, &answer), 1);
	assert_true(answer.tag == 21 && verified(answer.token, X5T, clock_unix_ms(), &claims) == NULL);
	make_authority("acme.example", 24 * HOUR); /* replaced by renaming: another file for the kernel */
	assert_int_equal(send_ask(control, &again), 1);
	assert_int_equal(receive(control, &answer), 1);
	assert_int_equal(answer.status, KEEPER_OK);
	assert_int_equal(recorded(), had + 1);
	kill(keeper_pid(k), SIGTERM); /* not for it to answer */
	assert_int_equal(send_ask(control, &again), 1);
	assert_int_equal(receive(control, &answer), 1);
	kill(keeper_pid(k), SIGKILL);
	assert_int_equal(receive(second, &answer), -1);
	assert_int_equal(receive(first, &answer), -1);
	assert_int_equal(send_ask(first, &a), -1);
	keeper_stop(k);
	buf_clear(&pub);
}

/* A pipe that nobody reads is full some time, and goes on where it was; at its end the keeper writes down how much it signed. */
static void test_process_busy(void **state)
{
	struct keeper_config c = process_config();
	const struct keeper_ask sign = sign_ask(INT64_MAX, clock_mono_ms() + 60000);
	struct problem why = {""};
	struct keeper_answer answer;
	struct keeper *k;
	struct buf b;
	int sent = 0, rc, got = 0;
	size_t had = recorded();

	(void)state;
	c.files = (struct keeper_files){"", "", record}; /* it issues none */
	k = keeper_start(&c, &answer, &why);
	if (!k)
		fail_msg("%s", why.text);
	assert_true(answer.status == KEEPER_OK && !answer.issuer.n);
	buf_init(&b, KEEPER_PACKET_MAX);
	assert_true(keeper_put_ask(&b, &sign));
	kill(keeper_pid(k), SIGSTOP);
	while ((rc = keeper_send(keeper_channel(k, 1), buf_slice(&b))) == 1)
		sent++;
	assert_int_equal(rc, 0);
	kill(keeper_pid(k), SIGCONT);
	while (got < sent && receive(keeper_channel(k, 1), &answer) == 1)
		got += answer.status == KEEPER_OK;
	assert_int_equal(got, sent);
	assert_int_equal(send_ask(keeper_channel(k, 2), &(struct keeper_ask){.kind = KEEPER_ISSUE, .tag = 5, .ttl_ms = HOUR}), 1);
	assert_int_equal(receive(keeper_channel(k, 2), &answer), 1);
	assert_int_equal(answer.status, KEEPER_REFUSED);
	keeper_stop(k);
	assert_int_equal(recorded(), had + 1);
	buf_clear(&b);
}

/* Who does not read his answers waits alone: others have theirs, and he finds all of his when he looks. */
static void test_process_slow_reader(void **state)
{
	const struct keeper_config c = process_config();
	const struct keeper_ask sign = sign_ask(INT64_MAX, clock_mono_ms() + 60000);
	struct keeper_channel *slow, *brisk;
	struct problem why = {""};
	struct keeper_answer answer;
	struct keeper *k = keeper_start(&c, &answer, &why);
	int sent = 0, got = 0;
	struct pollfd p;

	(void)state;
	if (!k)
		fail_msg("%s", why.text);
	slow = keeper_channel(k, 1), brisk = keeper_channel(k, 2);
	kill(keeper_pid(k), SIGSTOP);
	while (send_ask(slow, &sign) == 1)
		sent++;
	kill(keeper_pid(k), SIGCONT);
	p = (struct pollfd){.fd = keeper_fd(slow), .events = POLLOUT};
	while (sent < 5000 && poll(&p, 1, 300) == 1 && send_ask(slow, &sign) == 1) /* until no more of his is taken */
		sent++;
	for (int i = 0; i < 300; i++) {
		assert_int_equal(send_ask(brisk, &sign), 1);
		assert_int_equal(receive(brisk, &answer), 1);
		assert_int_equal(answer.status, KEEPER_OK);
	}
	while (got < sent && receive(slow, &answer) == 1)
		got += answer.status == KEEPER_OK;
	assert_int_equal(got, sent);
	keeper_stop(k);
}

/* A certificate waits for the disk: who wants many leaves those their turn who want a signature. */
static void test_process_turns(void **state)
{
	const struct keeper_config c = process_config();
	const struct keeper_ask sign = sign_ask(INT64_MAX, clock_mono_ms() + 60000);
	struct buf pub = public_key();
	struct problem why = {""};
	struct keeper_answer answer;
	struct keeper *k = keeper_start(&c, &answer, &why);
	struct keeper_ask issue = {.kind = KEEPER_ISSUE, .ttl_ms = HOUR, .not_before_ms = clock_unix_ms(), .until_ms = clock_mono_ms() + 60000, .public_key = buf_slice(&pub)};
	char id[64];
	int had = 0;

	(void)state;
	if (!k)
		fail_msg("%s", why.text);
	kill(keeper_pid(k), SIGSTOP);
	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof id, "spiffe://acme.example/many%d", i);
		issue.spiffe_id = slice_str(id);
		assert_int_equal(send_ask(keeper_channel(k, 1), &issue), 1);
	}
	assert_int_equal(send_ask(keeper_channel(k, 2), &sign), 1);
	kill(keeper_pid(k), SIGCONT);
	assert_int_equal(receive(keeper_channel(k, 2), &answer), 1);
	assert_int_equal(answer.status, KEEPER_OK);
	kill(keeper_pid(k), SIGSTOP);
	while (keeper_receive(keeper_channel(k, 1), &answer) == 1)
		had++;
	kill(keeper_pid(k), SIGCONT);
	assert_in_range(had, 0, 20);
	for (; had < 40; had++)
		assert_int_equal(receive(keeper_channel(k, 1), &answer), 1);
	keeper_stop(k);
	buf_clear(&pub);
}

/* Confined, it reads what it was told of, also when that is replaced by renaming, and nothing else; and writes down how often. */
static void test_process_secrets(void **state)
{
	char password[96], other[96], text[4096];
	const char *const told[] = {password};
	struct keeper_config c = process_config();
	const struct { const char *file, *says; enum keeper_status status; } rows[] = {
		{password, "first", KEEPER_OK}, {other, "other", KEEPER_OK}, {assertion_key, "own", KEEPER_REFUSED}, {key, "own", KEEPER_REFUSED}, {record, "own", KEEPER_REFUSED},
		{"/etc/hostname", "told of", KEEPER_REFUSED}, {cert, "mode 0644", KEEPER_REFUSED},
	};
	struct problem why = {""};
	struct keeper_answer a;
	struct keeper_ask q = {.kind = KEEPER_SECRET, .until_ms = clock_mono_ms() + 60000, .secret = {"", "", ""}};
	struct keeper *k;
	uint8_t *lines = NULL;
	size_t n = 0;

	(void)state;
	snprintf(password, sizeof password, "%s/password", dir);
	snprintf(other, sizeof other, "%s/other", dir);
	write_file(password, SLICE_LIT("first\n"), 0600);
	c.secrets = (struct keeper_secrets){told, 1, ""};
	k = keeper_start(&c, &a, &why);
	if (!k)
		fail_msg("%s", why.text);
	write_file(other, SLICE_LIT("other"), 0600);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		q.secret.file = rows[i].file;
		q.tag = i + 1;
		assert_int_equal(send_ask(keeper_channel(k, 1), &q), 1);
		assert_int_equal(receive(keeper_channel(k, 1), &a), 1);
		assert_int_equal(a.status, rows[i].status);
		assert_true(a.tag == i + 1);
		snprintf(text, sizeof text, "%.*s", a.status == KEEPER_OK ? (int)a.secret.n : (int)a.why.n, a.status == KEEPER_OK ? (const char *)a.secret.p : (const char *)a.why.p);
		assert_true(a.status == KEEPER_OK || !a.secret.n);
		if (!strstr(text, rows[i].says))
			fail_msg("%s: %s", rows[i].file, text);
		keeper_forget(keeper_channel(k, 1));
		assert_true(a.status != KEEPER_OK || a.secret.p[0] == 0); /* wiped where it lay */
	}
	write_file(password, SLICE_LIT("second"), 0600);
	q.secret.file = password;
	assert_int_equal(send_ask(keeper_channel(k, 2), &q), 1);
	assert_int_equal(receive(keeper_channel(k, 2), &a), 1);
	assert_true(slice_is(a.secret, "second"));
	keeper_stop(k);
	assert_int_equal(file_read(record, 1 << 20, &lines, &n, &why), 0);
	assert_non_null(strstr((const char *)lines, "\"secrets\":3,\"refused\":5}"));
	free(lines);
	unlink(password);
	unlink(other);
}

/* What no broker says ends all of it, not one pipe in silence. */
static void test_process_nonsense(void **state)
{
	const struct keeper_config c = process_config();
	struct problem why = {""};
	struct keeper_answer answer;
	struct keeper *k = keeper_start(&c, &answer, &why);

	(void)state;
	if (!k)
		fail_msg("%s", why.text);
	assert_int_equal(keeper_send(keeper_channel(k, 1), SLICE_LIT("nonsense")), 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(receive(keeper_channel(k, i), &answer), -1);
	keeper_stop(k);
}

static void test_process_refuses(void **state)
{
	struct keeper_config c = process_config();
	struct problem why = {""};
	struct keeper_answer answer;

	(void)state;
	c.user = "nobody-of-this-name";
	assert_null(keeper_start(&c, &answer, &why));
	assert_non_null(strstr(why.text, "there is no user"));
	c = process_config();
	c.files.key = "/nonexistent/key";
	assert_null(keeper_start(&c, &answer, &why));
	assert_non_null(strstr(why.text, "/nonexistent/key"));
	c = process_config();
	c.assertion_key = "/nonexistent/assertion.key";
	assert_null(keeper_start(&c, &answer, &why));
	assert_non_null(strstr(why.text, "/nonexistent/assertion.key"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets), cmocka_unit_test(test_secret_packets), cmocka_unit_test(test_issues_and_records), cmocka_unit_test(test_refuses), cmocka_unit_test(test_caps), cmocka_unit_test(test_dates),
		cmocka_unit_test(test_no_record), cmocka_unit_test(test_reload), cmocka_unit_test(test_sign_packets), cmocka_unit_test(test_signs),
		cmocka_unit_test(test_sign_refuses), cmocka_unit_test(test_process), cmocka_unit_test(test_process_busy), cmocka_unit_test(test_process_slow_reader), cmocka_unit_test(test_process_turns), cmocka_unit_test(test_process_secrets), cmocka_unit_test(test_process_nonsense), cmocka_unit_test(test_process_refuses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
