/* Is text encoded, decoded, escaped and redacted strictly? RFC 4648 §3.5 and §5, RFC 3629 §3, RFC 8259 §7. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/ascii.h"
#include "base/encode.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/near.h"
#include "base/redact.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define JWT "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl_-"

static void base64url_goes_both_ways(void **state)
{
	uint8_t in[70], out[70];
	char text[B64URL_LEN(70) + 1];
	size_t n, i;

	for (i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)(i * 37 + 250);
	for (n = 0; n <= sizeof in; n++) {
		b64url_encode(in, n, text);
		assert_int_equal(strlen(text), B64URL_LEN(n));
		assert_int_equal(b64url_decode(slice_str(text), out, n), (long)n);
		assert_memory_equal(out, in, n);
		if (n)
			assert_int_equal(b64url_decode(slice_str(text), out, n - 1), -1);
	}
	b64url_encode("\xfb\xff\xfe", 3, text);
	assert_string_equal(text, "-__-");
}

static void base64url_is_strict(void **state)
{
	/* padding, white space, the other alphabet, a lone character, trailing bits */
	static const char *const bad[] = {"Zg==", "Zm8=", "Zg=", "Z g", "Zm8\n", " Zm8", "+_8", "-/8", "Z", "Zm9vY",
					  "Zh", "Zm9",
					  "Zm8.", "Zm\xc3\xa9"};
	uint8_t out[16];
	size_t i;

	assert_int_equal(b64url_decode(SLICE_LIT("Zg"), out, 16), 1);
	assert_int_equal(b64url_decode(SLICE_LIT("Zm8"), out, 16), 2);
	assert_int_equal(b64url_decode(SLICE_LIT(""), out, 16), 0);
	for (i = 0; i < COUNT(bad); i++)
		assert_int_equal(b64url_decode(slice_str(bad[i]), out, 16), -1);
	assert_int_equal(b64url_decode(slice_of("Zm\0v", 4), out, 16), -1);
}

static void base64_takes_padding_or_none(void **state)
{
	static const char *const good[] = {"Zg==", "Zg", "Zm8=", "Zm8", "Zm9v", "+/+/"};
	static const char *const bad[] = {"Zg=", "Zm8==", "Zm9v=", "Zm9v==", "=", "==",
					  "Z===", "Zh==", "Zm9=", "Zg==Zg==", "-_-_"};
	uint8_t out[16];
	struct buf b;
	size_t i;

	for (i = 0; i < COUNT(good); i++)
		assert_true(b64_decode(slice_str(good[i]), out, 16) > 0);
	for (i = 0; i < COUNT(bad); i++)
		assert_int_equal(b64_decode(slice_str(bad[i]), out, 16), -1);
	buf_init(&b, 8);
	assert_true(b64_encode(&b, SLICE_LIT("f")));
	assert_true(b64_encode(&b, SLICE_LIT("fo")));
	assert_true(slice_is(buf_slice(&b), "Zg==Zm8="));
	assert_false(b64_encode(&b, SLICE_LIT("f")));
	assert_true(b.failed);
	buf_clear(&b);
}

static void hex_is_lower_case(void **state)
{
	uint8_t out[4];
	char text[9];

	hex_encode("\x00\xff\x1a\xb2", 4, text);
	assert_string_equal(text, "00ff1ab2");
	assert_int_equal(hex_decode_lower(slice_str(text), out, 4), 4);
	assert_memory_equal(out, "\x00\xff\x1a\xb2", 4);
	assert_int_equal(hex_decode_lower(SLICE_LIT("00FF"), out, 4), -1);
	assert_int_equal(hex_decode_lower(SLICE_LIT("00f"), out, 4), -1);
	assert_int_equal(hex_decode_lower(SLICE_LIT("0g"), out, 4), -1);
	assert_int_equal(hex_decode_lower(SLICE_LIT("0011223344"), out, 4), -1);
}

static void decimals(void **state)
{
	static const struct { uint64_t v; const char *text; } cases[] = {
		{0, "0"}, {9, "9"}, {10, "10"}, {1024, "1024"}, {UINT64_MAX, "18446744073709551615"},
	};
	char text[DECIMAL_MAX];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t n = decimal_encode(cases[i].v, text);

		assert_true(slice_is(slice_of(text, n), cases[i].text));
	}
}

static void utf8_is_checked(void **state)
{
	static const char *const good[] = {"", "plain", "caf\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
					   "\xef\xbf\xbf",
					   "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"};
	/* lone continuation, overlong, cut short, surrogate, too large, never allowed */
	static const char *const bad[] = {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf",
					  "\xc3", "\xe2\x82",
					  "\xf0\x9f\x98", "\xed\xa0\x80", "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80", "\xff", "\xc3("};
	static const char *const controls[] = {"a\nb", "\t", "\x1b[31m", "\x7f", "\xc2\x80", "\xc2\x9f"};
	size_t i;

	for (i = 0; i < COUNT(good); i++) {
		assert_true(utf8_valid(slice_str(good[i])));
		assert_true(utf8_is_text(slice_str(good[i])));
	}
	for (i = 0; i < COUNT(bad); i++) {
		assert_false(utf8_valid(slice_str(bad[i])));
		assert_false(utf8_is_text(slice_str(bad[i])));
	}
	for (i = 0; i < COUNT(controls); i++) {
		assert_true(utf8_valid(slice_str(controls[i])));
		assert_false(utf8_is_text(slice_str(controls[i])));
	}
	assert_true(utf8_valid(slice_of("a\0b", 3)));
	assert_false(utf8_is_text(slice_of("a\0b", 3)));
	assert_true(utf8_is_text(SLICE_LIT("\xc2\xa0")));
	assert_int_equal(utf8_cut(SLICE_LIT("a\xe2\x82\xac"), 3), 1);
	assert_int_equal(utf8_cut(SLICE_LIT("a\xe2\x82\xac"), 4), 4);
}

static void percent_goes_both_ways(void **state)
{
	struct buf b;

	buf_init(&b, 64);
	assert_true(percent_encode(&b, SLICE_LIT("50% caf\xc3\xa9\n~")));
	assert_true(slice_is(buf_slice(&b), "50%25 caf%C3%A9%0A~"));
	buf_reset(&b);
	assert_true(percent_decode(&b, SLICE_LIT("50%25 caf%C3%a9%0A~")));
	assert_true(slice_is(buf_slice(&b), "50% caf\xc3\xa9\n~"));
	buf_reset(&b);
	assert_true(percent_decode(&b, SLICE_LIT("%4%zz%%41%2")));
	assert_true(slice_is(buf_slice(&b), "%4%zz%A%2"));
	buf_clear(&b);
}

static void json_is_escaped_and_separated(void **state)
{
	struct jsonw w;
	struct buf b;

	buf_init(&b, 1024);
	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "a", "q\"b\\n\nt\te\x1b" "d\x7f");
	jsonw_str(&w, "none", NULL);
	jsonw_array(&w, "list");
	jsonw_int(&w, NULL, INT64_MIN);
	jsonw_bool(&w, NULL, true);
	jsonw_object(&w, NULL);
	jsonw_end_object(&w);
	jsonw_end_array(&w);
	jsonw_slice(&w, "bad", SLICE_LIT("x\xff\xe2\x82y\xc2\x85\xe2\x80\xa8\xc3\xa9"));
	jsonw_slice(&w, "nul", slice_of("a\0b", 3));
	jsonw_end_object(&w);
	assert_true(slice_is(buf_slice(&b),
			     "{\"a\":\"q\\\"b\\\\n\\nt\\te\\u001bd\\u007f\",\"none\":null,"
			     "\"list\":[-9223372036854775808,true,{}],"
			     "\"bad\":\"x\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdy\\u0085\\u2028\xc3\xa9\","
			     "\"nul\":\"a\\u0000b\"}"));
	buf_clear(&b);
}

static const struct {
	const char *in, *out; /* out NULL: stays as it is */
} redactions[] = {
	{"plain text", NULL},
	{"", NULL},
	{JWT, "[redacted]"},
	{"token " JWT " was refused", "token [redacted] was refused"},
	{"x=" JWT ";y=" JWT, "x=[redacted];y=[redacted]"},
	{"alg none eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "alg none [redacted]"},
	{"cut eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOi", "cut [redacted]"},
	{"jwe eyJhbGciOiJSU0Ei.a.b.c.d!", "jwe [redacted]!"},
	{"prefixeyJhbGci.e30.sig", "prefix[redacted]"},
	{"space eyAiYWxnIjogIkVTMjU2In0.e30.sig", "space [redacted]"},
	{"lines ewogImFsZyI6ICJFUzI1NiJ9.e30.sig", "lines [redacted]"},
	{"eyes.to.see, ew.yuck.no", NULL},
	{"eyJ alone, eyJabc. and so on", NULL},
	{"eyJeyJeyJ.eyJa", "[redacted]"},
	{"a.b.c", NULL},
	{"Authorization: Bearer abc.DEF-123_~+/==", "Authorization: Bearer [redacted]"},
	{"bEaReR \t s3cret, then", "bEaReR \t [redacted], then"},
	{"Bearer bearer \tx.BEARER s3cret, then", "Bearer [redacted], then"},
	{"Bearer", NULL},
	{"Bearer ", NULL},
	{"forbearance", NULL},
	{"Bearer " JWT, "Bearer [redacted]"},
	{"key: -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nend", "key: [redacted]\nend"},
	{"-----BEGIN RSA PRIVATE KEY-----\nMIIE", "[redacted]"},
	{"-----BEGIN EC PRIVATE KEY-----x-----END EC PRIVATE KEY-----y", "[redacted]y"},
	{"-----BEGIN ENCRYPTED PRIVATE KEY-----x-----END", "[redacted]"},
	{"Bearer -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nend", "Bearer [redacted]\nend"},
	{"-----BEGIN PRIVATE KEY-----x-----END -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nend", "[redacted]\nend"},
	{"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", NULL},
	{"-----BEGIN PUBLIC KEY-----", NULL},
	{"redis://user:pass@host:6379/0", "redis://[redacted]@host:6379/0"},
	{"at rediss://:p@ss/w:rd@host and more", "at rediss://[redacted]@host and more"},
	{"redis://default:\x70\xc3\xa4ss@h", "redis://[redacted]@h"},
	{"https://idp.example:8443/a@b", NULL},
	{"https://user@host/", NULL},
	{"spiffe://acme.example/planner", NULL},
	{"see http://[::1]:80/ and a@b", NULL},
	{"http://h:80/x://u:p@h", "http://h:80/x://[redacted]@h"},
	{"http://a b://u:p@c", "http://a b://[redacted]@c"},
};

static void credentials_are_redacted(void **state)
{
	struct buf b;
	size_t i;

	buf_init(&b, 4096);
	for (i = 0; i < COUNT(redactions); i++) {
		struct slice in = slice_str(redactions[i].in);
		const char *out = redactions[i].out;

		buf_reset(&b);
		assert_true(redact_copy(&b, in));
		if (!slice_is(buf_slice(&b), out ? out : redactions[i].in))
			fail_msg("\"%s\" became \"%.*s\"", redactions[i].in, (int)b.n, b.n ? (char *)b.p : "");
		assert_int_equal(redact_needed(in), out != NULL);
		assert_false(redact_needed(buf_slice(&b)));
	}
	buf_clear(&b);
}

static void redaction_never_reads_past_its_slice(void **state)
{
	size_t i, n;

	for (i = 0; i < COUNT(redactions); i++)
		for (n = 0; n <= strlen(redactions[i].in); n++) {
			char *exact = malloc(n ? n : 1); /* the sanitizer sees one byte too far */
			struct buf b;

			memcpy(exact, redactions[i].in, n);
			buf_init(&b, 4096);
			assert_true(redact_copy(&b, slice_of(exact, n)));
			buf_clear(&b);
			free(exact);
		}
}

/* What the sink wrote for one call. */
static size_t read_line(int fd, char *out, size_t size)
{
	ssize_t n = read(fd, out, size - 1);

	assert_true(n > 0);
	out[n] = '\0';
	return (size_t)n;
}

static void log_lines_are_redacted_and_one_line(void **state)
{
	char line[32768], big[4000];
	int p[2];

	assert_int_equal(pipe(p), 0);
	log_open(p[1], LOG_INFO, true);
	log_event(LOG_DEBUG, "not.written", F_INT("a", 1));
	log_event(LOG_WARN, "peer.refused", F_STR("why", "bad token " JWT "\nforged line"), F_INT("streams", -3),
		  F_SLICE("remote", slice_of("a\0b", 3)), F_STR("none", NULL));
	read_line(p[0], line, sizeof line);
	assert_null(strstr(line, "eyJ"));
	assert_non_null(strstr(line, "\"level\":\"warn\",\"event\":\"peer.refused\","
				     "\"why\":\"bad token [redacted]\\nforged line\","
				     "\"streams\":-3,\"remote\":\"a\\u0000b\",\"none\":\"\"}\n"));
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	log_open(p[1], LOG_DEBUG, false);
	log_event(LOG_DEBUG, "url.read", F_STR("url", "redis://u:p@h\x1b[2J"));
	read_line(p[0], line, sizeof line);
	assert_non_null(strstr(line, " debug url.read url=\"redis://[redacted]@h\\u001b[2J\"\n"));
	memset(big, 1, sizeof big - 1); /* each byte becomes six */
	big[sizeof big - 1] = '\0';
	log_event(LOG_ERROR, "too.long", F_STR("a", big), F_STR("b", big));
	read_line(p[0], line, sizeof line);
	assert_non_null(strstr(line, " error too.long cut=\"the line was too long\"\n"));
	/* a token that the cut would halve */
	memset(big, 'x', sizeof big - 1);
	memcpy(big + 2040, " " JWT, strlen(JWT) + 1);
	log_event(LOG_ERROR, "cut.token", F_STR("a", big));
	read_line(p[0], line, sizeof line);
	assert_null(strstr(line, "eyJ"));
	log_open(2, LOG_INFO, true);
	assert_true(log_enabled(LOG_INFO));
	assert_false(log_enabled(LOG_DEBUG));
	close(p[0]);
	close(p[1]);
}

/* Eight bytes at a time or one by one: the same answer, wherever the odd byte stands. */
static void ascii_by_eights(void **state)
{
	uint8_t p[24];

	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < 8; at++) {
			bool printable = c >= 0x20 && c <= 0x7e;

			memset(p, 'a', sizeof p);
			p[at] = (uint8_t)c;
			assert_int_equal(ascii_printable8(p), printable);
			assert_int_equal(utf8_is_text(slice_of(p, 17)), printable);
			if (c < 0x80) {
				assert_int_equal(ascii_lacks8(p, '"'), c != '"');
				assert_int_equal(ascii_lacks8(p, '\\'), c != '\\');
			}
		}
	}
	memset(p, 0x80, sizeof p);
	assert_false(ascii_printable8(p));
	memset(p, 0x1f, sizeof p);
	assert_false(ascii_printable8(p));
}

static void near_words_are_slips(void **state)
{
	static const char *const known[] = {"name", "url", "jwks_file", "tenants", "binding"};
	char shown[64];

	(void)state;
	assert_string_equal(near_word(SLICE_LIT("tenant"), known, 5), "tenants");
	assert_string_equal(near_word(SLICE_LIT("jwks-file"), known, 5), "jwks_file");
	assert_string_equal(near_word(SLICE_LIT("nmae"), known, 5), "name");
	assert_string_equal(near_word(SLICE_LIT("bindnig"), known, 5), "binding");
	assert_string_equal(near_word(SLICE_LIT("uri"), known, 5), "url");
	assert_null(near_word(SLICE_LIT("audience"), known, 5));
	assert_null(near_word(SLICE_LIT(""), known, 5));
	assert_null(near_word(SLICE_LIT("xy"), known, 5));
	assert_string_equal(near_show(SLICE_LIT("a\nb\xff"), shown), "a?b?");
	assert_int_equal(strlen(near_show(slice_str("0123456789012345678901234567890123456789012345678901234567890123456789"), shown)), 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ascii_by_eights),
		cmocka_unit_test(base64url_goes_both_ways),
		cmocka_unit_test(base64url_is_strict),
		cmocka_unit_test(base64_takes_padding_or_none),
		cmocka_unit_test(hex_is_lower_case),
		cmocka_unit_test(decimals),
		cmocka_unit_test(utf8_is_checked),
		cmocka_unit_test(percent_goes_both_ways),
		cmocka_unit_test(json_is_escaped_and_separated),
		cmocka_unit_test(near_words_are_slips),
		cmocka_unit_test(credentials_are_redacted),
		cmocka_unit_test(redaction_never_reads_past_its_slice),
		cmocka_unit_test(log_lines_are_redacted_and_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
