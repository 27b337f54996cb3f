/* In which of a Redis Cluster's hash slots is a key? See redis_hash.h; the rules are the Redis Cluster specification's. Sixteen entries, half a byte
 * at a time: a key is hashed once for each route that a worker knows. */
#include "store/redis_hash.h"

#include <string.h>

static const uint16_t by_nibble[16] = {
	0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
};

uint16_t redis_crc16(struct slice bytes)
{
	unsigned crc = 0;

	for (size_t i = 0; i < bytes.n; i++) {
		crc = (crc << 4 ^ by_nibble[(crc >> 12 ^ bytes.p[i] >> 4) & 15]) & 0xffff;
		crc = (crc << 4 ^ by_nibble[(crc >> 12 ^ bytes.p[i]) & 15]) & 0xffff;
	}
	return (uint16_t)crc;
}

unsigned redis_hash_slot(struct slice key)
{
	const uint8_t *open = key.n ? memchr(key.p, '{', key.n) : NULL;
	size_t rest = open ? key.n - (size_t)(open + 1 - key.p) : 0;
	const uint8_t *end = rest ? memchr(open + 1, '}', rest) : NULL;

	if (end && end > open + 1)
		key = slice_of(open + 1, (size_t)(end - open - 1));
	return redis_crc16(key) % CLUSTER_SLOTS;
}
