/* Where do unpacked messages live? In the caller's arena: protobuf-c's allocator is bound to it here, so that a
 * message is given back with the arena, and its size is capped by it. */
#include "wire/prescan.h"

#include "base/arena.h"

struct unpack_memory {
	struct arena *arena;
	bool full;
};

static void *unpack_alloc(void *data, size_t n)
{
	struct unpack_memory *m = data;
	void *p = arena_alloc(m->arena, n ? n : 1);

	if (!p)
		m->full = true;
	return p;
}

static void unpack_free(void *data, void *p)
{
	/* The arena frees. */
}

ProtobufCMessage *prescan_unpack(const ProtobufCMessageDescriptor *desc, struct slice bytes,
				 const struct prescan_rules *rules, struct arena *arena, struct prescan_fault *fault)
{
	struct unpack_memory memory = {.arena = arena};
	ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &memory};
	ProtobufCMessage *m;

	if (prescan_check(desc, bytes, rules, fault) != 0)
		return NULL;
	m = protobuf_c_message_unpack(desc, &allocator, bytes.n, bytes.p);
	if (!m && fault)
		fault->what = memory.full ? "too large for its arena" : "cannot be unpacked";
	return m;
}
