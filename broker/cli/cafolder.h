/* Where do the files of somebody's CA lie? In one folder, 0700:
 *
 *	bundle.pem           the root's certificate: what brokers and agents trust
 *	crl.pem              the revocation lists of the root and of all intermediates that are good (cacrl.h)
 *	issued, revoked      what was issued and what counts no more, a line each (carecord.h)
 *	current              the name of the intermediate that issues
 *	intermediates/NAME.pem, NAME.key    each intermediate; its key is dropped when it has ended
 *	root/root.pem, root.key             the root: the folder that is taken offline
 *	lock
 *
 * NAME is the beginning of the key's id, in hex, as the certificate's subject has it. Each file is written whole or not at all. */
#ifndef BATON_CLI_CAFOLDER_H
#define BATON_CLI_CAFOLDER_H

#include "base/buf.h"
#include "base/problem.h"
#include "identity/ca.h"

#define CAFOLDER_DIR 2048 /* of the folder's path, with its NUL */
#define CAFOLDER_NAME 17 /* 16 of hex, and a NUL */
#define CAFOLDER_INTERMEDIATES_MAX 64

struct capath {
	char p[CAFOLDER_DIR + 64];
};

struct caintermediate {
	char name[CAFOLDER_NAME];
	struct buf der;
	struct ca_cert_info info;
};

/* Open: nobody else changes it meanwhile. */
struct cafolder {
	char dir[CAFOLDER_DIR];
	int lock;
	char trust_domain[256];
	struct buf root; /* DER */
	struct ca_cert_info root_info;
	struct caintermediate all[CAFOLDER_INTERMEDIATES_MAX]; /* those whose key is there */
	size_t n;
	size_t current; /* of them */
};

/* DIR/name. */
const char *cafolder_path(const char *dir, struct capath *out, const char *name);
bool cafolder_is_there(const char *dir);

/* What a new folder holds. */
struct cafolder_new {
	const char *trust_domain;
	struct ca_servers servers;
	int64_t root_ms, intermediate_ms; /* how long they are good, from now */
	int64_t now_ms;
};
/* Made beside dir, synced, and then given its name: whole or not there. Refused when something is there already, but for an empty folder. 0, or
 * -1 with why. */
int cafolder_make(const char *dir, const struct cafolder_new *what, struct problem *why);

/* Waits for the lock. Owned, or NULL with why. */
struct cafolder *cafolder_open(const char *dir, struct problem *why);
void cafolder_close(struct cafolder *f);

/* Is the root's key there, or was it taken offline? */
bool cafolder_has_root_key(const struct cafolder *f);
/* With its key. Owned, or NULL with why; when the root's is not there why says what to do. */
struct ca_issuer *cafolder_root(const struct cafolder *f, struct problem *why);
struct ca_issuer *cafolder_intermediate(const struct cafolder *f, size_t at, struct problem *why);
/* Its key alone. Owned, or NULL with why. */
struct ca_key *cafolder_key(const struct cafolder *f, size_t at, struct problem *why);
/* The intermediate that has this key id, or NULL. */
const struct caintermediate *cafolder_find(const struct cafolder *f, const uint8_t key_id[CA_KEY_ID_BYTES]);

/* One more intermediate, which does not issue yet; its place in f->all. like: has the names of the current one instead of `servers`. -1 with why. */
int cafolder_add_intermediate(struct cafolder *f, const struct ca_servers *servers, bool like, int64_t now_ms, int64_t lifetime_ms, struct problem *why);
/* From now on it issues. */
int cafolder_set_current(struct cafolder *f, size_t at, struct problem *why);
/* Takes the files of the intermediate at `at` away: it was not made to issue. */
void cafolder_undo_intermediate(struct cafolder *f, size_t at);
/* Keys of intermediates that have ended: how many were dropped. */
size_t cafolder_drop_ended(struct cafolder *f, int64_t now_ms);

/* DER blocks as a PEM file of mode 0644. */
int cafolder_write_pem(const char *path, enum ca_pem kind, const struct slice *ders, size_t n, struct problem *why);
/* Where the key of a certificate in that file stands: beside FILE.pem, or FILE, FILE.key. -1 with why. */
int cafolder_key_path(const char *cert, char *out, size_t size, struct problem *why);
/* As PEM, mode 0600. */
int cafolder_write_key(const char *path, const struct ca_key *k, struct problem *why);

#endif
