/* Is a destination read as an HTTP client would connect to it, and refused when two readers could differ? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/address.h"
#include "policy/destination.h"
#include "policy/profile.h"

static void test_taken(void **state)
{
	static const struct { const char *text, *host; unsigned port; bool plain, local; } rows[] = {
		{"api.example.com", "api.example.com", 0, false, false},
		{"API.Example.COM", "api.example.com", 0, false, false},
		{"api.example.com.", "api.example.com", 0, false, false},
		{"api.example.com.:443", "api.example.com", 443, false, false},
		{"api.example.com:8443", "api.example.com", 8443, false, false},
		{"api.example.com:65535", "api.example.com", 65535, false, false},
		{"https://api.example.com", "api.example.com", 0, false, false},
		{"https://api.example.com/", "api.example.com", 0, false, false},
		{"https://api.example.com:443/a/b?c=d#e", "api.example.com", 443, false, false},
		{"https://api.example.com?x=@evil.example", "api.example.com", 0, false, false},
		{"https://api.example.com/@evil.example", "api.example.com", 0, false, false},
		{"hTTps://api.example.com#x", "api.example.com", 0, false, false},
		{"http://api.example.com/", "api.example.com", 0, true, false},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", 0, false, false},
		{"a-b.c0.example", "a-b.c0.example", 0, false, false},
		{"8.8.8.8", "8.8.8.8", 0, false, false},
		{"8.8.8.8:53", "8.8.8.8", 53, false, false},
		{"https://[2606:4700:0::1111]:443/", "[2606:4700::1111]", 443, false, false},
		{"[2606:4700::1111]", "[2606:4700::1111]", 0, false, false},
		{"10.0.0.1", "10.0.0.1", 0, false, true},
		{"172.31.255.255", "172.31.255.255", 0, false, true},
		{"172.32.0.0", "172.32.0.0", 0, false, false},
		{"192.168.1.1:80", "192.168.1.1", 80, false, true},
		{"127.0.0.1", "127.0.0.1", 0, false, true},
		{"127.255.255.254", "127.255.255.254", 0, false, true},
		{"0.0.0.0", "0.0.0.0", 0, false, true},
		{"100.100.100.200", "100.100.100.200", 0, false, true},
		{"100.128.0.1", "100.128.0.1", 0, false, false},
		{"https://169.254.169.254/latest/meta-data/", "169.254.169.254", 0, false, true},
		{"168.63.129.16", "168.63.129.16", 0, false, true},
		{"168.63.129.17", "168.63.129.17", 0, false, false},
		{"224.0.0.1", "224.0.0.1", 0, false, true},
		{"255.255.255.255", "255.255.255.255", 0, false, true},
		{"223.255.255.255", "223.255.255.255", 0, false, false},
		{"198.19.0.1", "198.19.0.1", 0, false, true},
		{"127.0.0.1.", "127.0.0.1", 0, false, true},
		{"[::1]", "[::1]", 0, false, true},
		{"[::]", "[::]", 0, false, true},
		{"[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]", 0, false, true},
		{"[::ffff:8.8.8.8]", "[::ffff:8.8.8.8]", 0, false, true},
		{"[::ffff:a9fe:a9fe]", "[::ffff:169.254.169.254]", 0, false, true},
		{"[64:ff9b::a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", 0, false, true},
		{"[2002:7f00:1::]", "[2002:7f00:1::]", 0, false, true},
		{"[2001::1]", "[2001::1]", 0, false, true},
		{"[fd00:ec2::254]", "[fd00:ec2::254]", 0, false, true},
		{"[fe80::1]", "[fe80::1]", 0, false, true},
		{"[FF02::1]", "[ff02::1]", 0, false, true},
		{"localhost", "localhost", 0, false, true},
		{"LOCALHOST.:80", "localhost", 80, false, true},
		{"a.localhost", "a.localhost", 0, false, true},
		{"metadata.google.internal", "metadata.google.internal", 0, false, true},
		{"notlocalhost", "notlocalhost", 0, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct destination d;
		const char *why = destination_parse(slice_str(rows[i].text), &d);

		if (why)
			fail_msg("%s: %s", rows[i].text, why);
		if (strcmp(d.host, rows[i].host) || d.port != rows[i].port || d.plain_http != rows[i].plain ||
		    d.private_network != rows[i].local)
			fail_msg("%s: %s port %u plain %d private %d", rows[i].text, d.host, d.port, d.plain_http,
				d.private_network);
	}
}

static void test_refused(void **state)
{
	static const char *const rows[] = {
		"", " ", ".", "..", "a..b", ".a", "a b", "a\tb", "a.example\n", "a\\b",
			"https://a.example\\@b.example/", "https://",
		"https:///a", "https://?", "ftp://a.example/", "file:///etc/passwd", "javascript:alert(1)",
			"gopher://a", "//a.example/",
		"/a", "a.example/path", "a.example?x", "a.example#x", "user@a.example", "https://user@a.example/",
			"https://user:pw@a.example",
		"https://a.example@b.example/", "a.example:", "a.example:0", "a.example:00443", "a.example:65536",
			"a.example:99999",
		"a.example:443443", "a.example:4a3", "a.example:-1", "a.example:+1", "a.example:443:443",
			"a.example:80 ",
		"-a.example", "a-.example", "a.example-", "a_b.example", "a%2eexample", "a%00.example",
			("b\xc3\xbc" "cher.example"),
		"\xef\xbd\x81.example", "a.example\xe3\x80\x82", "*", "*.example.com", "a*b.example",
		/* addresses in odd forms */
		"0x7f.1", "0x7f000001", "2130706433", "017700000001", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01",
			"0x7f.0x0.0x0.0x1",
		"1.2.3.4.5", "256.1.1.1", "1.2.3.999", "a.0x1", "example.1", "0x", "https://0x7f.1/", "3232235777", "0",
			"10.0.0.1..",
		"::1", "::ffff:10.0.0.1", "fe80::1", "[::1", "[]", "[]:80", "[::1]x", "[::1]:", "[::1]:0",
			"[::1%25eth0]", "[fe80::1%eth0]",
		"[127.0.0.1]", "[a.example]", "[::1]]", "[[::1]]", "[::ffff:010.0.0.1]", "[1:2:3:4:5:6:7:8:9]",
			"https://[::1",
	};
	char nul[] = "a\0b.example", longest[300], label[80];
	struct destination d;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (!destination_parse(slice_str(rows[i]), &d))
			fail_msg("\"%s\" was taken as %s", rows[i], d.host);
		assert_string_equal(d.host, "");
	}
	assert_non_null(destination_parse(slice_of(nul, sizeof nul - 1), &d));
	/* 253 characters in all, 63 a label */
	memset(label, 'a', 64);
	label[64] = '\0';
	assert_non_null(destination_parse(slice_str(label), &d));
	assert_null(destination_parse(slice_of(label, 63), &d));
	for (size_t i = 0; i < sizeof longest; i++)
		longest[i] = i % 64 == 63 ? '.' : 'a';
	assert_null(destination_parse(slice_of(longest, 253), &d));
	assert_non_null(destination_parse(slice_of(longest, 254), &d));
}

static void test_patterns(void **state)
{
	static const char *const good[] = {"a.example", "*.a.example", "localhost", "8.8.8.8", "[2606:4700::1111]",
		"xn--bcher-kva.example"};
	static const char *const bad[] = {
		"", "*", "*.", "*.com", "*.*.example", "a.*.example", "A.example", "a.example.", "a.example:80",
			"https://a.example", "*.A.example",
		"*a.example", "*.8.8.8.8", "*.[::1]", "*.a.example.", "[::0001]", " a.example",
	};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		if (host_pattern_check(slice_str(good[i])))
			fail_msg("%s: %s", good[i], host_pattern_check(slice_str(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!host_pattern_check(slice_str(bad[i])))
			fail_msg("%s was taken", bad[i]);
	assert_true(host_pattern_matches("a.example", "a.example"));
	assert_false(host_pattern_matches("a.example", "b.a.example"));
	assert_true(host_pattern_matches("*.a.example", "b.a.example"));
	assert_true(host_pattern_matches("*.a.example", "c.b.a.example"));
	assert_false(host_pattern_matches("*.a.example", "a.example"));
	assert_false(host_pattern_matches("*.a.example", ".a.example"));
	assert_false(host_pattern_matches("*.a.example", "ba.example"));
	assert_false(host_pattern_matches("*.a.example", "b.a.example.evil"));
	assert_true(host_pattern_covers("*.a.example", "*.b.a.example"));
	assert_true(host_pattern_covers("*.a.example", "*.a.example"));
	assert_false(host_pattern_covers("*.b.a.example", "*.a.example"));
	assert_false(host_pattern_covers("a.example", "*.a.example"));
}

static const char json_format[] =
	"{\"route\": \"r\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"s\"]},"
	" \"tools\": {\"allowed\": [\"t\"]},"
	" \"egress\": {\"classes\": {\"*.example.com\": \"public\", \"api.example.com\": \"internal\", \"*.eu.example.com\": \"customer\"}},"
	" \"sandbox\": {\"network\": {\"allowed_domains\": [\"*.example.com\", \"10.0.0.5\", \"localhost\"], \"block_private_networks\": %s,"
	" \"require_tls\": %s}}}";

static struct profile *make(bool block, bool tls)
{
	struct problem why = {""}, warn = {""};
	struct profile *p;
	char json[2048];

	snprintf(json, sizeof json, json_format, block ? "true" : "false", tls ? "true" : "false");
	p = profile_parse(slice_str(json), &why, &warn);
	if (!p)
		fail_msg("%s", why.text);
	assert_int_equal(warn.text[0] != '\0', block); /* what is listed and can never be reached is named */
	return p;
}

static void expect(const struct profile *p, const char *text, bool ok, enum destination_class expected)
{
	enum destination_class cls = CLASS_PUBLIC;
	const char *why = NULL;
	char host[254];

	if (profile_classify(p, slice_str(text), host, &cls, &why) != ok || cls != expected || (ok ? why != NULL
		: why == NULL))
		fail_msg("%s: %s, %s", text, destination_class_text(cls), why ? why : "taken");
}

/* Exact domains are listed, classes are given by pattern. */
static void test_class_of_a_pattern(void **state)
{
	static const char json[] =
		"{\"route\": \"r\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\","
		" \"required_scopes\": [\"s\"]}, \"tools\": {\"allowed\": [\"t\"]},"
		" \"egress\": {\"classes\": {\"*.example.com\": \"customer\", \"*.eu.example.com\": \"internal\", \"*.bad.example\": \"unknown\"}},"
		" \"sandbox\": {\"network\": {\"allowed_domains\": [\"mail.example.com\", \"*.eu.example.com\", \"a.eu.example.com\","
		" \"x.bad.example\", \"other.example\"]}}}";
	struct problem why = {""}, warn = {""};
	struct profile *p = profile_parse(slice_str(json), &why, &warn);

	(void)state;
	if (!p)
		fail_msg("%s", why.text);
	assert_string_equal(warn.text, "");
	expect(p, "mail.example.com", true, CLASS_CUSTOMER);
	expect(p, "a.eu.example.com", true, CLASS_INTERNAL);
	expect(p, "b.eu.example.com", true, CLASS_INTERNAL);
	expect(p, "x.bad.example", true, CLASS_UNKNOWN);
	expect(p, "other.example", true, CLASS_PARTNER);
	expect(p, "web.example.com", true, CLASS_UNKNOWN); /* has a class and is not listed */
	profile_unref(p);
}

static void test_classify(void **state)
{
	struct profile *p = make(true, true), *open = make(false, false);

	(void)state;
	expect(p, "docs.example.com", true, CLASS_PUBLIC);
	expect(p, "api.example.com", true, CLASS_INTERNAL); /* the more exact entry decides */
	expect(p, "a.eu.example.com", true, CLASS_CUSTOMER);
	expect(p, "b.a.eu.example.com", true, CLASS_CUSTOMER);
	expect(p, "eu.example.com", true, CLASS_PUBLIC);
	expect(p, "example.com", true, CLASS_UNKNOWN);
	expect(p, "8.8.8.8", true, CLASS_UNKNOWN);
	expect(p, "10.0.0.5", false, CLASS_UNKNOWN);
	expect(open, "10.0.0.5", true, CLASS_PARTNER);
	expect(open, "10.0.0.6", true, CLASS_UNKNOWN);
	expect(p, "localhost", false, CLASS_UNKNOWN);
	expect(open, "localhost", true, CLASS_PARTNER);
	expect(open, "[::ffff:10.0.0.5]", true, CLASS_UNKNOWN); /* another text, another host */
	expect(open, "0x0a.5", false, CLASS_UNKNOWN);
	expect(p, "http://docs.example.com", false, CLASS_UNKNOWN);
	expect(open, "http://docs.example.com", true, CLASS_PUBLIC);
	expect(open, "https://u@docs.example.com", false, CLASS_UNKNOWN);
	profile_unref(p);
	profile_unref(open);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken), cmocka_unit_test(test_refused), cmocka_unit_test(test_patterns),
			cmocka_unit_test(test_classify),
		cmocka_unit_test(test_class_of_a_pattern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
