/* Does tests/fuzz notice it when a target misbehaves? This one does, as BATON_FUZZ_FAULT says. Only tests/fuzz --self-test runs it. */
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

unsigned fuzz_good;
static void *volatile kept;

static void misbehave(const char *how)
{
	if (strcmp(how, "crash") == 0)
		NEED(!how);
	while (strcmp(how, "hang") == 0)
		pause();
	if (strcmp(how, "memory") == 0)
		kept = malloc((size_t)1 << 30);
	if (strcmp(how, "leak") == 0)
		kept = malloc(100);
	kept = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *how = getenv("BATON_FUZZ_FAULT");

	if (how && size)
		misbehave(how);
	return 0;
}
