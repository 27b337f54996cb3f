/* How do certificates and CRLs come out of a text? PEM (RFC 7468), or the bare base64 of one. */
#ifndef BATON_CLI_PEM_H
#define BATON_CLI_PEM_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/problem.h"
#include "base/slice.h"

#define PEM_CERTIFICATE "CERTIFICATE"
#define PEM_CRL "X509 CRL"

/* The DER of one, in the arena: base64 on one line or several, with the lines BEGIN and END around it or without. -1: it is none. */
int pem_one(struct slice text, const char *label, struct arena *arena, ProtobufCBinaryData *out);
/* All blocks of a text, each of this label; what stands between them is skipped. -1 with why: there is none, one is of another label or is none. */
int pem_all(struct slice text, const char *label, struct arena *arena, ProtobufCBinaryData **v, size_t *n, struct problem *why);

#endif
