/* How are /metrics, /healthz and /readyz served? By libevent's evhttp on a loop of its own choosing: plain HTTP/1.1, GET only, on the
 * address the configuration names (loopback by default). */
#ifndef BATON_NET_HTTP_H
#define BATON_NET_HTTP_H

#include "base/buf.h"
#include "base/problem.h"
#include "net/loop.h"

struct http;

struct http_page {
	const char *path;
	const char *content_type;
	/* Fills in body; returns the HTTP status. */
	int (*render)(void *arg, struct buf *body);
	void *arg;
};

/* pages: borrowed, must outlive it. */
struct http *http_listen(struct loop *l, const char *address, const struct http_page *pages, size_t n, struct problem *why);
int http_port(const struct http *h);
void http_free(struct http *h);

#endif
