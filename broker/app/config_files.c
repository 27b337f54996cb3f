/* Which files and folders does a configuration name? Every row of the table that is one, also inside lists: those that the broker reads, and those that the keeper does. */
#include <stdio.h>
#include <string.h>

#include "app/config_priv.h"
#include "net/keyuri.h"

static const struct config_row *list_of(const char *path)
{
	size_t n = strcspn(path, "[");

	for (size_t i = 0; i < config_n_rows; i++)
		if (config_rows[i].kind == KIND_LIST && strlen(config_rows[i].path) == n && !strncmp(config_rows[i].path, path, n))
			return &config_rows[i];
	return NULL;
}

static const char *text_of(const struct config_row *row, const void *base)
{
	const char *at = (const char *)base + row->offset;

	return row->size ? at : *(const char *const *)at;
}

static int visit_list(const struct config *c, const struct config_row *row, config_file_visitor *fn, void *arg)
{
	const struct config_row *list = list_of(row->path);
	const char *first = *(const char *const *)((const char *)c + list->offset);
	size_t n = *(const size_t *)((const char *)c + list->count);
	const char *path;
	char key[96];
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++) {
		snprintf(key, sizeof key, "%s[%zu]%s", list->path, i, strchr(row->path, ']') + 1);
		path = text_of(row, first + i * list->size);
		if (path && *path)
			rc = fn(arg, key, path, row->kind == KIND_FOLDER);
	}
	return rc;
}

/* Of a key that a URI names the file with the PIN. */
static int visit_key(const struct config_row *row, const char *text, config_file_visitor *fn, void *arg)
{
	struct keyuri u;

	if (!keyuri_is(text))
		return fn(arg, row->path, text, false);
	return keyuri_parse(text, &u) == NULL && u.pin_file[0] ? fn(arg, row->path, u.pin_file, false) : 0;
}

static int visit(const struct config *c, const struct config_row *row, config_file_visitor *fn, void *arg)
{
	const char *path = strchr(row->path, '[') ? NULL : text_of(row, c);

	if (strchr(row->path, '['))
		return visit_list(c, row, fn, arg);
	return path && *path ? fn(arg, row->path, path, row->kind == KIND_FOLDER) : 0;
}

int config_each_file(const struct config *c, config_file_visitor *fn, void *arg)
{
	int rc = 0;

	for (size_t i = 0; i < config_n_rows && !rc; i++) {
		const struct config_row *row = &config_rows[i];

		if (row->kind == KIND_KEY)
			rc = visit_key(row, text_of(row, c), fn, arg);
		else if (row->kind == KIND_FILE || row->kind == KIND_FOLDER)
			rc = visit(c, row, fn, arg);
	}
	return rc;
}

int config_each_secret(const struct config *c, config_file_visitor *fn, void *arg)
{
	int rc = 0;

	for (size_t i = 0; i < config_n_rows && !rc; i++)
		if (config_rows[i].kind == KIND_SECRET)
			rc = visit(c, &config_rows[i], fn, arg);
	return rc;
}
