/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels in the process, and the files that the FUSE tree makes of them. */
#include "icesim/inproc.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "blkcrypto/context.h"
#include "cipher/cipher.h"
#include "fuse_front/internal.h"
#include "icesim/fuse_files.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define SECTORS 1025u

static struct host host;
static struct fuse_files *files;
static struct views *views;
static struct fuse_front *front;
static uint8_t *key;

static void program(unsigned slot, uint32_t data_unit)
{
    struct engine_key program = {
        .algorithm = algorithm_by_name("aes-256-xts"), .data_unit = data_unit, .bytes = key};
    struct ice_why why = {.text = ""};
    is_int(engine_program(host.engine, slot, &program, NULL, NULL, &why), 0, "program slot %u %s",
           slot, why.text);
}

static void add(const char *text)
{
    struct function_spec spec;
    struct ice_why why = {.text = ""};
    int err = function_spec_parse(text, &spec, &why);
    is_int(err ? err : host_add(&host, &spec, &why), 0, "%s %s", text, why.text);
}

static void take_away(const char *name)
{
    struct ice_why why = {.text = ""};
    is_int(host_remove(&host, name, &why), 0, "%s is removed %s", name, why.text);
}

/* As the tree would find them. */
static const struct fuse_front_function *shown(const char *name)
{
    functions_look(front);
    const struct fuse_front_function *function = functions_named(front, name);
    functions_done(front);
    return function;
}

static int read_unit(const struct byte_file *file, struct ice_why *why)
{
    static uint8_t buffer[DATA_UNIT_MAX];
    return context_read(&file->context, 0, buffer, file->context.data_unit, why);
}

static void test_files(void)
{
    const struct fuse_front_function *vm0 = shown("vm0");
    struct byte_file slot = {0};
    is_int((intmax_t)byte_file_size(&front->raw), SECTORS * 512, "raw is the whole store");
    is_int(vm0->first_slot, 0, "vm0 from slot 0");
    is_int(vm0->slots, 8, "as many slots as the engine");
    ok(!slot_file(front, vm0, 1, &slot) && !slot_file(front, vm0, 8, &slot),
       "an empty slot and one outside have no file");
    program(1, 4096);
    ok(slot_file(front, vm0, 1, &slot), "a programmed one has");
    is_int((intmax_t)byte_file_size(&slot), 128 * 4096, "of whole data units");
    ok(slot.locks == front->raw.locks, "all files share their locks");
    char *status = front->ops.status(vm0->user);
    ok(status && strstr(status, "{\"info\":{\"function\":\"vm0\"") == status &&
           strstr(status, "\"slots\":[{\"slot\":0,") && strstr(status, "\"programmed\":true,") &&
           status[strlen(status) - 1] == '\n',
       "status.json");
    free(status);
}

static void test_resets(void)
{
    const struct fuse_front_function *vm0 = shown("vm0");
    struct host_function *function = host_find(&host, "vm0");
    struct byte_file slot = {0};
    struct ice_why why = {.text = ""};
    slot_file(front, vm0, 1, &slot);
    is_int(read_unit(&slot, &why), 0, "a read through slot 1");
    function_reset_attachments(function->function);
    is_int(read_unit(&slot, &why), 0, "goes on after a device reset: %s", why.text);
    function_reset_attachments(function->function);
    is_int(slot.context.channel->ops->slot_hold(slot.context.channel, 1, slot.context.expect), 0,
           "so does a hold");
    slot.context.channel->ops->slot_release(slot.context.channel, 1);
    host_reset_engine(&host);
    is_int(read_unit(&slot, &why), -ENOKEY, "an engine reset ends the file");
    is_int(read_unit(&front->raw, &why), 0, "but not raw");
    program(1, 512);
    is_int(read_unit(&slot, &why), -ENOKEY, "a new key does not revive it");
    ok(slot_file(front, vm0, 1, &slot) && read_unit(&slot, &why) == 0,
       "but is a file of its own, with the new generation acknowledged");
    host_let_go(&host, function);
}

/* ---- functions ---- */

/* A write at odd places through the slot is ciphertext in raw, at the same place of the media. */
static void passes(const struct fuse_front_function *function, unsigned slot, uint64_t base)
{
    static const char text[] = "plaintext in two data units";
    struct byte_file file = {0};
    struct ice_why why = {.text = ""};
    uint8_t back[sizeof(text)], stored[1024], whole[1024];
    ok(slot_file(front, function, slot, &file), "%s: slot %u", function->name, slot);
    is_int(byte_file_write(&file, 500, text, sizeof(text), &why), sizeof(text), "a write %s",
           why.text);
    is_int(byte_file_read(&file, 500, back, sizeof(text), &why), sizeof(text), "a read");
    is_mem(back, text, sizeof(text), "what was written");
    is_int(byte_file_read(&function->raw, 0, stored, 1024, &why), 1024, "its raw");
    ok(!memmem(stored, 1024, "plaintext", 9), "has no plaintext");
    is_int((intmax_t)function->raw.lock_base, (intmax_t)base, "the place of its window");
    ok(file.lock_base == base && file.locks == function->raw.locks, "is the slot's file's, too");
    if (function->raw.locks != front->raw.locks)
        return;
    is_int(byte_file_read(&front->raw, base, whole, 1024, &why), 1024, "the whole raw");
    is_mem(whole, stored, 1024, "has the same at the window");
}

static void offers(const struct fuse_front_function *function, const char *dialect, unsigned wire)
{
    char want[64], *status = front->ops.status(function->user);
    snprintf(want, sizeof(want), "\"dialect\":\"%s\"", dialect);
    ok(status && strstr(status, want), "%s: its status names %s", function->name, dialect);
    snprintf(want, sizeof(want), "\"slot_offset\":%u,\"max_slots\":1,", wire);
    ok(status && strstr(status, want), "and its first slot, %u", wire);
    ok(status && strstr(status, "\"alg\":\"aes-256-xts\",\"key_bytes\":64,\"data_units\":[512,1024,"
                                "2048,4096,8192,16384,32768,65536]"),
       "and the capabilities");
    free(status);
}

static void test_dialects(void)
{
    static const struct {
        const char *spec, *name, *dialect;
        unsigned slot, wire;
        uint64_t base;
    } cases[] = {
        {"a1,slots=1+1,sectors=0+64,dialect=ice1", "a1", "ice1", 1, 1, 0},
        {"a2,slots=2+1,sectors=64+64,dialect=ice1,addr=virtual", "a2", "ice1", 2, 0, 64 * 512},
        {"b1,slots=3+1,sectors=128+64,dialect=ice2,strict", "b1", "ice2", 3, 3, 128 * 512},
        {"b2,slots=4+1,sectors=192+64,dialect=ice2,addr=virtual", "b2", "ice2", 4, 0, 192 * 512},
        {"c1,slots=5+1,sectors=256+64,dialect=inline", "c1", "inline", 5, 0, 256 * 512},
        {"c2,slots=6+1,sectors=320+64,dialect=inline,addr=physical", "c2", "inline", 6, 6,
         320 * 512},
        {"c3,slots=7+1,sectors=384+64,dialect=inline,strict", "c3", "inline", 7, 0, 384 * 512},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        add(cases[i].spec);
        program(cases[i].slot, 512);
        passes(shown(cases[i].name), cases[i].wire, cases[i].base);
        offers(shown(cases[i].name), cases[i].dialect, cases[i].wire);
    }
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        take_away(cases[i].name);
}

static void test_kinds(void)
{
    struct byte_file file = {0};
    struct ice_why why = {.text = ""};
    char image[] = "/tmp/icesim-inproc-XXXXXX", spec[128];
    int fd = mkstemp(image);
    is_int(ftruncate(fd, 128 * 512), 0, "an image");
    snprintf(spec, sizeof(spec), "own,slots=2+2,sectors=8+100,image=%s", image);
    add(spec);
    program(2, 512);
    ok(shown("own")->raw.locks != front->raw.locks, "an own image has locks of its own");
    passes(shown("own"), 2, 8 * 512);
    add("ro,slots=4+1,sectors=0+64,ro");
    program(4, 512);
    ok(shown("ro")->read_only && slot_file(front, shown("ro"), 4, &file), "read-only");
    is_int(byte_file_write(&file, 0, "x", 1, &why), -EROFS, "is not written: %s", why.text);
    is_int(read_unit(&file, &why), 0, "but read");
    is_int(byte_file_write(&shown("ro")->raw, 0, "x", 1, &why), 1, "its raw is the owner's");
    add("no,slots=0+0,sectors=64+64");
    is_int(shown("no")->slots, 0, "a function without slots");
    char *status = front->ops.status(shown("no")->user);
    ok(status && strstr(status, "\"capabilities\":[]") && strstr(status, "\"slots\":[]"),
       "has a status");
    free(status);
    take_away("no");
    take_away("ro");
    take_away("own");
    ok(!shown("own") && !functions_find(front, 0), "all are gone");
    unlink(image);
    close(fd);
}

static int open_host(uint8_t *secret, struct ice_why *why)
{
    struct host_params params = {.slots = 8, .secret = secret, .boot = 1, .dialect = &dialect_ice2};
    int err = cipher_init(why);
    if (!err)
        err = store_open_ram(SECTORS * 512, &params.store, why);
    return err ? err : host_open(&host, &params, why);
}

int main(void)
{
    struct ice_why why = {.text = ""};
    uint8_t *secret = secret_alloc(ENGINE_SECRET_BYTES);
    key = secret_alloc(KEY_BYTES_MAX);
    for (unsigned i = 0; i < KEY_BYTES_MAX; i++)
        key[i] = (uint8_t)i;
    if (open_host(secret, &why)) {
        printf("Bail out! %s\n", why.text);
        return 1;
    }
    add("vm0");
    if (views_open(&host, &views, &why) || fuse_files_open(&host, views, &files, &why)) {
        printf("Bail out! %s\n", why.text);
        return 1;
    }
    front = fuse_files_front(files);
    test_files();
    test_resets();
    take_away("vm0");
    test_dialects();
    test_kinds();
    fuse_files_close(files);
    views_close(views);
    host_close(&host);
    secret_free(key);
    secret_free(secret);
    return tap_done();
}
