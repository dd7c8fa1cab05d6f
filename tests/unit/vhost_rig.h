/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A back end over a function on a bench, and a small front end in the same process, which sends
 * every message by itself: nothing is done for a test that it does not ask for. Waiting has the
 * limit of patience.h; failures of the rig itself end the program.
 */
#ifndef ICESIM_TESTS_VHOST_RIG_H
#define ICESIM_TESTS_VHOST_RIG_H

#include "gate_store.h"
#include "rig.h"
#include "vhost_user/vhost_user.h"
#include "virtio/ring.h"
#include "virtio/vhost_user.h"
#include <pthread.h>
#include <stdatomic.h>

#define VM_BYTES   (UINT64_C(1) << 20)
#define VM_GUEST   UINT64_C(0x40000000)     /* guest-physical address of its memory */
#define VM_USER    UINT64_C(0x700000000000) /* where the front end says that it has it */
#define VM_RINGS   3u                       /* that it has room for */
#define VM_ENTRIES 16u
#define VM_DATA    0x40000u /* offset of the memory of requests */

#define VM_PROTOCOL(name) (UINT64_C(1) << VHOST_USER_PROTOCOL_F_##name)
#define VM_USUAL          (VM_PROTOCOL(MQ) | VM_PROTOCOL(REPLY_ACK) | VM_PROTOCOL(CONFIG))

#define VM_STATUS_FEATURES                                                                         \
    (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK)
#define VM_STATUS_ALL (VM_STATUS_FEATURES | VIRTIO_STATUS_DRIVER_OK)

/* Ends the program; so does the other, unless `good`. */
_Noreturn void vm_bail_out(const char *what);
static inline void vm_must(bool good, const char *what)
{
    if (!good)
        vm_bail_out(what);
}

/* A function with 4 slots and 2048 sectors over `store` (NULL: RAM), and its back end. */
struct vhost_rig {
    struct rig rig;
    struct vhost_user *back_end;
    struct vhost_user_counts counts; /* by vhost_rig_count */
    char path[108];                  /* of the listening socket */
    pthread_t resets;
    atomic_bool resets_end;
};

void vhost_rig_open(struct vhost_rig *rig, struct store *store, struct function_params params);
/* The same over RAM behind a gate, which is the rig's. */
struct gate_store *vhost_rig_open_gated(struct vhost_rig *rig, struct function_params params);
void vhost_rig_close(struct vhost_rig *rig);
/* Another back end in place of the one there is, as after a restart; engine and media stay. */
void vhost_rig_restart(struct vhost_rig *rig);
const struct vhost_user_counts *vhost_rig_count(struct vhost_rig *rig);
uint64_t vhost_rig_refused(struct vhost_rig *rig, enum vhost_user_refusal refusal);
/* From now on the host resets the device, again and again; until it does not any more. */
void vhost_rig_begin_resets(struct vhost_rig *rig);
void vhost_rig_end_resets(struct vhost_rig *rig);

/* ---- a front end, its guest's memory, its driver ---- */

struct vm_ring {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    int kick, call, err;
    uint16_t avail_idx, used_idx; /* the driver's */
};

struct vm {
    int fd;           /* of the connection; -1: none */
    int channel;      /* our end of the back end's; -1: none */
    int far_end;      /* what the back end has of it, too … */
    unsigned fillers; /* … messages that vm_fill_channel sent there */
    int memfd;        /* of the memory; it outlives connections */
    uint8_t *memory;
    uint64_t features; /* negotiated */
    const struct dialect *dialect;
    struct vm_ring rings[VM_RINGS];
};

void vm_init(struct vm *vm, const struct dialect *dialect);
void vm_free(struct vm *vm);

void vm_connect(struct vm *vm, const struct vhost_rig *rig);
/* The same as a new machine, once the back end has let go of the one before: its rings are empty.
 */
void vm_connect_anew(struct vm *vm, const struct vhost_rig *rig);
/* And vm_start. */
void vm_start_anew(struct vm *vm, const struct vhost_rig *rig, uint64_t features,
                   uint64_t protocol);
void vm_hang_up(struct vm *vm);

/* Sends a message with `n` descriptors; `flags` beside the version. */
void vm_send(struct vm *vm, uint32_t request, uint32_t flags, const void *payload, size_t size,
             const int *fds, unsigned n);

/* The next message's payload size; -1: the back end hung up. *fd (may be NULL): what came along. */
int vm_receive(struct vm *vm, struct vhost_user_header *header, void *payload, size_t room,
               int *fd);

/* Whether the back end hangs up, and sends nothing before. */
bool vm_is_cut_off(struct vm *vm);

void vm_u64(struct vm *vm, uint32_t request, uint64_t value);
void vm_state(struct vm *vm, uint32_t request, unsigned index, unsigned num);
void vm_event_fd(struct vm *vm, uint32_t request, unsigned index, int fd); /* -1: none */
/* A message without payload whose reply is 8 bytes. */
uint64_t vm_get(struct vm *vm, uint32_t request);
/* Sends with NEED_REPLY and returns the reply; -1: cut off. */
int64_t vm_ack(struct vm *vm, uint32_t request, const void *payload, size_t size, const int *fds,
               unsigned n);
/* Waits until all that was sent is worked off. */
void vm_sync(struct vm *vm);
/* The same, and what the device had to tell the back end: it may read 64 messages before that. */
void vm_sync_news(struct vm *vm);

/* What a VMM says, in QEMU's order. */
void vm_negotiate(struct vm *vm, uint64_t features, uint64_t protocol);
void vm_share_memory(struct vm *vm);
void vm_set_channel(struct vm *vm);
void vm_place_ring(struct vm *vm, unsigned ring); /* size, base, addresses: as the driver is */
void vm_start_ring(struct vm *vm, unsigned ring); /* all that a ring has */
void vm_start(struct vm *vm, uint64_t features, uint64_t protocol); /* all of it, ring 0 */
uint16_t vm_stop_ring(struct vm *vm, unsigned ring);
uint16_t vm_ring_base(struct vm *vm, unsigned ring); /* the answer to GET_VRING_BASE */
void vm_clear_ring(struct vm *vm, unsigned ring);    /* as a new driver would */

/* ---- the log of requests in flight, of ring 0 ---- */

struct vm_log_entry {
    uint8_t inflight;
    uint8_t pad[5];
    uint16_t next;
    uint64_t counter;
};

struct vm_log_part {
    uint64_t features;
    uint16_t version, desc_num, last_batch_head, used_idx;
    struct vm_log_entry entries[VM_ENTRIES];
};

struct vm_log {
    struct vhost_user_inflight at;
    int fd;
    struct vm_log_part *part; /* shared with the back end */
};

/* GET_INFLIGHT_FD, SET_INFLIGHT_FD; what that says. */
void vm_log_make(struct vm *vm, struct vm_log *log);
int64_t vm_log_share(struct vm *vm, const struct vm_log *log);
void vm_log_free(struct vm_log *log);

/* ---- requests ---- */

/* A part at offset `at` of the memory. */
struct vm_part {
    uint32_t at, len;
    bool writable;
};

/* Puts `head` into the available ring, whatever it is. */
void vm_make_available(struct vm *vm, unsigned ring, uint16_t head);
/* Makes a chain of descriptors from `head` on, and makes it available. */
void vm_add(struct vm *vm, unsigned ring, uint16_t head, const struct vm_part *parts, unsigned n);
void vm_kick(struct vm *vm, unsigned ring);
/* Waits for the next used element. False: none came. */
bool vm_used(struct vm *vm, unsigned ring, struct vring_used_elem *elem);
/* Whether nothing is used for a moment. */
bool vm_is_quiet(struct vm *vm, unsigned ring);

/* ---- what the back end tells ---- */

/* Waits for an eventfd; its count, 0: it was not raised. */
uint64_t vm_event(int fd);
/* Whether there is something to read, now or within a moment. */
bool vm_is_raised(int fd);
bool vm_is_raised_soon(int fd);
/* Waits for a message on the channel; its number, 0: none came. */
uint32_t vm_notice(struct vm *vm, struct vhost_user_vring_state *state);
/* The same; whether it is CONFIG_CHANGE. */
bool vm_told_of_config(struct vm *vm);
/* Takes the room for messages on the channel, so that the back end has none; and gives it back. */
void vm_fill_channel(struct vm *vm);
void vm_empty_channel(struct vm *vm);

/* Request `n`, below VM_SLOTS, has memory and descriptors of its own. */
#define VM_SLOTS     4u
#define VM_SLOT_DATA 0x8000u /* bytes of data at most */
void vm_submit(struct vm *vm, unsigned ring, unsigned n, const struct command *command,
               const void *out, size_t len);
uint8_t *vm_data(struct vm *vm, unsigned n);
int vm_status(struct vm *vm, unsigned n); /* 0xee: not written */

/* Submits request 0 on ring 0, kicks, waits: the status; -1: not handed back; -2: without one. */
int vm_run(struct vm *vm, const struct command *command, void *data, size_t len);

#endif
