/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device on ice2: every kind of request, and the decision table: what is refused, with which
 * status, why, and that nothing was touched.
 */
#include "device/device.h"
#include "base/bytes.h"
#include "base/units.h"
#include "rig.h"
#include "tap.h"
#include <errno.h>

#define SECTORS       2048u /* 1 MiB */
#define IOV_MAX_PARTS 256

static struct rig rig;
static struct ice_attachment *a;
static uint8_t media_before[SECTORS * 512], media_after[SECTORS * 512];

static void read_media(uint8_t *to)
{
    struct iovec iov = {to, SECTORS * 512};
    rig.store->ops->read(rig.store, 0, &iov, 1, NULL);
}

static void fill(uint8_t *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((i * 7 + seed) ^ i >> 8);
}

/* One refusal: status, errno, clause, data area and media as before. */
static void refused(const char *name, struct answer answer, int status, int err, const char *text)
{
    is_int(answer.status, status, "%s: status", name);
    is_int((intmax_t)answer.written, status < 0 ? 0 : 1, "%s: only the status is written", name);
    is_int(answer.why.err, err, "%s: errno", name);
    is_str(answer.why.text, text, "%s: clause", name);
    read_media(media_after);
    is_mem(media_after, media_before, sizeof(media_before), "%s: the media is as before", name);
}

static struct answer write_at(struct command command, size_t len)
{
    static uint8_t data[REQUEST_MAX + 512];

    fill(data, len, 3);
    return rig_run(a, &command, data, len, NULL, 0);
}

static struct answer read_at(struct command command, size_t len)
{
    static uint8_t data[REQUEST_MAX + 512];
    struct answer answer;

    memset(data, 0x5a, len);
    answer = rig_run(a, &command, NULL, 0, data, len);
    if (answer.written <= 1)
        for (size_t i = 0; i < len; i++)
            if (data[i] != 0x5a) {
                ok(false, "the data area of a refused read is untouched");
                break;
            }
    return answer;
}

static void test_transfer(void)
{
    uint8_t out[8192], in[8192], raw[8192];
    struct command write = rig_write(16), read = rig_read(16);
    struct answer answer;

    fill(out, sizeof(out), 1);
    answer = rig_run(a, &write, out, sizeof(out), NULL, 0);
    ok(answer.status == 0 && answer.written == 1 && !answer.why.err, "a plain write is OK");
    answer = rig_run(a, &read, NULL, 0, in, sizeof(in));
    ok(answer.status == 0 && answer.written == sizeof(in) + 1, "a plain read is OK");
    is_mem(in, out, sizeof(in), "and returns what was written");

    rig_program(a, 2, "aes-256-xts", 4096, 1);
    write = rig_tagged(write, 2, 7);
    answer = rig_run(a, &write, out, sizeof(out), NULL, 0);
    is_int(answer.status, 0, "a tagged write is OK");
    rig_run(a, &read, NULL, 0, raw, sizeof(raw));
    ok(memcmp(raw, out, 16), "the media holds something else");
    read = rig_tagged(read, 2, 7);
    rig_run(a, &read, NULL, 0, in, sizeof(in));
    is_mem(in, out, sizeof(in), "a tagged read decrypts it");
    read = rig_tagged(rig_read(24), 2, 8);
    rig_run(a, &read, NULL, 0, in, 4096);
    is_mem(in, out + 4096, 4096, "the second data unit has the next DUN");
    read.dun = dun_from_u64(9);
    answer = rig_run(a, &read, NULL, 0, in, 4096);
    ok(answer.status == 0 && memcmp(in, out + 4096, 16), "a wrong DUN answers OK with garbage");
    rig_program(a, 3, "aes-256-xts", 4096, 2);
    read = rig_tagged(rig_read(24), 3, 8);
    answer = rig_run(a, &read, NULL, 0, in, 4096);
    ok(answer.status == 0 && memcmp(in, out + 4096, 16), "a wrong slot answers OK with garbage");
    rig_evict(a, 3);
}

static void ignore(struct ice_request *request, size_t written, const struct ice_why *why)
{
    (void)request, (void)written, (void)why;
}

static unsigned cut(struct iovec *iov, uint8_t *bytes, size_t len, size_t part)
{
    unsigned n = 0;

    for (size_t at = 0; at < len; at += part)
        iov[n++] = (struct iovec){bytes + at, min_u64(part, len - at)};
    return n;
}

/* Parts of odd lengths: data units, header and status straddle them. Returns the status. */
static uint8_t send_in_parts(const struct command *command, uint8_t *data, size_t len, size_t part)
{
    static uint8_t out[64 + 16384], in[16384 + 1];
    struct iovec readable[IOV_MAX_PARTS], writable[IOV_MAX_PARTS];
    bool write = command->kind == COMMAND_WRITE;
    size_t head = dialect_ice2.build(attachment_features(a), command, media_after);
    size_t in_len = 1 + (write ? 0 : len);
    struct ice_request request = {
        .readable = readable, .writable = writable, .expect = EXPECT_ANY, .done = ignore};

    memcpy(out, media_after, head);
    if (write)
        memcpy(out + head, data, len);
    request.nreadable = cut(readable, out, head + (write ? len : 0), part);
    request.nwritable = cut(writable, in, in_len, part);
    device_submit(a, &request);
    if (!write)
        memcpy(data, in, len);
    return in[in_len - 1];
}

static void test_parts(void)
{
    static const size_t parts[] = {100, 511, 512, 513, 4095, 4097, 9000};
    static const char *const algorithms_used[] = {"aes-256-xts", "aes-128-cbc-essiv"};

    for (size_t k = 0; k < ARRAY_SIZE(algorithms_used); k++) {
        rig_program(a, 4, algorithms_used[k], 4096, 9);
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
            uint8_t out[16384], in[16384], whole[16384];
            struct command write = rig_tagged(rig_write(64), 4, 1);
            struct command read = rig_tagged(rig_read(64), 4, 1);

            fill(out, sizeof(out), (unsigned)i);
            is_int(send_in_parts(&write, out, sizeof(out), parts[i]), 0, "%s write in parts of %zu",
                   algorithms_used[k], parts[i]);
            rig_run(a, &read, NULL, 0, whole, sizeof(whole));
            is_mem(whole, out, sizeof(out), "reads back whole");
            is_int(send_in_parts(&read, in, sizeof(in), parts[i]), 0, "%s read in parts of %zu",
                   algorithms_used[k], parts[i]);
            is_mem(in, out, sizeof(out), "the same bytes");
        }
    }
    rig_evict(a, 4);
}

static void test_refused_transfers(void)
{
    struct command w = rig_write(0), r = rig_read(0);

    read_media(media_before);
    refused("empty slot", write_at(rig_tagged(w, 5, 0), 4096), 1, ENOKEY, "slot 5 is empty");
    refused("empty slot, read", read_at(rig_tagged(r, 5, 0), 4096), 1, ENOKEY, "slot 5 is empty");
    refused("slot outside", write_at(rig_tagged(w, 32, 0), 4096), 1, EINVAL,
            "slot 32 is outside vm0's window 0..31");
    refused("slot outside, read", read_at(rig_tagged(r, 255, 0), 4096), 1, EINVAL,
            "slot 255 is outside vm0's window 0..31");
    refused("half a data unit", write_at(rig_tagged(w, 2, 0), 4096 + 512), 1, EINVAL,
            "4608 bytes of data are not a multiple of the data unit of 4096");
    refused("half a data unit, read", read_at(rig_tagged(r, 2, 0), 512), 1, EINVAL,
            "512 bytes of data are not a multiple of the data unit of 4096");
    refused("DUN overflow", write_at(rig_tagged(w, 2, UINT64_MAX), 8192), 1, EOVERFLOW,
            "the DUN of data unit 1 overflows 64 bits");
    refused("DUN overflow, read", read_at(rig_tagged(r, 2, UINT64_MAX - 1), 3 * 4096), 1, EOVERFLOW,
            "the DUN of data unit 2 overflows 64 bits");
    refused("past the end", write_at(rig_write(SECTORS - 1), 1024), 1, EIO,
            "sector 2047 + 2 is past the end of vm0 (2048 sectors)");
    refused("past the end, wrapping", read_at(rig_read(UINT64_MAX), 512), 1, EIO,
            "sector 18446744073709551615 + 1 is past the end of vm0 (2048 sectors)");
    refused("tagged past the end", write_at(rig_tagged(rig_write(SECTORS - 4), 2, 0), 4096), 1, EIO,
            "sector 2044 + 8 is past the end of vm0 (2048 sectors)");
    refused("no sector multiple", write_at(w, 513), 1, EINVAL,
            "513 bytes of data are not a multiple of 512 above 0");
    refused("no data", write_at(w, 0), 1, EINVAL,
            "0 bytes of data are not a multiple of 512 above 0");
    refused("no data, tagged", read_at(rig_tagged(r, 2, 0), 0), 1, EINVAL,
            "0 bytes of data are not a multiple of 512 above 0");
    refused("more than 4 MiB", write_at(w, REQUEST_MAX + 512), 1, EINVAL,
            "4194816 bytes of data are more than 4194304");
    is_int(read_at(rig_tagged(r, 2, UINT64_MAX), 4096).status, 0, "the last DUN itself is fine");
}

static void test_refused_headers(void)
{
    uint8_t head[48] = {0}, data[512] = {0};

    refused("empty", rig_send(a, head, 0, NULL, 0, data, 512), 1, EINVAL,
            "0 readable bytes are less than the header of 16");
    refused("short header", rig_send(a, head, 15, NULL, 0, data, 512), 1, EINVAL,
            "15 readable bytes are less than the header of 16");
    refused("16 bytes with ICE", rig_send(a, head, 16, NULL, 0, data, 512), 1, EINVAL,
            "16 readable bytes are less than the header of 32");
    refused("bytes behind IN", rig_send(a, head, 33, NULL, 0, data, 512), 1, EINVAL,
            "read takes no readable data, but 1 bytes follow its header");
    head[17] = 2;
    refused("activate 2", rig_send(a, head, 32, NULL, 0, data, 512), 1, EINVAL,
            "activate is 2, neither 0 nor 1");
    head[17] = 0;
    head[0] = 27;
    refused("type 27", rig_send(a, head, 32, NULL, 0, data, 512), 2, EOPNOTSUPP,
            "request type 27 means nothing in dialect ice2");
    head[0] = 15; /* ZONE_APPEND: zoned requests without ZONED */
    refused("ZONE_APPEND", rig_send(a, head, 32, data, 512, NULL, 0), 2, EOPNOTSUPP,
            "request type 15 means nothing in dialect ice2");
    head[0] = 0;
    head[18] = head[20] = 0xff;
    is_int(rig_send(a, head, 32, NULL, 0, data, 512).status, 0, "reserved fields are ignored");
}

static void test_no_status(void)
{
    uint8_t head[32] = {0};
    struct iovec readable = {head, sizeof(head)};
    struct ice_request request = {
        .readable = &readable, .nreadable = 1, .expect = EXPECT_ANY, .done = ignore};
    struct ice_attachment *fresh;
    struct answer answer;

    device_submit(a, &request); /* must simply come back */
    attachment_open(rig.function, NULL, NULL, &fresh, NULL);
    answer = rig_send(fresh, head, 32, NULL, 0, head, 512 / 16);
    ok(answer.written == 0 && answer.why.err == EPROTO, "before DRIVER_OK nothing is written");
    is_str(answer.why.text, "a request before DRIVER_OK", "and the reason is told");
    attachment_close(fresh);
}

static void test_information(void)
{
    uint8_t bytes[400];
    struct command command = {.kind = COMMAND_GET_ID};
    struct answer answer;

    memset(bytes, 0xaa, sizeof(bytes));
    answer = rig_run(a, &command, NULL, 0, bytes, 20);
    ok(answer.status == 0 && answer.written == 21, "GET_ID fills 20 bytes");
    is_mem(bytes, "icesim-vm0\0\0\0\0\0\0\0\0\0\0", 20, "icesim-NAME, padded with NUL");
    read_media(media_before);
    refused("GET_ID into 19", rig_run(a, &command, NULL, 0, bytes, 19), 1, EOVERFLOW,
            "the data area of 19 bytes is shorter than the answer of 20");
    command.kind = COMMAND_GET_LIFETIME;
    answer = rig_run(a, &command, NULL, 0, bytes, 6);
    is_int((intmax_t)answer.written, 7, "GET_LIFETIME fills 6 bytes");
    is_mem(bytes, ((uint8_t[]){1, 0, 1, 0, 1, 0}), 6, "normal, up to a tenth used");

    command.kind = COMMAND_GET_CAPABILITIES;
    memset(bytes, 0xaa, sizeof(bytes));
    answer = rig_run(a, &command, NULL, 0, bytes, 360);
    is_int((intmax_t)answer.written, 361, "the whole data area is filled");
    is_mem(bytes, ((uint8_t[]){0, 0, 1, 0, 0, 1, 1, 0, 0, 2, 1, 0}), 12,
           "XTS-128 with 512 B, 1 KiB, 2 KiB: by algorithm, then data unit");
    is_mem(bytes + 16 * 4, ((uint8_t[]){1, 0, 1, 0, 1, 1, 1, 0}), 8,
           "BitLocker after the 16 of XTS");
    is_mem(bytes + 86 * 4, ((uint8_t[]){3, 6, 3, 0, 3, 7, 3, 0, 0, 0, 0, 0}), 12,
           "ESSIV-256 with 64 KiB is last of 88, then zeros");
    refused("too short for 88", rig_run(a, &command, NULL, 0, bytes, 351), 1, EOVERFLOW,
            "the data area of 351 bytes is shorter than the answer of 352");
}

static struct answer send_ranges(enum command_kind kind, const uint8_t *ranges, size_t len)
{
    struct command command = {.kind = kind};

    return rig_run(a, &command, ranges, len, NULL, 0);
}

static void put_range(uint8_t *at, uint64_t sector, uint32_t sectors, uint32_t flags)
{
    store_le64(at, sector);
    store_le32(at + 8, sectors);
    store_le32(at + 12, flags);
}

static void test_ranges(void)
{
    static const uint8_t zeros[4096];
    uint8_t ranges[65 * 16];
    struct command command = {.kind = COMMAND_SECURE_ERASE};

    write_at(rig_write(0), 65536);
    put_range(ranges, 8, 8, 0);
    put_range(ranges + 16, 24, 8, 1);
    is_int(send_ranges(COMMAND_WRITE_ZEROES, ranges, 32).status, 0, "WRITE_ZEROES of two ranges");
    read_media(media_before);
    ok(!memcmp(media_before + 4096, zeros, 4096) && !memcmp(media_before + 12288, zeros, 4096) &&
           memcmp(media_before, zeros, 4096) && memcmp(media_before + 8192, zeros, 4096),
       "both read as zeros, with and without unmap, their neighbours do not");
    refused("DISCARD with unmap", send_ranges(COMMAND_DISCARD, ranges, 32), 2, EOPNOTSUPP,
            "discard does not know flags 0x1");
    put_range(ranges, 0, 1, 2);
    refused("unknown flag", send_ranges(COMMAND_WRITE_ZEROES, ranges, 16), 2, EOPNOTSUPP,
            "write_zeroes does not know flags 0x2");
    put_range(ranges, 0, 1, 0);
    put_range(ranges + 16, SECTORS - 1, 2, 0);
    refused("second range past the end", send_ranges(COMMAND_WRITE_ZEROES, ranges, 32), 1, EIO,
            "sector 2047 + 2 is past the end of vm0 (2048 sectors)");
    refused("not 16 bytes", send_ranges(COMMAND_DISCARD, ranges, 17), 1, EINVAL,
            "17 bytes of ranges are not 1 to 64 ranges of 16");
    refused("no range", send_ranges(COMMAND_DISCARD, ranges, 0), 1, EINVAL,
            "0 bytes of ranges are not 1 to 64 ranges of 16");
    refused("65 ranges", send_ranges(COMMAND_DISCARD, ranges, sizeof(ranges)), 1, EINVAL,
            "1040 bytes of ranges are not 1 to 64 ranges of 16");
    put_range(ranges, 0, (1u << 22) + 1, 0);
    refused("long range", send_ranges(COMMAND_SECURE_ERASE, ranges, 16), 1, EINVAL,
            "a range of 4194305 sectors is more than 4194304");
    put_range(ranges, 0, 8, 0);
    is_int(rig_run(a, &command, NULL, 0, ranges, 16).status, 0,
           "SECURE_ERASE with its range in the writable part, as Linux sends it");
    put_range(ranges, 16, 8, 0);
    is_int(send_ranges(COMMAND_DISCARD, ranges, 16).status, 0, "DISCARD");
    read_media(media_after);
    ok(!memcmp(media_after, zeros, 4096) && !memcmp(media_after + 8192, zeros, 4096),
       "both ranges read as zeros");
}

static void test_keys(void)
{
    uint8_t key[128] = {1}; /* the halves differ */
    struct command p = rig_key(6, "aes-256-xts", 4096, key);
    struct command bad;
    struct answer answer;

    read_media(media_before);
    bad = p, bad.slot = 40;
    refused("program outside", rig_run(a, &bad, NULL, 0, NULL, 0), 1, EINVAL,
            "outside vm0's window 0..31");
    bad = p, bad.key.type = 3;
    refused("key type 3", rig_run(a, &bad, NULL, 0, NULL, 0), 1, EINVAL,
            "key type 3 is neither raw nor wrapped");
    bad = p, bad.key.len = 63;
    refused("key of 63 bytes", rig_run(a, &bad, NULL, 0, NULL, 0), 1, EINVAL,
            "aes-256-xts takes a key of 64 bytes, not 63");
    bad = p, bad.key.key_size = KEY_SIZE_192;
    refused("XTS-192", rig_run(a, &bad, NULL, 0, NULL, 0), 2, EOPNOTSUPP,
            "an algorithm that is not known");
    bad = p, bad.key.data_unit = 131072;
    refused("data unit of 128 KiB", rig_run(a, &bad, NULL, 0, NULL, 0), 2, EOPNOTSUPP,
            "vm0 does not advertise aes-256-xts with data units of 131072 bytes");
    key[0] = 0;
    refused("equal halves", rig_run(a, &p, NULL, 0, NULL, 0), 1, EINVAL,
            "the two halves of the XTS key are equal");
    refused("the slot stayed empty", read_at(rig_tagged(rig_read(0), 6, 0), 4096), 1, ENOKEY,
            "slot 6 is empty");
    is_int(rig_evict(a, 6).status, 0, "evict of an empty slot is OK");
    refused("evict outside", rig_evict(a, 32), 1, EINVAL, "outside vm0's window 0..31");
    rig_program(a, 6, "aes-256-xts", 4096, 1);
    is_int(rig_program(a, 6, "aes-128-ecb", 512, 1).status, 0,
           "program over an idle slot replaces");
    is_int(slot_hold(a, 6, EXPECT_ANY), 0, "the slot is held");
    refused("evict in use", rig_evict(a, 6), 1, EBUSY, "the slot has 1 requests in flight");
    answer = rig_program(a, 6, "aes-256-xts", 4096, 2);
    refused("program in use", answer, 1, EBUSY, "the slot has 1 requests in flight");
    is_int(read_at(rig_tagged(rig_read(0), 6, 0), 512).status, 0, "the held slot still works");
    slot_release(a, 6);
    is_int(rig_evict(a, 6).status, 0, "released, it is evicted");
    is_int(slot_hold(a, 6, EXPECT_ANY), -ENOKEY, "an empty slot is not held");
    is_int(slot_hold(a, 99, EXPECT_ANY), -EINVAL, "nor one outside the window");
}

static void test_without_ice(void)
{
    struct ice_attachment *ice = a;
    struct command command = {.kind = COMMAND_READ};
    uint8_t head[168] = {28}, data[512];

    a = rig_attach(&rig, RIG_BARE);
    read_media(media_before);
    is_int(rig_run(a, &command, NULL, 0, data, 512).status, 0, "16 bytes of header without ICE");
    refused("capabilities", rig_send(a, head, 16, NULL, 0, data, 512), 2, EOPNOTSUPP,
            "GET_CRYPTO_CAPABILITIES needs feature bit 22, which the driver has not negotiated");
    head[0] = 29;
    refused("KEY_PROGRAM", rig_send(a, head, 168, NULL, 0, NULL, 0), 2, EOPNOTSUPP,
            "KEY_PROGRAM needs feature bit 56, which the driver has not negotiated");
    head[0] = 13;
    refused("WRITE_ZEROES", rig_send(a, head, 16, data, 16, NULL, 0), 2, EOPNOTSUPP,
            "WRITE_ZEROES needs feature bit 14, which the driver has not negotiated");
    head[0] = 0;
    refused("32 bytes of header", rig_send(a, head, 32, NULL, 0, data, 512), 1, EINVAL,
            "read takes no readable data, but 16 bytes follow its header");
    attachment_close(a);
    a = ice;
}

int main(void)
{
    rig_open(&rig, 32, SECTORS, NULL);
    a = rig_attach(&rig, RIG_ALL);
    test_transfer();
    test_parts();
    test_refused_transfers();
    test_refused_headers();
    test_no_status();
    test_information();
    test_ranges();
    test_keys();
    test_without_ice();
    attachment_close(a);
    rig_close(&rig);
    return tap_done();
}
