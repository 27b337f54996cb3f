/* Where do log lines go? To one sink, as JSON or text, one line an event. The sink redacts: whatever looks like a JWT,
 * a PEM key or a bearer token is replaced, whoever logged it. Thread-safe. */
#ifndef BATON_BASE_LOG_H
#define BATON_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_SLICE } kind;
	const char *s;
	int64_t i;
	struct slice b; /* text that need not end in NUL; control characters are escaped */
};

#define F_STR(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_STR, .s = (v)})
#define F_INT(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .i = (int64_t)(v)})
#define F_SLICE(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_SLICE, .b = (v)})

/* fd is borrowed; default 2, LOG_INFO, JSON. */
void log_open(int fd, enum log_level level, bool json);
bool log_enabled(enum log_level level);
void log_fields(enum log_level level, const char *event, const struct log_field *f, size_t n);

/* log_event(LOG_INFO, "peer.closed", F_STR("why", "idle"), F_INT("streams", 3)); event names: noun.verb */
#define log_event(level, event, ...)                                                                                   \
	do {                                                                                                           \
		const struct log_field log_f_[] = {__VA_ARGS__};                                                       \
		log_fields((level), (event), log_f_, sizeof log_f_ / sizeof log_f_[0]);                                \
	} while (0)

#endif
