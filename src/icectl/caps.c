/* SPDX-License-Identifier: BSD-2-Clause */
/* The capabilities: a line per algorithm, with its data unit sizes; or whether there is one. */
#include "args.h"
#include "base/algorithm.h"
#include "base/bytes.h"
#include "base/parse.h"
#include "commands.h"
#include "device.h"
#include "dialect/describe.h"
#include "virtio/ice.h"

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
    return print_json(icectl, json, &why) ? fail_why(icectl, STATUS_REFUSED, &why) : STATUS_DONE;
}

/* ---- --require ---- */

struct requirement {
    const struct algorithm *algorithm;
    uint32_t data_unit;
    bool wrapped;
};

/* ALG:BYTES[,wrapped] */
static enum status read_requirement(const struct icectl *icectl, const char *text,
                                    struct requirement *requirement)
{
    size_t name_len = strcspn(text, ":");
    const char *bytes = text + name_len + (text[name_len] == ':');
    size_t bytes_len = strcspn(bytes, ",");
    char name[32], number[32];
    uint64_t size;
    struct ice_why why;

    *requirement = (struct requirement){0};
    requirement->wrapped = !strcmp(bytes + bytes_len, ",wrapped");
    snprintf(name, sizeof(name), "%.*s", (int)name_len, text);
    snprintf(number, sizeof(number), "%.*s", (int)bytes_len, bytes);
    requirement->algorithm = algorithm_by_name(name);
    if (text[name_len] != ':' || (bytes[bytes_len] && !requirement->wrapped))
        return fail(icectl, STATUS_USAGE, "--require \"%.64s\" is not ALG:BYTES[,wrapped]", text);
    if (!requirement->algorithm)
        return fail(icectl, STATUS_USAGE, "--require \"%.32s\" is no algorithm", name);
    if (parse_size(number, &size, &why))
        return fail(icectl, STATUS_USAGE, "--require %s", why.text);
    requirement->data_unit = (uint32_t)min_u64(size, UINT32_MAX);
    return STATUS_DONE;
}

static enum status check_capability(const struct icectl *icectl, struct device *device,
                                    const struct requirement *requirement)
{
    const struct algorithm *algorithm = requirement->algorithm;
    struct capability capabilities[CAPABILITIES_MAX];
    unsigned count;
    enum status status = read_capabilities(icectl, device, capabilities, &count);

    if (status)
        return status;
    for (unsigned i = 0; i < count; i++)
        if (capabilities[i].alg == algorithm->alg &&
            capabilities[i].key_size == algorithm->key_size &&
            capabilities[i].data_unit == requirement->data_unit)
            return STATUS_DONE;
    return fail(icectl, STATUS_REFUSED, "%s has no %s with data units of %u bytes",
                device->name.text, algorithm->name, requirement->data_unit);
}

static enum status check_key_type(const struct icectl *icectl, const struct device *device,
                                  const struct requirement *requirement)
{
    const struct algorithm *algorithm = requirement->algorithm;
    unsigned type = requirement->wrapped ? ICE_KEY_TYPE_WRAPPED : ICE_KEY_TYPE_RAW;

    if (requirement->wrapped && !algorithm_takes_wrapped(algorithm->alg, algorithm->key_size))
        return fail(icectl, STATUS_REFUSED, "a wrapped key is one of aes-256-xts, not of %s",
                    algorithm->name);
    if (!(device->channel->key_types & type))
        return fail(icectl, STATUS_REFUSED, "%s takes no %s keys", device->name.text,
                    requirement->wrapped ? "wrapped" : "raw");
    return STATUS_DONE;
}

static enum status require(const struct icectl *icectl, const char *text)
{
    struct requirement requirement;
    struct device device;
    enum status status = read_requirement(icectl, text, &requirement);

    if (!status)
        status = device_open(icectl, &device);
    if (status)
        return status;
    status = check_capability(icectl, &device, &requirement);
    if (!status)
        status = check_key_type(icectl, &device, &requirement);
    device_close(&device);
    return status;
}

enum status command_caps(struct icectl *icectl, const struct command_entry *entry, int argc,
                         char **argv)
{
    struct arg_str *wanted = arg_str0(NULL, "require", "ALG:BYTES[,wrapped]",
                                      "print nothing; fail unless there is this");
    void *table[] = {arg_lit0(NULL, "help", "show this"), wanted, arg_end(4)};
    struct device device;
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status)) {
        if (wanted->count)
            status = require(icectl, wanted->sval[0]);
        else if (!(status = device_open(icectl, &device))) {
            status = show(icectl, &device);
            device_close(&device);
        }
    }
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
