/* Of several routes' handoffs, each newest first, which is the newest of all, and where does the next page go on? A merge of as many lists as
 * there are routes: nothing is taken while a route's first entry is unknown. A route's position moves with what is taken, and over what a store
 * passed by; a route that was looked at is held to what it had then, so handoffs that come between two pages are on neither. */
#include "rpc/merge.h"

#include <stdio.h>
#include <string.h>

#define NUMBER_MAX 16 /* digits of MERGE_POSITION_MAX */
#define NUMBER_ROOM 22 /* for any 64 bits, a dot and a NUL */

bool merge_init(struct merge *m, struct arena *a, size_t n)
{
	memset(m, 0, sizeof *m);
	m->routes = n <= MERGE_ROUTES_MAX ? arena_zalloc(a, n * sizeof *m->routes) : NULL;
	m->n = n;
	return m->routes != NULL;
}

/* As printf would write it, and not above MERGE_POSITION_MAX; NULL for anything else. */
static const char *read_number(const char *p, uint64_t *out)
{
	size_t n = strspn(p, "0123456789");

	*out = 0;
	if (!n || n > NUMBER_MAX || (n > 1 && *p == '0'))
		return NULL;
	for (; n; n--)
		*out = *out * 10 + (uint64_t)(*p++ - '0');
	return *out <= MERGE_POSITION_MAX ? p : NULL;
}

bool merge_parse(struct merge *m, const char *token)
{
	const char *p = token;

	if (!*token)
		return true;
	for (size_t i = 0; i < m->n; i++) {
		if (i && *p++ != '.')
			return false;
		p = read_number(p, &m->routes[i].before);
		if (!p)
			return false;
		m->routes[i].from = m->routes[i].before;
	}
	return !*p;
}

char *merge_format(const struct merge *m, struct arena *a)
{
	char *token = arena_zalloc(a, m->n * NUMBER_ROOM + 1), *p = token;

	if (!token || merge_ended(m))
		return token;
	for (size_t i = 0; i < m->n; i++)
		p += snprintf(p, NUMBER_ROOM, "%s%llu", i ? "." : "", (unsigned long long)m->routes[i].before);
	return token;
}

bool merge_ended(const struct merge *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->routes[i].before != MERGE_END)
			return false;
	return true;
}

static bool is_hungry(const struct merge *m, const size_t *at, size_t route)
{
	return at[route] == m->routes[route].n && m->routes[route].from != MERGE_END;
}

size_t merge_hungry(const struct merge *m)
{
	size_t i = 0;

	while (i < m->n && !is_hungry(m, m->at, i))
		i++;
	return i;
}

void merge_put(struct merge *m, size_t route, const struct store_item *items, size_t n, uint64_t next)
{
	struct merge_route *r = &m->routes[route];

	r->n = n < MERGE_CHUNK ? n : MERGE_CHUNK;
	m->at[route] = 0;
	for (size_t i = 0; i < r->n; i++)
		r->entries[i] = (struct merge_entry){.position = items[i].record.position, .accepted_at_ms = items[i].record.accepted_at_ms};
	r->from = next ? next : MERGE_END;
	r->before = r->n ? r->entries[0].position + 1 : r->from;
}

static const struct merge_entry *entry(const struct merge *m, const size_t *at, size_t route)
{
	return at[route] < m->routes[route].n ? &m->routes[route].entries[at[route]] : NULL;
}

static size_t newest(const struct merge *m, const size_t *at)
{
	const struct merge_entry *best = NULL;
	size_t found = m->n;

	for (size_t i = 0; i < m->n; i++) {
		const struct merge_entry *e = entry(m, at, i);

		if (is_hungry(m, at, i))
			return m->n;
		if (e && (!best || e->accepted_at_ms > best->accepted_at_ms)) {
			best = e;
			found = i;
		}
	}
	return found;
}

size_t merge_newest(const struct merge *m)
{
	return newest(m, m->at);
}

struct merge_entry *merge_first(struct merge *m, size_t route)
{
	return &m->routes[route].entries[m->at[route]];
}

size_t merge_share(const struct merge *m, size_t max)
{
	size_t at[MERGE_ROUTES_MAX], first = merge_newest(m), n = 0;

	memcpy(at, m->at, sizeof at);
	for (size_t i; max && (i = newest(m, at)) < m->n; max--) {
		at[i]++;
		n += i == first;
	}
	return n;
}

void merge_take(struct merge *m, size_t route)
{
	struct merge_route *r = &m->routes[route];
	const struct merge_entry *e = merge_first(m, route);

	m->at[route]++;
	r->before = m->at[route] == r->n ? r->from : e->position;
}
