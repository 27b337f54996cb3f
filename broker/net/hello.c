/* Is what a stranger says first the beginning of a TLS handshake? See hello.h. */
#include "config.h"

#include "net/hello.h"

#include <stdbool.h>

#define MESSAGE_HEAD 4

/* Each byte up to the lengths is one of a range. legacy_record_version is 3.1 in a first ClientHello, or 3.3. */
static bool right_at(size_t i, uint8_t byte)
{
	static const struct {
		uint8_t least, most;
	} table[] = {{22, 22}, {3, 3}, {1, 4}, {0, 0x40}, {0, 0xff}, {1, 1}};

	return i >= sizeof table / sizeof table[0] || (byte >= table[i].least && byte <= table[i].most);
}

enum hello hello_judge(struct slice first)
{
	size_t n = first.n < HELLO_BYTES ? first.n : HELLO_BYTES;
	const uint8_t *p = first.p;

	for (size_t i = 0; i < n; i++)
		if (!right_at(i, p[i]))
			return HELLO_NOT_TLS;
	if (n < HELLO_BYTES)
		return HELLO_MORE;
	/* Nobody who means well cuts the head of the message in two. */
	if ((size_t)p[3] << 8 < MESSAGE_HEAD && p[4] < MESSAGE_HEAD)
		return HELLO_NOT_TLS;
	return ((size_t)p[6] << 16 | (size_t)p[7] << 8 | p[8]) > HELLO_MAX ? HELLO_TOO_LARGE : HELLO_TLS;
}
