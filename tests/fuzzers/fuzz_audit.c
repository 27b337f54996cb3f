/* Can a file that somebody else wrote make a search of the audit crash, lose a line, or show one that it must not? The first byte says how much is read at once, the
 * second who looks and for what; the rest is the file. */
#include "config.h"

#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "observe/audit_line.h"

unsigned fuzz_good;

struct look {
	const uint8_t *p;       /* of what is read now */
	struct audit_query q;
	size_t lines, bytes;
};

static void check_shown(const struct look *k, struct slice line, const struct audit_found *f)
{
	static uint8_t shown[1 << 20];
	size_t n = f->before.n + f->after.n;
	json_t *read;

	NEED(n <= line.n && f->event[0] && f->at_ms >= 0);
	memcpy(shown, f->before.p, f->before.n);
	if (f->after.n)
		memcpy(shown + f->before.n, f->after.p, f->after.n);
	read = json_read(slice_of(shown, n), NULL);
	NEED(json_is_object(read) && strcmp(json_string_value(json_object_get(read, "event")), f->event) == 0);
	if (!k->q.scope.all)
		NEED(strcmp(json_string_value(json_object_get(read, "tenant")), "acme") == 0 && !json_object_get(read, "seq"));
	if (*k->q.tool)
		NEED(strcmp(json_string_value(json_object_get(read, "tool")), k->q.tool) == 0);
	json_decref(read);
	fuzz_good++;
}

static bool on_line(void *arg, size_t at, size_t n)
{
	struct look *k = arg;
	struct slice line = slice_of(k->p + at, n);
	struct audit_found found;
	int64_t at_ms;
	enum audit_match glance = audit_line_glance(&k->q, line, &at_ms), judged = audit_line_match(&k->q, line, &found);

	NEED(!memchr(line.p, '\n', n));
	k->lines++;
	k->bytes += n + 1;
	if (judged == AUDIT_MATCH_YES) {
		NEED(glance == AUDIT_MATCH_YES && (at_ms < 0 || at_ms == found.at_ms));
		check_shown(k, line, &found);
	}
	return true;
}

static size_t borders(const uint8_t *p, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		k += p[i] == '\n';
	return k;
}

static void back(struct look *k, const uint8_t *p, size_t n, size_t piece)
{
	bool inside = true;

	while (n) {
		size_t from = n > piece ? n - piece : 0, left;

		k->p = p + from;
		left = audit_lines_back(slice_of(p + from, n - from), from == 0, &inside, on_line, k);
		NEED(left < n - from || from > 0 || left == 0);
		NEED(from + left < n);
		n = from + left;
	}
}

static void on(struct look *k, const uint8_t *p, size_t n, size_t piece)
{
	bool inside = false;
	size_t at = 0;

	while (at < n) {
		size_t left = n - at < piece ? n - at : piece, used;

		k->p = p + at;
		used = audit_lines_on(slice_of(p + at, left), &inside, on_line, k);
		NEED(used <= left);
		if (!used && left < piece)
			break; /* torn */
		inside |= !used;
		at += used ? used : left;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char tenants[][64] = {"acme"};
	struct look k = {.q = {.scope = {.all = true}}}, forth;
	size_t piece;

	if (size < 2 || size > 1 << 20)
		return 0;
	piece = data[0] < 128 ? 1u + data[0] : size;
	if (data[1] & 1)
		k.q.scope = (struct audit_scope){.n = 1, .tenants = tenants};
	if (data[1] & 2)
		strcpy(k.q.tool, "x");
	forth = k;
	back(&k, data + 2, size - 2, piece);
	on(&forth, data + 2, size - 2, piece);
	NEED(k.lines <= borders(data + 2, size - 2) && k.bytes <= size);
	if (piece == size)
		NEED(k.lines == borders(data + 2, size - 2) && forth.lines == k.lines);
	return 0;
}
