/* Do the command line's pure parts hold: tables, parsing, near misses, help, JSON, safe text; and does the manual
 * name every option? */
#include "config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "baton/v1/handoff.pb-c.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/pbjson.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/work.h"

/* Runs the command line; what it wrote, to be freed. */
struct ran {
	int code;
	char *out, *err;
};

#define RUN(...) run((char *const[]){__VA_ARGS__, NULL})
static struct ran run(char *const *argv)
{
	struct ran o = {0};
	size_t n, m;
	FILE *out = open_memstream(&o.out, &n), *err = open_memstream(&o.err, &m);

	o.code = cli_run(argv, out, err);
	fclose(out);
	fclose(err);
	return o;
}

static void ran_free(struct ran *o)
{
	free(o->out);
	free(o->err);
}

static void expect(struct ran o, int code, const char *out, const char *err)
{
	if (o.code != code || (out && !strstr(o.out, out)) || (err && !strstr(o.err, err)))
		print_message("code %d\nout: %s\nerr: %s\n", o.code, o.out, o.err);
	assert_int_equal(o.code, code);
	if (out)
		assert_non_null(strstr(o.out, out));
	if (err)
		assert_non_null(strstr(o.err, err));
	ran_free(&o);
}

static void sizes_are_strict(void **state)
{
	static const char *const good[] = {"0", "512", "64KiB", "1MiB", "3GiB", "1TiB"}, *const bad[] = {"", "-1", "1MB", "1 MiB", "1mib", "1.5GiB", "0x10", "9223372036854775808", "8388608TiB"};
	char text[SIZE_TEXT_MAX];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		size_text(size_parse(good[i]), text);
		assert_string_equal(text, good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(size_parse(bad[i]), -1);
	assert_int_equal(size_parse("1024B"), 1024);
	size_text(1536, text);
	assert_string_equal(text, "1536");
}

static void durations_are_strict(void **state)
{
	assert_int_equal(duration_parse("500ms"), 500);
	assert_int_equal(duration_parse("10"), 10000);
	assert_int_equal(duration_parse("5m"), 300000);
	assert_int_equal(duration_parse("2d"), 172800000);
	assert_int_equal(duration_parse("1h"), 3600000);
	assert_int_equal(duration_parse(""), -1);
	assert_int_equal(duration_parse("-1s"), -1);
	assert_int_equal(duration_parse("1x"), -1);
	assert_int_equal(duration_parse("1 s"), -1);
	assert_int_equal(duration_parse("99999999999999999999s"), -1);
	expect(RUN((char *)"handoff", (char *)"send", (char *)"--deadline", (char *)"9999d"), EXIT_USAGE, NULL,
		"too long, at most 366d");
	expect(RUN((char *)"whoami", (char *)"--timeout", (char *)"0s"), EXIT_USAGE, NULL, "too short, at least 1ms");
	expect(RUN((char *)"dev", (char *)"token", (char *)"--ttl", (char *)"13h"), EXIT_USAGE, NULL, "at most 12h");
}

static void options_are_parsed_anywhere(void **state)
{
	static const enum opt opts[] = {OPT_ROUTE, OPT_SCOPE, OPT_PRIORITY, OPT_END};
	char *argv[] = {(char *)"--route", (char *)"r", (char *)"get", (char *)"-ojson", (char *)"--scope=a",
		(char *)"--scope", (char *)"b",
			(char *)"ID", (char *)"--", (char *)"cmd", (char *)"--route", NULL};
	struct args a;
	struct problem why = {""};

	assert_int_equal(args_parse(&a, argv, opts, &why), 0);
	assert_string_equal(a.text[OPT_ROUTE], "r");
	assert_int_equal(a.number[OPT_OUTPUT], OUTPUT_JSON);
	assert_int_equal(a.n_many, 2);
	assert_string_equal(a.many[1].value, "b");
	assert_int_equal(a.n_words, 2);
	assert_string_equal(a.words[1], "ID");
	assert_string_equal(a.rest[0], "cmd");
	assert_string_equal(a.rest[1], "--route");
}

/* A certificate's digest, as whoami prints it: one in 64 begins like an option. */
static void a_digest_is_a_word(void **state)
{
	static const enum opt none[] = {OPT_END};
	char *argv[] = {(char *)"-bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN_-0", NULL}, *shorter[] = {argv[0] + 1, NULL}, *option[] = {(char *)"-bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN_-", NULL};
	struct args a;
	struct problem why = {""};

	assert_int_equal(args_parse(&a, argv, none, &why), 0);
	assert_true(a.n_words == 1 && a.words[0] == argv[0]);
	assert_int_equal(args_parse(&a, shorter, none, &why), 0);
	assert_int_equal(args_parse(&a, option, none, &why), -1);
	expect(RUN((char *)"revoke", (char *)"cert", argv[0]), EXIT_USAGE, NULL, "needs --reason");
}

static void bad_options_are_refused(void **state)
{
	expect(RUN((char *)"handoff", (char *)"send", (char *)"--rout", (char *)"x"), EXIT_USAGE, NULL,
		"did you mean --route?");
	expect(RUN((char *)"handoff", (char *)"send", (char *)"--route"), EXIT_USAGE, NULL, "needs a value");
	expect(RUN((char *)"handoff", (char *)"send", (char *)"--priority", (char *)"10"), EXIT_USAGE, NULL,
		"not a number from 0 to 9");
	expect(RUN((char *)"handoff", (char *)"send", (char *)"--priority", (char *)"5x"), EXIT_USAGE, NULL, "not a number");
	expect(RUN((char *)"whoami", (char *)"-o", (char *)"xml"), EXIT_USAGE, NULL, "none of table|wide|json|jsonl|name");
	expect(RUN((char *)"whoami", (char *)"--utc=1"), EXIT_USAGE, NULL, "takes no value");
	expect(RUN((char *)"whoami", (char *)"-z"), EXIT_USAGE, NULL, "unknown option -z");
	expect(RUN((char *)"whoami", (char *)"--route", (char *)"r"), EXIT_USAGE, NULL, "unknown option --route");
	expect(RUN((char *)"whoami", (char *)"x"), EXIT_USAGE, NULL, "takes no `x`");
	expect(RUN((char *)"whoami", (char *)"--", (char *)"x"), EXIT_USAGE, NULL, "takes no `--`");
	expect(RUN((char *)"handoff", (char *)"get"), EXIT_USAGE, NULL, "needs ID");
	expect(RUN((char *)"serve", (char *)"--route", (char *)"r"), EXIT_USAGE, NULL, "needs a command");
	expect(RUN((char *)"bench", (char *)"--cycles", (char *)"1", (char *)"--seconds", (char *)"1"), EXIT_USAGE, NULL,
		"not both");
}

/* A value that was forgotten is not made up from the next option. */
static void options_are_no_values(void **state)
{
	char dir[] = "/tmp/baton-novalue.XXXXXX", here[4096];

	assert_non_null(mkdtemp(dir));
	assert_non_null(getcwd(here, sizeof here));
	assert_int_equal(chdir(dir), 0);
	expect(RUN((char *)"version", (char *)"--protos", (char *)"--help"), EXIT_USAGE, NULL, "--protos needs a value: DIR");
	expect(RUN((char *)"version", (char *)"--protos="), EXIT_USAGE, NULL, "name of a folder is empty");
	expect(RUN((char *)"whoami", (char *)"--addr", (char *)"--utc"), EXIT_USAGE, NULL, "--addr needs a value");
	assert_int_equal(rmdir("--help"), -1);
	assert_int_equal(chdir(here), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void addresses_are_checked_first(void **state)
{
	expect(RUN((char *)"whoami", (char *)"--addr", (char *)"localhost:70000"), EXIT_USAGE, NULL, "the port is 1 to 65535");
	expect(RUN((char *)"bench", (char *)"--addr", (char *)"x"), EXIT_USAGE, NULL, "Write host:port");
	expect(RUN((char *)"doctor", (char *)"--metrics", (char *)"127.0.0.1:65536"), EXIT_USAGE, NULL,
		"the port is 1 to 65535");
	expect(RUN((char *)"whoami", (char *)"--dir", (char *)"/nope"), EXIT_MISSING, NULL, "no dev set-up in /nope");
	expect(RUN((char *)"whoami", (char *)"--dir", (char *)"/nope", (char *)"--as", (char *)"worker"), EXIT_MISSING, NULL,
		"no dev set-up in /nope");
	expect(RUN((char *)"bench", (char *)"--dir", (char *)"/nope"), EXIT_MISSING, NULL, "no dev set-up in /nope");
}

static void envelopes_name_the_file_that_was_given(void **state)
{
#define SEND_R (char *)"handoff", (char *)"send", (char *)"--route", (char *)"r", (char *)"--tool", (char *)"t"
	expect(RUN(SEND_R, (char *)"--payload", (char *)"@"), EXIT_USAGE, NULL, "@FILE");
	expect(RUN(SEND_R, (char *)"--envelope-file", (char *)"/nope/x"), EXIT_MISSING, NULL, "cannot write /nope/x: its folder");
	expect(RUN(SEND_R, (char *)"--envelope-file", (char *)"/dev/null/x"), EXIT_CONFIG, NULL, "cannot write /dev/null/x\n");
}

static void a_token_in_argv_is_refused(void **state)
{
	expect(RUN((char *)"whoami", (char *)"--token", (char *)"eyJ"), EXIT_USAGE, NULL, "a command line is public");
	expect(RUN((char *)"--token=eyJ", (char *)"whoami"), EXIT_USAGE, NULL, "a command line is public");
	expect(RUN((char *)"whoami", (char *)"--context", (char *)"x"), EXIT_USAGE, NULL, "not in this version");
	expect(RUN((char *)"handoff", (char *)"cancel", (char *)"x", (char *)"--cascade"), EXIT_USAGE, NULL, "no children yet");
	setenv("BATON_CONTEXT", "production", 1); /* as the option: a broker that was named must not be another one */
	expect(RUN((char *)"whoami"), EXIT_USAGE, NULL, "BATON_CONTEXT is set");
	expect(RUN((char *)"whoami", (char *)"--help"), EXIT_YES, "whoami", NULL);
	unsetenv("BATON_CONTEXT");
}

static void commands_are_found_or_explained(void **state)
{
	expect(RUN((char *)"version"), EXIT_YES, "baton " PACKAGE_VERSION, NULL);
	expect(RUN((char *)"-o", (char *)"json", (char *)"version"), EXIT_YES, "\"api\":\"baton.v1\"", NULL);
	expect(RUN((char *)"handof"), EXIT_USAGE, NULL, "did you mean `handoff`?");
	expect(RUN((char *)"handoff", (char *)"wach"), EXIT_USAGE, NULL, "did you mean `handoff watch`?");
	expect(RUN((char *)"handoff", (char *)"dance"), EXIT_USAGE, NULL, "unknown command `handoff dance`");
	expect(RUN((char *)"handoff"), EXIT_USAGE, NULL, "needs a verb");
	expect(RUN((char *)"approval", (char *)"list"), EXIT_USAGE, NULL, "not in this version");
	expect(RUN((char *)"handoff", (char *)"tree", (char *)"x"), EXIT_USAGE, NULL, "not in this version");
	expect(RUN((char *)"--utc"), EXIT_USAGE, NULL, "no command");
	expect(RUN((char *)"-f", (char *)"/nonexistent", (char *)"diff"), EXIT_MISSING, NULL, "cannot read /nonexistent");
	expect(RUN((char *)"diff"), EXIT_USAGE, NULL, "`diff` needs -f FILE");
	expect(RUN((char *)"apply", (char *)"-f", (char *)"/nonexistent"), EXIT_USAGE, NULL, "`apply` needs --reason");
	expect(RUN((char *)"--version"), EXIT_YES, "baton " PACKAGE_VERSION, NULL);
	expect(RUN((char *)"-V"), EXIT_YES, "baton " PACKAGE_VERSION, NULL);
	expect(RUN((char *)"whoami", (char *)"--version"), EXIT_YES, "baton " PACKAGE_VERSION, NULL);
	expect(RUN((char *)"--colour"), EXIT_USAGE, NULL, "unknown option --colour");
	expect(RUN((char *)"--colour", (char *)"never"), EXIT_USAGE, NULL, "unknown option --colour");
	expect(RUN((char *)"-z"), EXIT_USAGE, NULL, "unknown option -z");
	expect(RUN((char *)"--help", (char *)"nonsense"), EXIT_USAGE, NULL, "unknown command `nonsense`");
}

static void help_is_on_every_level(void **state)
{
	char *none[] = {NULL};
	struct ran o = run(none);

	expect(o, EXIT_USAGE, NULL, "baton --help");
	expect(RUN((char *)"--help"), EXIT_YES, "handoff send", NULL);
	expect(RUN((char *)"handoff", (char *)"--help"), EXIT_YES, "watch ID", NULL);
	expect(RUN((char *)"help"), EXIT_YES, "handoff send", NULL);
	expect(RUN((char *)"help", (char *)"handoff"), EXIT_YES, "watch ID", NULL);
	expect(RUN((char *)"help", (char *)"handoff", (char *)"send"), EXIT_YES, "prints its receipt", NULL);
	expect(RUN((char *)"help", (char *)"serve"), EXIT_YES, "--content-type", NULL);
	expect(RUN((char *)"help", (char *)"doctor"), EXIT_YES, "Redis", NULL);
	expect(RUN((char *)"help", (char *)"sevre"), EXIT_USAGE, NULL, "did you mean `serve`?");
	for (size_t i = 0; i < n_verbs; i++) {
		const struct verb *v = &verbs[i];
		char *argv[] = {(char *)(uintptr_t)v->noun, (char *)(uintptr_t)(v->verb ? v->verb : "-h"), (char *)"-h", NULL};

		expect(run(argv), EXIT_YES, v->help, NULL);
	}
}

/* "--no-headers" as the manual writes it: "\-\-no\-headers". */
static void roff(const char *name, char out[160])
{
	char *p = out;

	p += sprintf(p, "\\-\\-");
	for (; *name; name++)
		p += sprintf(p, *name == '-' ? "\\-" : "%c", *name);
}

/* The part of the page about one command; the whole page when title is NULL. */
static void section(const char *page, const char *title, char **out)
{
	const char *from = strstr(page, title), *end;

	assert_non_null(from);
	end = strstr(from + 3, "\n.S"); /* the next .SS or .SH */
	*out = strndup(from, end ? (size_t)(end - from) : strlen(from));
}

static void must_name(const char *text, const struct option_row *r, const char *where)
{
	char word[160];

	roff(r->name, word);
	if (!strstr(text, word))
		fail_msg("docs/man/baton.1, %s: no word of --%s", where, r->name);
}

/* Commands that differ by a word share a part of the page. */
static const char *chapter_of(const struct verb *v)
{
	if (!v->verb)
		return "";
	if (strcmp(v->noun, "revoke") == 0)
		return "agent";
	return strcmp(v->verb, "run") == 0 ? "send" : v->verb;
}

static void the_manual_names_every_option(void **state)
{
	const char *src = getenv("BATON_SRCDIR");
	char path[4096], title[80], word[160], *part;
	uint8_t *page = NULL;
	size_t n;
	struct problem why = {""};

	snprintf(path, sizeof path, "%s/docs/man/baton.1", src ? src : ".");
	assert_int_equal(file_read(path, 1 << 20, &page, &n, &why), 0);
	section((char *)page, ".SH OPTIONS OF EVERY COMMAND", &part);
	for (int o = OPT_ADDR; o <= OPT_GLOBAL_LAST; o++) {
		const struct option_row *r = option_row((enum opt)o);

		must_name(part, r, "options of every command");
		if (r->env)
			assert_non_null(strstr(part, r->env));
	}
	free(part);
	for (size_t i = 0; i < n_verbs; i++) {
		const struct verb *v = &verbs[i];

		roff(chapter_of(v), word);
		snprintf(title, sizeof title, ".SS baton %s%s%.50s", v->noun, v->verb ? " " : "", word + strlen("\\-\\-"));
		section((char *)page, title, &part);
		roff(v->verb ? v->verb : "", word);
		assert_non_null(strstr(part, word + strlen("\\-\\-")));
		for (const enum opt *o = v->opts; *o != OPT_END; o++)
			must_name(part, option_row(*o), title);
		free(part);
	}
	/* And the other way: the manual names no option that is not there. */
	for (const char *p = strstr((char *)page, "\n.BI \\-\\-"); p; p = strstr(p + 1, "\n.BI \\-\\-")) {
		char name[64] = "";
		size_t k = 0;
		bool known = false;

		for (const char *q = p + 9; *q && *q != ' ' && *q != '\n' && k < 63; q++)
			if (*q != '\\')
				name[k++] = *q;
		for (int o = OPT_ADDR; o < OPT_COUNT; o++)
			known |= strcmp(option_row((enum opt)o)->name, name) == 0;
		if (!known)
			fail_msg("docs/man/baton.1 names --%s, which is no option", name);
	}
	free(page);
}

static void options_are_unique_in_each_command(void **state)
{
	for (size_t i = 0; i < n_verbs; i++)
		for (const enum opt *a = verbs[i].opts; *a != OPT_END; a++) {
			for (int g = OPT_ADDR; g <= OPT_GLOBAL_LAST; g++)
				assert_string_not_equal(option_row(*a)->name, option_row((enum opt)g)->name);
			for (const enum opt *b = a + 1; *b != OPT_END; b++)
				assert_string_not_equal(option_row(*a)->name, option_row(*b)->name);
		}
	for (int o = OPT_ADDR; o < OPT_COUNT; o++)
		assert_int_equal(option_row((enum opt)o)->opt, o);
}

static void completion_knows_the_tables(void **state)
{
	struct ran o = RUN((char *)"completion", (char *)"bash");

	assert_int_equal(o.code, 0);
	assert_non_null(strstr(o.out, "complete -o default -F _baton baton"));
	for (size_t i = 0; i < n_verbs; i++)
		for (const enum opt *p = verbs[i].opts; *p != OPT_END; p++) {
			char word[80];

			snprintf(word, sizeof word, "--%s ", option_row(*p)->name);
			assert_non_null(strstr(o.out, word));
		}
	ran_free(&o);
}

static void near_misses_are_near(void **state)
{
	static const char *const words[] = {"send", "run", "watch", NULL};

	assert_string_equal(near_miss("sned", words), "send");
	assert_string_equal(near_miss("watchh", words), "watch");
	assert_null(near_miss("elephant", words));
	assert_null(near_miss("xyz", words));
}

static void foreign_text_cannot_drive_the_terminal(void **state)
{
	char out[16];

	text_safe(slice_str("a\x1b[2Jb\x9b\xc2\x9b\n"), out, sizeof out);
	assert_string_equal(out, "a?[2Jb????");
	text_safe(slice_str("\xe2\x82\xac" "uro \xff"), out, sizeof out);
	assert_string_equal(out, "\xe2\x82\xac" "uro ?");
	text_safe(slice_str("123456789012345678"), out, sizeof out);
	assert_string_equal(out, "123456789012345");
}

static void ages_are_short(void **state)
{
	char out[16];

	text_age(4000, out);
	assert_string_equal(out, "4s");
	text_age(12 * 60000, out);
	assert_string_equal(out, "12m");
	text_age(3 * 3600000LL, out);
	assert_string_equal(out, "3h");
	text_age(9 * 86400000LL, out);
	assert_string_equal(out, "9d");
	text_age(-5, out);
	assert_string_equal(out, "0s");
}

static void tables_line_up(void **state)
{
	static const char *const columns[] = {"ID", "STATE"};
	struct table t;
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	table_init(&t, columns, 2);
	table_cell(&t, "abcdef");
	table_cell(&t, "queued");
	table_cell(&t, "\xc3\xa4");
	table_cell(&t, "");
	table_print(&t, f, true);
	fclose(f);
	assert_string_equal(text, "ID      STATE\nabcdef  queued\n\xc3\xa4       -\n");
	table_clear(&t);
	free(text);
}

static void messages_become_json(void **state)
{
	Baton__V1__Handoff h = BATON__V1__HANDOFF__INIT;
	Baton__V1__Decision d = BATON__V1__DECISION__INIT;
	Baton__V1__Result r = BATON__V1__RESULT__INIT;
	Baton__V1__Handoff__LabelsEntry l = BATON__V1__HANDOFF__LABELS_ENTRY__INIT, *labels[] = {&l};
	char *scopes[] = {(char *)"a:b", (char *)"c"}, *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	h.handoff_id = (char *)"h1";
	h.state = BATON__V1__HANDOFF_STATE__HANDOFF_STATE_DEAD_LETTERED;
	d.reason = BATON__V1__REASON__REASON_MISSING_SCOPE;
	d.missing_scopes = scopes;
	d.n_missing_scopes = 2;
	h.decision = &d;
	r.payload = (ProtobufCBinaryData){3, (uint8_t *)"{\"\n"};
	h.result = &r;
	l.key = (char *)"k";
	l.value = (char *)"v";
	h.labels = labels;
	h.n_labels = 1;
	pbjson_print(f, &h.base);
	r.payload = (ProtobufCBinaryData){2, (uint8_t *)"\x00\xff"};
	pbjson_print(f, &r.base);
	fclose(f);
	assert_string_equal(text,
		"{\"handoff_id\":\"h1\",\"state\":\"dead_lettered\",\"decision\":{\"reason\":\"missing_scope\","
				  "\"missing_scopes\":[\"a:b\",\"c\"]},\"result\":{\"payload\":\"{\\\"\\n\"},\"labels\":{\"k\":\"v\"}}\n"
				  "{\"payload_base64\":\"AP8=\"}\n");
	free(text);
}

static void exits_follow_reasons(void **state)
{
	struct client_status s;

	assert_int_equal(exit_for_reason(REASON_MISSING_SCOPE), EXIT_DENIED);
	assert_int_equal(exit_for_reason(REASON_QUOTA_EXCEEDED), EXIT_AGAIN);
	assert_int_equal(exit_for_reason(REASON_MALFORMED_ENVELOPE), EXIT_MALFORMED);
	assert_int_equal(exit_for_reason(REASON_NOT_FOUND), EXIT_NO);
	client_status_init(&s);
	s.code = GRPC_UNIMPLEMENTED;
	assert_int_equal(exit_for_status(&s), EXIT_PROTOCOL);
	s.code = GRPC_UNAVAILABLE;
	s.local = true;
	assert_int_equal(exit_for_status(&s), EXIT_UNREACHABLE);
	s.local = false;
	assert_int_equal(exit_for_status(&s), EXIT_AGAIN);
}

static char *complaint(const struct client_status *s, bool submitting, const char *token)
{
	char *text = NULL;
	size_t n;
	struct cli c = {.out = stdout, .err = open_memstream(&text, &n), .submitting = submitting};

	snprintf(c.token, sizeof c.token, "%s", token);
	complain_status(&c, s);
	fclose(c.err);
	return text;
}

/* Every denial has a third line. */
static void denials_say_what_to_do(void **state)
{
	struct client_status s;

	for (enum reason r = REASON_UNKNOWN_PEER; r < REASON_MAX; r++) {
		char *text, *line;
		unsigned lines = 0;

		if (reason_info(r)->reason != r || exit_for_reason(r) != EXIT_DENIED)
			continue;
		client_status_init(&s);
		s.reason = r;
		snprintf(s.message, sizeof s.message, "seen");
		text = complaint(&s, false, "");
		for (line = text; (line = strchr(line, '\n')); line++)
			lines++;
		if (lines != 3)
			fail_msg("%s: %s", reason_text(r), text);
		free(text);
	}
}

static void what_to_do_fits_the_call(void **state)
{
	struct cli c = {.out = stdout};
	struct client_status s;
	char *text;
	size_t n;

	client_status_init(&s);
	s.reason = REASON_STORE_UNAVAILABLE;
	text = complaint(&s, false, ""); /* get, list, cancel: nothing was sent that could be sent again */
	assert_null(strstr(text, "same bytes"));
	assert_null(strstr(text, "--replay"));
	free(text);
	c.following = "h1"; /* it was accepted: the trace stays last */
	c.err = open_memstream(&text, &n);
	snprintf(s.trace_id, sizeof s.trace_id, "4bf9");
	complain_status(&c, &s);
	fclose(c.err);
	assert_non_null(strstr(text, "    left in force: baton handoff watch h1\n    trace 4bf9\n"));
	free(text);
	text = complaint(&s, true, "");
	assert_non_null(strstr(text, "The outcome is unknown."));
	assert_non_null(strstr(text, "--replay"));
	free(text);
	s.reason = REASON_MISSING_SCOPE; /* {"iss":"https://login.acme.example"} */
	text = complaint(&s, false, "e30.eyJpc3MiOiJodHRwczovL2xvZ2luLmFjbWUuZXhhbXBsZSJ9.x");
	assert_non_null(strstr(text, "Ask https://login.acme.example for that scope."));
	free(text);
	text = complaint(&s, false, "garbage");
	assert_non_null(strstr(text, "Ask the token's issuer for that scope."));
	free(text);
}

/* Writes "hello" to fd in a child process: its wait status. */
static int hello(int fd, const char *errors)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		FILE *err = fopen(errors, "w");
		struct output_stream o;

		signal(SIGPIPE, SIG_IGN);
		fputs("hello", output_begin(&o, fd));
		_exit(output_end(&o, EXIT_YES, err) + (fclose(err) != 0));
	}
	waitpid(pid, &status, 0);
	return status;
}

static void output_that_cannot_be_written_is_told(void **state)
{
	char errors[] = "/tmp/baton-errors.XXXXXX";
	int full = open("/dev/full", O_WRONLY), ends[2], status;
	uint8_t *text = NULL;
	size_t n;

	close(mkstemp(errors));
	status = hello(full, errors);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_OUTPUT);
	assert_int_equal(file_read(errors, 4096, &text, &n, NULL), 0);
	assert_string_equal(text, "standard output cannot be written: No space left on device\n");
	free(text);
	assert_int_equal(pipe(ends), 0);
	status = hello(ends[1], errors);
	assert_int_equal(WEXITSTATUS(status), EXIT_YES);
	close(ends[0]);
	status = hello(ends[1], errors); /* nobody reads: as if SIGPIPE were not ignored, and not a word */
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGPIPE);
	assert_int_equal(file_read(errors, 4096, &text, &n, NULL), 0);
	assert_int_equal(n, 0);
	free(text);
	close(ends[1]);
	close(full);
	unlink(errors);
}

static void results_are_called_what_they_are(void **state)
{
	assert_string_equal(work_content_type(SLICE_LIT("{\"a\":1}\n")), "application/json");
	assert_string_equal(work_content_type(SLICE_LIT("42")), "application/json");
	assert_string_equal(work_content_type(SLICE_LIT("{\"a\":1} and more")), "text/plain");
	assert_string_equal(work_content_type(SLICE_LIT("done\n")), "text/plain");
	assert_string_equal(work_content_type(SLICE_LIT("\xe2\x82\xac\tand tabs\r\n")), "text/plain");
	assert_string_equal(work_content_type(SLICE_LIT("\x1b[2J")), "application/octet-stream");
	assert_string_equal(work_content_type(SLICE_LIT("\xff\xd8\xff")), "application/octet-stream");
	expect(RUN((char *)"serve", (char *)"--route", (char *)"r", (char *)"--content-type", (char *)"a\nb", (char *)"--",
		(char *)"cat"), EXIT_USAGE, NULL, "printable");
}

static void protos_are_written_whole(void **state)
{
	const char *src = getenv("BATON_SRCDIR");
	char dir[] = "/tmp/baton-protos.XXXXXX", path[4096];
	uint8_t *a = NULL, *b = NULL;
	size_t n, m;

	assert_non_null(mkdtemp(dir));
	expect(RUN((char *)"version", (char *)"--protos", dir), EXIT_YES, "baton/v1/handoff.proto", NULL);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "decision.proto" : "handoff.proto";

		snprintf(path, sizeof path, "%s/baton/v1/%s", dir, name);
		assert_int_equal(file_read(path, 1 << 20, &a, &n, NULL), 0);
		unlink(path);
		snprintf(path, sizeof path, "%s/proto/baton/v1/%s", src ? src : ".", name);
		assert_int_equal(file_read(path, 1 << 20, &b, &m, NULL), 0);
		assert_int_equal(n, m);
		assert_memory_equal(a, b, n);
		free(a);
		free(b);
	}
	snprintf(path, sizeof path, "%s/baton/v1", dir);
	rmdir(path);
	snprintf(path, sizeof path, "%s/baton", dir);
	rmdir(path);
	rmdir(dir);
}

static int setup(void **state)
{
	static const char *const names[] = {"BATON_ADDR", "BATON_CA", "BATON_CERT", "BATON_KEY", "BATON_TOKEN",
		"BATON_TOKEN_FILE",
					    "BATON_TIMEOUT", "BATON_OUTPUT", "BATON_METRICS", "BATON_CONTEXT"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		unsetenv(names[i]);
	return setenv("BATON_DEV_DIR", "/nonexistent", 1);
}

static void pace_is_the_clocks(void **state)
{
	struct pace closed = {0}, p = {.rate = 3};

	assert_int_equal(pace_due_us(&closed, 5), 5);
	assert_int_equal(pace_begin(&closed, 9), 9);
	assert_int_equal(pace_due_us(&closed, 10), 10);
	assert_int_equal(pace_begin(&p, 1000), 1000); /* the first is due when it begins */
	assert_int_equal(pace_due_us(&p, 1000), 1000 + 333333);
	assert_int_equal(pace_begin(&p, 5000000), 1000 + 333333); /* late, and timed from when it was due */
	assert_int_equal(pace_begin(&p, 5000000), 1000 + 666666);
	assert_int_equal(pace_due_us(&p, 5000000), 1000 + 1000000);
	p.begun = INT64_C(3000000000);
	assert_int_equal(pace_due_us(&p, 0), 1000 + INT64_C(1000000000) * 1000000);
	pace_restart(&p);
	assert_int_equal(pace_begin(&p, 7000000), 7000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pace_is_the_clocks),
		cmocka_unit_test(durations_are_strict), cmocka_unit_test(sizes_are_strict), cmocka_unit_test(options_are_parsed_anywhere),
		cmocka_unit_test(a_digest_is_a_word),
		cmocka_unit_test(bad_options_are_refused), cmocka_unit_test(a_token_in_argv_is_refused),
		cmocka_unit_test(commands_are_found_or_explained), cmocka_unit_test(help_is_on_every_level),
		cmocka_unit_test(the_manual_names_every_option), cmocka_unit_test(options_are_unique_in_each_command),
		cmocka_unit_test(completion_knows_the_tables), cmocka_unit_test(near_misses_are_near),
		cmocka_unit_test(foreign_text_cannot_drive_the_terminal), cmocka_unit_test(ages_are_short),
		cmocka_unit_test(tables_line_up), cmocka_unit_test(messages_become_json), cmocka_unit_test(exits_follow_reasons),
		cmocka_unit_test(protos_are_written_whole), cmocka_unit_test(options_are_no_values),
		cmocka_unit_test(addresses_are_checked_first), cmocka_unit_test(envelopes_name_the_file_that_was_given),
		cmocka_unit_test(denials_say_what_to_do), cmocka_unit_test(what_to_do_fits_the_call),
		cmocka_unit_test(output_that_cannot_be_written_is_told), cmocka_unit_test(results_are_called_what_they_are),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
