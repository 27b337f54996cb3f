/* May a fetch connect to this address? See fetch_addr.h. Two tables of prefixes (IANA's special-purpose registries,
 * RFC 6890); the first row that fits decides. An IPv6 address that carries an IPv4 one is judged by that. */
#include "config.h"

#include "net/fetch_addr.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct prefix4 {
	uint32_t net; /* host order */
	int bits;
	enum address_class class;
};

static const struct prefix4 prefixes4[] = {
	{0x00000000, 8, ADDRESS_FORBIDDEN},   /* "this network"; 0.0.0.0 reaches loopback */
	{0x0a000000, 8, ADDRESS_PRIVATE},     /* 10/8 */
	{0x646464c8, 32, ADDRESS_FORBIDDEN},  /* 100.100.100.200, cloud metadata */
	{0x64400000, 10, ADDRESS_PRIVATE},    /* 100.64/10, carrier NAT */
	{0x7f000000, 8, ADDRESS_PRIVATE},     /* loopback */
	{0xa83f8110, 32, ADDRESS_FORBIDDEN},  /* 168.63.129.16, a cloud's host agent */
	{0xa9fe0000, 16, ADDRESS_FORBIDDEN},  /* 169.254/16: link-local, cloud metadata */
	{0xac100000, 12, ADDRESS_PRIVATE},    /* 172.16/12 */
	{0xc0000000, 24, ADDRESS_FORBIDDEN},  /* 192.0.0/24 */
	{0xc0000200, 24, ADDRESS_FORBIDDEN},  /* documentation */
	{0xc0586300, 24, ADDRESS_FORBIDDEN},  /* 6to4 relays */
	{0xc0a80000, 16, ADDRESS_PRIVATE},    /* 192.168/16 */
	{0xc6120000, 15, ADDRESS_FORBIDDEN},  /* benchmarking */
	{0xc6336400, 24, ADDRESS_FORBIDDEN},  /* documentation */
	{0xcb007100, 24, ADDRESS_FORBIDDEN},  /* documentation */
	{0xe0000000, 4, ADDRESS_FORBIDDEN},   /* multicast */
	{0xf0000000, 4, ADDRESS_FORBIDDEN},   /* reserved, broadcast */
};

struct prefix6 {
	uint8_t net[16];
	int bits;
	enum address_class class;
	int v4_at; /* offset of an embedded IPv4 address that decides instead; 0 = none */
};

static const struct prefix6 prefixes6[] = {
	{{[15] = 1}, 128, ADDRESS_PRIVATE, 0},                          /* ::1 */
	{{[10] = 0xff, [11] = 0xff}, 96, ADDRESS_FORBIDDEN, 12},        /* ::ffff:a.b.c.d */
	{{0}, 96, ADDRESS_FORBIDDEN, 0},                                /* :: and the old ::a.b.c.d */
	{{0, 0x64, 0xff, 0x9b}, 96, ADDRESS_FORBIDDEN, 12},             /* 64:ff9b::/96, NAT64 */
	{{0, 0x64, 0xff, 0x9b, 0, 1}, 48, ADDRESS_FORBIDDEN, 0},        /* local NAT64 */
	{{1}, 64, ADDRESS_FORBIDDEN, 0},                                /* 100::/64, discard */
	{{0x20, 0x02}, 16, ADDRESS_FORBIDDEN, 2},                       /* 6to4 */
	{{0x20, 0x01}, 23, ADDRESS_FORBIDDEN, 0},                       /* Teredo and other protocols */
	{{0x20, 0x01, 0x0d, 0xb8}, 32, ADDRESS_FORBIDDEN, 0},           /* documentation */
	{{0x3f, 0xff}, 20, ADDRESS_FORBIDDEN, 0},                       /* documentation */
	{{0xfd, 0x00, 0x0e, 0xc2}, 32, ADDRESS_FORBIDDEN, 0},           /* fd00:ec2::254, cloud metadata */
	{{0xfd, 0x20, 0x00, 0xce}, 32, ADDRESS_FORBIDDEN, 0},           /* fd20:ce::254, cloud metadata */
	{{0xfc}, 7, ADDRESS_PRIVATE, 0},                                /* unique local */
	{{0xfe, 0x80}, 10, ADDRESS_FORBIDDEN, 0},                       /* link-local */
	{{0xfe, 0xc0}, 10, ADDRESS_FORBIDDEN, 0},                       /* site-local, abandoned */
	{{0xff}, 8, ADDRESS_FORBIDDEN, 0},                              /* multicast */
};

static enum address_class class4(uint32_t a)
{
	for (size_t i = 0; i < sizeof prefixes4 / sizeof prefixes4[0]; i++)
		if ((a ^ prefixes4[i].net) >> (32 - prefixes4[i].bits) == 0)
			return prefixes4[i].class;
	return ADDRESS_PUBLIC;
}

static uint32_t read4(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, int bits)
{
	size_t whole = (size_t)bits / 8;
	int rest = bits % 8;

	return memcmp(a, b, whole) == 0 && (!rest || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static enum address_class class6(const uint8_t *a)
{
	for (size_t i = 0; i < sizeof prefixes6 / sizeof prefixes6[0]; i++) {
		const struct prefix6 *p = &prefixes6[i];

		if (same_prefix(a, p->net, p->bits))
			return p->v4_at ? class4(read4(a + p->v4_at)) : p->class;
	}
	return a[0] >> 5 == 1 ? ADDRESS_PUBLIC : ADDRESS_FORBIDDEN; /* 2000::/3 is all that is assigned */
}

enum address_class fetch_address_class(const struct sockaddr *sa)
{
	switch (sa->sa_family) {
	case AF_INET:
		return class4(ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr));
	case AF_INET6:
		return class6(((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr);
	default:
		return ADDRESS_FORBIDDEN;
	}
}
