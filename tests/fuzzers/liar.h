/* What if Redis lies? A store before a store: it passes every question on, and changes answers as it was told to. Only what a Redis can lie
 * about: states, numbers, order, what is there and what is not. Blobs it cannot make, for they are sealed. */
#ifndef BATON_TESTS_FUZZ_LIAR_H
#define BATON_TESTS_FUZZ_LIAR_H

#include "store/store.h"

struct store *liar_new(struct store *truth); /* takes it */
/* One of the answers to come is changed so; with the highest bit of `what`, all of them. */
void liar_tell(struct store *s, uint8_t what, uint8_t how);

#endif
