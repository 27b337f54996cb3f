/* How do the numbers look to Prometheus? Text exposition format 0.0.4: HELP, TYPE, then one line a series; label values
 * escape backslash, quote and newline. */
#include "config.h"

#include "observe/metrics_internal.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const type_texts[] = {
	[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

static void put_label(struct buf *b, bool *first, const char *name, const char *value)
{
	if (!name)
		return;
	buf_put_str(b, *first ? "{" : ",");
	*first = false;
	buf_printf(b, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\n')
			buf_put_str(b, "\\n");
		else if (*value == '\\' || *value == '"')
			buf_printf(b, "\\%c", *value);
		else
			buf_put_u8(b, (uint8_t)*value);
	}
	buf_put_u8(b, '"');
}

static void put_name(struct buf *b, const struct metric_info *info, const char *suffix, const struct series *s,
		     const char *le)
{
	bool first = true;

	buf_printf(b, "%s%s", info->name, suffix);
	put_label(b, &first, info->label1, s->label1);
	put_label(b, &first, info->label2, s->label2);
	put_label(b, &first, le ? "le" : NULL, le);
	buf_put_str(b, first ? " " : "} ");
}

/* Microseconds as seconds, without a float's rounding and without trailing zeros. */
static const char *seconds(int64_t us, char out[32])
{
	int n = snprintf(out, 32, "%" PRId64 ".%06d", us / 1000000, (int)(us % 1000000));

	while (out[n - 1] == '0')
		out[--n] = '\0';
	if (out[n - 1] == '.')
		out[n - 1] = '\0';
	return out;
}

/* The count is the sum of the buckets read here, so that the lines agree while others count on. */
static void put_histogram(struct buf *b, const struct metric_info *info, struct series *s)
{
	int64_t count = 0;
	char text[32];
	unsigned i;

	for (i = 0; info->bounds_us[i]; i++) {
		count += atomic_load_explicit(&s->h->buckets[i], memory_order_relaxed);
		put_name(b, info, "_bucket", s, seconds(info->bounds_us[i], text));
		buf_printf(b, "%" PRId64 "\n", count);
	}
	count += atomic_load_explicit(&s->h->buckets[i], memory_order_relaxed);
	put_name(b, info, "_bucket", s, "+Inf");
	buf_printf(b, "%" PRId64 "\n", count);
	put_name(b, info, "_sum", s, NULL);
	buf_printf(b, "%s\n", seconds(atomic_load_explicit(&s->h->sum_us, memory_order_relaxed), text));
	put_name(b, info, "_count", s, NULL);
	buf_printf(b, "%" PRId64 "\n", count);
}

static void put_family(struct buf *b, const struct metric_info *info, struct family *f)
{
	struct series *s, *next;

	pthread_rwlock_rdlock(&f->lock);
	if (f->table) {
		buf_printf(b, "# HELP %s %s\n", info->name, info->help);
		buf_printf(b, "# TYPE %s %s\n", info->name, type_texts[info->type]);
	}
	HASH_ITER(hh, f->table, s, next) {
		if (info->type == METRIC_HISTOGRAM) {
			put_histogram(b, info, s);
			continue;
		}
		if (atomic_load_explicit(&s->gone, memory_order_relaxed))
			continue;
		put_name(b, info, "", s, NULL);
		buf_printf(b, "%" PRId64 "\n", atomic_load_explicit(&s->value, memory_order_relaxed));
	}
	pthread_rwlock_unlock(&f->lock);
}

int metrics_render(struct metrics *m, struct buf *out)
{
	unsigned i;

	for (i = 0; i < METRIC_COUNT; i++)
		put_family(out, &metric_infos[i], &m->families[i]);
	return out->failed ? -1 : 0;
}
