/* In which of a Redis Cluster's hash slots is a key? */
#ifndef BATON_STORE_REDIS_HASH_H
#define BATON_STORE_REDIS_HASH_H

#include <stdint.h>

#include "base/slice.h"

#define CLUSTER_SLOTS 16384

/* CRC16/XMODEM: polynomial 0x1021, from 0, nothing reflected. */
uint16_t redis_crc16(struct slice bytes);
/* Of what stands between the first { and the } after it, if anything does; else of the whole key. */
unsigned redis_hash_slot(struct slice key);

#endif
