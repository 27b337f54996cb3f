/* Which names may stand in a certificate of the CA, and which may its intermediate vouch for? Built name by name, never from a text that
 * OpenSSL would parse: a comma in a name is no second name. */
#include "config.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "identity/ca_priv.h"

#define DNS_NAME_MAX 253
#define DNS_LABEL_MAX 63
#define NO_MAILBOX "none.invalid" /* RFC 2606 §2: nobody has one there; there is no way to say "none at all" of mailboxes */

struct address {
	uint8_t bytes[32]; /* with its mask, for constraints */
	int n;             /* 4 or 16 */
};

static bool parse_address(const char *text, struct address *a)
{
	memset(a->bytes, 0, sizeof a->bytes);
	a->n = inet_pton(AF_INET, text, a->bytes) == 1 ? 4 : inet_pton(AF_INET6, text, a->bytes) == 1 ? 16 : 0;
	return a->n != 0;
}

static bool label_is_sound(const char *p, size_t n)
{
	if (n == 0 || n > DNS_LABEL_MAX || p[0] == '-' || p[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '-'))
			return false;
	return true;
}

/* RFC 1123 §2.1, in lower case; no wildcard: a leaf is one server's. */
static const char *dns_fault(const char *name)
{
	struct address a;

	if (strlen(name) > DNS_NAME_MAX)
		return "is longer than 253 bytes";
	if (parse_address(name, &a))
		return "is an address, not a DNS name";
	for (const char *p = name;; p++) {
		size_t n = strcspn(p, ".");

		if (!label_is_sound(p, n))
			return "is no DNS name: labels of a-z, 0-9 and - between dots, lower case, no wildcard";
		p += n;
		if (!*p)
			return NULL;
	}
}

static GENERAL_NAME *name_of(int type, int kind, const void *bytes, size_t n)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_STRING *s = ASN1_STRING_type_new(kind);

	if (g && s && ASN1_STRING_set(s, n ? bytes : "", (int)n) == 1) {
		GENERAL_NAME_set0_value(g, type, s);
		return g;
	}
	ASN1_STRING_free(s);
	GENERAL_NAME_free(g);
	return NULL;
}

static GENERAL_NAME *text_name(int type, const char *text)
{
	return name_of(type, V_ASN1_IA5STRING, text, strlen(text));
}

/* What is said of each name of a list: whatever gathers them takes it. */
typedef bool take_fn(void *all, GENERAL_NAME *g);

static bool take_name(void *all, GENERAL_NAME *g)
{
	if (g && sk_GENERAL_NAME_push(all, g))
		return true;
	GENERAL_NAME_free(g);
	return false;
}

static bool take_subtree(void *all, GENERAL_NAME *g)
{
	STACK_OF(GENERAL_SUBTREE) **trees = all;
	GENERAL_SUBTREE *t = g ? GENERAL_SUBTREE_new() : NULL;

	if (t) {
		GENERAL_NAME_free(t->base);
		t->base = g;
		g = NULL;
	}
	if (t && (*trees || (*trees = sk_GENERAL_SUBTREE_new_null())) && sk_GENERAL_SUBTREE_push(*trees, t))
		return true;
	GENERAL_SUBTREE_free(t);
	GENERAL_NAME_free(g);
	return false;
}

static int out_of_memory(struct problem *why)
{
	ERR_clear_error();
	return problem_set(why, "out of memory");
}

static int put_servers(const struct ca_servers *servers, bool with_mask, take_fn *take, void *all, struct problem *why)
{
	const char *fault;
	struct address a;
	size_t n = 0;

	for (const char *const *d = servers->dns; d && *d; d++) {
		fault = ++n > CA_NAMES_MAX ? "is one name too many" : dns_fault(*d);
		if (fault)
			return problem_set(why, "DNS name `%.64s` %s", *d, fault);
		if (!take(all, text_name(GEN_DNS, *d)))
			return out_of_memory(why);
	}
	n = 0;
	for (const char *const *i = servers->ips; i && *i; i++) {
		if (++n > CA_NAMES_MAX || !parse_address(*i, &a))
			return problem_set(why, "`%.64s` is %s", *i, n > CA_NAMES_MAX ? "one address too many" : "no IP address");
		memset(a.bytes + a.n, 0xff, (size_t)(with_mask ? a.n : 0));
		if (!take(all, name_of(GEN_IPADD, V_ASN1_OCTET_STRING, a.bytes, (size_t)(with_mask ? 2 * a.n : a.n))))
			return out_of_memory(why);
	}
	return 0;
}

bool ca_servers_any(const struct ca_servers *servers)
{
	return (servers->dns && servers->dns[0]) || (servers->ips && servers->ips[0]);
}

GENERAL_NAMES *ca_names(const char *uri, const struct ca_servers *servers, struct problem *why)
{
	GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();

	if (!all || !take_name(all, text_name(GEN_URI, uri)))
		out_of_memory(why);
	else if (put_servers(servers, false, take_name, all, why) == 0)
		return all;
	sk_GENERAL_NAME_pop_free(all, GENERAL_NAME_free);
	return NULL;
}

/* All that is not permitted of a form is excluded; a form of which nothing is permitted is excluded as a whole. */
static int exclude_the_rest(NAME_CONSTRAINTS *c, const struct ca_servers *servers, struct problem *why)
{
	static const uint8_t everywhere[32];
	bool ok = true;

	if (!servers->dns || !servers->dns[0])
		ok = take_subtree(&c->excludedSubtrees, text_name(GEN_DNS, ""));
	if (!servers->ips || !servers->ips[0])
		ok = ok && take_subtree(&c->excludedSubtrees, name_of(GEN_IPADD, V_ASN1_OCTET_STRING, everywhere, 8)) &&
		     take_subtree(&c->excludedSubtrees, name_of(GEN_IPADD, V_ASN1_OCTET_STRING, everywhere, 32));
	return ok ? 0 : out_of_memory(why);
}

NAME_CONSTRAINTS *ca_constraints(const char *trust_domain, const struct ca_servers *servers, struct problem *why)
{
	NAME_CONSTRAINTS *c = NAME_CONSTRAINTS_new();

	if (!c || !take_subtree(&c->permittedSubtrees, text_name(GEN_URI, trust_domain)) ||
	    !take_subtree(&c->permittedSubtrees, text_name(GEN_EMAIL, NO_MAILBOX)))
		out_of_memory(why);
	else if (put_servers(servers, true, take_subtree, &c->permittedSubtrees, why) == 0 && exclude_the_rest(c, servers, why) == 0)
		return c;
	NAME_CONSTRAINTS_free(c);
	return NULL;
}
