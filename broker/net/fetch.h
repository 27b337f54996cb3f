/* How does Baton fetch a URL? Through the one door for outgoing HTTP: https (http only where the rules say so), bounded in size and time, no redirect to
 * another origin, no proxy variables, no cookies, the address checked when the socket opens. libcurl multi on a loop. */
#ifndef BATON_NET_FETCH_H
#define BATON_NET_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/loop.h"

struct fetcher;

struct fetch_rules {
	const char *ca_file;       /* trust anchors, PEM, instead of the system's; NULL = the system's */
	struct slice ca_pem;       /* the same, as they are; copied; n 0 = none */
	const char *cert_file, *key_file; /* what this client shows of itself, PEM, read anew for each fetch; NULL = nothing */
	struct slice cert_pem, key_pem; /* the same, as they are; not copied: they outlive the fetch; n 0 = none */
	const char *content_type;  /* of what is posted, and what is to come back; static; NULL: a form, and JSON */
	const char *accept;
	const char *authorization; /* the header's value; copied, and wiped; NULL = none */
	size_t max_body;           /* bytes: 256 KiB */
	int64_t timeout_ms;        /* in all: 5 s */
	bool allow_http;           /* may the URL be one of http? For what is signed itself, as CRLs are (RFC 5280 §8) */
	bool allow_private;        /* may the address be private or loopback (10/8, 127/8, ::1, fc00::/7, ...)? Link-local and
				      metadata addresses (169.254/16, fd00:ec2::254) never */
};

struct fetch_result {
	bool ok;                   /* a 200 with a whole body */
	long status;               /* HTTP status, 0 when there was no answer */
	struct slice body;         /* borrowed for the callback */
	const char *why;           /* when not ok: static or valid for the callback */
	int64_t max_age_s;         /* Cache-Control: max-age; -1 = not said */
};

struct fetcher *fetcher_new(struct loop *l);
void fetcher_free(struct fetcher *f); /* cancels what is under way, without callbacks; not from a callback */
/* GET. done runs on the loop, never inside this call. Returns an id, or 0 when 64 are under way already or the URL is bad. */
uint64_t fetch_get(struct fetcher *f, const char *url, const struct fetch_rules *rules,
		   void (*done)(void *arg, const struct fetch_result *r), void *arg);
/* The same, by POST: of an HTML form (application/x-www-form-urlencoded), or what the rules say; copied, and wiped. */
uint64_t fetch_post(struct fetcher *f, const char *url, const struct fetch_rules *rules, struct slice form,
		    void (*done)(void *arg, const struct fetch_result *r), void *arg);
void fetch_cancel(struct fetcher *f, uint64_t id);

#endif
