/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NAME[,KEY=VALUE|,FLAG]…: a function as `icesim --function` and `icectl function add` take it. One
 * grammar, one parser; what depends on the other functions is the host's to check.
 */
#ifndef ICESIM_ICESIM_FUNCTION_SPEC_H
#define ICESIM_ICESIM_FUNCTION_SPEC_H

#include "device/device.h"

#define FUNCTION_SPEC_MAX  512u /* bytes of text */
#define FUNCTION_NAME_MAX  32u
#define FUNCTION_IMAGE_MAX 255u

struct function_spec {
    char name[FUNCTION_NAME_MAX + 1];
    bool has_slots; /* else: what is free from the lowest free slot on */
    unsigned first_slot, slots;
    bool has_sectors; /* else: the same of sectors; of an own image: all */
    uint64_t first_sector, sectors;
    char image[FUNCTION_IMAGE_MAX + 1]; /* "": the host's media */
    uint64_t image_size;                /* bytes, to make the image with; 0: it is there */
    const struct dialect *dialect;      /* NULL: the host's */
    bool strict;                        /* false: as the host has it */
    /* As in struct function_params. A preset of caps= says the DUN width too. */
    enum slot_addressing addressing;
    bool trimmed_headers, read_only, keep_on_reset;
    uint32_t block_size;
    unsigned dun_bits;
    enum overflow_policy on_overflow;
    unsigned key_types;
    bool keys_inline, integrity; /* then there are no slots, and has_slots is set */
    struct capability capabilities[CAPABILITIES_MAX];
    unsigned capability_count; /* 0: the dialect's default */
};

/*
 * Reads all but what depends on the dialect. 0, or -EINVAL with a clause that names the key:
 * "slots=8+ is not FIRST+COUNT".
 */
int function_spec_parse(const char *text, struct function_spec *spec, struct ice_why *why);

/*
 * Fills in what the spec leaves to the host, and checks what depends on it. Settling it again
 * changes nothing. 0, or -EINVAL: the dialect has no such DUN width, header, addressing, list of
 * capabilities or keys with each request.
 */
int function_spec_settle(struct function_spec *spec, const struct dialect *dialect, bool strict,
                         struct ice_why *why);

#endif
