/* What does a hash table do when memory is out? uthash would end the process. Told otherwise, it leaves the element out: whoever adds one
 * asks TABLE_HAS() whether it is in. (For an element of calloc(); `hh` is its handle.) */
#ifndef BATON_BASE_TABLE_H
#define BATON_BASE_TABLE_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define TABLE_HAS(element, hh) ((element)->hh.tbl != NULL)

#endif
