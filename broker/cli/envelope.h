/* How do options become the bytes of a task envelope? */
#ifndef BATON_CLI_ENVELOPE_H
#define BATON_CLI_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct cli;

#define ENVELOPE_MAX (17 * 1024 * 1024) /* a payload's hard cap is 16 MiB */

/* Appends the envelope's bytes: made from the options with a fresh nonce, or read from --replay. Writes
 * --envelope-file. 0, or an exit code, complained about. */
int envelope_make(const struct cli *c, struct buf *out);

struct client_status;
/* After a refusal as stale: when the envelope was stamped just now and both clocks agree, the store was restarted,
 * and takes only what is issued a little later (the contract's I2). Then this waits a moment and says true: make it
 * anew, with a new nonce, under the same idempotency key. false once deadline_mono_ms is near, for --replay and
 * --nonce, and for any other reason. */
bool envelope_stamp_again(const struct cli *c, const struct client_status *s, int64_t deadline_mono_ms);

#endif
