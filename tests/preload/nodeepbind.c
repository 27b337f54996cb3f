/* What does a sanitized batond need to load a PKCS#11 library? That the provider's dlopen(3) does not ask for RTLD_DEEPBIND, which AddressSanitizer's runtime
 * refuses by ending the process. Preloaded by the tests there, and nowhere else. */
#include <dlfcn.h>

void *dlopen(const char *file, int mode)
{
	static void *(*real)(const char *, int);

	if (!real)
		real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
	return real(file, mode & ~RTLD_DEEPBIND);
}
