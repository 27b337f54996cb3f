/* Can a packet on the keeper's pipe, a kept enrolment or a token crash who reads it, or be read as something that would be written otherwise? The first byte
 * chooses which. */
#include "config.h"

#include <string.h>

#include "fuzz.h"
#include "identity/enrolment.h"
#include "keeper/pipe.h"
#include "rpc/enrolment.h"

unsigned fuzz_good;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static void check_same(const struct buf *b, struct slice in)
{
	NEED(slice_eq(buf_slice(b), in));
	fuzz_good++;
}

static void check_ask(struct slice in, struct buf *b)
{
	struct keeper_ask a;

	if (!keeper_get_ask(in, &a))
		return;
	NEED(keeper_put_ask(b, &a));
	check_same(b, in);
}

static void check_answer(struct slice in, struct buf *b)
{
	struct keeper_answer a;

	if (!keeper_get_answer(in, &a))
		return;
	NEED(keeper_put_answer(b, &a));
	check_same(b, in);
}

static void check_kept(struct slice in, struct buf *b)
{
	struct enrolment e;

	if (!enrolment_get(in, &e))
		return;
	NEED(strlen(e.tenant) < sizeof e.tenant && strlen(e.spiffe_id) < sizeof e.spiffe_id);
	NEED(enrolment_put(b, &e));
	if (!(in.p[1] & 0x80)) /* a time below 0 is not kept as one */
		check_same(b, in);
}

static void check_token(struct slice in, struct buf *b)
{
	uint8_t pin[SHA256_BYTES];
	uint64_t key;

	(void)b;
	if (!enrolment_token_read(in, &key, pin)) {
		NEED(in.n == ENROLMENT_TOKEN_TEXT);
		fuzz_good++;
	} else {
		NEED(key == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void (*const checks[])(struct slice in, struct buf *b) = {check_ask, check_answer, check_kept, check_token};
	struct buf b;

	if (size < 1)
		return 0;
	buf_init(&b, KEEPER_PACKET_MAX);
	checks[data[0] % 4](slice_of(data + 1, size - 1), &b);
	buf_clear(&b);
	return 0;
}
