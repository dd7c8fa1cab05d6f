/* SPDX-License-Identifier: BSD-2-Clause */
/* A store over a file descriptor: what RAM and image files share. Private to this folder. */
#ifndef ICESIM_MEDIA_FD_STORE_H
#define ICESIM_MEDIA_FD_STORE_H

#include "media/store.h"

/*
 * Takes over `fd`, open for reading at least, on success only. `size` is the store's. `thin`:
 * the medium reserves no space, so that zeroing always gives it back. `name` is how clauses call
 * it; copied. 0 or -ENOMEM.
 */
int fd_store_new(int fd, uint64_t size, bool thin, const char *name, struct store **store,
                 struct ice_why *why);

#endif
