/* Is a file of resources read as it is meant, or refused where it is wrong? And are resources compared field by field, whatever order they stand in? */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cli/pem.h"
#include "cli/resdiff.h"
#include "cli/resfile.h"

#define HEAD "kind: agent\ntenant: acme\nname: a\nspiffe_id: spiffe://acme.example/a\nowner: o\n"
#define OTHER "kind: agent\ntenant: acme\nname: b\nspiffe_id: spiffe://acme.example/b\nowner: o\n"

#define ISSUER "kind: issuer\nname: corp\ntenants: [acme]\n"
#define TRUST "kind: trust\ntrust_domain: acme.example\n"
#define TENANT "kind: tenant\nname: acme\n"

static struct arena *arena;
static struct resfile file;
static struct problem why;

static int reads(const char *yaml)
{
	why.text[0] = '\0';
	return resfile_read(slice_str(yaml), "f", arena, &file, &why);
}

static const Baton__V1__AgentSpec *one(const char *yaml)
{
	if (reads(yaml) != 0)
		fail_msg("%s: %s", yaml, why.text);
	assert_int_equal(file.n, 1);
	return file.v[0].resource->agent;
}

static void every_field_is_read(void **state)
{
	const Baton__V1__AgentSpec *s = one(HEAD "client: c\nmay_call: [x, y]\nmay_serve:\n- z\nmay_originate: false\nmax_in_flight: 7\nrate_per_s: 0\n"
						 "certificate_max_ttl_s: 60\ncertificate_issuance: renewal\ncertificate_max_accepted_ttl_s: 3600\nstatus: quarantined\nexpires_at: 1970-01-01T00:00:01.5Z\nlabels: {k: yes, l: ''}\n");

	assert_string_equal(s->tenant, "acme");
	assert_string_equal(s->name, "a");
	assert_string_equal(s->spiffe_id, "spiffe://acme.example/a");
	assert_string_equal(s->owner, "o");
	assert_string_equal(s->client, "c");
	assert_int_equal(s->n_may_call, 2);
	assert_string_equal(s->may_call[1], "y");
	assert_string_equal(s->may_serve[0], "z");
	assert_false(s->may_originate);
	assert_int_equal(s->max_in_flight, 7);
	assert_int_equal(s->status, BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED);
	assert_int_equal(s->expires_at_ms, 1500);
	assert_int_equal(s->certificate->max_ttl_s, 60);
	assert_int_equal(s->certificate->issuance, BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_RENEWAL);
	assert_int_equal(s->certificate->max_accepted_ttl_s, 3600);
	assert_int_equal(s->n_labels, 2);
	assert_string_equal(s->labels[0]->value, "yes");
	assert_string_equal(s->labels[1]->value, "");
	assert_string_equal(file.v[0].name, "agent/acme/a");
	assert_int_equal(file.v[0].field[res_field_find(file.v[0].kind, "may_serve")].line, 8);
}

static void what_is_left_out_has_its_default(void **state)
{
	const Baton__V1__AgentSpec *s = one(HEAD);

	assert_false(s->may_originate);
	assert_int_equal(s->status, BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE);
	assert_int_equal(s->max_in_flight + s->rate_per_s + s->n_labels + s->n_may_serve, 0);
	assert_true(one(HEAD "may_call: [x]\n")->may_originate);
	assert_false(one(HEAD "may_call: []\n")->may_originate);
}

static void documents_of_nothing_count_as_none(void **state)
{
	assert_int_equal(reads("---\n"), 0);
	assert_int_equal(file.n, 0);
	assert_int_equal(reads("---\n" HEAD "---\n---\n" OTHER "...\n"), 0);
	assert_int_equal(file.n, 2);
	assert_int_equal(file.v[1].at.line, 9);
	assert_int_equal(reads("\xef\xbb\xbf" HEAD), 0); /* a byte order mark */
}

static void what_is_wrong_is_refused_where_it_stands(void **state)
{
	static const struct { const char *yaml, *error; } rows[] = {
		{"", "f:1:1: nothing stands in the file; "}, {"# x\n", "f:1:1: nothing stands"}, {"x", "f:1:1: a resource is a mapping"}, {"[]", "f:1:1: a resource is a mapping"},
		{"kind: [agent]\n", "f:1:7: kind: \"\" is not known"}, {"kind: Agent\n", "f:1:7: kind: \"Agent\" is not known; write tenant or trust or issuer or agent"},
		{"resources:\n- kind: agent\n", "f:1:1: `resources` is not taken; "}, {"kind: agent\n", "f:1:1: `tenant` is missing; write a name"},
		{HEAD "KIND: agent\n", "f:6:1: unknown key `KIND`; known are kind, tenant, "}, {HEAD "labels: {a: [b]}\n", "f:6:13: labels: `a` has no text; "},
		{HEAD "may_call: [[x]]\n", "f:6:12: may_call: each entry is a text; "}, {HEAD "may_call: [~]\n", "f:6:12: may_call: each entry is a text; "},
		{HEAD "may_call: [x, x]\n", "f:6:15: may_call: \"x\" stands there twice; "}, {HEAD "may_call: ['*']\n", "f:6:12: may_call: \"*\": this is no name; "},
		{HEAD "max_in_flight: -1\n", "f:6:16: max_in_flight: \"-1\" is no whole number"}, {HEAD "max_in_flight: 010\n", "f:6:16: max_in_flight: \"010\" is no whole number"},
		{HEAD "max_in_flight: 99999999999\n", "f:6:16: max_in_flight: \"99999999999\" is no"}, {HEAD "rate_per_s: 4294967297\n", "f:6:13: rate_per_s: 4294967297 is not within 0"},
		{HEAD "certificate_max_ttl_s: 29\n", "f:6:24: certificate_max_ttl_s: 29 is not within 30 to 86400"}, {HEAD "certificate_issuance: ALL\n", "f:6:23: certificate_issuance: \"ALL\" is not known; write all or enrolment or renewal or none"},
		{HEAD "card: '{'\n", "f:6:7: card: 1:1: no JSON: "}, {HEAD "card: '{}'\ncard_file: x\n", "f:7:1: card stands here, and in a file of its own too; "}, {HEAD "card_file:\n", "f:6:1: card_file names no file; "},
		{HEAD "card_file: x\ncard: '{}'\n", "f:7:1: card stands here, and in a file"}, {HEAD "certificate: {max_ttl_s: 60}\n", "f:6:1: `certificate` is not taken: each part has a line of its own; "},
		{HEAD "may_originate: True\n", "f:6:16: may_originate: \"True\" is neither"}, {HEAD "expires_at: 1970-01-01T00:00:00Z\n", "f:6:13: expires_at: "},
		{HEAD "status: ACTIVE\n", "f:6:9: status: \"ACTIVE\" is not known; write active or quarantined"}, {HEAD "owner: null\n", "f:6:1: key `owner` stands here twice; "},
		{HEAD "client: null\n", "f:6:1: client has no value; "}, {HEAD "client: \"\\0\"\n", "f:6:9: a control character or a line break inside a value; "},
		{HEAD "client: \"\\x85\"\n", "f:6:9: a control character or a line break inside a value; "}, {HEAD "client: \x01\n", "f:6:9: a control character; "},
		{HEAD "client: \xed\xa0\x80\n", "f:6:9: a byte that is not UTF-8; "}, {HEAD "client: \xc2\x9f\n", "f:6:9: a control character; "},
		{HEAD "<<: {owner: x}\n", "f:6:1: unknown key `<<`; "}, {HEAD "? [a]\n: b\n", "f:6:3: a key is a plain word; "}, {HEAD "is_static: true\n", "f:6:1: `is_static` may not be set"},
		{ISSUER "url: http://a\n", "f:4:6: url: \"http://a\": an issuer's url begins with https://; "}, {ISSUER "url: https://a\nalgorithms: [HS256]\n", "f:5:14: algorithms: \"HS256\": this is none"},
		{ISSUER "url: https://a\njwks_file: x\n", "f:5:1: `jwks_file` is not taken: the keys themselves stand here; "}, {ISSUER "url: https://a\nca: [x!]\n", "f:5:6: ca: this is no CERTIFICATE; "},
		{ISSUER, "f:1:1: `url` is missing; "}, {TRUST, "f:1:1: `anchors` is missing; "}, {TRUST "anchors: [AAA=, '-----BEGIN X509 CRL-----AAA=-----END X509 CRL-----']\n", "f:3:17: anchors: this is no CERTIFICATE; "},
		{TRUST "anchors: AAA=\n", "f:3:10: anchors is not what it should be; "}, {"kind: trust\ntrust_domain: ACME\nanchors: []\n", "f:2:15: trust_domain: \"ACME\": "},
		{TENANT "max_bytes: 1MB\n", "f:3:12: max_bytes: \"1MB\" is no size; "}, {TENANT "max_bytes: 2TiB\n", "f:3:12: max_bytes: \"2TiB\" is no size; "},
		{TENANT "max_bytes: -1\n", "f:3:12: max_bytes: \"-1\" is no size; "}, {TENANT "max_waiting: 1KiB\n", "f:3:14: max_waiting: \"1KiB\" is no whole number"},
		{TENANT "max_waiting: 1000000001\n", "f:3:14: max_waiting: 1000000001 is not within 0 to 1000000000; "}, {TENANT "waiting: 1\n", "f:3:1: `waiting` may not be set: the broker says it; "},
		{"kind: tenant\nname: Acme\n", "f:2:7: name: \"Acme\": this is no name; "}, {"kind: tenant\n", "f:1:1: `name` is missing; "},
		{HEAD "---\n" HEAD, "f:7:1: agent/acme/a stands here again, it was at line 1; "}, {HEAD "---\n" OTHER "---\n" OTHER "---\n" HEAD, "f:13:1: agent/acme/b stands here again, it was at line 7"},
		{HEAD "---\nkind: agent\ntenant: t\nname: a\nspiffe_id: spiffe://acme.example/a\nowner: o\n", "f:10:1: spiffe_id: \"spiffe://acme.example/a\" is that of agent/acme/a too, at line 1"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (reads(rows[i].yaml) == 0 || strncmp(why.text, rows[i].error, strlen(rows[i].error)) != 0 || !strchr(why.text, ';'))
			fail_msg("row %zu: %s\n%s\nwhere this was expected: %s", i, rows[i].yaml, why.text, rows[i].error);
}

static void a_file_that_is_too_much_is_refused(void **state)
{
	char *huge = calloc(1, RESFILE_BYTES_MAX + 2);
	struct arena *small = arena_new(32768);

	memset(huge, '#', RESFILE_BYTES_MAX + 1);
	assert_int_equal(resfile_read(slice_of(huge, RESFILE_BYTES_MAX + 1), "f", arena, &file, &why), -1);
	assert_string_equal(why.text, "f:1:1: the file is over 16 MiB; split it");
	memset(huge, '[', RESFILE_BYTES_MAX);
	assert_int_equal(resfile_read(slice_of(huge, RESFILE_BYTES_MAX), "f", arena, &file, &why), -1);
	assert_non_null(strstr(why.text, "f:1:9: nested too deeply; "));
	memset(huge, 'x', 65536);
	memcpy(huge, HEAD "client: ", sizeof HEAD "client: " - 1);
	assert_int_equal(resfile_read(slice_of(huge, 65536), "f", small, &file, &why), -1);
	assert_string_equal(why.text, "f:6:9: the file is too large; split it");
	free(huge);
	arena_free(small);
}

static const Baton__V1__TrustBundle *bundle_of(const char *yaml)
{
	assert_int_equal(reads(yaml), 0);
	return file.v[0].resource->bundle;
}

static void a_certificate_is_its_base64_with_or_without_the_lines_around_it(void **state)
{
	static const char *const same[] = {
		TRUST "anchors: [AAEC]\n", TRUST "anchors:\n- AA\n  EC\n", TRUST "anchors:\n- >-\n  -----BEGIN CERTIFICATE-----\n  AAEC\n  -----END CERTIFICATE-----\n",
		TRUST "anchors: ['  -----BEGIN CERTIFICATE----- AAEC -----END CERTIFICATE-----']\n",
	};
	static const char *const none[] = {
		"''", "A", "AAEC=AAEC", "-----BEGIN CERTIFICATE----- AAEC", "-----BEGIN CERTIFICATE----- AAEC -----END CERTIFICATE----- x", "-----BEGIN CERTIFICATE----------END CERTIFICATE-----",
		"-----BEGIN PRIVATE KEY----- AAEC -----END PRIVATE KEY-----", "[AAEC]",
	};
	char yaml[300];

	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		const Baton__V1__TrustBundle *b = bundle_of(same[i]);

		assert_int_equal(b->n_anchors_der, 1);
		assert_int_equal(b->anchors_der[0].len, 3);
		assert_memory_equal(b->anchors_der[0].data, "\0\1\2", 3);
	}
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		snprintf(yaml, sizeof yaml, TRUST "anchors:\n- %s\n", none[i]);
		assert_int_not_equal(reads(yaml), 0);
		assert_non_null(strstr(why.text, "f:4:3: anchors: this is no CERTIFICATE; "));
	}
}

static void a_file_of_pem_is_its_blocks(void **state)
{
#define BLOCK "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"
	static const struct { const char *text; int n; const char *wrong; } rows[] = {
		{BLOCK, 1, NULL}, {"# two of them\n" BLOCK "between\n" BLOCK "behind", 2, NULL}, {"", 0, "it holds no PEM CERTIFICATE"}, {"AAEC", 0, "it holds no PEM"},
		{BLOCK "-----BEGIN EC PRIVATE KEY-----\nAAEC\n-----END EC PRIVATE KEY-----\n", 0, "block 2 is no CERTIFICATE"},
		{"-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n", 0, "block 1 cannot be read"}, {BLOCK "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CRL-----\n", 0, "block 2 cannot"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		ProtobufCBinaryData *v;
		size_t n;
		int rc = pem_all(slice_str(rows[i].text), PEM_CERTIFICATE, arena, &v, &n, &why);

		assert_int_equal(rc, rows[i].wrong ? -1 : 0);
		if (rows[i].wrong)
			assert_non_null(strstr(why.text, rows[i].wrong));
		else
			assert_int_equal(n, rows[i].n);
	}
}

static void the_order_of_a_list_is_no_difference(void **state)
{
	const struct res_kind *k = res_kind_find("agent");
	const Baton__V1__AgentSpec *a = one(HEAD "may_call: [x, y, z]\nlabels: {k: v, l: w}\n");
	const struct resfile first = file;
	const Baton__V1__AgentSpec *b = one(HEAD "may_call: [z, x, y]\nlabels: {l: w, k: v}\n");

	assert_true(resdiff_none(k, &a->base, &b->base));
	resdiff_arrange(k, &a->base, file.v[0].spec);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(a->may_call[i], b->may_call[i]);
	assert_string_equal(b->labels[0]->key, "k");
	assert_int_equal(first.n, 1);
	assert_false(resdiff_none(k, &a->base, &one(HEAD "may_call: [x, y]\nlabels: {k: v, l: w}\n")->base));
	assert_false(resdiff_none(k, &a->base, &one(HEAD "may_call: [x, y, z]\nlabels: {k: v, l: v}\n")->base));
}

static void a_difference_is_told_field_by_field(void **state)
{
	const struct res_kind *k = res_kind_find("agent");
	const Baton__V1__AgentSpec *a = one(HEAD "may_call: [x, y]\nlabels: {k: v}\nmax_in_flight: 3\n");
	const Baton__V1__AgentSpec *b = one(HEAD "may_call: [y, z]\nrate_per_s: 2\nexpires_at: 2027-01-31T00:00:00Z\n");
	Baton__V1__AgentSpec never = *b;
	struct buf line;
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	resdiff_print(out, k, &a->base, &b->base);
	fclose(out);
	assert_string_equal(text, " may_call:\n-  - x\n   - y\n+  - z\n-max_in_flight: 3\n+rate_per_s: 2\n+expires_at: 2027-01-31T00:00:00Z\n-labels:\n-  k: v\n");
	free(text);
	buf_init(&line, 4096);
	resdiff_line(&line, k, &a->base, &b->base);
	buf_put_u8(&line, 0);
	assert_string_equal((char *)line.p, "may_call: x, y -> y, z; max_in_flight: 3 -> -; rate_per_s: - -> 2; expires_at: - -> 2027-01-31T00:00:00Z; labels: k=v -> -");
	buf_clear(&line);
	never.expires_at_ms = CLOCK_LAST_MS + 1; /* no file can say that */
	assert_int_equal(res_number(&never.base, &k->fields[res_field_find(k, "expires_at")]), 0);
}

static void a_card_stands_there_or_in_a_file_of_its_own(void **state)
{
	char dir[] = "/tmp/resfile.XXXXXX", yaml[512], path[64], name[64];
	const Baton__V1__AgentSpec *s = one(HEAD "card: '{ \"name\" : \"a b\" }'\n");
	FILE *f;

	assert_true(slice_is(slice_of(s->card.data, s->card.len), "{\"name\":\"a b\"}"));
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/c.json", dir);
	snprintf(name, sizeof name, "%s/f.yaml", dir);
	f = fopen(path, "w");
	fputs("{\n  \"name\": \"c\"\n}\n", f);
	fclose(f);
	assert_int_equal(resfile_read(slice_str(HEAD "card_file: c.json\n"), name, arena, &file, &why), 0); /* beside it */
	assert_int_equal(resfile_load(&file, arena, &why), 0);
	s = file.v[0].resource->agent;
	assert_true(slice_is(slice_of(s->card.data, s->card.len), "{\"name\":\"c\"}"));
	snprintf(yaml, sizeof yaml, HEAD "card_file: %s\n", path);
	assert_int_equal(reads(yaml), 0);
	assert_int_equal(resfile_load(&file, arena, &why), 0);
	f = fopen(path, "w");
	fputs("{\"name\":\n x}", f);
	fclose(f);
	assert_int_equal(resfile_load(&file, arena, &why), -1);
	assert_non_null(strstr(why.text, "f:6:1: card_file: "));
	assert_non_null(strstr(why.text, "c.json: 2:"));
	unlink(path);
	assert_int_equal(resfile_load(&file, arena, &why), -1);
	rmdir(dir);
}

/* What the broker sends of an agent without a policy has no message for it. */
static void a_message_within_that_is_not_there_says_nothing(void **state)
{
	const struct res_kind *k = res_kind_find("agent");
	const Baton__V1__AgentSpec *s = one(HEAD "certificate_issuance: none\n");
	Baton__V1__AgentSpec without = *one(HEAD);
	struct buf line;

	assert_non_null(without.certificate);
	assert_true(resdiff_none(k, &one(HEAD "certificate_issuance: all\n")->base, &without.base));
	without.certificate = NULL;
	assert_true(resdiff_none(k, &one(HEAD)->base, &without.base));
	assert_false(resdiff_none(k, &s->base, &without.base));
	buf_init(&line, 4096);
	resdiff_line(&line, k, &without.base, &s->base);
	buf_put_u8(&line, 0);
	assert_string_equal((char *)line.p, "certificate_issuance: - -> none");
	buf_clear(&line);
}

static int setup(void **state)
{
	arena = arena_new(64 << 20);
	return arena == NULL;
}

static int teardown(void **state)
{
	arena_free(arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_read), cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(documents_of_nothing_count_as_none), cmocka_unit_test(what_is_wrong_is_refused_where_it_stands),
		cmocka_unit_test(a_file_that_is_too_much_is_refused), cmocka_unit_test(the_order_of_a_list_is_no_difference),
		cmocka_unit_test(a_difference_is_told_field_by_field), cmocka_unit_test(a_card_stands_there_or_in_a_file_of_its_own), cmocka_unit_test(a_message_within_that_is_not_there_says_nothing), cmocka_unit_test(a_file_of_pem_is_its_blocks),
		cmocka_unit_test(a_certificate_is_its_base64_with_or_without_the_lines_around_it),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
