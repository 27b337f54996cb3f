/* What do the parts of the configuration reader share? The table's row, and the place where the reader is. Private
 * to app/config*.c. */
#ifndef BATON_APP_CONFIG_PRIV_H
#define BATON_APP_CONFIG_PRIV_H

#include "app/config.h"
#include "base/yaml_tree.h"

struct config_reader {
	const char *file;
	struct arena *arena;
	struct problem *why;
	struct config *config;
};

enum config_kind {
	KIND_SECTION,  /* a mapping whose keys have rows of their own */
	KIND_LIST,     /* a list of mappings, each read into an element */
	KIND_NAMES,    /* a list of names → char [][64] and a count */
	KIND_TEXT,     /* as it is */
	KIND_NAME,
	KIND_PATH,     /* absolute; need not be there yet */
	KIND_FILE,     /* absolute; must be there */
	KIND_FOLDER,   /* absolute; must be there */
	KIND_SECRET,   /* a KIND_FILE that the keeper reads: it may be out of the broker's sight */
	KIND_KEY,      /* a KIND_FILE, or a URI that a provider reads */
	KIND_LISTEN,   /* address:port; "off" → "" when min is 0 */
	KIND_NUMBER,   /* min..max */
	KIND_SIZE,     /* bytes: 512, 16KiB, 1MiB, 4GiB */
	KIND_DURATION, /* milliseconds: 250ms, 2s, 5m, 24h, 7d */
	KIND_FRACTION, /* double, 0..1 */
	KIND_BOOL,     /* true, false */
	KIND_CHOICE,   /* one of `choices`: its number, as an int */
	KIND_SWITCH,   /* one of two `choices`, as a bool: the first is true */
	KIND_ONLY,     /* nothing but the default; kept nowhere. `note` says why */
	KIND_CUSTOM,   /* by `custom` */
};

struct config_row;
typedef int config_custom(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to);
typedef const char *config_check(const char *text); /* NULL when fine, else what it must be */

struct config_row {
	const char *path;       /* "issuers[].url" */
	enum config_kind kind;
	size_t offset;          /* of the field in struct config, or in the list's element */
	size_t size;            /* of the field: a char array's, 0 for a const char *; a number's; a list element's */
	const char *def;        /* text of the default; NULL = must be set, or nothing is done when it is not */
	bool required;
	int64_t min, max;       /* of a number, size or duration; of a list's length */
	size_t count;           /* offset of the list's length */
	const char *choices;    /* "deny allow" */
	config_check *check;
	config_custom *custom;  /* KIND_CUSTOM; of a KIND_LIST: looks at each element once it is read */
	const char *note;       /* for errors: what to do */
};

/* Of an issuer, in config_issuer.c. `to` is the struct issuer_rule; of names a struct claim_names. */
config_custom config_issuer_audiences, config_issuer_algorithms, config_issuer_names, config_issuer_tenant_values;
config_custom config_issuer_settle; /* looks at the whole rule, and fills in what its dialect says */

/* Of a provider, in config_provider.c. `to` is a struct tls_settings, a struct tls_paths, the struct tls_provider_config. */
config_custom config_provider_parameters, config_provider_environment, config_provider_paths;
config_custom config_provider_check;

extern const struct config_row config_rows[];
extern const size_t config_n_rows;

/* What to say about a key that is none but that people try. NULL = nothing. */
const char *config_hint(const char *table_path);

/* Sets one field from a text. node: for the error's place. */
int config_set(struct config_reader *r, const struct config_row *row, const struct yaml_node *node, const char *shown,
	const char *text,
	       void *to);
/* A list of texts, each judged by itself. */
struct config_texts {
	size_t max;
	const char *of, *example; /* "URLs", "[https://pki.acme.example/acme.crl]" */
	const char *one;          /* what is wrong with an element that is no text */
	config_check *wrong;
	const char *twice;        /* what is wrong with one that stands there twice; NULL: it may */
};
/* Into the arena; without a node there are none. */
int config_set_texts(struct config_reader *r, const struct config_texts *t, const struct yaml_node *node, const char *shown, const char *const **out, size_t *n);
/* "file:line:column: ...". Returns -1. */
int config_error(struct config_reader *r, const struct yaml_node *node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Looks at the whole once it is read, and fills in what depends on other keys. */
int config_finish(struct config_reader *r, const struct yaml_node *root);

#endif
