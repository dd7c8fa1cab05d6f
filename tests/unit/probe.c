/* SPDX-License-Identifier: BSD-2-Clause */
#include "probe.h"
#include "base/bytes.h"
#include "patience.h"

#include <stdio.h>
#include <stdlib.h>

struct probe probes[REQUESTS];
static unsigned finished;

static void probe_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct probe *probe = CONTAINER_OF(request, struct probe, request);

    probe->done++;
    probe->written = written;
    probe->order = finished++;
    if (why)
        probe->why = *why;
}

void probe_init(struct probe *probe, uint8_t number)
{
    *probe = (struct probe){
        .readable = {{probe->out, 7}, {probe->out + 7, 9}},
        .writable = {{probe->in, 1}, {probe->in + 1, DATA - 1}, {probe->in + DATA, 1}},
        .request = {.nreadable = 2, .nwritable = 3, .queue = number, .done = probe_done},
    };
    probe->request.readable = probe->readable;
    probe->request.writable = probe->writable;
    memset(probe->out, 0xa0 + number, sizeof(probe->out));
    memset(probe->in, 0xee, sizeof(probe->in));
}

struct client *probe_connect(fake_script *script)
{
    const char *path = fake_start(script);
    struct client *client = NULL;
    struct ice_why why = {0};

    if (client_connect(path, PATIENCE_MS, &client, &why)) {
        printf("Bail out! connect: %s\n", why.text);
        exit(1);
    }
    return client;
}

void probe_submit(struct client *client, unsigned n)
{
    finished = 0;
    for (unsigned i = 0; i < n; i++) {
        probe_init(&probes[i], (uint8_t)i);
        if (client_submit(client, &probes[i].request, NULL))
            abort();
    }
}

bool is_filled(const uint8_t *bytes, size_t len, uint8_t value)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

int probe_run(struct client *client, struct ice_why *why)
{
    int err = 0;

    while (client_in_flight(client) && !err)
        err = client_run(client, why);
    return err;
}

bool probe_take(struct fake_server *server, uint64_t tags[REQUESTS])
{
    bool same = true;

    for (unsigned i = 0; i < REQUESTS; i++) {
        struct frame_view view;

        if (!fake_next(server, &view))
            return false;
        tags[view.queue] = view.tag;
        same &= view.bulk_length == 16 && view.writable_len == DATA + 1 &&
                is_filled(fake_bulk(server, &view), 16, (uint8_t)(0xa0 + view.queue));
    }
    return same;
}
