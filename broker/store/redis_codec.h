/* How does Baton speak RESP2? Requests are written straight into the connection's buffer; replies are parsed by hiredis, but only
 * after this file has looked at every header: hiredis 0.14 believes a server that announces half a gigabyte. */
#ifndef BATON_STORE_REDIS_CODEC_H
#define BATON_STORE_REDIS_CODEC_H

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "base/slice.h"

#define RESP_BULK_MAX (32u << 20)     /* bytes of one string */
#define RESP_REPLY_MAX (128u << 20)   /* bytes of one reply with all its parts */
#define RESP_ARRAY_MAX 4096           /* elements of one array */
#define RESP_ELEMENTS_MAX 16384       /* elements of one reply in all its arrays */
#define RESP_DEPTH_MAX 6              /* arrays in arrays; hiredis has room for 9 */
#define RESP_LINE_MAX 8192            /* bytes of a status or an error */

/* Appends one command. false: over the buffer's cap, then nothing was appended. */
bool resp_put(struct buf *b, const struct slice *argv, size_t n);

struct resp_reader;
struct resp_reader *resp_reader_new(void);
void resp_reader_free(struct resp_reader *r);
/* Takes all bytes. 0, or -1 when they break a cap or are no RESP: the connection must be closed. */
int resp_reader_feed(struct resp_reader *r, struct slice bytes);
/* The next complete reply, owned by the caller (freeReplyObject), or NULL. */
redisReply *resp_reader_next(struct resp_reader *r);
/* hiredis refused what the scanner let pass: the connection must be closed. */
bool resp_reader_broken(const struct resp_reader *r);

/* Strings and statuses as bytes; anything else is empty. */
struct slice resp_bytes(const redisReply *r);
bool resp_error_is(const redisReply *r, const char *code); /* an error that starts with this word */

#endif
