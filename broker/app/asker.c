/* What does the broker prove itself by to an issuer that it asks about tokens? A secret and a certificate: of an issuer of the configuration as it says, of a registered
 * one what this node has; one for which something is missing is mute. See introspector_priv.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/introspector_priv.h"
#include "base/log.h"
#include "identity/introspection.h"
#include "net/tls.h"

/* ---- its secret ---- */

static void drop_secret(struct asker *k)
{
	secret_wipe(k->authorization, k->authorization ? strlen(k->authorization) : 0);
	free(k->authorization);
	k->authorization = NULL;
}

static int set_secret(struct asker *k, struct slice secret, const char *name, struct problem *why)
{
	drop_secret(k);
	k->authorization = calloc(1, INTROSPECTION_BASIC_MAX);
	if (!k->authorization)
		return problem_set(why, "out of memory");
	return introspection_basic(&k->rule, secret, k->authorization) ? 0 : problem_set(why, "the secret %s is too long", name);
}

static int take_gathered(struct asker *k, struct problem *why)
{
	const char *path = k->rule.introspection.secret_file, *fault = "it was not asked for";
	struct slice secret = k->of->c.gathered ? gathering_find(k->of->c.gathered, path, &fault) : slice_of(NULL, 0);

	return secret.n ? set_secret(k, secret, path, why) : problem_set(why, "%s", fault);
}

struct asker *asker_find_same(const struct introspector *x, const struct asker *k)
{
	for (size_t i = 0; x && i < x->n; i++)
		if (memcmp(x->askers[i].source, k->source, SHA256_BYTES) == 0 && x->askers[i].rule.registered == k->rule.registered)
			return &x->askers[i];
	return NULL;
}

static int open_configured(struct asker *k, const struct asker *as_read, struct problem *why)
{
	const struct introspection_rule *i = &k->rule.introspection;

	if (as_read) {
		k->authorization = as_read->authorization ? strdup(as_read->authorization) : NULL;
		return k->authorization || !as_read->authorization ? 0 : problem_set(why, "out of memory");
	}
	if ((i->secret_file[0] && take_gathered(k, why) < 0) || (i->cert_file[0] && tls_check_identity(i->cert_file, i->key_file, why) < 0))
		return problem_prefix(why, "issuer %s: introspection", k->rule.name);
	return 0;
}

static void log_mute(const struct asker *k)
{
	const struct introspection_rule *i = &k->rule.introspection;

	if (strcmp(k->told, k->failure) != 0)
		log_event(LOG_WARN, "introspection.no_secret", F_STR("issuer", k->rule.name), F_STR("secret", i->secret), F_STR("certificate", i->cert), F_STR("why", k->failure),
			  F_STR("remedy", k->again ? "its opaque tokens are refused on this node until the keeper hands it out: it is asked each second"
							    : "its opaque tokens are refused on this node: put there what is missing, and send SIGHUP"));
}

/* What is registered keeps no node from living by the rest: a secret or certificate that is not there is said, and its issuer not asked. */
static void set_mute(struct asker *k, bool mute, const char *why)
{
	pthread_mutex_lock(&k->of->lock);
	k->waits = false;
	k->mute = mute;
	if (mute)
		snprintf(k->failure, sizeof k->failure, "%s", why);
	else if (k->told[0])
		k->failure[0] = '\0';
	pthread_mutex_unlock(&k->of->lock);
	if (mute)
		log_mute(k);
	snprintf(k->told, sizeof k->told, "%s", mute ? k->failure : "");
}

static void on_secret(void *of, enum secret_result result, struct slice secret, const char *why)
{
	struct asker *k = of;
	struct problem fault = {""};
	bool here = result == SECRET_HERE && set_secret(k, secret, k->rule.introspection.secret, &fault) == 0, serves = here || (result == SECRET_LATER && k->authorization);
	bool was_mute = k->mute;

	k->wanted = 0;
	k->again = result == SECRET_LATER;
	if (!serves)
		drop_secret(k);
	set_mute(k, !serves, result == SECRET_HERE ? fault.text : why);
	introspector_begin_waiting(k->of);
	if (was_mute || k->mute)
		k->of->c.on_mute(k->of->c.arg);
}

static void want_secret(struct asker *k)
{
	const struct introspection_rule *i = &k->rule.introspection;
	const struct secret_source *from = k->of->c.source;

	k->wanted = from->ask(from->arg, &(struct secret_wanted){.file = "", .url = i->url, .name = i->secret}, on_secret, k);
	k->again = !k->wanted;
}

/* The secret that it had is used until the keeper says what it is now: a change of one issuer takes nobody's else away. */
static void open_registered(struct asker *k, const struct asker *before)
{
	const struct introspection_rule *i = &k->rule.introspection;
	const struct secrets_asked asked = {k->of->c.secrets, i->url, i->secret, i->cert, k->of->c.owner};
	struct problem why = {"the keeper cannot be asked now"};
	bool fit = secrets_find(&asked, &k->found, &why) == 0;

	if (before && before->mute)
		memcpy(k->told, before->failure, sizeof k->told);
	if (fit && before && before->authorization)
		k->authorization = strdup(before->authorization);
	if (fit && i->secret[0])
		want_secret(k);
	k->waits = k->wanted;
	if (!fit || (i->secret[0] && !k->wanted && !k->authorization))
		set_mute(k, true, why.text);
}

int asker_open(struct introspector *x, struct asker *k, const struct issuer_rule *r, const struct introspector *running, const struct introspector *as_read, struct problem *why)
{
	const struct asker *before;

	k->of = x;
	k->rule = *r;
	introspection_source(r, k->source);
	before = asker_find_same(running, k);
	if (before)
		k->said = before->said;
	if (before && !before->mute) {
		k->fails = before->fails;
		memcpy(k->failure, before->failure, sizeof k->failure);
	}
	if (r->registered)
		open_registered(k, before);
	else if (open_configured(k, asker_find_same(as_read, k), why) < 0)
		return -1;
	k->gate = askgate_new();
	k->fetcher = fetcher_new(x->c.loop);
	return k->gate && k->fetcher ? 0 : problem_set(why, "out of memory");
}

void asker_look(struct asker *k)
{
	if (k->again && !k->wanted)
		want_secret(k);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool asker_shows_the_same(const struct asker *k, const struct asker *other)
{
	const struct secrets_found *a = &k->found, *b = &other->found;

	return same_text(a->ca_pem, b->ca_pem) && same_text(a->cert_pem, b->cert_pem) && a->key_n == b->key_n && (!a->key_n || secret_equal(a->key_pem, b->key_pem, a->key_n));
}

void asker_close(struct asker *k)
{
	if (k->wanted)
		k->of->c.source->cancel(k->of->c.source->arg, k->wanted);
	if (k->fetcher)
		fetcher_free(k->fetcher);
	askgate_free(k->gate);
	drop_secret(k);
	secrets_clear(&k->found);
}
