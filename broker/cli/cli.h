/* What does a command get? Its arguments, where to write, and the connection's settings. */
#ifndef BATON_CLI_CLI_H
#define BATON_CLI_CLI_H

#include <stdio.h>

#include "base/slice.h"
#include "baton/v1/decision.pb-c.h"
#include "cli/exits.h"
#include "cli/options.h"
#include "client/fault.h"
#include "client/status.h"

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_NAME };

struct client;
struct client_creds;
struct verb;

#define SETTING_MAX 4096

/* Where the broker is and who we are; "" = not known. */
struct settings {
	char addr[300], ca[SETTING_MAX], cert[SETTING_MAX], key[SETTING_MAX], token_file[SETTING_MAX], metrics[300], admin_addr[300];
};

struct cli {
	FILE *out, *err;
	const struct verb *verb;
	struct args args;
	const char *const *words; /* the verb's arguments */
	size_t n_words;
	struct settings set;
	char token[8193];         /* wiped by cli_close() */
	struct client_creds *creds;
	struct client *conn;
	bool submitting;          /* an envelope was sent and no receipt has come */
	const char *lists;        /* advice for what is not found; NULL: the agents' */
	const char *following;    /* id of a handoff that goes on when this command fails; NULL = none */
};

/* The whole program but for the process: argv without the program's name. Returns the exit code. */
int cli_run(char *const *argv, FILE *out, FILE *err);

static inline enum output cli_output(const struct cli *c)
{
	return (enum output)c->args.number[OPT_OUTPUT];
}
static inline bool cli_json(const struct cli *c)
{
	return cli_output(c) == OUTPUT_JSON || cli_output(c) == OUTPUT_JSONL;
}
/* A remark on standard error, unless --quiet. */
void cli_note(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, only with --verbose. */
void cli_verbose(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Asks before something that cannot be undone. 0: --yes, or a y at the terminal; else the exit code, complained about: `what` it would do where
 * nobody can be asked, that it was `declined` otherwise. */
int cli_confirm(const struct cli *c, const char *what, const char *declined, const char *question, ...) __attribute__((format(printf, 4, 5)));

/* Writes a file that the user named, mode 0600. 0, or an exit code, complained about. */
int cli_write_file(const struct cli *c, const char *path, struct slice bytes);

/* Flag, environment, DIR/env of `dev up`. 0 or an exit code, complained about. */
int settings_resolve(struct cli *c);
/* DIR of the dev set-up: flag, BATON_DEV_DIR, $XDG_STATE_HOME/baton/dev, ~/.local/state/baton/dev. false when it
 * cannot be told. */
bool settings_dev_dir(const struct args *a, char *out, size_t size);
/* Reads DIR/env (name NULL or "") or DIR/env.NAME into the settings that are still "". 0, or -1 with why (also when
 * there is no file). */
int settings_read_env(struct settings *s, const char *dir, const char *name, struct problem *why);
/* Complains that there is none in dir: the exit code. */
int settings_no_dev(const struct cli *c, const char *dir);
/* The token of --token-file or BATON_TOKEN; "" when there is none. */
int settings_token(struct cli *c);

/* Settings, credentials, token, a connection that is ready: c->conn. 0, or an exit code, complained about. */
int cli_connect(struct cli *c);
/* The same for settings that were resolved before. */
int cli_connect_as_set(struct cli *c);
/* The same without waiting until it is ready. */
int cli_dial(struct cli *c);
void cli_close(struct cli *c);

/* Complaints: what happened, what was seen, what to do. They return the exit code. */
int complain(const struct cli *c, int code, const char *what, const char *seen, const char *todo);
int complain_usage(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int complain_client(const struct cli *c, const struct client_error *e);
/* A call's status that is not OK. */
int complain_status(const struct cli *c, const struct client_status *s);
/* A decision that is no allowance; trace_id "" = none. */
int complain_decision(const struct cli *c, const Baton__V1__Decision *d, const char *trace_id);
int exit_for_status(const struct client_status *s);
int exit_for_reason(enum reason r);
/* What to do about it; NULL = the message says that itself. */
const char *advice_for_reason(enum reason r);

/* Commands; each in the file named after it. */
int cmd_dev_up(struct cli *c);
int cmd_dev_down(struct cli *c);
int cmd_dev_status(struct cli *c);
int cmd_dev_token(struct cli *c);
int cmd_handoff_send(struct cli *c);
int cmd_handoff_run(struct cli *c);
int cmd_handoff_get(struct cli *c);
int cmd_handoff_watch(struct cli *c);
int cmd_handoff_list(struct cli *c);
int cmd_handoff_cancel(struct cli *c);
int cmd_serve(struct cli *c);
int cmd_whoami(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_route_list(struct cli *c);
int cmd_route_show(struct cli *c);
int cmd_route_pause(struct cli *c);
int cmd_route_resume(struct cli *c);
int cmd_route_drain(struct cli *c);
int cmd_route_disable(struct cli *c);
int cmd_agent_register(struct cli *c);
int cmd_agent_list(struct cli *c);
int cmd_agent_show(struct cli *c);
int cmd_agent_update(struct cli *c);
int cmd_agent_quarantine(struct cli *c);
int cmd_agent_release(struct cli *c);
int cmd_agent_retire(struct cli *c);
int cmd_agent_history(struct cli *c);
int cmd_agent_rollback(struct cli *c);
int cmd_agent_enroll_token(struct cli *c);
int cmd_enroll(struct cli *c);
int cmd_renew(struct cli *c);
int cmd_revoke(struct cli *c); /* all kinds */
int cmd_revocation_list(struct cli *c);
int cmd_revocation_show(struct cli *c);
int cmd_revocation_lift(struct cli *c);
int cmd_apply(struct cli *c);
int cmd_diff(struct cli *c);
int cmd_export(struct cli *c);
int cmd_role_grant(struct cli *c);
int cmd_role_list(struct cli *c);
int cmd_role_show(struct cli *c);
int cmd_issuer_list(struct cli *c);
int cmd_issuer_show(struct cli *c);
int cmd_issuer_add(struct cli *c);
int cmd_issuer_remove(struct cli *c);
int cmd_issuer_test(struct cli *c);
int cmd_issuer_refresh(struct cli *c);
int cmd_issuer_history(struct cli *c);
int cmd_issuer_rollback(struct cli *c);
int cmd_tenant_create(struct cli *c);
int cmd_tenant_list(struct cli *c);
int cmd_tenant_show(struct cli *c);
int cmd_tenant_limit(struct cli *c);
int cmd_tenant_remove(struct cli *c);
int cmd_tenant_history(struct cli *c);
int cmd_tenant_rollback(struct cli *c);
int cmd_trust_add(struct cli *c);
int cmd_trust_list(struct cli *c);
int cmd_trust_show(struct cli *c);
int cmd_trust_remove(struct cli *c);
int cmd_trust_history(struct cli *c);
int cmd_trust_rollback(struct cli *c);
int cmd_role_revoke(struct cli *c);
int cmd_role_history(struct cli *c);
int cmd_role_rollback(struct cli *c);
int cmd_admin_init(struct cli *c);
int cmd_dlq_list(struct cli *c);
int cmd_dlq_show(struct cli *c);
int cmd_dlq_replay(struct cli *c);
int cmd_dlq_purge(struct cli *c);
int cmd_quarantine_list(struct cli *c);
int cmd_quarantine_add(struct cli *c);
int cmd_quarantine_release(struct cli *c);
int cmd_audit_search(struct cli *c);
int cmd_audit_tail(struct cli *c);
int cmd_node_list(struct cli *c);
int cmd_node_show(struct cli *c);
int cmd_node_drain(struct cli *c);
int cmd_store_check(struct cli *c);
int cmd_token_verify(struct cli *c);
int cmd_token_show(struct cli *c);
int cmd_help(struct cli *c);
int cmd_version(struct cli *c);
int cmd_bench(struct cli *c);
int cmd_completion_bash(struct cli *c);
int cmd_ca_init(struct cli *c);
int cmd_ca_issue(struct cli *c);
int cmd_ca_rotate(struct cli *c);
int cmd_ca_install(struct cli *c);
int cmd_ca_crl(struct cli *c);

#endif
