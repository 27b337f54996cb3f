/* What does this broker issue certificates with? See issuing.h. */
#include "rpc/issuing.h"

#include <stdlib.h>
#include <string.h>

#include "identity/enrolment.h"
#include "identity/peer.h"

#define DER_MAX 16384

static int add(struct issuing *i, struct slice der, struct problem *why)
{
	uint8_t *copy;
	char *pem;

	if (i->n_bundle == ISSUING_BUNDLE_MAX)
		return problem_set(why, "there are more than %d certificates", ISSUING_BUNDLE_MAX);
	pem = trust_pem(&der, 1);
	if (!pem)
		return problem_set(why, "what stands there in place %zu is no certificate", i->n_bundle + 1);
	free(pem);
	copy = malloc(der.n);
	if (!copy)
		return problem_set(why, "out of memory");
	memcpy(copy, der.p, der.n);
	i->bundle[i->n_bundle++] = slice_of(copy, der.n);
	return 0;
}

static int read_bundle(struct issuing *i, struct slice pem, struct problem *why)
{
	struct buf der;
	int rc = 1;

	buf_init(&der, DER_MAX);
	for (size_t at = 0; rc == 1; at++) {
		buf_reset(&der);
		rc = ca_pem_read(CA_PEM_CERTIFICATE, pem, at, &der, why);
		if (rc == 1 && add(i, buf_slice(&der), why) < 0)
			rc = -1;
	}
	buf_clear(&der);
	return rc == 0 && !i->n_bundle ? problem_set(why, "there is no certificate in it") : rc;
}

static int digest(struct issuing *i, struct problem *why)
{
	return enrolment_pin(i->bundle, i->n_bundle, i->sha256) ? 0 : problem_set(why, "out of memory");
}

struct issuing *issuing_new(const char *trust_domain, struct slice bundle_pem, int64_t ttl_ms, struct problem *why)
{
	struct issuing *i = calloc(1, sizeof *i);

	if (!i) {
		problem_set(why, "out of memory");
		return NULL;
	}
	atomic_init(&i->refs, 1);
	i->ttl_ms = ttl_ms;
	if (slice_copy_str(slice_str(trust_domain), i->trust_domain, sizeof i->trust_domain) && read_bundle(i, bundle_pem, why) == 0 && digest(i, why) == 0)
		return i;
	issuing_unref(i);
	return NULL;
}

bool issuing_vouches_for(const struct issuing *i, struct slice der)
{
	for (size_t n = 0; n < i->n_bundle; n++)
		if (ca_cert_signed_by(der, i->bundle[n]))
			return true;
	return false;
}

bool issuing_vouches(const struct issuing *i, struct slice chain_pem)
{
	struct problem why = {""};
	bool found = false;
	struct buf der;

	buf_init(&der, DER_MAX);
	for (size_t at = 0; !found && ca_pem_read(CA_PEM_CERTIFICATE, chain_pem, at, &der, &why) == 1; at++) {
		found = issuing_vouches_for(i, buf_slice(&der));
		buf_reset(&der);
	}
	buf_clear(&der);
	return found;
}

struct issuing *issuing_ref(struct issuing *i)
{
	if (i)
		atomic_fetch_add(&i->refs, 1);
	return i;
}

void issuing_unref(struct issuing *i)
{
	if (!i || atomic_fetch_sub(&i->refs, 1) != 1)
		return;
	for (size_t n = 0; n < i->n_bundle; n++)
		free((void *)i->bundle[n].p);
	free(i);
}
