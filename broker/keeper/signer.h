/* What does the keeper sign? Assertions (identity/assertion.h) alone: in its own name, from now on, for ASSERTION_LIFE_MS at most, for a receiver with a
 * SPIFFE id and its certificate. Who gets into the broker can have any such thing signed while he is in, and has no key to go on with. */
#ifndef BATON_KEEPER_SIGNER_H
#define BATON_KEEPER_SIGNER_H

#include "keeper/pipe.h"
#include "keeper/record.h"

struct keeper_signer;
/* Makes the key when there is none. The issuer is borrowed. NULL with why. */
struct keeper_signer *keeper_signer_new(const char *key_file, const char *issuer, struct problem *why);
/* now_ms, mono_ms: as keeper_issuer_answer(). *out points into the signer, until the next ask. */
void keeper_signer_answer(struct keeper_signer *k, const struct keeper_ask *a, int64_t now_ms, int64_t mono_ms, struct keeper_answer *out);
/* What it signed and refused; for the caller to set back once it is written down. */
struct record_count *keeper_signer_count(struct keeper_signer *k);
void keeper_signer_free(struct keeper_signer *k); /* NULL is fine */

#endif
