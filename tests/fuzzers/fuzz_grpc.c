/* Does the reader cut the same messages, however the bytes were cut before? The input is read once whole and once in
 * pieces whose sizes come from the input itself. */
#include "fuzz.h"
#include "wire/grpc.h"

#define MAX 4096


unsigned fuzz_good;

/* A digest of the messages and of how it ended. */
static uint64_t drain(struct grpc_reader *r, struct slice in, uint64_t digest, enum grpc_read *last)
{
	struct slice m;

	while ((*last = grpc_reader_next(r, &in, &m)) == GRPC_READ_MESSAGE) {
		fuzz_good++;
		NEED(m.n <= MAX);
		digest = digest * 31 + m.n + 1;
		for (size_t i = 0; i < m.n; i++)
			digest = digest * 31 + m.p[i];
	}
	NEED(*last != GRPC_READ_MORE || !in.n);
	return digest;
}

static uint64_t read_whole(struct slice in, bool *idle, enum grpc_read *last)
{
	struct grpc_reader r;
	uint64_t digest;

	grpc_reader_init(&r, MAX);
	digest = drain(&r, in, 1, last);
	*idle = grpc_reader_idle(&r);
	grpc_reader_clear(&r);
	return digest;
}

static uint64_t read_pieces(struct slice in, bool *idle, enum grpc_read *last)
{
	struct grpc_reader r;
	uint64_t digest = 1;

	grpc_reader_init(&r, MAX);
	*last = GRPC_READ_MORE;
	for (size_t at = 0, i = 0; at < in.n && *last == GRPC_READ_MORE; i++) {
		size_t step = in.p[(i * 7) % in.n] % 23;

		step = step < in.n - at ? step : in.n - at;
		digest = drain(&r, slice_of(in.p + at, step), digest, last);
		at += step ? step : 0;
		if (step == 0 && at < in.n)
			digest = drain(&r, slice_of(in.p + at++, 1), digest, last);
	}
	*idle = grpc_reader_idle(&r);
	grpc_reader_clear(&r);
	return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice in = slice_of(p, n);
	enum grpc_read a, b;
	bool idle_a, idle_b;
	int64_t ms = grpc_timeout_ms(slice_of(p, n < 12 ? n : 12));

	NEED(read_whole(in, &idle_a, &a) == read_pieces(in, &idle_b, &b) && a == b && idle_a == idle_b);
	if (ms != -1) {
		char text[16];

		grpc_timeout_format(ms, text);
		NEED(grpc_timeout_ms(slice_str(text)) >= ms);
	}
	return 0;
}
