/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost-user messages (QEMU's docs/interop/vhost-user.rst). Integers are in the byte order of the
 * machine; file descriptors come beside, by SCM_RIGHTS.
 */
#ifndef ICESIM_VIRTIO_VHOST_USER_H
#define ICESIM_VIRTIO_VHOST_USER_H

#include <stddef.h>
#include <stdint.h>

#define VHOST_USER_VERSION      1u
#define VHOST_USER_VERSION_MASK 3u
#define VHOST_USER_REPLY        4u
#define VHOST_USER_NEED_REPLY   8u

/* A feature bit (of VHOST_USER_GET_FEATURES), never the driver's. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

enum vhost_user_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
};

/* From the back end, on the socket of SET_BACKEND_REQ_FD. */
enum vhost_user_backend_request {
    VHOST_USER_BACKEND_CONFIG_CHANGE = 2,
    VHOST_USER_BACKEND_VRING_CALL = 4,
    VHOST_USER_BACKEND_VRING_ERR = 5,
};

#define VHOST_USER_PROTOCOL_F_MQ                   0
#define VHOST_USER_PROTOCOL_F_REPLY_ACK            3
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ          5
#define VHOST_USER_PROTOCOL_F_CONFIG               9
#define VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD       12
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE         13
#define VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS 14
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS  15
#define VHOST_USER_PROTOCOL_F_STATUS               16

struct vhost_user_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* bytes of payload */
};

_Static_assert(sizeof(struct vhost_user_header) == 12, "vhost_user_header");

struct vhost_user_region {
    uint64_t guest; /* guest-physical address */
    uint64_t size;
    uint64_t user;        /* where the front end has it */
    uint64_t mmap_offset; /* of its start in the file */
};

_Static_assert(sizeof(struct vhost_user_region) == 32, "vhost_user_region");

#define VHOST_USER_TABLE_REGIONS 8u /* in SET_MEM_TABLE, one fd each */

struct vhost_user_mem_table {
    uint32_t count;
    uint32_t padding;
    struct vhost_user_region regions[VHOST_USER_TABLE_REGIONS];
};

_Static_assert(offsetof(struct vhost_user_mem_table, regions) == 8, "regions");

struct vhost_user_mem_reg {
    uint64_t padding;
    struct vhost_user_region region;
};

_Static_assert(sizeof(struct vhost_user_mem_reg) == 40, "vhost_user_mem_reg");

struct vhost_user_vring_state {
    uint32_t index;
    uint32_t num;
};

_Static_assert(sizeof(struct vhost_user_vring_state) == 8, "vhost_user_vring_state");

struct vhost_user_vring_addr {
    uint32_t index;
    uint32_t flags; /* bit 0: log */
    uint64_t desc;  /* where the front end has them */
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

_Static_assert(offsetof(struct vhost_user_vring_addr, desc) == 8, "desc");
_Static_assert(sizeof(struct vhost_user_vring_addr) == 40, "vhost_user_vring_addr");

/* The u64 of SET_VRING_KICK, CALL and ERR. */
#define VHOST_USER_VRING_INDEX_MASK 0xffu
#define VHOST_USER_VRING_NO_FD      0x100u

#define VHOST_USER_CONFIG_MAX 256u

struct vhost_user_config {
    uint32_t offset;
    uint32_t size; /* bytes that follow */
    uint32_t flags;
    uint8_t bytes[VHOST_USER_CONFIG_MAX];
};

_Static_assert(offsetof(struct vhost_user_config, bytes) == 12, "bytes");

struct vhost_user_inflight {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t num_queues;
    uint16_t queue_size;
    uint32_t padding; /* the specification has none: a message may end before it */
};

_Static_assert(offsetof(struct vhost_user_inflight, queue_size) == 18, "queue_size");
_Static_assert(sizeof(struct vhost_user_inflight) == 24, "vhost_user_inflight");

#endif
