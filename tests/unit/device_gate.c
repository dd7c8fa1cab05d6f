/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A tagged request that stands at the media: its slot is busy, the driver's buffer no longer
 * matters, and a failure shows nothing.
 */
#include "base/bytes.h"
#include "gate_store.h"
#include "rig.h"
#include "tap.h"
#include <errno.h>
#include <pthread.h>

#define UNITS 8
#define BYTES (UNITS * 512)

static struct rig rig;
static struct gate_store *gate;
static struct ice_attachment *a;
static uint8_t data[BYTES], expected[BYTES], media[BYTES];
static struct answer answer;

static void read_media(uint8_t *to)
{
    struct iovec iov = {to, BYTES};
    rig.store->ops->read(rig.store, 0, &iov, 1, NULL);
}

static void fill(uint8_t seed)
{
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i * 3 + seed);
}

static void *write_data(void *unused)
{
    struct command write = rig_tagged(rig_write(0), 1, 5);

    (void)unused;
    answer = rig_run(a, &write, data, BYTES, NULL, 0);
    return NULL;
}

static void test_busy_and_private(void)
{
    unsigned writes;
    pthread_t thread;

    fill(1);
    write_data(NULL);
    read_media(expected);
    fill(99);
    write_data(NULL);

    fill(1);
    writes = gate_count(gate, GATE_WRITE);
    gate_close(gate, GATE_WRITE);
    pthread_create(&thread, NULL, write_data, NULL);
    ok(gate_wait(gate, GATE_WRITE, 1), "a tagged write stands at the media");
    memset(data, 0xee, BYTES);
    is_int(rig_evict(a, 1).why.err, EBUSY, "its slot is not evicted");
    answer = rig_program(a, 1, "aes-256-xts", 512, 77);
    is_int(answer.why.err, EBUSY, "nor programmed");
    is_str(answer.why.text, "the slot has 1 requests in flight", "why");
    gate_open(gate, GATE_WRITE);
    pthread_join(thread, NULL);
    is_int(answer.status, VIRTIO_BLK_S_OK, "the write ends well");
    is_int((intmax_t)(gate_count(gate, GATE_WRITE) - writes), 1, "it was one write of the media");
    read_media(media);
    is_mem(media, expected, BYTES,
           "whole, encrypted before the driver changed its buffer, under the old key");
}

static void test_failures(void)
{
    struct command read = rig_tagged(rig_read(0), 1, 5);
    uint8_t back[BYTES], untouched[BYTES];

    fill(42);
    gate_fail(gate, GATE_WRITE, 0, EIO);
    write_data(NULL);
    ok(answer.status == VIRTIO_BLK_S_IOERR && answer.why.err == EIO, "the media fails a write");
    read_media(media);
    is_mem(media, expected, BYTES, "it is as it was");
    memset(back, 0x5a, BYTES);
    memset(untouched, 0x5a, BYTES);
    gate_fail(gate, GATE_READ, 0, EIO);
    answer = rig_run(a, &read, NULL, 0, back, BYTES);
    ok(answer.status == VIRTIO_BLK_S_IOERR && answer.written == 1, "the media fails a read");
    is_mem(back, untouched, BYTES, "the data area is untouched");
    is_int(rig_evict(a, 1).status, VIRTIO_BLK_S_OK, "failures leave nothing in flight");
}

int main(void)
{
    struct store *ram;

    if (store_open_ram(64 * 512, &ram, NULL))
        return 1;
    gate = gate_store_new(ram);
    rig_open(&rig, 2, 64, gate_store(gate));
    a = rig_attach(&rig, RIG_ALL);
    rig_program(a, 1, "aes-256-xts", 512, 1);
    test_busy_and_private();
    test_failures();
    attachment_close(a);
    rig_close(&rig);
    return tap_done();
}
