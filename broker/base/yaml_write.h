/* How is YAML written so that no value is anything but a text? libyaml's emitter writes it, and what is not a word of ours stands in double quotes. */
#ifndef BATON_BASE_YAML_WRITE_H
#define BATON_BASE_YAML_WRITE_H

#include <stdbool.h>

#include "base/buf.h"

struct yaml_writer;

/* Writes to *out, which is borrowed, and is complete whenever a document has ended. NULL: memory is out. */
struct yaml_writer *yaml_writer_new(struct buf *out);
void yaml_writer_free(struct yaml_writer *w);

/* A document is a mapping. */
void yaml_writer_document(struct yaml_writer *w);
/* false: something of this document, or of one before, could not be written: memory, the cap of *out, a text that is not UTF-8. */
bool yaml_writer_end_document(struct yaml_writer *w);

/* Keys are words of ours; NULL in a list. */
void yaml_writer_list(struct yaml_writer *w, const char *key);
void yaml_writer_end_list(struct yaml_writer *w);
void yaml_writer_map(struct yaml_writer *w, const char *key);
void yaml_writer_end_map(struct yaml_writer *w);
void yaml_writer_word(struct yaml_writer *w, const char *key, const char *word);   /* without quotes: true, 12, agent */
void yaml_writer_text(struct yaml_writer *w, const char *key, const char *text);
void yaml_writer_entry(struct yaml_writer *w, const char *key, const char *text);  /* the key is somebody's text too */

#endif
