/* What does a route demand? Its security profile: a JSON file, read strictly, immutable, refcounted. Its version is
 * the SHA-256 of the file's exact bytes. */
#ifndef BATON_POLICY_PROFILE_H
#define BATON_POLICY_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/slice.h"
#include "base/words.h"

enum destination_class { CLASS_UNKNOWN = 0, CLASS_INTERNAL, CLASS_PARTNER, CLASS_CUSTOMER, CLASS_PUBLIC };
const char *destination_class_text(enum destination_class c);

enum profile_subject { SUBJECT_ANY = 0, SUBJECT_USER, SUBJECT_SERVICE };

struct profile_tool {
	char name[64];
	const char *const *scopes;       /* of its own; n 0 and has_spec false: every required scope */
	size_t n_scopes;
	bool has_spec;
	bool needs_approval;
	enum side_effect side_effect;    /* pinned; WRITE when the spec does not say */
	const char *const *destinations; /* n 0: all that egress allows */
	size_t n_destinations;
};

struct profile_domain {
	const char *pattern;             /* exact host, or "*." + suffix */
	enum destination_class cls;
};

#define PROFILE_REPLICAS_DEFAULT UINT32_MAX

/* Read what you need, change nothing. */
struct profile {
	char route[64];
	char version[24];                /* "sha256:" + first 16 hex */
	char version_full[72];
	const char *risk_class;
	/* identity */
	const char *const *allowed_issuers;
	size_t n_allowed_issuers;        /* at least 1 */
	const char *required_audience;   /* never "" */
	const char *const *required_scopes;
	size_t n_required_scopes;
	const char *const *tenants;
	size_t n_tenants;                /* 0 = no list */
	enum profile_subject subject;
	/* tools */
	const struct profile_tool *tools;
	size_t n_tools;
	/* egress */
	const struct profile_domain *domains;
	size_t n_domains;
	unsigned approval_classes;       /* bit 1 << class */
	bool block_private_networks, require_tls;
	/* sizes */
	uint32_t max_payload, max_output;
	uint32_t max_runtime_ms;           /* of one delivery; 0 = to the deadline */
	enum side_effect max_side_effect;   /* above: side_effect_denied; default EXTERNAL_SEND */
	/* delivery */
	uint32_t lease_ms, resume_ms, max_attempts, backoff_min_ms, backoff_max_ms;
	int64_t default_deadline_ms, max_deadline_ms; /* durations */
	bool broadcast;                     /* kind: every agent that may serve it has a copy; else one of them has the work */
	bool renew_by_progress;             /* keepalive: progress; else the stream's life renews the lease */
	uint32_t replicas;                  /* so many must have a change before it is answered; PROFILE_REPLICAS_DEFAULT: as many as the store demands */
	bool assertion;                     /* sign one for each delivery; default true */
	/* guardrails */
	enum content_trust min_trust;       /* UNTRUSTED = anything */
	/* observability */
	char retention[12];            /* "30d": class of its audit lines; "" = not said */
	int refs;
};

/* Owned (one ref), or NULL with why: the path of the member, what was seen, what is known
 * ("tools.spec.orders.lookup.side_effect: "maybe" is none of read, draft, write, external_send"). Strict: a
 * duplicate member, an unknown member, a wrong type, a bad name, an empty tool list, a spec for a tool that is not
 * listed, a destination that egress does not list, more than 1 MiB are all refused. The document's own example is
 * accepted as it stands. Members that a later part of Baton acts on (sandbox.limits, approvals, delegation,
 * guardrails, redact) are checked for type and kept or ignored, but a member that demands a check this broker cannot
 * do yet and that must not be skipped (guardrails.*.detect with action deny, input_schema) is accepted only with a
 * warning in *warn: see profile_parse's comment in the .c. */
struct profile *profile_parse(struct slice json, struct problem *why, struct problem *warn);
struct profile *profile_ref(struct profile *p);
void profile_unref(struct profile *p);

/* For how long the store keeps a lease that nobody renews. Where the stream's life renews it that is what a cut leaves, for a node that dies cuts all
 * of its streams; but not so short that a node that is only busy would lose it. */
uint32_t profile_hold_ms(const struct profile *p);
const struct profile_tool *profile_tool(const struct profile *p, struct slice name);
/* The first of its tools, held ones too, that does more than read; NULL: none. */
const struct profile_tool *profile_first_effect(const struct profile *p);
/* host, host:port or https URL → lower-case host and its class. false: not well formed, an IP literal in a private
 * range, http with require_tls, user info, ... (*why static). An unlisted host is CLASS_UNKNOWN. */
bool profile_classify(const struct profile *p, struct slice destination, char host[254], enum destination_class *cls,
	const char **why);

#endif
