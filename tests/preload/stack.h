/* How did we get here? The stack as the tests read it (lib/faults.js): innermost first, object+offset, a line each. */
#ifndef BATON_PRELOAD_STACK_H
#define BATON_PRELOAD_STACK_H

#include <dlfcn.h>
#include <stdio.h>
#include <unwind.h>

#define FRAMES 32

struct stack {
	void *frames[FRAMES];
	int n, skip; /* skip: so many of the innermost are left out */
};

static _Unwind_Reason_Code stack_note(struct _Unwind_Context *c, void *arg)
{
	struct stack *s = arg;

	if (s->skip)
		s->skip--;
	else if (s->n < FRAMES)
		s->frames[s->n++] = (void *)_Unwind_GetIP(c);
	return s->n < FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

static inline __attribute__((always_inline)) void stack_take(struct stack *s)
{
	_Unwind_Backtrace(stack_note, s);
}

static void stack_tell(const struct stack *s, char *text, size_t size)
{
	size_t at = 0;

	for (int i = 0; i < s->n; i++) {
		Dl_info d = {0};
		int put;

		dladdr(s->frames[i], &d);
		put = snprintf(text + at, size - at, "%s+0x%lx\n", d.dli_fname ? d.dli_fname : "?",
			       (unsigned long)((char *)s->frames[i] - (char *)d.dli_fbase));
		if (put < 0 || (size_t)put >= size - at)
			break;
		at += (size_t)put;
	}
	text[at] = '\0';
}

#endif
