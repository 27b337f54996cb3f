/* Does any file make the configuration reader misbehave? The input is baton.yaml, in a memory file so that no disk
 * is touched. */
#include <sys/mman.h>
#include <unistd.h>

#include "app/config.h"
#include "base/yaml_tree.h"
#include "fuzz.h"


unsigned fuzz_good;

/* Every place lies inside the input, and a mapping's keys are texts. */
static size_t walk(const struct yaml_node *n)
{
	size_t count = 1, children = 0;

	NEED(n->line && n->column && (n->kind == YAML_TEXT) == (n->text != NULL));
	for (const struct yaml_node *e = n->first; e; e = e->next, children++) {
		NEED((n->kind == YAML_MAP) == (e->key != NULL) && (!e->key || e->key->text[0]));
		count += walk(e);
	}
	NEED(children == n->n);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new(64 << 20);
	struct problem why = {""};
	const struct yaml_node *root = yaml_tree_parse(slice_of(data, size), "fuzz", arena, &why);
	struct config *c;
	char path[64];
	int fd;

	NEED(!root == (why.text[0] != '\0'));
	if (root)
		walk(root);
	arena_free(arena);
	fd = memfd_create("config", MFD_CLOEXEC);
	NEED(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	why.text[0] = '\0';
	c = config_load(path, &why);
	NEED(!c == (why.text[0] != '\0'));
	if (c) {
		struct registry *r = config_registry(c, &why, NULL);

		fuzz_good++;
		NEED(c->n_trust && c->node[0] && c->max_payload <= 16 << 20);
		registry_unref(r);
	}
	config_free(c);
	close(fd);
	return 0;
}
