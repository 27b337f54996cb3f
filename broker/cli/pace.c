/* When is the next cycle due? See pace.h. */
#include "config.h"

#include "cli/pace.h"

#define SECOND_US 1000000

int64_t pace_due_us(const struct pace *p, int64_t now_us)
{
	if (!p->rate || !p->began_us)
		return now_us;
	/* whole seconds apart: no product overflows */
	return p->began_us + p->begun / p->rate * SECOND_US + p->begun % p->rate * SECOND_US / p->rate;
}

int64_t pace_begin(struct pace *p, int64_t now_us)
{
	int64_t due = pace_due_us(p, now_us);

	if (!p->began_us)
		p->began_us = now_us;
	p->begun++;
	return due;
}

void pace_restart(struct pace *p)
{
	p->began_us = p->begun = 0;
}
