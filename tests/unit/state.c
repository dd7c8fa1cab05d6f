/* SPDX-License-Identifier: BSD-2-Clause */
/* The state file: what it keeps over restarts, and what it refuses without touching it. */
#include "icesim/state.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "cipher/cipher.h"
#include "engine/engine.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD 512

static char folder[] = "/tmp/icesim-state-XXXXXX";
static char path[64];
static uint8_t secret[ENGINE_SECRET_BYTES]; /* of the file at `path` */

static size_t load(uint8_t bytes[static STATE_FILE_BYTES + 1])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = read(fd, bytes, STATE_FILE_BYTES + 1);
    close(fd);
    return len < 0 ? 0 : (size_t)len;
}

static void store(const uint8_t *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (write(fd, bytes, len) != (ssize_t)len)
        note("cannot write %s", path);
    close(fd);
}

/* The boot counter of a start that keeps the secret; 0: it failed. */
static uint64_t start(void)
{
    struct state state;
    struct ice_why why = {0};
    uint64_t boot = 0;
    if (state_open(path, &state, &why) == 0 && !memcmp(state.secret, secret, sizeof(secret)))
        boot = state.boot;
    else
        note("%s", why.text);
    state_close(&state);
    return boot;
}

/* A start fails with `want`, the path and `clause`, and leaves the file as it was. */
static void check_refused(int want, const char *clause)
{
    struct state state;
    struct ice_why why = {0};
    uint8_t before[STATE_FILE_BYTES + 1], after[STATE_FILE_BYTES + 1];
    char text[ICE_WHY_TEXT];
    size_t len = load(before);
    snprintf(text, sizeof(text), "%s %s", path, clause);
    is_int(state_open(path, &state, &why), want, "refused: %s", clause);
    is_str(why.text, text, "refused: %s: clause", clause);
    is_int(why.err, -want, "refused: %s: errno", clause);
    state_close(&state);
    ok(load(after) == len && !memcmp(before, after, len), "refused: %s: untouched", clause);
}

static void test_first_start(void)
{
    static const uint8_t zeros[ENGINE_SECRET_BYTES];
    struct state state;
    struct stat status;
    uint8_t bytes[STATE_FILE_BYTES + 1];
    is_int(state_open(path, &state, NULL), 0, "the first start makes the file");
    memcpy(secret, state.secret, sizeof(secret));
    ok(memcmp(secret, zeros, sizeof(secret)), "with a secret");
    is_int((intmax_t)state.boot, 1, "and boot 1");
    stat(path, &status);
    is_int(status.st_mode & 07777, 0600, "for its owner alone");
    is_int((intmax_t)load(bytes), STATE_FILE_BYTES, "of one size");
    check_refused(-EBUSY, "is locked: it is in use already");
    state_close(&state);
    is_int((intmax_t)start(), 2, "a restart keeps the secret and raises the boot");
    is_int((intmax_t)start(), 3, "each of them");

    char first[sizeof(path)];
    strcpy(first, path);
    strcat(path, "2");
    is_int(state_open(path, &state, NULL), 0, "another file");
    ok(memcmp(secret, state.secret, sizeof(secret)), "has another secret");
    state_close(&state);
    unlink(path);
    strcpy(path, first);
}

static void test_access(void)
{
    chmod(path, 0640);
    check_refused(-EPERM, "is open to others: its mode is 0640 and must be 0600");
    chmod(path, 0602);
    check_refused(-EPERM, "is open to others: its mode is 0602 and must be 0600");
    chmod(path, 0600);
    if (geteuid() == 0 && chown(path, 12345, (gid_t)-1) == 0) {
        check_refused(-EPERM, "belongs to user 12345");
        is_int(chown(path, 0, (gid_t)-1), 0, "and back");
    } else {
        skip("only root can give a file away");
    }
}

static void test_garbled(void)
{
    static const size_t lengths[] = {0, 1, RECORD, STATE_FILE_BYTES - 1, STATE_FILE_BYTES + 1};
    uint8_t bytes[STATE_FILE_BYTES + 1], broken[STATE_FILE_BYTES + 1];
    load(bytes);
    bytes[STATE_FILE_BYTES] = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        char clause[64];
        snprintf(clause, sizeof(clause), "has %zu bytes, a state file 1024", lengths[i]);
        store(bytes, lengths[i]);
        check_refused(-EINVAL, clause);
    }
    memset(broken, 0, sizeof(broken));
    store(broken, STATE_FILE_BYTES);
    check_refused(-EINVAL, "is no state file, or garbled");
    memcpy(broken, bytes, sizeof(broken));
    broken[30] ^= 1;
    broken[RECORD + 30] ^= 1;
    store(broken, STATE_FILE_BYTES);
    check_refused(-EINVAL, "is no state file, or garbled");
    store(bytes, STATE_FILE_BYTES);
}

/* A start that dies while it writes: the first `len` bytes of its record are on the disk. */
static void test_torn(void)
{
    uint8_t before[STATE_FILE_BYTES + 1], after[STATE_FILE_BYTES + 1], torn[STATE_FILE_BYTES + 1];
    uint64_t boot = start();
    unsigned wrong = 0;
    load(before);
    is_int((intmax_t)start(), (intmax_t)boot + 1, "the start before");
    load(after);
    unsigned record = memcmp(before, after, RECORD) ? 0 : RECORD;
    ok(!memcmp(before + RECORD - record, after + RECORD - record, RECORD),
       "a start writes one record");
    for (size_t len = 0; len <= RECORD; len++) {
        memcpy(torn, before, sizeof(torn));
        memcpy(torn + record, after + record, len);
        store(torn, STATE_FILE_BYTES);
        uint64_t got = start();
        wrong += got <= boot;
    }
    is_int(wrong, 0, "torn at any byte the secret lives and no boot comes twice");
    for (size_t bit = 0; bit < RECORD * 8; bit += 7) {
        memcpy(torn, after, sizeof(torn));
        torn[record + bit / 8] ^= (uint8_t)(1 << bit % 8);
        store(torn, STATE_FILE_BYTES);
        wrong += start() != boot + 2;
    }
    is_int(wrong, 0, "a record that went bad later may have counted: its boot is not used again");
    store(after, STATE_FILE_BYTES);
    is_int((intmax_t)start(), (intmax_t)boot + 2, "whole, it goes on");
}

/* CRC-32 of Ethernet, written out once more. */
static uint32_t crc32(const uint8_t *bytes, size_t len)
{
    uint32_t crc = 0xffffffff;
    while (len--) {
        crc ^= *bytes++;
        for (int k = 0; k < 8; k++)
            crc = (crc >> 1) ^ (0xedb88320 & -(crc & 1));
    }
    return crc ^ 0xffffffff;
}

/* The bytes, as the comment of state.c has them. */
static void test_layout(void)
{
    uint8_t file[STATE_FILE_BYTES + 1], record[RECORD] = {0};
    uint64_t boot = start();
    load(file);
    snprintf((char *)record, sizeof(record), "icestate");
    store_le32(record + 8, 1);
    store_le64(record + 16, boot);
    memcpy(record + 24, secret, sizeof(secret));
    store_le32(record + 12, crc32(record, sizeof(record)));
    ok(!memcmp(file, record, RECORD) || !memcmp(file + RECORD, record, RECORD), "the layout");

    uint8_t newer[STATE_FILE_BYTES];
    store_le32(record + 8, 2);
    store_le32(record + 12, 0);
    store_le32(record + 12, crc32(record, sizeof(record)));
    memcpy(newer, record, RECORD);
    memcpy(newer + RECORD, record, RECORD);
    store(newer, sizeof(newer));
    check_refused(-EINVAL, "has version 2, this icesim knows 1");
    store(file, STATE_FILE_BYTES);
}

static void test_places(void)
{
    struct state state;
    struct ice_why why = {0};
    char other[96];
    is_int(state_open(folder, &state, &why), -EISDIR, "a folder is no state file");
    snprintf(other, sizeof(other), "%s/none/state", folder);
    is_int(state_open(other, &state, &why), -ENOENT, "nor is one made in a folder that is not");
    state_close(&state);
    state_close(&state);
    snprintf(other, sizeof(other), "%s/pipe", folder);
    mkfifo(other, 0600);
    is_int(state_open(other, &state, &why), -EINVAL, "nor in place of a pipe");
    unlink(other);
    is_int(chdir(folder), 0, "a file is made in the working folder");
    is_int(state_open("here", &state, &why), 0, "by its name alone");
    state_close(&state);
    unlink("here");
}

/* What it is for. */
static void test_keys_over_restart(void)
{
    struct wrapped_key lasting, old, fresh;
    uint8_t first[32], second[32];
    for (unsigned i = 0; i < 2; i++) {
        struct state state;
        struct engine *engine;
        if (state_open(path, &state, NULL) || engine_new(1, &engine, NULL))
            exit(1);
        engine_set_secret(engine, state.secret, state.boot);
        if (i == 0) {
            engine_key_generate(engine, &lasting, NULL);
            engine_key_prepare(engine, lasting.bytes, lasting.len, &old, NULL);
            engine_key_derive(engine, old.bytes, old.len, first, NULL);
        } else {
            is_int(engine_key_derive(engine, old.bytes, old.len, second, NULL), -EBADMSG,
                   "an ephemeral key dies with the boot");
            is_int(engine_key_prepare(engine, lasting.bytes, lasting.len, &fresh, NULL), 0,
                   "a long-term key does not");
            engine_key_derive(engine, fresh.bytes, fresh.len, second, NULL);
            is_mem(second, first, sizeof(first), "and is the same key");
        }
        engine_free(engine);
        state_close(&state);
    }
}

int main(void)
{
    if (cipher_init(NULL) || !mkdtemp(folder))
        return 1;
    snprintf(path, sizeof(path), "%s/state", folder);
    test_first_start();
    test_access();
    test_garbled();
    test_torn();
    test_layout();
    test_places();
    test_keys_over_restart();
    unlink(path);
    rmdir(folder);
    return tap_done();
}
