/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who watches the device. Called on the thread that runs the request, so implementations neither
 * block nor allocate, and take no lock that requests share. Nothing here holds key bytes.
 */
#ifndef ICESIM_DEVICE_OBSERVER_H
#define ICESIM_DEVICE_OBSERVER_H

#include "device.h"

struct observation {
    const struct ice_attachment *attachment;
    const struct command *command; /* key.bytes is NULL: never shown */
    size_t data_len;               /* bytes of the data area */
    unsigned slot;                 /* physical, of tagged I/O and key operations; not when keyed */
    struct slot_key key;           /* of that slot, when it was taken; after a program: the new */
    uint8_t status;                /* after: the status byte */
    bool synced;                   /* after: the media was made stable for it */
    const struct ice_why *why;     /* after: NULL when OK */
};

struct observer_ops {
    /* Both may be NULL. `before` runs once the request is understood, `after` once it is done. */
    void (*before)(struct observer *observer, const struct observation *observation);
    void (*after)(struct observer *observer, const struct observation *observation);
    /*
     * A driver of a strict function broke `rule`, once for each request or call; `text` has the
     * particulars. May be NULL. The attachment may be locked: ask only for its function.
     */
    void (*violation)(struct observer *observer, const struct ice_attachment *attachment,
                      enum rule rule, const char *text);
};

struct observer {
    const struct observer_ops *ops;
};

#endif
