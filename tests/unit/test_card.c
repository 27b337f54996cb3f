/* Which cards of agents are taken? Each refusal beside the card that passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "registry/card.h"

#define INTERFACES "\"supportedInterfaces\":[{\"url\":\"https://a.example\",\"protocolBinding\":\"JSONRPC\",\"protocolVersion\":\"1.0\"}]"
#define SKILL "{\"id\":\"s1\",\"name\":\"S\",\"description\":\"d\",\"tags\":[\"t\"]}"
#define LISTS "\"capabilities\":{},\"defaultInputModes\":[\"text/plain\"],\"defaultOutputModes\":[]"
#define REST "\"description\":\"does\\nthings\",\"version\":\"1\"," INTERFACES "," LISTS
#define WITH(more) "{\"name\":\"Planner\"," REST ",\"skills\":[" SKILL "]" more "}"

/* field NULL: it is taken. */
static void check(const char *json, const char *field, const char *what)
{
	struct card_fault f;
	bool ok = card_check(slice_str(json), &f);

	if (ok != !field)
		fail_msg("%s: %s: %s", json, ok ? "taken" : f.field, f.what);
	if (ok)
		return;
	assert_string_equal(f.field, field);
	if (!strstr(f.what, what))
		fail_msg("%s: %s", json, f.what);
	assert_false(f.no_memory);
}

static void a_card_of_a2a_is_taken(void **state)
{
	check(WITH(""), NULL, NULL);
	check(WITH(",\"provider\":{\"organization\":\"Acme\",\"url\":\"https://acme.example\"},\"documentationUrl\":\"https://d\",\"iconUrl\":null,"
		   "\"securitySchemes\":{\"m\":{\"mtlsSecurityScheme\":{}}},\"securityRequirements\":[{}],\"signatures\":[{\"protected\":\"e\",\"signature\":\"s\"}],"
		   "\"x-ours\":{\"anything\":[1,2.5,null,true]}"), NULL, NULL);
	check("{\"name\":\"\xc3\xa9\"," REST ",\"skills\":[]}", NULL, NULL);
}

static void what_is_no_card_is_refused_by_its_field(void **state)
{
	static const struct { const char *json, *field, *what; } rows[] = {
		{"", "", "no JSON"}, {"{", "", "no JSON"}, {"[]", "", "no object"}, {"1 2", "", "no JSON"}, {"{\"name\":\"a\",\"name\":\"b\"}", "", "a member twice"},
		{"{}", "name", "missing"}, {"{\"name\":\"\"}", "name", "empty"}, {"{\"name\":7}", "name", "no text"}, {"{\"name\":null}", "name", "missing"},
		{"{\"name\":\"a\\nb\"}", "name", "line end"}, {"{\"name\":\"a\\u001b[31m\"}", "name", "control character"}, {"{\"name\":\"a\\u009b\"}", "name", "control character"},
		{"{\"name\":\"a\xc2\x9b\"}", "name", "control character"}, {"{\"name\":\"\xff\"}", "", "no JSON"}, {"{\"name\":\"\\u0000\"}", "", "no JSON"},
		{"{\"name\":\"a\"}", "description", "missing"},
		{"{\"name\":\"P\"," REST "}", "skills", "missing"}, {"{\"name\":\"P\"," REST ",\"skills\":{}}", "skills", "no list"},
		{"{\"name\":\"P\"," REST ",\"skills\":[7]}", "skills[0]", "no object"}, {"{\"name\":\"P\"," REST ",\"skills\":[" SKILL ",{\"name\":\"x\"}]}", "skills[1].id", "missing"},
		{"{\"name\":\"P\"," REST ",\"skills\":[" SKILL "," SKILL "]}", "skills[1].id", "another skill"},
		{"{\"name\":\"P\"," REST ",\"skills\":[{\"id\":\"a\",\"name\":\"n\",\"description\":\"d\",\"tags\":[1]}]}", "skills[0].tags[0]", "no text"},
		{"{\"name\":\"P\",\"description\":\"d\",\"supportedInterfaces\":[{\"url\":\"u\"}]}", "supportedInterfaces[0].protocolBinding", "missing"},
		{"{\"name\":\"P\",\"description\":\"d\"," INTERFACES ",\"provider\":{}}", "provider.organization", "missing"},
		{"{\"name\":\"P\",\"description\":\"d\"," INTERFACES ",\"version\":\"1\",\"capabilities\":{\"streaming\":\"yes\"}}", "capabilities.streaming", "neither true nor false"},
		{WITH(",\"securitySchemes\":{\"m\":1}"), "securitySchemes.m", "no object"}, {WITH(",\"documentationUrl\":1"), "documentationUrl", "no text"},
		{WITH(",\"x\":[{\"y\":\"\\u007f\"}]"), "x[0].y", "control character"}, {WITH(",\"x\":{\"a b\":[\"\\u0007\"]}"), "x.*[0]", "control character"},
		{WITH(",\"x\":{\"a\\nb\":1}"), "x", "a member's name"}, {WITH(",\"x\":123456789012345678901234567890"), "", "no JSON"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check(rows[i].json, rows[i].field, rows[i].what);
}

static void a_card_is_within_its_bounds(void **state)
{
	static const char head[] = "{\"name\":\"P\"," REST ",\"skills\":[],\"x\":\"";
	char *text = calloc(1, CARD_BYTES_MAX + 64);
	size_t n = sizeof head - 1;

	memcpy(text, head, n);
	memset(text + n, 'x', CARD_BYTES_MAX - n - 2);
	memcpy(text + CARD_BYTES_MAX - 2, "\"}", 3);
	check(text, NULL, NULL);
	memcpy(text + CARD_BYTES_MAX - 2, "x\"}", 4);
	check(text, "", "more than 32768 bytes");
	free(text);
	check(WITH(",\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]"), NULL, NULL);
	check(WITH(",\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"), "", "deeper than 16");
}

static void a_name_has_at_most_256_bytes(void **state)
{
	char text[2048], name[CARD_NAME_MAX + 2];

	memset(name, 'n', sizeof name);
	name[CARD_NAME_MAX] = '\0';
	snprintf(text, sizeof text, "{\"name\":\"%s\"," REST ",\"skills\":[]}", name);
	check(text, NULL, NULL);
	name[CARD_NAME_MAX] = 'n';
	name[CARD_NAME_MAX + 1] = '\0';
	snprintf(text, sizeof text, "{\"name\":\"%s\"," REST ",\"skills\":[]}", name);
	check(text, "name", "more than 256");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_card_of_a2a_is_taken), cmocka_unit_test(what_is_no_card_is_refused_by_its_field), cmocka_unit_test(a_card_is_within_its_bounds),
		cmocka_unit_test(a_name_has_at_most_256_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
