/* What do counting and printing share? The families, their series and the locks. Private to observe/metrics*.c. */
#ifndef BATON_OBSERVE_METRICS_INTERNAL_H
#define BATON_OBSERVE_METRICS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/table.h"

#include "observe/metrics.h"

#define METRIC_SERIES_MAX 4096 /* of one family, "other" included */
#define METRIC_LABEL_BYTES 128 /* of one label's value; the rest is cut */
#define METRIC_BUCKETS_MAX 16

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_info {
	const char *name;
	enum metric_type type;
	const char *label1, *label2; /* NULL: has none */
	const char *help;
	const int64_t *bounds_us; /* of a histogram: upper bounds, 0 ends them */
};

struct histogram {
	_Atomic int64_t buckets[METRIC_BUCKETS_MAX + 1]; /* each for itself, the last is +Inf */
	_Atomic int64_t sum_us;
};

struct series {
	UT_hash_handle hh;
	_Atomic int64_t value;
	atomic_bool gone; /* not printed: metrics_forget() */
	struct histogram *h; /* NULL unless the family is one */
	char *label1, *label2; /* as printed: redacted; NULL where the family has none */
	size_t key_n;
	char key[]; /* both labels as given, each with its NUL */
};

struct family {
	pthread_rwlock_t lock; /* the table; values are atomic */
	struct series *table;
};

struct metrics {
	struct family families[METRIC_COUNT];
};

extern const struct metric_info metric_infos[METRIC_COUNT];

#endif
