/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk (virtio 1.3, 5.2): feature bits, configuration space, request types and formats. All
 * integers are little-endian; fields are declared by width and read through base/bytes.h.
 */
#ifndef ICESIM_VIRTIO_BLK_H
#define ICESIM_VIRTIO_BLK_H

#include <stddef.h>
#include <stdint.h>

#define VIRTIO_ID_BLOCK 2

#define VIRTIO_BLK_F_SIZE_MAX     1
#define VIRTIO_BLK_F_SEG_MAX      2
#define VIRTIO_BLK_F_GEOMETRY     4
#define VIRTIO_BLK_F_RO           5
#define VIRTIO_BLK_F_BLK_SIZE     6
#define VIRTIO_BLK_F_FLUSH        9
#define VIRTIO_BLK_F_TOPOLOGY     10
#define VIRTIO_BLK_F_CONFIG_WCE   11
#define VIRTIO_BLK_F_MQ           12
#define VIRTIO_BLK_F_DISCARD      13
#define VIRTIO_BLK_F_WRITE_ZEROES 14
#define VIRTIO_BLK_F_LIFETIME     15
#define VIRTIO_BLK_F_SECURE_ERASE 16
#define VIRTIO_BLK_F_ZONED        17

#define VIRTIO_BLK_T_IN           0u
#define VIRTIO_BLK_T_OUT          1u
#define VIRTIO_BLK_T_FLUSH        4u
#define VIRTIO_BLK_T_GET_ID       8u
#define VIRTIO_BLK_T_GET_LIFETIME 10u
#define VIRTIO_BLK_T_DISCARD      11u
#define VIRTIO_BLK_T_WRITE_ZEROES 13u
#define VIRTIO_BLK_T_SECURE_ERASE 14u

#define VIRTIO_BLK_S_OK     0u
#define VIRTIO_BLK_S_IOERR  1u
#define VIRTIO_BLK_S_UNSUPP 2u

#define VIRTIO_BLK_ID_BYTES 20

#define VIRTIO_BLK_SEGMENT_UNMAP 1u /* flag of struct virtio_blk_segment */

/* The configuration space; offsets hold whether or not the features before a field are offered. */
struct virtio_blk_config {
    uint64_t capacity; /* sectors */
    uint32_t size_max;
    uint32_t seg_max;
    uint16_t cylinders;
    uint8_t heads;
    uint8_t sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp;
    uint8_t alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback; /* the only field that a driver may write */
    uint8_t unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors;
    uint32_t max_discard_seg;
    uint32_t discard_sector_alignment;
    uint32_t max_write_zeroes_sectors;
    uint32_t max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap;
    uint8_t unused1[3];
    uint32_t max_secure_erase_sectors;
    uint32_t max_secure_erase_seg;
    uint32_t secure_erase_sector_alignment;
    uint32_t zone_sectors;
    uint32_t max_open_zones;
    uint32_t max_active_zones;
    uint32_t max_append_sectors;
    uint32_t write_granularity;
    uint8_t zone_model;
    uint8_t unused2[3];
} __attribute__((packed));

_Static_assert(offsetof(struct virtio_blk_config, size_max) == 8, "size_max");
_Static_assert(offsetof(struct virtio_blk_config, seg_max) == 12, "seg_max");
_Static_assert(offsetof(struct virtio_blk_config, cylinders) == 16, "cylinders");
_Static_assert(offsetof(struct virtio_blk_config, blk_size) == 20, "blk_size");
_Static_assert(offsetof(struct virtio_blk_config, physical_block_exp) == 24, "physical_block_exp");
_Static_assert(offsetof(struct virtio_blk_config, min_io_size) == 26, "min_io_size");
_Static_assert(offsetof(struct virtio_blk_config, opt_io_size) == 28, "opt_io_size");
_Static_assert(offsetof(struct virtio_blk_config, writeback) == 32, "writeback");
_Static_assert(offsetof(struct virtio_blk_config, num_queues) == 34, "num_queues");
_Static_assert(offsetof(struct virtio_blk_config, max_discard_sectors) == 36, "discard");
_Static_assert(offsetof(struct virtio_blk_config, max_write_zeroes_sectors) == 48, "zeroes");
_Static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) == 56, "may_unmap");
_Static_assert(offsetof(struct virtio_blk_config, max_secure_erase_sectors) == 60, "erase");
_Static_assert(offsetof(struct virtio_blk_config, zone_sectors) == 72, "zone_sectors");
_Static_assert(offsetof(struct virtio_blk_config, zone_model) == 92, "zone_model");
_Static_assert(sizeof(struct virtio_blk_config) == 96, "virtio_blk_config");

/* The start of every request's device-readable part. */
struct virtio_blk_header {
    uint32_t type;
    uint32_t reserved; /* Linux puts ioprio here: ignored */
    uint64_t sector;
};

_Static_assert(offsetof(struct virtio_blk_header, reserved) == 4, "reserved");
_Static_assert(offsetof(struct virtio_blk_header, sector) == 8, "sector");
_Static_assert(sizeof(struct virtio_blk_header) == 16, "virtio_blk_header");

/* A range of DISCARD, WRITE_ZEROES and SECURE_ERASE. */
struct virtio_blk_segment {
    uint64_t sector;
    uint32_t num_sectors;
    uint32_t flags;
};

_Static_assert(offsetof(struct virtio_blk_segment, num_sectors) == 8, "num_sectors");
_Static_assert(offsetof(struct virtio_blk_segment, flags) == 12, "flags");
_Static_assert(sizeof(struct virtio_blk_segment) == 16, "virtio_blk_segment");

#define VIRTIO_BLK_PRE_EOL_NORMAL 1u

struct virtio_blk_lifetime {
    uint16_t pre_eol_info;
    uint16_t device_lifetime_est_typ_a;
    uint16_t device_lifetime_est_typ_b;
};

_Static_assert(offsetof(struct virtio_blk_lifetime, device_lifetime_est_typ_a) == 2, "typ_a");
_Static_assert(offsetof(struct virtio_blk_lifetime, device_lifetime_est_typ_b) == 4, "typ_b");
_Static_assert(sizeof(struct virtio_blk_lifetime) == 6, "virtio_blk_lifetime");

#endif
