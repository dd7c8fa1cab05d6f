/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The native disk and what happens to its slots: others program them, keys are evicted while
 * requests run, the engine, the function and the driver are reset.
 */
#include "base/bytes.h"
#include "blkcrypto/native_private.h"
#include "gate_store.h"
#include "native_bench.h"
#include "patience.h"
#include "tap.h"
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define SECTORS 256u
#define UNIT    512u
#define KEYS    3

static struct native_bench bench;
static struct gate_store *gate;
static struct ice_attachment *driver; /* another one */
static struct bench_key key[KEYS];
static uint8_t data[UNIT], back[UNIT];
static const struct dun zero;

static void open_bench(unsigned slots, struct function_params params)
{
    struct store *ram;

    store_open_ram(SECTORS * 512, &ram, NULL);
    gate = gate_store_new(ram);
    native_bench_open(&bench, slots, SECTORS, gate_store(gate), params);
    driver = rig_attach(&bench.rig, RIG_ALL);
    for (unsigned i = 0; i < KEYS; i++)
        bench_key_open(&bench, &key[i], "aes-256-xts", UNIT, (uint8_t)(1 + i));
}

/* The disk may be programming keys yet, after a reset. */
static void close_bench(void)
{
    for (unsigned i = 0; i < KEYS; i++) {
        int r;
        soon((r = bench_key_close(&bench, &key[i])) != -EBUSY);
        is_int(r, 0, "key %u is evicted", i);
    }
    attachment_close(driver);
    native_bench_close(&bench);
}

static void writes(unsigned i, const char *name)
{
    struct ice_why why = {.text = ""};

    is_int(bench_write(&bench, &key[i], i * UNIT, zero, data, UNIT, &why), 0, "%s %s", name,
           why.text);
}

static void reads(unsigned i, const char *name)
{
    struct ice_why why = {.text = ""};

    memset(back, 0, sizeof(back));
    is_int(bench_read(&bench, &key[i], i * UNIT, zero, back, UNIT, &why), 0, "%s %s", name,
           why.text);
    is_mem(back, data, UNIT, "what was written");
}

/* A read that runs by itself. */
struct reader {
    pthread_t thread;
    unsigned key;
    int result;
    uint8_t bytes[UNIT];
};

static void *run_reader(void *arg)
{
    struct reader *reader = arg;

    reader->result =
        bench_read(&bench, &key[reader->key], reader->key * UNIT, zero, reader->bytes, UNIT, NULL);
    return NULL;
}

static void start(struct reader *reader, unsigned i)
{
    *reader = (struct reader){.key = i};
    pthread_create(&reader->thread, NULL, run_reader, reader);
}

static void end(struct reader *reader, const char *name)
{
    pthread_join(reader->thread, NULL);
    is_int(reader->result, 0, "%s", name);
    is_mem(reader->bytes, data, UNIT, "with what was written");
}

static void moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 30 * 1000 * 1000}, NULL);
}

/* ---- slots of others ---- */

static struct slot_info slot_info(unsigned slot)
{
    struct slot_info info;

    engine_slot_info(bench.rig.engine, slot, &info);
    return info;
}

static void test_direct_slot(void)
{
    struct profile_slot_info info;
    struct answer answer;
    uint32_t wire;

    open_bench(3, (struct function_params){.first_slot = 1});
    is_int(rig_program(driver, 1, "aes-128-xts", 4096, 99).status, 0, "slot 1 is direct");
    for (unsigned i = 0; i < KEYS; i++)
        writes(i, "a key by slot 2");
    is_int(slot_info(1).data_unit, 4096, "slot 1 was not taken");
    ok(native_slot(bench.disk, 0, &wire, &info) && wire == 1 && !info.offered, "it is given up");
    ok(native_slot(bench.disk, 1, &wire, &info) && wire == 2 && info.key == &key[2].key,
       "slot 2 has the last key");
    ok(!native_slot(bench.disk, 2, &wire, &info), "there is no third slot");
    answer = rig_program(driver, 2, "aes-128-xts", 4096, 99);
    is_int(answer.why.err, EBUSY, "nobody else can have slot 2");
    ok(strstr(answer.why.text, "the views of vm0") != NULL, "%s", answer.why.text);

    is_int(rig_evict(driver, 1).status, 0, "slot 1 is empty");
    writes(0, "the next miss looks");
    writes(1, "and both are used");
    is_int(bench_slots_used(&bench), 2, "at once");
    close_bench();
}

static void finds_no_slot(unsigned i)
{
    struct ice_why why = {.text = ""};

    is_int(bench_read(&bench, &key[i], 0, zero, back, UNIT, &why), -EBUSY, "no slot is left");
    is_str(why.text, "somebody has programmed every slot directly", "in words");
}

/* The first request finds out, those that come then know. */
static void test_no_slot_left(void)
{
    open_bench(2, (struct function_params){.slots = 2});
    rig_program(driver, 0, "aes-128-xts", 4096, 98);
    rig_program(driver, 1, "aes-128-xts", 4096, 99);
    finds_no_slot(0);
    finds_no_slot(1);
    is_int(rig_evict(driver, 0).status, 0, "slot 0 becomes empty");
    writes(0, "and is used");
    rig_evict(driver, 1);
    close_bench();
}

/* The same after a request has lost its slot, and all are somebody else's by then. */
static void test_all_slots_lost(void)
{
    open_bench(2, (struct function_params){.slots = 2});
    writes(0, "a key");
    function_reset(bench.rig.function);
    rig_program(driver, 0, "aes-256-xts", UNIT, 98);
    rig_program(driver, 1, "aes-256-xts", UNIT, 99);
    finds_no_slot(0);
    is_int((intmax_t)bench_counts(&bench, &key[0]).programs, 1, "the slots are not taken");
    is_int(rig_evict(driver, 1).status, 0, "slot 1 becomes empty");
    reads(0, "and is used");
    close_bench();
}

/* Before the end nobody waits for a slot, though the request that has it goes on. */
static void test_cut_off(struct function_params params)
{
    struct reader slow, waiting;

    open_bench(1, params);
    writes(0, "key 0");
    gate_close(gate, GATE_READ);
    start(&slow, 0);
    ok(gate_wait(gate, GATE_READ, 1), "a slow request has the slot");
    start(&waiting, 1);
    ok(params.keys_inline ? gate_wait(gate, GATE_READ, 2)
                          : soon(bench_counts(&bench, &key[1]).waits == 1),
       "another waits");
    native_cut_off(bench.disk);
    if (!params.keys_inline) {
        pthread_join(waiting.thread, NULL);
        is_int(waiting.result, -ECANCELED, "it is cut off");
    }
    is_int(bench_read(&bench, &key[0], 0, zero, back, UNIT, NULL), -ECANCELED, "as is who comes");
    gate_open(gate, GATE_READ);
    end(&slow, "what runs goes on");
    if (params.keys_inline)
        pthread_join(waiting.thread, NULL);
    close_bench();
}

/* While one request keeps the only slot, another waits, and a slot of somebody else is emptied. */
static void test_slot_becomes_empty(void)
{
    struct reader slow, waiting;

    open_bench(2, (struct function_params){.slots = 2});
    writes(0, "key 0");
    writes(1, "key 1");
    is_int(bench.disk->ops->key_evict(bench.disk, key[0].opened, NULL), 0, "evict");
    is_int(bench.disk->ops->key_evict(bench.disk, key[1].opened, NULL), 0, "evict");
    rig_program(driver, 0, "aes-128-xts", 4096, 99);
    gate_close(gate, GATE_READ);
    start(&slow, 1);
    ok(gate_wait(gate, GATE_READ, 1), "a slow request on slot 1");
    start(&waiting, 0);
    ok(soon(bench_counts(&bench, &key[0]).waits == 2), "another waits");
    rig_evict(driver, 0);
    ok(gate_wait(gate, GATE_READ, 2), "it has slot 0 as soon as that is empty");
    gate_open(gate, GATE_READ);
    end(&slow, "the slow one");
    end(&waiting, "the other");
    close_bench();
}

/* ---- eviction ---- */

static void test_evict_in_flight(struct function_params params)
{
    struct reader reader;
    struct ice_why why = {.text = ""};

    open_bench(2, params);
    writes(0, "a key");
    gate_close(gate, GATE_READ);
    start(&reader, 0);
    ok(gate_wait(gate, GATE_READ, 1), "a request in flight");
    is_int(bench.disk->ops->key_evict(bench.disk, key[0].opened, &why), -EBUSY, "evict: %s",
           why.text);
    gate_open(gate, GATE_READ);
    end(&reader, "the request ends");
    reads(0, "the key still works");
    is_int(bench.disk->ops->key_evict(bench.disk, key[0].opened, &why), 0, "then it is evicted");
    is_int(bench_slots_used(&bench), 0, "and in no slot");
    reads(0, "another use programs it anew");
    close_bench();
}

/* The device knows keys that come along by their bytes: those of another that is in use stay. */
static void test_evict_twin(void)
{
    struct bench_key twin;
    struct reader reader;

    open_bench(2, (struct function_params){.keys_inline = true});
    bench_key_open(&bench, &twin, "aes-256-xts", UNIT, 1);
    writes(0, "a key");
    is_int(bench_read(&bench, &twin, 0, zero, back, UNIT, NULL), 0, "another of the same bytes");
    is_mem(back, data, UNIT, "reads the same");
    gate_close(gate, GATE_READ);
    start(&reader, 0);
    ok(gate_wait(gate, GATE_READ, 1), "a request with the first");
    is_int(bench_key_close(&bench, &twin), 0, "does not keep the other");
    gate_open(gate, GATE_READ);
    end(&reader, "the request ends");
    close_bench();
}

/* ---- resets ---- */

static void check_all(const char *name)
{
    for (unsigned i = 0; i < KEYS; i++)
        reads(i, name);
}

static void test_resets(struct function_params params)
{
    open_bench(4, params);
    for (unsigned i = 0; i < KEYS; i++)
        writes(i, "a key");
    native_bench_reset(&bench);
    check_all("after an engine reset");
    native_bench_reset(&bench);
    native_bench_reset(&bench);
    check_all("after two");
    function_reset(bench.rig.function);
    check_all("after a function reset");
    function_reset_attachments(bench.rig.function);
    check_all("after a device reset");
    is_int(bench.disk->ops->flush(bench.disk, NULL), 0, "flush");
    function_reset_attachments(bench.rig.function);
    is_int(bench.disk->ops->flush(bench.disk, NULL), 0, "the first one after a device reset");
    native_bench_reset(&bench);
    function_reset_attachments(bench.rig.function);
    function_reset(bench.rig.function);
    check_all("after all of them");
    close_bench();
}

/* A slot that a reset emptied, and that somebody else has programmed before the disk found out. */
static void test_slot_taken_after_reset(void)
{
    open_bench(2, (struct function_params){.slots = 2});
    writes(0, "key 0");
    writes(1, "key 1");
    function_reset(bench.rig.function);
    is_int(rig_program(driver, 0, "aes-256-xts", UNIT, 99).status, 0, "slot 0 is another's");
    reads(0, "key 0");
    reads(1, "key 1");
    function_reset(bench.rig.function);
    is_int(rig_program(driver, 1, "aes-256-xts", UNIT, 99).status, 0, "now slot 1");
    is_int(bench.disk->ops->key_evict(bench.disk, key[1].opened, NULL), 0, "an evict");
    ok(slot_info(1).programmed, "leaves it alone");
    reads(0, "key 0");
    reads(1, "key 1");
    ok(slot_info(1).programmed && !slot_info(1).claimer, "it still is another's");
    rig_evict(driver, 1);
    close_bench();
}

/* Nobody calls any more but the request that was refused before the news came. */
static void test_refused_before_news(void)
{
    struct reader reader;
    uint64_t generation;

    open_bench(1, (struct function_params){.slots = 1});
    writes(0, "a key");
    generation = engine_reset(bench.rig.engine);
    start(&reader, 0);
    moment();
    function_announce_generation(bench.rig.function, generation);
    end(&reader, "it is repeated after the news");
    is_int((intmax_t)bench_counts(&bench, &key[0]).programs, 2, "programmed once more");
    close_bench();
}

/* ---- errors ---- */

static void test_errors(void)
{
    struct bench_key weak;
    struct ice_why why = {.text = ""};
    uint8_t zeros[64] = {0};
    const struct crypto_config config = {algorithm_by_name("aes-256-xts"), UNIT, 8,
                                         ICE_KEY_TYPE_RAW};

    open_bench(2, (struct function_params){.slots = 2});
    crypto_key_init(&weak.key, &config, zeros, sizeof(zeros), NULL);
    is_int(bench.disk->ops->key_open(bench.disk, &weak.key, &weak.opened, &why), 0, "a weak key");
    is_int(bench_write(&bench, &weak, 0, zero, data, UNIT, &why), -EINVAL, "cannot be programmed");
    ok(strstr(why.text, "halves") != NULL, "for the device's reason: %s", why.text);
    is_int(bench_key_close(&bench, &weak), 0, "evict");
    writes(0, "another key can");
    gate_fail(gate, GATE_READ, 0, EIO);
    is_int(bench_read(&bench, &key[0], 0, zero, back, UNIT, &why), -EIO, "a failed read: %s",
           why.text);
    is_int(bench_read(&bench, &key[0], SECTORS * 512, zero, back, UNIT, &why), -EIO,
           "past the end: %s", why.text);
    close_bench();
}

int main(void)
{
    alarm(PROGRAM_S); /* who sleeps for good fails */
    memset(data, 0x5a, sizeof(data));
    test_direct_slot();
    test_no_slot_left();
    test_all_slots_lost();
    test_cut_off((struct function_params){.slots = 1});
    test_cut_off((struct function_params){.keys_inline = true});
    test_slot_becomes_empty();
    test_evict_in_flight((struct function_params){.slots = 2});
    test_evict_in_flight((struct function_params){.dialect = &dialect_inline});
    test_evict_in_flight((struct function_params){.keys_inline = true});
    test_evict_twin();
    test_resets((struct function_params){.dialect = &dialect_ice1});
    test_resets((struct function_params){.dialect = &dialect_ice2, .keep_on_reset = true});
    test_resets((struct function_params){.dialect = &dialect_inline, .strict = true});
    test_resets((struct function_params){.keys_inline = true});
    test_slot_taken_after_reset();
    test_refused_before_news();
    test_errors();
    return tap_done();
}
