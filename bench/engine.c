/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the engine and the device add to the cipher. `bare` is the least that libgcrypt can do: one
 * context, one IV per request, one call per data unit. `engine` takes a slot's reference and
 * borrows a context of it, `device` runs whole requests over a store that does nothing. All move
 * the same buffers, REQUEST bytes at a time, aes-256-xts.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "clock.h"
#include "null_store.h"
#include "rig.h"
#include <gcrypt.h>

#define REQUEST 4096u
#define BATCH   256 /* requests between looks at the clock */
#define KEY     64u

struct run {
    bool encrypt;
    uint32_t data_unit;
    double seconds;
    uint8_t from[REQUEST], to[REQUEST];
};

__attribute__((noreturn)) static void fail(const char *what)
{
    fprintf(stderr, "engine: %s failed\n", what);
    exit(1);
}

/* ---- the three loops: each runs one request, at data unit `dun` ---- */

typedef void request_function(struct run *run, void *with, uint64_t dun);

static void loop(struct run *run, request_function *request, void *with)
{
    double start = seconds_now(), now = start;
    uint64_t requests = 0;

    while (now - start < run->seconds) {
        for (unsigned i = 0; i < BATCH; i++)
            request(run, with, requests + i);
        requests += BATCH;
        now = seconds_now();
    }
    print_rate(requests * REQUEST, now - start);
}

static void bare_request(struct run *run, void *with, uint64_t dun)
{
    gcry_cipher_hd_t handle = with;
    uint32_t unit = run->data_unit;
    uint8_t tweak[16] = {0};
    gcry_error_t error;

    store_le64(tweak, dun);
    error = gcry_cipher_setiv(handle, tweak, sizeof(tweak));
    for (size_t at = 0; at < REQUEST && !error; at += unit)
        error = run->encrypt
                    ? gcry_cipher_encrypt(handle, run->to + at, unit, run->from + at, unit)
                    : gcry_cipher_decrypt(handle, run->to + at, unit, run->from + at, unit);
    if (error)
        fail("libgcrypt");
}

static void run_bare(struct run *run)
{
    uint8_t key[KEY];
    gcry_cipher_hd_t handle;

    for (unsigned i = 0; i < KEY; i++)
        key[i] = (uint8_t)(1 + i);
    if (!gcry_check_version("1.8.0") || gcry_control(GCRYCTL_DISABLE_SECMEM, 0) ||
        gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0) ||
        gcry_cipher_open(&handle, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_XTS, 0) ||
        gcry_cipher_setkey(handle, key, KEY))
        fail("libgcrypt");
    loop(run, bare_request, handle);
    gcry_cipher_close(handle);
}

static void engine_request(struct run *run, void *with, uint64_t dun)
{
    struct engine *engine = with;
    struct cipher *cipher;
    int r;

    if (engine_get(engine, 0, EXPECT_ANY, NULL))
        fail("engine_get");
    cipher = engine_borrow(engine, 0);
    r = run->encrypt ? cipher_encrypt(cipher, dun_from_u64(dun), run->from, run->to, REQUEST)
                     : cipher_decrypt(cipher, dun_from_u64(dun), run->from, run->to, REQUEST);
    engine_return(engine, 0, cipher);
    engine_put(engine, 0);
    if (r)
        fail("the cipher");
}

static void request_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    (void)request;
    if (!written || why)
        fail(why ? why->text : "a request");
}

/* As a driver would: the head is built anew for each request. */
static void device_request(struct run *run, void *with, uint64_t dun)
{
    struct ice_attachment *attachment = with;
    struct command command = run->encrypt ? rig_write(0) : rig_read(0);
    uint8_t head[DIALECT_HEAD_MAX], status;
    struct iovec readable[2] = {{head, 0}, {run->from, REQUEST}};
    struct iovec writable[2] = {{run->to, REQUEST}, {&status, 1}};
    struct ice_request request = {
        .readable = readable,
        .nreadable = run->encrypt ? 2 : 1,
        .writable = run->encrypt ? writable + 1 : writable,
        .nwritable = run->encrypt ? 1 : 2,
        .expect = EXPECT_ANY,
        .done = request_done,
    };

    command = rig_tagged(command, 0, dun);
    readable[0].iov_len = dialect_ice2.build(attachment_features(attachment), &command, head);
    device_submit(attachment, &request);
}

static void run_ours(struct run *run, bool whole_device)
{
    struct store store = {.ops = &null_store_ops, .size = REQUEST};
    struct ice_attachment *attachment;
    struct rig rig;

    rig_open(&rig, 1, REQUEST / SECTOR_SIZE, &store);
    attachment = rig_attach(&rig, RIG_ALL);
    if (rig_program(attachment, 0, "aes-256-xts", run->data_unit, 1).status != VIRTIO_BLK_S_OK)
        fail("program");
    if (whole_device)
        loop(run, device_request, attachment);
    else
        loop(run, engine_request, rig.engine);
    attachment_close(attachment);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    static struct run run;

    if (argc != 5) {
        fputs("usage: engine bare|engine|device encrypt|decrypt DATA-UNIT SECONDS\n", stderr);
        return 2;
    }
    run.encrypt = !strcmp(argv[2], "encrypt");
    run.data_unit = (uint32_t)argument(argv[3]);
    run.seconds = argument(argv[4]);
    if (!strcmp(argv[1], "bare"))
        run_bare(&run);
    else
        run_ours(&run, !strcmp(argv[1], "device"));
    return 0;
}
