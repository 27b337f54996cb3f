/* Can what an operator says of an issuer lead a node out of its folder of secrets, or to another host's in it? Input: the first line is a url, the rest a secret's name.
 * What is taken names a folder and a file, each one step down, and the host is the one that libcurl would connect to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "fuzz.h"
#include "identity/introspection.h"

unsigned fuzz_good;

static bool is_one_step(const char *name)
{
	return *name && *name != '.' && !strpbrk(name, "/\\%@ \t\r\n");
}

static char *part(CURLU *u, CURLUPart what, unsigned flags)
{
	char *text = NULL;

	NEED(curl_url_get(u, what, &text, flags) == CURLUE_OK && text);
	return text;
}

/* In any case of its letters, and as a number is written. */
static void is_whom_curl_asks(const char *url, const char *host)
{
	char shown[INTROSPECTION_HOST_MAX + 32];
	CURLU *u = curl_url();
	char *name, *port;

	NEED(u);
	if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK) { /* else nobody is asked */
		name = part(u, CURLUPART_HOST, 0);
		port = part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
		snprintf(shown, sizeof shown, strcmp(port, "443") == 0 ? "%s" : "%s:%s", name, port);
		if (strspn(host, "0123456789.:xabcdef") != strlen(host)) /* else an IPv4 address, which has many spellings: each is a folder of its own */
			NEED(strcasecmp(shown, host) == 0);
		curl_free(name);
		curl_free(port);
	}
	curl_url_cleanup(u);
}

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && memcmp(name + n - m, end, m) == 0;
}

static void check(const char *url, const char *name)
{
	char host[INTROSPECTION_HOST_MAX + 1];

	if (!introspection_secret_name_wrong(name))
		NEED(is_one_step(name) && strlen(name) <= INTROSPECTION_NAME_MAX && strcmp(name, INTROSPECTION_CA) != 0 && !ends_with(name, INTROSPECTION_CERT) && !ends_with(name, INTROSPECTION_KEY));
	if (issuer_url_wrong(url) || !introspection_host(url, host))
		return;
	fuzz_good++;
	NEED(is_one_step(host) && strlen(host) <= INTROSPECTION_HOST_MAX);
	is_whom_curl_asks(url, host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t n = end ? (size_t)(end - data) : size;
	char *url = strndup((const char *)data, n), *name = end ? strndup((const char *)end + 1, size - n - 1) : strdup("");

	NEED(url && name);
	check(url, name);
	free(url);
	free(name);
	return 0;
}
