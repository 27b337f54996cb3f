/* Is this an enrolment token, and which CAs does it pin? The form of EnrolToken in admin.proto. */
#ifndef BATON_CLI_ENROLTOKEN_H
#define BATON_CLI_ENROLTOKEN_H

#include "base/secret.h"
#include "base/slice.h"

#define ENROLTOKEN_BYTES 99

/* Sets pin: the SHA-256 of the CA bundle. NULL when fine, else static text: what is wrong, with nothing of the token in it. */
const char *enroltoken_parse(struct slice text, uint8_t pin[SHA256_BYTES]);
/* Is that the bundle? All of it, one after the other. */
bool enroltoken_pins(const uint8_t pin[SHA256_BYTES], const struct slice *der, size_t n);

#endif
