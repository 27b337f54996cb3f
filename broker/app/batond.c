/* What does the command `batond` do? Reads its options, checks or loads the configuration, hardens the process, and runs a node. */
#include <config.h> /* the build's, not ours */

#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/check.h"
#include "app/config.h"
#include "app/node.h"
#include "base/log.h"
#include "confine/confine.h"

static const char help[] =
	"batond - hand work between agents over mutual TLS\n\n"
	"usage: batond --config FILE [--check-config]\n\n"
	"  --config FILE    the configuration (baton.yaml(5)); default /etc/baton/baton.yaml\n"
	"  --check-config   read configuration, profiles, certificates and keys, say what is wrong, and exit\n"
	"  --version        print the version\n"
	"  --help           this text\n\n"
	"SIGHUP reloads, SIGTERM drains and stops. Exit: 0, 64 usage, 78 configuration, 1 it could not start.\n";

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'},
	{"version", no_argument, NULL, 'V'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
};

static void raise_descriptors(void)
{
	struct rlimit files;

	signal(SIGXFSZ, SIG_IGN); /* a file at its size limit is an error like a full disk, not the end */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Buffers of a busy tick come and go: giving their pages back to the kernel each time costs a fault a page at the next one. */
static void keep_freed_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

static int check(struct config *c, const char *path)
{
	struct problem why = {""}, warn = {""};
	int rc = check_config(c, &why, &warn);

	config_free(c);
	if (warn.text[0])
		fprintf(stderr, "warning: %s\n", warn.text);
	if (rc < 0) {
		fprintf(stderr, "%s\n", why.text);
		return EX_CONFIG;
	}
	printf("%s: fine\n", path);
	return 0;
}

static int serve(struct config *c, const char *path)
{
	struct problem why = {""};
	struct node *n;
	int rc;

	log_open(STDERR_FILENO, c->log_level, c->log_json);
	n = node_new(c, path, PACKAGE_VERSION, &why);
	if (!n) {
		fprintf(stderr, "batond: %s\n", why.text);
		return EX_CONFIG;
	}
	rc = node_run(n);
	node_free(n);
	if (SANITIZED)
		prctl(PR_SET_DUMPABLE, 1); /* every secret is wiped by now: the leak checker may look */
	return rc;
}

int main(int argc, char **argv)
{
	const char *path = "/etc/baton/baton.yaml";
	struct problem why = {""};
	bool only_check = false;
	struct config *c;
	int o;

	confine_environment();
	if (confine_process(&why) < 0) {
		fprintf(stderr, "batond: %s\n", why.text);
		return 1;
	}
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			only_check = true;
			break;
		case 'V':
			printf("batond %s\n", PACKAGE_VERSION);
			return 0;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs(help, stderr);
			return EX_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "batond: %s: no arguments are taken beside options\n", argv[optind]);
		return EX_USAGE;
	}
	umask(077);
	raise_descriptors();
	keep_freed_memory();
	json_object_seed(0); /* jansson would open a file for it at its first use */
	c = config_load(path, &why);
	if (!c) {
		fprintf(stderr, "%s\n", why.text);
		return EX_CONFIG;
	}
	return only_check ? check(c, path) : serve(c, path);
}
