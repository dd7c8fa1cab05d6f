/* SPDX-License-Identifier: BSD-2-Clause */
/* The sizes that every layer shares. */
#ifndef ICESIM_BASE_UNITS_H
#define ICESIM_BASE_UNITS_H

#define SECTOR_SIZE   512u /* a virtio-blk sector, whatever blk_size says */
#define SECTOR_SHIFT  9
#define DATA_UNIT_MIN 512u
#define DATA_UNIT_MAX 65536u     /* data_unit_size_exp 7: UFS's range */
#define REQUEST_MAX   (4u << 20) /* bytes of data in one request */
#define SLOTS_MAX     255u       /* max_slots is 8 bits wide in the ICE drafts */

#endif
