/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command lines: the input is arguments that end with NUL. The first byte says whose: numbers,
 * sizes and names by themselves, icesim's options, functions, or an icectl without a server to talk
 * to.
 */
#include "icesim/options.h"
#include "base/parse.h"
#include "base/units.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "icectl/commands.h"

#include <errno.h>

#define ARGUMENTS 24

static void parse_words(char **argv)
{
    for (; *argv; argv++) {
        struct ice_why why = {0};
        uint64_t value = 0;
        int err = parse_number(*argv, 1000, &value, &why);
        HOLDS(err ? why.err == -err : value <= 1000);
        err = parse_size(*argv, &value, &why);
        HOLDS(err == 0 || err == -EINVAL || err == -ERANGE);
        err = parse_name(*argv, &why);
        HOLDS(err ? why.err == EINVAL : strlen(*argv) <= 32 && !strpbrk(*argv, "/. "));
    }
}

static void parse_options(int argc, char **argv)
{
    struct options options;
    struct ice_why why = {0};
    int err = options_parse(argc, argv, &options, &why);
    HOLDS(err == 0 || err == -EINVAL);
    HOLDS(err == 0 || why.text[0]);
    if (err || options.help || options.version || options.print_capabilities)
        return;
    for (unsigned i = 0; i < options.function_count; i++)
        HOLDS(!options.sockets[i].path || options.sockets[i].fd < 0);
    HOLDS(options.slots >= 1 && options.slots <= 255 && options.size % 512 == 0);
    HOLDS(options.image || options.size);
    HOLDS(options.function_count >= 1 && options.functions[0].name[0]);
    HOLDS(options.reserve_first + options.reserve_count <= options.slots);
    options_free(&options);
}

static void parse_specs(char **argv)
{
    for (; *argv; argv++) {
        struct function_spec spec;
        struct ice_why why = {0};
        if (function_spec_parse(*argv, &spec, &why)) {
            HOLDS(why.err == EINVAL && why.text[0]);
            continue;
        }
        HOLDS(!parse_name(spec.name, &why) && spec.capability_count <= CAPABILITIES_MAX);
        HOLDS(spec.first_slot + spec.slots <= SLOTS_MAX && spec.image_size % SECTOR_SIZE == 0);
        for (unsigned i = 0; dialect_at(i); i++) {
            struct function_spec settled = spec;
            if (function_spec_settle(&settled, dialect_at(i), false, &why) == 0)
                HOLDS(settled.dialect && settled.dun_bits <= settled.dialect->dun_bits);
        }
    }
}

/* It would wait for a server, or write files where the input says. */
static bool is_harmless(char **argv)
{
    for (; *argv; argv++)
        if (!strcmp(*argv, "wait") || strchr(*argv, '/') || !strncmp(*argv, "-o", 2))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char program[] = "icectl", folder[] = "--dir=/nowhere/at/all";
    char *argv[ARGUMENTS + 3] = {program};
    char *text;
    int argc = 1;
    if (size < 1 || size > 4096)
        return 0;
    text = malloc(size);
    HOLDS(text);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    if (data[0] % 4 == 2)
        argv[argc++] = folder;
    for (size_t at = 0; at < size - 1 && argc < ARGUMENTS; at += strlen(text + at) + 1)
        argv[argc++] = text + at;
    if (data[0] % 4 == 0)
        parse_words(argv + 1);
    else if (data[0] % 4 == 1)
        parse_options(argc, argv);
    else if (data[0] % 4 == 3)
        parse_specs(argv + 1);
    else if (is_harmless(argv + 2))
        HOLDS((unsigned)icectl_run(argc, argv) <= 6);
    free(text);
    return 0;
}
