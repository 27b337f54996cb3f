/* What does an agent do in the network tests? A real TLS client of OpenSSL's with an HTTP/2 session on it, driven by
 * hand: it does nothing but what the test tells it. */
#ifndef BATON_TESTS_NET_CLIENT_H
#define BATON_TESTS_NET_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "net_pki.h"
#include "wire/grpc.h"
#include "wire/h2.h"

#define CLIENT_STREAMS 64
#define CLIENT_WAIT_MS 10000

struct client_stream {
	int32_t id;
	int http, status; /* grpc-status; -1 = none came */
	char message[128], details[128], encoding[32], retry_after[16];
	bool headers, data_seen, ended, closed;
	uint32_t code;
	bool refused;
	struct grpc_reader reader;
	struct buf last; /* the last message */
	unsigned messages;
	uint64_t bytes, held;
};

struct client_options {
	const struct pki_cert *cert;  /* NULL: none */
	const char *alpn;             /* wire format, "\2h2"; NULL: no ALPN */
	int max_version;              /* 0: TLS 1.3 */
	unsigned chain;               /* so many copies of the CA's certificate come after its own */
	bool small;                   /* small socket buffers, large HTTP/2 windows */
};

struct client {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	struct h2 *h2;
	struct client_stream streams[CLIENT_STREAMS];
	unsigned n;
	bool hold;                    /* takes data and opens no window */
	bool deaf;                    /* reads nothing */
	bool eof;
	unsigned goaways;
	int32_t last_stream;
	uint32_t goaway_code;
	char goaway_text[64];
	char error[160];              /* of the handshake or the connection */
};

extern const struct client_options client_no_cert;

/* Connects and shakes hands. 0; -1 with c->error. Even after 0 a TLS 1.3 server may refuse: client_wait_eof(). */
int client_open(struct client *c, int port, const struct pki *pki, const struct client_options *o);
int client_open_as(struct client *c, int port, const struct pki *pki, const struct pki_cert *cert);
void client_close(struct client *c);
/* Sends and receives until done(c) is true, the connection ends or CLIENT_WAIT_MS have passed. Whether done() was
 * true. */
bool client_run(struct client *c, bool (*done)(const struct client *c));
bool client_run_for(struct client *c, int ms); /* until the end or that long; true when the connection has ended */
bool client_wait_eof(struct client *c);

/* A gRPC request to path with these headers besides; its stream. */
struct client_stream *client_call(struct client *c, const char *path, const struct h2_header *more, size_t n, bool end);
/* Exactly these headers. */
struct client_stream *client_request(struct client *c, const struct h2_header *h, size_t n, bool end);
void client_send(struct client *c, struct client_stream *s, const void *p, size_t n, bool end);
/* Bytes as they are. */
void client_send_raw(struct client *c, struct client_stream *s, const void *p, size_t n, bool end);
void client_write_raw(struct client *c, const void *p, size_t n); /* straight into TLS, past HTTP/2 */
/* Until the stream is closed. */
bool client_finish(struct client *c, struct client_stream *s);
/* call, send, finish; the gRPC status. */
int client_unary(struct client *c, const char *path, const char *message);

#endif
