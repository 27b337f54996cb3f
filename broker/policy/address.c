/* Is this host an IP address, and is it a public one? Whatever the C library's inet_aton would read as IPv4 is an
 * address here too, so that no odd form slips through as a name; only the usual form is accepted at all. Of IPv6
 * only 2000::/3 without its tunnels is public. */
#include "policy/address.h"

#include <arpa/inet.h>
#include <stdio.h>

struct net4 {
	uint32_t net;
	unsigned bits;
};

#define V4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* RFC 6890 and its registry: everything that is not global; and the one public address that is a cloud's host agent. */
static const struct net4 not_public4[] = {
	{V4(0, 0, 0, 0), 8},        /* this network */
	{V4(10, 0, 0, 0), 8},       /* private */
	{V4(100, 64, 0, 0), 10},    /* shared by carriers; 100.100.100.200 is a metadata service */
	{V4(127, 0, 0, 0), 8},      /* loopback */
	{V4(168, 63, 129, 16), 32}, /* a cloud's host agent */
	{V4(169, 254, 0, 0), 16},   /* link-local; 169.254.169.254 is the metadata service of most */
	{V4(172, 16, 0, 0), 12},    /* private */
	{V4(192, 0, 0, 0), 24},     /* protocol assignments */
	{V4(192, 0, 2, 0), 24},     /* documentation */
	{V4(192, 88, 99, 0), 24},   /* 6to4 relays */
	{V4(192, 168, 0, 0), 16},   /* private */
	{V4(198, 18, 0, 0), 15},    /* benchmarks */
	{V4(198, 51, 100, 0), 24},  /* documentation */
	{V4(203, 0, 113, 0), 24},   /* documentation */
	{V4(224, 0, 0, 0), 3},      /* multicast, reserved, broadcast */
};

static bool v4_is_private(uint32_t a)
{
	for (size_t i = 0; i < sizeof not_public4 / sizeof not_public4[0]; i++)
		if (((a ^ not_public4[i].net) >> (32 - not_public4[i].bits)) == 0)
			return true;
	return false;
}

static bool v6_is_private(const uint8_t a[16])
{
	static const uint8_t teredo[4] = {0x20, 0x01, 0, 0}, documentation[4] = {0x20, 0x01, 0x0d, 0xb8};

	if ((a[0] & 0xe0) != 0x20)
		return true; /* ::, ::1, mapped, NAT64, fc00::/7, fe80::/10, ff00::/8 and all that is not assigned */
	if (a[0] == 0x20 && a[1] == 0x02)
		return true; /* 6to4 */
	return !memcmp(a, teredo, 4) || !memcmp(a, documentation, 4);
}

static bool digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool hex(uint8_t c)
{
	return digit(c) || (c >= 'a' && c <= 'f');
}

/* "12", "0x1f", "017": what resolvers read as a number. */
static bool label_is_number(struct slice l)
{
	size_t i = 0;

	if (l.n >= 2 && l.p[0] == '0' && l.p[1] == 'x') {
		for (i = 2; i < l.n && hex(l.p[i]); i++)
			;
		return i == l.n;
	}
	while (i < l.n && digit(l.p[i]))
		i++;
	return l.n && i == l.n;
}

static struct slice last_label(struct slice host)
{
	size_t at = host.n;

	while (at && host.p[at - 1] != '.')
		at--;
	return slice_of(host.p + at, host.n - at);
}

static enum address_kind v4(struct slice host, char out[64], bool *private_network)
{
	struct in_addr a;

	if (!slice_copy_str(host, out, 64) || inet_pton(AF_INET, out, &a) != 1)
		return ADDRESS_ODD; /* inet_pton takes four decimal parts, and no leading zeros, only */
	*private_network = v4_is_private(ntohl(a.s_addr));
	return ADDRESS_V4;
}

static enum address_kind v6(struct slice host, char out[64], bool *private_network)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr a;

	if (!slice_copy_str(host, text, sizeof text) || inet_pton(AF_INET6, text, &a) != 1)
		return ADDRESS_ODD;
	*private_network = v6_is_private(a.s6_addr);
	if (!inet_ntop(AF_INET6, &a, text, sizeof text))
		return ADDRESS_ODD;
	snprintf(out, 64, "[%s]", text);
	return ADDRESS_V6;
}

enum address_kind address_classify(struct slice host, bool bracketed, char out[64], bool *private_network)
{
	*private_network = false;
	if (bracketed)
		return v6(host, out, private_network);
	if (label_is_number(last_label(host)))
		return v4(host, out, private_network);
	return ADDRESS_NONE;
}

bool address_name_is_local(struct slice host)
{
	static const char *const local[] = {
		"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback",
		"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
	};

	for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
		if (slice_is(host, local[i]))
			return true;
	return slice_ends(host, slice_str(".localhost"));
}
