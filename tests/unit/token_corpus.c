/* How are tokens spoiled? A corpus of them from a seed: honest ones, ones with bytes changed, and ones whose signature is good
 * over what should be refused. Even the keys come from the seed, so that a corpus is the same each time. */
#define OPENSSL_API_COMPAT 10100 /* RAND_set_rand_method() */

#include "token_corpus.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "test_identity_jwt.h"

#define BASES 12 /* honest tokens of each key */
#define CLAIMS                                                                                                         \
	"\"iss\":\"" CORPUS_URL "\",\"sub\":\"alice\",\"aud\":\"baton\",\"client_id\":\"planner\","                      \
	"\"iat\":1763999990,\"exp\":1764000300,\"jti\":\"t\""

struct corpus_key corpus_keys[CORPUS_KEYS] = {
	{"e1", "ES256", "P-256", NULL}, {"e2", "ES256", "P-256", NULL}, {"f1", "ES384", "P-384", NULL},
	{"f2", "ES384", "P-384", NULL}, {"r1", "RS256", NULL, NULL},    {"r2", "RS256", NULL, NULL},
	{"p1", "PS256", NULL, NULL},    {"p2", "PS256", NULL, NULL},
};

static const char *bases[CORPUS_KEYS][BASES];
static struct arena *lasting; /* keys and bases; jwt_arena is emptied before each token */
static uint64_t state;

/* ---- chance that repeats itself ---- */

static uint64_t chance(void)
{
	uint64_t x;

	state += 0x9e3779b97f4a7c15; /* splitmix64 */
	x = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static size_t below(size_t n)
{
	return (size_t)(chance() % n);
}

static int rand_bytes(unsigned char *p, int n)
{
	while (n-- > 0)
		*p++ = (unsigned char)chance();
	return 1;
}

static int rand_status(void)
{
	return 1;
}

/* ---- honest tokens ---- */

static const char *header_of(const struct corpus_key *k, const char *more)
{
	return arena_printf(jwt_arena, "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"%s\"%s}", k->alg, k->kid, more);
}

/* pad: so many characters more. */
static const char *claims(size_t pad)
{
	char *text = arena_zalloc(jwt_arena, pad + 1);

	memset(text, 'x', pad);
	return arena_printf(jwt_arena, "{" CLAIMS ",\"pad\":\"%s\"}", text);
}

const char *corpus_jwk(const struct corpus_key *k)
{
	return jwt_jwk(k->key, arena_printf(jwt_arena, ",\"kid\":\"%s\",\"alg\":\"%s\"", k->kid, k->alg));
}

void corpus_begin(uint64_t seed)
{
	static const RAND_METHOD repeats = {NULL, rand_bytes, NULL, NULL, rand_bytes, rand_status};

	state = seed;
	NEED(RAND_set_rand_method(&repeats) == 1);
	jwt_begin();
	for (size_t i = 0; i < CORPUS_KEYS; i++) {
		struct corpus_key *k = &corpus_keys[i];

		k->key = k->group ? jwt_ec(k->group) : jwt_rsa(2048);
		for (size_t b = 0; b < BASES; b++)
			bases[i][b] = jwt_sign(k->key, k->alg, header_of(k, ""), claims(b));
	}
	lasting = jwt_arena;
	jwt_begin();
}

void corpus_end(void)
{
	for (size_t i = 0; i < CORPUS_KEYS; i++)
		EVP_PKEY_free(corpus_keys[i].key);
	arena_free(lasting);
	jwt_end();
	RAND_set_rand_method(NULL);
}

/* ---- how tokens are spoiled ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* A token in three parts; the signature is decoded. */
struct parts {
	struct slice header, payload, signature; /* as text */
	uint8_t raw[1024];
	size_t raw_n;
};

static struct parts split(const char *token)
{
	struct parts p;
	const char *a = strchr(token, '.'), *b = strrchr(token, '.');
	long n;

	p.header = slice_of(token, (size_t)(a - token));
	p.payload = slice_of(a + 1, (size_t)(b - a - 1));
	p.signature = slice_str(b + 1);
	n = b64url_decode(p.signature, p.raw, sizeof p.raw);
	NEED(n > 0);
	p.raw_n = (size_t)n;
	return p;
}

static struct slice join(struct slice a, struct slice b, struct slice c)
{
	uint8_t *out = arena_alloc(jwt_arena, a.n + b.n + c.n + 2);

	memcpy(out, a.p, a.n);
	out[a.n] = '.';
	memcpy(out + a.n + 1, b.p, b.n);
	out[a.n + 1 + b.n] = '.';
	memcpy(out + a.n + b.n + 2, c.p, c.n);
	return slice_of(out, a.n + b.n + c.n + 2);
}

/* In the place of from bytes: to. */
static struct slice splice(struct slice s, size_t at, size_t from, struct slice to)
{
	uint8_t *out = arena_alloc(jwt_arena, s.n - from + to.n + 1);

	memcpy(out, s.p, at);
	if (to.n)
		memcpy(out + at, to.p, to.n);
	memcpy(out + at + to.n, s.p + at + from, s.n - at - from);
	return slice_of(out, s.n - from + to.n);
}

static const char *base_of(const struct corpus_key *k)
{
	return bases[k - corpus_keys][below(BASES)];
}

static struct slice resign(const struct corpus_key *k, const char *header, const char *payload)
{
	return slice_str(jwt_sign(k->key, k->alg, header, payload));
}

static struct slice with_signature(const char *token, const void *p, size_t n)
{
	struct parts t = split(token);

	return join(t.header, t.payload, slice_str(jwt_b64(p, n)));
}

static struct slice leave_alone(const struct corpus_key *k)
{
	return slice_str(base_of(k));
}

static struct slice flip_a_bit_of_the_text(const struct corpus_key *k)
{
	struct slice t = slice_str(base_of(k));
	size_t at = below(t.n);
	uint8_t c = t.p[at] ^ (uint8_t)(1u << below(8));

	return splice(t, at, 1, slice_of(&c, 1));
}

static struct slice change_a_character(const struct corpus_key *k)
{
	struct slice t = slice_str(base_of(k));

	return splice(t, below(t.n), 1, slice_of(alphabet + below(64), 1));
}

static struct slice drop_a_character(const struct corpus_key *k)
{
	struct slice t = slice_str(base_of(k));

	return splice(t, below(t.n), 1, slice_of(NULL, 0));
}

static struct slice add_a_character(const struct corpus_key *k)
{
	struct slice t = slice_str(base_of(k));

	return splice(t, below(t.n + 1), 0, slice_of(alphabet + below(64), 1));
}

static struct slice add_a_foreign_byte(const struct corpus_key *k)
{
	static const char likely[] = " \t\r\n=+/.,%\0\"";
	struct slice t = slice_str(base_of(k));
	uint8_t c = below(2) ? (uint8_t)likely[below(sizeof likely - 1)] : (uint8_t)chance();

	return splice(t, below(t.n + 1), 0, slice_of(&c, 1));
}

static struct slice add_padding(const struct corpus_key *k)
{
	struct parts p = split(base_of(k));
	struct slice pad = slice_of("===", 1 + below(3));

	switch (below(3)) {
	case 0:
		return join(splice(p.header, p.header.n, 0, pad), p.payload, p.signature);
	case 1:
		return join(p.header, splice(p.payload, p.payload.n, 0, pad), p.signature);
	default:
		return join(p.header, p.payload, splice(p.signature, p.signature.n, 0, pad));
	}
}

static struct slice cut_it_short(const struct corpus_key *k)
{
	struct slice t = slice_str(base_of(k));

	return slice_of(t.p, below(t.n));
}

static struct slice cut_the_signature(const struct corpus_key *k)
{
	struct parts p = split(base_of(k));

	return join(p.header, p.payload, slice_of(p.signature.p, below(p.signature.n)));
}

/* The last character's idle bits are set: the same bytes for a decoder that does not look. Without idle bits: as it was. */
static struct slice with_idle_bits(struct slice t)
{
	size_t value = (size_t)(strchr(alphabet, t.p[t.n - 1]) - alphabet);
	size_t idle = t.n % 4 == 2 ? 15 : t.n % 4 == 3 ? 3 : 0;

	value ^= idle ? 1 + below(idle) : 0;
	return splice(t, t.n - 1, 1, slice_of(alphabet + value, 1));
}

static struct slice set_idle_bits(const struct corpus_key *k)
{
	struct parts p = split(base_of(k));

	return join(p.header, p.payload, with_idle_bits(p.signature));
}

/* The signature covers what stands before it, whatever that is. */
static struct slice sign_over(const struct corpus_key *k, struct slice header, struct slice payload)
{
	const char *both = arena_printf(jwt_arena, "%.*s.%.*s", (int)header.n, header.p, (int)payload.n, payload.p);

	return slice_str(jwt_sign_encoded(k->key, k->alg, both));
}

static struct slice set_idle_bits_and_sign(const struct corpus_key *k)
{
	struct parts p = split(base_of(k));

	return below(2) ? sign_over(k, with_idle_bits(p.header), p.payload) : sign_over(k, p.header, with_idle_bits(p.payload));
}

static struct slice sign_foreign_bytes(const struct corpus_key *k)
{
	static const char *const bytes[] = {"=", "==", " ", "\n", "+", "/", "\t", "%20", "\xc3\xa4"};
	struct parts p = split(base_of(k));
	struct slice more = slice_str(bytes[below(sizeof bytes / sizeof bytes[0])]);
	size_t in_header = below(2) ? below(p.header.n + 1) : p.header.n;

	if (below(2))
		return sign_over(k, splice(p.header, in_header, 0, more), p.payload);
	return sign_over(k, p.header, splice(p.payload, p.payload.n, 0, more));
}

static struct slice change_the_number_of_segments(const struct corpus_key *k)
{
	static const struct {
		const char *before, *after;
	} more[] = {{".", ""}, {"", "."}, {"", ".a"}, {"..", ""}, {"", "..."}, {"", ".a.b"}, {"e30.", ""}};
	struct slice t = slice_str(base_of(k));
	size_t which = below(sizeof more / sizeof more[0]), dot = (size_t)((const uint8_t *)memchr(t.p, '.', t.n) - t.p);

	if (below(4) == 0) /* one less */
		return splice(t, below(2) ? 0 : dot, below(2) ? dot + 1 : 1, slice_of(NULL, 0));
	t = splice(t, 0, 0, slice_str(more[which].before));
	return splice(t, t.n, 0, slice_str(more[which].after));
}

static struct slice empty_segments(const struct corpus_key *k)
{
	const struct slice none = slice_str("");
	struct parts p = split(base_of(k));

	return join(below(2) ? p.header : none, below(2) ? p.payload : none, below(2) ? p.signature : none);
}

/* Segments of another token of the same key, or of another key. */
static struct slice swap_segments(const struct corpus_key *k)
{
	const struct corpus_key *other = below(2) ? k : &corpus_keys[below(CORPUS_KEYS)];
	struct parts a = split(base_of(k)), b = split(base_of(other));

	switch (below(5)) {
	case 0:
		return join(b.header, a.payload, a.signature);
	case 1:
		return join(a.header, b.payload, a.signature);
	case 2:
		return join(a.header, a.payload, b.signature);
	case 3:
		return join(a.payload, a.header, a.signature);
	default:
		return join(a.header, a.signature, a.payload);
	}
}

/* alg as JSON. */
static const char *header_saying(const char *alg, const char *kid)
{
	return arena_printf(jwt_arena, "{\"alg\":%s,\"typ\":\"at+jwt\",\"kid\":\"%s\"}", alg, kid);
}

static const char *quoted(const char *s)
{
	return arena_printf(jwt_arena, "\"%s\"", s);
}

/* Signed by one key, under the name of another. */
static struct slice use_the_wrong_key(const struct corpus_key *k)
{
	const struct corpus_key *named = &corpus_keys[below(CORPUS_KEYS)];

	return resign(k, header_saying(quoted(below(2) ? named->alg : k->alg), named->kid), claims(below(9)));
}

/* The signature is good for the algorithm that the header names, and the key could do it. */
static struct slice use_another_algorithm(const struct corpus_key *k)
{
	static const char *const rsa[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"};
	static const char *const ec[] = {"ES256", "ES384", "ES512"};
	const char *alg = k->group ? ec[below(3)] : rsa[below(6)];

	return slice_str(jwt_sign(k->key, alg, header_saying(quoted(alg), k->kid), claims(below(9))));
}

/* Signed as the key does, called something else. */
static struct slice name_another_algorithm(const struct corpus_key *k)
{
	static const char *const names[] = {
		"\"ES256\"", "\"ES384\"", "\"RS256\"", "\"PS256\"", "\"none\"", "\"None\"", "\"\"", "\"HS256\"", "\"HS384\"",
		"\"HS512\"", "\"es256\"", "\"rs256\"", "\"ES256K\"", "\"ES512\"", "\"EdDSA\"", "\"RSA-OAEP\"", "\"dir\"",
		"\"A128KW\"", "null", "7", "[\"ES256\"]", "true", "\"RS256 \"", "\"RS1\"",
	};

	return resign(k, header_saying(names[below(sizeof names / sizeof names[0])], k->kid), claims(below(9)));
}

static struct slice use_hmac(const struct corpus_key *k)
{
	const char *secret = below(2) ? jwt_jwk(k->key, "") : "";
	const char *header = below(2) ? header_saying("\"HS256\"", k->kid) : header_of(k, "");

	return slice_str(jwt_hmac(slice_str(secret), header, claims(below(9))));
}

static struct slice flip_a_bit_of_the_signature(const struct corpus_key *k)
{
	const char *t = base_of(k);
	struct parts p = split(t);

	p.raw[below(p.raw_n)] ^= (uint8_t)(1u << below(8));
	return with_signature(t, p.raw, p.raw_n);
}

/* Zero bytes in front or at the end; leading ones taken away. */
static struct slice change_the_signatures_length(const struct corpus_key *k)
{
	const char *t = base_of(k);
	struct parts p = split(t);
	uint8_t more[1100] = {0};
	size_t by = 1 + below(40), half = p.raw_n / 2;

	switch (below(6)) {
	case 0:
		memcpy(more + by, p.raw, p.raw_n);
		return with_signature(t, more, p.raw_n + by);
	case 1:
		memcpy(more, p.raw, p.raw_n);
		return with_signature(t, more, p.raw_n + by);
	case 2:
		return with_signature(t, p.raw + by, p.raw_n - by);
	case 3:
		return with_signature(t, p.raw, p.raw_n - by);
	case 4: /* each half longer by as much: the same r and s */
		memcpy(more + by, p.raw, half);
		memcpy(more + by + half + by, p.raw + half, half);
		return with_signature(t, more, 2 * (half + by));
	default: /* a zero byte where a number has one already is no change */
		for (by = 0; by < p.raw_n && p.raw[by] == 0;)
			by++;
		return with_signature(t, p.raw + by, p.raw_n - by);
	}
}

/* What ES256 is often mistaken for: the SEQUENCE that OpenSSL and most libraries write. */
static struct slice sign_as_der(const struct corpus_key *k)
{
	return slice_str(jwt_sign(k->key, k->group ? "DER" : k->alg, header_of(k, ""), claims(below(9))));
}

/* s turned into n - s verifies as well (both should say so); r, s of 0, n, or beyond do not. RSA: the modulus added. */
static struct slice change_the_signatures_numbers(const struct corpus_key *k)
{
	const char *t = base_of(k);
	struct parts p = split(t);
	size_t half = k->group ? p.raw_n / 2 : p.raw_n;
	uint8_t *number = p.raw + (k->group && below(2) ? half : 0);
	BIGNUM *order = NULL, *v = BN_bin2bn(number, (int)half, NULL);

	NEED(EVP_PKEY_get_bn_param(k->key, k->group ? OSSL_PKEY_PARAM_EC_ORDER : OSSL_PKEY_PARAM_RSA_N, &order) == 1);
	switch (below(5)) {
	case 0:
		BN_sub(v, order, v);
		break;
	case 1:
		BN_add(v, order, v);
		break;
	case 2:
		BN_zero(v);
		break;
	case 3:
		BN_copy(v, order);
		break;
	default:
		BN_one(v);
	}
	if (BN_num_bytes(v) <= (int)half)
		BN_bn2binpad(v, number, (int)half);
	else
		memset(number, 0xff, half);
	BN_free(order);
	BN_free(v);
	return with_signature(t, p.raw, p.raw_n);
}

static struct slice swap_the_signatures_halves(const struct corpus_key *k)
{
	const char *t = base_of(k);
	struct parts p = split(t);
	uint8_t other[1024];

	memcpy(other, p.raw + p.raw_n / 2, p.raw_n / 2);
	memcpy(other + p.raw_n / 2, p.raw, p.raw_n / 2);
	return with_signature(t, other, p.raw_n);
}

static struct slice salt_it_otherwise(const struct corpus_key *k)
{
	static const char *const salts[] = {"PS256/0", "PS256/20", "PS256/31", "PS256/32", "PS256/33", "PS256/222"};

	return slice_str(jwt_sign(k->key, k->group ? k->alg : salts[below(6)], header_of(k, ""), claims(below(9))));
}

static struct slice say_another_type(const struct corpus_key *k)
{
	static const char *const types[] = {"\"JWT\"", "\"at+jwt\"", "\"AT+JWT\"", "\"application/at+jwt\"", "\"\"", "7", "null",
					    "\"jwt\"", "\"at+jwt \"", "\"dpop+jwt\"", "\"Application/At+Jwt\"", "\"text/at+jwt\"",
					    "[\"at+jwt\"]"};

	return resign(k, arena_printf(jwt_arena, "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":%s}", k->alg, k->kid,
				      types[below(sizeof types / sizeof types[0])]), claims(below(9)));
}

static struct slice add_to_the_header(const struct corpus_key *k)
{
	static const char *const more[] = {",\"crit\":[\"exp\"],\"exp\":1", ",\"crit\":[]", ",\"crit\":null", ",\"crit\":[\"kid\"]",
					   ",\"crit\":[\"b64\"],\"b64\":false", ",\"b64\":false", ",\"b64\":true", ",\"alg\":\"ES256\"",
					   ",\"\\u0061lg\":\"none\"", ",\"kid\":\"e1\"", ",\"typ\":\"at+jwt\"", ",\"x\":{\"a\":1,\"a\":2}",
					   ",\"zip\":\"DEF\"", ",\"cty\":\"JWT\"", ",\"jku\":\"http://127.0.0.1/\"", ",\"enc\":\"A128GCM\"",
					   ",\"x\":\"\\u0000\"", ",\"x\":\"\\ud800\"", ",\"x\":\"\xff\"", ",\"x\":1e999", ",\"x\":NaN", ","};

	return resign(k, header_of(k, more[below(sizeof more / sizeof more[0])]), claims(below(9)));
}

static struct slice name_another_key(const struct corpus_key *k)
{
	static const char *const kids[] = {"", ",\"kid\":\"\"", ",\"kid\":\"E1\"", ",\"kid\":7", ",\"kid\":null", ",\"kid\":\"e1 \"",
					   ",\"kid\":\"../e1\"", ",\"kid\":[\"e1\"]"};

	return resign(k, arena_printf(jwt_arena, "{\"alg\":\"%s\",\"typ\":\"at+jwt\"%s}", k->alg,
				      kids[below(sizeof kids / sizeof kids[0])]), claims(below(9)));
}

static struct slice write_the_header_otherwise(const struct corpus_key *k)
{
	const char *h = header_of(k, "");
	const char *const forms[] = {arena_printf(jwt_arena, " %s", h), arena_printf(jwt_arena, "%s ", h),
				     arena_printf(jwt_arena, "\n%s", h), arena_printf(jwt_arena, "%sx", h),
				     arena_printf(jwt_arena, "%s%s", h, h), arena_printf(jwt_arena, "[%s]", h),
				     arena_printf(jwt_arena, "\xef\xbb\xbf%s", h), arena_printf(jwt_arena, "{ \t%s", h + 1),
				     arena_printf(jwt_arena, "%.*s", (int)strlen(h) - 1, h), "{}", "[]", "null", "\"x\"", "7", " "};

	return resign(k, forms[below(sizeof forms / sizeof forms[0])], claims(below(9)));
}

static struct slice write_the_payload_otherwise(const struct corpus_key *k)
{
	static const char *const forms[] = {"{" CLAIMS "}", " {" CLAIMS "}\n", "{" CLAIMS ",\"sub\":\"root\"}",
					    "{" CLAIMS ",\"s\\u0075b\":\"root\"}", "{" CLAIMS "}x", "{" CLAIMS, "[]", "null", "7", "\"x\"",
					    "x", "\xff", "{" CLAIMS ",\"x\":NaN}", "{" CLAIMS ",\"x\":\"\\u0000\"}",
					    "{" CLAIMS ",\"x\":\"\xc3\"}", "{'" CLAIMS "}"};

	return resign(k, header_of(k, ""), forms[below(sizeof forms / sizeof forms[0])]);
}

static struct slice make_it_long(const struct corpus_key *k)
{
	return resign(k, header_of(k, ""), claims(5200 + below(1200)));
}

/* Random bytes of the alphabet, with dots. */
static struct slice make_it_up(const struct corpus_key *k)
{
	size_t n = below(300);
	uint8_t *p = arena_alloc(jwt_arena, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = below(40) ? (uint8_t)alphabet[below(64)] : '.';
	return slice_of(p, n);
}

static struct slice (*const spoilers[])(const struct corpus_key *) = {
	leave_alone, leave_alone, flip_a_bit_of_the_text, change_a_character, drop_a_character, add_a_character,
	add_a_foreign_byte, add_padding, cut_it_short, cut_the_signature, set_idle_bits, set_idle_bits_and_sign,
	sign_foreign_bytes, change_the_number_of_segments, empty_segments, swap_segments, use_the_wrong_key, use_another_algorithm,
	name_another_algorithm, use_hmac, flip_a_bit_of_the_signature, change_the_signatures_length, sign_as_der,
	change_the_signatures_numbers, swap_the_signatures_halves, salt_it_otherwise, say_another_type, add_to_the_header,
	name_another_key, write_the_header_otherwise, write_the_payload_otherwise, make_it_long, make_it_up,
};

struct sample corpus_next(void)
{
	const struct corpus_key *k = &corpus_keys[below(CORPUS_KEYS)];

	arena_reset(jwt_arena);
	return (struct sample){k, spoilers[below(sizeof spoilers / sizeof spoilers[0])](k)};
}
