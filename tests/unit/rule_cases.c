/* SPDX-License-Identifier: BSD-2-Clause */
/* One function per rule: it breaks that rule, and nothing else. */
#include "rule_cases.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "virtio/blk.h"
#include <errno.h>
#include <stdlib.h>

/* What a call of an attachment came to, in the form of an answer; status -1: it was refused. */
static struct answer called(int r, struct ice_why why)
{
    return (struct answer){.status = r || why.err ? -1 : 0, .why = why};
}

static struct answer status_order(struct bench *b)
{
    struct ice_why why = {0};
    int r = attachment_set_status(b->a, VIRTIO_STATUS_DRIVER, &why);

    return called(r, why);
}

static struct answer negotiate(struct bench *b, uint64_t features)
{
    struct ice_why why = {0};
    int r;

    attachment_set_status(b->a, 1, NULL);
    attachment_set_status(b->a, 3, NULL);
    attachment_set_features(b->a, features | VIRTIO_FEATURE(VIRTIO_F_VERSION_1), NULL);
    r = attachment_set_status(b->a, 11, &why);
    return called(r, why);
}

static struct answer feature_foreign(struct bench *b)
{
    return negotiate(b, VIRTIO_FEATURE(40));
}

static struct answer feature_depends(struct bench *b)
{
    return negotiate(b, VIRTIO_FEATURE(23)); /* INLINE_ENCRYPTION without CTRL_VQ */
}

static struct answer config_early(struct bench *b)
{
    attachment_read_config(b->a, 0, b->data, 100);
    return (struct answer){0};
}

static struct answer config_read_only(struct bench *b)
{
    struct ice_why why = {0};
    int r = attachment_write_config(b->a, 0, b->data, 8, &why);

    return called(r, why);
}

static struct answer config_writeback(struct bench *b)
{
    struct ice_why why = {0};
    int r;

    b->data[0] = 2;
    r = attachment_write_config(b->a, 32, b->data, 1, &why);
    return called(r, why);
}

/* A head of the ICE drafts, changed in one byte. */
static struct answer send_changed(struct bench *b, uint32_t type, unsigned at, uint8_t value,
                                  size_t in_len)
{
    store_le32(b->head, type);
    b->head[at] = value;
    return rig_send(b->a, b->head, 32, NULL, 0, b->data, in_len);
}

static struct answer plain_read(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_IN, 31, 0, 512);
}

static struct answer queue_unknown(struct bench *b)
{
    return rig_send_on(b->a, 16, b->head, 32, NULL, 0, b->data, 512);
}

struct sent {
    struct ice_request request;
    struct answer answer;
};

static void take_why(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct sent *sent = CONTAINER_OF(request, struct sent, request);

    sent->answer.written = written;
    sent->answer.status = -1;
    if (why)
        sent->answer.why = *why;
}

static struct answer status_room(struct bench *b)
{
    struct iovec readable = {b->head, 32};
    struct sent sent = {
        .request = {.readable = &readable, .nreadable = 1, .expect = EXPECT_ANY, .done = take_why}};

    device_submit(b->a, &sent.request);
    return sent.answer;
}

static struct answer header_short(struct bench *b)
{
    return rig_send(b->a, b->head, 31, NULL, 0, b->data, 512);
}

static struct answer type_unknown(struct bench *b)
{
    return send_changed(b, 99, 31, 0, 0);
}

static struct answer type_unnegotiated(struct bench *b)
{
    attachment_close(b->a);
    b->a = rig_attach(&b->rig, RIG_BARE);
    store_le32(b->head, VIRTIO_BLK_T_DISCARD);
    return rig_send(b->a, b->head, 16, b->data, 16, NULL, 0);
}

static struct answer sector_unused(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_FLUSH, 8, 5, 0);
}

static struct answer data_direction(struct bench *b)
{
    return rig_send(b->a, b->head, 32, b->data, 512, b->data + 512, 512);
}

static struct answer ranges(struct bench *b, uint32_t type, uint32_t flags, size_t len)
{
    store_le32(b->head, type);
    store_le64(b->data, 8);
    store_le32(b->data + 8, 8);
    store_le32(b->data + 12, flags);
    return rig_send(b->a, b->head, 32, b->data, len, NULL, 0);
}

static struct answer erase_direction(struct bench *b)
{
    store_le32(b->data + 8, 8);
    return send_changed(b, VIRTIO_BLK_T_SECURE_ERASE, 31, 0, 16);
}

static struct answer io_length(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_IN, 31, 0, 513);
}

static struct answer io_range(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_IN, 8, RULE_SECTORS, 512);
}

static struct answer io_read_only(struct bench *b)
{
    store_le32(b->head, VIRTIO_BLK_T_OUT);
    return rig_send(b->a, b->head, 32, b->data, 512, NULL, 0);
}

static struct answer flush_data(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_FLUSH, 31, 0, 512);
}

static struct answer data_unused(struct bench *b)
{
    store_le32(b->head, VIRTIO_BLK_T_OUT);
    return rig_send(b->a, b->head, 32, b->data, 512, b->data + 512, 512);
}

/* Programming is in band in this dialect alone when a function is strict. */
static struct answer data_unused_key(struct bench *b)
{
    struct command key = rig_key(1, "aes-256-xts", 4096, b->data);

    b->data[0] = 1;
    return rig_run(b->a, &key, NULL, 0, b->data + 512, 1);
}

static struct answer data_unused_evict(struct bench *b)
{
    const struct command evict = {.kind = COMMAND_KEY_EVICT, .slot = 1};

    return rig_run(b->a, &evict, NULL, 0, b->data, 512);
}

static struct answer ranges_length(struct bench *b)
{
    return ranges(b, VIRTIO_BLK_T_DISCARD, 0, 17);
}

static struct answer ranges_count(struct bench *b)
{
    return ranges(b, VIRTIO_BLK_T_DISCARD, 0, 65 * 16);
}

static struct answer ranges_flags(struct bench *b)
{
    return ranges(b, VIRTIO_BLK_T_DISCARD, 1, 16);
}

static struct answer id_length(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_GET_ID, 31, 0, 21);
}

static struct answer answer_room(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_GET_ID, 31, 0, 19);
}

static struct answer activate_value(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_IN, 17, 2, 512);
}

static struct answer activate_type(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_GET_ID, 17, 1, 20);
}

static struct answer payload_unused(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_IN, 16, 3, 512);
}

static struct answer reserved(struct bench *b)
{
    return send_changed(b, VIRTIO_BLK_T_IN, 18, 1, 512);
}

/* Programs slot 1 as the host's owner would: a strict function of the ICE drafts has no commands.
 */
static void program_one(struct bench *b)
{
    uint8_t *bytes = secret_alloc(64);
    struct function_key key = {.type = ICE_KEY_TYPE_RAW,
                               .algorithm = algorithm_by_name("aes-256-xts"),
                               .data_unit = 4096,
                               .len = 64,
                               .bytes = bytes};

    bytes[0] = 1;
    if (function_program(b->rig.function, 1, &key, NULL, NULL, NULL))
        abort();
    secret_free(bytes);
}

static struct answer tagged_read(struct bench *b, unsigned slot, uint64_t dun, size_t len)
{
    struct command read = rig_tagged(rig_read(0), slot, dun);

    return rig_run(b->a, &read, NULL, 0, b->data, len);
}

static struct answer slot_window(struct bench *b)
{
    return tagged_read(b, 4, 0, 4096);
}

static struct answer slot_empty(struct bench *b)
{
    return tagged_read(b, 1, 0, 4096);
}

static struct answer unit_length(struct bench *b)
{
    program_one(b);
    return tagged_read(b, 1, 0, 512);
}

static struct answer dun_overflow(struct bench *b)
{
    program_one(b);
    return tagged_read(b, 1, UINT64_MAX, 8192);
}

static struct answer generation(struct bench *b)
{
    engine_reset(b->rig.engine);
    program_one(b);
    return tagged_read(b, 1, 0, 4096);
}

static struct answer key_busy(struct bench *b)
{
    struct answer answer;

    program_one(b);
    slot_hold(b->a, 1, EXPECT_ANY);
    answer = rig_evict(b->a, 1);
    slot_release(b->a, 1);
    return answer;
}

static struct answer key_capability(struct bench *b)
{
    return rig_program(b->a, 1, "aes-256-xts", 512, 1);
}

static struct answer key_invalid(struct bench *b)
{
    struct command key = rig_key(1, "aes-256-xts", 4096, b->data);

    b->data[0] = 1;
    key.key.len = 32;
    return rig_run(b->a, &key, NULL, 0, NULL, 0);
}

static struct answer key_blob(struct bench *b)
{
    struct command key = rig_key(1, "aes-256-xts", 4096, b->data);

    key.key.type = ICE_KEY_TYPE_WRAPPED;
    return rig_run(b->a, &key, NULL, 0, NULL, 0);
}

/* ---- the table ---- */

#define ICE2   &dialect_ice2
#define INLINE &dialect_inline

const struct rule_case rule_cases[] = {
    {RULE_STATUS_ORDER, ICE2, FRESH, -1, EINVAL, status_order},
    {RULE_FEATURE_FOREIGN, ICE2, FRESH, -1, EINVAL, feature_foreign},
    {RULE_FEATURE_DEPENDS, INLINE, FRESH, -1, EINVAL, feature_depends},
    {RULE_REQUEST_EARLY, ICE2, FRESH, -1, EPROTO, plain_read},
    {RULE_CONFIG_EARLY, ICE2, FRESH, 0, 0, config_early},
    {RULE_CONFIG_READ_ONLY, ICE2, READY, 0, 0, config_read_only},
    {RULE_CONFIG_WRITEBACK, ICE2, READY, -1, EINVAL, config_writeback},
    {RULE_QUEUE_UNKNOWN, ICE2, READY, VIRTIO_BLK_S_IOERR, EINVAL, queue_unknown},
    {RULE_STATUS_ROOM, ICE2, READY, -1, EINVAL, status_room},
    {RULE_HEADER_SHORT, ICE2, READY, 1, EINVAL, header_short},
    {RULE_TYPE_UNKNOWN, ICE2, READY, 2, EOPNOTSUPP, type_unknown},
    {RULE_TYPE_UNNEGOTIATED, ICE2, READY, 2, EOPNOTSUPP, type_unnegotiated},
    {RULE_SECTOR_UNUSED, ICE2, READY, 0, 0, sector_unused},
    {RULE_DATA_DIRECTION, ICE2, READY, 1, EINVAL, data_direction},
    {RULE_ERASE_DIRECTION, ICE2, READY, 0, 0, erase_direction},
    {RULE_IO_LENGTH, ICE2, READY, 1, EINVAL, io_length},
    {RULE_IO_RANGE, ICE2, READY, 1, EIO, io_range},
    {RULE_IO_BLOCK, ICE2, READY, 1, EINVAL, plain_read},
    {RULE_IO_READ_ONLY, ICE2, READY, 1, EROFS, io_read_only},
    {RULE_FLUSH_DATA, ICE2, READY, 0, 0, flush_data},
    {RULE_DATA_UNUSED, ICE2, READY, 0, 0, data_unused},
    {RULE_DATA_UNUSED, INLINE, READY, 0, 0, data_unused_key},
    {RULE_DATA_UNUSED, INLINE, READY, 0, 0, data_unused_evict},
    {RULE_RANGES_LENGTH, ICE2, READY, 1, EINVAL, ranges_length},
    {RULE_RANGES_COUNT, ICE2, READY, 1, EINVAL, ranges_count},
    {RULE_RANGES_FLAGS, ICE2, READY, 2, EOPNOTSUPP, ranges_flags},
    {RULE_ID_LENGTH, ICE2, READY, 0, 0, id_length},
    {RULE_ANSWER_ROOM, ICE2, READY, 1, EOVERFLOW, answer_room},
    {RULE_ACTIVATE_VALUE, ICE2, READY, 1, EINVAL, activate_value},
    {RULE_ACTIVATE_TYPE, ICE2, READY, 0, 0, activate_type},
    {RULE_PAYLOAD_UNUSED, ICE2, READY, 0, 0, payload_unused},
    {RULE_RESERVED, ICE2, READY, 0, 0, reserved},
    {RULE_SLOT_WINDOW, ICE2, READY, 1, EINVAL, slot_window},
    {RULE_SLOT_EMPTY, ICE2, READY, 1, ENOKEY, slot_empty},
    {RULE_UNIT_LENGTH, ICE2, READY, 1, EINVAL, unit_length},
    {RULE_DUN_OVERFLOW, ICE2, READY, 1, EOVERFLOW, dun_overflow},
    {RULE_GENERATION, ICE2, READY, 1, ESTALE, generation},
    {RULE_KEY_BUSY, INLINE, READY, 1, EBUSY, key_busy},
    {RULE_KEY_CAPABILITY, INLINE, READY, 2, EOPNOTSUPP, key_capability},
    {RULE_KEY_INVALID, INLINE, READY, 1, EINVAL, key_invalid},
    {RULE_KEY_BLOB, INLINE, READY, 1, EBADMSG, key_blob},
};

const unsigned rule_case_count = ARRAY_SIZE(rule_cases);
