/* SPDX-License-Identifier: BSD-2-Clause */
/* What queue.c, ring_thread.c and ring_request.c share. */
#ifndef ICESIM_VHOST_USER_QUEUE_PRIVATE_H
#define ICESIM_VHOST_USER_QUEUE_PRIVATE_H

#include "queue.h"

/* ring_thread.c: what a ring's thread runs; `user` is the queue. */
void ring_thread(void *user);

/* queue.c: the ring is done for, until queue_end; the front end is told. */
void queue_break(struct queue *queue, const char *cause);

/*
 * ring_request.c. submit: hands a chain to the device, on the ring's thread. tell: calls the driver
 * if it wants to know what was done. take_again: what to submit before what is in the ring.
 */
enum vhost_user_refusal ring_submit(struct queue *queue, struct turn turn);
void ring_tell(struct queue *queue);
bool ring_take_again(struct queue *queue, struct turn *turn);
void ring_wait_returned(struct queue *queue);
void ring_give_back(struct queue *queue); /* what is left of that, when it does not run */

#endif
