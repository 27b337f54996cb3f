/* Where do the sealing keys come from? From a file of lines "key-id base64url(32 bytes)", 0600, the same on all nodes. To rotate,
 * give all nodes a new key below the old one, then put it on top, and keep the old ones as long as what they sealed lives. */
#include "store/seal_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/secret.h"

#define FILE_MAX 16384

int seal_keys_find(const struct seal_keys *k, const uint8_t tag[4])
{
	for (size_t i = 0; i < k->n; i++)
		if (memcmp(k->key[i].tag, tag, 4) == 0)
			return (int)i;
	return -1;
}

bool seal_key_print(const struct seal_key *key, char out[SEAL_PRINT_TEXT + 1])
{
	uint8_t print[SEAL_PRINT_BYTES];

	if (hkdf_sha256(key->bytes, SEAL_KEY_BYTES, SLICE_LIT("baton store print"), print, sizeof print) != 0)
		return false;
	b64url_encode(print, sizeof print, out);
	return true;
}

/* HKDF of a digest is as good as HMAC of the bytes, under a key that is for nothing else. */
static bool mac_by(const struct seal_key *key, struct slice what, uint8_t mac[SEAL_MAC_BYTES])
{
	static const char label[] = "baton kept beside the store";
	uint8_t info[sizeof label + SHA256_BYTES];

	memcpy(info, label, sizeof label);
	sha256(what, info + sizeof label);
	return hkdf_sha256(key->bytes, SEAL_KEY_BYTES, slice_of(info, sizeof info), mac, SEAL_MAC_BYTES) == 0;
}

bool seal_keys_mac(const struct seal_keys *k, struct slice what, uint8_t mac[SEAL_MAC_BYTES])
{
	return mac_by(&k->key[0], what, mac);
}

bool seal_keys_made(const struct seal_keys *k, struct slice what, const uint8_t mac[SEAL_MAC_BYTES])
{
	uint8_t own[SEAL_MAC_BYTES];

	for (size_t i = 0; i < k->n; i++)
		if (mac_by(&k->key[i], what, own) && secret_equal(own, mac, sizeof own))
			return true;
	return false;
}

void seal_keys_free(struct seal_keys *k)
{
	if (!k)
		return;
	secret_wipe(k, sizeof *k);
	free(k);
}

static int add_line(struct seal_keys *k, struct slice line, unsigned number, struct problem *why)
{
	const uint8_t *space = memchr(line.p, ' ', line.n);
	struct seal_key *key = &k->key[k->n];
	struct slice id = slice_of(line.p, space ? (size_t)(space - line.p) : line.n);
	uint8_t h[SHA256_BYTES];

	if (k->n == SEAL_KEYS_MAX)
		return problem_set(why, "line %u: more than %d keys", number, SEAL_KEYS_MAX);
	if (!space || !name_valid(id))
		return problem_set(why, "line %u: not \"key-id base64url\"; a key-id is [a-z0-9][a-z0-9._-]*", number);
	if (b64url_decode(slice_of(space + 1, line.n - id.n - 1), key->bytes, SEAL_KEY_BYTES) != SEAL_KEY_BYTES)
		return problem_set(why, "line %u: the key is not 32 bytes of unpadded base64url", number);
	slice_copy_str(id, key->id, sizeof key->id);
	sha256(id, h);
	if (seal_keys_find(k, h) >= 0)
		return problem_set(why, "line %u: key-id \"%s\" stands twice", number, key->id);
	memcpy(key->tag, h, 4);
	k->n++;
	return 0;
}

static int parse(struct seal_keys *k, struct slice text, struct problem *why)
{
	unsigned number = 0;

	while (text.n) {
		const uint8_t *end = memchr(text.p, '\n', text.n);
		struct slice line = slice_of(text.p, end ? (size_t)(end - text.p) : text.n);
		size_t used = line.n + (end ? 1 : 0);

		number++;
		text = slice_of(text.p + used, text.n - used);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		if (add_line(k, line, number, why) != 0)
			return -1;
	}
	return k->n ? 0 : problem_set(why, "holds no key");
}

struct seal_keys *seal_keys_load(const char *path, struct problem *why)
{
	struct seal_keys *k = calloc(1, sizeof *k);
	uint8_t *text = NULL;
	size_t n = 0;
	int r = -1;

	if (!k || secret_read_file(path, FILE_MAX, &text, &n, why) != 0)
		goto out;
	r = parse(k, slice_of(text, n), why);
	if (r != 0)
		problem_prefix(why, "%s", path);
out:
	if (text) {
		secret_wipe(text, n);
		free(text);
	}
	if (r == 0)
		return k;
	seal_keys_free(k);
	return NULL;
}

static int write_key(int fd)
{
	static const char head[] = "key-1 ";
	char line[sizeof head + B64URL_LEN(SEAL_KEY_BYTES) + 1];
	uint8_t key[SEAL_KEY_BYTES];
	size_t n = sizeof head - 1 + B64URL_LEN(SEAL_KEY_BYTES);
	ssize_t done;

	random_bytes(key, sizeof key);
	memcpy(line, head, sizeof head);
	b64url_encode(key, sizeof key, line + sizeof head - 1);
	line[n++] = '\n';
	done = write(fd, line, n);
	secret_wipe(key, sizeof key);
	secret_wipe(line, sizeof line);
	return done == (ssize_t)n && fsync(fd) == 0 ? 0 : -1;
}

/* Under another name first, then linked: two starts at once agree on one file, and a crash leaves no half of it. */
int seal_keys_create(const char *path, struct problem *why)
{
	char tmp[4096];
	int fd = -1, r = -1;

	if (access(path, F_OK) == 0)
		return 0;
	if (snprintf(tmp, sizeof tmp, "%s.%ld.new", path, (long)getpid()) >= (int)sizeof tmp)
		return problem_set(why, "%.64s...: the path is too long", path);
	unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return problem_set(why, "%s: %s", tmp, strerror(errno));
	if (write_key(fd) != 0 || (link(tmp, path) != 0 && errno != EEXIST))
		problem_set(why, "%s: %s", path, strerror(errno));
	else
		r = 0;
	close(fd);
	unlink(tmp);
	return r;
}
