/* Which known word did somebody probably mean? Edit distance over three rows; words are short, lists too. */
#include "base/near.h"

#include <stdint.h>

#define WORD_MAX 63
#define SLIP_MAX 2

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Insertions, deletions, replacements, and swaps of neighbours (optimal string alignment). Both at most WORD_MAX
 * bytes. */
static unsigned distance(struct slice a, struct slice b)
{
	unsigned rows[3][WORD_MAX + 1] = {{0}}, *before = rows[0], *last = rows[1], *now = rows[2], *spare;

	for (size_t j = 0; j <= b.n; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= a.n; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b.n; j++) {
			now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (a.p[i - 1] != b.p[j - 1]));
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
				now[j] = least(now[j], before[j - 2] + 1);
		}
		spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[b.n];
}

const char *near_word(struct slice word, const char *const *known, size_t n)
{
	const char *best = NULL;
	unsigned least_seen = SLIP_MAX + 1;

	if (word.n > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		struct slice k = slice_str(known[i]);
		unsigned d = k.n > WORD_MAX ? SLIP_MAX + 1 : distance(word, k);

		if (d < least_seen && 2 * d < k.n + 1) {
			least_seen = d;
			best = known[i];
		}
	}
	return best;
}

const char *near_show(struct slice text, char out[64])
{
	size_t n = text.n < 60 ? text.n : 60;

	for (size_t i = 0; i < n; i++)
		out[i] = text.p[i] >= 0x20 && text.p[i] < 0x7f ? (char)text.p[i] : '?';
	out[n] = '\0';
	if (text.n > n)
		memcpy(out + 57, "...", 4);
	return out;
}
