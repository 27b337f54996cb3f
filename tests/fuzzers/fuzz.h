/* What does every fuzzer have? libFuzzer's two entry points, a count of what was good, and a way to say what must hold. */
#ifndef BATON_TESTS_FUZZ_H
#define BATON_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Once, before the first input. Not every target has one. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many inputs were good in the target's own eyes. A corpus without one tests nothing: replay.c looks at it. */
extern unsigned fuzz_good;

#define NEED(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
