/* How does a node notice a lost tail? See remember.h. The table belongs to the worker; only the text to write crosses to the thread. */
#include "store/remember.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/table.h"
#include "base/words.h"

#define WORKERS_MAX 64
#define SLOTS_MAX 65536
#define FILE_MAX (16u << 20)
#define PATH_BYTES 4096

struct entry {
	struct remembered r; /* first: what callers hold */
	char name[QUEUE_KEY_MAX_BYTES + 1];
	UT_hash_handle hh;
};

struct remember {
	struct entry *entries;
	bool dirty;
	char dir[PATH_BYTES];
	int number, lock_fd;
	/* the writer */
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the three below */
	pthread_cond_t cond;
	struct buf text;
	bool stop;
};

static int path_of(const struct remember *m, const char *kind, int number, char out[PATH_BYTES + 64])
{
	return snprintf(out, PATH_BYTES + 64, "%s/seq.%d.%s", m->dir, number, kind);
}

static struct entry *entry_of(struct remember *m, const char *name)
{
	struct entry *e;

	HASH_FIND_STR(m->entries, name, e);
	if (e || HASH_COUNT(m->entries) >= SLOTS_MAX)
		return e;
	e = calloc(1, sizeof *e);
	if (!e || !slice_copy_str(slice_str(name), e->name, sizeof e->name)) {
		free(e);
		return NULL;
	}
	HASH_ADD_STR(m->entries, name, e);
	if (TABLE_HAS(e, hh))
		return e;
	free(e);
	return NULL;
}

struct remembered *remember_slot(struct remember *m, const char *tenant, const char *route)
{
	char name[QUEUE_KEY_MAX_BYTES + 1];
	struct entry *e = queue_key(tenant, route, name) ? entry_of(m, name) : NULL;

	return e ? &e->r : NULL;
}

void remember_set(struct remember *m, struct remembered *r, uint32_t epoch, uint64_t seq)
{
	if (r->epoch == epoch && r->seq == seq)
		return;
	r->epoch = epoch;
	r->seq = seq;
	m->dirty = true;
}

/* Of several files the newest incarnation counts, and in it the highest number. */
static void merge(struct remember *m, const char *name, uint32_t epoch, uint64_t seq)
{
	struct entry *e = entry_of(m, name);

	if (e && (epoch > e->r.epoch || (epoch == e->r.epoch && seq > e->r.seq)))
		e->r = (struct remembered){epoch, seq};
}

static int read_one(struct remember *m, int number, struct problem *why)
{
	char path[PATH_BYTES + 64];
	uint8_t *text = NULL;
	size_t n = 0;
	json_t *doc = NULL, *slots, *v;
	const char *name;
	int r = 0;

	path_of(m, "json", number, path);
	if (access(path, F_OK) != 0)
		return 0;
	if (file_read(path, FILE_MAX, &text, &n, why) != 0)
		return -1;
	doc = json_read(slice_of(text, n), NULL);
	slots = json_object_get(doc, "slots");
	if (!json_is_object(slots))
		r = problem_set(why, "%s: not what Baton wrote; remove it if it cannot be restored", path);
	else
		json_object_foreach(slots, name, v)
			merge(m, name, (uint32_t)json_integer_value(json_array_get(v, 0)),
				(uint64_t)json_integer_value(json_array_get(v, 1)));
	json_decref(doc);
	free(text);
	return r;
}

/* The first number whose lock nobody holds. */
static int claim(struct remember *m, struct problem *why)
{
	char path[PATH_BYTES + 64];
	bool taken = true;

	for (m->number = 0; m->number < WORKERS_MAX; m->number++) {
		path_of(m, "lock", m->number, path);
		m->lock_fd = file_lock(path, 0, &taken, why);
		if (!taken)
			return m->lock_fd < 0 ? -1 : 0;
	}
	return problem_set(why, "%s: more than %d workers hold it", m->dir, WORKERS_MAX);
}

static void write_out(struct remember *m, struct slice text)
{
	struct problem why = {""};
	char path[PATH_BYTES + 64];

	path_of(m, "json", m->number, path);
	if (file_write_atomic(path, text, 0600, &why) != 0)
		log_event(LOG_WARN, "store.remember", F_STR("why", why.text));
}

static void *writer(void *arg)
{
	struct remember *m = arg;
	struct buf mine;

	pthread_mutex_lock(&m->lock);
	while (!m->stop || m->text.n) {
		if (!m->text.n) {
			pthread_cond_wait(&m->cond, &m->lock);
			continue;
		}
		mine = m->text;
		buf_init(&m->text, FILE_MAX);
		pthread_mutex_unlock(&m->lock);
		write_out(m, buf_slice(&mine));
		buf_clear(&mine);
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static void render(struct remember *m, struct buf *b)
{
	struct jsonw w;
	struct entry *e, *next;

	jsonw_init(&w, b);
	jsonw_object(&w, NULL);
	jsonw_object(&w, "slots");
	HASH_ITER(hh, m->entries, e, next) {
		jsonw_array(&w, e->name);
		jsonw_int(&w, NULL, e->r.epoch);
		jsonw_int(&w, NULL, (int64_t)e->r.seq);
		jsonw_end_array(&w);
	}
	jsonw_end_object(&w);
	jsonw_end_object(&w);
}

void remember_save(struct remember *m)
{
	struct buf b;

	if (!m->dirty || !m->has_thread)
		return;
	buf_init(&b, FILE_MAX);
	render(m, &b);
	if (b.failed) {
		buf_clear(&b);
		return;
	}
	m->dirty = false;
	pthread_mutex_lock(&m->lock);
	buf_clear(&m->text); /* an older one that was not begun is not worth writing any more */
	m->text = b;
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->lock);
}

static int begin(struct remember *m, const char *dir, struct problem *why)
{
	if (snprintf(m->dir, sizeof m->dir, "%s", dir) >= (int)sizeof m->dir)
		return problem_set(why, "the state folder's path is too long");
	if (file_make_dir(dir, 0700, why) != 0 || claim(m, why) != 0)
		return -1;
	for (int i = 0; i < WORKERS_MAX; i++)
		if (read_one(m, i, why) != 0)
			return -1;
	if (pthread_create(&m->thread, NULL, writer, m) != 0)
		return problem_set(why, "no thread to write %s", dir);
	m->has_thread = true;
	return 0;
}

struct remember *remember_open(const char *dir, struct problem *why)
{
	struct remember *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->lock_fd = -1;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->cond, NULL);
	buf_init(&m->text, FILE_MAX);
	if (dir && *dir && begin(m, dir, why) != 0) {
		remember_close(m);
		return NULL;
	}
	return m;
}

void remember_close(struct remember *m)
{
	struct entry *e, *next;

	if (!m)
		return;
	if (m->has_thread) {
		remember_save(m);
		pthread_mutex_lock(&m->lock);
		m->stop = true;
		pthread_cond_signal(&m->cond);
		pthread_mutex_unlock(&m->lock);
		pthread_join(m->thread, NULL);
	}
	if (m->lock_fd >= 0)
		close(m->lock_fd);
	buf_clear(&m->text);
	HASH_ITER(hh, m->entries, e, next) {
		HASH_DEL(m->entries, e);
		free(e);
	}
	pthread_cond_destroy(&m->cond);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
