/* Whose certificates does a resource want servers to have? See cader.h. */
#include "rpc/cader.h"

#include <stdlib.h>

#include "identity/peer.h"

#define BYTES_MAX (64u << 10)

char *cader_pem(const ProtobufCBinaryData *v, size_t n)
{
	struct slice *der = calloc(n + 1, sizeof *der);
	char *pem;

	for (size_t i = 0; der && i < n; i++)
		der[i] = slice_of(v[i].data, v[i].len);
	pem = der && n ? trust_pem(der, n) : NULL;
	free(der);
	return pem;
}

const char *cader_wrong(const ProtobufCBinaryData *v, size_t n)
{
	size_t bytes = 0;
	char *pem;

	for (size_t i = 0; i < n; i++)
		bytes += v[i].len;
	if (bytes > BYTES_MAX)
		return "at most 64 KiB of certificates";
	pem = cader_pem(v, n);
	free(pem);
	return pem || !n ? NULL : "one of them is no certificate (DER)";
}
