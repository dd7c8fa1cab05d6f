/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket that a front end hands in for messages of the back end (SET_BACKEND_REQ_FD). Nobody
 * waits for it: what it has no room for is owed, and sent once it has. A notice is the same however
 * often it is owed.
 *
 * Any thread may send; it is opened and closed while no other does.
 */
#ifndef ICESIM_VHOST_USER_BACK_CHANNEL_H
#define ICESIM_VHOST_USER_BACK_CHANNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BACK_CHANNEL_QUEUES 24u /* notices of each kind */

struct back_channel {
    int fd;                /* -1: there is none, and what is sent goes nowhere */
    int wake;              /* an eventfd, raised when something becomes owed */
    atomic_bool gone;      /* nobody is there any more */
    _Atomic uint64_t owed; /* a bit for each notice */
};

void back_channel_open(struct back_channel *channel, int fd); /* takes it over, forgets debts */
void back_channel_close(struct back_channel *channel);

void back_channel_call(struct back_channel *channel, unsigned queue);
void back_channel_error(struct back_channel *channel, unsigned queue);
void back_channel_config(struct back_channel *channel);

/* Whether what is sent goes to somebody, as far as is known. */
static inline bool back_channel_reaches(const struct back_channel *channel)
{
    return channel->fd >= 0 && !atomic_load(&channel->gone);
}

/* There is room: sends what is owed. */
void back_channel_pay(struct back_channel *channel);

static inline bool back_channel_owes(const struct back_channel *channel)
{
    return channel->fd >= 0 && atomic_load(&channel->owed);
}

bool back_channel_owes_config(const struct back_channel *channel);

#endif
