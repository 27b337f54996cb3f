/* What does a peer cost the server that it connects to? Makes full mutual handshakes one after the other, or holds many connections with an
 * open subscription each, while somebody else (tests/figures) reads the server's processor time and memory. By hand:
 *
 *   bench_peers shake ADDR CA CERT KEY N         N handshakes, until the server's first byte each
 *   bench_peers hold ADDR CA CERT KEY N ROUTE    says "ready" when all are open, stays until standard input ends */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "client/conn.h"
#include "client/pb.h"

#define CONNECT_MS 30000

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_peers: %s: %s\n", what, why);
	exit(1);
}

static int dial(const char *addr)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	const char *colon = strrchr(addr, ':');
	char host[64];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!colon || (size_t)(colon - addr) >= sizeof host)
		die(addr, "not an address and a port");
	memcpy(host, addr, (size_t)(colon - addr));
	host[colon - addr] = '\0';
	in.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &in.sin_addr) != 1 || fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof in) < 0)
		die(addr, "cannot be reached");
	return fd;
}

/* With TLS 1.3 only the first byte after it proves that the server has checked our certificate. */
static void shake(const struct client_creds *creds, const char *addr)
{
	int fd = dial(addr);
	SSL *ssl = client_creds_ssl(creds, "127.0.0.1");
	char byte;

	if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1 || SSL_read(ssl, &byte, 1) != 1)
		die(addr, "the handshake failed");
	SSL_free(ssl);
	close(fd);
}

static void on_message(void *user, struct client_call *call, struct slice message)
{
	(void)call;
	(void)message;
	*(bool *)user = true; /* BrokerFrame.opened */
}

static void on_end(void *user, struct client_call *call, const struct client_status *s)
{
	(void)user;
	(void)call;
	die("a subscription ended", s->message);
}

static const struct client_call_events events = {.on_message = on_message, .on_end = on_end};

static struct client *subscribe(const struct client_creds *creds, const char *addr, const char *route)
{
	bool opened = false;
	struct client_call_spec spec = {.path = "/baton.v1.HandoffService/Subscribe", .events = &events, .user = &opened};
	int64_t until = clock_mono_ms() + CONNECT_MS;
	struct client_error why;
	struct client *c = client_new(creds, addr, &why);
	struct client_call *call;
	struct buf open, frame;

	if (!c || client_connect(c, until, &why))
		die(addr, why.what);
	buf_init(&open, 1024);
	buf_init(&frame, 1024);
	pb_put_bytes(&open, 1, slice_str(route));
	pb_put_varint(&open, 2, 1);
	pb_put_bytes(&frame, 1, buf_slice(&open));
	call = client_call_start(c, &spec);
	if (!call)
		die(addr, "no call can be made");
	client_call_send(call, buf_slice(&frame));
	while (!opened && client_wait(c, until))
		;
	if (!opened)
		die(addr, "the subscription was not opened");
	buf_clear(&open);
	buf_clear(&frame);
	return c;
}

/* Answers the server's PINGs meanwhile. */
static void stay(struct client **all, size_t n)
{
	struct pollfd *p = calloc(n + 1, sizeof *p);

	if (!p)
		die("stay", "out of memory");
	p[n] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	while (!p[n].revents) {
		for (size_t i = 0; i < n; i++)
			p[i] = (struct pollfd){.fd = client_fd(all[i]), .events = client_events(all[i])};
		if (poll(p, n + 1, 1000) < 0)
			die("stay", "poll failed");
		for (size_t i = 0; i < n; i++)
			if (p[i].revents)
				client_io(all[i]);
	}
	free(p);
}

static void hold(const struct client_creds *creds, const char *addr, size_t n, const char *route)
{
	struct rlimit many = {n + 64, n + 64};
	struct client **all = calloc(n, sizeof(struct client *));

	if (!all)
		die("hold", "out of memory");
	setrlimit(RLIMIT_NOFILE, &many); /* where it may not be raised, connecting will say so */
	for (size_t i = 0; i < n; i++)
		all[i] = subscribe(creds, addr, route);
	printf("ready\n");
	fflush(stdout);
	stay(all, n);
	for (size_t i = 0; i < n; i++)
		client_free(all[i]);
	free(all);
}

int main(int argc, char **argv)
{
	struct client_creds *creds;
	struct client_error why;
	long n;

	if (argc < 7 || (n = atol(argv[6])) < 1 || (strcmp(argv[1], "shake") && (strcmp(argv[1], "hold") || argc != 8))) {
		fprintf(stderr, "bench_peers shake ADDR CA CERT KEY N | hold ADDR CA CERT KEY N ROUTE\n");
		return 64;
	}
	creds = client_creds_load(argv[3], argv[4], argv[5], &why);
	if (!creds)
		die(argv[4], why.what);
	if (argv[1][0] == 'h')
		hold(creds, argv[2], (size_t)n, argv[7]);
	for (long i = 0; argv[1][0] == 's' && i < n; i++)
		shake(creds, argv[2]);
	client_creds_free(creds);
	return 0;
}
