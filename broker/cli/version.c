/* Which version is this, and what does it speak? `--protos DIR` writes the .proto files that every gRPC language
 * can compile. */
#include "config.h"

#include "base/file.h"
#include "cli/cli.h"
#include "cli/protos.h"

static int write_protos(struct cli *c, const char *dir)
{
	struct problem why = {""};
	char path[4400];

	for (size_t i = 0; i < n_proto_files; i++) {
		snprintf(path, sizeof path, "%.4096s/baton/v1", dir);
		if (file_make_dir(path, 0755, &why))
			return complain(c, EXIT_CONFIG, why.text, NULL, NULL);
		snprintf(path, sizeof path, "%.4096s/%s", dir, proto_files[i].path);
		if (file_write_atomic(path, slice_str(proto_files[i].text), 0644, &why))
			return complain(c, EXIT_CONFIG, why.text, NULL, NULL);
		fprintf(c->out, "%s\n", path);
	}
	return EXIT_YES;
}

int cmd_version(struct cli *c)
{
	if (c->args.text[OPT_PROTOS])
		return write_protos(c, c->args.text[OPT_PROTOS]);
	if (cli_json(c))
		fputs("{\"name\":\"baton\",\"version\":\"" PACKAGE_VERSION "\",\"api\":\"baton.v1\"}\n", c->out);
	else
		fputs("baton " PACKAGE_VERSION " (api baton.v1)\n", c->out);
	return EXIT_YES;
}
