/* Are the pages served as http.h says, and nothing else? */
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
#include <sys/time.h>
#include <unistd.h>

#include "net/http.h"

static struct loop *l;
static struct http *h;
static pthread_t thread;
static char answer[65536];

static int metrics(void *arg, struct buf *b)
{
	buf_put_str(b, arg);
	return 200;
}

static int not_ready(void *arg, struct buf *b)
{
	buf_put_str(b, "starting\n");
	return 503;
}

static const struct http_page pages[] = {
	{"/metrics", "text/plain; version=0.0.4", metrics, "up 1\n"},
	{"/readyz", "text/plain", not_ready, NULL},
};

static void *turn(void *arg)
{
	loop_run(l);
	return NULL;
}

static int setup(void **state)
{
	struct problem why;

	l = loop_new();
	h = http_listen(l, "127.0.0.1:0", pages, 2, &why);
	return h ? pthread_create(&thread, NULL, turn, NULL) : -1;
}

static int teardown(void **state)
{
	loop_stop(l);
	pthread_join(thread, NULL);
	http_free(h);
	loop_free(l);
	return 0;
}

static void ask(const char *request)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
			.sin_port = htons((uint16_t)http_port(h))};
	struct timeval patience = {.tv_sec = 15};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t n = 0;
	ssize_t got;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	while (n < sizeof answer - 1 && (got = recv(fd, answer + n, sizeof answer - 1 - n, 0)) > 0)
		n += (size_t)got;
	answer[n] = '\0';
	close(fd);
}

static bool says(const char *text)
{
	return strstr(answer, text) != NULL;
}

static const char *content(void)
{
	const char *p = strstr(answer, "\r\n\r\n");

	return p ? p + 4 : "";
}

static void test_get(void **state)
{
	ask("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	assert_true(says("HTTP/1.1 200"));
	assert_true(says("Content-Type: text/plain; version=0.0.4\r\n"));
	assert_true(says("Content-Length: 5\r\n"));
	assert_string_equal(content(), "up 1\n");
}

static void test_head(void **state)
{
	ask("HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	assert_true(says("HTTP/1.1 200"));
	assert_true(says("Content-Length: 5\r\n"));
	assert_string_equal(content(), "");
}

static void test_status_of_the_page(void **state)
{
	ask("GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	assert_true(says("HTTP/1.1 503"));
	assert_string_equal(content(), "starting\n");
}

static void test_unknown_page(void **state)
{
	ask("GET /../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	assert_true(says("HTTP/1.1 404"));
	ask("GET /metrics/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	assert_true(says("HTTP/1.1 404"));
}

static void test_other_methods(void **state)
{
	static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
	char request[128];

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		snprintf(request, sizeof request,
			"%s /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			 methods[i]);
		ask(request);
		if (!says("HTTP/1.1 405"))
			fail_msg("%s: %s", methods[i], answer);
		assert_null(strstr(answer, "up 1"));
	}
}

static void test_large_headers(void **state)
{
	char *request = malloc(20000);
	int n = sprintf(request, "GET /metrics HTTP/1.1\r\nHost: a\r\nX: ");

	memset(request + n, 'x', 16000);
	strcpy(request + n + 16000, "\r\nConnection: close\r\n\r\n");
	ask(request);
	assert_false(says("up 1"));
	assert_false(says("HTTP/1.1 200"));
	free(request);
}

static void test_large_body(void **state)
{
	ask("GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\nConnection: close\r\n\r\n");
	assert_false(says("up 1"));
}

static void test_bad_addresses(void **state)
{
	static const char *const bad[] = {"", "9464", "localhost", ":9464", "127.0.0.1:99999", "127.0.0.1:x", "[::1:1"};
	struct problem why;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_null(http_listen(l, bad[i], pages, 2, &why));
}

static void test_address_in_use(void **state)
{
	struct problem why;
	char address[64];

	snprintf(address, sizeof address, "127.0.0.1:%d", http_port(h));
	assert_null(http_listen(l, address, pages, 2, &why));
	assert_non_null(strstr(why.text, "in use"));
}

static int setup_alone(void **state)
{
	struct problem why;

	l = loop_new();
	h = http_listen(l, "127.0.0.1:0", pages, 2, &why);
	return h ? 0 : -1;
}

static int teardown_alone(void **state)
{
	http_free(h);
	loop_free(l);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_get), T(test_head), T(test_status_of_the_page), T(test_unknown_page), T(test_other_methods),
		T(test_large_headers), T(test_large_body),
		cmocka_unit_test_setup_teardown(test_bad_addresses, setup_alone, teardown_alone),
		cmocka_unit_test_setup_teardown(test_address_in_use, setup_alone, teardown_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
