/* What do gRPC's headers say? grpc-timeout both ways, and which gRPC status a plain HTTP status stands for. Messages
 * are cut in grpc_reader.c, status details are written in grpc_details.c. */
#include "wire/grpc.h"

#include <stdio.h>

#define TIMEOUT_DIGITS 8
#define TIMEOUT_MOST 99999999

/* Milliseconds are n * mul / div. */
static const struct grpc_unit {
	char letter;
	int64_t mul, div;
} grpc_units[] = {
	{'n', 1, 1000000}, {'u', 1, 1000}, {'m', 1, 1}, {'S', 1000, 1}, {'M', 60 * 1000, 1}, {'H', 3600 * 1000, 1},
};
#define UNITS (sizeof grpc_units / sizeof grpc_units[0])

static const struct grpc_unit *grpc_unit(uint8_t letter)
{
	for (size_t i = 0; i < UNITS; i++) {
		if ((uint8_t)grpc_units[i].letter == letter)
			return &grpc_units[i];
	}
	return NULL;
}

int64_t grpc_timeout_ms(struct slice value)
{
	const struct grpc_unit *u;
	int64_t n = 0;

	if (value.n < 2 || value.n > TIMEOUT_DIGITS + 1)
		return -1;
	u = grpc_unit(value.p[value.n - 1]);
	if (!u)
		return -1;
	for (size_t i = 0; i < value.n - 1; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return -1;
		n = n * 10 + (value.p[i] - '0');
	}
	n = (n * u->mul + u->div - 1) / u->div;
	return n ? n : 1;
}

/* The finest unit that has room, rounded up. */
void grpc_timeout_format(int64_t ms, char out[16])
{
	int64_t n = ms > 0 ? ms : 1;
	size_t i = 2; /* m */

	while (n > TIMEOUT_MOST && i + 1 < UNITS) {
		i++;
		n = ms / grpc_units[i].mul + (ms % grpc_units[i].mul != 0);
	}
	(void)snprintf(out, 16, "%u%c", (unsigned)(n < TIMEOUT_MOST ? n : TIMEOUT_MOST), grpc_units[i].letter);
}

/* gRPC, doc/http-grpc-status-mapping.md */
static const struct {
	int http;
	enum grpc_status status;
} grpc_http[] = {
	{400, GRPC_INTERNAL},    {401, GRPC_UNAUTHENTICATED}, {403, GRPC_PERMISSION_DENIED}, {404, GRPC_UNIMPLEMENTED},
	{429, GRPC_UNAVAILABLE}, {502, GRPC_UNAVAILABLE},     {503, GRPC_UNAVAILABLE},       {504, GRPC_UNAVAILABLE},
};

enum grpc_status grpc_status_from_http(int http)
{
	for (size_t i = 0; i < sizeof grpc_http / sizeof grpc_http[0]; i++) {
		if (grpc_http[i].http == http)
			return grpc_http[i].status;
	}
	return GRPC_UNKNOWN;
}
