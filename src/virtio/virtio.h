/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio 1.3: device status (2.1) and the feature bits that belong to no device type (6). */
#ifndef ICESIM_VIRTIO_VIRTIO_H
#define ICESIM_VIRTIO_VIRTIO_H

#include <stdint.h>

#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER      2u
#define VIRTIO_STATUS_DRIVER_OK   4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED      128u

/* Feature bits are numbers; VIRTIO_FEATURE makes a mask of one. */
#define VIRTIO_FEATURE(bit) (UINT64_C(1) << (bit))

#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX     29
#define VIRTIO_F_VERSION_1     32

#endif
