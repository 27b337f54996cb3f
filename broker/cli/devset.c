/* How is a dev set-up made? Folder by folder; each file is written atomically, and what is still good is kept, so
 * that `dev up` can be repeated. */
#include "config.h"

#include "cli/devset.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/devpki.h"
#include "client/certinfo.h"
#include "client/devtoken.h"

#define CA_DAYS 365
#define LEAF_MS (7 * 24 * 3600 * 1000LL)
#define LEAF_MIN_MS (24 * 3600 * 1000LL)
#define CONFIG_MAX 16384
#define TOKEN_BYTES_MAX 8192

static const struct { const char *name, *rights; } agents[] = {{"planner", "call"}, {"worker", "serve"}};
#define N_AGENTS (sizeof agents / sizeof agents[0])

struct path {
	char p[DEVSET_PATH + 128];
};

static const char *in(const struct devset *d, struct path *out, const char *a, const char *b)
{
	snprintf(out->p, sizeof out->p, "%s/%s%s", d->dir, a, b);
	return out->p;
}

int devset_init(struct devset *d, const char *dir, struct problem *why)
{
	char cwd[PATH_MAX] = "";

	memset(d, 0, sizeof *d);
	d->fsync = "always";
	d->assertion = "signed";
	d->max_in_flight = 64;
	if (*dir != '/' && !getcwd(cwd, sizeof cwd))
		return problem_set(why, "the present folder cannot be told");
	if ((size_t)snprintf(d->dir, sizeof d->dir, "%s%s%s", cwd, *cwd ? "/" : "", dir) >= sizeof d->dir)
		return problem_set(why, "%.100s...: too long", dir);
	for (size_t n = strlen(d->dir); n > 1 && d->dir[n - 1] == '/'; n--)
		d->dir[n - 1] = '\0';
	for (const unsigned char *p = (const unsigned char *)d->dir; *p; p++)
		if (*p <= ' ' || *p == 0x7F || strchr("\"'`\\$#{}[]*?;&|<>()", *p))
			return problem_set(why, "%s: a folder of the dev set-up has no blanks, quotes or shell signs in its name", d->dir);
	return 0;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

bool devset_exists(const struct devset *d)
{
	struct path p;

	return exists(in(d, &p, "baton.yaml", ""));
}

/* Still good for a day, and signed by the CA that is there. */
static bool leaf_good(const char *cert, const char *key, int64_t now_ms)
{
	struct certinfo info;

	return exists(key) && certinfo_read(cert, &info, NULL) == 0 && info.not_after_ms - now_ms > LEAF_MIN_MS;
}

static int make_folders(const struct devset *d, struct problem *why)
{
	static const char *const names[] = {"tls", "agents", "issuer", "profiles", "state"};
	struct path p;

	if (file_make_dir(d->dir, 0700, why))
		return -1;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (file_make_dir(in(d, &p, names[i], ""), 0700, why))
			return -1;
	return 0;
}

static int make_pki(const struct devset *d, int64_t now_ms, struct problem *why)
{
	static const char *const dns[] = {"localhost", NULL}, *const ips[] = {"127.0.0.1", "::1", NULL};
	struct path ca, ca_key, cert, key;
	struct ca_leaf leaf = {.spiffe_id = "spiffe://" DEVPKI_DOMAIN "/batond", .servers = {dns, ips}, .not_before_ms = now_ms - CA_BACKDATE_MS,
			       .not_after_ms = now_ms + LEAF_MS};
	bool fresh;

	in(d, &ca, "ca.pem", "");
	in(d, &ca_key, "tls/ca.key", "");
	fresh = !exists(ca.p) || !exists(ca_key.p);
	if (fresh && devpki_make_ca(ca.p, ca_key.p, now_ms, CA_DAYS, why))
		return -1;
	in(d, &cert, "tls/server.pem", "");
	in(d, &key, "tls/server.key", "");
	if ((fresh || !leaf_good(cert.p, key.p, now_ms)) && devpki_make_leaf(ca.p, ca_key.p, leaf, cert.p, key.p, why))
		return -1;
	for (size_t i = 0; i < N_AGENTS; i++) {
		char id[128], pem[64], keyname[64];

		snprintf(id, sizeof id, "spiffe://" DEVPKI_DOMAIN "/%s", agents[i].name);
		snprintf(pem, sizeof pem, "%s.pem", agents[i].name);
		snprintf(keyname, sizeof keyname, "%s.key", agents[i].name);
		in(d, &cert, "agents/", pem);
		in(d, &key, "agents/", keyname);
		leaf.spiffe_id = id;
		leaf.servers = (struct ca_servers){NULL, NULL};
		if ((fresh || !leaf_good(cert.p, key.p, now_ms)) && devpki_make_leaf(ca.p, ca_key.p, leaf, cert.p, key.p, why))
			return -1;
	}
	return 0;
}

static int make_issuer(const struct devset *d, struct problem *why)
{
	struct path key, jwks;

	in(d, &key, "issuer/key.pem", "");
	in(d, &jwks, "issuer/jwks.json", "");
	return exists(key.p) && exists(jwks.p) ? 0 : devtoken_make_issuer(key.p, jwks.p, why);
}

int devset_mint(const struct devset *d, const struct devset_token *t, int64_t now_ms, struct buf *out,
	struct problem *why)
{
	struct path key, cert;
	struct certinfo info;
	char pem[80];
	struct devtoken token = {.subject = t->subject, .client_id = t->agent, .audience = t->audience,
		.tenant = DEVSET_TENANT,
				 .scope = t->scope, .issued_at_ms = now_ms, .lifetime_ms = t->lifetime_ms};

	snprintf(pem, sizeof pem, "%s.pem", t->agent);
	if (certinfo_read(in(d, &cert, "agents/", pem), &info, why))
		return -1;
	token.x5t_s256 = info.x5t_s256;
	return devtoken_mint(in(d, &key, "issuer/key.pem", ""), &token, out, why);
}

int devset_tokens(const struct devset *d, int64_t now_ms, struct problem *why)
{
	struct buf b;
	int rc = 0;

	buf_init(&b, TOKEN_BYTES_MAX);
	for (size_t i = 0; rc == 0 && i < N_AGENTS; i++) {
		struct devset_token t = {.agent = agents[i].name, .subject = "user:ana", .audience = DEVSET_AUDIENCE,
					 .scope = DEVSET_SCOPE, .lifetime_ms = DEVSET_TOKEN_MS};
		struct path p;
		char name[64];

		buf_reset(&b);
		snprintf(name, sizeof name, "%s.token", agents[i].name);
		rc = devset_mint(d, &t, now_ms, &b, why) || file_write_atomic(in(d, &p, "agents/", name), buf_slice(&b), 0600, why) ?
			-1 : 0;
	}
	buf_clear(&b);
	return rc;
}

static const char all_tools[] =
	"  \"tools\": {\n"
	"    \"allowed\": [\"orders.lookup\", \"refunds.draft_refund\", \"policies.current_refund_policy\"],\n"
	"    \"approval_required\": [\"refunds.issue_refund\", \"email.send_customer\"],\n"
	"    \"spec\": {\n"
	"      \"orders.lookup\":        {\"scopes\": [\"orders:read\"],   \"side_effect\": \"read\"},\n"
	"      \"refunds.draft_refund\": {\"scopes\": [\"refunds:draft\"], \"side_effect\": \"draft\"},\n"
	"      \"refunds.issue_refund\": {\"scopes\": [\"refunds:issue\"], \"side_effect\": \"write\", \"destinations\": [\"api.example.com\"]},\n"
	"      \"email.send_customer\":  {\"scopes\": [\"email:send\"],    \"side_effect\": \"external_send\", \"destinations\": [\"mail.example.com\"]}\n"
	"    }\n"
	"  },\n";
static const char only_reads[] =
	"  \"tools\": {\"allowed\": [\"orders.lookup\"], \"spec\": {\"orders.lookup\": {\"scopes\": [\"orders:read\"], \"side_effect\": \"read\"}}},\n";

/* The profile of the contract, with this set-up's issuer; what needs an approval stays held. %s: the tools, delivery.assertion. */
static const char profile[] =
	"{\n"
	"  \"route\": \"" DEVSET_ROUTE "\",\n"
	"  \"risk_class\": \"medium\",\n"
	"  \"identity\": {\n"
	"    \"allowed_issuers\": [\"" DEVTOKEN_ISSUER "\"],\n"
	"    \"required_audience\": \"" DEVSET_AUDIENCE "\",\n"
	"    \"required_scopes\": [\"orders:read\", \"refunds:draft\"],\n"
	"    \"tenants\": [\"" DEVSET_TENANT "\"],\n"
	"    \"subject\": \"user\"\n"
	"  },\n"
	"%s"
	"  \"egress\": {\n"
	"    \"classes\": {\"api.example.com\": \"internal\", \"docs.example.com\": \"public\", \"mail.example.com\": \"customer\"},\n"
	"    \"approval_for_classes\": [\"customer\", \"partner\"]\n"
	"  },\n"
	"  \"sandbox\": {\n"
	"    \"network\": {\"allowed_domains\": [\"api.example.com\", \"docs.example.com\", \"mail.example.com\"], "
	"\"block_private_networks\": true, \"require_tls\": true}\n"
	"  },\n"
	"  \"delivery\": {\"kind\": \"queue\", \"lease_ms\": 30000, \"resume_ms\": 10000, \"keepalive\": \"stream\", \"max_attempts\": 5, "
	"\"backoff_ms\": [1000, 60000], \"default_deadline_ms\": 3600000, \"max_deadline_ms\": 86400000, \"assertion\": \"%s\"},\n"
	"  \"delegation\": {\"max_depth\": 3, \"max_children\": 16},\n"
	"  \"approvals\": {\"approvers\": [\"group:support-leads\"], \"needed\": 1, \"expires_ms\": 14400000, \"self_approval\": false},\n"
	"  \"observability\": {\"retention_days\": 30}\n"
	"}\n";

/* A loopback port that is free now; the one used last time when it is. 0 when there is none. */
static int free_port(int wanted)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)wanted)};
	socklen_t n = sizeof a;
	int one = 1, port = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0)
		port = ntohs(a.sin_port);
	close(fd);
	return port || !wanted ? port : free_port(0);
}

static int port_of(const char *addr)
{
	const char *colon = strrchr(addr, ':');
	int port = colon ? atoi(colon + 1) : 0;

	return port > 0 && port < 65536 ? port : 0;
}

static int choose_ports(struct devset *d, struct problem *why)
{
	struct settings last = {.addr = ""};

	settings_read_env(&last, d->dir, NULL, NULL);
	d->agents_port = free_port(port_of(last.addr));
	d->metrics_port = free_port(port_of(last.metrics));
	if (d->metrics_port == d->agents_port)
		d->metrics_port = free_port(0);
	return d->agents_port && d->metrics_port ? 0 : problem_set(why, "no loopback port is free");
}

static int write_config(const struct devset *d, struct problem *why)
{
	struct buf b;
	struct path p;
	int rc;

	buf_init(&b, CONFIG_MAX);
	buf_printf(&b,
		   "# Written by `baton dev up`; written anew each time. For trying out, not for production.\n"
		   "version: 1\n"
		   "node: dev\n"
		   "state_dir: %s/state\n"
		   "workers: %d\n"
		   "listen:\n"
		   "  agents: 127.0.0.1:%d\n"
		   "  http1: \"off\"\n"
		   "  admin: \"off\"\n"
		   "  admin_socket: %s/admin.sock\n"
		   "  metrics: 127.0.0.1:%d\n"
		   "tls:\n"
		   "  cert: %s/tls/server.pem\n"
		   "  key: %s/tls/server.key\n"
		   "  trust:\n"
		   "    - {domain: " DEVPKI_DOMAIN ", bundle: %s/ca.pem}\n"
		   "issuers:\n"
		   "  - name: dev\n"
		   "    url: " DEVTOKEN_ISSUER "\n"
		   "    jwks_file: %s/issuer/jwks.json\n"
		   "    tenants: [" DEVSET_TENANT "]\n"
		   "    algorithms: [ES256]\n"
		   "    binding: certificate\n"
		   "    max_lifetime: 12h\n"
		   "    claims: {tenant: tenant, client: client_id, scope: scope}\n"
		   "store:\n"
		   "  url: \"\"\n"
		   "  fsync: %s\n"
		   "envelope:\n"
		   "  clock_skew: 1s # sender and broker share this machine's clock\n"
		   "profiles: %s/profiles\n"
		   "audit:\n"
		   "  file: %s/audit.jsonl\n"
		   "agents:\n",
		   d->dir, d->workers, d->agents_port, d->dir, d->metrics_port, d->dir, d->dir, d->dir, d->dir, d->fsync, d->dir, d->dir);
	for (size_t i = 0; i < N_AGENTS; i++) {
		buf_printf(&b, "  - {name: %s, tenant: " DEVSET_TENANT ", id: \"spiffe://" DEVPKI_DOMAIN "/%s\", %s: [" DEVSET_ROUTE "]",
			   agents[i].name, agents[i].name, agents[i].rights);
		if (strcmp(agents[i].rights, "serve") == 0)
			buf_printf(&b, ", max_in_flight: %d", d->max_in_flight);
		else
			buf_put_str(&b, ", may_originate: true");
		buf_put_str(&b, "}\n");
	}
	rc = b.failed ? problem_set(why, "the configuration is too long") :
			file_write_atomic(in(d, &p, "baton.yaml", ""), buf_slice(&b), 0600, why);
	buf_clear(&b);
	return rc;
}

static int write_env(const struct devset *d, const char *agent, const char *file, struct problem *why)
{
	struct buf b;
	struct path p;
	int rc;

	buf_init(&b, CONFIG_MAX);
	buf_printf(&b,
		   "BATON_ADDR=127.0.0.1:%d\nBATON_CA=%s/ca.pem\nBATON_CERT=%s/agents/%s.pem\nBATON_KEY=%s/agents/%s.key\n"
		   "BATON_TOKEN_FILE=%s/agents/%s.token\nBATON_METRICS=127.0.0.1:%d\nBATON_ADMIN_ADDR=unix:%s/admin.sock\n",
		   d->agents_port, d->dir, d->dir, agent, d->dir, agent, d->dir, agent, d->metrics_port, d->dir);
	rc = b.failed ? problem_set(why, "the folder's name is too long") : file_write_atomic(in(d, &p, file, ""),
		buf_slice(&b), 0600, why);
	buf_clear(&b);
	return rc;
}

static int write_envs(const struct devset *d, struct problem *why)
{
	for (size_t i = 0; i < N_AGENTS; i++) {
		char file[80];

		snprintf(file, sizeof file, "env.%s", agents[i].name);
		if (write_env(d, agents[i].name, file, why))
			return -1;
	}
	return write_env(d, agents[0].name, "env", why);
}

/* One that is there is kept: people try their own. */
static int write_profile(const struct devset *d, struct problem *why)
{
	struct path p;
	struct buf b;
	int rc;

	if (exists(in(d, &p, "profiles/" DEVSET_ROUTE ".json", "")))
		return 0;
	buf_init(&b, sizeof profile + sizeof all_tools + 16);
	buf_printf(&b, profile, d->only_reads ? only_reads : all_tools, d->assertion);
	rc = b.failed ? problem_set(why, "out of memory") : file_write_atomic(p.p, buf_slice(&b), 0644, why);
	buf_clear(&b);
	return rc;
}

int devset_make(struct devset *d, int64_t now_ms, struct problem *why)
{
	if (make_folders(d, why) || make_pki(d, now_ms, why) || make_issuer(d, why) || devset_tokens(d, now_ms, why))
		return -1;
	if (write_profile(d, why) || choose_ports(d, why) || write_config(d, why))
		return -1;
	return write_envs(d, why);
}
