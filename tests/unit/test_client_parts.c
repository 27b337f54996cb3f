/* Do the client's pure parts hold? Wire fields, trailers, certificates and tokens of the dev set-up. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "client/addr.h"
#include "client/certinfo.h"
#include "client/devtoken.h"
#include "client/fault.h"
#include "client/pb.h"
#include "client/status.h"
#include "client_pki.h"
#include "wire/h2.h"

static void ports_do_not_wrap(void **state)
{
	static const char *const bad[] = {"h:0", "h:65536", "h:70000", "h:4294967297", "h:-1", "h:7443x", "h:+1", "[::1]:99999"};
	static const char *const none[] = {"x", ":1", "h:", "::1:7443", "[]:1", ""};
	struct problem why = {""};
	struct addr a;

	assert_int_equal(addr_split("[::1]:65535", &a, &why), 0);
	assert_string_equal(a.host, "::1");
	assert_string_equal(a.port, "65535");
	assert_int_equal(addr_split("broker.acme.example:1", &a, &why), 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(addr_split(bad[i], &a, &why), -1);
		assert_non_null(strstr(why.text, "the port is 1 to 65535"));
	}
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_int_equal(addr_split(none[i], &a, &why), -1);
}

static void fields_come_back(void **state)
{
	struct buf b;
	struct slice s;
	struct pb_field f;

	buf_init(&b, 1000);
	assert_true(pb_put_bytes(&b, 1, SLICE_LIT("abc")));
	assert_true(pb_put_varint(&b, 3, 300));
	assert_true(pb_put_varint(&b, 4, 0)); /* writes nothing */
	assert_true(pb_put_varint(&b, 16, UINT64_MAX));
	s = buf_slice(&b);
	assert_true(pb_next(&s, &f));
	assert_int_equal(f.number, 1);
	assert_true(slice_is(f.bytes, "abc"));
	assert_true(pb_next(&s, &f));
	assert_int_equal(f.number, 3);
	assert_int_equal(f.value, 300);
	assert_true(pb_next(&s, &f));
	assert_int_equal(f.number, 16);
	assert_true(f.value == UINT64_MAX);
	assert_false(pb_next(&s, &f));
	assert_int_equal(s.n, 0);
	for (size_t cut = 1; cut < b.n; cut++) { /* a torn field is no field */
		size_t seen = 0;

		s = slice_of(b.p, cut);
		while (pb_next(&s, &f))
			seen++;
		assert_true(seen < 3);
	}
	buf_clear(&b);
}

static void bad_fields_are_refused(void **state)
{
	static const uint8_t length[] = {0x0A, 0x05, 'a'}, zero[] = {0x00, 0x01}, group[] = {0x0B},
			     longvar[] = {0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}, fixed[] = {0x0D, 1, 2};
	const struct slice bad[] = {{length, 3}, {zero, 2}, {group, 1}, {longvar, 12}, {fixed, 3}};
	struct pb_field f;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct slice s = bad[i];

		assert_false(pb_next(&s, &f));
		assert_true(s.n > 0);
	}
}

static void submit_keeps_the_envelopes_bytes(void **state)
{
	struct buf b;
	struct slice s;
	struct pb_field f;

	buf_init(&b, 1000);
	assert_true(pb_submit_request(&b, SLICE_LIT("\x0a\x01x\xff"), 7, true));
	s = buf_slice(&b);
	assert_true(pb_next(&s, &f) && f.number == 1);
	assert_true(slice_is(f.bytes, "\x0a\x01x\xff"));
	assert_true(pb_next(&s, &f) && f.number == 3 && f.value == 7);
	assert_true(pb_next(&s, &f) && f.number == 4 && f.value == 1);
	buf_clear(&b);
}

static void trailers_are_read_with_care(void **state)
{
	struct client_status s;
	const struct h2_header odd[] = {{SLICE_LIT("grpc-status"), SLICE_LIT("99")},
					{SLICE_LIT("grpc-message"), SLICE_LIT("a%1B[31mb%FF")},
					{SLICE_LIT("baton-reason"), SLICE_LIT("no_such_reason")},
					{SLICE_LIT("baton-retry-after-ms"), SLICE_LIT("-5")}};
	const struct h2_header c1[] = {{SLICE_LIT("grpc-message"), SLICE_LIT("a%C2%9B31mb")},
				       {SLICE_LIT("baton-handoff-id"), SLICE_LIT("x\xc2\x9by")}};
	const struct h2_header honest[] = {{SLICE_LIT("grpc-message"), SLICE_LIT("gr%C3%B6\xc3\x9f""er")}};
	const struct h2_header none[] = {{SLICE_LIT("x"), SLICE_LIT("y")}};

	client_status_init(&s);
	assert_true(client_status_read(&s, odd, 4, 200));
	assert_int_equal(s.code, GRPC_UNKNOWN);
	assert_int_equal(s.reason, REASON_UNSPECIFIED);
	assert_string_equal(s.message, "a [31mb?"); /* no escape sequence, no broken UTF-8 */
	assert_int_equal(s.retry_after_ms, -1);
	client_status_read(&s, c1, 2, 0);
	assert_string_equal(s.message, "a??31mb"); /* U+009B begins a sequence too */
	assert_string_equal(s.handoff_id, "x??y");
	client_status_read(&s, honest, 1, 0);
	assert_string_equal(s.message, "gr\xc3\xb6\xc3\x9f""er");
	client_status_init(&s);
	assert_false(client_status_read(&s, none, 1, 503));
	assert_int_equal(s.code, GRPC_UNAVAILABLE);
}

static void alerts_have_names(void **state)
{
	assert_string_equal(client_alert_name(45), "certificate_expired");
	assert_string_equal(client_alert_name(120), "no_application_protocol");
	assert_string_equal(client_alert_name(200), "alert");
}

static void certificates_say_who(void **state)
{
	struct client_pki p;
	struct certinfo i;
	struct problem why = {""};
	struct stat st;
	FILE *f;
	X509 *x;
	uint32_t usage;

	client_pki_make(&p);
	assert_int_equal(certinfo_read(client_pki_path(&p, "planner.pem"), &i, &why), 0);
	assert_string_equal(i.spiffe_id, "spiffe://dev.baton/planner");
	assert_int_equal(i.uri_sans, 1);
	assert_false(i.is_ca);
	assert_int_equal(strlen(i.x5t_s256), 43);
	assert_true(i.not_after_ms > clock_unix_ms());
	assert_int_equal(certinfo_read(client_pki_path(&p, "ca.pem"), &i, &why), 0);
	assert_true(i.is_ca);
	assert_int_equal(certinfo_read(client_pki_path(&p, "planner.key"), &i, &why), -1);
	assert_int_equal(certinfo_read(client_pki_path(&p, "none"), &i, &why), -1);
	assert_int_equal(stat(client_pki_path(&p, "planner.key"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	f = fopen(client_pki_path(&p, "planner.pem"), "r"); /* X.509-SVID's leaf rules */
	x = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	usage = X509_get_key_usage(x);
	assert_int_equal(usage, KU_DIGITAL_SIGNATURE);
	assert_true(X509_EXTENSION_get_critical(X509_get_ext(x, X509_get_ext_by_NID(x, NID_key_usage, -1))));
	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_CLIENT);
	X509_free(x);
	client_pki_remove(&p);
}

/* Verifies r ∥ s over header.payload with the issuer's key. */
static bool signature_good(const char *key_path, const struct buf *token)
{
	const char *text = (const char *)token->p;
	size_t second = 0, n = 0;
	uint8_t raw[64], *der = NULL;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	FILE *f = fopen(key_path, "r");
	EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	bool ok;
	int len;

	fclose(f);
	for (size_t i = 0, dots = 0; i < token->n; i++)
		if (text[i] == '.' && ++dots == 2)
			second = i;
	n = token->n - second - 1;
	assert_int_equal(b64url_decode(slice_of(text + second + 1, n), raw, sizeof raw), 64);
	ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
	len = i2d_ECDSA_SIG(sig, &der);
	ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	     EVP_DigestVerify(ctx, der, (size_t)len, token->p, second) == 1;
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

static void tokens_are_signed_es256(void **state)
{
	struct client_pki p;
	struct problem why = {""};
	struct buf b;
	char key[160], jwks[160];
	uint8_t claims[2048];
	const char *dot;
	struct devtoken t = {.subject = "user:ana", .client_id = "planner", .audience = "aud", .tenant = "acme",
		.scope = "a b",
			     .x5t_s256 = "thumb", .issued_at_ms = 1700000000999, .lifetime_ms = 600000};
	long n;

	client_pki_make(&p);
	snprintf(key, sizeof key, "%s", client_pki_path(&p, "issuer.key"));
	snprintf(jwks, sizeof jwks, "%s", client_pki_path(&p, "jwks.json"));
	assert_int_equal(devtoken_make_issuer(key, jwks, &why), 0);
	buf_init(&b, 8192);
	assert_int_equal(devtoken_mint(key, &t, &b, &why), 0);
	assert_true(signature_good(key, &b));
	b.p[b.n - 4] = b.p[b.n - 4] == 'A' ? 'B' : 'A'; /* another letter of the signature */
	assert_false(signature_good(key, &b));
	dot = memchr(b.p, '.', b.n);
	n = b64url_decode(slice_of(dot + 1, (size_t)((const char *)memchr(dot + 1, '.', 4096) - dot - 1)), claims,
		sizeof claims - 1);
	assert_true(n > 0);
	claims[n] = '\0';
	assert_non_null(strstr((char *)claims, "\"exp\":1700000600"));
	assert_non_null(strstr((char *)claims, "\"cnf\":{\"x5t#S256\":\"thumb\"}"));
	assert_non_null(strstr((char *)claims, "\"iss\":\"https://dev.baton.invalid\""));
	buf_clear(&b);
	assert_int_equal(chmod(key, 0644), 0); /* a key that others can read is not used */
	assert_int_equal(devtoken_mint(key, &t, &b, &why), -1);
	buf_clear(&b);
	client_pki_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_do_not_wrap), cmocka_unit_test(fields_come_back), cmocka_unit_test(bad_fields_are_refused),
		cmocka_unit_test(submit_keeps_the_envelopes_bytes), cmocka_unit_test(trailers_are_read_with_care),
		cmocka_unit_test(alerts_have_names), cmocka_unit_test(certificates_say_who),
			cmocka_unit_test(tokens_are_signed_es256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
