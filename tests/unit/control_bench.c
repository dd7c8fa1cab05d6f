/* SPDX-License-Identifier: BSD-2-Clause */
#include "control_bench.h"
#include "base/json.h"
#include "base/secret.h"
#include "cipher/cipher.h"
#include <stdio.h>
#include <stdlib.h>

static struct host host;
struct control control = {.host = &host};
struct ice_why why;
uint8_t *key;

/* ---- messages ---- */

static void write_pair(struct writer *writer, const struct pair *pair)
{
    write_text(writer, pair->key);
    if (pair->text)
        write_text(writer, pair->text);
    else if (pair->bytes)
        write_bytes(writer, pair->bytes, pair->len);
    else if (pair->is_flag)
        write_bool(writer, pair->number);
    else
        write_uint(writer, pair->number);
}

int run(enum message message, const struct pair *pairs, size_t n, struct document *answer)
{
    static uint8_t map[FRAME_INLINE_MAX];
    struct writer writer = {.next = map, .end = map + sizeof(map)};
    write_map(&writer, n);
    for (size_t i = 0; i < n; i++)
        write_pair(&writer, &pairs[i]);
    struct reader args = {map, writer.next};
    *answer = (struct document){0};
    why = (struct ice_why){.text = ""};
    return control_run(&control, message, &args, answer, &why);
}

const char *said(int err, struct document *answer)
{
    static char *text;
    free(text);
    if (err) {
        document_free(answer);
        text = strdup(why.text);
        return text;
    }
    struct reader reader = {answer->bytes, answer->bytes + answer->len};
    struct json *json = json_new();
    json_from_cbor(json, NULL, &reader);
    text = json_finish(json);
    document_free(answer);
    return text;
}

/* ---- the host ---- */

static void must(int err, const char *what)
{
    if (!err)
        return;
    printf("Bail out! %s: %s\n", what, why.text);
    exit(1);
}

static void add(const char *text)
{
    struct function_spec spec;
    must(function_spec_parse(text, &spec, &why), text);
    must(host_add(&host, &spec, &why), text);
}

void open_host(bool unsafe_monitor)
{
    struct host_params params = {
        .slots = 32, .dialect = &dialect_ice2, .unsafe_monitor = unsafe_monitor, .boot = 1};
    must(cipher_init(&why), "cipher_init");
    uint8_t *secret = secret_alloc(ENGINE_SECRET_BYTES);
    params.secret = secret;
    must(store_open_ram(1 << 20, &params.store, &why), "store");
    must(host_open(&host, &params, &why), "host");
    must(views_open(&host, &control.views, &why), "views");
    add("vm1,slots=0+8,sectors=0+1024");
    add("vm2,slots=8+8,sectors=1024+512,addr=virtual,strict,ro,key-types=raw");
    add("vm3,slots=16+2,sectors=1536+256,dialect=inline,key-types=wrapped");
    add("vm4,slots=0+0,sectors=1792+256");
    secret_free(secret);
    key = secret_alloc(64);
    for (unsigned i = 0; i < 64; i++)
        key[i] = (uint8_t)i;
}

void close_host(void)
{
    secret_free(key);
    views_close(control.views);
    host_close(&host);
}
