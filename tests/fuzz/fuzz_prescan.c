/* Can any bytes get past the pre-scan and then hurt protobuf-c? The first byte picks the message and the arena's cap.
 */
#include "wire/prescan.h"

#include <stdlib.h>

#include "baton/v1/handoff.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const struct prescan_rule strict[] = {
	{.message = &baton__v1__task_envelope__descriptor, .known_below = 64, .max_depth = 2},
	{.message = &baton__v1__submit_request__descriptor, .known_below = 64},
};
static const struct prescan_rules rules = {.max_depth = 16, .max_fields = 4096, .rules = strict, .n_rules = 2};
static const ProtobufCMessageDescriptor *const messages[] = {
	&baton__v1__submit_request__descriptor,
	&baton__v1__subscriber_frame__descriptor,
	&baton__v1__report_request__descriptor,
	&baton__v1__list_response__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct prescan_fault fault;
	struct arena *a;
	ProtobufCMessage *m;
	uint8_t *again;

	if (n == 0)
		return 0;
	a = arena_new(p[0] & 0x80 ? 1024 : 1 << 20);
	if (!a)
		abort();
	m = prescan_unpack(messages[p[0] & 3], slice_of(p + 1, n - 1), p[0] & 0x40 ? NULL : &rules, a, &fault);
	if (m) {
		/* What was accepted can be written again, and what is written is accepted. */
		again = malloc(protobuf_c_message_get_packed_size(m) + 1);
		size_t len = protobuf_c_message_pack(m, again);

		if (prescan_check(m->descriptor, slice_of(again, len), NULL, &fault) != 0)
			abort();
		free(again);
	} else if (!fault.what || !fault.what[0]) {
		abort();
	}
	(void)prescan_field_bytes(slice_of(p + 1, n - 1), 1);
	arena_free(a);
	return 0;
}
