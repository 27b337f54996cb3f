/* Is what is written as YAML read back as the same texts, whatever they are? And are several documents read one after the other, each with its places? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/yaml_tree.h"
#include "base/yaml_write.h"

static const char *const hostile[] = {
	"yes", "no", "null", "~", "", " ", "1e3", "0x10", "010", ".inf", "12:30:00", "2027-01-01", "true", "*a", "&a", "!a", "!!int 3", "a: b", "a #b", "# a", "- a", "-",
	"---", "...", "--- x", "? a", ": a", "{", "}", "[a]", "a, b", "%TAG", "@a", "`a", "|", ">", "'", "\"", "\\", "\\n", "a'b\"c", "<<", "=", " lead", "trail ",
	"\xc3\xa9t\xc3\xa9", "\xe2\x80\xa8", "\xef\xbb\xbf", "\xef\xbf\xbe", "\xf0\x9f\xa4\x96", "\xc2\xa0", "kind: agent\xe2\x80\xa9kind: agent",
};
#define HOSTILE (sizeof hostile / sizeof hostile[0])

static void what_is_written_is_read_back(void **state)
{
	struct arena *arena = arena_new(1 << 20);
	struct problem why = {""};
	const struct yaml_node *root, *e;
	struct yaml_writer *w;
	struct yaml_stream *s;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	w = yaml_writer_new(&b);
	for (int doc = 0; doc < 2; doc++) {
		yaml_writer_document(w);
		yaml_writer_word(w, "kind", "agent");
		yaml_writer_list(w, "list");
		for (size_t i = 0; i < HOSTILE; i++)
			yaml_writer_text(w, NULL, hostile[i]);
		yaml_writer_end_list(w);
		yaml_writer_map(w, "map");
		for (size_t i = 0; i < HOSTILE; i++)
			if (*hostile[i])
				yaml_writer_entry(w, hostile[i], hostile[i]);
		yaml_writer_end_map(w);
		yaml_writer_text(w, "last", "x");
		assert_true(yaml_writer_end_document(w));
	}
	yaml_writer_free(w);
	s = yaml_stream_new(buf_slice(&b), "f");
	for (int doc = 0; doc < 2; doc++) {
		size_t i = 0;

		if (yaml_stream_next(s, arena, &root, &why) != 1)
			fail_msg("%s", why.text);
		assert_int_equal(root->n, 4);
		assert_string_equal(root->last->text, "x");
		for (e = yaml_tree_get(root, "list")->first; e; e = e->next, i++) {
			assert_false(e->nothing);
			assert_string_equal(e->text, hostile[i]);
		}
		assert_int_equal(i, HOSTILE);
		for (e = yaml_tree_get(root, "map")->first; e; e = e->next)
			assert_string_equal(e->text, e->key->text);
		assert_int_equal(yaml_tree_get(root, "map")->n, HOSTILE - 1);
	}
	assert_int_equal(yaml_stream_next(s, arena, &root, &why), 0);
	yaml_stream_free(s);
	buf_clear(&b);
	arena_free(arena);
}

static void what_cannot_be_written_is_said(void **state)
{
	struct yaml_writer *w;
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	w = yaml_writer_new(&b);
	yaml_writer_document(w);
	yaml_writer_text(w, "a", "\xff");
	assert_false(yaml_writer_end_document(w));
	yaml_writer_free(w);
	buf_clear(&b);
	buf_init(&b, 64);
	w = yaml_writer_new(&b);
	yaml_writer_document(w);
	for (int i = 0; i < 20000; i++)
		yaml_writer_text(w, "a", "over the cap");
	assert_false(yaml_writer_end_document(w));
	yaml_writer_free(w);
	buf_clear(&b);
}

static void documents_come_one_by_one(void **state)
{
	static const struct { const char *yaml; int documents; const char *error; } rows[] = {
		{"a: 1", 1, NULL}, {"a: 1\n---\nb: 2\n", 2, NULL}, {"---\na: 1\n...\n---\nb: 2\n", 2, NULL}, {"", 0, NULL}, {"# nothing\n", 0, NULL},
		{"---\n", 1, NULL}, {"---\n---\n", 2, NULL}, {"a: 1\n---\nb: [\n", 1, "f:4:1: this is no YAML: "}, {"a: 1\n---\nb: 1\nb: 2\n", 1, "f:4:1: key `b` stands here twice"},
		{"a: 1\n---\nb: &x 1\n", 1, "f:3:4: anchors and tags are not taken"}, {"[[[[[[[[[x]]]]]]]]]", 0, "f:1:9: nested too deeply"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct arena *arena = arena_new(1 << 20);
		struct yaml_stream *s = yaml_stream_new(slice_str(rows[i].yaml), "f");
		const struct yaml_node *root;
		struct problem why = {""};
		int n = 0, rc;

		while ((rc = yaml_stream_next(s, arena, &root, &why)) == 1)
			n++;
		assert_int_equal(n, rows[i].documents);
		assert_null(root);
		if (rows[i].error ? rc != -1 || strncmp(why.text, rows[i].error, strlen(rows[i].error)) != 0 : rc != 0)
			fail_msg("row %zu: %d %s", i, rc, why.text);
		assert_int_equal(yaml_stream_next(s, arena, &root, &why), 0);
		yaml_stream_free(s);
		arena_free(arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(what_cannot_be_written_is_said),
		cmocka_unit_test(documents_come_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
