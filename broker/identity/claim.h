/* Where in a payload does a claim stand? Under its name, to the byte, whatever characters that has ("https://acme.example/tenant"). Only a
 * name that begins with "/" is a JSON pointer (RFC 6901) and leads into objects: "/realm_access/roles"; a claim whose own name begins
 * so is written "/~1name". Nothing is ever looked for in two ways. */
#ifndef BATON_IDENTITY_CLAIM_H
#define BATON_IDENTITY_CLAIM_H

#include <jansson.h>

#include "identity/dialect.h"

#define CLAIM_DEPTH_MAX 4

/* NULL: it can be one; else static text. */
const char *claim_name_wrong(const char *name);
/* *v is the claim, NULL: it is not there. false: on the way to it stands something that is no object. */
bool claim_find(const json_t *payload, const char *name, const json_t **v);
/* The first of the names that is there, and *name; with none of them there, the first name. fallback: for a list without names. */
bool claim_find_first(const json_t *payload, const struct claim_names *names, const char *fallback, const json_t **v, const char **name);

#endif
