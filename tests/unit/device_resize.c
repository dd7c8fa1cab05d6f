/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The capacity changes while requests run: those that are past a new end are refused at once, and
 * who changes it waits for those that were let in before, and for no others.
 */
#include "base/bytes.h"
#include "gate_store.h"
#include "rig.h"
#include "tap.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define SECTORS 64u
#define LESS    32u

static struct rig rig;
static struct gate_store *gate;
static uint8_t data[8 * 512];

static int write_at(struct ice_attachment *a, uint64_t sector, struct ice_why *why)
{
    struct command write = rig_write(sector);
    struct answer answer = rig_run(a, &write, data, sizeof(data), NULL, 0);

    if (why)
        *why = answer.why;
    return answer.status;
}

/* ---- the end ---- */

static atomic_uint events[3];

static void on_event(void *user, enum attachment_event event, uint64_t value)
{
    (void)user, (void)value;
    atomic_fetch_add(&events[event], 1);
}

static void test_end(void)
{
    static const struct attachment_ops ops = {.event = on_event};
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL), *deaf = rig_attach(&rig, RIG_ALL), *told;
    struct virtio_blk_segment segment = {.sector = htole64(LESS - 1), .num_sectors = htole32(2)};
    struct command discard = {.kind = COMMAND_DISCARD};
    struct answer answer;
    struct ice_why why;

    attachment_open(rig.function, &ops, NULL, &told, NULL);
    is_int(write_at(a, SECTORS - 8, NULL), VIRTIO_BLK_S_OK, "a write up to the end");
    function_set_sectors(rig.function, LESS);
    is_int((intmax_t)function_sectors(rig.function), LESS, "another capacity");
    is_int((intmax_t)rig_config(a).capacity, LESS, "is in the configuration space");
    is_int(write_at(a, LESS - 7, &why), VIRTIO_BLK_S_IOERR, "a write past the new end");
    is_str(why.text, "sector 25 + 8 is past the end of vm0 (32 sectors)", "says which it is");
    is_int(write_at(a, LESS - 8, NULL), VIRTIO_BLK_S_OK, "one up to it is done");
    answer = rig_run(a, &discard, &segment, sizeof(segment), NULL, 0);
    is_int(answer.status, VIRTIO_BLK_S_IOERR, "a range past it");
    is_str(answer.why.text, "sector 31 + 2 is past the end of vm0 (32 sectors)", "the same");
    is_int((intmax_t)atomic_load(&events[EVENT_CONFIG_CHANGED]), 0, "nobody is told yet");
    function_announce_config(rig.function);
    ok(events[EVENT_CONFIG_CHANGED] == 1 && !events[EVENT_DEVICE_RESET] &&
           !events[EVENT_ENGINE_GENERATION],
       "now who listens is, once");
    function_set_sectors(rig.function, SECTORS);
    is_int(write_at(a, SECTORS - 8, NULL), VIRTIO_BLK_S_OK, "back at the old end");
    attachment_close(told);
    attachment_close(deaf);
    attachment_close(a);
}

/* ---- requests in flight ---- */

static atomic_int written; /* the status; -1: not yet */
static atomic_bool is_set, closed;

static void *write_to_the_end(void *user)
{
    atomic_store(&written, write_at(user, SECTORS - 8, NULL));
    return NULL;
}

static void *set_less(void *user)
{
    (void)user;
    function_set_sectors(rig.function, LESS);
    atomic_store(&is_set, true);
    return NULL;
}

static void *close_it(void *user)
{
    attachment_close(user);
    atomic_store(&closed, true);
    return NULL;
}

/* Lets threads that should wait show that they do not. */
static void linger(void)
{
    usleep(20000);
}

static void start_write_and_change(struct ice_attachment *a, pthread_t threads[2])
{
    atomic_store(&written, -1);
    atomic_store(&is_set, false);
    gate_close(gate, GATE_WRITE);
    pthread_create(&threads[0], NULL, write_to_the_end, a);
    ok(gate_wait(gate, GATE_WRITE, 1), "a write to the last sectors stands at the media");
    pthread_create(&threads[1], NULL, set_less, NULL);
    while (function_sectors(rig.function) != LESS)
        usleep(100);
}

static void end_write_and_change(pthread_t threads[2])
{
    linger();
    ok(!atomic_load(&is_set), "who changes the capacity waits for the write");
    gate_open(gate, GATE_WRITE);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    is_int(atomic_load(&written), VIRTIO_BLK_S_OK, "which is done");
    function_set_sectors(rig.function, SECTORS);
}

static void test_in_flight(void)
{
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL), *other = rig_attach(&rig, RIG_ALL);
    struct command read = rig_read(0);
    uint8_t back[512];
    pthread_t threads[2];

    start_write_and_change(a, threads);
    is_int(write_at(a, SECTORS - 8, NULL), VIRTIO_BLK_S_IOERR, "one that comes now is refused");
    ok(!rig_run(a, &read, NULL, 0, back, 512).status &&
           !rig_run(other, &read, NULL, 0, back, 512).status,
       "others go on, on this attachment and on another");
    end_write_and_change(threads);
    attachment_close(a);
    attachment_close(other);
}

/* An attachment that is being closed counts until its requests are done. */
static void test_closing(void)
{
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL);
    pthread_t closer, threads[2];

    atomic_store(&written, -1);
    gate_close(gate, GATE_WRITE);
    pthread_create(&threads[0], NULL, write_to_the_end, a);
    gate_wait(gate, GATE_WRITE, 1);
    pthread_create(&closer, NULL, close_it, a);
    linger();
    atomic_store(&is_set, false);
    pthread_create(&threads[1], NULL, set_less, NULL);
    while (function_sectors(rig.function) != LESS)
        usleep(100);
    ok(!atomic_load(&closed), "a close waits for its write");
    end_write_and_change(threads);
    pthread_join(closer, NULL);
    is_int(function_attachments(rig.function), 0, "then it is closed");
}

/* ---- load ---- */

#define WRITERS 3u
#define CHANGES 300u

static atomic_bool stop;
static atomic_uint_fast64_t limit; /* what no write may reach past by now */
static atomic_uint strays;

/* The media of test_load: notes writes past the limit. */
static int watched_write(struct store *store, uint64_t offset, struct iovec *iov, unsigned n,
                         struct ice_why *why)
{
    (void)store, (void)iov, (void)n, (void)why;
    for (unsigned look = 0; look < 3; look++)
        if (offset / 512 + 8 > atomic_load(&limit))
            atomic_fetch_add(&strays, 1);
    return 0;
}

static void no_close(struct store *store)
{
    (void)store;
}

static void *write_on_and_on(void *user)
{
    struct ice_attachment *a = user;

    while (!atomic_load(&stop))
        write_at(a, SECTORS - 8, NULL);
    return NULL;
}

/* Requests come without end, so that an attachment is hardly ever idle. */
static void test_load(void)
{
    static const struct store_ops ops = {.write = watched_write, .close = no_close};
    static struct store watched = {.ops = &ops, .size = (uint64_t)SECTORS * 512};
    struct ice_attachment *a;
    pthread_t threads[WRITERS];

    rig_open(&rig, 2, SECTORS, &watched);
    a = rig_attach(&rig, RIG_ALL);
    atomic_store(&limit, SECTORS);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_on_and_on, a);
    for (unsigned i = 0; i < CHANGES; i++) {
        function_set_sectors(rig.function, LESS);
        atomic_store(&limit, LESS);
        atomic_store(&limit, SECTORS);
        function_set_sectors(rig.function, SECTORS);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    is_int((intmax_t)atomic_load(&strays), 0, "%u changes under load let no write past", CHANGES);
    attachment_close(a);
    rig_close(&rig);
}

int main(void)
{
    struct store *ram;

    if (store_open_ram(SECTORS * 512, &ram, NULL))
        return 1;
    gate = gate_store_new(ram);
    rig_open(&rig, 2, SECTORS, gate_store(gate));
    test_end();
    test_in_flight();
    test_closing();
    rig_close(&rig);
    test_load();
    return tap_done();
}
