/* SPDX-License-Identifier: BSD-2-Clause */
/* The capabilities: a line per algorithm, with its data unit sizes. */
#include "base/algorithm.h"
#include "base/bytes.h"
#include "commands.h"
#include "device.h"
#include "dialect/describe.h"

static void print_unit(FILE *out, uint32_t bytes)
{
    if (bytes % 1024)
        fprintf(out, " %u", bytes);
    else
        fprintf(out, " %uK", bytes / 1024);
}

static void print_text(FILE *out, const struct capability *capabilities, unsigned count)
{
    fprintf(out, "%-22s %-4s %s\n", "ALG", "KEY", "DATA UNITS");
    for (size_t a = 0; a < ARRAY_SIZE(algorithms); a++) {
        bool named = false;

        for (unsigned i = 0; i < count; i++) {
            if (capabilities[i].alg != algorithms[a].alg ||
                capabilities[i].key_size != algorithms[a].key_size)
                continue;
            if (!named)
                fprintf(out, "%-22s %-3u", algorithms[a].name, algorithms[a].key_bytes);
            named = true;
            print_unit(out, capabilities[i].data_unit);
        }
        if (named)
            fputc('\n', out);
    }
}

static enum status show(const struct icectl *icectl, struct device *device)
{
    struct capability capabilities[CAPABILITIES_MAX];
    unsigned count;
    struct ice_why why;
    struct json *json;
    enum status status = read_capabilities(icectl, device, capabilities, &count);

    if (status)
        return status;
    if (!icectl->json) {
        print_text(icectl->out, capabilities, count);
        return STATUS_DONE;
    }
    json = json_new();
    describe_capabilities(json, NULL, capabilities, count);
    return print_json(icectl, json, &why) ? fail(icectl, STATUS_REFUSED, "%s", why.text)
                                          : STATUS_DONE;
}

enum status command_caps(struct icectl *icectl, const struct command_entry *entry, int argc,
                         char **argv)
{
    return device_command(icectl, entry, argc, argv, show);
}
