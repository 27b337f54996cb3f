/* Can any traceparent and tracestate make a context that we could not send on? Input: the first line is one, the rest the
 * other. Whatever comes in, what goes out must parse, and be of the same trace. */
#include <string.h>

#include "fuzz.h"
#include "observe/trace.h"


unsigned fuzz_good;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t n = end ? (size_t)(end - data) : size;
	struct slice rest = end ? slice_of(end + 1, size - n - 1) : slice_of(NULL, 0);
	struct trace_context t, child, again;
	char text[56];

	trace_begin(&t, slice_of(data, n), rest);
	trace_child(&child, &t);
	trace_format(&child, text);
	trace_begin(&again, slice_str(text), slice_str(child.tracestate));
	fuzz_good += t.parent_id[0] != '\0';
	NEED(strlen(text) == 55 && trace_id_valid(slice_str(t.trace_id)) && strcmp(again.trace_id, t.trace_id) == 0);
	NEED(strcmp(again.parent_id, child.span_id) == 0 && strcmp(child.parent_id, t.span_id) == 0);
	NEED(again.flags == t.flags && strcmp(again.tracestate, t.tracestate) == 0);
	return 0;
}
