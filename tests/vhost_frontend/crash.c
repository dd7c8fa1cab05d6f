/* SPDX-License-Identifier: BSD-2-Clause */
/* The back end dies: by our hand, and what comes after. */
#include "base/bytes.h"
#include "base/secret.h"
#include "program.h"
#include "virtio/blk.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

/* Sleeps for up to 100 us first: the back end, perhaps on the same core, shall be at work. */
void kill_back_end(const struct program *program, uint64_t *random)
{
    const struct timespec while_it_works = {.tv_nsec = (long)(random_next(random) % 100000)};

    prctl(PR_SET_TIMERSLACK, 1UL);
    nanosleep(&while_it_works, NULL);
    kill(frontend_peer(program->frontend), SIGKILL);
}

int reconnect(struct program *program, struct left_behind *left, struct ice_why *why)
{
    uint16_t *heads = calloc(program->options.queue_size, sizeof(*heads));

    if (!heads)
        return why_set(why, ENOMEM, "no memory for a ring's heads");
    *left = (struct left_behind){0};
    for (unsigned i = 0; i < frontend_queues(program->frontend); i++) {
        const struct frontend_queue *queue = frontend_queue(program->frontend, i);
        left->in_ring += frontend_in_flight(queue);
        left->in_log += frontend_taken(queue, heads);
    }
    free(heads);
    return frontend_connect(program->frontend, why);
}

/* ---- key operations in flight at a death ---- */

struct key_load;

struct key_lane {
    struct key_load *load;
    struct frontend_request request;
    struct iovec parts[2]; /* head, status */
    uint32_t slot;
    bool evict;      /* else program */
    bool programmed; /* as far as we know */
    bool taken;      /* the dead back end had it */
};

struct key_load {
    struct program *program;
    const struct arguments *arguments;
    struct key_lane *lanes;
    unsigned in_flight;
    struct command key; /* of slot 0 */
    struct frontend_queue *queue;
    uint64_t random;
    uint64_t kill_in; /* completions */
    bool dying;
    unsigned in_log, refused, ran;
    struct ice_why why;
    int err;
};

static void submit_key(struct key_lane *lane)
{
    struct key_load *load = lane->load;
    struct command command = load->key;

    if (lane->evict)
        command = (struct command){.kind = COMMAND_KEY_EVICT};
    command.slot = lane->slot;
    lane->parts[0].iov_len =
        frontend_build(load->program->frontend, &command, lane->parts[0].iov_base);
    *(uint8_t *)lane->parts[1].iov_base = 0xff;
    if (frontend_submit(load->queue, &lane->request))
        load->err = why_set(&load->why, EAGAIN, "no room in the ring");
    load->in_flight++;
}

/*
 * Before the death each operation succeeds. After it those that had been taken are refused, and all
 * slots are empty but for those that an operation still in the ring programs.
 */
static void on_key(struct frontend_request *request, uint32_t written)
{
    struct key_lane *lane = CONTAINER_OF(request, struct key_lane, request);
    struct key_load *load = lane->load;
    uint8_t status = *(uint8_t *)lane->parts[1].iov_base;

    load->in_flight--;
    secret_wipe(lane->parts[0].iov_base, lane->parts[0].iov_len);
    if (lane->taken) {
        load->refused += status == VIRTIO_BLK_S_IOERR && written == 1;
        return;
    }
    if (status != VIRTIO_BLK_S_OK)
        load->err = why_set(&load->why, EIO, "%s slot %u: status %u",
                            lane->evict ? "evict" : "program", lane->slot, status);
    lane->programmed = !lane->evict;
    lane->evict = !lane->evict;
    if (load->dying) {
        load->ran++;
        return;
    }
    if (load->kill_in)
        load->kill_in--;
    submit_key(lane);
}

static int run_until(struct key_load *load, bool dead)
{
    int err = 0;

    while (!err && !load->err && (dead ? load->in_flight : 1)) {
        frontend_kick(load->queue);
        if (!load->kill_in && !load->dying) {
            load->dying = true;
            kill_back_end(load->program, &load->random);
        }
        if (!frontend_poll(load->queue))
            err = frontend_wait(load->queue, load->program->options.timeout_ms);
    }
    if (load->err)
        return load->err;
    if (err == -ECONNRESET && !dead)
        return 0;
    return err ? why_errno(&load->why, -err, "waiting for %u key operations", load->in_flight) : 0;
}

static int find_taken(struct key_load *load)
{
    unsigned size = load->program->options.queue_size;
    uint16_t *heads = calloc(size, sizeof(*heads));

    if (!heads)
        return why_set(&load->why, ENOMEM, "no memory for a ring's heads");
    load->in_log = frontend_taken(load->queue, heads);
    for (unsigned i = 0; i < load->arguments->count; i++) {
        struct key_lane *lane = &load->lanes[i];
        lane->programmed = false;
        for (unsigned j = 0; j < load->in_log; j++)
            lane->taken |= lane->request.head == heads[j];
    }
    free(heads);
    return 0;
}

static int make_key_lanes(struct key_load *load)
{
    struct frontend *frontend = load->program->frontend;
    unsigned count = (unsigned)load->arguments->count;

    load->lanes = calloc(count, sizeof(*load->lanes));
    for (unsigned i = 0; load->lanes && i < count; i++) {
        struct key_lane *lane = &load->lanes[i];
        lane->load = load;
        lane->slot = load->arguments->slot + i;
        lane->parts[0].iov_base = frontend_alloc(frontend, DIALECT_HEAD_MAX, 16);
        lane->parts[1] = (struct iovec){frontend_alloc(frontend, 1, 1), 1};
        if (!lane->parts[1].iov_base)
            break;
        lane->request = (struct frontend_request){
            .readable = lane->parts,
            .nreadable = 1,
            .writable = lane->parts + 1,
            .nwritable = 1,
            .done = on_key,
        };
        if (i + 1 == count)
            return 0;
    }
    return why_set(&load->why, ENOMEM, "no slots, or guest memory is used up");
}

static int crash_once(struct key_load *load)
{
    struct left_behind left;

    for (unsigned i = 0; i < load->arguments->count; i++)
        submit_key(&load->lanes[i]);
    int err = run_until(load, false);
    if (!err)
        err = find_taken(load);
    if (!err)
        err = reconnect(load->program, &left, &load->why);
    return err ? err : run_until(load, true);
}

static void tell(const struct key_load *load, struct json *json)
{
    json_number(json, "in_log", load->in_log);
    json_number(json, "refused", load->refused);
    json_number(json, "ran", load->ran);
    json_array_open(json, "programmed");
    for (unsigned i = 0; load->lanes && i < load->arguments->count; i++) {
        if (load->lanes[i].programmed)
            json_number(json, NULL, load->lanes[i].slot);
    }
    json_array_close(json);
}

int run_keys(struct program *program, const struct arguments *arguments, struct json *json,
             struct ice_why *why)
{
    struct key_load load = {
        .program = program,
        .arguments = arguments,
        .random = arguments->seed * 2 + 1,
    };
    uint8_t *key = NULL;
    int err = key_command(program, 0, arguments, &load.key, &key, why);

    load.kill_in = 100 + random_next(&load.random) % 1000;
    if (!err) {
        load.queue =
            frontend_queue(program->frontend, frontend_command_queue(program->frontend, &load.key));
        err = make_key_lanes(&load);
        if (!err)
            err = crash_once(&load);
        if (err)
            *why = load.why;
    }
    tell(&load, json);
    secret_free(key);
    if (!load.in_flight)
        free(load.lanes);
    return err;
}
