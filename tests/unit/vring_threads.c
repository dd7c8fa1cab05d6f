/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A driver and a device on two threads, 32 requests in flight, each asleep when it has nothing to
 * do: no request is lost or handed back twice, no wake-up is missed (the test would hang), and
 * there are fewer notifications than requests.
 */
#include "base/bytes.h"
#include "ring_rig.h"
#include "tap.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEPTH    32u
#define RING     64u
#define REQUESTS 50000u

static struct ring_rig rig;
static int kick, call;
static unsigned kicks, calls;

static void raise_event(int fd)
{
    const uint64_t one = 1;
    if (write(fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort();
}

static void wait_event(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
        abort();
}

/* ---- the device: hands back each request with its length ---- */

static void serve(unsigned *served)
{
    static struct chain chain;
    uint16_t head;
    bool there;

    for (;;) {
        if (vring_next(&rig.ring, &head, &there) || !there)
            return;
        if (vring_chain(&rig.ring, head, &chain))
            abort();
        vring_push(&rig.ring, head, (uint32_t)chain.parts[0].iov_len);
        ++*served;
        if (*served % 8 == 0 && vring_wants_call(&rig.ring)) {
            calls++;
            raise_event(call);
        }
    }
}

static void *device(void *unused)
{
    unsigned served = 0;

    (void)unused;
    while (served < REQUESTS) {
        vring_spare_kick(&rig.ring);
        serve(&served);
        if (vring_wants_call(&rig.ring)) {
            calls++;
            raise_event(call);
        }
        if (served < REQUESTS && !vring_ask_kick(&rig.ring))
            wait_event(kick);
    }
    return NULL;
}

/* ---- the driver ---- */

struct driver {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t seen; /* of used->idx */
    uint32_t sent[DEPTH];
    unsigned done, wrong;
};

static uint16_t load(const uint16_t *word)
{
    return le16toh(__atomic_load_n(word, __ATOMIC_SEQ_CST));
}

static void submit(struct driver *driver, uint16_t head, uint32_t len)
{
    bool wanted;

    driver->sent[head] = len;
    driver->desc[head] = (struct vring_desc){htole64(RIG_DATA), htole32(len), 0, 0};
    uint16_t old = rig.avail_idx;
    __atomic_store_n(&driver->avail->ring[old % RING], htole16(head), __ATOMIC_RELAXED);
    __atomic_store_n(&driver->avail->idx, htole16(++rig.avail_idx), __ATOMIC_SEQ_CST);
    if (rig.ring.event_idx)
        wanted =
            vring_passes(load((uint16_t *)(void *)&driver->used->ring[RING]), rig.avail_idx, old);
    else
        wanted = !(load(&driver->used->flags) & VRING_USED_F_NO_NOTIFY);
    if (wanted) {
        kicks++;
        raise_event(kick);
    }
}

/* Takes what came back; sleeps when nothing did. */
static uint16_t reap(struct driver *driver)
{
    while (load(&driver->used->idx) == driver->seen) {
        __atomic_store_n(&driver->avail->ring[RING], htole16(driver->seen), __ATOMIC_SEQ_CST);
        if (load(&driver->used->idx) == driver->seen)
            wait_event(call);
    }
    const struct vring_used_elem *elem = &driver->used->ring[driver->seen++ % RING];
    uint32_t id = le32toh(__atomic_load_n(&elem->id, __ATOMIC_RELAXED));
    driver->wrong += id >= DEPTH || !driver->sent[id] ||
                     le32toh(__atomic_load_n(&elem->len, __ATOMIC_RELAXED)) != driver->sent[id];
    id %= DEPTH;
    driver->sent[id] = 0;
    driver->done++;
    return (uint16_t)id;
}

static void run(bool event_idx)
{
    struct driver driver = {0};
    pthread_t thread;
    uint32_t len = 1;

    ring_rig_again(&rig, RING);
    rig.ring.event_idx = event_idx;
    kicks = calls = 0;
    /* The device's own mapping: a thread sanitizer knows memory by its address. */
    driver.desc = rig.ring.desc;
    driver.avail = rig.ring.avail;
    driver.used = rig.ring.used;
    pthread_create(&thread, NULL, device, NULL);
    for (uint16_t head = 0; head < DEPTH; head++)
        submit(&driver, head, len++);
    while (driver.done < REQUESTS) {
        uint16_t head = reap(&driver);
        if (driver.done + DEPTH <= REQUESTS)
            submit(&driver, head, len++ % 4096 + 1);
    }
    pthread_join(thread, NULL);
    is_int(driver.wrong, 0, "%u requests come back, each once, as they were", REQUESTS);
    note("%u kicks, %u calls, %s", kicks, calls, event_idx ? "event indices" : "flags");
    ok(kicks < REQUESTS, "kicks are spared");
    ok(calls < REQUESTS, "and calls");
}

int main(void)
{
    ring_rig_start(&rig, RING);
    kick = eventfd(0, EFD_CLOEXEC);
    call = eventfd(0, EFD_CLOEXEC);
    run(false);
    run(true);
    close(kick);
    close(call);
    ring_rig_end(&rig);
    return tap_done();
}
