/* Does a fetch bring what it may, and refuse the rest: other schemes, other addresses, redirects, too much, too
 * slow, wrong keys? */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/fetch.h"
#include "net_pki.h"

static struct pki pki, stranger;
static struct pki_cert cert;
static struct loop *l;
static struct fetcher *f;
static int listen_fd, port;
static SSL_CTX *ctx;
static pthread_t thread;
static unsigned done_count;
static bool ok;
static long status;
static char body[256], why[128];
static size_t body_n;
static int64_t max_age;

/* ---- a tiny https server ---- */

static const char *answer_for(const char *request)
{
	static char big[40000];
	static const struct {
		const char *path, *answer;
	} table[] = {
		{"GET /ok ", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: public, max-age=600\r\n\r\nhello"},
		{"GET /plain ", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"},
		{"GET /nostore ",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=9, no-store\r\n\r\nhi"},
		{"GET /missing ", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"},
		{"GET /redirect ",
		"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/ok\r\nContent-Length: 0\r\n\r\n"},
		{"GET /announced ", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx"},
		{"GET /cut ", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"},
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (strncmp(request, table[i].path, strlen(table[i].path)) == 0)
			return table[i].answer;
	if (strncmp(request, "GET /endless ", 13) == 0) {
		snprintf(big, sizeof big, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%030000d", 0);
		return big;
	}
	return NULL; /* silence */
}

static void serve(int fd)
{
	char request[4096] = "";
	SSL *ssl = SSL_new(ctx);
	const char *answer;
	size_t n = 0;
	int got;

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1) {
		while (!strstr(request, "\r\n\r\n") && (got = SSL_read(ssl, request + n,
				(int)(sizeof request - 1 - n))) > 0) {
			n += (size_t)got;
			request[n] = '\0';
		}
		answer = answer_for(request);
		if (answer)
			SSL_write(ssl, answer, (int)strlen(answer));
		else
			SSL_read(ssl, request, sizeof request); /* until the client gives up */
	}
	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
}

static void *server_main(void *arg)
{
	int fd;

	while ((fd = accept(listen_fd, NULL, NULL)) >= 0)
		serve(fd);
	return NULL;
}

static void server_begin(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof in;

	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listen_fd, (struct sockaddr *)&in, sizeof in), 0);
	getsockname(listen_fd, (struct sockaddr *)&in, &n);
	port = ntohs(in.sin_port);
	assert_int_equal(listen(listen_fd, 16), 0);
	ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate_file(ctx, cert.cert_file, SSL_FILETYPE_PEM);
	SSL_CTX_use_PrivateKey_file(ctx, cert.key_file, SSL_FILETYPE_PEM);
	assert_int_equal(pthread_create(&thread, NULL, server_main, NULL), 0);
}

/* ---- the fetches ---- */

static void on_done(void *arg, const struct fetch_result *r)
{
	done_count++;
	ok = r->ok;
	status = r->status;
	body_n = r->body.n;
	slice_copy_str(r->body, body, sizeof body);
	snprintf(why, sizeof why, "%s", r->why);
	max_age = r->max_age_s;
	if (arg)
		loop_stop(l);
}

static struct fetch_rules rules(void)
{
	return (struct fetch_rules){.ca_file = pki.ca_file, .max_body = 20000, .timeout_ms = 5000,
		.allow_private = true};
}

static void get(const char *path, const struct fetch_rules *r)
{
	char url[256];

	snprintf(url, sizeof url, "https://127.0.0.1:%d%s", port, path);
	assert_true(fetch_get(f, url, r, on_done, l) != 0);
	assert_int_equal(done_count, 0); /* never inside the call */
	loop_run(l);
	assert_int_equal(done_count, 1);
}

static void test_ok(void **state)
{
	struct fetch_rules r = rules();

	get("/ok", &r);
	assert_true(ok);
	assert_int_equal(status, 200);
	assert_string_equal(body, "hello");
	assert_int_equal(max_age, 600);
}

static void test_no_age(void **state)
{
	struct fetch_rules r = rules();

	get("/plain", &r);
	assert_true(ok);
	assert_int_equal(max_age, -1);
}

static void test_no_store(void **state)
{
	struct fetch_rules r = rules();

	get("/nostore", &r);
	assert_true(ok);
	assert_int_equal(max_age, 0);
}

static void fails(const char *path, const struct fetch_rules *r, const char *text)
{
	get(path, r);
	assert_false(ok);
	assert_int_equal(body_n, 0);
	if (!strstr(why, text))
		fail_msg("\"%s\" does not say \"%s\"", why, text);
	assert_null(strstr(why, "127.0.0.1")); /* no URL in it */
}

static void test_not_found(void **state)
{
	struct fetch_rules r = rules();

	fails("/missing", &r, "not 200");
	assert_int_equal(status, 404);
}

static void test_redirect_is_refused(void **state)
{
	struct fetch_rules r = rules();

	fails("/redirect", &r, "redirected");
	assert_int_equal(status, 302);
}

static void test_too_large_announced(void **state)
{
	struct fetch_rules r = rules();

	fails("/announced", &r, "too large");
}

static void test_too_large_unannounced(void **state)
{
	struct fetch_rules r = rules();

	fails("/endless", &r, "too large");
	done_count = 0;
	r.max_body = 30000; /* the honest twin */
	get("/endless", &r);
	assert_true(ok);
	assert_int_equal(body_n, 30000);
}

static void test_cut_short(void **state)
{
	struct fetch_rules r = rules();

	fails("/cut", &r, "");
}

static void test_too_slow(void **state)
{
	struct fetch_rules r = rules();

	r.timeout_ms = 200;
	fails("/silence", &r, "timed out");
}

static void test_private_address_is_refused(void **state)
{
	struct fetch_rules r = rules();

	r.allow_private = false;
	fails("/ok", &r, "address is not allowed");
}

static void test_unknown_ca(void **state)
{
	struct fetch_rules r = rules();

	r.ca_file = stranger.ca_file;
	fails("/ok", &r, "");
	assert_int_equal(status, 0);
}

static void test_bad_urls(void **state)
{
	static const char *const bad[] = {"http://127.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1",
		"", "//127.0.0.1/",
					  "gopher://127.0.0.1/"};
	struct fetch_rules r = rules();
	char longest[4000] = "https://127.0.0.1/";

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(fetch_get(f, bad[i], &r, on_done, l), 0);
	memset(longest + strlen(longest), 'a', 3000);
	assert_int_equal(fetch_get(f, longest, &r, on_done, l), 0);
	r.timeout_ms = 0;
	assert_int_equal(fetch_get(f, "https://127.0.0.1/", &r, on_done, l), 0);
}

static void test_password_in_url(void **state)
{
	struct fetch_rules r = rules();
	char url[128];
	uint64_t id;

	snprintf(url, sizeof url, "https://user:secret@127.0.0.1:%d/ok", port);
	id = fetch_get(f, url, &r, on_done, l);
	if (id)
		loop_run(l);
	assert_false(ok);
	assert_null(strstr(why, "secret"));
}

/* What the environment says of proxies is not heard. */
static void test_proxy_variables_are_ignored(void **state)
{
	struct fetch_rules r = rules();

	setenv("https_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	get("/ok", &r);
	unsetenv("https_proxy");
	unsetenv("ALL_PROXY");
	assert_true(ok);
}

static void test_cap_and_cancel(void **state)
{
	struct fetch_rules r = rules();
	char url[128];
	uint64_t ids[64];

	snprintf(url, sizeof url, "https://127.0.0.1:%d/ok", port);
	for (int i = 0; i < 64; i++) {
		ids[i] = fetch_get(f, url, &r, on_done, NULL);
		assert_true(ids[i] != 0);
	}
	assert_int_equal(fetch_get(f, url, &r, on_done, l), 0);
	for (int i = 0; i < 64; i++)
		fetch_cancel(f, ids[i]);
	fetch_cancel(f, ids[0]); /* again: nothing */
	get("/ok", &r);
	assert_true(ok); /* the one that was asked for, and none of the cancelled */
}

static void test_free_under_way(void **state)
{
	struct fetch_rules r = rules();
	char url[128];

	snprintf(url, sizeof url, "https://127.0.0.1:%d/ok", port);
	for (int i = 0; i < 5; i++)
		assert_true(fetch_get(f, url, &r, on_done, l) != 0);
	fetcher_free(f);
	f = fetcher_new(l);
	assert_int_equal(done_count, 0);
}

static int setup(void **state)
{
	l = loop_new();
	f = fetcher_new(l);
	done_count = 0;
	ok = false;
	body_n = 0;
	return f ? 0 : -1;
}

static int teardown(void **state)
{
	fetcher_free(f);
	loop_free(l);
	return 0;
}

static int group_setup(void **state)
{
	pki_init(&pki);
	pki_init(&stranger);
	cert = pki_issue(&pki, "server", NULL, "127.0.0.1", 3600);
	setenv("SSL_CERT_DIR", pki.dir, 1); /* so that the machine's own certificates play no part */
	server_begin();
	return 0;
}

static int group_teardown(void **state)
{
	shutdown(listen_fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listen_fd);
	SSL_CTX_free(ctx);
	pki_clear(&pki);
	pki_clear(&stranger);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_ok), T(test_no_age), T(test_no_store), T(test_not_found), T(test_redirect_is_refused),
		T(test_too_large_announced), T(test_too_large_unannounced), T(test_cut_short), T(test_too_slow),
		T(test_private_address_is_refused), T(test_unknown_ca), T(test_bad_urls), T(test_password_in_url),
		T(test_proxy_variables_are_ignored), T(test_cap_and_cancel), T(test_free_under_way),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
