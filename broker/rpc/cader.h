/* Whose certificates does a resource want servers to have? A list of certificates, DER, that stands in it. */
#ifndef BATON_RPC_CADER_H
#define BATON_RPC_CADER_H

#include <protobuf-c/protobuf-c.h>

#include <stddef.h>

/* What is wrong with them, static text; NULL: nothing, or there are none. */
const char *cader_wrong(const ProtobufCBinaryData *v, size_t n);
/* The same as PEM; owned (free()). NULL: there are none, one is no certificate, or memory is out. */
char *cader_pem(const ProtobufCBinaryData *v, size_t n);

#endif
