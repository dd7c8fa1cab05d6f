/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware-wrapped keys through a driver's commands: from generate or import to ciphertext and
 * software secret, both as libcrypto derives them, and what is refused.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "libcrypto_ref.h"
#include "rig.h"
#include "tap.h"
#include "virtio/blk.h"
#include <errno.h>

#define UNIT    4096u
#define SECTORS 64u

static struct rig rig;
static struct ice_attachment *a;
static uint8_t data[UNIT], media[SECTORS * 512], before[SECTORS * 512];

struct blob {
    uint8_t bytes[KEY_BLOB_BYTES];
};

static void open_rig(const struct dialect *dialect, unsigned key_types)
{
    rig_open_as(&rig, 4, SECTORS, NULL,
                (struct function_params){.dialect = dialect, .key_types = key_types});
    a = rig_attach(&rig, RIG_ALL);
}

static void close_rig(void)
{
    attachment_close(a);
    rig_close(&rig);
}

static void read_media(uint8_t *to)
{
    struct iovec iov = {to, sizeof(media)};

    rig.store->ops->read(rig.store, 0, &iov, 1, NULL);
}

static struct answer send(enum command_kind kind, const uint8_t *key, size_t len, void *in,
                          size_t in_len)
{
    struct command command = {
        .kind = kind, .key = {.type = ICE_KEY_TYPE_WRAPPED, .len = (uint16_t)len, .bytes = key}};

    return rig_run(a, &command, NULL, 0, in, in_len);
}

static struct answer send_blob(enum command_kind kind, const struct blob *blob, void *in,
                               size_t in_len)
{
    return send(kind, blob->bytes + 4, load_le32(blob->bytes), in, in_len);
}

static struct answer program(const struct blob *blob, const char *algorithm)
{
    struct command command = rig_key(1, algorithm, UNIT, blob->bytes + 4);

    command.key.type = ICE_KEY_TYPE_WRAPPED;
    command.key.len = (uint16_t)load_le32(blob->bytes);
    return rig_run(a, &command, NULL, 0, NULL, 0);
}

/* ---- as libcrypto has it: SP 800-108, the labels of fscrypt-crypt-util ---- */

static const uint8_t label[11] = {0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x20};

static void derive_inline_key(const uint8_t *master, uint8_t key[64])
{
    uint8_t context[36] = "inline encryption key";
    static const uint8_t tail[] = {0x02, 0x43, 0x00, 0x82, 0x50};

    memcpy(context + 27, tail, sizeof(tail));
    ok(libcrypto_ref_kdf(master, label, sizeof(label), context, sizeof(context), key, 64),
       "libcrypto derives the inline key");
}

static void derive_secret(const uint8_t *master, uint8_t secret[32])
{
    uint8_t context[28] = "raw secret";
    static const uint8_t tail[] = {0x02, 0x17, 0x00, 0x80, 0x50};

    memcpy(context + 19, tail, sizeof(tail));
    ok(libcrypto_ref_kdf(master, label, sizeof(label), context, sizeof(context), secret, 32),
       "libcrypto derives the software secret");
}

/* ---- */

static void test_import(const struct dialect *dialect)
{
    const char *name = dialect->name;
    uint8_t master[32], key[64], secret[32], got[40], stored[UNIT];
    struct command write = rig_tagged(rig_write(8), 1, 6);
    struct blob long_term, ephemeral;
    struct slot_info info;
    struct answer answer;

    open_rig(dialect, 0);
    for (unsigned i = 0; i < sizeof(master); i++)
        master[i] = (uint8_t)(0xc0 ^ i * 3);
    answer = send(COMMAND_KEY_IMPORT, master, 32, &long_term, KEY_BLOB_BYTES);
    ok(answer.status == 0 && answer.written == KEY_BLOB_BYTES + 1, "%s: import", name);
    answer = send_blob(COMMAND_KEY_PREPARE, &long_term, &ephemeral, KEY_BLOB_BYTES);
    ok(answer.status == 0 && answer.written == KEY_BLOB_BYTES + 1, "%s: prepare", name);

    memset(got, 0xee, sizeof(got));
    answer = send_blob(COMMAND_KEY_DERIVE, &ephemeral, got, sizeof(got));
    ok(answer.status == 0 && answer.written == sizeof(got) + 1, "%s: derive", name);
    derive_secret(master, secret);
    is_mem(got, secret, 32, "%s: the software secret", name);
    is_mem(got + 32, ((uint8_t[8]){0}), 8, "%s: zeros to the end of the data area", name);

    is_int(program(&ephemeral, "aes-256-xts").status, 0, "%s: program", name);
    engine_slot_info(rig.engine, 1, &info);
    ok(info.programmed && info.wrapped, "%s: the slot holds a wrapped key", name);
    for (unsigned i = 0; i < UNIT; i++)
        data[i] = (uint8_t)(i * 7);
    is_int(rig_run(a, &write, data, UNIT, NULL, 0).status, 0, "%s: tagged write", name);
    read_media(media);
    derive_inline_key(master, key);
    libcrypto_ref(algorithm_by_name("aes-256-xts"), UNIT, 6, key, true, data, stored, UNIT);
    is_mem(media + 8 * 512, stored, UNIT, "%s: the ciphertext", name);
    close_rig();
}

static void test_generate(const struct dialect *dialect)
{
    struct blob long_term[2], ephemeral;
    uint8_t area[KEY_BLOB_BYTES + 8], got[32];

    open_rig(dialect, ICE_KEY_TYPE_WRAPPED);
    for (unsigned i = 0; i < 2; i++)
        is_int(send(COMMAND_KEY_GENERATE, NULL, 0, &long_term[i], KEY_BLOB_BYTES).status, 0,
               "%s: generate", dialect->name);
    ok(memcmp(&long_term[0], &long_term[1], KEY_BLOB_BYTES) != 0, "two are not the same");
    memset(area, 0xee, sizeof(area));
    is_int(send_blob(COMMAND_KEY_PREPARE, &long_term[0], area, sizeof(area)).status, 0,
           "prepare into a longer data area");
    is_mem(area + KEY_BLOB_BYTES, ((uint8_t[8]){0}), 8, "zeros behind the blob");
    memcpy(&ephemeral, area, sizeof(ephemeral));
    is_int(program(&ephemeral, "aes-256-xts").status, 0, "program");
    is_int(send_blob(COMMAND_KEY_DERIVE, &ephemeral, got, 32).status, 0, "derive");
    is_int(rig_program(a, 1, "aes-256-xts", UNIT, 1).status, VIRTIO_BLK_S_UNSUPP,
           "a raw key on a function of wrapped keys");
    close_rig();
}

/* A refusal leaves the data area, the slots and the media alone. */
static void refused(const char *name, struct answer answer, int status, int err,
                    const uint8_t *area, size_t len)
{
    struct slot_info info;

    is_int(answer.status, status, "%s: status", name);
    is_int(answer.why.err, err, "%s: errno (%s)", name, answer.why.text);
    is_int((intmax_t)answer.written, 1, "%s: only the status is written", name);
    for (size_t i = 0; i < len; i++)
        if (area[i] != 0xee) {
            ok(false, "%s: the data area is untouched", name);
            break;
        }
    engine_slot_info(rig.engine, 1, &info);
    ok(!info.programmed, "%s: the slot is empty", name);
    read_media(media);
    is_mem(media, before, sizeof(media), "%s: the media is as before", name);
}

static void test_refused(const struct dialect *dialect)
{
    struct blob long_term, ephemeral, bad;
    uint8_t area[KEY_BLOB_BYTES], raw[33] = {1};
    struct command as_raw;

    open_rig(dialect, 0);
    read_media(before);
    send(COMMAND_KEY_GENERATE, NULL, 0, &long_term, KEY_BLOB_BYTES);
    send_blob(COMMAND_KEY_PREPARE, &long_term, &ephemeral, KEY_BLOB_BYTES);
    memset(area, 0xee, sizeof(area));
    refused("import of 31 bytes", send(COMMAND_KEY_IMPORT, raw, 31, area, sizeof(area)), 1, EINVAL,
            area, sizeof(area));
    refused("import of 33 bytes", send(COMMAND_KEY_IMPORT, raw, 33, area, sizeof(area)), 1, EINVAL,
            area, sizeof(area));
    refused("generate into 131 bytes", send(COMMAND_KEY_GENERATE, NULL, 0, area, 131), 1, EOVERFLOW,
            area, sizeof(area));
    refused("derive into 31 bytes", send_blob(COMMAND_KEY_DERIVE, &ephemeral, area, 31), 1,
            EOVERFLOW, area, sizeof(area));
    refused("derive of a long-term key", send_blob(COMMAND_KEY_DERIVE, &long_term, area, 32), 1,
            EBADMSG, area, sizeof(area));
    refused("prepare of an ephemeral key",
            send_blob(COMMAND_KEY_PREPARE, &ephemeral, area, sizeof(area)), 1, EBADMSG, area,
            sizeof(area));
    refused("program of a long-term key", program(&long_term, "aes-256-xts"), 1, EBADMSG, area, 0);
    as_raw = rig_key(1, "aes-256-xts", UNIT, ephemeral.bytes + 4);
    as_raw.key.len = (uint16_t)load_le32(ephemeral.bytes);
    refused("a blob as a raw key", rig_run(a, &as_raw, NULL, 0, NULL, 0), 1, EINVAL, area, 0);
    bad = ephemeral;
    bad.bytes[4 + 20] ^= 1;
    refused("a changed blob", program(&bad, "aes-256-xts"), 1, EBADMSG, area, 0);
    bad = ephemeral;
    bad.bytes[0]--;
    refused("a cut blob", program(&bad, "aes-256-xts"), 1, EBADMSG, area, 0);
    bad.bytes[0] = 0;
    refused("an empty blob", program(&bad, "aes-256-xts"), 1, EBADMSG, area, 0);
    if (dialect == &dialect_ice2) /* the others advertise no other */
        refused("a wrapped key for another algorithm", program(&ephemeral, "aes-128-cbc-essiv"), 1,
                EINVAL, area, 0);
    close_rig();
}

static void test_raw_only(const struct dialect *dialect)
{
    uint8_t area[KEY_BLOB_BYTES], key[64] = {1};
    static const enum command_kind kinds[] = {COMMAND_KEY_DERIVE, COMMAND_KEY_GENERATE,
                                              COMMAND_KEY_IMPORT, COMMAND_KEY_PREPARE};
    struct command wrapped = rig_key(1, "aes-256-xts", UNIT, key);

    open_rig(dialect, ICE_KEY_TYPE_RAW);
    read_media(before);
    memset(area, 0xee, sizeof(area));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        refused(command_name(kinds[i]), send(kinds[i], key, 32, area, sizeof(area)), 2, EOPNOTSUPP,
                area, sizeof(area));
    wrapped.key.type = ICE_KEY_TYPE_WRAPPED;
    refused("program of a wrapped key", rig_run(a, &wrapped, NULL, 0, NULL, 0), 2, EOPNOTSUPP, area,
            0);
    is_str(rig_run(a, &wrapped, NULL, 0, NULL, 0).why.text, "vm0 takes raw keys only", "why");
    close_rig();
}

int main(void)
{
    for (unsigned i = 0; dialect_at(i); i++) {
        test_import(dialect_at(i));
        test_generate(dialect_at(i));
        test_refused(dialect_at(i));
        test_raw_only(dialect_at(i));
    }
    return tap_done();
}
