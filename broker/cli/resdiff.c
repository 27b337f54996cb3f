/* What is different between a resource as it is and as it shall be? See resdiff.h. */
#include "config.h"

#include "cli/resdiff.h"

#include <string.h>

#include "base/encode.h"
#include "base/secret.h"
#include "cli/text.h"

/* ---- entries of lists and mappings ---- */

static size_t count_of(const ProtobufCMessage *m, const struct res_field *f)
{
	return m ? *res_count(m, f) : 0;
}

static bool same_bytes(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (!a->len || memcmp(a->data, b->data, a->len) == 0);
}

static bool same_entry(const struct res_field *f, const ProtobufCMessage *a, size_t i, const ProtobufCMessage *b, size_t j)
{
	const ProtobufCMessage *x, *y;

	if (f->type == RES_WORDS)
		return strcmp((*res_words(a, f))[i], (*res_words(b, f))[j]) == 0;
	if (f->type == RES_DER)
		return same_bytes(&res_bytes(a, f)[i], &res_bytes(b, f)[j]);
	x = (*res_pairs(a, f))[i];
	y = (*res_pairs(b, f))[j];
	return strcmp(*res_side(x, 0), *res_side(y, 0)) == 0 && strcmp(*res_side(x, 1), *res_side(y, 1)) == 0;
}

/* Where m has the entry i of `other`, from `from` on; its count: nowhere. */
static size_t find_entry(const struct res_field *f, const ProtobufCMessage *m, size_t from, const ProtobufCMessage *other, size_t i)
{
	size_t n = count_of(m, f);

	while (from < n && !same_entry(f, m, from, other, i))
		from++;
	return from;
}

/* Every entry of a stands in b. */
static bool within(const struct res_field *f, const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	for (size_t i = 0; i < count_of(a, f); i++)
		if (find_entry(f, b, 0, a, i) == count_of(b, f))
			return false;
	return true;
}

bool resdiff_same(const struct res_field *f, const ProtobufCMessage *was, const ProtobufCMessage *is)
{
	if (f->type == RES_TEXT)
		return strcmp(*res_text(was, f), *res_text(is, f)) == 0;
	if (f->type == RES_BYTES)
		return same_bytes(res_bytes(was, f), res_bytes(is, f));
	if (res_is_many(f))
		return count_of(was, f) == count_of(is, f) && within(f, was, is) && within(f, is, was);
	return res_number(was, f) == res_number(is, f);
}

bool resdiff_none(const struct res_kind *k, const ProtobufCMessage *was, const ProtobufCMessage *is)
{
	for (size_t i = 0; i < k->n_fields; i++)
		if (!resdiff_same(&k->fields[i], was, is))
			return false;
	return true;
}

static void swap(const struct res_field *f, ProtobufCMessage *m, size_t i, size_t j)
{
	ProtobufCBinaryData *der = f->type == RES_DER ? res_bytes(m, f) : NULL, d;
	void **v, *t;

	if (der) {
		d = der[i];
		der[i] = der[j];
		der[j] = d;
		return;
	}
	v = f->type == RES_WORDS ? (void **)*res_words(m, f) : (void **)*res_pairs(m, f);
	t = v[i];
	v[i] = v[j];
	v[j] = t;
}

void resdiff_arrange(const struct res_kind *k, const ProtobufCMessage *was, ProtobufCMessage *is)
{
	for (size_t i = 0; i < k->n_fields; i++) {
		const struct res_field *f = &k->fields[i];

		if (!res_is_many(f) || !resdiff_same(f, was, is))
			continue;
		for (size_t at = 0; at < count_of(was, f); at++) {
			size_t j = find_entry(f, is, at, was, at);

			if (j < count_of(is, f))
				swap(f, is, at, j);
		}
	}
}

/* ---- for people ---- */

#define PRINT_TEXT 24

/* Bytes are told apart by the beginning of their SHA-256. */
static const char *print_of(const ProtobufCBinaryData *b, char out[PRINT_TEXT])
{
	uint8_t print[SHA256_BYTES];

	sha256(slice_of(b->data, b->len), print);
	memcpy(out, "sha256:", 7);
	hex_encode(print, 8, out + 7);
	return out;
}

static void print_entry(FILE *out, char sign, const struct res_field *f, const ProtobufCMessage *m, size_t i)
{
	char print[PRINT_TEXT];

	fprintf(out, "%c  ", sign);
	if (f->type == RES_WORDS) {
		fputs("- ", out);
		text_print(out, slice_str((*res_words(m, f))[i]), false);
	} else if (f->type == RES_DER) {
		fprintf(out, "- %s", print_of(&res_bytes(m, f)[i], print));
	} else {
		text_print(out, slice_str(*res_side((*res_pairs(m, f))[i], 0)), false);
		fputs(": ", out);
		text_print(out, slice_str(*res_side((*res_pairs(m, f))[i], 1)), false);
	}
	fputc('\n', out);
}

static void print_many(FILE *out, const struct res_field *f, const ProtobufCMessage *was, const ProtobufCMessage *is)
{
	fprintf(out, "%c%s:\n", !count_of(was, f) ? '+' : !count_of(is, f) ? '-' : ' ', f->name);
	for (size_t i = 0; i < count_of(was, f); i++)
		print_entry(out, find_entry(f, is, 0, was, i) < count_of(is, f) ? ' ' : '-', f, was, i);
	for (size_t i = 0; i < count_of(is, f); i++)
		if (find_entry(f, was, 0, is, i) == count_of(was, f))
			print_entry(out, '+', f, is, i);
}

static void print_one(FILE *out, char sign, const struct res_field *f, const ProtobufCMessage *m)
{
	char number[RES_NUMBER_MAX];

	if (!m || res_is_default(m, f))
		return;
	fprintf(out, "%c%s: ", sign, f->name);
	text_print(out, slice_str(f->type == RES_TEXT ? *res_text(m, f) : f->type == RES_BYTES ? print_of(res_bytes(m, f), number) : res_number_text(m, f, number)), false);
	fputc('\n', out);
}

static bool differs(const struct res_field *f, const ProtobufCMessage *was, const ProtobufCMessage *is)
{
	return was ? !resdiff_same(f, was, is) : !res_is_default(is, f);
}

void resdiff_print(FILE *out, const struct res_kind *k, const ProtobufCMessage *was, const ProtobufCMessage *is)
{
	for (size_t i = 0; i < k->n_fields; i++) {
		const struct res_field *f = &k->fields[i];

		if (!differs(f, was, is))
			continue;
		if (res_is_many(f)) {
			print_many(out, f, was, is);
			continue;
		}
		print_one(out, '-', f, was);
		print_one(out, '+', f, is);
	}
}

/* ---- on one line ---- */

static void put_value(struct buf *out, const struct res_field *f, const ProtobufCMessage *m)
{
	char number[RES_NUMBER_MAX];

	if (res_is_default(m, f))
		buf_put_str(out, "-");
	else if (f->type == RES_TEXT)
		buf_put_str(out, *res_text(m, f));
	else if (f->type == RES_BYTES)
		buf_put_str(out, print_of(res_bytes(m, f), number));
	else if (!res_is_many(f))
		buf_put_str(out, res_number_text(m, f, number));
	for (size_t i = 0; res_is_many(f) && i < count_of(m, f); i++) {
		if (i)
			buf_put_str(out, ", ");
		if (f->type == RES_WORDS)
			buf_put_str(out, (*res_words(m, f))[i]);
		else if (f->type == RES_DER)
			buf_put_str(out, print_of(&res_bytes(m, f)[i], number));
		else
			buf_printf(out, "%s=%s", *res_side((*res_pairs(m, f))[i], 0), *res_side((*res_pairs(m, f))[i], 1));
	}
}

void resdiff_line(struct buf *out, const struct res_kind *k, const ProtobufCMessage *was, const ProtobufCMessage *is)
{
	for (size_t i = 0; i < k->n_fields; i++) {
		const struct res_field *f = &k->fields[i];

		if (!differs(f, was, is))
			continue;
		buf_printf(out, "%s%s: ", out->n ? "; " : "", f->name);
		if (was) {
			put_value(out, f, was);
			buf_put_str(out, " -> ");
		}
		put_value(out, f, is);
	}
}
