/* What is a running batond confined to? To the folders of what its configuration names (Landlock), before its first thread and before
 * anything that an agent sends is read; to its table of system calls (seccomp) once all ports are open. What this machine's kernel cannot
 * do, or the configuration turns off, is said in one line and shown in the metrics. A reload may not name a file outside: the kernel would
 * refuse it. */
#include <config.h> /* the build's, not ours */

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/node_priv.h"
#include "base/log.h"
#include "net/address.h"

/* Libraries that name services load, CA certificates, and what the resolver reads: /etc as a whole, for resolv.conf is replaced by renaming. */
static const char *const system_paths[] = {"/etc", "/usr", "/lib", "/lib64", "/dev/null", "/sys/devices/system/cpu"};

/* ---- folders ---- */

struct allowing {
	struct confine_files *files;
	struct problem *why;
};

/* Profiles may be links to where they are kept. */
static int allow_links(struct allowing *a, const char *folder)
{
	DIR *d = opendir(folder);
	char path[PATH_MAX];
	struct dirent *e;
	int rc = 0;

	while (d && !rc && (e = readdir(d)))
		if (e->d_type == DT_LNK && snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path)
			rc = confine_files_file(a->files, path, CONFINE_READ, a->why);
	if (d)
		closedir(d);
	return rc;
}

static int allow_named(void *arg, const char *key, const char *path, bool folder)
{
	struct allowing *a = arg;

	if (!folder)
		return confine_files_file(a->files, path, CONFINE_READ, a->why);
	return confine_files_path(a->files, path, CONFINE_READ, a->why) ? -1 : allow_links(a, path);
}

/* What a provider's module opens itself is known to who configures it. */
static int allow_provider(struct allowing *a, const struct tls_provider_config *p)
{
	int rc = 0;

	for (size_t i = 0; i < p->reads.n && !rc; i++)
		rc = confine_files_path(a->files, p->reads.all[i], CONFINE_READ, a->why);
	for (size_t i = 0; i < p->writes.n && !rc; i++)
		rc = confine_files_path(a->files, p->writes.all[i], CONFINE_OWN, a->why);
	return rc;
}

static int allow_system(struct allowing *a)
{
	int rc = confine_files_file(a->files, "/etc/resolv.conf", CONFINE_READ, a->why); /* often a link to /run */

	for (size_t i = 0; i < sizeof system_paths / sizeof system_paths[0] && !rc; i++)
		rc = confine_files_path(a->files, system_paths[i], CONFINE_READ, a->why);
	return rc;
}

/* A sanitizer's runtime looks at the process and its program, for its reports. */
static int allow_runtime(struct allowing *a)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

	exe[n > 0 ? n : 0] = '\0';
	return confine_files_path(a->files, "/proc", CONFINE_READ, a->why) || confine_files_file(a->files, exe, CONFINE_READ, a->why) ? -1 : 0;
}

static int allow_port(struct allowing *a, const char *address)
{
	struct sockaddr_storage sa;
	socklen_t n;

	if (!*address || address_parse(address, &sa, &n) < 0) /* who listens there says what is wrong */
		return 0;
	return confine_files_bind(a->files, (uint16_t)address_port((struct sockaddr *)&sa), a->why);
}

static int allow_all(struct allowing *a, const struct node *n)
{
	const struct config *c = n->config;

	if (allow_system(a) || config_each_file(c, allow_named, a) || (SANITIZED && allow_runtime(a)) ||
	    confine_files_file(a->files, n->config_path, CONFINE_READ, a->why) ||
	    confine_files_path(a->files, c->state_dir, CONFINE_WRITE, a->why) ||
	    confine_files_file(a->files, c->audit_file, CONFINE_WRITE, a->why) || allow_port(a, c->listen_agents) ||
	    allow_port(a, c->listen_admin) || allow_port(a, c->listen_enrol) || allow_port(a, c->listen_metrics))
		return -1;
	for (size_t i = 0; i < c->n_tls_providers; i++)
		if (allow_provider(a, &c->tls_providers[i]))
			return -1;
	return 0;
}

int bounds_files(struct node *n, struct problem *why)
{
	struct allowing a = {NULL, why};

	if (!n->config->hardening_landlock)
		return 0;
	a.files = confine_files_new(false, why);
	n->landlock = a.files && allow_all(&a, n) == 0 ? confine_files_enforce(a.files, why) : -1;
	confine_files_free(a.files);
	return n->landlock < 0 ? -1 : 0;
}

/* ---- a reload ---- */

static int check_named(void *arg, const char *key, const char *path, bool folder)
{
	if (confine_files_within(path))
		return 0;
	return problem_set(arg, "%s: %s is outside the folders that batond was confined to at its start; restart to allow it", key, path);
}

int bounds_check(const struct node *n, const struct config *fresh, struct problem *why)
{
	return n->landlock ? config_each_file(fresh, check_named, why) : 0;
}

/* ---- system calls ---- */

static void report(struct node *n)
{
	const struct config *c = n->config;
	char landlock[32];

	snprintf(landlock, sizeof landlock, n->landlock ? "abi %d" : c->hardening_landlock ? "unavailable" : "off", n->landlock);
	log_event(c->hardening_seccomp && n->landlock ? LOG_INFO : LOG_WARN, "confine.done", F_STR("seccomp", c->hardening_seccomp ? "on" : "off"),
		  F_STR("landlock", landlock));
	metrics_set(n->metrics, METRIC_CONFINEMENT, "seccomp", NULL, c->hardening_seccomp);
	metrics_set(n->metrics, METRIC_CONFINEMENT, "landlock", NULL, n->landlock);
}

int bounds_calls(struct node *n, struct problem *why)
{
	if (n->config->hardening_seccomp && confine_calls(CONFINE_BROKER, why) < 0)
		return -1;
	report(n);
	return 0;
}
