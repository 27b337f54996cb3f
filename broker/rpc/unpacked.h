/* What does a resource's value hold? Whatever the store gives is looked at like bytes of a stranger. */
#ifndef BATON_RPC_UNPACKED_H
#define BATON_RPC_UNPACKED_H

#include "base/arena.h"
#include "baton/v1/admin.pb-c.h"
#include "registry/resources.h"

/* In the arena. NULL: it is none of this kind, or memory is out (then arena_failed()). */
Baton__V1__Resource *resource_unpack(struct arena *a, const struct resource *r, Baton__V1__Resource__SpecCase kind);

#endif
