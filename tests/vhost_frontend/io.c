/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A verified load: writes all blocks of a range once, then reads and writes at random, many in
 * flight, one at most on a block. Goes on over the death of the back end and over resets of the
 * engine: what the device then refuses is repeated with the key programmed anew.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "blocks.h"
#include "program.h"
#include "virtio/blk.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct load;

/* Room for one request in flight; of one queue. */
struct lane {
    struct load *load;
    struct frontend_queue *queue;
    struct lane *next; /* in a list of load */
    struct frontend_request request;
    struct iovec parts[3]; /* head, data, status */
    bool write;
    unsigned block;
    uint32_t version; /* of a write */
};

struct load {
    struct program *program;
    const struct arguments *arguments;
    struct blocks blocks;
    struct lane *lanes, *idle, *refused;
    unsigned lane_count, in_flight;
    uint64_t random;
    unsigned filled;
    uint64_t started, reads, writes, ioerr, rekeys, reconnects;
    uint64_t seen; /* CONFIG_CHANGE that were there when the key was programmed */
    bool foreign;  /* connected to a new process, which must not know the key */
    uint64_t ok_before_key;
    unsigned kills, deaths, least_in_ring, least_in_log;
    uint64_t kill_in; /* 1: now; completions before that; 0: not any more */
    struct ice_why why;
    int err; /* the first */
};

static void push(struct lane **list, struct lane *lane)
{
    lane->next = *list;
    *list = lane;
}

static struct lane *pop(struct lane **list)
{
    struct lane *lane = *list;

    *list = lane->next;
    return lane;
}

/* ---- a request ---- */

static void finish(struct lane *lane, uint32_t written)
{
    struct load *load = lane->load;
    uint32_t expected = lane->write ? 1 : (uint32_t)load->blocks.size + 1;

    load->ok_before_key += load->foreign;
    if (written != expected)
        load->err = why_set(&load->why, EPROTO, "block %u: %u bytes written, not %u", lane->block,
                            written, expected);
    if (lane->write)
        load->blocks.version[lane->block] = lane->version;
    else if (blocks_check(&load->blocks, lane->block, lane->parts[1].iov_base, &load->why))
        load->err = -EILSEQ;
    load->blocks.busy[lane->block] = false;
    push(&load->idle, lane);
}

static void on_done(struct frontend_request *request, uint32_t written)
{
    struct lane *lane = CONTAINER_OF(request, struct lane, request);
    struct load *load = lane->load;
    uint8_t status = *(uint8_t *)lane->parts[2].iov_base;

    load->in_flight--;
    if (load->kill_in > 1)
        load->kill_in--;
    if (status == VIRTIO_BLK_S_OK) {
        finish(lane, written);
        return;
    }
    load->ioerr++;
    push(&load->refused, lane);
    if (status != VIRTIO_BLK_S_IOERR || written != 1 || !load->arguments->key_file)
        load->err = why_set(&load->why, EIO, "%s of block %u: status %u, %u bytes written",
                            lane->write ? "write" : "read", lane->block, status, written);
}

static int submit(struct lane *lane)
{
    *(uint8_t *)lane->parts[2].iov_base = 0xff;
    int err = frontend_submit(lane->queue, &lane->request);
    lane->load->in_flight += !err;
    if (lane->load->program->options.every_kick)
        frontend_kick(lane->queue);
    return err;
}

static void prepare(struct lane *lane)
{
    struct load *load = lane->load;
    const struct arguments *arguments = load->arguments;
    uint64_t offset = (uint64_t)lane->block * load->blocks.size;
    struct command command = {
        .kind = lane->write ? COMMAND_WRITE : COMMAND_READ,
        .sector = arguments->sector + offset / SECTOR_SIZE,
        .tagged = arguments->tagged,
        .slot = arguments->slot,
        .dun = arguments->dun,
    };

    if (arguments->tagged)
        dun_add(&command.dun, offset / arguments->data_unit);
    lane->parts[0].iov_len =
        frontend_build(load->program->frontend, &command, lane->parts[0].iov_base);
    lane->request.readable = lane->parts;
    lane->request.nreadable = lane->write ? 2 : 1;
    lane->request.writable = lane->parts + lane->request.nreadable;
    lane->request.nwritable = 3 - lane->request.nreadable;
    lane->request.done = on_done;
    lane->version = load->blocks.version[lane->block] + 1;
    if (lane->write)
        blocks_fill(&load->blocks, lane->block, lane->version, lane->parts[1].iov_base);
}

static void choose(struct lane *lane)
{
    struct load *load = lane->load;
    struct blocks *blocks = &load->blocks;

    if (load->filled < blocks->count) {
        lane->block = load->filled++;
        lane->write = true;
        return;
    }
    lane->block = (unsigned)(random_next(&load->random) % blocks->count);
    while (blocks->busy[lane->block] || !blocks->version[lane->block])
        lane->block = (lane->block + 1) % blocks->count;
    lane->write = random_next(&load->random) % 100 >= load->arguments->reads;
}

static int start_one(struct load *load)
{
    struct lane *lane = pop(&load->idle);

    choose(lane);
    prepare(lane);
    load->blocks.busy[lane->block] = true;
    load->started++;
    load->reads += !lane->write;
    load->writes += lane->write;
    return submit(lane);
}

/* ---- going on after a refusal or a death ---- */

static uint64_t config_changes(const struct load *load)
{
    struct frontend_counts counts;

    frontend_count(load->program->frontend, &counts);
    return counts.config_changes;
}

/* Nothing is in flight. */
static int program_anew(struct load *load)
{
    int err = frontend_wait_change(load->program->frontend, load->seen,
                                   load->program->options.timeout_ms);

    if (err)
        return why_errno(&load->why, -err, "refused, and no CONFIG_CHANGE");
    load->seen = config_changes(load);
    load->foreign = false;
    err = program_slot(load->program, load->arguments->slot, load->arguments, &load->why);
    load->rekeys++;
    while (!err && load->refused)
        err = submit(pop(&load->refused));
    return err;
}

static void schedule_kill(struct load *load)
{
    if (load->kills < load->arguments->kills)
        load->kill_in = 50 + random_next(&load->random) % 500;
}

static int go_on(struct load *load)
{
    struct left_behind left;
    int err;

    load->seen = config_changes(load);
    err = reconnect(load->program, &left, &load->why);
    if (err)
        return err;
    load->reconnects++;
    load->foreign = load->arguments->key_file;
    /* A kill that found the back end between two requests proves little: it is not counted. */
    load->deaths++;
    if (left.in_ring && left.in_log) {
        load->kills++;
        if (load->kills == 1 || left.in_ring < load->least_in_ring)
            load->least_in_ring = left.in_ring;
        if (load->kills == 1 || left.in_log < load->least_in_log)
            load->least_in_log = left.in_log;
    }
    if (load->deaths > 20 * load->arguments->kills + 100)
        return why_set(&load->why, EIO, "%u deaths, only %u with requests in flight", load->deaths,
                       load->kills);
    schedule_kill(load);
    return 0;
}

/* ---- the load ---- */

static bool line_has_come(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    return poll(&input, 1, 0) > 0;
}

static bool is_enough(const struct load *load)
{
    if (load->filled < load->blocks.count || load->kills < load->arguments->kills)
        return false;
    if (load->arguments->unlimited)
        return line_has_come();
    return load->started >= load->arguments->requests;
}

static int wait_more(struct load *load)
{
    struct frontend *frontend = load->program->frontend;
    unsigned done = 0;

    for (unsigned i = 0; i < frontend_queues(frontend); i++)
        done += frontend_poll(frontend_queue(frontend, i));
    if (done || load->err)
        return load->err;
    int err = frontend_wait_any(frontend, load->program->options.timeout_ms);
    if (err == -ECONNRESET)
        return go_on(load);
    return err ? why_errno(&load->why, -err, "waiting for %u requests", load->in_flight) : 0;
}

static int step(struct load *load, bool *more)
{
    struct frontend *frontend = load->program->frontend;
    bool enough = is_enough(load);
    int err = 0;

    for (; !err && load->idle && !load->refused && !enough; enough = is_enough(load))
        err = start_one(load);
    if (err)
        return why_errno(&load->why, -err, "no room in the ring");
    for (unsigned i = 0; i < frontend_queues(frontend); i++)
        frontend_kick(frontend_queue(frontend, i));
    if (load->in_flight && load->kill_in == 1) {
        load->kill_in = 0;
        kill_back_end(load->program, &load->random);
    }
    if (load->in_flight)
        return wait_more(load);
    if (load->refused)
        return program_anew(load);
    *more = !enough;
    return 0;
}

static int make_lanes(struct load *load)
{
    struct frontend *frontend = load->program->frontend;
    unsigned queues = load->program->options.queues;

    load->lane_count = load->arguments->depth * queues;
    if (load->lane_count > load->blocks.count)
        return why_set(&load->why, EINVAL, "fewer blocks than requests in flight");
    load->lanes = calloc(load->lane_count, sizeof(*load->lanes));
    for (unsigned i = 0; load->lanes && i < load->lane_count; i++) {
        struct lane *lane = &load->lanes[i];
        lane->load = load;
        lane->queue = frontend_queue(frontend, i % queues);
        lane->parts[0].iov_base = frontend_alloc(frontend, DIALECT_HEAD_MAX, 16);
        /* At odd addresses, and so across pages and regions. */
        lane->parts[1] =
            (struct iovec){frontend_alloc(frontend, load->blocks.size + 1, 512), load->blocks.size};
        lane->parts[2] = (struct iovec){frontend_alloc(frontend, 1, 1), 1};
        if (!lane->parts[2].iov_base)
            break;
        lane->parts[1].iov_base = (uint8_t *)lane->parts[1].iov_base + i % 2;
        push(&load->idle, lane);
        if (i + 1 == load->lane_count)
            return 0;
    }
    return why_set(&load->why, ENOMEM, "guest memory is used up: --memory");
}

static int make(struct load *load)
{
    const struct arguments *arguments = load->arguments;
    uint64_t sectors =
        arguments->count ? arguments->count : load->program->config.capacity - arguments->sector;
    uint32_t block = arguments->block;

    if (!block || block % SECTOR_SIZE || (arguments->tagged && block % arguments->data_unit))
        return why_set(&load->why, EINVAL, "blocks of %u bytes", block);
    int err = blocks_make(&load->blocks, arguments->seed, (unsigned)(sectors * SECTOR_SIZE / block),
                          block, &load->why);
    return err ? err : make_lanes(load);
}

static void tell(const struct load *load, struct json *json)
{
    json_number(json, "reads", load->reads);
    json_number(json, "writes", load->writes);
    json_number(json, "ioerr", load->ioerr);
    json_number(json, "rekeys", load->rekeys);
    json_number(json, "reconnects", load->reconnects);
    json_number(json, "kills", load->kills);
    json_number(json, "least_in_ring", load->least_in_ring);
    json_number(json, "least_in_log", load->least_in_log);
    json_number(json, "ok_before_key", load->ok_before_key);
}

int run_io(struct program *program, const struct arguments *arguments, struct json *json,
           struct ice_why *why)
{
    struct load load = {
        .program = program,
        .arguments = arguments,
        .random = arguments->seed * 2 + 1,
    };
    bool more = true;
    int err = make(&load);

    schedule_kill(&load);
    load.seen = config_changes(&load);
    while (!err && more)
        err = step(&load, &more);
    if (!err && arguments->image)
        err = blocks_save(&load.blocks, arguments->image, &load.why);
    tell(&load, json);
    if (err)
        *why = load.why;
    /* Requests of a load that failed are still in the rings: its lanes stay where they are. */
    if (!load.in_flight)
        free(load.lanes);
    blocks_free(&load.blocks);
    return err;
}
