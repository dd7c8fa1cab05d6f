/* SPDX-License-Identifier: BSD-2-Clause */
/* A function's device, as its driver uses it: negotiation, then one request or many at once. */
#ifndef ICESIM_ICECTL_DEVICE_H
#define ICESIM_ICECTL_DEVICE_H

#include "common.h"
#include "control.h"

struct device {
    struct client *client;
    struct channel *channel;
    struct name name;
    uint64_t offered;
    uint8_t space[DIALECT_CONFIG_MAX]; /* the configuration space as read */
    struct function_config config;     /* and what it says */
    unsigned in_flight;                /* requests */
    /* In a batch: the shared connection, and the line that uses it. */
    struct link *link;
    struct task *task;
};

/*
 * Connects to -f, or to the first function, and negotiates all that is offered and known here. The
 * failure is told. Close with device_close.
 */
enum status device_open(const struct icectl *icectl, struct device *device);
void device_close(struct device *device);

/* The steps of it behind the connection. 0 or -errno. */
int device_negotiate(struct device *device, struct ice_why *why);
int device_read_config(struct device *device, struct ice_why *why);

/* A command without options: opens, runs, closes. */
struct command_entry;
enum status device_command(struct icectl *icectl, const struct command_entry *entry, int argc,
                           char **argv,
                           enum status (*run)(const struct icectl *icectl, struct device *device));

/* A request and its buffers. One at a time each; several may be in flight. */
struct exchange {
    struct ice_request request;
    struct device *device;
    struct iovec readable[2], writable[2];
    uint8_t *head; /* DIALECT_HEAD_MAX bytes of secret memory */
    uint8_t status;
    bool done;
    size_t written;
    struct ice_why why;
};

/* 0 or -ENOMEM. Free with exchange_free, which zeroed ones allow too. */
int exchange_init(struct exchange *exchange, struct ice_why *why);
void exchange_free(struct exchange *exchange);

/* Submits `command`, which the dialect can send, with data to write (out) or to be read (in),
 * either of which may be empty. */
void exchange_submit(struct device *device, struct exchange *exchange,
                     const struct command *command, const void *out, size_t out_len, void *in,
                     size_t in_len);

/* Waits for its end. STATUS_DONE, or the status with the cause in exchange->why, untold. */
enum status exchange_wait(struct device *device, struct exchange *exchange);

/*
 * Init, submit, wait, free. STATUS_DONE, or the status with the cause in `why`; STATUS_REFUSED too
 * when the dialect has no way to say `command`.
 */
enum status exchange_run(struct device *device, const struct command *command, const void *out,
                         size_t out_len, void *in, size_t in_len, struct ice_why *why);

/* Fetches the device's capabilities: none without inline crypto. The failure is told. */
enum status read_capabilities(const struct icectl *icectl, struct device *device,
                              struct capability capabilities[static CAPABILITIES_MAX],
                              unsigned *count);

#endif
