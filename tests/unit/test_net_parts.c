/* Do the small parts of net/ that need no socket decide as they should? Addresses that may be fetched from, frames
 * that are under way, sources that are counted, metadata that is copied, trailers that are encoded, URIs of keys. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "net/address.h"
#include "net/fetch_addr.h"
#include "net/framewatch.h"
#include "net/hello.h"
#include "net/keyuri.h"
#include "net/request.h"
#include "net/sources.h"
#include "net/tls_provider.h"
#include "net/trailers.h"

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage sa = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&sa;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		v4->sin_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		v6->sin6_family = AF_INET6;
	else
		fail_msg("%s is no address", text);
	return sa;
}

#define CLEAR "would stand in the clear"
#define PIN_SOURCE "pin-source is file: and an absolute path"

/* store: what the provider gets, or what the answer says when wrong. */
static void test_keyuri(void **state)
{
	static const struct {
		const char *text, *store, *shown, *pin_file;
		bool wrong;
	} rows[] = {
		{"pkcs11:token=a;object=b", "pkcs11:token=a;object=b", "pkcs11:token=a;object=b", "", false},
		{"PKCS11:token=a", "PKCS11:token=a", "PKCS11:token=a", "", false},
		{"pkcs11:token=a?pin-source=file:/p", "pkcs11:token=a", "pkcs11:token=a", "/p", false},
		{"pkcs11:token=a?pin-source=file:///p/q", "pkcs11:token=a", "pkcs11:token=a", "/p/q", false},
		{"pkcs11:token=a?PIN-Source=FILE:%2Fp%20q", "pkcs11:token=a", "pkcs11:token=a", "/p q", false},
		{"pkcs11:token=a?x=1&pin-source=file:/p&y", "pkcs11:token=a?x=1&y", "pkcs11:token=a", "/p", false},
		{"pkcs11:token=a?pin-source=file:/p&x=1;y=2", "pkcs11:token=a?x=1&y=2", "pkcs11:token=a", "/p", false},
		{"handle:0x81000001?pass", "handle:0x81000001?pass", "handle:0x81000001", "", false},
		{"object:/etc/baton/key.tss", "object:/etc/baton/key.tss", "object:/etc/baton/key.tss", "", false},
		{"pkcs11:token=pinboard;object=secret", "pkcs11:token=pinboard;object=secret", "pkcs11:token=pinboard;object=secret", "", false},

		{"pkcs11:token=a?pin-value=1", CLEAR, NULL, NULL, true},
		{"pkcs11:token=a?PIN-VALUE=1", CLEAR, NULL, NULL, true},
		{"pkcs11:token=a;pin-value=1", CLEAR, NULL, NULL, true},
		{"pkcs11:token=a?x&pin-value=1", CLEAR, NULL, NULL, true},
		{"pkcs11:token=a?x;pin-value=1", CLEAR, NULL, NULL, true},
		{"pkcs11:pin-value=1", CLEAR, NULL, NULL, true},
		{"handle:1?pass=1", CLEAR, NULL, NULL, true},
		{"handle:1?password=1", CLEAR, NULL, NULL, true},
		{"handle:1?userpin=1", CLEAR, NULL, NULL, true},
		{"handle:1?client_secret=1", CLEAR, NULL, NULL, true},
		{"hsm://operator:1234@hsm.example/server", CLEAR, NULL, NULL, true},
		{"hsm://operator@hsm.example/server", "hsm://operator@hsm.example/server", "hsm://operator@hsm.example/server", "", false},
		{"pkcs11:token=a?pin%2dvalue=1", "has a %", NULL, NULL, true},
		{"pkcs11:token=a;pin-source=file:/p", "belongs behind a ?", NULL, NULL, true},
		{"pkcs11:token=a?pin-source=/p", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=|/bin/pin", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=%7c/bin/pin", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file:p", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file://host/p", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file:", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file:/p%", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file:/p%0", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file:/p%zz", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file:/p%00", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file:/p%0a", PIN_SOURCE, NULL, NULL, true},
		{"pkcs11:token=a?pin-source=file:/p&pin-source=file:/q", "twice", NULL, NULL, true},
		{"pkcs11:token=a?module-path=/x.so", "which module is loaded", NULL, NULL, true},
		{"pkcs11:token=a?module-name=x", "which module is loaded", NULL, NULL, true},
		{"pkcs11:token=a;module-path=/x.so", "which module is loaded", NULL, NULL, true},
		{"file:/etc/baton/server.key", "by its path alone", NULL, NULL, true},
		{"FILE:/etc/baton/server.key", "by its path alone", NULL, NULL, true},
		{"pkcs11:token=a b", "has a space", NULL, NULL, true},
		{"pkcs11:token=a#b", "has a space, a #", NULL, NULL, true},
		{"pkcs11:token=\xc3\xa4", "not ASCII", NULL, NULL, true},
		{"/etc/baton/server.key", "belongs here", NULL, NULL, true},
		{"a-scheme-that-is-longer-than-31-characters:x", "belongs here", NULL, NULL, true},
		{"", "belongs here", NULL, NULL, true},
	};
	struct keyuri u;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *wrong = keyuri_parse(rows[i].text, &u);

		if (rows[i].wrong != (wrong != NULL) || (wrong && !strstr(wrong, rows[i].store)))
			fail_msg("%s: %s", rows[i].text, wrong ? wrong : "fine");
		if (wrong)
			continue;
		assert_string_equal(u.store, rows[i].store);
		assert_string_equal(u.shown, rows[i].shown);
		assert_string_equal(u.pin_file, rows[i].pin_file);
	}
	assert_int_equal(keyuri_parse("PKCS11:x", &u) == NULL, true);
	assert_string_equal(u.scheme, "pkcs11");
}

static void test_keyuri_bounds(void **state)
{
	char text[KEYURI_MAX + 3];
	struct keyuri u;

	memset(text, 'x', sizeof text);
	memcpy(text, "pkcs11:x?pin-source=file:/", 26);
	text[KEYURI_MAX] = '\0';
	assert_null(keyuri_parse(text, &u));
	assert_int_equal(strlen(u.pin_file), KEYURI_MAX - 25);
	text[KEYURI_MAX] = 'x';
	text[KEYURI_MAX + 1] = '\0';
	assert_string_equal(keyuri_parse(text, &u), "the URI is over 1024 bytes");
	for (const char *const *t = (const char *const[]){"a:", "pkcs11:x", "object:/x", NULL}; *t; t++)
		assert_int_equal(keyuri_is(*t), strlen(*t) > 2);
	for (const char *const *t = (const char *const[]){"", "/a:b", "server.key", "-----BEGIN PRIVATE KEY-----", "1a:b", "a b:c", NULL}; *t; t++)
		assert_false(keyuri_is(*t));
}

static void test_provider_settings(void **state)
{
	static const struct {
		const char *name, *value;
		bool parameter, variable;
	} rows[] = {
		{"pkcs11-module-path", "/usr/lib/x.so", true, false},
		{"pkcs11-module-cache-pins", "cache", true, false},
		{"pkcs11-module-token-pin", "1234", false, false},
		{"password", "x", false, false}, {"module", "/x.so", false, false}, {"Activate", "1", false, false}, {"a.b", "x", false, false}, {"", "x", false, false},
		{"tcti", "swtpm:port=2321", true, false}, {"tcti", "a$b", false, false}, {"tcti", "a\\b", false, false}, {"tcti", "a#b", false, false},
		{"tcti", "a\nb", false, false}, {"tcti", "", false, false}, {"tcti", " a", false, false}, {"tcti", "a ", false, false}, {"tcti", "baton.section.0", false, false},
		{"SOFTHSM2_CONF", "/etc/baton/softhsm2.conf", true, true}, {"TPM2OPENSSL_TCTI", "device:/dev/tpmrm0", true, true},
		{"LD_PRELOAD", "x", true, false}, {"OPENSSL_CONF", "x", false, false}, {"OPENSSL_MODULES", "x", true, false}, {"PATH", "x", true, false}, {"USER_PIN", "1", false, false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].parameter != (tls_provider_parameter_wrong(rows[i].name, rows[i].value) == NULL))
			fail_msg("as a parameter: %s = %s", rows[i].name, rows[i].value);
		if (rows[i].variable != (tls_provider_variable_wrong(rows[i].name, rows[i].value) == NULL))
			fail_msg("as a variable: %s = %s", rows[i].name, rows[i].value);
	}
}

static void test_address_classes(void **state)
{
	static const struct {
		const char *text;
		enum address_class class;
	} rows[] = {
		{"8.8.8.8", ADDRESS_PUBLIC}, {"172.32.0.1", ADDRESS_PUBLIC}, {"172.15.255.255", ADDRESS_PUBLIC},
		{"100.128.0.1", ADDRESS_PUBLIC}, {"169.253.0.1", ADDRESS_PUBLIC}, {"223.255.255.255", ADDRESS_PUBLIC},
		{"2606:4700::1", ADDRESS_PUBLIC}, {"2001:200::1", ADDRESS_PUBLIC},
		{"10.1.2.3", ADDRESS_PRIVATE}, {"127.0.0.1", ADDRESS_PRIVATE}, {"127.255.0.1", ADDRESS_PRIVATE},
		{"172.16.0.1", ADDRESS_PRIVATE}, {"172.31.255.255", ADDRESS_PRIVATE}, {"192.168.1.1", ADDRESS_PRIVATE},
		{"100.64.0.1", ADDRESS_PRIVATE}, {"::1", ADDRESS_PRIVATE}, {"fd12::1", ADDRESS_PRIVATE}, {"fc00::1",
		ADDRESS_PRIVATE},
		{"0.0.0.0", ADDRESS_FORBIDDEN}, {"0.1.2.3", ADDRESS_FORBIDDEN}, {"169.254.169.254", ADDRESS_FORBIDDEN},
		{"224.0.0.1", ADDRESS_FORBIDDEN}, {"255.255.255.255", ADDRESS_FORBIDDEN}, {"192.0.0.8",
		ADDRESS_FORBIDDEN},
		{"::", ADDRESS_FORBIDDEN}, {"fe80::1", ADDRESS_FORBIDDEN}, {"ff02::1", ADDRESS_FORBIDDEN},
		{"fd00:ec2::254", ADDRESS_FORBIDDEN}, {"2001:db8::1", ADDRESS_FORBIDDEN}, {"::8.8.8.8",
		ADDRESS_FORBIDDEN},
		/* An IPv4 address inside an IPv6 one decides. */
		{"::ffff:169.254.169.254", ADDRESS_FORBIDDEN}, {"::ffff:127.0.0.1", ADDRESS_PRIVATE}, {"::ffff:8.8.8.8",
		ADDRESS_PUBLIC},
		{"64:ff9b::a9fe:a9fe", ADDRESS_FORBIDDEN}, {"64:ff9b::7f00:1", ADDRESS_PRIVATE}, {"2002:a9fe:a9fe::1",
		ADDRESS_FORBIDDEN},
		{"2002:a00:1::1", ADDRESS_PRIVATE},
		/* Metadata services and host agents outside 169.254/16, and their neighbours. */
		{"100.100.100.200", ADDRESS_FORBIDDEN}, {"100.100.100.201", ADDRESS_PRIVATE}, {"168.63.129.16", ADDRESS_FORBIDDEN},
		{"168.63.129.17", ADDRESS_PUBLIC}, {"::ffff:100.100.100.200", ADDRESS_FORBIDDEN}, {"192.0.0.192", ADDRESS_FORBIDDEN},
		{"fd20:ce::254", ADDRESS_FORBIDDEN}, {"fd20:cf::254", ADDRESS_PRIVATE},
		/* What is not assigned is nobody's. */
		{"3fff::1", ADDRESS_FORBIDDEN}, {"3ffe::1", ADDRESS_PUBLIC}, {"4000::1", ADDRESS_FORBIDDEN}, {"5f00::1", ADDRESS_FORBIDDEN},
		{"200::1", ADDRESS_FORBIDDEN}, {"::ffff:0:8.8.8.8", ADDRESS_FORBIDDEN}, {"64:ff9b:1::808:808", ADDRESS_FORBIDDEN},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sockaddr_storage sa = address(rows[i].text);
		enum address_class class = fetch_address_class((struct sockaddr *)&sa);

		if (class != rows[i].class)
			fail_msg("%s is of class %d, not %d", rows[i].text, class, rows[i].class);
		assert_int_equal(fetch_address_allowed((struct sockaddr *)&sa, false), class == ADDRESS_PUBLIC);
		assert_int_equal(fetch_address_allowed((struct sockaddr *)&sa, true), class != ADDRESS_FORBIDDEN);
	}
	struct sockaddr unix_address = {.sa_family = AF_UNIX};
	assert_false(fetch_address_allowed(&unix_address, true));
}

static void feed(struct framewatch *f, const void *p, size_t n)
{
	framewatch_feed(f, slice_of(p, n));
}

static void test_framewatch(void **state)
{
	static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
	static const uint8_t headers[] = {0, 0, 2, 1, 0, 0, 0, 0, 1, 'a', 'b'};        /* no END_HEADERS */
	static const uint8_t continuation[] = {0, 0, 1, 9, 4, 0, 0, 0, 1, 'c'};       /* END_HEADERS */
	static const uint8_t data[] = {0, 0, 9, 0, 0, 0, 0, 0, 1, 'd'};               /* eight more to come */
	struct framewatch f = {0};

	feed(&f, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	assert_false(framewatch_inside(&f));
	feed(&f, settings, 5);
	assert_true(framewatch_inside(&f));
	feed(&f, settings + 5, 4);
	assert_false(framewatch_inside(&f));
	assert_int_equal(f.units, 1);
	feed(&f, headers, sizeof headers);
	assert_true(framewatch_inside(&f)); /* the frame is whole, the block is not */
	assert_int_equal(f.units, 1);
	feed(&f, continuation, sizeof continuation);
	assert_false(framewatch_inside(&f));
	assert_int_equal(f.units, 2);
	feed(&f, data, sizeof data);
	assert_false(framewatch_inside(&f)); /* the rest of a DATA frame is a message's business */
	feed(&f, "12345678", 8);
	assert_int_equal(f.units, 3);
	feed(&f, headers, 10);
	assert_true(framewatch_inside(&f));
}

/* However the bytes are cut, the answer at the end is the same. */
static void test_framewatch_byte_by_byte(void **state)
{
	static const uint8_t all[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				     "\0\0\0\4\0\0\0\0\0"
				     "\0\0\2\1\0\0\0\0\1ab"
				     "\0\0\1\x9\4\0\0\0\1c"
				     "\0\0\3\0\0\0\0\0\1xyz";
	struct framewatch whole = {0}, pieces = {0};

	feed(&whole, all, sizeof all - 1);
	for (size_t i = 0; i < sizeof all - 1; i++)
		feed(&pieces, all + i, 1);
	assert_int_equal(whole.units, 3);
	assert_int_equal(pieces.units, 3);
	assert_false(framewatch_inside(&pieces));
}

static void test_sources(void **state)
{
	struct sources *s = sources_new();
	struct sockaddr_storage a = address("192.0.2.1"), mapped = address("::ffff:192.0.2.1"),
		b = address("192.0.2.2");
	struct sockaddr_storage v6 = address("2001:db8:1:2::3"), same64 = address("2001:db8:1:2:ffff::4"),
		other64 = address("2001:db8:1:3::3");
	struct source_key ka = source_key((struct sockaddr *)&a), km = source_key((struct sockaddr *)&mapped);
	struct source_key kb = source_key((struct sockaddr *)&b), k6 = source_key((struct sockaddr *)&v6);
	struct source_key ks = source_key((struct sockaddr *)&same64), ko = source_key((struct sockaddr *)&other64);

	const struct source_caps two = {2, 9, 100}, one = {1, 9, 100}, none = {0, 9, 100};

	assert_null(sources_enter(s, &ka, &two, 0));
	assert_null(sources_enter(s, &km, &two, 0)); /* the same host */
	assert_string_equal(sources_enter(s, &ka, &two, 0), "source_limit");
	assert_null(sources_enter(s, &kb, &two, 0));
	sources_shaken(s, &ka);
	sources_leave(s, &ka, 0);
	assert_null(sources_enter(s, &ka, &two, 0));
	assert_null(sources_enter(s, &k6, &one, 0));
	assert_string_equal(sources_enter(s, &ks, &one, 0), "source_limit");
	assert_null(sources_enter(s, &ko, &one, 0));
	assert_string_equal(sources_enter(s, &kb, &none, 0), "source_limit");
	sources_shaken(s, &ko);
	sources_leave(s, &ko, 0);
	sources_free(s);
}

/* Who comes too fast gets no new budget by going away; who waits gets it back; nobody else is touched. */
static void test_source_budgets(void **state)
{
	struct sources *s = sources_new();
	struct sockaddr_storage a = address("192.0.2.1"), b = address("192.0.2.2");
	struct source_key ka = source_key((struct sockaddr *)&a), kb = source_key((struct sockaddr *)&b);
	const struct source_caps rate = {100, 100, 5}, shaking = {100, 2, 100};
	int64_t now = 1000;

	for (int i = 0; i < 10; i++) {
		assert_null(sources_enter(s, &ka, &rate, now));
		sources_shaken(s, &ka);
		sources_leave(s, &ka, now);
	}
	assert_string_equal(sources_enter(s, &ka, &rate, now), "source_rate");
	assert_string_equal(sources_enter(s, &ka, &rate, now + 199), "source_rate");
	assert_null(sources_enter(s, &kb, &rate, now));
	assert_null(sources_enter(s, &ka, &rate, now + 400));
	now += 10000;
	for (int i = 0; i < 10; i++)
		assert_null(sources_enter(s, &ka, &rate, now));
	assert_string_equal(sources_enter(s, &ka, &rate, now), "source_rate");
	now += 10000;
	for (int i = 0; i < 11; i++) {
		sources_shaken(s, &ka);
		sources_leave(s, &ka, now);
	}
	assert_null(sources_enter(s, &ka, &shaking, now));
	assert_null(sources_enter(s, &ka, &shaking, now));
	assert_string_equal(sources_enter(s, &ka, &shaking, now), "source_handshakes");
	sources_shaken(s, &ka);
	assert_null(sources_enter(s, &ka, &shaking, now));
	sources_free(s);
}

static void test_hello(void **state)
{
	static const struct {
		const char *first;
		size_t n;
		enum hello is;
	} table[] = {
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9, HELLO_TLS},
		{"\x16\x03\x03\x00\x04\x01\x00\x01\xfc", 9, HELLO_TLS},
		{"\x16\x03\x01\x40\x00\x01\x00\x40\x00", 9, HELLO_TLS},
		{"\x16\x03\x01\x40\x00\x01\x00\x40\x01", 9, HELLO_TOO_LARGE},
		{"\x16\x03\x01\x40\x00\x01\xff\xff\xff", 9, HELLO_TOO_LARGE},
		{"", 0, HELLO_MORE},
		{"\x16", 1, HELLO_MORE},
		{"\x16\x03\x01\x02\x00\x01\x00\x01", 8, HELLO_MORE},
		{"GET / HTTP/1.1", 14, HELLO_NOT_TLS},
		{"PRI * HTTP/2.0", 14, HELLO_NOT_TLS},
		{"G", 1, HELLO_NOT_TLS},
		{"\x16\x03\x05", 3, HELLO_NOT_TLS},             /* no such version */
		{"\x16\x03\x01\x41\x00", 5, HELLO_NOT_TLS},     /* RFC 8446 §5.1: over 2^14 */
		{"\x16\x03\x01\x02\x00\x02", 6, HELLO_NOT_TLS}, /* a ServerHello */
		{"\x17\x03\x03\x00\x20", 5, HELLO_NOT_TLS},     /* application data */
		{"\x15\x03\x03\x00\x02\x02\x28\x00\x00", 9, HELLO_NOT_TLS}, /* an alert */
		{"\x16\x03\x01\x00\x03\x01\x00\x01\xfc", 9, HELLO_NOT_TLS}, /* the head cut in two */
		{"\x80\x2e\x01\x03\x01", 5, HELLO_NOT_TLS},     /* SSL 2 */
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_int_equal(hello_judge(slice_of(table[i].first, table[i].n)), table[i].is);
}

static void test_metadata(void **state)
{
	char token[] = "Bearer x";
	const struct h2_header h[] = {
		{SLICE_LIT(":path"), SLICE_LIT("/a/b")},
		{SLICE_LIT("authorization"), slice_str(token)},
		{SLICE_LIT("twice"), SLICE_LIT("1")},
		{SLICE_LIT("twice"), SLICE_LIT("2")},
		{SLICE_LIT("empty"), SLICE_LIT("")},
	};
	struct metadata *m = metadata_new(h, sizeof h / sizeof h[0]);
	size_t n = 9;

	memset(token, 'z', sizeof token); /* it is a copy */
	assert_true(slice_is(metadata_get(m, "authorization", &n), "Bearer x"));
	assert_int_equal(n, 1);
	assert_true(slice_is(metadata_get(m, "twice", &n), "1"));
	assert_int_equal(n, 2);
	assert_int_equal(metadata_get(m, "empty", &n).n, 0);
	assert_int_equal(n, 1);
	metadata_get(m, ":path", &n);
	assert_int_equal(n, 0);
	metadata_get(m, "missing", &n);
	assert_int_equal(n, 0);
	metadata_free(m);
}

/* Whatever its second value says, and wherever it stands. */
static void test_attack_20_a_header_of_the_protocol_comes_once(void **state)
{
	const struct h2_header honest[] = {
		{SLICE_LIT(":method"), SLICE_LIT("POST")}, {SLICE_LIT(":path"), SLICE_LIT("/a/b")},
		{SLICE_LIT("content-type"), SLICE_LIT("application/grpc")}, {SLICE_LIT("te"), SLICE_LIT("trailers")},
		{SLICE_LIT("grpc-timeout"), SLICE_LIT("1S")}, {SLICE_LIT("grpc-encoding"), SLICE_LIT("identity")},
		{SLICE_LIT("x-other"), SLICE_LIT("y")},
	};
	const size_t n = sizeof honest / sizeof honest[0];
	struct h2_header h[sizeof honest / sizeof honest[0] + 1];
	struct request r;

	assert_int_equal(request_read(honest, n, &r), 0);
	for (size_t twice = 0; twice < n; twice++) {
		for (size_t at = 0; at <= n; at++) {
			for (int same = 0; same < 2; same++) {
				memcpy(h, honest, at * sizeof *h);
				h[at] = (struct h2_header){honest[twice].name, same ? honest[twice].value : SLICE_LIT("z")};
				memcpy(h + at + 1, honest + at, (n - at) * sizeof *h);
				assert_int_equal(request_read(h, n + 1, &r), twice < n - 1 ? -1 : 0); /* what is the handler's may repeat */
				assert_int_equal(r.http, twice < n - 1 ? 400 : 200);
			}
		}
	}
}

static struct slice value(const struct trailers *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (slice_is(t->h[i].name, name))
			return t->h[i].value;
	return slice_of(NULL, 0);
}

static void test_trailers(void **state)
{
	const struct call_trailer extra[] = {
		{"reason", SLICE_LIT("expired_token")},
		{"bad", SLICE_LIT("a\nb")},
		{"d-bin", SLICE_LIT("\0\0\0\0")},
		{"empty-bin", {NULL, 0}},
	};
	struct trailers t;

	trailers_init(&t);
	trailers_status(&t, GRPC_UNAUTHENTICATED, "caf\xc3\xa9 100%", extra, 4);
	assert_true(slice_is(value(&t, "grpc-status"), "16"));
	assert_true(slice_is(value(&t, "grpc-message"), "caf%C3%A9 100%25"));
	assert_true(slice_is(value(&t, "reason"), "expired_token"));
	assert_true(slice_is(value(&t, "d-bin"), "AAAAAA")); /* no padding */
	assert_int_equal(value(&t, "bad").n, 0);
	assert_int_equal(t.n, 5);
	trailers_clear(&t);
	trailers_status(&t, GRPC_OK, NULL, NULL, 0);
	assert_int_equal(t.n, 1);
	trailers_clear(&t);
	/* More than fit: the status is never the one that is left out. */
	struct call_trailer many[100];
	for (size_t i = 0; i < 100; i++)
		many[i] = (struct call_trailer){"x-bin", SLICE_LIT("x")};
	trailers_begin(&t);
	trailers_status(&t, GRPC_INTERNAL, "m", many, 100);
	assert_int_equal(t.n, TRAILERS_MAX);
	assert_true(slice_is(value(&t, "grpc-status"), "13"));
	trailers_clear(&t);
}

static void test_address_text(void **state)
{
	static const char *const good[] = {"192.0.2.1:5555", "[2001:db8::1]:7443", "0.0.0.0:0", "[::]:65535"};
	struct sockaddr_storage sa;
	char text[ADDRESS_TEXT_BYTES];
	socklen_t n;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(address_parse(good[i], &sa, &n), 0);
		address_format((struct sockaddr *)&sa, text);
		assert_string_equal(text, good[i]);
	}
	assert_int_equal(address_parse("[::ffff:192.0.2.1]:80", &sa, &n), 0);
	assert_int_equal(address_port((struct sockaddr *)&sa), 80);
	address_format((struct sockaddr *)&sa, text);
	assert_string_equal(text, "192.0.2.1:80");
	assert_int_equal(address_parse("192.0.2.1", &sa, &n), -1);
	assert_int_equal(address_parse("192.0.2.256:1", &sa, &n), -1);
	assert_int_equal(address_parse("2001:db8::1:80", &sa, &n), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address_text), cmocka_unit_test(test_address_classes),
		cmocka_unit_test(test_framewatch), cmocka_unit_test(test_keyuri), cmocka_unit_test(test_keyuri_bounds), cmocka_unit_test(test_provider_settings),
		cmocka_unit_test(test_framewatch_byte_by_byte), cmocka_unit_test(test_sources), cmocka_unit_test(test_source_budgets), cmocka_unit_test(test_hello),
		cmocka_unit_test(test_metadata),
		cmocka_unit_test(test_attack_20_a_header_of_the_protocol_comes_once), cmocka_unit_test(test_trailers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
