/* How are times, ages and foreign text shown to people? Short, and never with a control character from somebody
 * else. */
#ifndef BATON_CLI_TEXT_H
#define BATON_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/slice.h"

void text_age(int64_t ms, char out[16]);                       /* "4s" "12m" "3h" "9d" */
/* "2026-11-24 00:25:01" or "2026-11-24T00:25:01Z"; "-" for 0 */
void text_time(int64_t unix_ms, bool utc, char out[40]);
void text_clock(int64_t unix_ms, bool utc, char out[24]);      /* "00:25:01.123", with "Z" in UTC */
/* UTF-8 without control characters but tabs and line ends. */
bool text_is_plain(struct slice s);
/* Copies, with control characters and bytes that are no UTF-8 as "?": safe for a terminal. Cut at size. */
void text_safe(struct slice in, char *out, size_t size);
/* Prints all of it that way; newlines and tabs pass when `lines`. */
void text_print(FILE *out, struct slice in, bool lines);
/* "key:   value" of a block, the value from column width + 1 on; nothing when it is NULL or empty. */
void text_line(FILE *out, int width, const char *key, const char *value);
/* The same with n words, a space before each. */
void text_line_words(FILE *out, int width, const char *key, char *const *words, size_t n);

#endif
