/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What it costs that nobody names a slot: in the profile alone, whose operations end at once, and
 * in the native disk, which reads 4 KiB through a whole device from a store that does nothing.
 *
 *   profile SIDE THREADS SECONDS
 *
 *   get          a slot's reference, taken and given back in the engine
 *   hit, miss    the same by the profile, where the key is in a slot, and where it is in none
 *   lock         one mutex of all threads, taken and given back
 *   request      a read that names a slot
 *   program      KEY_PROGRAM, and a read through that slot: what a driver without a profile does
 *   native-hit, native-miss   a read that names a key
 *
 * Where a miss is wanted all threads share one slot and each uses two keys in turn; else each has
 * a key and a slot of its own. Prints how often per second.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "blkcrypto/profile_wait.h"
#include "clock.h"
#include "icesim/inproc.h"
#include "null_store.h"
#include "rig.h"
#include <pthread.h>
#include <string.h>

#define REQUEST     4096u
#define BATCH       64 /* steps between looks at the clock */
#define THREADS_MAX 16u
#define KEY         64u

struct worker {
    struct bench *bench;
    unsigned number;
    pthread_t thread;
    uint64_t steps;
    uint8_t data[REQUEST];
    struct crypto_key keys[2];
    struct profile_key *profile_keys[2];
    struct disk_key *disk_keys[2];
};

struct bench {
    const struct side *side;
    unsigned threads;
    double seconds;
    pthread_mutex_t lock;
    struct rig rig;
    struct ice_attachment *attachment;
    struct profile *profile;
    struct inproc *inproc;
    struct disk *disk;
    struct worker workers[THREADS_MAX];
};

struct side {
    const char *name;
    void (*open)(struct bench *bench);
    void (*step)(struct worker *worker, uint64_t n);
    bool misses;
};

__attribute__((noreturn)) static void fail(const char *what, const struct ice_why *why)
{
    fprintf(stderr, "profile: %s failed%s%s\n", what, why ? ": " : "", why ? why->text : "");
    exit(1);
}

/* The key bytes first, first + 1, … as rig_program has them. */
static uint8_t first_byte(const struct worker *worker, unsigned which)
{
    return (uint8_t)(2 * worker->number + which);
}

static void make_keys(struct bench *bench)
{
    const struct crypto_config config = {.algorithm = algorithm_by_name("aes-256-xts"),
                                         .data_unit = REQUEST,
                                         .dun_bytes = 8,
                                         .key_type = ICE_KEY_TYPE_RAW};
    struct ice_why why;

    for (unsigned i = 0; i < bench->threads; i++) {
        for (unsigned which = 0; which < 2; which++) {
            struct worker *worker = &bench->workers[i];
            uint8_t bytes[KEY];

            for (unsigned at = 0; at < KEY; at++)
                bytes[at] = (uint8_t)(first_byte(worker, which) + at);
            if (crypto_key_init(&worker->keys[which], &config, bytes, KEY, &why))
                fail("a key", &why);
        }
    }
}

/* ---- a slot's reference ---- */

static void open_device(struct bench *bench)
{
    bench->attachment = rig_attach(&bench->rig, RIG_ALL);
    for (unsigned i = 0; i < bench->threads; i++)
        if (rig_program(bench->attachment, i, "aes-256-xts", REQUEST,
                        first_byte(&bench->workers[i], 0))
                .status != VIRTIO_BLK_S_OK)
            fail("KEY_PROGRAM", NULL);
}

static void step_get(struct worker *worker, uint64_t n)
{
    struct engine *engine = worker->bench->rig.engine;

    (void)n;
    if (engine_get(engine, worker->number, EXPECT_ANY, NULL))
        fail("engine_get", NULL);
    engine_put(engine, worker->number);
}

/* ---- the profile alone ---- */

static void program_at_once(void *user, uint32_t slot, const struct crypto_key *key,
                            struct profile_call *call)
{
    (void)user;
    (void)slot;
    (void)key;
    profile_call_done(call, 0);
}

static void acknowledge_at_once(void *user, struct profile_call *call)
{
    (void)user;
    profile_call_done(call, 0);
}

static const struct profile_ops at_once = {
    .program = program_at_once,
    .evict = program_at_once,
    .acknowledge = acknowledge_at_once,
};

static void open_profile(struct bench *bench)
{
    struct crypto_caps caps = {.dun_bytes = 8, .key_types = ICE_KEY_TYPE_RAW};
    unsigned slots = bench->side->misses ? 1 : bench->threads;
    struct ice_why why;

    for (unsigned i = 0; i < ALGORITHM_COUNT; i++)
        caps.units[i] = REQUEST;
    bench->profile = profile_new(&at_once, NULL, slots, &caps);
    if (!bench->profile)
        fail("profile_new", NULL);
    for (unsigned i = 0; i < slots; i++)
        profile_offer(bench->profile, i);
    for (unsigned i = 0; i < bench->threads; i++)
        for (unsigned which = 0; which < 2; which++)
            if (profile_key_open(bench->profile, &bench->workers[i].keys[which],
                                 &bench->workers[i].profile_keys[which], &why))
                fail("profile_key_open", &why);
}

static void step_profile(struct worker *worker, uint64_t n)
{
    struct profile_hold hold;

    if (profile_hold(worker->profile_keys[worker->bench->side->misses ? n % 2 : 0], &hold))
        fail("profile_hold", NULL);
    profile_put(&hold.ref);
}

/* ---- a lock ---- */

static void open_lock(struct bench *bench)
{
    pthread_mutex_init(&bench->lock, NULL);
}

static void step_lock(struct worker *worker, uint64_t n)
{
    (void)n;
    pthread_mutex_lock(&worker->bench->lock);
    pthread_mutex_unlock(&worker->bench->lock);
}

/* ---- a whole device ---- */

static void request_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    (void)request;
    if (!written || why)
        fail("a request", why);
}

static void step_request(struct worker *worker, uint64_t n)
{
    struct ice_attachment *attachment = worker->bench->attachment;
    struct command command = rig_tagged(rig_read(0), worker->number, n);
    uint8_t head[DIALECT_HEAD_MAX], status;
    struct iovec readable[1] = {{head, 0}};
    struct iovec writable[2] = {{worker->data, REQUEST}, {&status, 1}};
    struct ice_request request = {
        .readable = readable,
        .nreadable = 1,
        .writable = writable,
        .nwritable = 2,
        .expect = EXPECT_ANY,
        .done = request_done,
    };

    readable[0].iov_len = dialect_ice2.build(attachment_features(attachment), &command, head);
    device_submit(attachment, &request);
}

static void step_program(struct worker *worker, uint64_t n)
{
    if (rig_program(worker->bench->attachment, worker->number, "aes-256-xts", REQUEST,
                    first_byte(worker, n % 2))
            .status != VIRTIO_BLK_S_OK)
        fail("KEY_PROGRAM", NULL);
    step_request(worker, n);
}

/* ---- the native disk ---- */

static void open_native(struct bench *bench)
{
    struct ice_why why;

    if (inproc_open_disk(bench->rig.function, "the benchmark", &bench->inproc, &bench->disk, &why))
        fail("the disk", &why);
    for (unsigned i = 0; i < bench->threads; i++)
        for (unsigned which = 0; which < 2; which++)
            if (bench->disk->ops->key_open(bench->disk, &bench->workers[i].keys[which],
                                           &bench->workers[i].disk_keys[which], &why))
                fail("key_open", &why);
}

static void step_native(struct worker *worker, uint64_t n)
{
    struct disk *disk = worker->bench->disk;
    struct disk_io io = {
        .buffer = worker->data,
        .len = REQUEST,
        .key = worker->disk_keys[worker->bench->side->misses ? n % 2 : 0],
        .dun = dun_from_u64(n),
    };
    struct ice_why why;

    if (disk->ops->transfer(disk, &io, &why))
        fail("a transfer", &why);
}

/* ---- */

static const struct side sides[] = {
    {"get", open_device, step_get, false},
    {"hit", open_profile, step_profile, false},
    {"miss", open_profile, step_profile, true},
    {"lock", open_lock, step_lock, false},
    {"request", open_device, step_request, false},
    {"program", open_device, step_program, false},
    {"native-hit", open_native, step_native, false},
    {"native-miss", open_native, step_native, true},
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    double end = seconds_now() + worker->bench->seconds;

    do
        for (unsigned i = 0; i < BATCH; i++)
            worker->bench->side->step(worker, worker->steps++);
    while (seconds_now() < end);
    return NULL;
}

static void run(struct bench *bench)
{
    struct store store = {.ops = &null_store_ops, .size = REQUEST};
    double start;
    uint64_t steps = 0;

    rig_open(&bench->rig, bench->side->misses ? 1 : bench->threads, REQUEST / SECTOR_SIZE, &store);
    make_keys(bench);
    bench->side->open(bench);
    start = seconds_now();
    for (unsigned i = 0; i < bench->threads; i++)
        if (pthread_create(&bench->workers[i].thread, NULL, work, &bench->workers[i]))
            fail("pthread_create", NULL);
    for (unsigned i = 0; i < bench->threads; i++) {
        pthread_join(bench->workers[i].thread, NULL);
        steps += bench->workers[i].steps;
    }
    print_rate(steps, seconds_now() - start);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    unsigned threads = argc == 4 ? (unsigned)argument(argv[2]) : 0;

    for (unsigned i = 0; i < sizeof(sides) / sizeof(sides[0]); i++)
        if (argc == 4 && !strcmp(argv[1], sides[i].name))
            bench.side = &sides[i];
    if (!bench.side || !threads || threads > THREADS_MAX) {
        fputs("usage: profile SIDE THREADS SECONDS\n", stderr);
        return 2;
    }
    bench.threads = threads;
    bench.seconds = argument(argv[3]);
    for (unsigned i = 0; i < threads; i++)
        bench.workers[i] = (struct worker){.bench = &bench, .number = i};
    run(&bench);
    return 0;
}
