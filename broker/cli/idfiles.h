/* Where does an agent's identity lie? In a folder, 0700:
 *
 *	agent.pem          0600: the private key, then its certificate, then those above it. One file, so that no moment has the key of one certificate and
 *	                   another certificate
 *	bundle.pem         0644: the CAs that vouch for the broker
 *	agent.key.pending  0600: the key that a certificate was asked for, until it is there, and the digest of the token that is bound to it
 *
 * Each is written whole or not at all. */
#ifndef BATON_CLI_IDFILES_H
#define BATON_CLI_IDFILES_H

#include "base/problem.h"
#include "cli/certanswer.h"
#include "cli/cli.h"
#include "identity/ca.h"

#define IDFILES_PATH (SETTING_MAX + 32)

struct idfiles {
	char dir[SETTING_MAX], agent[IDFILES_PATH], bundle[IDFILES_PATH], pending[IDFILES_PATH]; /* bundle "" = it is not ours to replace */
	int lock; /* -1 = not held */
};

/* Of the folder dir, which is made when it is not there. 0, or -1 with why: it lets others in. */
int idfiles_make(struct idfiles *f, const char *dir, struct problem *why);
/* Of an identity in use: cert and key are the same file. The bundle is ca when that is bundle.pem of the same folder: what lies elsewhere may vouch for
 * others, too. 0, or -1 with why. */
int idfiles_of(struct idfiles *f, const char *cert, const char *key, const char *ca, struct problem *why);
/* Is an agent.pem there already, be it a link that leads nowhere? */
bool idfiles_enrolled(const struct idfiles *f);

/* Nobody else renews it meanwhile. Does not wait. 0; 1: somebody else has it; -1 with why. */
int idfiles_lock(struct idfiles *f, struct problem *why);
void idfiles_unlock(struct idfiles *f);

/* The key that was made for this token before, or a new one that is on the disk now. Owned, or NULL with why. */
struct ca_key *idfiles_pending(const struct idfiles *f, struct slice token, struct problem *why);
void idfiles_forget_pending(const struct idfiles *f);
/* The bundle when it is another one, then key and certificates. 0, or -1 with why. */
int idfiles_write(const struct idfiles *f, const struct ca_key *key, const struct certanswer *a, struct problem *why);

#endif
