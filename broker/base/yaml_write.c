/* How is YAML written so that no value is anything but a text? See yaml_write.h. */
#include "base/yaml_write.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct yaml_writer {
	yaml_emitter_t emitter;
	struct buf *out;
	bool failed;
};

static int put(void *arg, unsigned char *bytes, size_t n)
{
	struct yaml_writer *w = arg;

	return buf_put(w->out, bytes, n);
}

/* made: whether the event could be. The emitter takes it, also when it fails. */
static void emit(struct yaml_writer *w, yaml_event_t *event, int made)
{
	if (!made) {
		w->failed = true;
		return;
	}
	if (w->failed)
		yaml_event_delete(event);
	else if (!yaml_emitter_emit(&w->emitter, event))
		w->failed = true;
}

struct yaml_writer *yaml_writer_new(struct buf *out)
{
	struct yaml_writer *w = calloc(1, sizeof *w);
	yaml_event_t event;

	if (!w || !yaml_emitter_initialize(&w->emitter)) {
		free(w);
		return NULL;
	}
	w->out = out;
	yaml_emitter_set_output(&w->emitter, put, w);
	yaml_emitter_set_unicode(&w->emitter, 1);
	yaml_emitter_set_width(&w->emitter, -1);
	emit(w, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	return w;
}

void yaml_writer_free(struct yaml_writer *w)
{
	if (w)
		yaml_emitter_delete(&w->emitter);
	free(w);
}

/* Neither anchor nor tag. */
static void scalar(struct yaml_writer *w, const char *text, yaml_scalar_style_t style)
{
	yaml_event_t event;

	emit(w, &event, yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1, style));
}

static void key_of(struct yaml_writer *w, const char *key)
{
	if (key)
		scalar(w, key, YAML_PLAIN_SCALAR_STYLE);
}

static void begin_map(struct yaml_writer *w)
{
	yaml_event_t event;

	emit(w, &event, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
}

void yaml_writer_document(struct yaml_writer *w)
{
	yaml_event_t event;

	emit(w, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 0));
	begin_map(w);
}

bool yaml_writer_end_document(struct yaml_writer *w)
{
	yaml_event_t event;

	yaml_writer_end_map(w);
	emit(w, &event, yaml_document_end_event_initialize(&event, 1));
	if (!w->failed && !yaml_emitter_flush(&w->emitter))
		w->failed = true;
	return !w->failed;
}

void yaml_writer_list(struct yaml_writer *w, const char *key)
{
	yaml_event_t event;

	key_of(w, key);
	emit(w, &event, yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
}

void yaml_writer_end_list(struct yaml_writer *w)
{
	yaml_event_t event;

	emit(w, &event, yaml_sequence_end_event_initialize(&event));
}

void yaml_writer_map(struct yaml_writer *w, const char *key)
{
	key_of(w, key);
	begin_map(w);
}

void yaml_writer_end_map(struct yaml_writer *w)
{
	yaml_event_t event;

	emit(w, &event, yaml_mapping_end_event_initialize(&event));
}

void yaml_writer_word(struct yaml_writer *w, const char *key, const char *word)
{
	key_of(w, key);
	scalar(w, word, YAML_PLAIN_SCALAR_STYLE);
}

void yaml_writer_text(struct yaml_writer *w, const char *key, const char *text)
{
	key_of(w, key);
	scalar(w, text, YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

void yaml_writer_entry(struct yaml_writer *w, const char *key, const char *text)
{
	scalar(w, key, YAML_DOUBLE_QUOTED_SCALAR_STYLE);
	scalar(w, text, YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}
