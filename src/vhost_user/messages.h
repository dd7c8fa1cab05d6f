/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of messages share. A handler is called with a message whose size and number of
 * descriptors are within what the table of messages.c allows; it answers if the message has a reply
 * of its own.
 */
#ifndef ICESIM_VHOST_USER_MESSAGES_H
#define ICESIM_VHOST_USER_MESSAGES_H

#include "front_end.h"

typedef enum vhost_user_refusal message_handler(struct front_end *front, struct message *message);

/* message_device.c */
message_handler handle_get_features, handle_set_features, handle_get_protocol, handle_set_protocol,
    handle_get_status, handle_set_status, handle_ignore, handle_reset_device, handle_get_config,
    handle_set_config;

/* message_rings.c */
message_handler handle_set_table, handle_add_region, handle_remove_region, handle_get_slots,
    handle_get_queue_num, handle_set_num, handle_set_base, handle_get_base, handle_set_addr,
    handle_set_kick, handle_set_call, handle_set_err, handle_enable, handle_kick,
    handle_set_channel, handle_get_inflight, handle_set_inflight;

/* messages.c: answers the message that is being handled; `passed`: a descriptor, or -1. */
enum vhost_user_refusal message_reply(struct front_end *front, const void *payload, size_t size,
                                      int passed);
enum vhost_user_refusal message_reply_u64(struct front_end *front, uint64_t value);

#endif
