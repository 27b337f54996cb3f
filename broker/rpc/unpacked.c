/* What does a resource's value hold? See unpacked.h. */
#include "rpc/unpacked.h"

#include "wire/prescan.h"

Baton__V1__Resource *resource_unpack(struct arena *a, const struct resource *r, Baton__V1__Resource__SpecCase kind)
{
	struct prescan_fault fault;
	Baton__V1__Resource *m = (Baton__V1__Resource *)prescan_unpack(&baton__v1__resource__descriptor, r->value, NULL, a, &fault);

	return m && m->spec_case == kind && m->agent ? m : NULL; /* all kinds' messages are pointers in one union */
}
