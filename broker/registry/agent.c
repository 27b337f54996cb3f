/* What may this agent show, call, serve and use? What its lists name, exactly; an empty list means nothing, but that an agent without a ceiling has none. */
#include "registry/registry.h"

static bool names(const char list[][64], size_t n, struct slice route)
{
	for (size_t i = 0; i < n; i++)
		if (slice_is(route, list[i]))
			return true;
	return false;
}

#define BACKDATED_MS 300000 /* certificates are dated back by so much, for clocks that are behind */

bool agent_may_show(const struct agent *a, int64_t not_before_ms)
{
	return not_before_ms >= a->certificates_from_ms - BACKDATED_MS;
}

bool agent_may_show_for(const struct agent *a, int64_t life_ms)
{
	return !a->certificates.max_accepted_ms || life_ms <= a->certificates.max_accepted_ms + BACKDATED_MS;
}

int64_t agent_ttl_ms(const struct agent *a, int64_t ttl_ms)
{
	const int64_t caps[] = {a->certificates.max_ttl_ms, a->certificates.max_accepted_ms};

	for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++)
		if (caps[i] && caps[i] < ttl_ms)
			ttl_ms = caps[i];
	return ttl_ms;
}

bool agent_may_call(const struct agent *a, struct slice route)
{
	return names(a->call, a->n_call, route);
}

bool agent_may_serve(const struct agent *a, struct slice route)
{
	return names(a->serve, a->n_serve, route);
}

bool agent_may_use(const struct agent *a, struct slice scope)
{
	for (size_t i = 0; i < a->n_ceiling; i++)
		if (slice_is(scope, a->ceiling[i]))
			return true;
	return !a->n_ceiling;
}
