/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Integers are in the byte order of the machine. A process is killed between any two stores: those
 * whose order matters are atomic, with release.
 */
#include "inflight.h"
#include "base/bytes.h"
#include "virtio/ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION    1u
#define PART_ALIGN 64u /* of a queue's part, so that no two share a cache line */

struct inflight_entry {
    uint8_t inflight;
    uint8_t pad[5];
    uint16_t next; /* of the last batch that was handed back */
    uint64_t counter;
};

struct inflight_part {
    uint64_t features; /* none are defined */
    uint16_t version;  /* 0: never used */
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct inflight_entry entries[];
};

/* Behind the last queue. */
struct record {
    uint8_t process[16]; /* random: generations of an engine count within one process */
    uint64_t generation;
};

_Static_assert(offsetof(struct inflight_part, used_idx) == 14, "used_idx");
_Static_assert(sizeof(struct inflight_part) == 16, "inflight_part");
_Static_assert(offsetof(struct inflight_entry, next) == 6, "next");
_Static_assert(offsetof(struct inflight_entry, counter) == 8, "counter");
_Static_assert(sizeof(struct inflight_entry) == 16, "inflight_entry");
_Static_assert(sizeof(struct record) <= PART_ALIGN, "record");

static size_t part_bytes(unsigned size)
{
    size_t bytes = sizeof(struct inflight_part) + size * sizeof(struct inflight_entry);
    return (bytes + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
}

static size_t log_bytes(unsigned queues, unsigned size)
{
    return queues * part_bytes(size) + PART_ALIGN;
}

static bool sizes_fit(unsigned queues, unsigned size)
{
    return queues && is_power_of_two(size) && size <= VRING_SIZE_LIMIT;
}

/* ---- the shared memory ---- */

int inflight_make(unsigned queues, unsigned size, struct vhost_user_inflight *reply, int *fd)
{
    if (queues > UINT16_MAX || !sizes_fit(queues, size))
        return -EINVAL;

    size_t bytes = log_bytes(queues, size);
    int made = memfd_create("icesim-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made < 0)
        return -errno;
    if (ftruncate(made, (off_t)bytes) ||
        fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        int err = errno;
        close(made);
        return -err;
    }
    *reply = (struct vhost_user_inflight){
        .mmap_size = bytes,
        .num_queues = (uint16_t)queues,
        .queue_size = (uint16_t)size,
    };
    *fd = made;
    return 0;
}

enum vhost_user_refusal inflight_map(struct inflight *log, const struct vhost_user_inflight *at,
                                     int fd)
{
    struct stat file;

    *log = (struct inflight){0};
    if (!sizes_fit(at->num_queues, at->queue_size) || at->mmap_offset % PART_ALIGN ||
        at->mmap_size < log_bytes(at->num_queues, at->queue_size) ||
        at->mmap_offset + at->mmap_size < at->mmap_size)
        return REFUSAL_INFLIGHT_SIZE;
    uint64_t bytes = at->mmap_offset + at->mmap_size;
    if (fstat(fd, &file) || file.st_size < 0 || (uint64_t)file.st_size < bytes)
        return REFUSAL_INFLIGHT_FILE;
    void *map = bytes <= SIZE_MAX / 2
                    ? mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                    : MAP_FAILED;
    if (map == MAP_FAILED)
        return REFUSAL_INFLIGHT_MAP;
    *log = (struct inflight){
        .map = map,
        .map_bytes = (size_t)bytes,
        .bytes = (uint8_t *)map + at->mmap_offset,
        .queues = at->num_queues,
        .size = at->queue_size,
    };
    return REFUSAL_NONE;
}

void inflight_unmap(struct inflight *log)
{
    if (log->map)
        munmap(log->map, log->map_bytes);
    *log = (struct inflight){0};
}

/* ---- a queue's part ---- */

enum vhost_user_refusal inflight_open(const struct inflight *log, unsigned index, unsigned size,
                                      struct inflight_queue *queue)
{
    *queue = (struct inflight_queue){.size = size};
    if (!log->map)
        return REFUSAL_NONE;
    if (index >= log->queues || size > log->size)
        return REFUSAL_INFLIGHT_QUEUE;

    struct inflight_part *part = (void *)(log->bytes + index * part_bytes(log->size));
    if (part->version && (part->version != VERSION || part->desc_num != log->size))
        return REFUSAL_INFLIGHT_LAYOUT;
    part->desc_num = (uint16_t)log->size;
    queue->part = part;
    return REFUSAL_NONE;
}

static uint64_t counter_of(const struct inflight_part *part, uint16_t head)
{
    return __atomic_load_n(&part->entries[head].counter, __ATOMIC_RELAXED);
}

static void set_inflight(struct inflight_part *part, uint16_t head, uint8_t value)
{
    __atomic_store_n(&part->entries[head].inflight, value, __ATOMIC_RELEASE);
}

/* The last batch may have reached the used ring without being forgotten here. */
static void forget_batch(struct inflight_queue *queue, uint16_t used_idx)
{
    struct inflight_part *part = queue->part;
    uint16_t batch = (uint16_t)(used_idx - part->used_idx);
    uint16_t head = part->last_batch_head;

    for (unsigned n = 0; n < batch && n < queue->size && head < queue->size; n++) {
        set_inflight(part, head, 0);
        head = part->entries[head].next;
    }
    __atomic_store_n(&part->used_idx, used_idx, __ATOMIC_RELEASE);
}

/* Lets heads[at] sink to its place in the heap of `n`, whose greatest counter is on top. */
static void sink(const struct inflight_part *part, uint16_t *heads, unsigned at, unsigned n)
{
    for (;;) {
        unsigned child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && counter_of(part, heads[child]) < counter_of(part, heads[child + 1]))
            child++;
        if (counter_of(part, heads[child]) <= counter_of(part, heads[at]))
            return;
        uint16_t head = heads[at];
        heads[at] = heads[child];
        heads[child] = head;
        at = child;
    }
}

/* By counter. A heap sort: in place, and at worst in the wrong order if the counters change. */
static void sort(const struct inflight_part *part, uint16_t *heads, unsigned n)
{
    for (unsigned at = n / 2; at-- > 0;)
        sink(part, heads, at, n);
    while (n > 1) {
        uint16_t greatest = heads[0];
        heads[0] = heads[--n];
        heads[n] = greatest;
        sink(part, heads, 0, n);
    }
}

unsigned inflight_recover(struct inflight_queue *queue, uint16_t used_idx, uint16_t *heads)
{
    struct inflight_part *part = queue->part;
    unsigned n = 0;

    if (!part)
        return 0;
    if (!part->version) {
        part->used_idx = used_idx;
        __atomic_store_n(&part->version, (uint16_t)VERSION, __ATOMIC_RELEASE);
        return 0;
    }
    if (used_idx != part->used_idx)
        forget_batch(queue, used_idx);
    for (unsigned head = 0; head < queue->size; head++)
        if (part->entries[head].inflight)
            heads[n++] = (uint16_t)head;
    sort(part, heads, n);
    if (n)
        queue->counter = counter_of(part, heads[n - 1]);
    return n;
}

void inflight_begin(struct inflight_queue *queue, uint16_t head)
{
    if (!queue->part)
        return;
    __atomic_store_n(&queue->part->entries[head].counter, ++queue->counter, __ATOMIC_RELAXED);
    set_inflight(queue->part, head, 1);
}

void inflight_forget(struct inflight_queue *queue, uint16_t head)
{
    if (queue->part)
        set_inflight(queue->part, head, 0);
}

void inflight_ending(struct inflight_queue *queue, uint16_t head)
{
    struct inflight_part *part = queue->part;

    if (!part)
        return;
    part->entries[head].next = part->last_batch_head;
    __atomic_store_n(&part->last_batch_head, head, __ATOMIC_RELEASE);
}

void inflight_ended(struct inflight_queue *queue, uint16_t head, uint16_t used_idx)
{
    if (!queue->part)
        return;
    set_inflight(queue->part, head, 0);
    __atomic_store_n(&queue->part->used_idx, used_idx, __ATOMIC_RELEASE);
}

/* ---- the engine's generation ---- */

static uint8_t this_process[16];

static void name_process(void)
{
    ssize_t got = getrandom(this_process, sizeof(this_process), 0);
    assert(got == (ssize_t)sizeof(this_process)); /* never cut short below 256 bytes */
    (void)got;
}

static struct record *record_of(const struct inflight *log)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, name_process);
    return (void *)(log->bytes + log->queues * part_bytes(log->size));
}

static bool is_ours(const struct record *record)
{
    return !memcmp(record->process, this_process, sizeof(this_process));
}

uint64_t inflight_generation(const struct inflight *log)
{
    if (!log->map)
        return 0;
    const struct record *record = record_of(log);
    return is_ours(record) ? __atomic_load_n(&record->generation, __ATOMIC_RELAXED) : 0;
}

void inflight_note_generation(const struct inflight *log, uint64_t generation)
{
    if (!log->map || inflight_generation(log) == generation)
        return;
    struct record *record = record_of(log);
    if (!is_ours(record)) {
        __atomic_store_n(&record->generation, 0, __ATOMIC_RELEASE); /* none, until it is whole */
        memcpy(record->process, this_process, sizeof(this_process));
    }
    __atomic_store_n(&record->generation, generation, __ATOMIC_RELEASE);
}
