/* Why a stream of our own? stdio drops errno when a later write fails, and SIGPIPE is ignored for the sockets' sake,
 * so that a closed pipe is only seen here. */
#include "config.h"

#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/exits.h"

void output_guard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
			_exit(EXIT_OUTPUT);
}

static void end_quietly(void)
{
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
}

static ssize_t put(void *cookie, const char *bytes, size_t n)
{
	struct output_stream *o = cookie;
	size_t at = 0;

	while (at < n) {
		ssize_t put = write(o->fd, bytes + at, n - at);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EPIPE)
			end_quietly();
		if (put < 0) {
			o->error = o->error ? o->error : errno;
			return 0;
		}
		at += (size_t)put;
	}
	return (ssize_t)n;
}

FILE *output_begin(struct output_stream *o, int fd)
{
	*o = (struct output_stream){.fd = fd};
	if (isatty(fd))
		o->file = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 3), "w");
	else
		o->file = fopencookie(o, "w", (cookie_io_functions_t){.write = put});
	return o->file;
}

int output_end(struct output_stream *o, int code, FILE *err)
{
	bool failed = fflush(o->file) != 0 || ferror(o->file);

	if (failed && !o->error)
		o->error = errno ? errno : EIO;
	fclose(o->file);
	if (!failed)
		return code;
	fprintf(err, "standard output cannot be written: %s\n", strerror(o->error));
	return code ? code : EXIT_OUTPUT;
}
