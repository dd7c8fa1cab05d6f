/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A driver on one ring of a vhost-user back end, with so many requests in flight: reads or writes,
 * plain or through slot 0 with data units of 4096 bytes. It sleeps until the device calls, as a
 * guest does. Each request has a buffer of its own, in one piece.
 */
#include "base/units.h"
#include "clock.h"
#include "tests/vhost_frontend/frontend.h"
#include "virtio/blk.h"
#include <string.h>

#define IN_FLIGHT 64u
#define DATA_UNIT 4096u
#define ALIGN     4096u

struct load {
    struct frontend *frontend;
    struct frontend_queue *queue;
    enum command_kind kind;
    bool tagged, random;
    size_t len;
    uint64_t places; /* of len bytes, on the disk */
    uint64_t next;   /* a place; or the state of the generator */
    uint64_t finished;
    bool last; /* submit no more */
};

struct transfer {
    struct frontend_request request; /* first: done gets it */
    struct load *load;
    struct iovec parts[3]; /* head, data, status */
    uint8_t *head, *status;
};

__attribute__((noreturn)) static void fail(const char *verb, const char *cause)
{
    fprintf(stderr, "vhost: %s: %s\n", verb, cause);
    exit(1);
}

static uint64_t next_place(struct load *load)
{
    if (!load->random)
        return load->next++ % load->places;
    load->next ^= load->next << 13;
    load->next ^= load->next >> 7;
    load->next ^= load->next << 17;
    return load->next % load->places;
}

static void submit(struct transfer *transfer)
{
    struct load *load = transfer->load;
    uint64_t offset = next_place(load) * load->len;
    struct command command = {
        .kind = load->kind,
        .sector = offset / SECTOR_SIZE,
        .tagged = load->tagged,
        .slot = 0,
        .dun = dun_from_u64(offset / DATA_UNIT),
    };

    transfer->parts[0].iov_len = frontend_build(load->frontend, &command, transfer->head);
    *transfer->status = 0xff;
    if (frontend_submit(load->queue, &transfer->request))
        fail("submit", "the ring is full");
}

static void transfer_done(struct frontend_request *request, uint32_t written)
{
    struct transfer *transfer = (struct transfer *)request;
    struct load *load = transfer->load;

    (void)written;
    if (*transfer->status != VIRTIO_BLK_S_OK)
        fail("transfer", "the device refused it");
    load->finished++;
    if (!load->last)
        submit(transfer);
}

static void *allocate(struct load *load, size_t len)
{
    void *bytes = frontend_alloc(load->frontend, len, len < ALIGN ? 64 : ALIGN);

    if (!bytes)
        fail("allocate", "no memory is left");
    return bytes;
}

static void prepare(struct load *load, struct transfer *transfer)
{
    unsigned readable = load->kind == COMMAND_WRITE ? 2 : 1;

    transfer->load = load;
    transfer->head = allocate(load, DIALECT_HEAD_MAX);
    transfer->status = allocate(load, 1);
    transfer->parts[0].iov_base = transfer->head;
    transfer->parts[1] = (struct iovec){allocate(load, load->len), load->len};
    transfer->parts[2] = (struct iovec){transfer->status, 1};
    memset(transfer->parts[1].iov_base, 0x5a, load->len);
    transfer->request = (struct frontend_request){
        .readable = transfer->parts,
        .nreadable = readable,
        .writable = transfer->parts + readable,
        .nwritable = 3 - readable,
        .done = transfer_done,
    };
}

/* Until so many have finished. */
static void drive(struct load *load, uint64_t finished)
{
    int r;

    while (load->finished < finished) {
        frontend_kick(load->queue);
        r = frontend_wait(load->queue, -1);
        if (r)
            fail("wait", strerror(-r));
        frontend_poll(load->queue);
    }
}

/* Both sides have touched all of the buffers before the clock starts. */
static void measure(struct load *load, unsigned in_flight, double seconds)
{
    double start, now;
    uint64_t before;

    drive(load, 2 * in_flight);
    start = now = seconds_now();
    for (before = load->finished; now - start < seconds; now = seconds_now())
        drive(load, load->finished + 1);
    print_rate((load->finished - before) * load->len, now - start);
}

/* Each place once. */
static void fill(struct load *load)
{
    drive(load, load->places);
}

static void connect_to(struct load *load, const char *path)
{
    struct frontend_options options = frontend_usual(path);
    struct function_config config;
    struct ice_why why = {0};

    /* As VMMs do, by eventfds. */
    options.protocol &= ~VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);
    options.regions = 1;
    options.memory = (size_t)IN_FLIGHT * (load->len + ALIGN);
    if (frontend_new(&options, &load->frontend, &why) || frontend_connect(load->frontend, &why) ||
        frontend_config(load->frontend, &config, &why))
        fail("connect", why.text);
    load->queue = frontend_queue(load->frontend, 0);
    load->places = config.capacity * SECTOR_SIZE / load->len;
}

static void parse_load(struct load *load, const char *name)
{
    load->random = !strncmp(name, "rand", 4);
    load->kind = strstr(name, "read") ? COMMAND_READ : COMMAND_WRITE;
    load->next = load->random ? 0x9e3779b97f4a7c15u : 0;
}

int main(int argc, char **argv)
{
    static struct transfer transfers[IN_FLIGHT];
    struct load load = {0};
    unsigned in_flight;

    if (argc != 7) {
        fputs("usage: vhost plain|tagged SOCKET fill|[rand]read|[rand]write BYTES IN-FLIGHT "
              "SECONDS\n",
              stderr);
        return 2;
    }
    load.tagged = !strcmp(argv[1], "tagged");
    load.len = (size_t)argument(argv[4]);
    in_flight = (unsigned)argument(argv[5]);
    if (!in_flight || in_flight > IN_FLIGHT || !load.len || load.len % DATA_UNIT) {
        fputs("vhost: at most 64 in flight, whole data units of 4096\n", stderr);
        return 2;
    }
    parse_load(&load, argv[3]);
    connect_to(&load, argv[2]);
    for (unsigned i = 0; i < in_flight; i++)
        prepare(&load, &transfers[i]);
    for (unsigned i = 0; i < in_flight; i++)
        submit(&transfers[i]);
    if (!strcmp(argv[3], "fill"))
        fill(&load);
    else
        measure(&load, in_flight, argument(argv[6]));
    load.last = true;
    drive(&load, load.finished + frontend_in_flight(load.queue));
    frontend_free(load.frontend);
    return 0;
}
