/* What may stand in an agent's card? A table of the members that A2A knows, and a walk. See card.h. */
#include "registry/card.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"

/* TEXT has lines, LINE is one, NAME a short one; NAMED is an object of objects. */
enum form { TEXT, LINE, NAME, FLAG, OBJECT, TEXTS, OBJECTS, NAMED };

/* A member that A2A knows. of: the members of the object, or of each; NULL: whatever they are. */
struct member {
	const char *name;
	enum form form;
	bool required;
	const struct member *of;
};

static const struct member interface_members[] = {
	{"url", LINE, true, NULL}, {"protocolBinding", LINE, true, NULL}, {"tenant", LINE, false, NULL}, {"protocolVersion", LINE, true, NULL}, {0},
};
static const struct member provider_members[] = {{"organization", NAME, true, NULL}, {"url", LINE, true, NULL}, {0}};
static const struct member extension_members[] = {
	{"uri", LINE, false, NULL}, {"description", TEXT, false, NULL}, {"required", FLAG, false, NULL}, {"params", OBJECT, false, NULL}, {0},
};
static const struct member capability_members[] = {
	{"streaming", FLAG, false, NULL}, {"pushNotifications", FLAG, false, NULL}, {"extensions", OBJECTS, false, extension_members},
	{"extendedAgentCard", FLAG, false, NULL}, {0},
};
static const struct member skill_members[] = {
	{"id", NAME, true, NULL}, {"name", NAME, true, NULL}, {"description", TEXT, true, NULL}, {"tags", TEXTS, true, NULL}, {"examples", TEXTS, false, NULL},
	{"inputModes", TEXTS, false, NULL}, {"outputModes", TEXTS, false, NULL}, {"securityRequirements", OBJECTS, false, NULL}, {0},
};
static const struct member signature_members[] = {{"protected", LINE, true, NULL}, {"signature", LINE, true, NULL}, {"header", OBJECT, false, NULL}, {0}};
static const struct member card_members[] = {
	{"name", NAME, true, NULL}, {"description", TEXT, true, NULL}, {"supportedInterfaces", OBJECTS, true, interface_members},
	{"provider", OBJECT, false, provider_members}, {"version", NAME, true, NULL}, {"documentationUrl", LINE, false, NULL},
	{"capabilities", OBJECT, true, capability_members}, {"securitySchemes", NAMED, false, NULL}, {"securityRequirements", OBJECTS, false, NULL},
	{"defaultInputModes", TEXTS, true, NULL}, {"defaultOutputModes", TEXTS, true, NULL}, {"skills", OBJECTS, true, skill_members},
	{"signatures", OBJECTS, false, signature_members}, {"iconUrl", LINE, false, NULL}, {0},
};

/* ---- where ---- */

/* Behind a member's name in the path; what it was before is put back by pop(). */
static size_t push(struct card_fault *f, const char *name)
{
	size_t n = strlen(f->field);

	snprintf(f->field + n, sizeof f->field - n, "%s%s", n ? "." : "", name);
	return n;
}

static size_t push_place(struct card_fault *f, size_t i)
{
	size_t n = strlen(f->field);

	snprintf(f->field + n, sizeof f->field - n, "[%zu]", i);
	return n;
}

static void pop(struct card_fault *f, size_t n)
{
	f->field[n] = '\0';
}

static bool wrong(struct card_fault *f, const char *what)
{
	snprintf(f->what, sizeof f->what, "%s", what);
	return false;
}

/* ---- texts ---- */

static bool is_shown_safely(struct slice s, bool lines)
{
	uint32_t c;

	for (size_t n; s.n; s.p += n, s.n -= n) {
		n = utf8_step(s, &c);
		if (!n || (c < 0x20 && !(lines && (c == '\t' || c == '\n' || c == '\r'))) || (c >= 0x7f && c <= 0x9f))
			return false;
	}
	return true;
}

static bool check_text(const json_t *v, bool lines, struct card_fault *f)
{
	const struct slice s = slice_of(json_string_value(v), json_string_length(v));

	return is_shown_safely(s, lines) || wrong(f, lines ? "a control character is in it" : "a control character or a line end is in it");
}

/* What a name in a path may be: others are told by a star. */
static const char *plain(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

	return n && !name[n] && n <= 40 ? name : "*";
}

/* Every text there is, and every name. json_depth() has bounded it. */
static bool check_texts(json_t *v, struct card_fault *f)
{
	const char *name;
	json_t *m;
	size_t i, was;
	bool ok = true;

	if (json_is_string(v))
		return check_text(v, true, f);
	json_object_foreach(v, name, m) {
		if (!is_shown_safely(slice_str(name), false))
			return wrong(f, "a member's name has a control character in it");
		was = push(f, plain(name));
		if (!check_texts(m, f))
			return false;
		pop(f, was);
	}
	json_array_foreach(v, i, m) {
		was = push_place(f, i);
		ok = check_texts(m, f);
		if (!ok)
			return false;
		pop(f, was);
	}
	return ok;
}

/* ---- members ---- */

static bool check_members(const json_t *o, const struct member *rows, struct card_fault *f);

static bool check_object(const json_t *v, const struct member *of, struct card_fault *f)
{
	if (!json_is_object(v))
		return wrong(f, "it is no object");
	return !of || check_members(v, of, f);
}

/* One that is no list: of such a form, `required` as far as an empty text is none. */
static bool check_one(const json_t *v, enum form form, bool required, const struct member *of, struct card_fault *f)
{
	if (form == FLAG)
		return json_is_boolean(v) || wrong(f, "it is neither true nor false");
	if (form == OBJECT)
		return check_object(v, of, f);
	if (!json_is_string(v))
		return wrong(f, "it is no text");
	if (required && !json_string_length(v))
		return wrong(f, "it is empty");
	if (form == NAME && json_string_length(v) > CARD_NAME_MAX)
		return wrong(f, "it has more than 256 bytes");
	return check_text(v, form == TEXT, f);
}

static bool check_list(const json_t *v, const struct member *m, struct card_fault *f)
{
	const json_t *e;
	size_t i;

	if (!json_is_array(v))
		return wrong(f, "it is no list");
	json_array_foreach(v, i, e) {
		size_t was = push_place(f, i);

		if (!check_one(e, m->form == OBJECTS ? OBJECT : TEXT, true, m->of, f))
			return false;
		pop(f, was);
	}
	return true;
}

static bool check_named(const json_t *v, struct card_fault *f)
{
	const char *name;
	json_t *e;

	if (!json_is_object(v))
		return wrong(f, "it is no object");
	json_object_foreach((json_t *)(uintptr_t)v, name, e) {
		size_t was = push(f, plain(name));

		if (!check_object(e, NULL, f))
			return false;
		pop(f, was);
	}
	return true;
}

static bool check_value(const json_t *v, const struct member *m, struct card_fault *f)
{
	switch (m->form) {
	case TEXTS:
	case OBJECTS:
		return check_list(v, m, f);
	case NAMED:
		return check_named(v, f);
	default:
		return check_one(v, m->form, m->required, m->of, f);
	}
}

/* null is as if it were not there (ProtoJSON). */
static bool check_members(const json_t *o, const struct member *rows, struct card_fault *f)
{
	for (const struct member *m = rows; m->name; m++) {
		const json_t *v = json_object_get(o, m->name);
		bool there = v && !json_is_null(v);
		size_t was = push(f, m->name);

		if (!there && m->required)
			return wrong(f, "it is missing");
		if (there && !check_value(v, m, f))
			return false;
		pop(f, was);
	}
	return true;
}

/* A skill is known by its id, of which a card may have hundreds. */
static bool check_skills(const json_t *card, struct card_fault *f)
{
	const json_t *skills = json_object_get(card, "skills"), *s;
	json_t *seen = json_object();
	bool ok = true;
	size_t i;

	f->no_memory = !seen;
	json_array_foreach(skills, i, s) {
		const char *id = json_string_value(json_object_get(s, "id"));

		if (f->no_memory || json_object_get(seen, id)) {
			ok = false;
			break;
		}
		f->no_memory = json_object_set_new(seen, id, json_true()) != 0;
	}
	json_decref(seen);
	if (f->no_memory)
		return wrong(f, "out of memory");
	if (!ok)
		snprintf(f->field, sizeof f->field, "skills[%zu].id", i);
	return ok || wrong(f, "another skill has it");
}

/* ---- all of it ---- */

static bool no_json(const json_error_t *e, struct card_fault *f)
{
	if (errno == ENOMEM) {
		f->no_memory = true;
		return wrong(f, "out of memory");
	}
	snprintf(f->what, sizeof f->what, "it is no JSON, or has a member twice: line %d, column %d", e->line, e->column);
	return false;
}

bool card_check(struct slice json, struct card_fault *out)
{
	json_error_t e;
	json_t *card;
	bool ok;

	*out = (struct card_fault){.field = ""};
	if (json.n > CARD_BYTES_MAX)
		return wrong(out, "it has more than 32768 bytes");
	if (json_depth(json) > CARD_DEPTH_MAX)
		return wrong(out, "it nests deeper than 16 levels");
	card = json_read(json, &e);
	if (!card)
		return no_json(&e, out);
	ok = check_object(card, card_members, out) && check_texts(card, out) && check_skills(card, out);
	json_decref(card);
	return ok;
}
