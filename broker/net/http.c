/* How are /metrics, /healthz and /readyz served? See http.h. evhttp reads the requests; here are its limits, the
 * table of pages and the few headers of the answer. */
#include "config.h"

#include "net/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/address.h"
#include "net/loop_priv.h"

#define HEADERS_MAX 8192
#define REQUEST_BODY_MAX 1024
#define TIMEOUT_S 10
#define PAGE_MAX (8u << 20)

struct http {
	struct evhttp *server;
	const struct http_page *pages;
	size_t n;
	int port;
};

static void answer(struct evhttp_request *req, int status, const char *type, struct slice body)
{
	struct evkeyvalq *out = evhttp_request_get_output_headers(req);
	struct evbuffer *b = evbuffer_new();
	char length[24];

	snprintf(length, sizeof length, "%zu", body.n);
	evhttp_add_header(out, "Content-Type", type);
	evhttp_add_header(out, "Content-Length", length);
	evhttp_add_header(out, "Cache-Control", "no-store");
	evhttp_add_header(out, "X-Content-Type-Options", "nosniff");
	if (status == 405)
		evhttp_add_header(out, "Allow", "GET, HEAD");
	if (b && evhttp_request_get_command(req) != EVHTTP_REQ_HEAD)
		evbuffer_add(b, body.p, body.n);
	evhttp_send_reply(req, status, NULL, b);
	if (b)
		evbuffer_free(b);
}

static const struct http_page *find_page(const struct http *h, const char *path)
{
	for (size_t i = 0; path && i < h->n; i++)
		if (strcmp(h->pages[i].path, path) == 0)
			return &h->pages[i];
	return NULL;
}

static void render(struct evhttp_request *req, const struct http_page *page)
{
	struct buf body;
	int status;

	buf_init(&body, PAGE_MAX);
	status = page->render(page->arg, &body);
	if (body.failed)
		answer(req, 500, "text/plain", SLICE_LIT("the page is too large\n"));
	else
		answer(req, status, page->content_type, buf_slice(&body));
	buf_clear(&body);
}

static void on_request(struct evhttp_request *req, void *arg)
{
	const struct http *h = arg;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const struct http_page *page = uri ? find_page(h, evhttp_uri_get_path(uri)) : NULL;
	enum evhttp_cmd_type cmd = evhttp_request_get_command(req);

	if (cmd != EVHTTP_REQ_GET && cmd != EVHTTP_REQ_HEAD)
		answer(req, 405, "text/plain", SLICE_LIT("only GET and HEAD\n"));
	else if (!page)
		answer(req, 404, "text/plain", SLICE_LIT("no such page\n"));
	else
		render(req, page);
}

/* The listening socket becomes evhttp's. */
static int bind_to(struct http *h, const char *address, struct problem *why)
{
	struct sockaddr_storage sa;
	socklen_t n = sizeof sa;
	int fd;

	if (address_parse(address, &sa, &n) < 0)
		return problem_set(why, "%s is not a numeric address and port, like 127.0.0.1:9464", address);
	fd = address_listen(&sa, n, false);
	if (fd < 0)
		return problem_set(why, "cannot listen on %s: %s", address, strerror(errno));
	if (getsockname(fd, (struct sockaddr *)&sa, &n) < 0 || evhttp_accept_socket(h->server, fd) < 0) {
		close(fd);
		return problem_set(why, "cannot listen on %s", address);
	}
	h->port = address_port((struct sockaddr *)&sa);
	return 0;
}

struct http *http_listen(struct loop *l, const char *address, const struct http_page *pages, size_t n,
		struct problem *why)
{
	struct http *h = calloc(1, sizeof *h);

	loop_be_patient(); /* what serves pages has time */
	if (!h || !(h->server = evhttp_new(loop_base(l)))) {
		problem_set(why, "out of memory");
		goto out;
	}
	h->pages = pages;
	h->n = n;
	/* All methods, so that it is we who answer 405; evhttp's own answer is 501. */
	evhttp_set_allowed_methods(h->server, 0xffff);
	evhttp_set_max_headers_size(h->server, HEADERS_MAX);
	evhttp_set_max_body_size(h->server, REQUEST_BODY_MAX);
	evhttp_set_timeout(h->server, TIMEOUT_S);
	evhttp_set_gencb(h->server, on_request, h);
	if (bind_to(h, address, why) < 0)
		goto out;
	return h;
out:
	http_free(h);
	return NULL;
}

int http_port(const struct http *h)
{
	return h->port;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	if (h->server)
		evhttp_free(h->server);
	free(h);
}
