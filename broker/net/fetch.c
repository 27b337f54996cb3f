/* How does Baton fetch a URL? See fetch.h. libcurl's multi interface tells which descriptors and which timer it
 * wants; the loop tells it what happened. Each transfer's options are set here and nowhere else, so that no caller
 * can forget one. A URL is never logged: its query may hold a secret. */
#include "config.h"

#include "net/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/secret.h"
#include "base/slots.h"
#include "net/fetch_addr.h"

#define FETCHES_MAX 64
#define URL_MAX 2048
#define HEADERS_MAX 65536 /* bytes of an answer's header lines */

struct fetch {
	struct fetcher *fetcher;
	uint64_t id;
	CURL *easy;
	bool allow_private;
	char *ca_file;
	struct curl_slist *headers;
	char *form;                 /* what is posted; NULL: it is a GET */
	size_t form_n;
	bool address_refused, too_large;
	size_t header_bytes;
	int64_t max_age_s;
	struct buf body;
	void (*done)(void *arg, const struct fetch_result *r);
	void *arg;
};

struct fetcher {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer;
	struct slots *fetches;
};

/* A descriptor that libcurl watches. */
struct watch {
	struct fetcher *fetcher;
	curl_socket_t fd;
	struct loop_fd *loop_fd;
};

static void headers_free(struct curl_slist *headers)
{
	for (struct curl_slist *h = headers; h; h = h->next)
		secret_wipe(h->data, strlen(h->data));
	curl_slist_free_all(headers);
}

static void fetch_free(struct fetch *f)
{
	slots_drop(f->fetcher->fetches, f->id);
	if (f->easy) {
		curl_multi_remove_handle(f->fetcher->multi, f->easy);
		curl_easy_cleanup(f->easy);
	}
	buf_clear(&f->body);
	headers_free(f->headers);
	secret_wipe(f->form, f->form_n);
	free(f->form);
	free(f->ca_file);
	free(f);
}

/* ---- what comes ---- */

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
	struct fetch *f = user;

	if (buf_put(&f->body, p, size * n))
		return size * n;
	f->too_large = true;
	return 0; /* ends the transfer */
}

/* "max-age=600" among Cache-Control's directives (RFC 9111 §5.2.2.1); a repeated or malformed one counts as not
 * said. */
static int64_t max_age_of(const char *p, size_t n)
{
	char text[256], *save = NULL;
	int64_t age = -1;

	if (!slice_copy_str(slice_of(p, n), text, sizeof text))
		return -1;
	for (char *d = strtok_r(text, ", \t\r\n", &save); d; d = strtok_r(NULL, ", \t\r\n", &save)) {
		char *end;

		if (strcasecmp(d, "no-store") == 0 || strcasecmp(d, "no-cache") == 0)
			return 0;
		if (strncasecmp(d, "max-age=", 8) != 0)
			continue;
		long v = strtol(d + 8, &end, 10);
		if (end == d + 8 || *end || v < 0 || age >= 0)
			return -1;
		age = v;
	}
	return age;
}

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
	static const char name[] = "cache-control:";
	struct fetch *f = user;
	size_t len = size * n;

	f->header_bytes += len;
	if (f->header_bytes > HEADERS_MAX) {
		f->too_large = true;
		return 0; /* ends the transfer */
	}
	if (len > sizeof name - 1 && strncasecmp(p, name, sizeof name - 1) == 0)
		f->max_age_s = max_age_of(p + sizeof name - 1, len - (sizeof name - 1));
	return len;
}

static curl_socket_t on_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct fetch *f = user;

	if (purpose == CURLSOCKTYPE_IPCXN && fetch_address_allowed(&a->addr, f->allow_private))
		return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	f->address_refused = true;
	return CURL_SOCKET_BAD;
}

/* ---- the end of a transfer ---- */

static const char *why_of(const struct fetch *f, CURLcode rc, long status)
{
	if (f->too_large || rc == CURLE_FILESIZE_EXCEEDED)
		return "the answer is too large";
	if (rc == CURLE_OPERATION_TIMEDOUT)
		return "timed out";
	if (rc != CURLE_OK && f->address_refused)
		return "the address is not allowed";
	if (rc != CURLE_OK)
		return curl_easy_strerror(rc); /* static, and without the URL */
	if (status >= 300 && status < 400)
		return "redirected";
	return status == 200 ? "" : "the status is not 200";
}

static void finish(struct fetch *f, CURLcode rc)
{
	struct fetch_result r = {.max_age_s = f->max_age_s};
	void (*done)(void *, const struct fetch_result *) = f->done;
	void *arg = f->arg;
	struct buf body = f->body;

	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &r.status);
	r.why = why_of(f, rc, r.status);
	r.ok = rc == CURLE_OK && r.status == 200;
	if (r.ok)
		r.body = buf_slice(&body);
	buf_init(&f->body, 0);
	fetch_free(f);
	done(arg, &r); /* may start and cancel others */
	buf_clear(&body);
}

static void gather(struct fetcher *f)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(f->multi, &left))) {
		struct fetch *one = NULL;
		CURLcode rc = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&one);
		finish(one, rc);
	}
}

/* ---- libcurl on the loop ---- */

static void act(struct fetcher *f, curl_socket_t fd, int what)
{
	int running;

	curl_multi_socket_action(f->multi, fd, what, &running);
	gather(f);
}

static void on_ready(void *arg, int what)
{
	struct watch *w = arg;

	act(w->fetcher, w->fd, (what & LOOP_READ ? CURL_CSELECT_IN : 0) | (what & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void watch_end(struct fetcher *f, curl_socket_t fd, struct watch *w)
{
	if (!w)
		return;
	curl_multi_assign(f->multi, fd, NULL);
	loop_fd_free(w->loop_fd);
	free(w);
}

static struct watch *watch_begin(struct fetcher *f, curl_socket_t fd)
{
	struct watch *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	*w = (struct watch){.fetcher = f, .fd = fd};
	w->loop_fd = loop_fd_new(f->loop, fd, on_ready, w);
	if (!w->loop_fd || curl_multi_assign(f->multi, fd, w) != CURLM_OK) {
		loop_fd_free(w->loop_fd);
		free(w);
		return NULL;
	}
	return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
	struct fetcher *f = user;
	struct watch *w = socket_user;

	if (what == CURL_POLL_REMOVE) {
		watch_end(f, fd, w);
		return 0;
	}
	if (!w)
		w = watch_begin(f, fd);
	if (!w)
		return -1;
	loop_fd_want(w->loop_fd, (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0));
	return 0;
}

static int on_set_timer(CURLM *multi, long ms, void *user)
{
	struct fetcher *f = user;

	if (ms < 0)
		loop_timer_stop(f->timer);
	else
		loop_timer_set(f->timer, ms);
	return 0;
}

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct fetcher *fetcher_new(struct loop *l)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct fetcher *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	pthread_once(&once, global_init);
	f->loop = l;
	f->timer = loop_timer_new(l, on_timer, f);
	f->fetches = slots_new(FETCHES_MAX);
	f->multi = curl_multi_init();
	if (!f->timer || !f->fetches || !f->multi) {
		fetcher_free(f);
		return NULL;
	}
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_set_timer);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, 8L);
	return f;
}

static void drop_one(void *arg, uint64_t id, void *thing)
{
	fetch_free(thing);
}

void fetcher_free(struct fetcher *f)
{
	if (!f)
		return;
	if (f->fetches)
		slots_each(f->fetches, drop_one, f);
	if (f->multi)
		curl_multi_cleanup(f->multi);
	loop_timer_free(f->timer);
	slots_free(f->fetches);
	free(f);
}

/* ---- asking ---- */

static bool url_is_good(const char *url, bool http)
{
	return strlen(url) <= URL_MAX && (strncasecmp(url, "https://", 8) == 0 || (http && strncasecmp(url, "http://", 7) == 0));
}

static bool add_header(struct fetch *f, const char *line)
{
	struct curl_slist *longer = curl_slist_append(f->headers, line);

	f->headers = longer ? longer : f->headers;
	return longer;
}

static bool add_authorization(struct fetch *f, const char *value)
{
	static const char name[] = "Authorization: ";
	size_t size = sizeof name + strlen(value);
	char *line = malloc(size);
	bool ok = false;

	if (line) {
		memcpy(line, name, sizeof name - 1);
		memcpy(line + sizeof name - 1, value, size - sizeof name + 1);
		ok = add_header(f, line);
		secret_wipe(line, size);
	}
	free(line);
	return ok;
}

static bool add_pair(struct fetch *f, const char *name, const char *value)
{
	char line[128];
	int n = snprintf(line, sizeof line, "%s: %s", name, value);

	return n > 0 && (size_t)n < sizeof line && add_header(f, line);
}

/* What is sent beside the URL, and who says so. */
static bool set_request(struct fetch *f, const struct fetch_rules *r)
{
	struct curl_blob cert = {(void *)(uintptr_t)r->cert_pem.p, r->cert_pem.n, CURL_BLOB_NOCOPY}, key = {(void *)(uintptr_t)r->key_pem.p, r->key_pem.n, CURL_BLOB_NOCOPY};
	CURL *e = f->easy;
	bool ok = !r->authorization || add_authorization(f, r->authorization);

	if (f->form) {
		ok &= add_pair(f, "Accept", r->accept ? r->accept : "application/json") && add_header(f, "Expect:");
		ok &= !r->content_type || add_pair(f, "Content-Type", r->content_type);
		ok &= curl_easy_setopt(e, CURLOPT_POST, 1L) == CURLE_OK;
		ok &= curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->form_n) == CURLE_OK;
		ok &= curl_easy_setopt(e, CURLOPT_POSTFIELDS, f->form) == CURLE_OK; /* not copied */
	}
	if (f->headers)
		ok &= curl_easy_setopt(e, CURLOPT_HTTPHEADER, f->headers) == CURLE_OK;
	if (r->cert_file)
		ok &= curl_easy_setopt(e, CURLOPT_SSLCERT, r->cert_file) == CURLE_OK && curl_easy_setopt(e, CURLOPT_SSLKEY, r->key_file) == CURLE_OK;
	if (r->cert_pem.n)
		ok &= curl_easy_setopt(e, CURLOPT_SSLCERT_BLOB, &cert) == CURLE_OK && curl_easy_setopt(e, CURLOPT_SSLKEY_BLOB, &key) == CURLE_OK;
	return ok;
}

/* Whether all were taken: one that is refused would mean a libcurl without the protection that it asks for. */
static bool set_options(struct fetch *f, const char *url, const struct fetch_rules *r)
{
	struct curl_blob cas = {(void *)(uintptr_t)r->ca_pem.p, r->ca_pem.n, CURL_BLOB_COPY};
	CURL *e = f->easy;
	bool ok = true;

	ok &= curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, r->allow_http ? "https,http" : "https") == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_NOPROXY, "*") == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
	if (f->ca_file || r->ca_pem.n) /* instead of the system's, not beside them */
		ok &= curl_easy_setopt(e, CURLOPT_CAPATH, NULL) == CURLE_OK;
	if (f->ca_file)
		ok &= curl_easy_setopt(e, CURLOPT_CAINFO, f->ca_file) == CURLE_OK;
	if (r->ca_pem.n) /* it stands above CAINFO */
		ok &= curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &cas) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, f) == CURLE_OK;
	/* The address is checked when a socket opens; a kept connection was checked under another fetch's rules. */
	ok &= curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)r->max_body) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK; /* never waits for a name server after the time-out */
	ok &= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_WRITEDATA, f) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_HEADERDATA, f) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_USERAGENT, "baton") == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_PRIVATE, f) == CURLE_OK;
	return ok;
}

static struct fetch *fetch_new(struct fetcher *fetcher, const struct fetch_rules *rules)
{
	struct fetch *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	f->fetcher = fetcher;
	f->allow_private = rules->allow_private;
	f->max_age_s = -1;
	buf_init(&f->body, rules->max_body);
	f->id = slots_add(fetcher->fetches, f);
	f->easy = curl_easy_init();
	f->ca_file = rules->ca_file ? strdup(rules->ca_file) : NULL;
	if (f->id && f->easy && (f->ca_file || !rules->ca_file))
		return f;
	fetch_free(f);
	return NULL;
}

static bool copy_form(struct fetch *f, struct slice form)
{
	f->form = malloc(form.n + 1);
	if (!f->form)
		return false;
	memcpy(f->form, form.p, form.n);
	f->form[form.n] = '\0';
	f->form_n = form.n;
	return true;
}

/* form.p NULL: a GET. */
static uint64_t fetch(struct fetcher *fetcher, const char *url, const struct fetch_rules *rules, struct slice form,
		      void (*done)(void *arg, const struct fetch_result *r), void *arg)
{
	struct fetch *f;

	/* libcurl takes 0 for "no limit", here it is refused. */
	if (!url_is_good(url, rules->allow_http) || rules->timeout_ms <= 0 || !rules->max_body)
		return 0;
	f = fetch_new(fetcher, rules);
	if (!f)
		return 0;
	f->done = done;
	f->arg = arg;
	if ((form.p && !copy_form(f, form)) || !set_request(f, rules) || !set_options(f, url, rules) || curl_multi_add_handle(fetcher->multi, f->easy) != CURLM_OK) {
		fetch_free(f);
		return 0;
	}
	return f->id;
}

uint64_t fetch_get(struct fetcher *fetcher, const char *url, const struct fetch_rules *rules,
		   void (*done)(void *arg, const struct fetch_result *r), void *arg)
{
	return fetch(fetcher, url, rules, slice_of(NULL, 0), done, arg);
}

uint64_t fetch_post(struct fetcher *fetcher, const char *url, const struct fetch_rules *rules, struct slice form,
		    void (*done)(void *arg, const struct fetch_result *r), void *arg)
{
	return fetch(fetcher, url, rules, form, done, arg);
}

void fetch_cancel(struct fetcher *fetcher, uint64_t id)
{
	struct fetch *f = slots_get(fetcher->fetches, id);

	if (f)
		fetch_free(f);
}
