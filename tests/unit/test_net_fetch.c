/* Does a fetch bring what it may, and refuse the rest: other schemes, other addresses, redirects, too much, too
 * slow, wrong keys? Names that end in .test are resolved here, so that they lead wherever a test wants. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/fetch.h"
#include "net_pki.h"

static struct pki pki, stranger;
static struct pki_cert cert, named, expired;
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
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char asked[4096];       /* the last request; under lock */
static atomic_uint connections; /* that reached the server */

/* ---- names ---- */

static struct addrinfo *one_address(const char *text, const char *service)
{
	struct {
		struct addrinfo ai;
		struct sockaddr_storage sa;
	} *a = calloc(1, sizeof *a); /* one block, as freeaddrinfo() expects it */
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a->sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->sa;
	bool is6 = strchr(text, ':') != NULL;

	a->ai = (struct addrinfo){.ai_family = is6 ? AF_INET6 : AF_INET, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP,
		.ai_addrlen = is6 ? sizeof *v6 : sizeof *v4, .ai_addr = (struct sockaddr *)&a->sa};
	a->sa.ss_family = (sa_family_t)a->ai.ai_family;
	v4->sin_port = htons((uint16_t)atoi(service)); /* the port of both is at the same place */
	if (inet_pton(a->ai.ai_family, text, is6 ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr) != 1)
		abort();
	return &a->ai;
}

/* libcurl's resolver calls this one. */
__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
						       struct addrinfo **res)
{
	static const struct {
		const char *name, *addresses[3];
	} table[] = {
		{"good.test", {"127.0.0.1"}},
		{"other.test", {"127.0.0.1"}},
		{"metadata.test", {"169.254.169.254"}},
		{"mapped.test", {"::ffff:169.254.169.254"}},
		{"nat64.test", {"64:ff9b::a9fe:a9fe"}},
		{"linklocal.test", {"fe80::1"}},
		{"aws6.test", {"fd00:ec2::254"}},
		{"unspecified.test", {"0.0.0.0"}},
		{"unspecified6.test", {"::"}},
		{"mixed.test", {"169.254.169.254", "127.0.0.1"}},
	};

	(void)hints;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		if (strcmp(node, table[i].name) != 0)
			continue;
		*res = NULL;
		for (const char *const *a = table[i].addresses; *a; a++) {
			struct addrinfo **last = res;

			while (*last)
				last = &(*last)->ai_next;
			*last = one_address(*a, service);
		}
		return 0;
	}
	return EAI_NONAME;
}

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
		{"GET /moved ", "HTTP/1.1 301 Moved\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n"},
		{"GET /temporary ", "HTTP/1.1 307 Temporary\r\nLocation: ok\r\nContent-Length: 2\r\n\r\nhi"},
		{"GET /permanent ", "HTTP/1.1 308 Permanent\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"},
		{"GET /empty ", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"GET /part ", "HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nhi"},
		{"GET /cookie ", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nAlt-Svc: h2=\":1\"\r\n\r\nhi"},
		{"GET /packed ", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\nplain"},
		{"GET /old ", "just text, as HTTP/0.9 had it"},
		{"GET /twice ", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=600\r\nCache-Control: max-age=700x\r\n\r\nhi"},
		{"GET /announced ", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx"},
		{"POST /ok ", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsaid"},
		{"POST /temporary ", "HTTP/1.1 307 Temporary\r\nLocation: ok\r\nContent-Length: 2\r\n\r\nhi"},
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

/* A line at a time without end, or a byte at a time: until the client has enough. */
static bool served_slowly(SSL *ssl, const char *request)
{
	static const char lines[] = "X-More: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
	static const char interim[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload, </bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb>; rel=preload\r\n\r\n";
	static const char drip[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";

	if (strncmp(request, "GET /headers ", 13) == 0) {
		SSL_write(ssl, "HTTP/1.1 200 OK\r\n", 17);
		while (SSL_write(ssl, lines, sizeof lines - 1) > 0)
			;
	} else if (strncmp(request, "GET /interim ", 13) == 0) {
		while (SSL_write(ssl, interim, sizeof interim - 1) > 0)
			;
	} else if (strncmp(request, "GET /drip ", 10) == 0) {
		for (size_t i = 0; i < sizeof drip - 1 && SSL_write(ssl, drip + i, 1) > 0; i++)
			usleep(10000);
	} else {
		return false;
	}
	return true;
}

#define FORM "token=a%2Bb&end=1"

/* A GET's headers, or a POST's and FORM. */
static bool is_whole(const char *request)
{
	const char *end = strstr(request, "\r\n\r\n");

	return end && (strncmp(request, "POST ", 5) != 0 || strstr(end, "&end=1"));
}

static void serve(int fd)
{
	char request[sizeof asked] = "";
	SSL *ssl = SSL_new(ctx);
	const char *answer;
	size_t n = 0;
	int got;

	connections++;
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1) {
		while (!is_whole(request) && (got = SSL_read(ssl, request + n,
				(int)(sizeof request - 1 - n))) > 0) {
			n += (size_t)got;
			request[n] = '\0';
		}
		pthread_mutex_lock(&lock);
		memcpy(asked, request, sizeof asked);
		pthread_mutex_unlock(&lock);
		answer = answer_for(request);
		if (answer)
			SSL_write(ssl, answer, (int)strlen(answer));
		else if (!served_slowly(ssl, request))
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

/* What the server shows from the next connection on. */
static void show(const struct pki_cert *c)
{
	assert_int_equal(SSL_CTX_use_certificate_file(ctx, c->cert_file, SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, c->key_file, SSL_FILETYPE_PEM), 1);
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
	show(&cert);
	assert_int_equal(pthread_create(&thread, NULL, server_main, NULL), 0);
}

static const char *last_request(void)
{
	static char copy[sizeof asked];

	pthread_mutex_lock(&lock);
	memcpy(copy, asked, sizeof copy);
	pthread_mutex_unlock(&lock);
	return copy;
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

static void get_from(const char *host, const char *path, const struct fetch_rules *r)
{
	char url[256];

	done_count = 0;
	snprintf(url, sizeof url, "https://%s:%d%s", host, port, path);
	assert_true(fetch_get(f, url, r, on_done, l) != 0);
	assert_int_equal(done_count, 0); /* never inside the call */
	loop_run(l);
	assert_int_equal(done_count, 1);
}

static void get(const char *path, const struct fetch_rules *r)
{
	get_from("127.0.0.1", path, r);
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

static void fails_from(const char *host, const char *path, const struct fetch_rules *r, const char *text)
{
	get_from(host, path, r);
	assert_false(ok);
	assert_int_equal(body_n, 0);
	if (!strstr(why, text))
		fail_msg("\"%s\" does not say \"%s\"", why, text);
	assert_null(strstr(why, host)); /* no URL in it */
}

static void fails(const char *path, const struct fetch_rules *r, const char *text)
{
	fails_from("127.0.0.1", path, r, text);
}

static void works_from(const char *host, const struct fetch_rules *r)
{
	get_from(host, "/ok", r);
	if (!ok)
		fail_msg("%s: %s", host, why);
	assert_string_equal(body, "hello");
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

/* Not even to the same origin: what an issuer publishes is where its configured URL says. */
static void test_redirects_of_every_kind_are_refused(void **state)
{
	static const char *const paths[] = {"/redirect", "/moved", "/temporary", "/permanent"};
	struct fetch_rules r = rules();
	unsigned before = connections;

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		fails(paths[i], &r, "redirected");
	assert_int_equal(connections - before, sizeof paths / sizeof paths[0]); /* and no second request was made */
	works_from("127.0.0.1", &r);
}

static void test_only_a_200_counts(void **state)
{
	struct fetch_rules r = rules();

	fails("/empty", &r, "not 200");
	assert_int_equal(status, 204);
	fails("/part", &r, "not 200");
	assert_int_equal(status, 206);
	fails("/old", &r, "");
	works_from("127.0.0.1", &r);
}

static void test_a_malformed_age_counts_as_not_said(void **state)
{
	struct fetch_rules r = rules();

	get("/twice", &r);
	assert_true(ok);
	assert_int_equal(max_age, -1);
}

static void test_headers_without_end(void **state)
{
	struct fetch_rules r = rules();

	r.timeout_ms = 60000; /* it is the size that ends it */
	fails("/headers", &r, "too large");
	fails("/interim", &r, "too large");
	works_from("127.0.0.1", &r);
}

/* Never idle, and yet the time is bounded in all. */
static void test_a_drip_is_bounded_in_all(void **state)
{
	struct fetch_rules r = rules();

	r.timeout_ms = 300;
	fails("/drip", &r, "timed out");
	r.timeout_ms = 60000;
	get("/drip", &r);
	assert_true(ok);
	assert_string_equal(body, "0123456789");
}

/* Nothing is asked for packed and nothing unpacked: a bomb stays as small as it came. */
static void test_nothing_is_unpacked(void **state)
{
	struct fetch_rules r = rules();

	get("/packed", &r);
	assert_true(ok);
	assert_string_equal(body, "plain");
	assert_null(strcasestr(last_request(), "accept-encoding"));
}

/* No cookies, no alternative services, no .netrc: a request says no more than what is asked for, and by whom. */
static void test_nothing_is_remembered_or_told(void **state)
{
	struct fetch_rules r = rules();
	char path[128], *home = getenv("HOME");
	FILE *netrc;

	home = home ? strdup(home) : NULL;
	snprintf(path, sizeof path, "%s/.netrc", pki.dir);
	netrc = fopen(path, "w");
	assert_non_null(netrc);
	fputs("machine 127.0.0.1 login me password sesame\n", netrc);
	fclose(netrc);
	setenv("HOME", pki.dir, 1);
	get("/cookie", &r);
	assert_true(ok);
	get("/ok", &r);
	assert_true(ok);
	if (home)
		setenv("HOME", home, 1);
	free(home);
	assert_non_null(strstr(last_request(), "GET /ok HTTP/1.1\r\n"));
	assert_null(strcasestr(last_request(), "cookie"));
	assert_null(strcasestr(last_request(), "authorization"));
	assert_null(strcasestr(last_request(), "referer"));
}

static void post(const char *path, const struct fetch_rules *r)
{
	char url[128], form[] = FORM;

	snprintf(url, sizeof url, "https://127.0.0.1:%d%s", port, path);
	done_count = 0;
	assert_true(fetch_post(f, url, r, slice_str(form), on_done, l) != 0);
	memset(form, 'x', sizeof form); /* it was copied */
	loop_run(l);
	assert_int_equal(done_count, 1);
}

static void test_a_form_is_posted_with_credentials(void **state)
{
	struct fetch_rules r = rules();
	char value[] = "Basic abc";

	r.authorization = value;
	post("/ok", &r);
	assert_true(ok);
	assert_string_equal(body, "said");
	assert_non_null(strstr(last_request(), "POST /ok HTTP/1.1\r\n"));
	assert_non_null(strstr(last_request(), "\r\nAuthorization: Basic abc\r\n"));
	assert_non_null(strstr(last_request(), "\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
	assert_non_null(strstr(last_request(), "\r\n\r\n" FORM));
	get("/ok", &(struct fetch_rules){.ca_file = pki.ca_file, .max_body = 20000, .timeout_ms = 5000, .allow_private = true});
	assert_null(strcasestr(last_request(), "authorization"));
}

/* What was posted goes to no other URL. */
static void test_a_form_follows_no_redirect(void **state)
{
	struct fetch_rules r = rules();
	unsigned before;

	before = connections;
	post("/temporary", &r);
	assert_false(ok);
	assert_int_equal(status, 307);
	assert_int_equal(connections, before + 1);
}

static void test_a_certificate_that_cannot_be_read_sends_nothing(void **state)
{
	struct fetch_rules r = rules();

	r.cert_file = cert.cert_file;
	r.key_file = named.key_file; /* another's */
	memset(asked, 0, sizeof asked);
	post("/ok", &r);
	assert_false(ok);
	assert_int_equal(status, 0);
	assert_string_equal(last_request(), "");
	r.key_file = cert.key_file;
	post("/ok", &r);
	assert_true(ok);
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

/* ---- where a name leads: the address is judged when the socket opens, not the text of the URL ---- */

static void test_names_that_lead_to_private_addresses(void **state)
{
	static const char *const forms[] = {"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"};
	struct fetch_rules open = rules(), shut = rules();
	unsigned before;

	shut.allow_private = false;
	show(&named);
	before = connections;
	fails_from("good.test", "/ok", &shut, "address is not allowed");
	assert_int_equal(connections, before);
	works_from("good.test", &open);
	show(&cert);
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		before = connections;
		fails_from(forms[i], "/ok", &shut, "address is not allowed");
		assert_int_equal(connections, before);
		works_from(forms[i], &open);
	}
}

/* RFC 6890; metadata services; IPv4 inside IPv6. Not even where private addresses are allowed. */
static void test_names_that_lead_where_no_fetch_goes(void **state)
{
	static const char *const hosts[] = {
		"metadata.test", "mapped.test", "nat64.test", "linklocal.test", "aws6.test", "unspecified.test", "unspecified6.test",
		"169.254.169.254", "0.0.0.0", "2852039166", "[::ffff:169.254.169.254]", "[fe80::1]", "[::]",
	};
	struct fetch_rules r = rules();
	unsigned before = connections;

	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
		fails_from(hosts[i], "/ok", &r, "address is not allowed");
	assert_int_equal(connections, before);
	works_from("127.0.0.1", &r);
}

/* The address that is allowed is used; to the other one no socket is opened. */
static void test_a_name_with_two_addresses(void **state)
{
	struct fetch_rules open = rules(), shut = rules();
	struct pki_cert mixed = pki_issue(&pki, "mixed", NULL, "mixed.test", 3600);

	show(&mixed);
	works_from("mixed.test", &open);
	shut.allow_private = false;
	fails_from("mixed.test", "/ok", &shut, "address is not allowed");
	show(&cert);
}

/* ---- who answers ---- */

static void test_a_certificate_for_another_name(void **state)
{
	struct fetch_rules r = rules();

	show(&named);
	fails_from("other.test", "/ok", &r, "");
	assert_int_equal(status, 0);
	works_from("good.test", &r);
	show(&cert);
}

static void test_an_expired_certificate(void **state)
{
	struct fetch_rules r = rules();

	show(&expired);
	fails("/ok", &r, "");
	assert_int_equal(status, 0);
	show(&cert);
	works_from("127.0.0.1", &r);
}

static void test_tls_older_than_1_2(void **state)
{
	struct fetch_rules r = rules();

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
	fails("/ok", &r, "");
	assert_int_equal(status, 0);
	SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	works_from("127.0.0.1", &r);
	SSL_CTX_set_max_proto_version(ctx, 0);
	works_from("127.0.0.1", &r);
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

	static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		setenv(names[i], "http://127.0.0.1:1", 1);
	get("/ok", &r);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		unsetenv(names[i]);
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
	signal(SIGPIPE, SIG_IGN);
	cert = pki_issue(&pki, "server", NULL, "127.0.0.1", 3600);
	named = pki_issue(&pki, "named", NULL, "good.test", 3600);
	expired = pki_issue(&pki, "expired", NULL, "127.0.0.1", -3600);
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

/* So that no policy of the machine's stands in for the fetch's own: OpenSSL would speak everything. */
static void allow_old_tls(void)
{
	static const char text[] = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n"
				   "MinProtocol = TLSv1\nCipherString = ALL@SECLEVEL=0\n";
	char name[] = "/tmp/baton-openssl-XXXXXX";
	int fd = mkstemp(name);

	if (fd < 0 || write(fd, text, sizeof text - 1) != (ssize_t)sizeof text - 1)
		abort();
	close(fd);
	setenv("OPENSSL_CONF", name, 1);
	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL);
	unlink(name);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_ok), T(test_no_age), T(test_no_store), T(test_not_found), T(test_redirect_is_refused),
		T(test_too_large_announced), T(test_too_large_unannounced), T(test_cut_short), T(test_too_slow),
		T(test_redirects_of_every_kind_are_refused), T(test_only_a_200_counts), T(test_a_malformed_age_counts_as_not_said),
		T(test_headers_without_end), T(test_a_drip_is_bounded_in_all), T(test_nothing_is_unpacked),
		T(test_nothing_is_remembered_or_told), T(test_a_form_is_posted_with_credentials), T(test_a_form_follows_no_redirect),
		T(test_a_certificate_that_cannot_be_read_sends_nothing), T(test_names_that_lead_to_private_addresses),
		T(test_names_that_lead_where_no_fetch_goes), T(test_a_name_with_two_addresses), T(test_a_certificate_for_another_name),
		T(test_an_expired_certificate), T(test_tls_older_than_1_2),
		T(test_private_address_is_refused), T(test_unknown_ca), T(test_bad_urls), T(test_password_in_url),
		T(test_proxy_variables_are_ignored), T(test_cap_and_cancel), T(test_free_under_way),
	};

	allow_old_tls();
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
