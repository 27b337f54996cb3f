/* Can the way a handoff is stored, leased and reported lose work, do it twice, or hand out one fence twice? A model for spin of what the
 * Functions of broker/store/baton2*.lua do to the records of one route, and of all who call them at the same time while answers get lost, brokers
 * die and Redis starts again from an older log. tests/model/run checks it in several small configurations (the names in capitals that are
 * given with -D), and checks that it fails when one rule is taken out (the names after MUTATION). tests/model/replay holds it against the
 * Functions themselves, tests/model/moves against the table of broker/messaging/life.c.
 *
 * What is left out: batches of several items (a Function is one step, so a batch is its items one behind the other), the classes of
 * priority (any id that waits may be taken next), blobs, events' bodies, quotas, and the count of sequence numbers that `open` reports.
 * Time is what is left until something is due, in steps: what matters is only what comes first. */

/* ---- the sizes of a configuration; tests/model/run sets others ---- */
#ifndef HANDOFFS
#define HANDOFFS 1
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef TRIES            /* how often a sender submits the same envelope */
#define TRIES 2
#endif
#ifndef LOSSES           /* answers that get lost, or brokers that die before they pass them on */
#define LOSSES 0
#endif
#ifndef CRASHES          /* restarts of Redis */
#define CRASHES 0
#endif
#ifndef ATTEMPTS         /* max_attempts of each handoff */
#define ATTEMPTS 2
#endif
#ifndef REPORTS          /* that a worker makes for one lease: events, renewals and a last one */
#define REPORTS 1
#endif
#ifndef LIMIT_EVENTS     /* of baton2.lua: the cursor from which a release costs an attempt. Cursors stop counting there */
#define LIMIT_EVENTS 5
#endif
#ifndef STARTS           /* how a handoff may be accepted: QUEUED alone, or any of the three */
#define STARTS 1
#endif
#ifndef DEADLINE         /* steps until the deadline of those that have one; 0: none has one */
#define DEADLINE 0
#endif
#ifndef SKEW             /* steps that a sender's clock may be fast; the same in the rule of the floor. Matters after a restart only */
#define SKEW 0
#endif
#ifdef SAME_KEY
#define ONE_KEY 1
#else
#define ONE_KEY 0
#endif
#ifdef FAILOVER
#define FAILS_OVER 1
#else
#define FAILS_OVER 0
#endif
/* Others, on when they are there: TORN (the end of the log may be lost although it was acknowledged), OUTCOMES (all kinds of a last report, not
 * only completed), BACK (retry and release), DELAY (with a delay), RENEW (extend), EVENTS, CANCEL, QUARANTINE, STRAGGLERS (a report
 * arrives twice, its first copy when it likes), PURGE, ONE_AGENT (both workers are one agent), SAME_KEY (two envelopes with one idempotency
 * key: a sender that was told to stamp anew), FAILOVER (with TORN: what comes back is a replica that was promoted, and each handoff has an idempotency
 * key), TRACE. */

/* ---- states and causes: the numbers of broker/base/words.h and the order of broker/messaging/life.h ---- */
#define NOTHING 0
#define HELD 1
#define SCHEDULED 2
#define QUEUED 3
#define LEASED 4
#define WORKING 5
#define INPUT 6
#define QUARANTINED 7
#define ALIAS 8          /* not a state: the record 'A' of a duplicate */
#define COMPLETED 10
#define FAILED 11
#define REJECTED 12
#define CANCELLED 13
#define EXPIRED 14
#define DEAD 15

#define ACCEPT 0
#define PROMOTE 1
#define LEASE 2
#define START 3
#define COMPLETE 4
#define FAIL 5
#define RETRY 6
#define REJECT 7
#define RELEASE 8
#define LAPSE 9
#define CANCELS 10
#define EXPIRE 11
#define QUARANTINES 12
#define DEAD_LETTER 13
#define HOLD 14
#define CONFIRM 15

#ifdef TRACE             /* a run at random, written down for tests/model/replay */
#define traced(...) printf(__VA_ARGS__)
#else
#define traced(...) skip
c_decl {
	\#include <stdio.h>
	\#include <stdlib.h>
	/* Which moves were made in any run: printed at the end, for the comparison with the table in life.c. */
	static unsigned char made[16][16][16];
	static void print_moves(void)
	{
		static const char *const states[16] = {"UNSPECIFIED", "HELD", "SCHEDULED", "QUEUED", "LEASED", "WORKING", "INPUT_REQUIRED", "QUARANTINED",
			"?", "?", "COMPLETED", "FAILED", "REJECTED", "CANCELLED", "EXPIRED", "DEAD_LETTERED"};
		static const char *const causes[16] = {"ACCEPT", "PROMOTE", "LEASE", "START", "COMPLETE", "FAIL", "RETRY", "REJECT", "RELEASE", "LAPSE",
			"CANCEL", "EXPIRE", "QUARANTINE", "DEAD_LETTER", "HOLD", "CONFIRM"};
		for (int f = 0; f < 16; f++)
			for (int c = 0; c < 16; c++)
				for (int t = 0; t < 16; t++)
					if (made[f][c][t])
						printf("move %s %s %s\n", states[f], causes[c], states[t]);
	}
	static void note_move(unsigned f, unsigned c, unsigned t)
	{
		static int begun;
		if (!begun) {
			begun = 1;
			atexit(print_moves);
		}
		made[f & 15][c & 15][t & 15] = 1;
	}
}
#endif

/* ---- answers ---- */
#define OK 0
#define REPLAYED 1
#define DUPLICATE 2
#define STALE 3
#define LOST 4
#define NOT_FOUND 5
#define WRONG 6
#define OPEN_FIRST 7     /* 'O' */

#define NEVER 9          /* of a time: there is none */
#define LEASE_STEPS 1    /* a lease lasts one step, a renewed one two from then on, a shortened one ends now */
#define LONG_STEPS 2
#define HINTS 3
#define ERA 16           /* more fences than are ever handed out between two restarts: the (ms since 2020) * 4096 of `open` */
#define ERAS 3

#define is_waiting(s) ((s) >= HELD && (s) <= QUEUED)
#define is_leased(s) ((s) >= LEASED && (s) <= INPUT)
#define is_terminal(s) ((s) >= COMPLETED)

/* ---- what Redis has ---- */
typedef Record {
	byte state;
	byte fence, owner, attempt;
	byte cursor;         /* stops at LIMIT_EVENTS */
	byte till;           /* steps until lease_until */
	byte submission;     /* token of the submission */
	byte report;         /* token of the last report; of the submission when that leased it at once */
	bit back;            /* mark 2: given back */
	bit asked, sure;     /* marks 8, held since a fail-over, and 16, confirmed since */
	bit doubt;           /* what its times, its fence and the slot's spans say: it was there at a fail-over, and neither confirmed nor leased since */
	/* where its id stands: q0 q1 q2 (how often), z (and when), h, x, d, f, and in l: a hint for each of its fences (0: free) */
	byte in_q;
	bit in_z, in_h, in_x, in_d, in_f;
	byte z_due;
	byte hint_fence[HINTS], hint_due[HINTS];
	/* Not in Redis, but for the properties: the lease that has this fence may still report something that counts. */
	bit reportable;
};
typedef Slot {           /* the hash m */
	byte inc, floor, fence, waiting;
};
Record r[HANDOFFS];      /* what Redis works on */
Slot m;
Record log_r[HANDOFFS];  /* what the log on the disk would give back */
Slot log_m;
bit unsynced;            /* the two differ */

byte boot = 1;           /* the incarnation of the server that runs */
byte now = SKEW + 1;     /* its clock, as coarse as stamps and floors need it: it moves on when a slot was opened */
byte broker_inc[2];      /* the incarnation that each broker knows */

/* ---- what is fixed in an envelope ---- */
byte issued[HANDOFFS], start[HANDOFFS];
byte deadline[HANDOFFS]; /* steps until then */
byte presenting[HANDOFFS]; /* how many still show it, or may yet. 0: its time for that is over, a broker refuses it by itself */

/* ---- what was promised, for the properties ---- */
bit acknowledged[HANDOFFS];  /* the sender was told that it is stored */
bit told_ok[HANDOFFS];       /* one submission was, as the first */
byte told[HANDOFFS];         /* the end that somebody was told of */
byte accepted_by[HANDOFFS];  /* the token by which its nonce was accepted, in whatever past */
bit purged[HANDOFFS];
bit done[HANDOFFS];          /* its worker was told that its end is stored, and its sender has not asked for more since */
int issued_fences[ERAS], delivered_fences[ERAS]; /* by Redis, and to a worker: a bit each */
byte losses = LOSSES, crashes = CRASHES;
bool closed;                 /* nothing can happen any more */

/* Accept leases at once to a worker of its broker, which has it from memory. */
chan deliver[WORKERS] = [2] of { byte, byte };

#ifdef STRAGGLERS
chan straggler = [1] of { byte, byte, byte, byte, bit, byte };
#endif

/* Used inside one step only. */
hidden byte i, j, mv_from, mv_cause, mv_to, to_state, answer_fence;
hidden byte late, all_dry;

#define fence_bit(f) (1 << ((f) % ERA))
#define era(f) ((f) / ERA)
inline use_fence(fences, number) /* once */
{
	assert((fences & fence_bit(number)) == 0);
	fences = fences | fence_bit(number)
}

/* ---- the disk ---- */
#define copy_record(to, from) \
	to.state = from.state; to.fence = from.fence; to.owner = from.owner; to.attempt = from.attempt; to.cursor = from.cursor; \
	to.till = from.till; to.submission = from.submission; to.report = from.report; to.back = from.back; \
	to.asked = from.asked; to.sure = from.sure; to.doubt = from.doubt; \
	to.in_q = from.in_q; to.in_z = from.in_z; to.in_h = from.in_h; to.in_x = from.in_x; to.in_d = from.in_d; to.in_f = from.in_f; \
	to.z_due = from.z_due; to.reportable = from.reportable; \
	to.hint_fence[0] = from.hint_fence[0]; to.hint_fence[1] = from.hint_fence[1]; to.hint_fence[2] = from.hint_fence[2]; \
	to.hint_due[0] = from.hint_due[0]; to.hint_due[1] = from.hint_due[1]; to.hint_due[2] = from.hint_due[2]
#define copy_slot(to, from) to.inc = from.inc; to.floor = from.floor; to.fence = from.fence; to.waiting = from.waiting

/* All that was carried out so far is in the log. */
inline fsync()
{
#if CRASHES
	if
	:: unsynced ->
		i = 0;
		do
		:: i < HANDOFFS -> copy_record(log_r[i], r[i]); i++
		:: else -> break
		od;
		copy_slot(log_m, m);
		unsynced = 0;
		traced("fsync\n")
	:: else
	fi
#else
	skip
#endif
}

/* With fsync always Redis answers when the log has what it did; without, at once. */
inline answered()
{
#if !defined(TORN) && !defined(ACK_BEFORE_FSYNC) /* MUTATION ACK_BEFORE_FSYNC: an answer does not wait for the disk */
	fsync()
#else
	skip
#endif
}

/* What a Function was asked, what it said, and how it left each record. */
#define show_record(h) \
	traced("record %d %d %d %d %d %d %d %d %d %d %d %d %d %d", h, r[h].state, r[h].fence, r[h].owner, r[h].attempt, r[h].cursor, r[h].till, \
		r[h].submission, r[h].report, r[h].back, r[h].asked, r[h].sure, r[h].in_q, r[h].in_z); \
	traced(" %d %d %d %d %d %d %d %d %d %d %d\n", r[h].z_due, r[h].in_h, r[h].in_x, r[h].in_d, r[h].in_f, r[h].hint_fence[0], r[h].hint_due[0], \
		r[h].hint_fence[1], r[h].hint_due[1], r[h].hint_fence[2], r[h].hint_due[2])
inline write_down()
{
	show_record(0);
#if HANDOFFS == 2
	show_record(1);
#endif
	traced("slot %d %d %d %d\n", m.inc, m.floor, m.fence, m.waiting)
}

/* ---- what must hold after each Function ---- */
/* A hint that comes in time tells of the lease. */
#define hints(h, n) (r[h].hint_fence[n] == r[h].fence && r[h].hint_due[n] <= r[h].till)
#define hinted(h) (hints(h, 0) || hints(h, 1) || hints(h, 2))
#define is_record(h) (r[h].state != NOTHING && r[h].state != ALIAS)

inline check()
{
	i = 0; j = 0;
	do
	:: i < HANDOFFS ->
		/* Nothing is lost: each record stands where somebody will find it, and nowhere else. */
		assert(r[i].in_h == (r[i].state == HELD));
		assert(r[i].in_x == (r[i].state == QUARANTINED));
		assert(r[i].in_d == (r[i].state == DEAD));
		assert(r[i].in_f == (r[i].state == ALIAS || (is_terminal(r[i].state) && r[i].state != DEAD)));
		assert(!r[i].in_z || is_waiting(r[i].state));
		assert(r[i].state != HELD || deadline[i] == NEVER || r[i].in_z);
		assert(r[i].state != SCHEDULED || r[i].in_z);
		assert(r[i].state != QUEUED || r[i].in_q + r[i].in_z == 1);
		assert(!is_leased(r[i].state) || r[i].in_q + r[i].in_z == 0);
		assert(!is_leased(r[i].state) || hinted(i));
		assert(r[i].attempt <= ATTEMPTS);
		/* What was acknowledged is there, and an end that was told stays. */
#ifndef TORN
		assert(!acknowledged[i] || purged[i] || r[i].state != NOTHING);
		assert(!told[i] || purged[i] || r[i].state == told[i]);
#endif
		j = j + is_waiting(r[i].state);
		i++
	:: else -> break
	od;
	assert(m.waiting == j); /* so it never goes below zero either */
#ifdef SAME_KEY
	assert(!(is_record(0) && is_record(1)))
#endif
}
/* At the end of a Function that wrote something. */
inline written()
{
#if CRASHES
	unsynced = 1;
#endif
	check()
}


/* ---- moves ---- */
inline move(h, cause, to)
{
	assert(!is_terminal(r[h].state)); /* a terminal state never changes */
	mv_from = r[h].state; mv_cause = cause; mv_to = to;
#ifndef TRACE
	c_code { note_move(mv_from, mv_cause, mv_to); };
#endif
	r[h].state = to;
	r[h].till = (is_leased(to) -> r[h].till : 0); /* Redis keeps it, and nobody reads it in another state */
	r[h].cursor = (r[h].cursor < LIMIT_EVENTS -> r[h].cursor + 1 : LIMIT_EVENTS)
}

/* The list f, or d. */
inline ended(h)
{
	r[h].in_f = 1;
	r[h].reportable = 0
}

inline dead_letter(h)
{
	move(h, DEAD_LETTER, DEAD);
	r[h].in_d = 1;
	r[h].reportable = 0
}

inline hint_add(h, number, left)
{
	j = 0;
	do
	:: r[h].hint_fence[j] != 0 && r[h].hint_fence[j] != number -> j++; assert(j < HINTS)
	:: else -> break
	od;
	r[h].hint_fence[j] = number;
	r[h].hint_due[j] = left
}

/* The next fence, and a hint of it. */
inline lease_to(h, o)
{
	m.fence++;
	assert(m.fence < ERAS * ERA);
	use_fence(issued_fences[era(m.fence)], m.fence); /* none is issued twice, in whatever past */
	r[h].fence = m.fence;
	r[h].owner = o;
	r[h].attempt++;
	r[h].till = LEASE_STEPS;
	r[h].back = 0;
	r[h].sure = 0;
	r[h].doubt = 0;
	r[h].reportable = 1;
	assert(!done[h]); /* what was done is not done again without its sender's word */
	assert(deadline[h] > 0) /* none is handed out past its deadline */
}

/* ---- baton2.lua: open ---- */
inline open(b)
{
	if
	:: m.inc != boot ->
		m.inc = boot;
#ifndef NO_FLOOR /* MUTATION NO_FLOOR: another incarnation leaves the floor where it is */
		m.floor = (m.floor > now -> m.floor : now);
#endif
#if FAILS_OVER
		i = 0;
		do
		:: i < HANDOFFS -> r[i].doubt = is_record(i); i++
		:: else -> break
		od;
#endif
		now = now + SKEW + 1;
#ifndef FENCE_NOT_LIFTED /* MUTATION FENCE_NOT_LIFTED: another incarnation goes on with the fences that it finds */
		m.fence = (m.fence > (boot - 1) * ERA -> m.fence : (boot - 1) * ERA);
#endif
		written()
	:: else
	fi;
	traced("open %d\n", b);
	write_down();
	broker_inc[b] = boot
}

#ifdef NOT_FRESH /* MUTATION NOT_FRESH: the Function compares the broker's incarnation with the slot's only, not with the server's */
#define is_open(b) (m.inc != 0 && m.inc == broker_inc[b])
#else
#define is_open(b) (m.inc == broker_inc[b] && broker_inc[b] == boot)
#endif

#ifdef SKEW_IGNORED /* MUTATION SKEW_IGNORED: what a fast clock stamped beyond the floor is taken */
#define is_stale(h) (issued[h] <= m.floor)
#else
#define is_stale(h) (issued[h] <= m.floor + SKEW)
#endif

#ifdef SUBMISSION_TOKEN_IGNORED /* MUTATION SUBMISSION_TOKEN_IGNORED: whoever shows a nonce again gets the first one's answer */
#define is_own(h, token) true
#else
#define is_own(h, token) (r[h].submission == token)
#endif

#if defined(SAME_KEY) && !defined(KEY_IGNORED) /* MUTATION KEY_IGNORED: nobody looks whether the idempotency key was seen */
#define first_of(h) (1 - (h))
#define has_first(h) is_record(first_of(h))
#else
#define has_first(h) false
#endif

inline queues_are_empty()
{
	all_dry = 1;
	i = 0;
	do
	:: i < HANDOFFS -> all_dry = all_dry && r[i].in_q == 0; i++
	:: else -> break
	od
}

/* ---- baton2_hold.lua ---- */
#ifdef HANDED_OUT_IN_DOUBT /* MUTATION HANDED_OUT_IN_DOUBT: nobody asks the sender after a fail-over */
#define is_doubtful(h) false
#else
#define is_doubtful(h) (r[h].doubt)
#endif

/* Its sender has sent it again. What is leased keeps its lease. */
inline confirm(h)
{
	if
	:: r[h].state == HELD && r[h].asked ->
		move(h, CONFIRM, QUEUED);
		r[h].asked = 0; r[h].sure = 1; r[h].doubt = 0;
		r[h].in_h = 0; r[h].in_z = 0; r[h].z_due = 0;
		r[h].in_q++
	:: r[h].state >= SCHEDULED && r[h].state <= INPUT && is_doubtful(h) -> r[h].sure = 1; r[h].doubt = 0
	:: else
	fi;
	done[h] = 0
}

/* ---- baton2.lua: accept. o: whom to lease to at once, 0 = nobody ---- */
inline accept(h, token, o, b)
{
	if
	:: !is_open(b) -> answer = OPEN_FIRST
	:: else ->
		if
		:: r[h].state == ALIAS -> answer = (is_own(h, token) -> DUPLICATE : REPLAYED)
		:: r[h].state != ALIAS && r[h].state != NOTHING -> answer = (is_own(h, token) -> OK : REPLAYED)
		:: r[h].state == NOTHING && is_stale(h) -> answer = STALE
		:: r[h].state == NOTHING && !is_stale(h) && has_first(h) ->
			/* burnt, and stands for the first one */
			answer = DUPLICATE;
			r[h].state = ALIAS;
			r[h].submission = token;
			r[h].in_f = 1;
#if defined(FAILOVER) && defined(SAME_KEY)
			confirm(first_of(h));
#endif
			written()
		:: else ->
			answer = OK;
			assert(!accepted_by[h]); /* a nonce is accepted once, in whatever past */
			accepted_by[h] = token;
			queues_are_empty();
			r[h].submission = token;
			r[h].report = 0; r[h].fence = 0; r[h].owner = 0; r[h].attempt = 0; r[h].back = 0; r[h].cursor = 0;
			r[h].asked = 0; r[h].sure = 0; r[h].doubt = 0;
			if
			:: o != 0 && all_dry && start[h] == QUEUED && deadline[h] > 0 ->
				move(h, ACCEPT, LEASED);
				r[h].cursor = 2;
				lease_to(h, o);
				r[h].report = token;
#ifdef FENCE_NOT_WRITTEN /* MUTATION FENCE_NOT_WRITTEN: accept leases, and the slot does not remember with which fence */
				m.fence--;
#endif
#ifndef AT_ONCE_WITHOUT_HINT /* MUTATION AT_ONCE_WITHOUT_HINT: accept leases, and leaves no hint of it */
				hint_add(h, r[h].fence, LEASE_STEPS)
#endif
			:: else ->
				move(h, ACCEPT, start[h]);
				m.waiting++;
				if
				:: start[h] == QUEUED -> r[h].in_q++
				:: start[h] == SCHEDULED -> r[h].in_z = 1; r[h].z_due = (deadline[h] < 1 -> deadline[h] : 1)
				:: start[h] == HELD ->
					r[h].in_h = 1;
					if
					:: deadline[h] != NEVER -> r[h].in_z = 1; r[h].z_due = deadline[h]
					:: else
					fi
				fi
			fi;
			written()
		fi
	fi;
	/* redis_answer.c, leased_at_once(): by this accept, and nothing has happened to the record since */
	answer_fence = (answer == OK && r[h].state == LEASED && r[h].cursor == 2 && r[h].till > 0 && r[h].owner == o
		&& r[h].report == r[h].submission -> r[h].fence : 0);
	traced("accept %d %d %d %d %d\n", h, token, o, broker_inc[b], answer);
	write_down()
}

/* ---- baton2.lua: lease. The id h is the next one in the queues ---- */
inline lease(h, o, b)
{
	answer_fence = 0;
	if
	:: !is_open(b) -> answer = OPEN_FIRST
	:: else ->
		answer = OK;
		r[h].in_q--;
		if
#ifdef LEASES_ANY_STATE /* MUTATION LEASES_ANY_STATE: what is popped is leased, whatever became of it meanwhile */
		:: false
		:: else ->
#else
		:: r[h].state != QUEUED /* cancelled, done or quarantined meanwhile: skipped */
#ifndef LEASES_WHAT_EXPIRED /* MUTATION LEASES_WHAT_EXPIRED: what is past its deadline is handed out */
		:: r[h].state == QUEUED && deadline[h] == 0 ->
			move(h, EXPIRE, EXPIRED);
			ended(h);
			m.waiting--
#endif
		:: r[h].state == QUEUED && deadline[h] != 0 && is_doubtful(h) ->
			move(h, HOLD, HELD);
			r[h].asked = 1;
			r[h].sure = 0;
			r[h].in_h = 1;
			if
			:: deadline[h] != NEVER -> r[h].in_z = 1; r[h].z_due = deadline[h]
			:: else
			fi
		:: else ->
#endif
			move(h, LEASE, LEASED);
			m.waiting--;
			lease_to(h, o);
			hint_add(h, m.fence, LEASE_STEPS);
			answer_fence = m.fence
		fi;
		written()
	fi;
	traced("lease %d %d %d %d %d\n", h, o, broker_inc[b], answer, answer_fence);
	write_down()
}

/* ---- baton2_report.lua: who may report ---- */
#if defined(NO_FENCE_CHECK) /* MUTATION NO_FENCE_CHECK: any report of leased work counts */
#define holds(h, f, o) (is_leased(r[h].state))
#elif defined(OWNER_ONLY) /* MUTATION OWNER_ONLY: the agent is compared, the fence is not */
#define holds(h, f, o) (is_leased(r[h].state) && r[h].owner == o)
#else
#define holds(h, f, o) (is_leased(r[h].state) && r[h].fence == f && r[h].owner == o)
#endif

/* extend, to `steps` from now */
inline extend(h, f, o, steps)
{
	if
	:: !holds(h, f, o) -> answer = LOST
	:: else ->
		answer = OK;
#ifndef SHORTENED_WITHOUT_HINT /* MUTATION SHORTENED_WITHOUT_HINT: the hint of a lease that was shortened tells too late */
		if
		:: steps < r[h].till -> hint_add(h, r[h].fence, steps)
		:: else
		fi;
#endif
		r[h].till = steps;
		written()
	fi;
	traced("extend %d %d %d %d %d\n", h, f, o, steps, answer);
	write_down()
}

inline event(h, f, o, to, token)
{
	if
	:: !holds(h, f, o) -> answer = LOST
	:: else ->
		answer = OK;
		assert(f == r[h].fence);
		move(h, START, to);
		r[h].report = token;
		written()
	fi;
	traced("event %d %d %d %d %d %d\n", h, f, o, mv_to, token, answer);
	write_down()
}

#ifdef REPORT_TOKEN_IGNORED /* MUTATION REPORT_TOKEN_IGNORED: a broker's repeat of a finish is a new report */
#define is_repeat(h, token) false
#else
#define is_repeat(h, token) (r[h].report == token)
#endif
#ifdef LATE_REFUSED /* MUTATION LATE_REFUSED: a report after the lapse is refused although nobody else has the work */
#define is_late(h, f, o) false
#else
/* What is held since a fail-over ends by it, but is not given back. */
#define ends(kind) ((kind) == COMPLETE || (kind) == FAIL || (kind) == REJECT || (kind) == EXPIRE)
#define is_late(h, f, o) ((r[h].state == QUEUED || (r[h].asked && ends(kind))) && !r[h].back && r[h].fence == f && r[h].owner == o && f != 0)
#endif

/* finish; kind: COMPLETE, FAIL, REJECT, EXPIRE, QUARANTINES, RETRY, RELEASE */
inline finish(h, f, o, kind, delay, token)
{
	late = is_late(h, f, o);
	if
	:: r[h].state == NOTHING -> answer = NOT_FOUND
	:: r[h].state != NOTHING && is_repeat(h, token) -> answer = OK
	:: r[h].state != NOTHING && !is_repeat(h, token) && !late && !holds(h, f, o) ->
		answer = LOST;
		/* What nobody else was handed still counts when it comes late. */
		assert(!(r[h].reportable && r[h].fence == f && r[h].state != HELD))
	:: else ->
		answer = OK;
		assert(f == r[h].fence && r[h].reportable); /* no report by a stale lease, nor a second last one */
#ifndef LATE_FINISH_KEEPS_COUNT /* MUTATION LATE_FINISH_KEEPS_COUNT: what waited since the lapse is still counted */
		m.waiting = m.waiting - late;
#endif
		r[h].asked = 0;
		r[h].in_h = 0; r[h].in_z = 0; r[h].z_due = 0;
		to_state = (kind == COMPLETE -> COMPLETED : (kind == FAIL -> FAILED : (kind == REJECT -> REJECTED : (kind == EXPIRE -> EXPIRED : NOTHING))));
		if
#ifdef RELEASE_COSTS_NOTHING /* MUTATION RELEASE_COSTS_NOTHING: work may be given back for ever */
		:: kind == RELEASE -> r[h].attempt = (r[h].attempt > 0 -> r[h].attempt - 1 : 0)
#else
		:: kind == RELEASE && r[h].cursor + 1 < LIMIT_EVENTS -> r[h].attempt = (r[h].attempt > 0 -> r[h].attempt - 1 : 0)
		:: kind == RELEASE && r[h].cursor + 1 >= LIMIT_EVENTS && r[h].attempt >= ATTEMPTS -> to_state = DEAD
#endif
		:: kind == RETRY && r[h].attempt >= ATTEMPTS -> to_state = DEAD
		:: else
		fi;
		if
		:: to_state == DEAD -> dead_letter(h)
		:: to_state != DEAD && to_state != NOTHING -> move(h, kind, to_state); ended(h)
		:: to_state == NOTHING && kind == QUARANTINES -> move(h, QUARANTINES, QUARANTINED); r[h].in_x = 1; r[h].reportable = 0
		:: else ->
			move(h, kind, QUEUED);
			r[h].reportable = 0;
#ifndef GIVEN_BACK_TWICE /* MUTATION GIVEN_BACK_TWICE: what was given back looks as if its lease had lapsed */
			r[h].back = 1;
			r[h].owner = 0;
#endif
			m.waiting++;
			if
#ifndef LATE_QUEUES_AGAIN /* MUTATION LATE_QUEUES_AGAIN: what stands in its queue since the lapse is put there once more */
			:: late
#endif
			:: !late && delay > 0 ->
#ifndef DELAY_FORGOTTEN /* MUTATION DELAY_FORGOTTEN: what backs off stands nowhere */
				r[h].in_z = 1;
				r[h].z_due = (deadline[h] < delay -> deadline[h] : delay)
#endif
			:: else -> r[h].in_q++
			fi
		fi;
		r[h].report = token;
		written()
	fi;
	traced("finish %d %d %d %d %d %d %d\n", h, f, o, kind, delay, token, answer);
	write_down()
}

/* cancel and quarantine: by others. An id in a queue stays there and is skipped when it is popped. */
inline leave_waiting(h)
{
#ifndef CANCEL_LEAVES_COUNT /* MUTATION CANCEL_LEAVES_COUNT: what is cancelled is still counted as waiting */
	m.waiting--;
#endif
	r[h].in_z = 0;
	r[h].in_h = 0;
	r[h].asked = 0; r[h].sure = 0
}

inline cancel(h, token)
{
	if
	:: r[h].state == NOTHING || r[h].state == ALIAS -> answer = NOT_FOUND
	:: is_terminal(r[h].state) && r[h].report == token -> answer = OK
	:: is_terminal(r[h].state) && r[h].report != token -> answer = WRONG
	:: else ->
		answer = OK;
		if
		:: is_waiting(r[h].state) ->
#ifdef CANCEL_LEAVES_DELAYED /* MUTATION CANCEL_LEAVES_DELAYED: cancelled work is promoted when its time comes */
			m.waiting--;
			r[h].in_h = 0
#else
			leave_waiting(h)
#endif
		:: r[h].state == QUARANTINED -> r[h].in_x = 0
		:: else
		fi;
		move(h, CANCELS, CANCELLED);
		r[h].report = token;
		ended(h);
		written()
	fi;
	traced("cancel %d %d %d\n", h, token, answer);
	write_down()
}

#ifdef QUARANTINES_TERMINAL /* MUTATION QUARANTINES_TERMINAL: quarantine takes what has ended */
#define quarantines(s) ((s) != QUARANTINED)
#else
#define quarantines(s) ((s) < QUARANTINED)
#endif

inline quarantine(h)
{
	if
	:: r[h].state != NOTHING && r[h].state != ALIAS && quarantines(r[h].state) ->
		if
		:: is_waiting(r[h].state) -> leave_waiting(h)
		:: else
		fi;
		move(h, QUARANTINES, QUARANTINED);
		r[h].in_x = 1;
		r[h].reportable = 0;
		written()
	:: else
	fi;
	traced("quarantine %d\n", h);
	write_down()
}

/* ---- baton2_tick.lua ---- */
/* The lease that hint n tells of: the record says whether it was extended, finished or leased again. */
inline lapse(h, n)
{
	if
#ifdef LAPSES_WHAT_ENDED /* MUTATION LAPSES_WHAT_ENDED: a hint is believed whatever the record says */
	:: r[h].state == NOTHING -> r[h].hint_fence[n] = 0; r[h].hint_due[n] = 0
	:: r[h].state != NOTHING && is_leased(r[h].state) && r[h].till > 0 -> r[h].hint_due[n] = r[h].till
#else
	:: !is_leased(r[h].state) || r[h].fence != r[h].hint_fence[n] -> r[h].hint_fence[n] = 0; r[h].hint_due[n] = 0
#ifndef LAPSES_BY_HINT /* MUTATION LAPSES_BY_HINT: a lease ends when its hint says so, although it was renewed */
	:: is_leased(r[h].state) && r[h].fence == r[h].hint_fence[n] && r[h].till > 0 ->
#ifdef HINT_LOST_ON_EXTEND /* MUTATION HINT_LOST_ON_EXTEND: the hint of a lease that was renewed is not put back */
		r[h].hint_fence[n] = 0; r[h].hint_due[n] = 0
#else
		r[h].hint_due[n] = r[h].till
#endif
#endif
#endif
	:: else ->
		assert(r[h].till == 0); /* nobody loses a lease that lasts */
		r[h].hint_fence[n] = 0; r[h].hint_due[n] = 0;
		if
		:: deadline[h] == 0 -> move(h, EXPIRE, EXPIRED); ended(h)
#ifndef NEVER_DEAD /* MUTATION NEVER_DEAD: a lapse does not look at the number of attempts */
		:: deadline[h] != 0 && r[h].attempt >= ATTEMPTS -> dead_letter(h)
#endif
		:: else ->
			move(h, LAPSE, QUEUED);
			r[h].back = 0;
			r[h].in_q++;
			m.waiting++
		fi
	fi
}

/* What waits until a time: scheduled, backing off, deadlines of held work. */
inline delays(h)
{
	r[h].in_z = 0;
	r[h].z_due = 0;
	if
	:: is_waiting(r[h].state) && deadline[h] == 0 ->
		r[h].in_h = 0;
		r[h].asked = 0;
		m.waiting--;
		move(h, EXPIRE, EXPIRED);
		ended(h)
	:: deadline[h] != 0 && r[h].state == SCHEDULED -> move(h, PROMOTE, QUEUED); r[h].back = 0; r[h].in_q++
	:: deadline[h] != 0 && r[h].state == QUEUED -> r[h].in_q++
	:: else
	fi
}

/* The window that moves through the queues: what is past its deadline ends; what does not wait any more leaves the head of its queue. */
inline deadlines(h)
{
	if
	:: r[h].in_q > 0 && r[h].state == QUEUED && deadline[h] == 0 ->
		m.waiting--;
		move(h, EXPIRE, EXPIRED);
		ended(h)
	:: else
	fi;
	if
#ifdef TRIMS_WHAT_WAITS /* MUTATION TRIMS_WHAT_WAITS: the head of a queue is cut without a look at its records */
	:: true -> r[h].in_q = 0
#else
	:: r[h].state != QUEUED -> r[h].in_q = 0
#endif
	:: else
	fi
}

#define hint_is_due(h, n) (r[h].hint_fence[n] != 0 && r[h].hint_due[n] == 0)
#ifdef NEVER_PROMOTED /* MUTATION NEVER_PROMOTED: nobody looks at what waits until a time */
#define delay_is_over(h) false
#else
#define delay_is_over(h) (r[h].in_z && r[h].z_due == 0)
#endif
#define is_due(h) (hint_is_due(h, 0) || hint_is_due(h, 1) || hint_is_due(h, 2) || delay_is_over(h) \
	|| (r[h].in_q > 0 && r[h].state == QUEUED && deadline[h] == 0))
#if HANDOFFS == 2
#define something_is_due (is_due(0) || is_due(1))
#define something_waits (r[0].in_q > 0 || r[1].in_q > 0)
#else
#define something_is_due is_due(0)
#define something_waits (r[0].in_q > 0)
#endif

inline tick()
{
	to_state = 0; /* the handoff that it looks at */
	do
	:: to_state < HANDOFFS ->
		i = 0;
		do
		:: i < HINTS ->
			if
			:: hint_is_due(to_state, i) -> lapse(to_state, i)
			:: else
			fi;
			i++
		:: else -> break
		od;
		if
		:: delay_is_over(to_state) -> delays(to_state)
		:: else
		fi;
		deadlines(to_state);
		to_state++
	:: else -> break
	od;
	written();
	traced("tick\n");
	write_down()
}

#ifdef PURGED_EARLY /* MUTATION PURGED_EARLY: what has ended is forgotten while its envelope may still be shown */
#define may_forget(h) (r[h].in_f || r[h].in_d)
#else
#define may_forget(h) ((r[h].in_f || r[h].in_d) && presenting[h] == 0)
#endif

/* What stands in a queue or in a hint stays there, as the id of nothing. */
inline purge(h)
{
	r[h].state = NOTHING;
	r[h].in_f = 0; r[h].in_d = 0;
	r[h].fence = 0; r[h].owner = 0; r[h].attempt = 0; r[h].cursor = 0; r[h].till = 0; r[h].submission = 0; r[h].report = 0; r[h].back = 0;
	r[h].asked = 0; r[h].sure = 0; r[h].doubt = 0;
	purged[h] = 1;
	written()
}

/* ==== who calls ==== */

/* Tokens: of submissions 240 and up, of a cancel 255, of reports by lease and number: no two are the same. */
#define submission_token(h, n) (240 + 4 * (h) + (n))
#define report_token(f, n) (4 * (f) + (n))
#define CANCEL_TOKEN 255
#if FAILS_OVER && defined(TRACE) /* a run at random seldom comes there by itself: work is there at the fail-over, and is confirmed after it */
#define worth_a_crash (is_waiting(log_r[0].state) || is_leased(log_r[0].state))
#define worth_a_try(h) ((h) == 0 || crashes == 0)
#else
#define worth_a_crash true
#define worth_a_try(h) true
#endif
#ifdef ONE_AGENT
#define agent_of(w) 1
#else
#define agent_of(w) ((w) + 1)
#endif
#define worker_at(b) ((b) % WORKERS) /* of a broker */

/* An answer comes only while the server that gave it runs. When it is lost, or the server is gone, the broker does not know what became of
 * its call; when the broker dies, whoever asked it does not. */
#define can_answer (boot == asked)
#define can_lose (boot != asked || losses > 0)
inline lose()
{
	if
	:: boot == asked -> losses--
	:: else
	fi
}

/* Clock, start and deadline of an envelope are its sender's; all who show it show the same bytes. */
inline stamp(h)
{
	issued[h] = now;
	start[h] = QUEUED;
	deadline[h] = NEVER;
#if SKEW
	if
	:: skip
	:: issued[h] = now + SKEW
	fi;
#endif
#if STARTS == 3
	if
	:: skip
	:: start[h] = SCHEDULED
	:: start[h] = HELD
	fi;
#endif
#if DEADLINE
	if
	:: skip
	:: deadline[h] = DEADLINE
	fi;
#endif
	traced("stamp %d %d %d %d\n", h, issued[h] - now, start[h], deadline[h])
}

/* An envelope comes to broker b: from its sender, from its sender once more because it does not know what became of the first (which may even
 * arrive later), or from somebody who copied it: the broker sees no difference. The broker asks again with the same token when it does not know. */
proctype Submission(byte h; byte n; byte b)
{
	byte answer, to, at_once, asked;

	if
	:: atomic { issued[h] == 0 && worth_a_try(h) -> stamp(h) }
	:: issued[h] != 0
	:: n > 0 -> goto over /* nobody repeats it */
	fi;
submit:
	atomic {
		asked = boot;
		d_step {
			to = (len(deliver[worker_at(b)]) == 0 -> agent_of(worker_at(b)) : 0);
			accept(h, submission_token(h, n), to, b);
			at_once = answer_fence;
			answer_fence = 0;
			to = 0
		}
	}
	if
	:: d_step { answer == OPEN_FIRST -> open(b); answered() }; goto submit
	:: atomic { answer != OPEN_FIRST && can_answer ->
		answered();
		if
		:: answer == OK ->
			assert(!told_ok[h]); /* the second one hears that it is a replay */
			told_ok[h] = 1;
			acknowledged[h] = 1;
			if
			:: at_once ->
				use_fence(delivered_fences[era(at_once)], at_once);
				deliver[worker_at(b)]!h,at_once
			:: else
			fi
		:: answer == REPLAYED ->
			assert(accepted_by[h] != submission_token(h, n)); /* nobody hears that of what its own broker asked twice */
			acknowledged[h] = 1
		:: else /* DUPLICATE: the first one's business. STALE: refused */
		fi }
	:: atomic { answer != OPEN_FIRST && can_lose ->
		lose();
		if
		:: goto submit
		:: skip /* the broker died */
		fi }
	fi;
over:
	atomic { presenting[h]--; issued[h] = (presenting[h] -> issued[h] : 1); answer = 0; to = 0; at_once = 0; asked = 0 }
}

/* A worker behind broker w, one lease at a time. It may take any time for what it does: then it is one that was stopped and comes back with
 * a lease that is somebody else's by now. */
inline forget()
{
	h = 0; f = 0; n = 0; kind = 0; delay = 0; end = 0; answer = 0; asked = 0; applied = 0
}

proctype Worker(byte w)
{
	byte h, f, n, kind, end, answer, asked;
	bit delay, applied;

end_idle:
	do
	:: deliver[w]?h,f -> break
	:: atomic { something_waits ->
		if
		:: r[0].in_q > 0
#if HANDOFFS == 2
		:: r[1].in_q > 0 -> h = 1
#endif
		fi;
		asked = boot;
		d_step {
			lease(h, agent_of(w), w);
			f = answer_fence;
			answer_fence = 0
		} }
		if
		:: d_step { answer == OPEN_FIRST -> open(w); answered(); forget() }
		:: d_step { answer != OPEN_FIRST && f == 0 -> forget() }
		:: atomic { f != 0 && can_answer -> answered(); use_fence(delivered_fences[era(f)], f); break }
		:: d_step { f != 0 && can_lose -> lose(); forget() } /* nobody has this lease: it lapses */
		fi
	od;

	do
#ifdef RENEW
	:: d_step { n < REPORTS -> n++; extend(h, f, agent_of(w), LONG_STEPS); answered(); answer = 0 }
	:: d_step { n < REPORTS -> n++; extend(h, f, agent_of(w), 0); answered(); answer = 0 }
#endif
#ifdef EVENTS
	:: d_step { n < REPORTS -> n++; event(h, f, agent_of(w), (r[h].state == WORKING -> INPUT : WORKING), report_token(f, n - 1)); answered(); answer = 0 }
#endif
	:: atomic { kind = COMPLETE; goto reports }
#ifdef OUTCOMES
	:: atomic { kind = FAIL; goto reports }
	:: atomic { kind = REJECT; goto reports }
	:: atomic { kind = EXPIRE; goto reports }      /* by the broker, which judges once more before it delivers */
	:: atomic { kind = QUARANTINES; goto reports } /* the same */
#endif
#ifdef BACK
	:: atomic { kind = RETRY; goto reports }
	:: atomic { kind = RELEASE; goto reports }
#ifdef DELAY
	:: atomic { kind = RETRY; delay = 1; goto reports }
	:: atomic { kind = RELEASE; delay = 1; goto reports }
#endif
#endif
	:: d_step { forget() }; goto end_idle /* it died */
	od;
reports:
	atomic {
#ifdef STRAGGLERS
		if
		:: losses > 0 && len(straggler) == 0 -> losses--; straggler!h,f,w,kind,delay,n
		:: skip
		fi;
#endif
		applied = (applied && boot == asked && !purged[h]);
		asked = boot;
		d_step {
			finish(h, f, agent_of(w), kind, delay, report_token(f, n));
			end = (answer == OK && is_terminal(r[h].state) -> r[h].state : 0);
			assert(answer == OK || !applied); /* a broker that asks again for an end hears what it would have heard */
			applied = (end != 0)
		}
	}
	if
	:: d_step { can_answer ->
		answered();
#ifndef TORN
		told[h] = (end && !purged[h] -> end : told[h]);
#endif
#if FAILS_OVER
		done[h] = done[h] || end == COMPLETED;
#endif
		forget() }
	:: atomic { can_lose ->
		lose();
		if
		:: goto reports
		:: n < REPORTS -> n++; applied = 0; goto reports /* the worker reports anew, through another broker */
		:: forget()
		fi }
	fi;
	goto end_idle
}

#ifdef STRAGGLERS
/* The broker's connection died with a report on it, and the broker sent it once more on another. The first copy arrives when it likes; nobody
 * hears the answer. */
proctype Straggler()
{
	byte h, f, w, kind, n, answer;
	bit delay;

end_straggler:
	do
	:: atomic {
		straggler?h,f,w,kind,delay,n;
		d_step {
			answer = OK;
			finish(h, f, agent_of(w), kind, delay, report_token(f, n));
			h = 0; f = 0; w = 0; kind = 0; delay = 0; n = 0; answer = 0
		} }
	od
}
#endif

/* An operator, or the sender: cancels, and quarantines what does not open. */
proctype Operator(byte h)
{
	byte answer, asked;
	bit applied;

#ifdef CANCEL
	if
	:: skip
	:: goto cancelled
	fi;
again:
	skip;
	d_step {
		applied = (applied && boot == asked && !purged[h]);
		asked = boot;
		cancel(h, CANCEL_TOKEN);
		assert(answer == OK || !applied);
		applied = (answer == OK)
	}
	if
	:: d_step { can_answer ->
		answered();
#ifndef TORN
		told[h] = (answer == OK && !purged[h] -> CANCELLED : told[h])
#endif
		}
	:: atomic { can_lose ->
		lose();
		goto again }
	fi;
cancelled:
	skip;
	d_step { answer = 0; asked = 0; applied = 0 }
#endif
#ifdef QUARANTINE
	if
	:: d_step { r[h].state != NOTHING -> quarantine(h) }
	:: skip
	fi
#endif
}

/* Both brokers' housekeeping: a tick keeps nothing between two calls, so one stands for both. */
proctype Keeper()
{
end_tick:
	do
	:: d_step { something_is_due && m.inc == boot -> tick() }
#if CRASHES
	:: d_step { something_is_due && m.inc != boot -> open(0) } /* 'O': the slot is opened first */
#endif
#ifdef PURGE
	:: d_step { may_forget(0) -> purge(0) }
#if HANDOFFS == 2
	:: d_step { may_forget(1) -> purge(1) }
#endif
#endif
	od
}

#if CRASHES
/* The server: writes its log, dies, and starts from what the log has. */
proctype Redis()
{
end_redis:
	do
#ifdef TORN
	:: d_step { unsynced -> fsync() }
#endif
	:: atomic { crashes > 0 && worth_a_crash ->
		crashes--;
		boot++;
		if
		:: d_step {
			i = 0;
			do
			:: i < HANDOFFS -> copy_record(r[i], log_r[i]); i++
			:: else -> break
			od;
			copy_slot(m, log_m);
			unsynced = 0;
			traced("crash %d\n", boot);
			check() }
		:: d_step { unsynced -> fsync(); traced("crash %d\n", boot) } /* what was carried out is there although nobody heard so */
		fi }
	:: crashes > 0 && worth_a_crash -> crashes = 0
	od
}
#endif

/* One step of time, for all that is to come. */
#define runs(t) ((t) > 0 && (t) < NEVER)
#define has_time(x) (runs(x.till) || runs(x.z_due) || runs(x.hint_due[0]) || runs(x.hint_due[1]) || runs(x.hint_due[2]))
#if HANDOFFS == 2
#define time_runs (has_time(r[0]) || has_time(r[1]) || runs(deadline[0]) || runs(deadline[1]))
#else
#define time_runs (has_time(r[0]) || runs(deadline[0]))
#endif
#define older(t) t = t - runs(t)
#define record_older(x) \
	older(x.till); older(x.z_due); older(x.hint_due[0]); older(x.hint_due[1]); older(x.hint_due[2])

proctype Clock()
{
end_clock:
	do
	:: d_step { time_runs ->
		i = 0;
		do
		:: i < HANDOFFS ->
			record_older(r[i]);
#if CRASHES
			record_older(log_r[i]);
#endif
			older(deadline[i]);
			i++
		:: else -> break
		od;
		traced("clock\n") }
	od
}

/* When nothing can happen any more, everything has come to an end, or waits for a human. */
#define has_ended(h) (r[h].state == NOTHING || r[h].state >= QUARANTINED || (r[h].state == HELD && deadline[h] == NEVER))
proctype End()
{
	atomic { timeout ->
		assert(has_ended(0));
#if HANDOFFS == 2
		assert(has_ended(1));
#endif
		closed = true }
}

init {
	atomic {
		traced("world %d %d %d %d\n", SKEW, ATTEMPTS, ONE_KEY || FAILS_OVER, FAILS_OVER);
		m.inc = 1;
		broker_inc[0] = 1; broker_inc[1] = 1;
		unsynced = 1;
		fsync();
		unsynced = 0;
		i = 0;
		do
		:: i < HANDOFFS ->
			presenting[i] = TRIES;
			j = 0;
			do
			:: j < TRIES -> run Submission(i, j, j % 2); j++
			:: else -> break
			od;
#if defined(CANCEL) || defined(QUARANTINE)
			run Operator(i);
#endif
			i++
		:: else -> break
		od;
		run Worker(0);
#if WORKERS == 2
		run Worker(1);
#endif
#ifdef STRAGGLERS
		run Straggler();
#endif
		run Keeper();
#if CRASHES
		run Redis();
#endif
		run Clock();
		run End()
	}
}

#ifdef LTL_ends
/* Every run ends: no repeat, lapse or release goes on for ever. */
ltl ends { <> closed }
#endif
#ifdef LTL_stays
/* Who was told of an end is told of no other one, also after Redis started again. */
ltl stays { [] (told[0] == COMPLETED -> [] (r[0].state == COMPLETED)) }
#endif
