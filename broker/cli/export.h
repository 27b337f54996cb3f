/* How is a resource written as YAML? As a document that resfile.h reads back as the same. */
#ifndef BATON_CLI_EXPORT_H
#define BATON_CLI_EXPORT_H

#include "base/yaml_write.h"
#include "cli/reskind.h"

/* Copies may stand in the arena. false: it could not be written. */
bool export_put(struct yaml_writer *y, const struct res_kind *k, const ProtobufCMessage *spec, struct arena *arena);

#endif
