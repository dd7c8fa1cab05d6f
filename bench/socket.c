/* SPDX-License-Identifier: BSD-2-Clause */
/* Tagged writes through slot 0, over a function's socket, with so many in flight. */
#include "base/bytes.h"
#include "base/units.h"
#include "client/client.h"
#include "clock.h"
#include "virtio/blk.h"

#define IN_FLIGHT 64u /* what a server takes of one connection */

struct load {
    struct client *client;
    struct channel *channel;
    uint8_t *data;
    size_t len;
    uint64_t next; /* the next request's byte offset */
    uint64_t finished;
};

struct write {
    struct ice_request request; /* first: done gets it */
    struct load *load;
    struct iovec readable[2], writable[1];
    uint8_t head[DIALECT_HEAD_MAX];
    uint8_t status;
    bool idle;
};

__attribute__((noreturn)) static void fail(const char *verb, const struct ice_why *why)
{
    fprintf(stderr, "socket: %s: %s\n", verb, why->text);
    exit(1);
}

static void write_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct write *write = CONTAINER_OF(request, struct write, request);

    if (!written || why)
        fail("write", why ? why : &(struct ice_why){.text = "no answer"});
    write->load->finished++;
    write->idle = true;
}

static void submit(struct load *load, struct write *write)
{
    struct ice_why why;
    struct command command = {
        .kind = COMMAND_WRITE,
        .sector = load->next / SECTOR_SIZE,
        .tagged = true,
        .slot = 0,
        .dun = dun_from_u64(load->next / load->len),
    };

    load->next += load->len;
    if (load->next + load->len > load->channel->capacity * SECTOR_SIZE)
        load->next = 0;
    write->load = load;
    write->idle = false;
    write->readable[0].iov_base = write->head;
    write->readable[0].iov_len =
        load->channel->dialect->build(load->channel->features, &command, write->head);
    write->readable[1] = (struct iovec){load->data, load->len};
    write->writable[0] = (struct iovec){&write->status, 1};
    write->request = (struct ice_request){
        .readable = write->readable,
        .nreadable = 2,
        .writable = write->writable,
        .nwritable = 1,
        .expect = EXPECT_ANY,
        .done = write_done,
    };
    if (client_submit(load->client, &write->request, &why))
        fail("submit", &why);
}

static void drive(struct load *load, struct write *writes, unsigned in_flight, double seconds)
{
    double start = seconds_now(), now = start;
    struct ice_why why;

    for (unsigned i = 0; i < in_flight; i++)
        writes[i].idle = true;
    while (now - start < seconds) {
        for (unsigned i = 0; i < in_flight; i++)
            if (writes[i].idle)
                submit(load, &writes[i]);
        if (client_run(load->client, &why))
            fail("run", &why);
        now = seconds_now();
    }
    print_rate(load->finished * load->len, now - start);
    while (client_in_flight(load->client))
        if (client_run(load->client, &why))
            fail("run", &why);
}

int main(int argc, char **argv)
{
    static struct write writes[IN_FLIGHT];
    struct load load = {0};
    struct ice_why why = {0};
    unsigned in_flight;

    if (argc != 5) {
        fputs("usage: socket SOCKET BYTES IN-FLIGHT SECONDS\n", stderr);
        return 2;
    }
    load.len = (size_t)argument(argv[2]);
    in_flight = (unsigned)argument(argv[3]);
    load.data = calloc(1, load.len);
    if (!load.data || in_flight > IN_FLIGHT || load.len % SECTOR_SIZE) {
        fputs("socket: at most 64 in flight, whole sectors\n", stderr);
        return 2;
    }
    if (client_connect(argv[1], 10000, &load.client, &why) ||
        client_negotiate(load.client, UINT64_MAX, &load.channel, &why))
        fail("connect", &why);
    drive(&load, writes, in_flight, argument(argv[4]));
    client_close(load.client);
    free(load.data);
    return 0;
}
