/* How does the registry become what a file says? `baton apply` and `baton diff`: the file is read whole, what is there is looked at, and what differs is sent in
 * calls that are all or none. What the file does not name stays as it is. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/admin.h"
#include "cli/pbjson.h"
#include "cli/resdiff.h"
#include "cli/resfile.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define CALL_MAX 32                     /* resources that the broker takes in one call */
#define KEEP_MAX (512 * 1024 * 1024)    /* a file of 16 MiB as messages */
#define LINE_MAX_BYTES (64 * 1024)

typedef Baton__V1__Resource resource;

/* What is known of an item, and what becomes of it. */
struct step {
	struct res_item *item;
	const char *version;   /* that was seen; "" = it is not there */
	const char *action;    /* that was done, or would be; NULL: nothing yet */
	const char *diff, *now; /* what the broker says of it */
	bool send;             /* it differs */
};

struct work {
	struct cli *c;
	struct resfile file;
	struct arena *keep;    /* until the end */
	struct arena *scratch; /* for one call */
	struct step *v;        /* one for each item */
	struct step **sent;    /* those that differ */
	size_t n_sent;
	Baton__V1__NodeState **nodes; /* of the last call; in scratch */
	size_t n_nodes;
};

/* Of Apply: sent[first .. first + n). */
struct call {
	size_t first, n;
	bool dry;
};

static int out_of_memory(const struct work *w)
{
	return complain(w->c, EXIT_BUG, "out of memory", NULL, "Split the file.");
}

/* Beneath a complaint. */
static void remark(const struct work *w, const char *text)
{
	fprintf(w->c->err, "    %s\n", text);
	fflush(w->c->err);
}

/* ---- the file ---- */

static int read_bytes(const struct cli *c, const char *path, const char *shown, uint8_t **bytes, size_t *n)
{
	int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct problem why = {""};
	struct stat st;
	int code = 0;

	if (fd < 0 || fstat(fd, &st) != 0 || S_ISDIR(st.st_mode)) {
		problem_set(&why, "cannot read %s: %s", shown, strerror(fd < 0 ? errno : EISDIR));
		code = complain(c, EXIT_MISSING, why.text, NULL, "Name a file, or - for standard input.");
	} else if (S_ISREG(st.st_mode) && st.st_size > RESFILE_BYTES_MAX) {
		problem_set(&why, "%s:1:1: the file is over 16 MiB; split it", shown);
		code = complain(c, EXIT_MALFORMED, why.text, NULL, NULL);
	} else if (file_read_fd(fd, shown, RESFILE_BYTES_MAX, bytes, n, &why) != 0) {
		code = complain(c, EXIT_MALFORMED, why.text, NULL, NULL);
	}
	if (fd > STDIN_FILENO)
		close(fd);
	return code;
}

static int read_file(struct work *w)
{
	const char *path = w->c->args.text[OPT_FILE], *shown;
	struct problem why = {""};
	uint8_t *bytes = NULL;
	size_t n = 0;
	int code;

	if (!path)
		return complain_usage(w->c, "`%s` needs -f FILE, or -f - for standard input", w->c->verb->noun);
	shown = strcmp(path, "-") == 0 ? "stdin" : path;
	code = read_bytes(w->c, path, shown, &bytes, &n);
	if (!code && (resfile_read(slice_of(bytes, n), shown, w->keep, &w->file, &why) != 0 || resfile_load(&w->file, w->keep, &why) != 0))
		code = complain(w->c, EXIT_MALFORMED, why.text, "Nothing was changed.", NULL);
	free(bytes);
	if (!code && !w->file.n)
		cli_note(w->c, "%s has no resource: nothing to do", shown);
	return code;
}

/* The file, as steps. 0, or an exit code. */
static int begin(struct work *w, struct cli *c)
{
	int code;

	*w = (struct work){.c = c, .keep = arena_new(KEEP_MAX), .scratch = arena_new(ADMIN_ARENA)};
	if (!w->keep || !w->scratch)
		return out_of_memory(w);
	code = read_file(w);
	if (code)
		return code;
	w->v = arena_zalloc(w->keep, (w->file.n + 1) * sizeof *w->v);
	w->sent = arena_alloc(w->keep, (w->file.n + 1) * sizeof *w->sent);
	if (!w->v || !w->sent)
		return out_of_memory(w);
	for (size_t i = 0; i < w->file.n; i++)
		w->v[i].item = &w->file.v[i];
	return w->file.n ? admin_connect(c) : 0;
}

static void end(struct work *w)
{
	arena_free(w->keep);
	arena_free(w->scratch);
}

/* Whose place is known. The exit code. */
static int complain_at(const struct work *w, const struct res_item *item, struct res_place at, const char *what, const char *done)
{
	struct problem why = {""};

	at = at.line ? at : item->at;
	problem_set(&why, "%s:%u:%u: %s: %s", w->file.name, at.line, at.column, item->name, what);
	return complain(w->c, EXIT_MALFORMED, why.text, done, NULL);
}

/* ---- what is there ---- */

/* In scratch. *r NULL: nothing, or what is there for its history alone, or because others name it. 0, or an exit code. */
static int get(struct work *w, const struct res_item *item, resource **r)
{
	Baton__V1__ResourceRef q = BATON__V1__RESOURCE_REF__INIT;
	struct client_status status;

	arena_reset(w->scratch);
	q.kind = (char *)(uintptr_t)item->kind->name;
	q.tenant = (char *)(uintptr_t)res_tenant(item->kind, item->spec);
	q.name = (char *)(uintptr_t)res_id(item->kind, item->spec);
	*r = admin_try(w->c, ADMIN_RESOURCE "Get", &q.base, &baton__v1__resource__descriptor, w->scratch, &status);
	if (!*r)
		return status.reason == REASON_NOT_FOUND ? 0 : complain_status(w->c, &status);
	if (!res_spec(item->kind, *r))
		return complain(w->c, EXIT_PROTOCOL, "the broker's answer is of another kind", item->name, "Use a baton of the broker's version.");
	if (!(*r)->is_static && (!*(*r)->version || res_gone(item->kind, res_spec(item->kind, *r))))
		*r = NULL;
	return 0;
}

/* A quarantine is an incident's: no file ends it that does not say so. */
static void keep_what_stays(const struct res_item *item, const ProtobufCMessage *was)
{
	for (size_t i = 0; i < item->kind->n_fields; i++) {
		const struct res_field *f = &item->kind->fields[i];

		if (f->stays && !item->field[i].line)
			res_set_number(item->spec, f, res_number(was, f));
	}
}

/* *was: what it is, until the next call; NULL: it is not there. */
static int look(struct work *w, struct step *s, const ProtobufCMessage **was)
{
	const struct res_item *item = s->item;
	resource *r;
	int code = get(w, item, &r);

	if (code)
		return code;
	if (r && r->is_static)
		return complain_at(w, item, item->at, "it is static: it stands in the broker's configuration file, and changes there alone; take it out of one of the two",
				   "Nothing was changed.");
	*was = r ? res_spec(item->kind, r) : NULL;
	s->version = arena_strdup(w->keep, r ? r->version : "");
	if (!s->version)
		return out_of_memory(w);
	if (*was)
		keep_what_stays(item, *was);
	s->send = !*was || !resdiff_none(item->kind, *was, item->spec);
	if (*was && s->send)
		resdiff_arrange(item->kind, *was, item->spec);
	item->resource->version = (char *)(uintptr_t)s->version;
	return 0;
}

/* ---- the answer ---- */

static Baton__V1__Change *change_of(const struct work *w, const struct step *s)
{
	Baton__V1__Change *m = arena_alloc(w->keep, sizeof *m);
	Baton__V1__ResourceRef *ref = arena_alloc(w->keep, sizeof *ref);

	if (!m || !ref)
		return NULL;
	baton__v1__change__init(m);
	baton__v1__resource_ref__init(ref);
	ref->kind = (char *)(uintptr_t)s->item->kind->name;
	ref->tenant = (char *)(uintptr_t)res_tenant(s->item->kind, s->item->spec);
	ref->name = (char *)(uintptr_t)res_id(s->item->kind, s->item->spec);
	m->ref = ref;
	m->action = (char *)(uintptr_t)s->action;
	m->diff = (char *)(uintptr_t)(s->diff ? s->diff : "");
	m->version = (char *)(uintptr_t)(s->now ? s->now : s->version);
	return m;
}

/* All that have an action, as one message. */
static void print_json(struct work *w)
{
	Baton__V1__ApplyResponse m = BATON__V1__APPLY_RESPONSE__INIT;

	m.changes = arena_alloc(w->keep, (w->file.n + 1) * sizeof *m.changes);
	for (size_t i = 0; m.changes && i < w->file.n; i++) {
		Baton__V1__Change *one = w->v[i].action ? change_of(w, &w->v[i]) : NULL;

		if (one)
			m.changes[m.n_changes++] = one;
	}
	m.nodes = w->nodes;
	m.n_nodes = w->n_nodes;
	pbjson_print(w->c->out, &m.base);
}

static void print_actions(struct work *w)
{
	const char *end = w->c->args.given[OPT_DRY_RUN] ? " (dry run)" : "";

	if (cli_json(w->c)) {
		print_json(w);
		return;
	}
	for (size_t i = 0; i < w->file.n; i++) {
		const struct step *s = &w->v[i];

		if (s->action && cli_output(w->c) == OUTPUT_NAME)
			fprintf(w->c->out, "%s\n", s->item->name);
		else if (s->action)
			fprintf(w->c->out, "%s %s%s\n", s->item->name, s->action, end);
	}
}

/* ---- when the broker refuses ---- */

/* Where the field of this name stands, as the broker calls it; false: there is none. */
static bool place_of(const struct res_item *item, struct slice word, struct res_place *at)
{
	for (size_t k = 0; k < item->kind->n_fields; k++) {
		const struct res_field *f = &item->kind->fields[k];

		if (!slice_is(word, f->name) && !(f->sent && slice_is(word, f->sent)))
			continue;
		*at = item->field[k];
		return true;
	}
	return false;
}

/* "resources[3].agent.may_call: what" is of the fourth of the call, and of the field may_call, as "...agent.card.skills[2].id: what" is of its card. NULL: it is
 * of no single one. */
static const struct step *whose(const struct work *w, const struct call *call, const char *message, struct res_place *at, const char **what)
{
	static const char begins[] = "resources[";
	const char *field = strstr(message, begins), *end;
	const struct step *s;
	unsigned long i;
	char *rest = NULL;

	if (!field)
		return NULL;
	i = strtoul(field + sizeof begins - 1, &rest, 10);
	if (i >= call->n || strncmp(rest, "].", 2) != 0)
		return NULL;
	s = w->sent[call->first + i];
	field = rest + 2;
	end = field + strcspn(field, ":");
	*at = s->item->at;
	for (const char *dot = field; dot; field = dot ? dot + 1 : field) {
		dot = memchr(field, '.', (size_t)(end - field));
		if (place_of(s->item, slice_of(field, (size_t)((dot ? dot : end) - field)), at))
			break;
	}
	*what = field;
	return s;
}

/* The first whose version is no longer the one that was seen, with what it is by now. NULL: none. */
static const struct step *overtaken(struct work *w, const struct call *call, char now[64])
{
	for (size_t i = call->first; i < call->first + call->n; i++) {
		resource *r;
		const char *version;

		if (get(w, w->sent[i]->item, &r))
			return NULL;
		version = r ? r->version : "";
		if (strcmp(version, w->sent[i]->version) == 0)
			continue;
		text_safe(slice_str(version), now, 64);
		return w->sent[i];
	}
	return NULL;
}

static bool may_be_a_race(const struct client_status *s)
{
	return s->reason == REASON_WRONG_STATE || s->reason == REASON_NOT_FOUND;
}

static const char *version_text(const char *version, char out[80])
{
	if (!*version)
		return "not there";
	snprintf(out, 80, "version %.64s", version);
	return out;
}

#define LEFT_MAX 160

/* What was done when a call was refused. */
static const char *what_is_done(size_t done, char out[LEFT_MAX])
{
	if (!done)
		return "Nothing was changed.";
	snprintf(out, LEFT_MAX, "%zu resources were changed before, in calls of %d, each all or none; this call was not, and what follows was not tried.", done, CALL_MAX);
	return out;
}

/* s: the one that was overtaken; NULL: one of them. */
static int complain_race(const struct work *w, const struct step *s, const char *now, const char *done)
{
	char text[512], a[80], b[80];

	snprintf(text, sizeof text, "%.300s was %s when it was looked at, and is %s by now.", s ? s->item->name : "", s ? version_text(s->version, a) : "", version_text(now, b));
	complain(w->c, EXIT_AGAIN, "try again: somebody else changed one of these at the same time", s ? text : NULL, done);
	remark(w, "Look at it with `baton diff`, and apply the file again.");
	return EXIT_AGAIN;
}

/* Certainly not carried out: the broker says why. What its store may have done without telling it, or a call that ran out of time, is not known. */
static bool was_refused(const struct client_status *s)
{
	return s->refused || (!s->local && s->reason != REASON_UNSPECIFIED && s->reason != REASON_STORE_UNAVAILABLE);
}

/* A call of a change that was refused, or did not come back. The exit code. */
static int refused(struct work *w, const struct call *call, const struct client_status *status)
{
	char text[LEFT_MAX], now[64] = "";
	const char *what = "", *done = what_is_done(call->dry ? 0 : call->first, text);
	const struct step *s = NULL, *late;
	struct res_place at = {0};
	bool race = may_be_a_race(status);
	int code;

	if (!call->dry && call->first)
		print_actions(w);
	late = race ? overtaken(w, call, now) : NULL;
	s = whose(w, call, status->message, &at, &what);
	if (late || (race && !s))
		return complain_race(w, late, now, done);
	if (s && (race || status->reason == REASON_MALFORMED_ENVELOPE))
		return complain_at(w, s->item, at, what, done);
	code = complain_status(w->c, status);
	remark(w, call->dry || was_refused(status) ? done : "Whether this call was carried out is not known: apply the file again, and what was done is unchanged.");
	return code == EXIT_NO ? EXIT_MALFORMED : code;
}

/* ---- changes ---- */

/* The answer's changes stand in the order of the question's resources. */
static int take_answer(struct work *w, const struct call *call, const Baton__V1__ApplyResponse *m)
{
	if (m->n_changes != call->n)
		return complain(w->c, EXIT_PROTOCOL, "the broker's answer is about other resources", NULL, "Use a baton of the broker's version.");
	for (size_t i = 0; i < call->n; i++) {
		struct step *s = w->sent[call->first + i];

		s->action = arena_strdup(w->keep, m->changes[i]->action);
		s->diff = arena_strdup(w->keep, m->changes[i]->diff);
		s->now = arena_strdup(w->keep, m->changes[i]->version);
		if (!s->action || !s->diff || !s->now)
			return out_of_memory(w);
	}
	w->nodes = m->nodes;
	w->n_nodes = m->n_nodes;
	return 0;
}

/* only_ask: the answer is not kept. */
static int apply(struct work *w, const struct call *call, char *reason, bool only_ask)
{
	Baton__V1__ApplyRequest q = BATON__V1__APPLY_REQUEST__INIT;
	resource *v[CALL_MAX];
	Baton__V1__ApplyResponse *m;
	struct client_status status;

	for (size_t i = 0; i < call->n; i++)
		v[i] = w->sent[call->first + i]->item->resource;
	q.resources = v;
	q.n_resources = call->n;
	q.reason = reason;
	q.dry_run = call->dry;
	w->n_nodes = 0;
	arena_reset(w->scratch);
	m = admin_try(w->c, ADMIN_RESOURCE "Apply", &q.base, &baton__v1__apply_response__descriptor, w->scratch, &status);
	if (!m)
		return refused(w, call, &status);
	return only_ask ? 0 : take_answer(w, call, m);
}

static int apply_all(struct work *w, char *reason, bool dry, bool only_ask)
{
	int code = 0;

	for (size_t i = 0; !code && i < w->n_sent; i += CALL_MAX) {
		struct call call = {i, w->n_sent - i < CALL_MAX ? w->n_sent - i : CALL_MAX, dry};

		code = apply(w, &call, reason, only_ask);
	}
	return code;
}

/* What others need is sent before them, else as the file has it. */
static int by_kind(const void *a, const void *b)
{
	const struct step *x = *(struct step *const *)a, *y = *(struct step *const *)b;

	if (x->item->kind != y->item->kind)
		return x->item->kind < y->item->kind ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* What needs more than one call is asked for first: what can be refused is refused before anything is done. */
static int carry_out(struct work *w, char *reason)
{
	bool dry = w->c->args.given[OPT_DRY_RUN];
	int code = 0;

	qsort(w->sent, w->n_sent, sizeof *w->sent, by_kind);
	cli_verbose(w->c, "%zu of %zu resources differ, %d a call", w->n_sent, w->file.n, CALL_MAX);
	if (!dry && w->n_sent > CALL_MAX)
		code = apply_all(w, reason, true, true);
	return code ? code : apply_all(w, reason, dry, false);
}

static int look_at_all(struct work *w)
{
	const ProtobufCMessage *was = NULL;
	int code = 0;

	for (size_t i = 0; !code && i < w->file.n; i++) {
		struct step *s = &w->v[i];

		code = look(w, s, &was);
		if (s->send)
			w->sent[w->n_sent++] = s;
	}
	return code;
}

int cmd_apply(struct cli *c)
{
	struct work w = {0};
	char *reason;
	int code = admin_reason(c, &reason);

	if (!code)
		code = begin(&w, c);
	if (!code)
		code = look_at_all(&w);
	if (!code)
		code = carry_out(&w, reason);
	for (size_t i = 0; !code && i < w.file.n; i++)
		if (!w.v[i].send)
			w.v[i].action = "unchanged";
	if (!code) {
		print_actions(&w);
		code = admin_tell_nodes(c, w.nodes, w.n_nodes);
	}
	end(&w);
	return code;
}

/* ---- diff ---- */

static int print_difference(struct work *w, struct step *s, const ProtobufCMessage *was)
{
	const struct res_item *item = s->item;
	FILE *out = w->c->out;
	struct buf b;
	char text[80];

	s->action = was ? "updated" : item->kind->made;
	if (cli_json(w->c)) {
		buf_init(&b, LINE_MAX_BYTES);
		resdiff_line(&b, item->kind, was, item->spec);
		s->diff = arena_strndup(w->keep, b.p, b.n);
		buf_clear(&b);
		return s->diff ? 0 : out_of_memory(w);
	}
	if (cli_output(w->c) == OUTPUT_NAME)
		return 0;
	fprintf(out, "--- %s\t%s\n", item->name, version_text(s->version, text));
	fprintf(out, "+++ %s\t", item->name);
	text_print(out, slice_str(w->file.name), false);
	fprintf(out, ":%u\n", item->at.line);
	resdiff_print(out, item->kind, was, item->spec);
	return 0;
}

int cmd_diff(struct cli *c)
{
	const ProtobufCMessage *was = NULL;
	struct work w;
	size_t differ = 0;
	int code = begin(&w, c);

	for (size_t i = 0; !code && i < w.file.n; i++) {
		code = look(&w, &w.v[i], &was);
		if (!code && w.v[i].send) {
			differ++;
			code = print_difference(&w, &w.v[i], was);
		}
	}
	if (!code && cli_output(c) > OUTPUT_WIDE)
		print_actions(&w);
	if (!code && differ)
		cli_note(c, "%zu of %zu resources differ", differ, w.file.n);
	end(&w);
	if (code)
		return code == EXIT_NO ? EXIT_PROTOCOL : code; /* 1 says that something differs */
	return differ ? EXIT_NO : EXIT_YES;
}
