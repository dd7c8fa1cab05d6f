/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a function may be made to be: read-only, of 4096-byte blocks, with few capabilities, with
 * trimmed headers, keeping its keys over a device reset.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "rig.h"
#include "tap.h"
#include "virtio/blk.h"
#include <errno.h>

#define SECTORS 256u

static struct rig rig;
static struct ice_attachment *a;
static uint8_t media_before[SECTORS * 512], media_after[SECTORS * 512], data[16384];

static void open_rig(struct function_params params)
{
    rig_open_as(&rig, 8, SECTORS, NULL, params);
    a = rig_attach(&rig, RIG_ALL);
}

static void close_rig(void)
{
    attachment_close(a);
    rig_close(&rig);
}

static void read_media(uint8_t *to)
{
    struct iovec iov = {to, SECTORS * 512};

    rig.store->ops->read(rig.store, 0, &iov, 1, NULL);
}

static void refused(const char *name, struct answer answer, int err, const char *text)
{
    is_int(answer.status, VIRTIO_BLK_S_IOERR, "%s: status", name);
    is_int(answer.why.err, err, "%s: errno", name);
    is_str(answer.why.text, text, "%s: why", name);
    read_media(media_after);
    is_mem(media_after, media_before, sizeof(media_before), "%s: the media is as before", name);
}

static struct answer send_range(enum command_kind kind, uint64_t sector, uint32_t sectors)
{
    struct command command = {.kind = kind};
    uint8_t range[16];

    store_le64(range, sector);
    store_le32(range + 8, sectors);
    store_le32(range + 12, 0);
    return rig_run(a, &command, range, sizeof(range), NULL, 0);
}

/* ---- read-only ---- */

static void test_read_only(const struct dialect *dialect, bool negotiate)
{
    struct command read = rig_read(0), write = rig_write(0), flush = {.kind = COMMAND_FLUSH};
    static const enum command_kind kinds[] = {COMMAND_DISCARD, COMMAND_WRITE_ZEROES,
                                              COMMAND_SECURE_ERASE};
    struct iovec iov = {media_before, sizeof(media_before)};
    unsigned slot;

    open_rig((struct function_params){.dialect = dialect, .read_only = true, .first_slot = 2});
    slot = function_wire_slot(rig.function, 3);
    ok(attachment_offered(a) & VIRTIO_FEATURE(VIRTIO_BLK_F_RO), "%s: RO is offered", dialect->name);
    ok(function_is_read_only(rig.function), "and the function says so");
    if (!negotiate) {
        attachment_close(a);
        a = rig_attach(&rig, RIG_ALL & ~VIRTIO_FEATURE(VIRTIO_BLK_F_RO));
    }
    for (unsigned i = 0; i < sizeof(media_before); i++)
        media_before[i] = (uint8_t)(i * 11 + 1);
    rig.store->ops->write(rig.store, 0, &iov, 1, NULL);
    read_media(media_before);
    rig_program(a, slot, "aes-256-xts", 4096, 1);
    refused("OUT", rig_run(a, &write, data, 4096, NULL, 0), EROFS, "vm0 is read-only");
    write = rig_tagged(write, slot, 0);
    refused("tagged OUT", rig_run(a, &write, data, 4096, NULL, 0), EROFS, "vm0 is read-only");
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        refused(command_name(kinds[i]), send_range(kinds[i], 0, 8), EROFS, "vm0 is read-only");
    is_int(rig_run(a, &read, NULL, 0, data, 4096).status, 0, "a read");
    is_mem(data, media_before, 4096, "returns what is there");
    is_int(rig_run(a, &flush, NULL, 0, NULL, 0).status, 0, "a flush");
    read = rig_tagged(read, slot, 0);
    is_int(rig_run(a, &read, NULL, 0, data, 4096).status, 0, "a tagged read");
    close_rig();
}

/* ---- logical blocks ---- */

static void test_blocks(const struct dialect *dialect)
{
    struct command read = rig_read(8), write = rig_write(8);
    struct function_config config;
    struct command odd;

    open_rig((struct function_params){.dialect = dialect, .block_size = 4096});
    config = rig_config(a);
    is_int(config.blk_size, 4096, "%s: blk_size", dialect->name);
    attachment_read_config(a, 44, data, 4);
    is_int((intmax_t)load_le32(data), 8, "discard_sector_alignment");
    attachment_read_config(a, 68, data, 4);
    is_int((intmax_t)load_le32(data), 8, "secure_erase_sector_alignment");
    is_int((intmax_t)config.capacity, SECTORS, "capacity stays in sectors");
    ok(!function_advertises(rig.function, algorithm_by_name("aes-256-xts"), 2048) &&
           function_advertises(rig.function, algorithm_by_name("aes-256-xts"), 4096),
       "no data unit below a block is advertised");
    read_media(media_before);
    odd = rig_write(1);
    refused("OUT at sector 1", rig_run(a, &odd, data, 4096, NULL, 0), EINVAL,
            "sector 1 + 8 is no multiple of the logical block of 4096 bytes");
    refused("OUT of 7 sectors", rig_run(a, &write, data, 3584, NULL, 0), EINVAL,
            "sector 8 + 7 is no multiple of the logical block of 4096 bytes");
    odd = rig_read(4);
    refused("IN at sector 4", rig_run(a, &odd, NULL, 0, data, 4096), EINVAL,
            "sector 4 + 8 is no multiple of the logical block of 4096 bytes");
    refused("IN of 9 sectors", rig_run(a, &read, NULL, 0, data, 4608), EINVAL,
            "sector 8 + 9 is no multiple of the logical block of 4096 bytes");
    refused("DISCARD of 4 sectors", send_range(COMMAND_DISCARD, 8, 4), EINVAL,
            "sector 8 + 4 is no multiple of the logical block of 4096 bytes");
    refused("WRITE_ZEROES at sector 7", send_range(COMMAND_WRITE_ZEROES, 7, 8), EINVAL,
            "sector 7 + 8 is no multiple of the logical block of 4096 bytes");
    is_int(rig_run(a, &write, data, 8192, NULL, 0).status, 0, "two blocks are written");
    is_int(rig_run(a, &read, NULL, 0, data, 8192).status, 0, "and read");
    is_int(send_range(COMMAND_WRITE_ZEROES, 8, 16).status, 0, "and zeroed");
    close_rig();
}

/* ---- capabilities ---- */

static void test_capabilities(void)
{
    static const struct capability list[] = {{ALG_AES_XTS, KEY_SIZE_256, 512},
                                             {ALG_AES_XTS, KEY_SIZE_256, 4096}};
    struct command ask = {.kind = COMMAND_GET_CAPABILITIES};

    open_rig((struct function_params){.capabilities = list, .capability_count = 2});
    is_int(rig_config(a).capability_count, 2, "two capabilities");
    rig_run(a, &ask, NULL, 0, data, 8);
    is_mem(data, ((uint8_t[]){0, 0, 3, 0, 0, 3, 3, 0}), 8, "these");
    is_int(rig_program(a, 1, "aes-256-xts", 512, 1).status, 0, "one of them");
    is_int(rig_program(a, 1, "aes-256-xts", 1024, 1).status, VIRTIO_BLK_S_UNSUPP,
           "another data unit");
    is_int(rig_program(a, 1, "aes-128-xts", 512, 1).status, VIRTIO_BLK_S_UNSUPP,
           "another algorithm");
    close_rig();
    open_rig((struct function_params){.dialect = &dialect_ice1});
    ok(function_advertises(rig.function, algorithm_by_name("aes-256-xts"), 65536) &&
           !function_advertises(rig.function, algorithm_by_name("aes-128-xts"), 4096),
       "ice1 can name one: aes-256-xts");
    is_int(rig_run(a, &(struct command){.kind = COMMAND_GET_ID}, NULL, 0, data, 20).status, 0,
           "it answers GET_ID");
    store_le32(data, 28);
    is_int(rig_send(a, data, 32, NULL, 0, data + 64, 512).status, VIRTIO_BLK_S_UNSUPP,
           "and has no request for capabilities");
    close_rig();
    rig_open_as(&rig, 8, SECTORS, NULL, (struct function_params){.slots = 1, .first_slot = 7});
    a = rig_attach(&rig, RIG_ALL);
    is_int(rig_program(a, 7, "aes-256-xts", 512, 1).status, 0, "a window of the last slot");
    close_rig();
}

/* ---- trimmed headers: those of types other than IN, OUT and FLUSH ---- */

static void test_trimmed(bool trimmed)
{
    uint8_t head[32] = {0}, range[16] = {0};
    struct answer answer;

    open_rig((struct function_params){.trimmed_headers = trimmed});
    store_le32(range + 8, 8);
    store_le32(head, VIRTIO_BLK_T_WRITE_ZEROES);
    answer = rig_send(a, head, 16, range, 16, NULL, 0);
    is_int(answer.why.err, trimmed ? 0 : EINVAL, "WRITE_ZEROES with a header of 16 bytes");
    head[28] = 2; /* of the DUN, or of the flags of a range */
    answer = rig_send(a, head, 32, range, 16, NULL, 0);
    is_int(answer.why.err, trimmed ? EOPNOTSUPP : 0, "with one of 32");
    store_le32(head, VIRTIO_BLK_T_GET_ID);
    answer = rig_send(a, head, 16, NULL, 0, data, 20);
    is_int(answer.why.err, trimmed ? 0 : EINVAL, "GET_ID with a header of 16 bytes");
    is_int(rig_send(a, head, 32, NULL, 0, data, 20).status, 0, "with one of 32");
    store_le32(head, VIRTIO_BLK_T_IN);
    is_int(rig_send(a, head, 16, NULL, 0, data, 512).why.err, EINVAL, "IN has 32 always");
    close_rig();
}

/* ---- resets ---- */

static bool works(struct ice_attachment *attachment, unsigned slot)
{
    struct command read = rig_tagged(rig_read(0), slot, 0);

    return rig_run(attachment, &read, NULL, 0, data, 4096).status == VIRTIO_BLK_S_OK;
}

static void test_reset(bool keep)
{
    struct ice_attachment *b;

    open_rig((struct function_params){.keep_on_reset = keep});
    b = rig_attach(&rig, RIG_ALL);
    rig_program(a, 1, "aes-256-xts", 4096, 1);
    rig_program(b, 2, "aes-256-xts", 4096, 2);
    attachment_set_status(a, 0, NULL);
    ok(works(b, 1) == keep, "a reset of its attachment %s its slot", keep ? "keeps" : "empties");
    ok(works(b, 2), "and leaves the other's");
    function_reset_attachments(rig.function);
    attachment_close(b);
    b = rig_attach(&rig, RIG_ALL);
    ok(works(b, 2) == keep, "so does a reset from the host");
    rig_program(b, 3, "aes-256-xts", 4096, 3);
    function_reset(rig.function);
    ok(!works(b, 1) && !works(b, 2) && !works(b, 3), "a function reset empties all");
    attachment_close(b);
    close_rig();
}

int main(void)
{
    for (unsigned i = 0; dialect_at(i); i++) {
        test_read_only(dialect_at(i), true);
        test_blocks(dialect_at(i));
    }
    test_read_only(&dialect_ice2, false);
    test_capabilities();
    test_trimmed(false);
    test_trimmed(true);
    test_reset(false);
    test_reset(true);
    return tap_done();
}
