/* Do the store's parts hold on their own? Ids, key file and sealing, records, the RESP reader's caps, URLs, the checks of a server, and
 * what a node remembers. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "store/cluster_map.h"
#include "store/private_priv.h"
#include "store/record.h"
#include "store/redis_checks.h"
#include "store/redis_remedy.h"
#include "store/sentinel.h"
#include "store/redis_codec.h"
#include "store/redis_url.h"
#include "store/remember.h"
#include "store_kit.h"

/* ---- ids ---- */

static void ids_are_told_apart(void **state)
{
	struct handoff_id a, b;

	handoff_id_make("acme", "refunds", "sender", SLICE_LIT("nonce"), &a);
	handoff_id_make("acme", "refunds", "sender", SLICE_LIT("nonce"), &b);
	assert_memory_equal(&a, &b, sizeof a);
	handoff_id_make("acme", "refunds", "sende", SLICE_LIT("rnonce"), &b); /* parts do not run into each other */
	assert_memory_not_equal(a.b, b.b, sizeof a.b);
	assert_memory_equal(a.tag, b.tag, sizeof a.tag);
	handoff_id_make("acmer", "efunds", "sender", SLICE_LIT("nonce"), &b);
	assert_memory_not_equal(a.b, b.b, sizeof a.b);
	assert_memory_not_equal(a.tag, b.tag, sizeof a.tag);
	assert_true(store_agent_key("acme", "x") != store_agent_key("acme", "y"));
	assert_true(store_agent_key("a", "cmex") != store_agent_key("acme", "x"));
}

static void id_text(void **state)
{
	struct handoff_id a, b;
	char text[HANDOFF_ID_TEXT + 1], bad[HANDOFF_ID_TEXT + 2];

	handoff_id_make("acme", "refunds", "sender", SLICE_LIT("nonce"), &a);
	handoff_id_format(&a, text);
	assert_int_equal(strlen(text), HANDOFF_ID_TEXT);
	assert_true(handoff_id_parse(slice_str(text), &b));
	assert_memory_equal(&a, &b, sizeof a);
	assert_false(handoff_id_parse(slice_of(text, 26), &b));
	snprintf(bad, sizeof bad, "%sA", text);
	assert_false(handoff_id_parse(slice_str(bad), &b));
	strcpy(bad, text);
	bad[3] = '+';
	assert_false(handoff_id_parse(slice_str(bad), &b));
	strcpy(bad, text);
	bad[26] = text[26] == 'B' ? 'C' : 'B'; /* 160 bits: the last character has two spare bits */
	assert_false(handoff_id_parse(slice_str(bad), &b));
	assert_false(handoff_id_parse(slice_of(NULL, 0), &b));
}

/* ---- sealing ---- */

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define KEY_B "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"

static void write_keys(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static struct seal_keys *load(const char *path, const char *text)
{
	struct problem why = {""};
	struct seal_keys *k;

	write_keys(path, text, 0600);
	k = seal_keys_load(path, &why);
	if (!k)
		assert_true(why.text[0] != '\0');
	assert_null(strstr(why.text, KEY_A)); /* never a key in a problem */
	return k;
}

static void key_file(void **state)
{
	char dir[64], path[96];
	struct problem why = {""};
	struct seal_keys *k;
	struct stat st;

	kit_folder(dir);
	snprintf(path, sizeof path, "%s/keys", dir);
	assert_null(seal_keys_load(path, &why));
	assert_int_equal(seal_keys_create(path, &why), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	k = seal_keys_load(path, &why);
	assert_non_null(k);
	seal_keys_free(k);
	write_keys(path, "k1 " KEY_A "\n", 0600);
	assert_int_equal(seal_keys_create(path, &why), 0); /* keeps what is there */
	seal_keys_free(load(path, "# comment\n\nk1 " KEY_A "\nk2 " KEY_B "\n"));
	write_keys(path, "k1 " KEY_A "\n", 0640);
	assert_null(seal_keys_load(path, &why));
	assert_null(load(path, ""));
	assert_null(load(path, "# nothing\n"));
	assert_null(load(path, "k1\n"));
	assert_null(load(path, "k1 " KEY_A "A\n"));
	assert_null(load(path, "k1 AAEC\n"));
	assert_null(load(path, "K1 " KEY_A "\n"));
	assert_null(load(path, "k1  " KEY_A "\n"));
	assert_null(load(path, "k1 " KEY_A "\nk1 " KEY_B "\n"));
	k = load(path, "k1 " KEY_A); /* without a last newline */
	assert_non_null(k);
	seal_keys_free(k);
	kit_remove(dir);
}

struct sealed {
	uint8_t id[16], token[8], bytes[256], out[256];
	size_t n;
	struct seal_name name;
};

static void seal_one(struct seal *s, struct sealed *x, const char *text)
{
	memset(x, 7, sizeof *x);
	x->name = (struct seal_name){SEAL_TASK, "acme", "refunds", x->id, x->token};
	x->n = strlen(text) + seal_overhead(s);
	assert_int_equal(seal_put(s, &x->name, slice_str(text), x->bytes), 0);
}

static long open_one(struct seal *s, struct sealed *x)
{
	return seal_open(s, &x->name, slice_of(x->bytes, x->n), x->out);
}

static void sealing(void **state)
{
	char dir[64], path[96];
	struct seal_keys *k;
	struct seal *s;
	struct sealed x;
	uint8_t other[16] = {1};

	kit_folder(dir);
	snprintf(path, sizeof path, "%s/keys", dir);
	k = load(path, "k1 " KEY_A "\n");
	s = seal_new(k);
	seal_one(s, &x, "secret task");
	assert_null(memmem(x.bytes, x.n, "secret", 6));
	assert_int_equal(open_one(s, &x), 11);
	assert_memory_equal(x.out, "secret task", 11);
	for (size_t i = 0; i < x.n; i++) { /* a bit anywhere */
		x.bytes[i] ^= 4;
		assert_int_equal(open_one(s, &x), -1);
		x.bytes[i] ^= 4;
	}
	for (size_t n = 0; n < x.n; n++) /* any truncation */
		assert_int_equal(seal_open(s, &x.name, slice_of(x.bytes, n), x.out), -1);
	for (const char *kind = "PBCFRXE"; *kind; kind++) {
		x.name.kind = (enum seal_kind)*kind;
		assert_int_equal(open_one(s, &x), -1);
	}
	x.name.kind = SEAL_TASK;
	x.name.tenant = "acmf";
	assert_int_equal(open_one(s, &x), -1);
	x.name.tenant = "acme";
	x.name.route = "refund";
	assert_int_equal(open_one(s, &x), -1);
	x.name.route = "refunds";
	x.name.id = other;
	assert_int_equal(open_one(s, &x), -1);
	x.name.id = x.id;
	x.name.token = other;
	assert_int_equal(open_one(s, &x), -1);
	x.name.token = x.token;
	assert_int_equal(open_one(s, &x), 11); /* the honest one still does */
	seal_free(s);
	seal_keys_free(k);
	kit_remove(dir);
}

static void key_rotation(void **state)
{
	char dir[64], path[96];
	struct seal_keys *a, *both, *b, *same_id;
	struct seal *sa, *sboth, *sb, *sother;
	struct sealed x, y;

	kit_folder(dir);
	snprintf(path, sizeof path, "%s/keys", dir);
	a = load(path, "k1 " KEY_A "\n");
	both = load(path, "k2 " KEY_B "\nk1 " KEY_A "\n");
	b = load(path, "k2 " KEY_B "\n");
	same_id = load(path, "k1 " KEY_B "\n");
	sa = seal_new(a);
	sboth = seal_new(both);
	sb = seal_new(b);
	sother = seal_new(same_id);
	seal_one(sa, &x, "old");
	assert_int_equal(open_one(sboth, &x), 3);
	seal_one(sboth, &y, "new");
	assert_int_equal(open_one(sb, &y), 3); /* sealed by the first */
	assert_int_equal(open_one(sb, &x), -1);
	assert_int_equal(open_one(sa, &y), -1);
	assert_int_equal(open_one(sother, &x), -1);
	seal_free(sa);
	seal_free(sboth);
	seal_free(sb);
	seal_free(sother);
	seal_keys_free(a);
	seal_keys_free(both);
	seal_keys_free(b);
	seal_keys_free(same_id);
	kit_remove(dir);
}

/* What is kept beside the store is known by any of the keys, made by the first, and by no other deployment's. */
static void key_macs(void **state)
{
	uint8_t mac[SEAL_MAC_BYTES];
	const struct slice what = SLICE_LIT("kept");
	char dir[64], path[96];
	struct seal_keys *a, *both, *b;

	kit_folder(dir);
	snprintf(path, sizeof path, "%s/keys", dir);
	a = load(path, "k1 " KEY_A "\n");
	both = load(path, "k2 " KEY_B "\nk1 " KEY_A "\n");
	b = load(path, "k2 " KEY_B "\n");
	assert_true(seal_keys_mac(a, what, mac));
	assert_true(seal_keys_made(a, what, mac));
	assert_true(seal_keys_made(both, what, mac));
	assert_false(seal_keys_made(b, what, mac));
	assert_false(seal_keys_made(a, SLICE_LIT("kepT"), mac));
	assert_false(seal_keys_made(a, SLICE_LIT("kep"), mac));
	mac[31] ^= 1;
	assert_false(seal_keys_made(a, what, mac));
	assert_true(seal_keys_mac(both, what, mac));
	assert_true(seal_keys_made(b, what, mac));
	seal_keys_free(a);
	seal_keys_free(both);
	seal_keys_free(b);
	kit_remove(dir);
}

/* ---- records ---- */

static void records(void **state)
{
	uint8_t p[RECORD_BYTES] = {'R'}, id[16] = {9}, tag[4] = {8};
	struct record r;

	be_put(p + 1, 8, 0x1122334455667788);
	be_put(p + 60, 6, 77);
	p[66] = STATE_LEASED;
	be_put(p + 91, 8, 1ull << 52);
	p[90] = 3;
	p[77] = 1;
	be_put(p + 73, 4, 12);
	be_put(p + 86, 4, 99);
	assert_true(record_decode(tag, id, p, &r));
	assert_true(r.r.sender == 0x1122334455667788);
	assert_int_equal(r.r.position, 77);
	assert_true(r.r.fence == 1ull << 52);
	assert_int_equal(r.r.attempt, 3);
	assert_int_equal(r.r.cursor, 12);
	assert_int_equal(r.outcome_size, 99);
	assert_true(r.r.stop_requested);
	assert_int_equal(r.r.id.b[0], 9);
	p[66] = 9; /* no such state */
	assert_false(record_decode(tag, id, p, &r));
	p[66] = STATE_LEASED;
	p[0] = 'A';
	assert_false(record_decode(tag, id, p, &r));
}

static void requests(void **state)
{
	struct store_accept a = {.deadline_ms = -5, .priority = 200, .start_at_ms = INT64_MAX};
	uint8_t p[ACCEPT_BYTES], token[8] = {1};

	request_accept(&a, token, 5, p);
	assert_int_equal(be_get(p + 33, 6), 0);
	assert_int_equal(p[39], 9);
	assert_int_equal(p[40], 1); /* at least one attempt */
	assert_true(be_get(p + 93, 6) == (1ull << 48) - 1);
	assert_int_equal(p[ACCEPT_AT_TOKEN], 1);
}

/* ---- RESP ---- */

static int feed(const char *bytes, size_t n, size_t step)
{
	struct resp_reader *r = resp_reader_new();
	int result = 0, replies = 0;

	for (size_t i = 0; i < n && result == 0; i += step) {
		redisReply *x;

		result = resp_reader_feed(r, slice_of(bytes + i, n - i < step ? n - i : step));
		while (result == 0 && (x = resp_reader_next(r))) {
			replies++;
			freeReplyObject(x);
		}
		if (resp_reader_broken(r))
			result = -1;
	}
	resp_reader_free(r);
	return result == 0 ? replies : -1;
}

static void resp_good(void **state)
{
	static const char bytes[] = "+OK\r\n:12\r\n$-1\r\n$0\r\n\r\n$5\r\na\r\nbc\r\n*0\r\n*-1\r\n*2\r\n*1\r\n$1\r\nx\r\n-ERR y\r\n";

	for (size_t step = 1; step <= sizeof bytes; step++)
		assert_int_equal(feed(bytes, sizeof bytes - 1, step), 8);
}

static void resp_hostile(void **state)
{
	static const char *const bad[] = {
		"*100000000\r\n", "$536870913\r\n", "*4097\r\n", "$33554433\r\n", "*-2\r\n", "$-2\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
		"$\r\n", "*\r\n", "$1x\r\n", "$+1\r\n", "$ 1\r\n", "*99999999999999999999\r\n", "%1\r\n", "hello\r\n", "\r\n", "+OK\n", ":123456789012345678901\r\n",
		"$00000000001\r\n",
	};
	char line[RESP_LINE_MAX + 2];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (feed(bad[i], strlen(bad[i]), 1) != -1 || feed(bad[i], strlen(bad[i]), 100) != -1)
			fail_msg("taken: %s", bad[i]);
	}
	memset(line, 'x', sizeof line);
	line[0] = '-';
	assert_int_equal(feed(line, sizeof line, sizeof line), -1); /* a line without an end */
	assert_int_equal(feed("*4096\r\n", 7, 7), 0);               /* the honest twins wait for more */
	assert_int_equal(feed("$33554432\r\n", 11, 11), 0);
	assert_int_equal(feed("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 28, 28), 1);
}

/* Many small arrays in one reply. */
static void resp_elements(void **state)
{
	struct resp_reader *r = resp_reader_new();
	int result = resp_reader_feed(r, SLICE_LIT("*4096\r\n"));

	for (int i = 0; i < 4096 && result == 0; i++)
		result = resp_reader_feed(r, SLICE_LIT("*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n"));
	assert_int_equal(result, -1);
	resp_reader_free(r);
}

static void resp_written(void **state)
{
	const struct slice argv[] = {SLICE_LIT("SET"), SLICE_LIT("a\r\nb"), slice_of(NULL, 0)};
	struct buf b;

	buf_init(&b, 64);
	assert_true(resp_put(&b, argv, 3));
	assert_true(slice_is(buf_slice(&b), "*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n"));
	assert_false(resp_put(&b, argv, 3) && resp_put(&b, argv, 3)); /* over the cap */
	buf_clear(&b);
}

/* ---- URLs ---- */

static void urls(void **state)
{
	static const char *const bad[] = {
		"", "http://x", "redis://", "redis://user:secret@host", "redis://host:0", "redis://host:65536", "redis://host:12a",
		"redis://host/x", "redis://host/0/1", "unix://relative", "unix://", "redis://[::1", "redis://[::1]x", "rediss://:6379",
	};
	struct redis_url u;
	struct problem why;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why.text[0] = '\0';
		if (redis_url_parse(bad[i], &u, &why) != -1)
			fail_msg("taken: %s", bad[i]);
		assert_true(why.text[0] != '\0');
		assert_null(strstr(why.text, "secret"));
	}
	assert_int_equal(redis_url_parse("redis://host", &u, &why), 0);
	assert_string_equal(u.host, "host");
	assert_int_equal(u.port, 6379);
	assert_false(u.tls);
	assert_int_equal(redis_url_parse("rediss://[::1]:7000/3", &u, &why), 0);
	assert_string_equal(u.host, "::1");
	assert_int_equal(u.port, 7000);
	assert_int_equal(u.db, 3);
	assert_true(u.tls);
	assert_int_equal(redis_url_parse("unix:///run/redis.sock", &u, &why), 0);
	assert_string_equal(u.unix_path, "/run/redis.sock");
}

/* ---- the server's answers ---- */

static redisReply text_reply(char *text)
{
	return (redisReply){.type = REDIS_REPLY_STRING, .str = text, .len = strlen(text)};
}

static void replid_is_exact(void **state)
{
	char second[] = "# Replication\r\nrole:master\r\nmaster_replid2:0123456789012345678901234567890123456789\r\n"
			"master_replid:abcdefabcdefabcdefabcdefabcdefabcdefabcd\r\n";
	char only_second[] = "role:master\r\nmaster_replid2:0123456789012345678901234567890123456789\r\n";
	char replica[] = "role:slave\r\nmaster_replid:abcdefabcdefabcdefabcdefabcdefabcdefabcd\r\n";
	redisReply r = text_reply(second);
	char id[REPLID_BYTES + 1];

	assert_true(check_replid(&r, id));
	assert_string_equal(id, "abcdefabcdefabcdefabcdefabcdefabcdefabcd");
	r = text_reply(only_second);
	assert_false(check_replid(&r, id));
	r = text_reply(replica);
	assert_false(check_replid(&r, id));
}

static void versions(void **state)
{
	char seven[] = "redis_version:7.0.15\r\n", twelve[] = "redis_version:12.1\r\n", six[] = "redis_version:6.2.7\r\n", none[] = "x:y\r\n";
	const struct demand none_less = {.fsync_always = true}, in_cluster = {.fsync_always = true, .cluster = true};
	char node[] = "redis_version:7.0.15\r\nredis_mode:cluster\r\n", alone[] = "redis_version:7.0.15\r\nredis_mode:standalone\r\n";
	redisReply r = text_reply(seven);
	struct fault f;

	assert_true(redis_checks[0].ok(&r, &none_less, &f));
	r = text_reply(twelve);
	assert_true(redis_checks[0].ok(&r, &none_less, &f));
	r = text_reply(six);
	assert_false(redis_checks[0].ok(&r, &none_less, &f));
	assert_true(f.remedy[0] != '\0');
	r = text_reply(none);
	assert_false(redis_checks[0].ok(&r, &none_less, &f));
	assert_false(redis_checks[0].ok(NULL, &none_less, &f));
	r = text_reply(node);
	assert_true(redis_checks[0].ok(&r, &in_cluster, &f));
	assert_false(redis_checks[0].ok(&r, &none_less, &f));
	assert_non_null(strstr(f.remedy, "store.cluster"));
	r = text_reply(alone);
	assert_true(redis_checks[0].ok(&r, &none_less, &f));
	assert_false(redis_checks[0].ok(&r, &in_cluster, &f));
	assert_non_null(strstr(f.remedy, "store.url"));
}

static void broken_connections(void **state)
{
	static const char *const rows[][2] = {
		{"TLS: certificate: hostname mismatch", "store.url"}, {"TLS: certificate: self-signed certificate in certificate chain", "store.ca"},
		{"TLS: tlsv13 alert certificate required", "store.cert"}, {"TLS: /etc/x.key: the key cannot be used", "store.key"},
		{"TLS: wrong version number", "store.url"}, {"closed by the server", "store.url"}, {"", "store.url"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (!strstr(redis_remedy(rows[i][0]), rows[i][1]))
			fail_msg("%s: %s", rows[i][0], redis_remedy(rows[i][0]));
}

static const char *address(struct resp_reader *reader, const char *answer, struct redis_url *u)
{
	redisReply *r;
	const char *why;

	assert_int_equal(resp_reader_feed(reader, slice_str(answer)), 0);
	r = resp_reader_next(reader);
	assert_non_null(r);
	why = sentinel_address(r, u);
	freeReplyObject(r);
	return why;
}

static void sentinels(void **state)
{
	static const char *const bad[] = {
		"*-1\r\n", "$-1\r\n", "*0\r\n", "+OK\r\n", ":1\r\n", "-NOAUTH Authentication required.\r\n", "-ERR unknown command\r\n",
		"*1\r\n$4\r\nhost\r\n", "*3\r\n$4\r\nhost\r\n$1\r\n1\r\n$1\r\n1\r\n", "*2\r\n$4\r\nhost\r\n$1\r\n0\r\n", "*2\r\n$4\r\nhost\r\n$5\r\n65536\r\n",
		"*2\r\n$4\r\nhost\r\n$4\r\n637x\r\n", "*2\r\n$4\r\nhost\r\n$2\r\n-1\r\n", "*2\r\n$4\r\nhost\r\n$9\r\n000000001\r\n", "*2\r\n$0\r\n\r\n$4\r\n6379\r\n",
		"*2\r\n$4\r\nh st\r\n$4\r\n6379\r\n", "*2\r\n$4\r\nh@st\r\n$4\r\n6379\r\n", "*2\r\n*0\r\n$4\r\n6379\r\n",
	};
	struct resp_reader *reader = resp_reader_new();
	struct redis_url u = {.tls = true};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!address(reader, bad[i], &u))
			fail_msg("taken: %s", bad[i]);
	assert_null(address(reader, "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6380\r\n", &u));
	assert_string_equal(u.host, "127.0.0.1");
	assert_int_equal(u.port, 6380);
	assert_true(u.tls);
	assert_null(address(reader, "*2\r\n$7\r\n2001::1\r\n$5\r\n65535\r\n", &u));
	assert_string_equal(u.host, "2001::1");
	resp_reader_free(reader);
}

/* ---- a Redis Cluster ---- */

static unsigned hash(const char *key)
{
	return redis_hash_slot(slice_str(key));
}

/* The specification's own value, and what CLUSTER KEYSLOT of Redis 7.0 says. */
static void hash_slots(void **state)
{
	assert_int_equal(redis_crc16(slice_str("123456789")), 0x31c3);
	assert_int_equal(redis_crc16(slice_str("")), 0);
	assert_int_equal(hash("foo"), 12182);
	assert_int_equal(hash("{acme/r}:m"), 13684);
	assert_int_equal(hash("{acme/r}:m"), hash("acme/r"));
	assert_int_equal(hash("x{acme/r}y{other}"), hash("acme/r"));
	assert_int_equal(hash("{user1000}.following"), hash("{user1000}.followers"));
	assert_int_equal(hash("foo{}{bar}"), 8363);
	assert_int_equal(hash("foo{{bar}}zap"), hash("{bar"));
	assert_int_equal(hash("foo{bar"), redis_crc16(slice_str("foo{bar")) % CLUSTER_SLOTS);
	assert_int_equal(hash("{"), redis_crc16(slice_str("{")) % CLUSTER_SLOTS);
	assert_int_equal(hash(""), 0);
}

static const char *map_of(const char *answer, const struct redis_url *from, struct cluster_map *m)
{
	struct resp_reader *reader = resp_reader_new();
	redisReply *r;
	const char *why;

	assert_int_equal(resp_reader_feed(reader, slice_str(answer)), 0);
	r = resp_reader_next(reader);
	assert_non_null(r);
	why = cluster_map_read(r, from, m);
	freeReplyObject(r);
	resp_reader_free(reader);
	return why;
}

#define NODE(host, port) "*3\r\n" host "\r\n:" port "\r\n$2\r\nid\r\n"

static void cluster_maps(void **state)
{
	const struct redis_url from = {.host = "seed", .port = 7, .tls = true};
	static const char good[] =
		"*3\r\n"
		"*4\r\n:5461\r\n:16382\r\n" NODE("$1\r\nb", "7002") NODE("$1\r\nx", "7004")
		"*3\r\n:0\r\n:5459\r\n" NODE("$1\r\na", "7001")
		"*3\r\n:5460\r\n:5460\r\n" NODE("$1\r\nb", "7002");
	struct cluster_map *m = malloc(sizeof *m);

	assert_null(map_of(good, &from, m));
	assert_int_equal(m->n, 2);
	assert_string_equal(m->primary[0].host, "a");
	assert_string_equal(m->primary[1].host, "b");
	assert_int_equal(m->primary[1].port, 7002);
	assert_true(m->primary[1].tls);
	assert_int_equal(m->owner[0], 0);
	assert_int_equal(m->owner[5459], 0);
	assert_int_equal(m->owner[5460], 1);
	assert_int_equal(m->owner[16382], 1);
	assert_int_equal(m->owner[16383], CLUSTER_NOBODY);
	/* who does not say its own address is where it was asked */
	assert_null(map_of("*1\r\n*3\r\n:0\r\n:1\r\n" NODE("$0\r\n", "9"), &from, m));
	assert_string_equal(m->primary[0].host, "seed");
	assert_null(map_of("*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$-1\r\n:9\r\n", &from, m));
	assert_string_equal(m->primary[0].host, "seed");
	assert_int_equal(m->primary[0].port, 9);
	free(m);
}

static void hostile_maps(void **state)
{
	static const char *const bad[] = {
		"*0\r\n", "+OK\r\n", ":1\r\n", "$-1\r\n", "-ERR This instance has cluster support disabled\r\n", "-NOPERM x\r\n", "-NOAUTH x\r\n",
		"*1\r\n:1\r\n", "*1\r\n*0\r\n", "*1\r\n*2\r\n:0\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n$1\r\na\r\n",
		"*1\r\n*3\r\n:0\r\n:16384\r\n" NODE("$1\r\na", "1"), "*1\r\n*3\r\n:-1\r\n:1\r\n" NODE("$1\r\na", "1"),
		"*1\r\n*3\r\n:2\r\n:1\r\n" NODE("$1\r\na", "1"), "*1\r\n*3\r\n:0\r\n:1\r\n" NODE("$1\r\na", "0"),
		"*1\r\n*3\r\n:0\r\n:1\r\n" NODE("$1\r\na", "65536"), "*1\r\n*3\r\n:0\r\n:1\r\n" NODE("$1\r\n?", "1"),
		"*1\r\n*3\r\n:0\r\n:1\r\n" NODE("$3\r\na@b", "1"), "*1\r\n*3\r\n$1\r\n0\r\n:1\r\n" NODE("$1\r\na", "1"),
		"*2\r\n*3\r\n:0\r\n:1\r\n" NODE("$1\r\na", "1") "*3\r\n:1\r\n:2\r\n" NODE("$1\r\nb", "1"),
	};
	const struct redis_url from = {.host = "seed", .port = 7};
	struct cluster_map *m = malloc(sizeof *m);
	char many[8192];
	size_t n = 0;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!map_of(bad[i], &from, m))
			fail_msg("taken: %s", bad[i]);
	assert_non_null(strstr(map_of(bad[4], &from, m), "store.url"));
	assert_non_null(strstr(map_of(bad[5], &from, m), "cluster|slots"));
	for (int primaries = STORE_PRIMARIES_MAX; primaries <= STORE_PRIMARIES_MAX + 1; primaries++) {
		n = (size_t)snprintf(many, sizeof many, "*%d\r\n", primaries);
		for (int i = 0; i < primaries; i++)
			n += (size_t)snprintf(many + n, sizeof many - n, "*3\r\n:%d\r\n:%d\r\n*2\r\n$1\r\na\r\n:%d\r\n", i, i, i + 1);
		assert_true(n < sizeof many);
		assert_int_equal(map_of(many, &from, m) == NULL, primaries == STORE_PRIMARIES_MAX);
	}
	free(m);
}

static void redirects(void **state)
{
	static const struct {
		const char *error;
		enum redirect to;
		const char *host;
		int port;
	} rows[] = {
		{"MOVED 3999 127.0.0.1:6381", REDIRECT_MOVED, "127.0.0.1", 6381}, {"ASK 3999 b.example:6381", REDIRECT_ASK, "b.example", 6381},
		{"MOVED 3999 ::1:6381", REDIRECT_MOVED, "::1", 6381}, {"MOVED 3999 :6381", REDIRECT_MOVED, "seed", 6381},
		{"MOVED 3999 a:0", REDIRECT_LATER, NULL, 0}, {"MOVED 3999 a:65536", REDIRECT_LATER, NULL, 0}, {"MOVED 3999 a:63x", REDIRECT_LATER, NULL, 0},
		{"MOVED 3999 a@b:1", REDIRECT_LATER, NULL, 0}, {"MOVED :1", REDIRECT_LATER, NULL, 0}, {"MOVED ", REDIRECT_LATER, NULL, 0},
		{"MOVED 3999", REDIRECT_LATER, NULL, 0}, {"ASK 1 a:-1", REDIRECT_LATER, NULL, 0},
		{"TRYAGAIN Multiple keys request during rehashing of slot", REDIRECT_LATER, NULL, 0},
		{"CLUSTERDOWN The cluster is down", REDIRECT_LATER, NULL, 0}, {"READONLY You can't write", REDIRECT_NONE, NULL, 0},
		{"MOVEDx", REDIRECT_NONE, NULL, 0}, {"ERR MOVED 1 a:1", REDIRECT_NONE, NULL, 0}, {"", REDIRECT_NONE, NULL, 0},
	};
	const struct redis_url from = {.host = "seed", .port = 7, .tls = true};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct redis_url at = {.port = 0};

		if (cluster_redirect(rows[i].error, &from, &at) != rows[i].to)
			fail_msg("%s", rows[i].error);
		if (rows[i].host) {
			assert_string_equal(at.host, rows[i].host);
			assert_int_equal(at.port, rows[i].port);
			assert_true(at.tls);
		}
	}
}

static void url_lists(void **state)
{
	static const char *const bad[] = {
		"", ",", "redis://a:1,rediss://b:1", "redis://a:1/1", "unix:///a", "a:1", "redis://a:1,,redis://b:1", "redis://a:1,redis://b:1,redis://c:1",
	};
	struct problem why;
	struct redis_url v[2];
	size_t n;

	assert_int_equal(redis_urls_parse("redis://a:1,redis://b", "store.x", v, 2, &n, &why), 0);
	assert_int_equal(n, 2);
	assert_string_equal(v[1].host, "b");
	assert_int_equal(v[1].port, 6379);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (redis_urls_parse(bad[i], "store.x", v, 2, &n, &why) == 0)
			fail_msg("taken: %s", bad[i]);
	assert_non_null(strstr(why.text, "store.x"));
}

/* ---- what a node remembers ---- */

static void remembers(void **state)
{
	char dir[64], path[96];
	struct problem why = {""};
	struct remember *a, *b;
	struct remembered *r;

	kit_folder(dir);
	a = remember_open(dir, &why);
	b = remember_open(dir, &why); /* another worker: a file of its own */
	assert_non_null(a);
	assert_non_null(b);
	r = remember_slot(a, "acme", "refunds");
	assert_int_equal(r->seq, 0);
	remember_set(a, r, 3, 100);
	remember_set(b, remember_slot(b, "acme", "refunds"), 3, 120);
	remember_set(b, remember_slot(b, "acme", "other"), 1, 5);
	remember_save(a);
	remember_save(b);
	remember_close(a);
	remember_close(b);
	a = remember_open(dir, &why);
	r = remember_slot(a, "acme", "refunds");
	assert_int_equal(r->epoch, 3);
	assert_int_equal(r->seq, 120); /* the highest of all workers */
	assert_int_equal(remember_slot(a, "acme", "other")->seq, 5);
	remember_set(a, r, 4, 7); /* a newer incarnation counts more than a higher number */
	remember_close(a);
	a = remember_open(dir, &why);
	assert_int_equal(remember_slot(a, "acme", "refunds")->seq, 7);
	remember_close(a);
	snprintf(path, sizeof path, "%s/seq.0.json", dir);
	assert_int_equal(file_write_atomic(path, SLICE_LIT("{\"slots\":"), 0600, &why), 0);
	assert_null(remember_open(dir, &why)); /* damaged: say so */
	assert_non_null(strstr(why.text, "seq.0.json"));
	kit_remove(dir);
	a = remember_open("", &why); /* in memory only */
	assert_non_null(remember_slot(a, "acme", "refunds"));
	remember_close(a);
}

/* ---- repair of the append-only file ---- */

static size_t copies(const char *dir, const char *having)
{
	struct dirent *e;
	char path[400];
	size_t n = 0;
	DIR *d = opendir(dir);

	while ((e = readdir(d))) {
		snprintf(path, sizeof path, "%s/%.250s/%s", dir, e->d_name, having);
		n += strstr(e->d_name, ".torn-") && access(path, F_OK) == 0;
	}
	closedir(d);
	return n;
}

static void write_torn(const char *dir, int round)
{
	char path[128], text[160];
	struct problem why;

	snprintf(path, sizeof path, "%s/appendonlydir", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/appendonlydir/appendonly.aof.manifest", dir);
	assert_int_equal(file_write_atomic(path, SLICE_LIT("file appendonly.aof.1.incr.aof seq 1 type i\n"), 0600, &why), 0);
	snprintf(path, sizeof path, "%s/appendonlydir/appendonly.aof.1.incr.aof", dir);
	snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n$3\r\nSE");
	assert_int_equal(file_write_atomic(path, slice_str(text), 0600, &why), 0);
	snprintf(path, sizeof path, "%s/appendonlydir/round-%d", dir, round);
	assert_int_equal(file_write_atomic(path, SLICE_LIT("x"), 0600, &why), 0);
}

/* A copy that cannot be finished does not stay and fill the disk; of those that can, the newest few do. */
static void repair_copies(void **state)
{
	char dir[64], log[96], path[128];
	struct problem why = {""};
	char *checker = private_find_program("redis-check-aof", "redis-tools", &why);

	assert_non_null(checker);
	kit_folder(dir);
	snprintf(log, sizeof log, "%s/log", dir);
	write_torn(dir, 0);
	snprintf(path, sizeof path, "%s/appendonlydir/zz-not-to-be-copied", dir);
	assert_int_equal(symlink("/nowhere", path), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(private_repair_aof(checker, dir, log, &why), -1);
	assert_non_null(strstr(why.text, "copy"));
	assert_int_equal(copies(dir, ""), 0);
	unlink(path);
	for (int i = 1; i <= 7; i++) {
		write_torn(dir, i);
		assert_int_equal(private_repair_aof(checker, dir, log, &why), 0);
	}
	assert_int_equal(copies(dir, ""), 4);
	assert_int_equal(copies(dir, "round-7"), 1); /* the newest are those kept */
	assert_int_equal(copies(dir, "round-4"), 4);
	free(checker);
	kit_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_told_apart),
		cmocka_unit_test(id_text),
		cmocka_unit_test(key_file),
		cmocka_unit_test(sealing),
		cmocka_unit_test(key_rotation),
		cmocka_unit_test(key_macs),
		cmocka_unit_test(records),
		cmocka_unit_test(requests),
		cmocka_unit_test(resp_good),
		cmocka_unit_test(resp_hostile),
		cmocka_unit_test(resp_elements),
		cmocka_unit_test(resp_written),
		cmocka_unit_test(urls),
		cmocka_unit_test(replid_is_exact),
		cmocka_unit_test(versions),
		cmocka_unit_test(broken_connections),
		cmocka_unit_test(sentinels),
		cmocka_unit_test(hash_slots),
		cmocka_unit_test(cluster_maps),
		cmocka_unit_test(hostile_maps),
		cmocka_unit_test(redirects),
		cmocka_unit_test(url_lists),
		cmocka_unit_test(remembers),
		cmocka_unit_test(repair_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
