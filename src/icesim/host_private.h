/* SPDX-License-Identifier: BSD-2-Clause */
/* host.c asks windows.c where a new function goes. The caller holds host->adding. */
#ifndef ICESIM_ICESIM_HOST_PRIVATE_H
#define ICESIM_ICESIM_HOST_PRIVATE_H

#include "host.h"

/* The slots that `spec` names, or else the lowest free ones. 0; -EINVAL: outside the engine;
 * -EBUSY: not free. */
int host_choose_slots(const struct host *host, const struct function_spec *spec, unsigned *first,
                      unsigned *count, struct ice_why *why);

/*
 * The same of sectors. `own_bytes` is the size of an image of its own, which nobody shares; 0: the
 * host's media are meant.
 */
int host_choose_sectors(const struct host *host, const struct function_spec *spec,
                        uint64_t own_bytes, uint64_t *first, uint64_t *count, struct ice_why *why);

#endif
