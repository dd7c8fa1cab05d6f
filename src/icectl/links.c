/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connections of a batch. Opening and negotiating one lets no other task run: which lines come
 * first must not hang on which connection is new.
 */
#include "base/clock.h"
#include "session_private.h"
#include "virtio/virtio.h"

#include <stdlib.h>
#include <string.h>

static void on_event(void *user, enum protocol_event event, uint64_t value)
{
    struct link *link = user;

    link->uncertain |= event != PROTOCOL_EVENT_ENGINE_GENERATION;
    link->session->event(link->session->user, link->device.name.text, event, value);
}

static void free_link(struct link *link)
{
    struct session *session = link->session;
    struct link **at = &session->links;

    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    session->link_count--;
    device_close(&link->device);
    free(link);
}

static struct link *find_link(struct session *session, const char *function)
{
    for (struct link *link = session->links; link && function; link = link->next)
        if (link_is_alive(link) && !strcmp(link->device.name.text, function))
            return link;
    return NULL;
}

/* Frees the links that have ended and that nobody uses; or all. */
static void sweep(struct session *session, bool all)
{
    struct link *link = session->links;

    while (link) {
        struct link *next = link->next;

        if (all || (link->users == 0 && !link_is_alive(link)))
            free_link(link);
        link = next;
    }
}

bool links_grow(struct session *session)
{
    size_t n = 1 + session->link_count + 1 + TASKS_MAX;
    struct pollfd *fds = reallocarray(session->fds, n, sizeof(*fds));

    if (fds)
        session->fds = fds;
    return fds;
}

/* NULL: the failure is told, with *status. */
static struct link *open_link(const struct icectl *icectl, enum status *status)
{
    struct session *session = icectl->session;
    struct icectl alone = *icectl;
    struct link *link;

    sweep(session, false);
    link = links_grow(session) ? calloc(1, sizeof(*link)) : NULL;
    if (!link) {
        *status = fail(icectl, STATUS_REFUSED, "no memory for a connection");
        return NULL;
    }
    alone.session = NULL;
    *status = device_open(&alone, &link->device);
    if (*status) {
        free(link);
        return NULL;
    }
    link->session = session;
    link->timeout_ms = icectl->timeout_ms;
    link->next = session->links;
    session->links = link;
    session->link_count++;
    client_on_event(link->device.client, on_event, link);
    client_set_wait(link->device.client, link_wait, link);
    return link;
}

/*
 * Asks the device: what the server has sent before its answer, events and an end, is then known
 * too. After a reset it is negotiated again. 0 or -errno.
 */
static int make_certain(struct link *link, struct ice_why *why)
{
    uint8_t status;
    int err;

    if (!link->uncertain)
        return 0;
    link->uncertain = false;
    err = client_get_status(link->device.client, &status, why);
    if (!err && !(status & VIRTIO_STATUS_DRIVER_OK))
        err = device_negotiate(&link->device, why);
    else if (!err)
        err = device_read_config(&link->device, why);
    link->uncertain |= err != 0;
    return err;
}

/* A link that turns out to have ended is replaced. */
static struct link *get_link(const struct icectl *icectl, enum status *status)
{
    struct link *link = find_link(icectl->session, icectl->function);
    struct ice_why why;
    int err = link ? make_certain(link, &why) : 0;

    *status = STATUS_DONE;
    if (!link || !link_is_alive(link))
        return open_link(icectl, status);
    if (!err)
        return link;
    *status = fail_call(icectl, link->device.client, err, &why);
    return NULL;
}

enum status session_open_device(const struct icectl *icectl, struct device *device)
{
    enum status status;
    struct link *link = get_link(icectl, &status);

    if (!link)
        return status;
    link->users++;
    *device = link->device;
    device->link = link;
    device->task = icectl->session->current;
    return STATUS_DONE;
}

void session_close_device(struct device *device)
{
    struct link *link = device->link;

    while (device->in_flight)
        task_sleep(device->task);
    link->users--;
    *device = (struct device){0};
}

/* In order of asking, also when room is there but others have waited longer. */
void session_before_submit(struct device *device)
{
    struct link *link = device->link;
    struct task *task = device->task;

    task->ticket = link->tickets++;
    task->room = link;
    while (task->ticket != link->served || client_in_flight(device->client) >= IN_FLIGHT_MAX)
        task_sleep(task);
    task->room = NULL;
    link->served++;
    link->heard_ms = now_ms();
}

void links_free(struct session *session)
{
    sweep(session, true);
}
