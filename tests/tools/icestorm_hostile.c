/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile driver: raw frames on a negotiated connection, as many as the server takes, each a
 * request made of random parts. Every frame is well-formed, so each has one answer.
 */
#include "base/bytes.h"
#include "icestorm.h"
#include "virtio/blk.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#define OUT_BYTES     262144u
#define IN_BYTES      262144u
#define FRAME_TOP     12288u /* no frame here is longer */
#define CONTROL_QUEUE 16u

struct storm {
    int fd;
    uint64_t random, capacity, left, sent, answered, ok;
    bool inline_types;
    uint8_t out[OUT_BYTES], in[IN_BYTES];
    size_t out_at, out_end, in_end;
};

static uint64_t below(struct storm *storm, uint64_t limit)
{
    return next_random(&storm->random) % limit;
}

/* ---- requests ---- */

static uint32_t any_type(struct storm *storm)
{
    static const uint32_t often[] = {0, 1, 27, 28, 29, 31},
                          odd[] = {44, 99, 0x80000000, 0xffffffff};

    switch (below(storm, 8)) {
    case 0:
        return odd[below(storm, ARRAY_SIZE(odd))];
    case 1:
    case 2:
    case 3:
        return (uint32_t)below(storm, 44);
    default:
        return often[below(storm, ARRAY_SIZE(often))];
    }
}

static uint64_t any_sector(struct storm *storm)
{
    uint64_t capacity = storm->capacity;
    const uint64_t edges[] = {0,          capacity - 1,     capacity,       capacity + 1,
                              UINT64_MAX, UINT64_MAX / 512, UINT64_MAX - 7, UINT64_C(1) << 55};

    switch (below(storm, 4)) {
    case 0:
        return edges[below(storm, ARRAY_SIZE(edges))];
    case 1:
        return below(storm, capacity * 100);
    default:
        return below(storm, capacity);
    }
}

static uint64_t any_dun(struct storm *storm)
{
    return below(storm, 4) ? below(storm, 100000) : UINT64_MAX - below(storm, 4);
}

static size_t put(uint8_t *at, uint64_t value, size_t bytes)
{
    memcpy(at, &value, bytes); /* little-endian, as the machine is */
    return bytes;
}

/* The header: 16, 32 or 56 bytes, now and then cut. */
static size_t any_header(struct storm *storm, uint32_t type, uint8_t *at)
{
    static const uint8_t activate[] = {0, 1, 1, 1, 1, 2, 255};
    uint64_t form = below(storm, 16);
    size_t n = put(at, type, 4);

    n += put(at + n, below(storm, 2), 4);
    n += put(at + n, any_sector(storm), 8);
    if (form < 7) { /* slot, activate, reserved, data_unit_num */
        n += put(at + n, below(storm, 256), 1);
        n += put(at + n, activate[below(storm, ARRAY_SIZE(activate))], 1);
        n += put(at + n, below(storm, 20) ? 0 : next_random(&storm->random), 6);
        n += put(at + n, any_dun(storm), 8);
    } else if (form < 14) { /* slot, unused, dun[4] */
        n += put(at + n, below(storm, 20) ? below(storm, 256) : next_random(&storm->random), 4);
        n += put(at + n, 0, 4);
        n += put(at + n, any_dun(storm), 8);
        for (int limb = 1; limb < 4; limb++)
            n += put(at + n, below(storm, 20) ? 0 : any_dun(storm), 8);
    }
    return form == 15 ? below(storm, n + 1) : n;
}

static size_t fill(struct storm *storm, uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i += 8)
        put(at + i, next_random(&storm->random), 8);
    return len;
}

/* KEY_PROGRAM's body or KEYSLOT_PROGRAM's, for any slot there may be. */
static size_t any_key(struct storm *storm, uint8_t *at)
{
    size_t n = 0;

    if (below(storm, 2)) {
        n += put(at + n, below(storm, 256), 1);
        n += put(at + n, 1 + below(storm, 3), 1);
        n += put(at + n, below(storm, 4) ? 64 : below(storm, 200), 2);
        n += put(at + n, below(storm, 4) ? 0x00030300 : next_random(&storm->random), 4);
        return n + fill(storm, at + n, 128);
    }
    n += put(at + n, below(storm, 20) ? below(storm, 256) : next_random(&storm->random), 4);
    n += fill(storm, at + n, 128);
    n += put(at + n, below(storm, 4) ? 64 : below(storm, 200), 4);
    n += put(at + n, below(storm, 8) ? 1 : below(storm, 6), 4);
    n += put(at + n, 1 + below(storm, 3), 4);
    n += put(at + n, below(storm, 4) ? 12 : below(storm, 70), 4);
    return n + put(at + n, below(storm, 40), 4);
}

static size_t any_ranges(struct storm *storm, uint8_t *at)
{
    size_t n = 0;

    for (uint64_t i = below(storm, 6); i; i--) {
        n += put(at + n, any_sector(storm), 8);
        n += put(at + n, below(storm, 4) ? below(storm, 64) : next_random(&storm->random), 4);
        n += put(at + n, below(storm, 8) ? 0 : below(storm, 5), 4);
    }
    return n;
}

static size_t any_body(struct storm *storm, uint8_t *at)
{
    switch (below(storm, 6)) {
    case 0:
        return 0;
    case 1:
        return any_key(storm, at);
    case 2:
        return any_ranges(storm, at);
    case 3:
        return fill(storm, at, below(storm, 300));
    default:
        return fill(storm, at, 512 * (1 + below(storm, 16)));
    }
}

/* Program or evict, right but for the slot, which may be anybody's. */
static size_t plausible_key(struct storm *storm, uint8_t *at)
{
    bool program = below(storm, 2);
    uint64_t slot = below(storm, 2) ? below(storm, 8) : below(storm, 256);
    size_t n = put(at, storm->inline_types && program ? 30 : program ? 29 : 31, 4);

    memset(at + n, 0, 12);
    n += 12;
    if (storm->inline_types) {
        n += put(at + n, slot, 4);
        if (!program)
            return n;
        n += fill(storm, at + n, 64);
        memset(at + n, 0, 64);
        n += 64;
        for (size_t i = 0; i < 5; i++)
            n += put(at + n, (const uint64_t[]){64, 1, 1, 12, 8}[i], 4);
        return n;
    }
    memset(at + n, 0, 16 + 136);
    n += 16;
    at[n] = (uint8_t)slot;
    if (!program)
        return n + 8;
    put(at + n + 1, 1 | 64 << 8, 3);      /* key_type, key_len */
    put(at + n + 4, 3 << 8 | 3 << 16, 4); /* alg, exponent, key_size */
    fill(storm, at + n + 8, 64);
    return n + 136;
}

/* A transfer of 4 KiB that may well be right, but for its slot; returns its length, and the room.
 */
static size_t plausible(struct storm *storm, uint8_t *at, uint64_t *room)
{
    bool write = below(storm, 2), tagged = below(storm, 2);
    size_t n = put(at, storm->inline_types && tagged ? (write ? 27 : 28) : write, 4);

    n += put(at + n, 0, 4);
    n += put(at + n, below(storm, storm->capacity), 8);
    if (!storm->inline_types) {
        n += put(at + n, below(storm, 256) | (uint64_t)tagged << 8, 8);
        n += put(at + n, any_dun(storm), 8);
    } else if (tagged) {
        n += put(at + n, below(storm, 256), 8);
        n += put(at + n, any_dun(storm), 8);
        memset(at + n, 0, 24);
        n += 24;
    }
    *room = write ? 1 : 4097;
    return write ? n + fill(storm, at + n, 4096) : n;
}

/* ---- frames ---- */

static size_t cbor_head(uint8_t *at, unsigned major, uint64_t value)
{
    at[0] = (uint8_t)(major << 5 | 26);
    for (int i = 0; i < 4; i++)
        at[1 + i] = (uint8_t)(value >> (24 - 8 * i));
    return 5;
}

static void add_frame(struct storm *storm)
{
    static const uint32_t rooms[] = {1, 1, 7, 21, 33, 133, 353, 513, 4097, 8193};
    uint8_t readable[FRAME_TOP], *at = storm->out + storm->out_end;
    uint64_t queue = below(storm, 8) ? 0 : CONTROL_QUEUE;
    uint64_t room = below(storm, 50) ? rooms[below(storm, ARRAY_SIZE(rooms))] : below(storm, 9000);
    size_t len;

    switch (below(storm, 8)) {
    case 0:
        len = plausible_key(storm, readable);
        queue = storm->inline_types ? CONTROL_QUEUE : 0;
        break;
    case 1:
    case 2:
        len = plausible(storm, readable, &room);
        break;
    default:
        len = any_header(storm, any_type(storm), readable);
        len += any_body(storm, readable + len);
    }
    *at++ = 0x85;
    *at++ = MESSAGE_REQUEST;
    at += cbor_head(at, 0, storm->sent + 1);
    at += cbor_head(at, 0, below(storm, 40) ? queue : below(storm, 65536));
    at += cbor_head(at, 0, room);
    at += cbor_head(at, 2, len);
    memcpy(at, readable, len);
    storm->out_end = (size_t)(at + len - storm->out);
    storm->sent++;
    storm->left--;
}

/* ---- answers ---- */

/* The end of the item at `at`, or NULL when it is cut off. `end` is one past the last byte. */
static const uint8_t *item_end(const uint8_t *at, const uint8_t *end, unsigned *major,
                               uint64_t *value)
{
    unsigned info, width;

    if (at == end)
        return NULL;
    *major = *at >> 5;
    info = *at++ & 31;
    width = info < 24 ? 0 : 1u << (info - 24);
    *value = info;
    if ((size_t)(end - at) < width)
        return NULL;
    if (width)
        *value = 0;
    for (; width; width--)
        *value = *value << 8 | *at++;
    if (*major != 2 && *major != 3)
        return at;
    return (uint64_t)(end - at) < *value ? NULL : at + *value;
}

/* One whole frame; its last byte string's last byte is a status. NULL: cut off. */
static const uint8_t *take_answer(struct storm *storm, const uint8_t *at, const uint8_t *end)
{
    unsigned major, element = 0;
    uint64_t value, left = 1, message = 0;
    bool ok = false;

    for (; left; left--, element++) {
        at = item_end(at, end, &major, &value);
        if (!at)
            return NULL;
        if (major == 4)
            left += value;
        if (element == 1)
            message = value;
        if (major == 2)
            ok = value && at[-1] == VIRTIO_BLK_S_OK;
    }
    if (message == MESSAGE_EVENT)
        return at;
    if (message != MESSAGE_REQUEST && message != MESSAGE_ERROR)
        die("an answer of message %llu", (unsigned long long)message);
    storm->answered++;
    storm->ok += ok;
    return at;
}

static void take_answers(struct storm *storm)
{
    ssize_t got =
        recv(storm->fd, storm->in + storm->in_end, IN_BYTES - storm->in_end, MSG_DONTWAIT);
    const uint8_t *at = storm->in, *next, *end;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        die("the server has closed a hostile connection");
    storm->in_end += (size_t)got;
    end = storm->in + storm->in_end;
    while ((next = take_answer(storm, at, end)))
        at = next;
    storm->in_end = (size_t)(end - at);
    memmove(storm->in, at, storm->in_end);
}

static void send_some(struct storm *storm)
{
    ssize_t n;

    if (storm->out_at == storm->out_end) {
        storm->out_at = storm->out_end = 0;
        while (storm->left && storm->out_end + FRAME_TOP + 64 < OUT_BYTES)
            add_frame(storm);
    }
    n = send(storm->fd, storm->out + storm->out_at, storm->out_end - storm->out_at,
             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        storm->out_at += (size_t)n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        die("sending: %s", strerror(errno));
}

uint64_t run_hostile(const struct connection *connection, uint64_t count, uint64_t seed)
{
    struct storm *storm = calloc(1, sizeof(*storm));
    uint64_t ok;

    if (!storm)
        die("no memory");
    storm->fd = client_fd(connection->client);
    storm->random = seed;
    storm->capacity = connection->config.capacity;
    storm->inline_types = connection->channel->dialect->on_control_queue(COMMAND_KEY_PROGRAM);
    storm->left = count;
    while (storm->answered < count) {
        bool more = storm->left || storm->out_at < storm->out_end;
        struct pollfd poller = {.fd = storm->fd, .events = POLLIN};

        if (more)
            poller.events |= POLLOUT;
        if (poll(&poller, 1, 30000) == 0)
            die("no answer to a hostile driver for 30 s: %llu of %llu",
                (unsigned long long)storm->answered, (unsigned long long)storm->sent);
        if (poller.revents & POLLOUT)
            send_some(storm);
        if (poller.revents & ~POLLOUT)
            take_answers(storm);
    }
    ok = storm->ok;
    free(storm);
    return ok;
}
