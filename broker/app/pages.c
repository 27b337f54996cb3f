/* What does a monitoring system see? Three pages, rendered when asked for. */
#include "app/pages.h"

#include <stdlib.h>

struct pages {
	struct metrics *metrics;
	struct health *health;
	struct http_page page[3];
	struct http *http;
};

static int render_metrics(void *arg, struct buf *body)
{
	struct pages *p = arg;

	metrics_set(p->metrics, METRIC_STORE_CONNECTED, NULL, NULL, health_ok(p->health, HEALTH_STORE));
	return metrics_render(p->metrics, body) < 0 ? 500 : 200;
}

/* Alive: this answer itself is the proof. */
static int render_alive(void *arg, struct buf *body)
{
	(void)arg;
	return buf_put_str(body, "{\"alive\":true}\n") ? 200 : 500;
}

static int render_ready(void *arg, struct buf *body)
{
	struct pages *p = arg;

	if (health_render(p->health, body) < 0)
		return 500;
	return health_ready(p->health) ? 200 : 503;
}

struct pages *pages_listen(struct loop *l, const char *address, struct metrics *m, struct health *h, struct problem *why)
{
	struct pages *p = calloc(1, sizeof *p);

	if (!p) {
		problem_set(why, "out of memory");
		return NULL;
	}
	p->metrics = m;
	p->health = h;
	p->page[0] = (struct http_page){"/metrics", "text/plain; version=0.0.4; charset=utf-8", render_metrics, p};
	p->page[1] = (struct http_page){"/healthz", "application/json", render_alive, p};
	p->page[2] = (struct http_page){"/readyz", "application/json", render_ready, p};
	p->http = http_listen(l, address, p->page, 3, why);
	if (!p->http) {
		free(p);
		return NULL;
	}
	return p;
}

void pages_free(struct pages *p)
{
	if (!p)
		return;
	http_free(p->http);
	free(p);
}
