/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A host with views on a bench, over a store with a gate, and what tests do to it. To be included
 * by one file of a test program. Failures of the bench itself end the program.
 */
#ifndef ICESIM_TESTS_VIEWS_BENCH_H
#define ICESIM_TESTS_VIEWS_BENCH_H

#include "base/secret.h"
#include "base/units.h"
#include "cipher/cipher.h"
#include "gate_store.h"
#include "icesim/views.h"
#include "patience.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>

#define UNUSED  __attribute__((unused))
#define SECTORS 4099u /* no multiple of 8 */

UNUSED static struct host host;
UNUSED static struct views *views;
UNUSED static struct range_lock *locks;
UNUSED static uint8_t *key_bytes; /* every view's key begins at its own place */
UNUSED static struct gate_store *gate;

UNUSED static void open_host(void)
{
    struct host_params params = {.slots = 8, .dialect = &dialect_ice2};
    struct store *ram = NULL;
    struct ice_why why = {.text = ""};
    int err = store_open_ram(SECTORS * SECTOR_SIZE, &ram, &why);
    if (!err) {
        gate = gate_store_new(ram);
        params.store = gate_store(gate);
        err = host_open(&host, &params, &why);
    }
    if (err || views_open(&host, &views, &why)) {
        printf("Bail out! %s\n", why.text);
        exit(1);
    }
}

UNUSED static void close_host(void)
{
    views_close(views);
    host_close(&host);
}

UNUSED static void adds_function(const char *text)
{
    struct function_spec spec;
    struct ice_why why = {.text = ""};
    int err = function_spec_parse(text, &spec, &why);
    is_int(err ? err : host_add(&host, &spec, &why), 0, "%s %s", text, why.text);
}

/* aes-256-xts at 4096, to the end, with key `n`. */
UNUSED static struct view_spec spec_of(const char *function, const char *name, unsigned n)
{
    return (struct view_spec){
        .function = function,
        .name = name,
        .config = {.algorithm = algorithm_by_name("aes-256-xts"),
                   .data_unit = 4096,
                   .key_type = ICE_KEY_TYPE_RAW},
        .key = key_bytes + n,
        .key_len = 64,
    };
}

UNUSED static void adds_spec(const struct view_spec *spec)
{
    struct ice_why why = {.text = ""};
    is_int(view_add(views, spec, &why), 0, "view %s of %s %s", spec->name, spec->function,
           why.text);
}

UNUSED static void adds(const char *function, const char *name, unsigned n)
{
    const struct view_spec spec = spec_of(function, name, n);
    adds_spec(&spec);
}

UNUSED static void removes(const char *function, const char *name)
{
    struct ice_why why = {.text = ""};
    is_int(view_remove(views, function, name, false, &why), 0, "%s of %s is removed %s", name,
           function, why.text);
}

UNUSED static void function_stays(const char *name, const char *clause)
{
    struct ice_why why = {.text = ""};
    is_int(host_remove(&host, name, &why), -EBUSY, "%s stays", name);
    is_str(why.text, clause, "in words");
}

UNUSED static void function_goes(const char *name)
{
    struct ice_why why = {.text = ""};
    is_int(host_remove(&host, name, &why), 0, "%s goes %s", name, why.text);
}

UNUSED static unsigned attachments(const char *name)
{
    struct host_function *f = host_find(&host, name);
    unsigned n = function_attachments(f->function);
    host_let_go(&host, f);
    return n;
}

UNUSED static struct byte_file file_of(const char *function, const char *name)
{
    struct view_file view = {.number = 0};
    ok(view_named(views, function, name, &view), "%s of %s has a file", name, function);
    view.file.locks = locks;
    return view.file;
}

UNUSED static bool writes(const struct byte_file *file, uint64_t at, const void *bytes, size_t len)
{
    return byte_file_write(file, at, bytes, len, NULL) == (ssize_t)len;
}

UNUSED static bool reads(const struct byte_file *file, uint64_t at, const void *want, size_t len)
{
    uint8_t *got = malloc(len);
    bool same = byte_file_read(file, at, got, len, NULL) == (ssize_t)len && !memcmp(got, want, len);
    free(got);
    return same;
}

UNUSED static void begin(void)
{
    struct ice_why why;
    alarm(PROGRAM_S); /* who waits for good fails */
    if (cipher_init(&why) || !(key_bytes = secret_alloc(128)) || !(locks = range_lock_new())) {
        printf("Bail out! no cipher library, or no memory\n");
        exit(1);
    }
    for (unsigned i = 0; i < 128; i++)
        key_bytes[i] = (uint8_t)(3 * i + 1);
}

UNUSED static int end(void)
{
    secret_free(key_bytes);
    range_lock_free(locks);
    return tap_done();
}

#endif
