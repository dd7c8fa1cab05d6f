/* SPDX-License-Identifier: BSD-2-Clause */
/* The log of requests in flight: its bytes, and what it says after a crash at any point. */
#include "vhost_user/inflight.h"
#include "storm.h"
#include "tap.h"
#include "virtio/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PART 192u /* bytes of a queue of 8: 16 + 8 * 16, up to the next 64 */

static int make(unsigned queues, unsigned size, struct vhost_user_inflight *at)
{
    int fd = -1;
    if (inflight_make(queues, size, at, &fd))
        abort();
    return fd;
}

/* ---- its memory ---- */

static void test_make(void)
{
    struct vhost_user_inflight at = {0};
    struct stat file;
    int fd = -1;

    is_int(inflight_make(0, 8, &at, &fd), -EINVAL, "no queues");
    is_int(inflight_make(1, 0, &at, &fd), -EINVAL, "no entries");
    is_int(inflight_make(1, 24, &at, &fd), -EINVAL, "24 entries");
    is_int(inflight_make(1, 65536, &at, &fd), -EINVAL, "65536 entries");
    is_int(inflight_make(65536, 8, &at, &fd), -EINVAL, "65536 queues");
    is_int(inflight_make(3, 8, &at, &fd), 0, "three queues of 8");
    is_int((intmax_t)at.mmap_size, 3 * PART + 64, "bytes");
    is_int((intmax_t)at.mmap_offset, 0, "offset");
    is_int(at.num_queues, 3, "queues");
    is_int(at.queue_size, 8, "size");
    ok(!fstat(fd, &file) && file.st_size == (off_t)at.mmap_size, "of the file, too");
    is_int(ftruncate(fd, 0), -1, "nobody can cut it short");
    close(fd);
}

static const char *map(struct inflight *log, struct vhost_user_inflight at, int fd)
{
    return refusal_name(inflight_map(log, &at, fd));
}

static void test_map(void)
{
    struct vhost_user_inflight at, wrong;
    struct inflight log;
    struct inflight_queue queue;
    int fd = make(3, 8, &at);

    wrong = at;
    wrong.num_queues = 0;
    is_str(map(&log, wrong, fd), "inflight-size", "no queues");
    wrong = at;
    wrong.queue_size = 7;
    is_str(map(&log, wrong, fd), "inflight-size", "7 entries");
    wrong = at;
    wrong.mmap_size--;
    is_str(map(&log, wrong, fd), "inflight-size", "a byte too small");
    wrong = at;
    wrong.mmap_offset = 8;
    is_str(map(&log, wrong, fd), "inflight-size", "not aligned");
    wrong = at;
    wrong.mmap_offset = UINT64_MAX - 63;
    is_str(map(&log, wrong, fd), "inflight-size", "wrapping");
    wrong = at;
    wrong.mmap_offset = 64;
    is_str(map(&log, wrong, fd), "inflight-file", "past the file's end");
    is_str(map(&log, at, -1), "inflight-file", "no file");
    int read_only = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    is_str(map(&log, at, read_only), "inflight-map", "a file that is not writable");
    close(read_only);
    ok(!log.map, "nothing is mapped");

    is_str(refusal_name(inflight_open(&log, 9, 8, &queue)), "none", "without a log");
    ok(!queue.part && inflight_recover(&queue, 5, NULL) == 0, "there is nothing to do");
    inflight_begin(&queue, 1);
    inflight_ending(&queue, 1);
    inflight_ended(&queue, 1, 6);
    is_int((intmax_t)inflight_generation(&log), 0, "and no generation");
    inflight_note_generation(&log, 1);

    is_str(map(&log, at, fd), "none", "as it was made");
    is_str(refusal_name(inflight_open(&log, 3, 8, &queue)), "inflight-queue", "queue 3 of 3");
    is_str(refusal_name(inflight_open(&log, 0, 16, &queue)), "inflight-queue", "a ring of 16");
    ok(!queue.part, "has no part");
    is_str(refusal_name(inflight_open(&log, 2, 4, &queue)), "none", "a ring of 4");
    ok((uint8_t *)queue.part == (uint8_t *)log.map + 2 * PART, "at its place");
    inflight_recover(&queue, 0, NULL);
    log.bytes[2 * PART + 8] = 2; /* version */
    is_str(refusal_name(inflight_open(&log, 2, 4, &queue)), "inflight-layout", "version 2");
    log.bytes[2 * PART + 8] = 1;
    log.bytes[2 * PART + 10] = 4; /* desc_num */
    is_str(refusal_name(inflight_open(&log, 2, 4, &queue)), "inflight-layout", "another size");
    inflight_unmap(&log);
    ok(!log.map, "unmapped");
    close(fd);
}

static void test_bytes(void)
{
    /* Head 5 was handed back, then head 2; head 6 is in flight. A little-endian machine's. */
    static const uint8_t want[16 + 8 * 16] = {
        [8] = 1,   [10] = 8,  [12] = 2, [14] = 1, [15] = 1, /* version, desc_num, batch, used_idx */
        [54] = 5,  [56] = 2,                                /* 2: next 5, the second */
        [104] = 1,                                          /* 5: the first; its next is 0 */
        [112] = 1, [120] = 3,                               /* 6: in flight, the third */
    };
    struct vhost_user_inflight at;
    struct inflight log;
    struct inflight_queue queue;
    int fd = make(1, 8, &at);

    inflight_map(&log, &at, fd);
    inflight_open(&log, 0, 8, &queue);
    is_int(inflight_recover(&queue, 255, NULL), 0, "a new log has nothing in flight");
    inflight_begin(&queue, 5);
    inflight_begin(&queue, 2);
    inflight_begin(&queue, 6);
    inflight_ending(&queue, 5);
    inflight_ended(&queue, 5, 256);
    inflight_ending(&queue, 2);
    inflight_ended(&queue, 2, 257);
    is_mem(log.bytes, want, sizeof(want), "the bytes of the log");
    inflight_unmap(&log);
    close(fd);
}

/* ---- crashes ---- */

#define RING     8u
#define REQUESTS 24u

enum step { BEGIN, EXECUTE, ENDING, PUSH, ENDED };

/* All that outlives a back end: the driver, its ring, the log. */
static struct {
    int fd;
    struct vhost_user_inflight at;
    uint16_t used_idx;
    unsigned made_available, taken; /* requests; request i has head (i * 3) % RING, if free */
    unsigned in_head[RING];         /* request + 1; 0: the head is free */
    unsigned executed[REQUESTS], handed_back[REQUESTS];
} world;

/* A back end's process. */
static struct {
    struct inflight log;
    struct inflight_queue queue;
    unsigned flying;      /* heads that it took and has not handed back */
    uint16_t heads[RING]; /* in the order it took them */
} life;

static void be_born(void)
{
    uint16_t heads[RING];

    memset(&life, 0, sizeof(life));
    if (inflight_map(&life.log, &world.at, world.fd) ||
        inflight_open(&life.log, 0, RING, &life.queue))
        abort();
    unsigned n = inflight_recover(&life.queue, world.used_idx, heads);
    memcpy(life.heads, heads, n * sizeof(heads[0]));
    life.flying = n;
}

/* What is in flight must be just what was taken and not handed back, in the order it was taken. */
static bool recovered_right(void)
{
    unsigned n = 0;

    for (unsigned request = 0; request < world.taken; request++) {
        if (world.handed_back[request])
            continue;
        if (n >= life.flying || world.in_head[life.heads[n]] != request + 1)
            return false;
        n++;
    }
    return n == life.flying;
}

/* Takes one more; false when no head is free, or all were taken. */
static bool take(int *steps)
{
    unsigned head = world.taken * 3 % RING;

    if (world.taken == REQUESTS)
        return false;
    for (unsigned tried = 0; world.in_head[head]; head = (head + 1) % RING)
        if (++tried == RING)
            return false;
    (*steps)--;
    inflight_begin(&life.queue, (uint16_t)head);
    world.in_head[head] = ++world.taken;
    life.heads[life.flying++] = (uint16_t)head;
    return true;
}

/* Runs one of those in flight and hands it back, or as much of that as there are steps. */
static void complete(int *steps)
{
    unsigned i = pick(life.flying);
    uint16_t head = life.heads[i];
    unsigned request = world.in_head[head] - 1;

    for (int step = EXECUTE; step <= ENDED && *steps > 0; step++, (*steps)--)
        switch (step) {
        case EXECUTE:
            world.executed[request]++;
            break;
        case ENDING:
            inflight_ending(&life.queue, head);
            break;
        case PUSH:
            world.used_idx++;
            world.handed_back[request]++;
            world.in_head[head] = 0;
            break;
        default:
            inflight_ended(&life.queue, head, world.used_idx);
            memmove(life.heads + i, life.heads + i + 1,
                    (--life.flying - i) * sizeof(life.heads[0]));
        }
}

/* Lives for `steps` steps or until all is done. */
static bool live(int steps)
{
    while (steps > 0) {
        if (!life.flying && world.taken == REQUESTS)
            return true;
        bool full = life.flying == RING || world.taken == REQUESTS;
        if (life.flying && (full || pick(2)))
            complete(&steps);
        else if (!take(&steps))
            abort();
    }
    return false;
}

/* A crash after `first` steps, another after `second`, then the rest. */
static bool survives(int first, int second)
{
    bool right = true, done = false;

    memset(&world, 0, sizeof(world));
    world.fd = make(1, RING, &world.at);
    world.used_idx = 0xfffa;
    storm_seed((uint64_t)first * 1000 + (uint64_t)second);
    const int spans[] = {first, second, 100000};
    for (unsigned i = 0; i < 3 && !done; i++) {
        be_born();
        right = right && recovered_right();
        done = live(spans[i]);
        inflight_unmap(&life.log);
    }
    for (unsigned request = 0; request < REQUESTS; request++)
        right = right && world.handed_back[request] == 1 && world.executed[request] >= 1;
    close(world.fd);
    return right && done;
}

static void test_crashes(void)
{
    unsigned wrong = 0, lives = 0;

    for (int first = 1; first <= (int)REQUESTS * 5; first++)
        for (int second = 1; second <= 40; second++, lives++)
            if (!survives(first, second) && !wrong++)
                note("first wrong after %d and %d steps", first, second);
    is_int(wrong, 0, "nothing is lost, handed back twice or in another order, in %u lives", lives);
}

static void test_order(void)
{
    struct vhost_user_inflight at;
    struct inflight log;
    struct inflight_queue queue;
    static uint16_t heads[1024];
    unsigned wrong = 0;
    int fd = make(1, 1024, &at);

    inflight_map(&log, &at, fd);
    inflight_open(&log, 0, 1024, &queue);
    inflight_recover(&queue, 0, heads);
    for (unsigned i = 0; i < 1024; i++)
        inflight_begin(&queue, (uint16_t)(i * 389 % 1024));
    inflight_open(&log, 0, 1024, &queue);
    is_int(inflight_recover(&queue, 0, heads), 1024, "all are in flight");
    for (unsigned i = 0; i < 1024; i++)
        wrong += heads[i] != i * 389 % 1024;
    is_int(wrong, 0, "in the order they were taken");
    inflight_begin(&queue, 7);
    inflight_open(&log, 0, 1024, &queue);
    inflight_recover(&queue, 0, heads);
    is_int(heads[1023], 7, "counting goes on");
    inflight_unmap(&log);
    close(fd);
}

/* Ours hands back one at a time; the log of another back end may name several. */
static void test_batch(void)
{
    struct vhost_user_inflight at;
    struct inflight log;
    struct inflight_queue queue;
    uint16_t heads[RING];
    int fd = make(1, RING, &at);

    inflight_map(&log, &at, fd);
    inflight_open(&log, 0, RING, &queue);
    inflight_recover(&queue, 10, heads);
    for (uint16_t head = 0; head < 5; head++)
        inflight_begin(&queue, head);
    inflight_ending(&queue, 3);
    inflight_ending(&queue, 2);
    inflight_ending(&queue, 4);
    inflight_open(&log, 0, RING, &queue);
    is_int(inflight_recover(&queue, 12, heads), 3, "two of three were handed back");
    ok(heads[0] == 0 && heads[1] == 1 && heads[2] == 3, "the last two");
    inflight_unmap(&log);
    close(fd);
}

/* A log that somebody wrote into ends in some order, within bounds. */
static void test_hostile(void)
{
    struct vhost_user_inflight at;
    struct inflight log;
    struct inflight_queue queue;
    uint16_t heads[RING + 1];
    unsigned wrong = 0;
    int fd = make(1, RING, &at);

    inflight_map(&log, &at, fd);
    inflight_open(&log, 0, RING, &queue);
    inflight_recover(&queue, 0, heads);
    storm_seed(99);
    for (unsigned round = 0; round < 20000; round++) {
        for (unsigned i = 12; i < at.mmap_size; i++)
            log.bytes[i] = (uint8_t)pick(pick(2) ? 256 : RING);
        heads[RING] = 0x5a5a;
        inflight_open(&log, 0, RING, &queue);
        unsigned n = inflight_recover(&queue, (uint16_t)pick(65536), heads);
        wrong += n > RING || heads[RING] != 0x5a5a;
        for (unsigned i = 0; i < n && i < RING; i++)
            wrong += heads[i] >= RING;
    }
    is_int(wrong, 0, "random bytes name no head outside the ring");
    inflight_unmap(&log);
    close(fd);
}

/* ---- the engine's generation ---- */

static void test_generation(void)
{
    struct vhost_user_inflight at;
    struct inflight log, again;
    int fd = make(2, 8, &at), status;

    inflight_map(&log, &at, fd);
    inflight_map(&again, &at, fd);
    is_int((intmax_t)inflight_generation(&log), 0, "a new log has none");
    inflight_note_generation(&log, 7);
    is_int((intmax_t)inflight_generation(&again), 7, "noted");
    inflight_note_generation(&log, 9);
    is_int((intmax_t)inflight_generation(&again), 9, "and noted anew");
    log.bytes[2 * PART + 15] ^= 1;
    is_int((intmax_t)inflight_generation(&again), 0, "another process's is none");
    inflight_note_generation(&log, 9);
    is_int((intmax_t)inflight_generation(&again), 9, "until it is noted here");
    inflight_unmap(&again);

    char number[16], self[512] = "";
    snprintf(number, sizeof(number), "%d", dup(fd)); /* the copy outlives exec */
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        abort();
    pid_t child = fork();
    if (child == 0) {
        execl(self, self, number, NULL);
        _exit(99);
    }
    waitpid(child, &status, 0);
    is_int(WEXITSTATUS(status), 0, "another process finds none, and notes its own");
    is_int((intmax_t)inflight_generation(&log), 0, "which is none of ours");
    inflight_unmap(&log);
    close(atoi(number));
    close(fd);
}

/* The other process: what is wrong there. */
static int other_process(int fd)
{
    struct vhost_user_inflight at = {2 * PART + 64, 0, 2, 8, 0};
    struct inflight log;

    if (inflight_map(&log, &at, fd))
        return 2;
    if (inflight_generation(&log))
        return 3;
    inflight_note_generation(&log, 9);
    return inflight_generation(&log) == 9 ? 0 : 4;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return other_process(atoi(argv[1]));
    test_make();
    test_map();
    test_bytes();
    test_crashes();
    test_order();
    test_batch();
    test_hostile();
    test_generation();
    return tap_done();
}
