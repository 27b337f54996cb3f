/* Why could this program not talk to the broker? Said in three parts: what happened, what was seen, what to do. */
#ifndef BATON_CLIENT_FAULT_H
#define BATON_CLIENT_FAULT_H

#include <stdbool.h>
#include <stddef.h>

enum client_fault {
	CLIENT_FINE,
	CLIENT_FAULT_MISSING,     /* a file that was named does not exist */
	CLIENT_FAULT_CONFIG,      /* an address, certificate, key or CA file that cannot be used */
	CLIENT_FAULT_UNREACHABLE, /* no address, refused, TLS refused by either side, connection lost */
	CLIENT_FAULT_PROTOCOL,    /* the peer speaks something else */
	CLIENT_FAULT_TIMEOUT,
};

struct client_error {
	enum client_fault fault;
	char what[512]; /* one line */
	char seen[512]; /* "" = nothing more is known */
	char todo[384]; /* "" = nothing to advise */
};

/* Sets fault and what; forgets seen and todo. Returns -1. e may be NULL. */
int client_error_set(struct client_error *e, enum client_fault fault, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void client_error_seen(struct client_error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void client_error_todo(struct client_error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* RFC 8446 §6: the alert's name, "certificate_expired"; "alert" for a number outside the table. */
const char *client_alert_name(int alert);

struct client_creds;
/* Looks at OpenSSL's error queue after a failed handshake, read or write on `ssl`, and explains. opening: nothing
 * has come from the broker yet, so that with TLS 1.3 its refusal of our certificate shows here. Empties the queue. */
struct ssl_st;
void client_explain_tls(struct client_error *e, struct ssl_st *ssl, int ssl_error, const char *addr, bool opening,
			const struct client_creds *creds);

#endif
