/* How does a text of the configuration become a value? One setter a kind, each with its own words for what is wrong. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_priv.h"
#include "base/near.h"
#include "base/words.h"
#include "net/keyuri.h"

static int bad(struct config_reader *r, const struct yaml_node *node, const char *shown, const char *text,
	const char *wanted)
{
	char quoted[64];

	return config_error(r, node, "%s: \"%s\" is not %s", shown, near_show(slice_str(text), quoted), wanted);
}

static int keep_text(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const char *shown, const char *text,
		     void *to)
{
	const char *wrong = row->check && text[0] ? row->check(text) : NULL;

	if (wrong) /* checks of what could hold a secret answer without the text */
		return config_error(r, node, "%s: %s", shown, wrong);
	if (row->size) {
		if (!slice_copy_str(slice_str(text), to, row->size))
			return config_error(r, node, "%s is over %zu bytes", shown, row->size - 1);
		return 0;
	}
	*(const char **)to = arena_strdup(r->arena, text);
	return *(const char **)to ? 0 : config_error(r, node, "the file is too large");
}

/* ---- numbers ---- */

/* Digits, at most 18 of them, then *rest. */
static bool read_digits(const char *text, int64_t *v, const char **rest)
{
	size_t n = strspn(text, "0123456789");

	if (!n || n > 18)
		return false;
	*v = strtoll(text, NULL, 10);
	*rest = text + n;
	return true;
}

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit sizes[] = {
	{"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", INT64_C(1) << 40}, {NULL, 0},
};
static const struct unit durations[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};
static const struct unit none[] = {{"", 1}, {NULL, 0}};

/* In the largest unit that divides it: "5m", "1MiB". */
static const char *format_unit(int64_t v, const struct unit *units, char out[32])
{
	const struct unit *best = units;

	for (const struct unit *u = units; u->name; u++)
		if (v && v % u->factor == 0)
			best = u;
	snprintf(out, 32, "%lld%s", (long long)(v / best->factor), best->name);
	return out;
}

static int read_units(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const char *shown,
		      const char *text, const struct unit *units, const char *wanted, int64_t *out)
{
	const char *rest = NULL;
	char low[32], high[32];
	int64_t v = 0;

	if (!read_digits(text, &v, &rest))
		return bad(r, node, shown, text, wanted);
	while (units->name && strcmp(units->name, rest))
		units++;
	if (!units->name)
		return bad(r, node, shown, text, wanted);
	if (v > INT64_MAX / units->factor || v * units->factor < row->min || v * units->factor > row->max) {
		const struct unit *all = row->kind == KIND_SIZE ? sizes : row->kind == KIND_DURATION ? durations : none;

		return config_error(r, node, "%s: %s is not within %s..%s", shown, text, format_unit(row->min, all,
			low),
				    format_unit(row->max, all, high));
	}
	*out = v * units->factor;
	return 0;
}

static int set_number(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const char *shown,
		      const char *text, void *to)
{
	int64_t v = 0;
	int rc;

	if (row->kind == KIND_SIZE)
		rc = read_units(r, row, node, shown, text, sizes, "a size such as 512, 64KiB, 1MiB, 4GiB", &v);
	else if (row->kind == KIND_DURATION)
		rc = read_units(r, row, node, shown, text, durations, "a duration such as 250ms, 2s, 5m, 24h, 7d", &v);
	else
		rc = read_units(r, row, node, shown, text, none, "a whole number", &v);
	if (rc)
		return -1;
	if (row->size == sizeof(uint32_t))
		*(uint32_t *)to = (uint32_t)v;
	else
		*(int64_t *)to = v;
	return 0;
}

static int set_fraction(struct config_reader *r, const struct yaml_node *node, const char *shown, const char *text,
	double *to)
{
	char *end;
	double v;

	if (!text[0] || strlen(text) > 16 || strspn(text, "0123456789.") != strlen(text))
		return bad(r, node, shown, text, "a number from 0 to 1");
	v = strtod(text, &end);
	if (*end || !(v >= 0 && v <= 1))
		return bad(r, node, shown, text, "a number from 0 to 1");
	*to = v;
	return 0;
}

/* ---- words ---- */

/* Which of the words: 0, 1, ...; -1 = none. */
static int word_index(const char *words, const char *text)
{
	size_t n = strlen(text);
	int i = 0;

	for (const char *w = words; *w; i++) {
		size_t len = strcspn(w, " ");

		if (len == n && !memcmp(w, text, n))
			return i;
		w += len + (w[len] == ' ');
	}
	return -1;
}

static int set_choice(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const char *shown,
		      const char *text, void *to)
{
	const char *words = row->kind == KIND_BOOL ? "true false" : row->choices;
	int i = word_index(words, text);
	char quoted[64], list[128] = "";
	size_t at = 0;

	if (i < 0) {
		for (const char *w = words; *w; w += strcspn(w, " "), w += *w == ' ')
			at += (size_t)snprintf(list + at, sizeof list - at, "%s%.*s", at ? ", " : "", (int)strcspn(w,
				" "), w);
		return config_error(r, node, "%s: \"%s\" is none of %s%s%s", shown, near_show(slice_str(text), quoted),
			list,
				    row->note ? ". " : "", row->note ? row->note : "");
	}
	if (row->kind == KIND_CHOICE)
		*(int *)to = i;
	else
		*(bool *)to = i == 0;
	return 0;
}

static int set_only(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const char *shown, const char *text)
{
	if (!strcmp(text, row->def))
		return 0;
	return config_error(r, node, "%s: only \"%s\" is taken. %s", shown, row->def, row->note ? row->note : "");
}

/* ---- paths and addresses ---- */

static int set_path(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const char *shown, const char *text,
		    void *to)
{
	bool folder = row->kind == KIND_FOLDER;
	const char *fix = row->note ? row->note : folder ? "Make the folder, or correct the path" : "Put the file there, or correct the path";
	struct stat st;

	if (text[0] && text[0] != '/') /* the text is not shown: it may be the secret itself instead of the name of its file */
		return config_error(r, node, "%s: an absolute path belongs here, it begins with /", shown);
	if (strlen(text) > 1024)
		return config_error(r, node, "%s is over 1024 bytes", shown);
	if (text[0] && row->kind == KIND_SECRET && stat(text, &st) && errno == EACCES)
		return keep_text(r, row, node, shown, text, to);
	if (text[0] && row->kind != KIND_PATH) {
		if (stat(text, &st))
			return config_error(r, node, "%s: %s: %s. %s", shown, text, strerror(errno), fix);
		if (folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
			return config_error(r, node, "%s: %s is not a %s. %s", shown, text, folder ? "folder" : "regular file", fix);
		if (row->kind != KIND_SECRET && access(text, folder ? R_OK | X_OK : R_OK))
			return config_error(r, node, "%s: %s cannot be read: %s. Let the broker's user read it", shown, text, strerror(errno));
	}
	return keep_text(r, row, node, shown, text, to);
}

/* A URI is not shown: somebody may have put a PIN into it. */
static int set_key(struct config_reader *r, const struct config_row *row, const struct yaml_node *node, const char *shown, const char *text, void *to)
{
	struct keyuri u;
	const char *wrong;

	if (!keyuri_is(text))
		return set_path(r, row, node, shown, text, to);
	wrong = keyuri_parse(text, &u);
	if (wrong)
		return config_error(r, node, "%s: %s", shown, wrong);
	if (u.pin_file[0] && access(u.pin_file, R_OK))
		return config_error(r, node, "%s: pin-source: %s: %s. Put the file there, mode 0600 and of the broker's user, or correct the path", shown, u.pin_file,
				    strerror(errno));
	return keep_text(r, row, node, shown, text, to);
}

static bool address_and_port(const char *text)
{
	const char *colon = strrchr(text, ':'), *rest = NULL;
	char host[64];
	uint8_t addr[16];
	int64_t port;
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (!colon || n < 2 || n >= sizeof host || !read_digits(colon + 1, &port, &rest) || *rest || port > 65535 ||
	    (colon[1] == '0' && colon[2]))
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	if (host[0] != '[')
		return inet_pton(AF_INET, host, addr) == 1;
	if (host[n - 1] != ']')
		return false;
	host[n - 1] = '\0';
	return inet_pton(AF_INET6, host + 1, addr) == 1;
}

static int set_listen(struct config_reader *r, const struct config_row *row, const struct yaml_node *node,
	const char *shown,
		      const char *text, void *to)
{
	if (!strcmp(text, "off") && row->min == 0)
		return keep_text(r, row, node, shown, "", to);
	if (!address_and_port(text))
		return bad(r, node, shown, text, row->min == 0
			? "an address and port such as 127.0.0.1:7444 or [::1]:7444, or \"off\""
			   : "an address and port such as 0.0.0.0:7443 or [::]:7443");
	return keep_text(r, row, node, shown, text, to);
}

int config_set(struct config_reader *r, const struct config_row *row, const struct yaml_node *node, const char *shown,
	const char *text,
	       void *to)
{
	if (row->required && !text[0])
		return config_error(r, node, "%s is empty. %s", shown, row->note ? row->note : "");
	switch (row->kind) {
	case KIND_NAME:
		if (!name_valid(slice_str(text)))
			return bad(r, node, shown, text, "a name: [a-z0-9][a-z0-9._-]{0,62}");
		return keep_text(r, row, node, shown, text, to);
	case KIND_TEXT:
		return keep_text(r, row, node, shown, text, to);
	case KIND_PATH:
	case KIND_FILE:
	case KIND_SECRET:
	case KIND_FOLDER:
		return set_path(r, row, node, shown, text, to);
	case KIND_KEY:
		return set_key(r, row, node, shown, text, to);
	case KIND_LISTEN:
		return set_listen(r, row, node, shown, text, to);
	case KIND_NUMBER:
	case KIND_SIZE:
	case KIND_DURATION:
		return set_number(r, row, node, shown, text, to);
	case KIND_FRACTION:
		return set_fraction(r, node, shown, text, to);
	case KIND_BOOL:
	case KIND_CHOICE:
	case KIND_SWITCH:
		return set_choice(r, row, node, shown, text, to);
	case KIND_ONLY:
		return set_only(r, row, node, shown, text);
	default:
		return config_error(r, node, "%s is no text", shown);
	}
}

/* ---- a list of texts ---- */

static const char *text_wrong(const struct config_texts *t, const struct yaml_node *e, const char *const *before, size_t n)
{
	const char *wrong = e->kind == YAML_TEXT ? t->wrong(e->text) : t->one;

	for (size_t i = 0; i < n && !wrong && t->twice; i++)
		wrong = strcmp(before[i], e->text) ? NULL : t->twice;
	return wrong;
}

int config_set_texts(struct config_reader *r, const struct config_texts *t, const struct yaml_node *node, const char *shown, const char *const **out, size_t *n)
{
	const char **all, *wrong;

	if (!node)
		return 0;
	if (node->kind != YAML_LIST || node->n > t->max)
		return config_error(r, node, "%s: a list of at most %zu %s belongs here: %s", shown, t->max, t->of, t->example);
	all = arena_alloc(r->arena, (node->n + 1) * sizeof *all);
	for (const struct yaml_node *e = all ? node->first : NULL; e && !arena_failed(r->arena); e = e->next) {
		wrong = text_wrong(t, e, all, *n);
		if (wrong)
			return config_error(r, e, "%s: %s", shown, wrong);
		all[(*n)++] = arena_strdup(r->arena, e->text);
	}
	*out = all;
	return arena_failed(r->arena) ? config_error(r, node, "the file is too large") : 0;
}
