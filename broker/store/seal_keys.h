/* What is in the key file? Up to 16 keys by id; the first seals, all open. Private to seal.c and seal_keys.c. */
#ifndef BATON_STORE_SEAL_KEYS_H
#define BATON_STORE_SEAL_KEYS_H

#include "store/store.h"

#define SEAL_KEYS_MAX 16
#define SEAL_KEY_BYTES 32

struct seal_key {
	char id[NAME_MAX_BYTES + 1];
	uint8_t tag[4]; /* first bytes of SHA-256 of the id: what a sealed blob carries */
	uint8_t bytes[SEAL_KEY_BYTES];
};

struct seal_keys {
	size_t n; /* at least 1 */
	struct seal_key key[SEAL_KEYS_MAX];
};

#define SEAL_PRINT_BYTES 16
#define SEAL_PRINT_TEXT 22
/* By what nodes tell keys apart without telling them. false: memory is out. */
bool seal_key_print(const struct seal_key *key, char out[SEAL_PRINT_TEXT + 1]);
/* Index of the key with this tag, or -1. */
int seal_keys_find(const struct seal_keys *k, const uint8_t tag[4]);

#endif
