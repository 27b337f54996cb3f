/* Does a fuzzer's corpus still pass, without clang? A main() for the targets beside it: each file of the corpus that the program is named after
 * (test_fuzz_h2: tests/fuzzers/corpus/h2) goes in once, as libFuzzer would give it. What a target finds, it says by abort(). */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define PREFIX "test_fuzz_"
#define INPUT_MAX (1 << 20)
#define SECONDS_MAX 60 /* one input: it hangs */

/* Some targets have none. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

/* In memory of exactly its size, so that the sanitizers see a read beyond its end. */
static int feed(const char *folder, const char *name)
{
	static uint8_t input[INPUT_MAX];
	char path[4096];
	uint8_t *exact;
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "rb");
	if (!f) {
		printf("# %s: %s\n", path, strerror(errno));
		return -1;
	}
	n = fread(input, 1, sizeof input, f);
	fclose(f);
	exact = malloc(n ? n : 1);
	if (!exact)
		return -1;
	memcpy(exact, input, n);
	printf("# %s\n", name);
	fflush(stdout); /* it is the last line when the target aborts */
	alarm(SECONDS_MAX);
	(void)LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return 0;
}

static int feed_all(const char *folder)
{
	DIR *d = opendir(folder);
	const struct dirent *e;
	int n = 0;

	if (!d) {
		printf("# %s: %s\n", folder, strerror(errno));
		return -1;
	}
	while (n >= 0 && (e = readdir(d))) {
		if (e->d_name[0] != '.')
			n = feed(folder, e->d_name) == 0 ? n + 1 : -1;
	}
	closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	const char *root = getenv("BATON_SRCDIR");
	const char *name = strstr(program_invocation_short_name, PREFIX);
	char folder[2048];
	bool good;
	int n;

	if (!name)
		return 64;
	if (LLVMFuzzerInitialize)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	snprintf(folder, sizeof folder, "%s/tests/fuzzers/corpus/%s", root ? root : ".", name + strlen(PREFIX));
	n = feed_all(folder);
	good = n > 0 && fuzz_good > 0;
	printf("1..1\n%s 1 - %d inputs, good ones: %u\n", good ? "ok" : "not ok", n > 0 ? n : 0, fuzz_good);
	return good ? 0 : 1;
}
