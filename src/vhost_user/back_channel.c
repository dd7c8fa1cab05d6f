/* SPDX-License-Identifier: BSD-2-Clause */
#include "back_channel.h"
#include "base/bytes.h"
#include "socket.h"
#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CALLS  0u
#define ERRORS BACK_CHANNEL_QUEUES
#define CONFIG (2 * BACK_CHANNEL_QUEUES)

void back_channel_open(struct back_channel *channel, int fd)
{
    back_channel_close(channel);
    channel->fd = fd;
}

void back_channel_close(struct back_channel *channel)
{
    if (channel->fd >= 0)
        close(channel->fd);
    channel->fd = -1;
    atomic_store(&channel->owed, 0);
    atomic_store(&channel->gone, false);
}

/* False: there is no room. When nobody is there any more it is as good as sent. */
static bool send_notice(struct back_channel *channel, unsigned notice)
{
    struct vhost_user_vring_state state = {.index = notice % BACK_CHANNEL_QUEUES};
    struct vhost_user_header header = {.flags = VHOST_USER_VERSION, .size = sizeof(state)};

    if (notice == CONFIG) {
        header.request = VHOST_USER_BACKEND_CONFIG_CHANGE;
        header.size = 0;
    } else {
        header.request =
            notice < ERRORS ? VHOST_USER_BACKEND_VRING_CALL : VHOST_USER_BACKEND_VRING_ERR;
    }
    int err = message_send(channel->fd, &header, &state, -1);
    if (err && err != -EAGAIN)
        atomic_store(&channel->gone, true);
    return err != -EAGAIN;
}

static void notify(struct back_channel *channel, unsigned notice)
{
    if (channel->fd < 0 || send_notice(channel, notice))
        return;
    atomic_fetch_or(&channel->owed, UINT64_C(1) << notice);
    eventfd_write(channel->wake, 1);
}

void back_channel_call(struct back_channel *channel, unsigned queue)
{
    assert(queue < BACK_CHANNEL_QUEUES);
    notify(channel, CALLS + queue);
}

void back_channel_error(struct back_channel *channel, unsigned queue)
{
    assert(queue < BACK_CHANNEL_QUEUES);
    notify(channel, ERRORS + queue);
}

void back_channel_config(struct back_channel *channel)
{
    notify(channel, CONFIG);
}

bool back_channel_owes_config(const struct back_channel *channel)
{
    return channel->fd >= 0 && atomic_load(&channel->owed) & UINT64_C(1) << CONFIG;
}

void back_channel_pay(struct back_channel *channel)
{
    uint64_t owed = atomic_exchange(&channel->owed, 0);

    for (; owed; owed &= owed - 1)
        if (!send_notice(channel, (unsigned)__builtin_ctzll(owed)))
            break;
    atomic_fetch_or(&channel->owed, owed);
}
