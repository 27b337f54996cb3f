/* Does a node's own file, torn or scribbled over, make a start misbehave? The first byte chooses: 'k' the sealing keys, 's' the numbers that
 * were seen of each slot, 'a' the end of the audit, 'u' an URL of the store. */
#include <ftw.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/words.h"
#include "fuzz.h"
#include "observe/audit.h"
#include "store/redis_url.h"
#include "store/remember.h"
#include "store/seal_keys.h"

#define INPUT_MAX (1u << 20)

unsigned fuzz_good;

static char folder[] = "/tmp/baton-fuzz-XXXXXX";

static int drop(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static void clean(void)
{
	nftw(folder, drop, 8, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	NEED(mkdtemp(folder));
	atexit(clean);
	return 0;
}

/* In memory, under a name that can be opened. */
static int put_file(struct slice bytes, char path[64])
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	NEED(fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static void try_keys(struct slice text)
{
	struct problem why = {""};
	struct seal_keys *k;
	char path[64];
	int fd = put_file(text, path);

	k = seal_keys_load(path, &why);
	NEED((k == NULL) == (why.text[0] != '\0'));
	fuzz_good += k != NULL;
	NEED(!k || (k->n >= 1 && k->n <= SEAL_KEYS_MAX));
	for (size_t i = 0; k && i < k->n; i++)
		NEED(name_valid(slice_str(k->key[i].id)) && seal_keys_find(k, k->key[i].tag) == (int)i);
	seal_keys_free(k);
	close(fd);
}

static void try_seen(struct slice text)
{
	struct problem why = {""};
	struct remembered *r;
	struct remember *m;
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/seq.0.json", folder);
	f = fopen(path, "w");
	NEED(f && fwrite(text.p, 1, text.n, f) == text.n);
	fclose(f);
	m = remember_open(folder, &why);
	NEED((m == NULL) == (why.text[0] != '\0'));
	r = m ? remember_slot(m, "acme", "refunds") : NULL;
	NEED(!m || r);
	remember_close(m);
}

static void on_line(void *arg, struct slice event, struct slice handoff_id, enum handoff_state state)
{
	NEED(event.n && handoff_id.n && event.n + handoff_id.n < *(size_t *)arg && state <= STATE_DEAD_LETTERED);
}

static void try_audit(struct slice text)
{
	struct problem why = {""};
	char path[64];
	int fd = put_file(text, path);

	NEED(audit_tail(path, 60000, on_line, &text.n, &why) >= 0 && !why.text[0]);
	close(fd);
}

static void try_url(struct slice text)
{
	struct problem why = {""};
	struct redis_url url;
	char copy[1024];

	if (!slice_copy_str(text, copy, sizeof copy))
		return;
	if (redis_url_parse(copy, &url, &why) != 0) {
		NEED(why.text[0] && !strstr(why.text, "UExBTlRFRFNFQ1JFVA")); /* a password in it is not repeated */
		return;
	}
	NEED(!strchr(url.host, '@') && (url.unix_path[0] == '/') == !url.host[0]);
	NEED(url.unix_path[0] || (url.port >= 1 && url.port <= 65535 && url.db >= 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[256])(struct slice) = {['k'] = try_keys, ['s'] = try_seen, ['a'] = try_audit, ['u'] = try_url};

	if (size >= 1 && size <= INPUT_MAX && parts[data[0]])
		parts[data[0]](slice_of(data + 1, size - 1));
	return 0;
}
