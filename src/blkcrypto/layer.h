/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk over several, as device-mapper makes them: one after the other, or striped. It has no
 * slots: its capabilities are the intersection of its children's, a request is cut where its
 * children meet, each part keeps the key with the DUN moved on, and evict goes to every child.
 */
#ifndef ICESIM_BLKCRYPTO_LAYER_H
#define ICESIM_BLKCRYPTO_LAYER_H

#include "disk.h"

#define LAYER_CHILDREN_MAX 16u

enum layer_map { LAYER_LINEAR, LAYER_STRIPED };

/*
 * 1 to LAYER_CHILDREN_MAX children, all different, which outlive the layer. Striped, they are used
 * for whole stripes of `stripe` bytes, as far as the smallest goes; linear, each for whole data
 * units of the largest size that is advertised, and whole logical blocks. So no data unit lies
 * across two children, as long as requests with a key begin at whole data units (whole_units);
 * those that do not are -EINVAL. Keys with a data unit that would lie across, which only children
 * with a fallback of their own serve, are -EOPNOTSUPP.
 *
 * -EINVAL: a stripe that is no multiple of every data unit size that is advertised, and of every
 * logical block size; no room for one stripe or data unit; no such children. -ENOMEM.
 */
int layer_open(enum layer_map map, uint64_t stripe, struct disk *const *children, unsigned count,
               struct disk **disk, struct ice_why *why);

/* Of a layer: how many bytes of a child it uses, from the child's first on. */
uint64_t layer_uses(const struct disk *disk, unsigned child);

#endif
