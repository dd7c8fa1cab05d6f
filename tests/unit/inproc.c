/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels in the process, and the files that the FUSE tree makes of them. */
#include "icesim/inproc.h"
#include "base/secret.h"
#include "base/units.h"
#include "blkcrypto/context.h"
#include "cipher/cipher.h"
#include "icesim/fuse_files.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>

static struct host host;
static uint8_t *key;

static void program(unsigned slot, uint32_t data_unit)
{
    struct engine_key program = {algorithm_by_name("aes-256-xts"), data_unit, key};
    struct ice_why why = {.text = ""};
    is_int(engine_program(host.engine, slot, &program, 0, NULL, &why), 0, "program slot %u %s",
           slot, why.text);
}

static int read_unit(const struct byte_file *file, struct ice_why *why)
{
    static uint8_t buffer[DATA_UNIT_MAX];
    return context_read(&file->context, 0, buffer, file->context.data_unit, why);
}

static void test_files(struct fuse_files *files)
{
    const struct fuse_front_ops *ops = &fuse_files_ops;
    struct byte_file raw, slot;
    ops->raw_file(files, &raw);
    is_int((intmax_t)raw.size, 1025 * 512, "raw is the whole store");
    is_int(ops->slot_count(files), 4, "as many slots as the engine");
    ok(!ops->slot_file(files, 1, &slot) && !ops->slot_file(files, 4, &slot),
       "an empty slot and one outside have no file");
    program(1, 4096);
    ok(ops->slot_file(files, 1, &slot), "a programmed one has");
    is_int((intmax_t)slot.size, 128 * 4096, "of whole data units");
    ok(slot.locks == raw.locks, "all files share their locks");
    char *status = ops->status(files);
    ok(status && strstr(status, "{\"info\":{\"function\":\"vm0\"") == status &&
           strstr(status, "\"slots\":[{\"slot\":0,\"programmed\":false,\"alg\":null") &&
           strstr(status, "{\"slot\":1,\"programmed\":true,\"alg\":\"aes-256-xts\","
                          "\"data_unit\":4096,\"key_type\":\"raw\",\"fingerprint\":\"") &&
           status[strlen(status) - 1] == '\n',
       "status.json");
    free(status);
}

static void test_resets(struct fuse_files *files)
{
    const struct fuse_front_ops *ops = &fuse_files_ops;
    struct byte_file raw, slot;
    struct ice_why why = {.text = ""};
    ops->raw_file(files, &raw);
    ops->slot_file(files, 1, &slot);
    is_int(read_unit(&slot, &why), 0, "a read through slot 1");
    function_reset_attachments(host.functions[0].function);
    is_int(read_unit(&slot, &why), 0, "goes on after a device reset: %s", why.text);
    function_reset_attachments(host.functions[0].function);
    is_int(slot.context.channel->ops->slot_hold(slot.context.channel, 1, slot.context.expect), 0,
           "so does a hold");
    slot.context.channel->ops->slot_release(slot.context.channel, 1);
    host_reset_engine(&host);
    is_int(read_unit(&slot, &why), -ENOKEY, "an engine reset ends the file");
    is_int(read_unit(&raw, &why), 0, "but not raw");
    program(1, 512);
    is_int(read_unit(&slot, &why), -ENOKEY, "a new key does not revive it");
    ok(ops->slot_file(files, 1, &slot) && read_unit(&slot, &why) == 0,
       "but is a file of its own, with the new generation acknowledged");
}

int main(void)
{
    struct store *store;
    struct fuse_files *files;
    struct ice_why why = {.text = ""};
    if (cipher_init(&why) || store_open_ram(1025 * 512, &store, &why) ||
        host_open(&host, store, 4, &dialect_ice2, &why) || fuse_files_open(&host, &files, &why)) {
        printf("Bail out! %s\n", why.text);
        return 1;
    }
    key = secret_alloc(KEY_BYTES_MAX);
    for (unsigned i = 0; i < KEY_BYTES_MAX; i++)
        key[i] = (uint8_t)i;
    test_files(files);
    test_resets(files);
    fuse_files_close(files);
    host_close(&host);
    secret_free(key);
    return tap_done();
}
