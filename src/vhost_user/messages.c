/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The messages of a front end: the table of what each is made of, against which it is checked
 * before its handler sees it; replies and refusals.
 */
#include "messages.h"
#include "base/bytes.h"
#include "base/log.h"
#include <errno.h>

/* ---- replies ---- */

enum vhost_user_refusal message_reply(struct front_end *front, const void *payload, size_t size,
                                      int passed)
{
    const struct vhost_user_header header = {
        .request = front->in.header.request,
        .flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
        .size = (uint32_t)size,
    };

    /* One that is gone is seen to be when the next message is looked for. */
    return message_send(front->fd, &header, payload, passed) == -EAGAIN ? REFUSAL_REPLY_UNREAD
                                                                        : REFUSAL_NONE;
}

enum vhost_user_refusal message_reply_u64(struct front_end *front, uint64_t value)
{
    return message_reply(front, &value, sizeof(value), -1);
}

/* ---- the table ---- */

#define NONE (-1)

static const struct kind {
    const char *name;
    uint16_t least, most;        /* bytes of payload */
    uint8_t fds_least, fds_most; /* descriptors */
    int8_t needs;                /* a protocol feature, or NONE */
    bool answers;                /* has a reply of its own */
    message_handler *handle;
} kinds[] = {
#define KIND(name, type, fds, more, needs, answers, handle)                                        \
    [VHOST_USER_##name] = {#name, sizeof(type), sizeof(type), fds, more, needs, answers, handle}
#define EMPTY(name, needs, answers, handle)                                                        \
    [VHOST_USER_##name] = {#name, 0, 0, 0, 0, needs, answers, handle}
#define STATE       struct vhost_user_vring_state
#define NEEDS(name) VHOST_USER_PROTOCOL_F_##name
    EMPTY(GET_FEATURES, NONE, true, handle_get_features),
    KIND(SET_FEATURES, uint64_t, 0, 0, NONE, false, handle_set_features),
    EMPTY(SET_OWNER, NONE, false, handle_ignore),
    EMPTY(RESET_OWNER, NONE, false, handle_ignore),
    [VHOST_USER_SET_MEM_TABLE] = {"SET_MEM_TABLE", 8, sizeof(struct vhost_user_mem_table), 0,
                                  VHOST_USER_TABLE_REGIONS, NONE, false, handle_set_table},
    KIND(SET_VRING_NUM, STATE, 0, 0, NONE, false, handle_set_num),
    KIND(SET_VRING_ADDR, struct vhost_user_vring_addr, 0, 0, NONE, false, handle_set_addr),
    KIND(SET_VRING_BASE, STATE, 0, 0, NONE, false, handle_set_base),
    KIND(GET_VRING_BASE, STATE, 0, 0, NONE, true, handle_get_base),
    KIND(SET_VRING_KICK, uint64_t, 0, 1, NONE, false, handle_set_kick),
    KIND(SET_VRING_CALL, uint64_t, 0, 1, NONE, false, handle_set_call),
    KIND(SET_VRING_ERR, uint64_t, 0, 1, NONE, false, handle_set_err),
    EMPTY(GET_PROTOCOL_FEATURES, NONE, true, handle_get_protocol),
    KIND(SET_PROTOCOL_FEATURES, uint64_t, 0, 0, NONE, false, handle_set_protocol),
    EMPTY(GET_QUEUE_NUM, NEEDS(MQ), true, handle_get_queue_num),
    KIND(SET_VRING_ENABLE, STATE, 0, 0, NONE, false, handle_enable),
    EMPTY(RESET_DEVICE, NEEDS(RESET_DEVICE), false, handle_reset_device),
    [VHOST_USER_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", 0, sizeof(uint64_t), 1, 1,
                                       NEEDS(BACKEND_REQ), false, handle_set_channel},
    [VHOST_USER_GET_CONFIG] = {"GET_CONFIG", 12, sizeof(struct vhost_user_config), 0, 0,
                               NEEDS(CONFIG), true, handle_get_config},
    [VHOST_USER_SET_CONFIG] = {"SET_CONFIG", 12, sizeof(struct vhost_user_config), 0, 0,
                               NEEDS(CONFIG), false, handle_set_config},
    /* 20 bytes and padding, which not every front end sends. */
    [VHOST_USER_GET_INFLIGHT_FD] = {"GET_INFLIGHT_FD", 20, sizeof(struct vhost_user_inflight), 0, 0,
                                    NEEDS(INFLIGHT_SHMFD), true, handle_get_inflight},
    [VHOST_USER_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", 20, sizeof(struct vhost_user_inflight), 1, 1,
                                    NEEDS(INFLIGHT_SHMFD), false, handle_set_inflight},
    KIND(VRING_KICK, STATE, 0, 0, NEEDS(INBAND_NOTIFICATIONS), false, handle_kick),
    EMPTY(GET_MAX_MEM_SLOTS, NEEDS(CONFIGURE_MEM_SLOTS), true, handle_get_slots),
    KIND(ADD_MEM_REG, struct vhost_user_mem_reg, 1, 1, NEEDS(CONFIGURE_MEM_SLOTS), false,
         handle_add_region),
    KIND(REM_MEM_REG, struct vhost_user_mem_reg, 0, 1, NEEDS(CONFIGURE_MEM_SLOTS), false,
         handle_remove_region),
    KIND(SET_STATUS, uint64_t, 0, 0, NEEDS(STATUS), false, handle_set_status),
    EMPTY(GET_STATUS, NEEDS(STATUS), true, handle_get_status),
};

static const struct kind *kind_of(uint32_t request)
{
    return request < ARRAY_SIZE(kinds) && kinds[request].handle ? &kinds[request] : NULL;
}

void message_refuse(struct front_end *front, enum vhost_user_refusal refusal)
{
    uint32_t request = front->in.header.request;
    const struct kind *kind = front->in.have < sizeof(front->in.header) ? NULL : kind_of(request);
    const char *name = function_name(front->function);

    refusal_count(front->refused, refusal);
    if (kind)
        log_error("%s: the front end is cut off at %s: %s", name, kind->name,
                  refusal_text(refusal));
    else
        log_error("%s: the front end is cut off: %s", name, refusal_text(refusal));
}

static enum vhost_user_refusal run(struct front_end *front, const struct kind *kind)
{
    struct message *message = &front->in;
    enum vhost_user_refusal refusal;

    if (!kind)
        return REFUSAL_MESSAGE_UNKNOWN;
    if (message->header.size < kind->least || message->header.size > kind->most)
        return REFUSAL_MESSAGE_SIZE;
    if (message->fd_count < kind->fds_least || message->fd_count > kind->fds_most)
        return REFUSAL_MESSAGE_FDS;
    if (kind->needs != NONE && !front_end_has(front, (unsigned)kind->needs))
        return REFUSAL_MESSAGE_PROTOCOL;
    refusal = kind->handle(front, message);
    return refusal ? refusal : front_end_settle(front);
}

static bool wants_ack(const struct front_end *front, const struct kind *kind)
{
    return front->in.header.flags & VHOST_USER_NEED_REPLY &&
           front_end_has(front, VHOST_USER_PROTOCOL_F_REPLY_ACK) && !(kind && kind->answers);
}

/*
 * Refused messages cut the front end off; but one that is unknown here may be of a newer
 * specification, and a front end that asks for a reply learns that, and goes on.
 */
enum verdict front_end_message(struct front_end *front)
{
    const struct kind *kind = kind_of(front->in.header.request);
    enum vhost_user_refusal refusal = run(front, kind);
    bool ack = wants_ack(front, kind);

    if (ack && message_reply_u64(front, refusal != REFUSAL_NONE) && !refusal)
        refusal = REFUSAL_REPLY_UNREAD;
    if (refusal == REFUSAL_MESSAGE_UNKNOWN && ack) {
        refusal_count(front->refused, refusal);
        return VERDICT_GO_ON;
    }
    if (refusal)
        message_refuse(front, refusal);
    return refusal ? VERDICT_CUT_OFF : VERDICT_GO_ON;
}
