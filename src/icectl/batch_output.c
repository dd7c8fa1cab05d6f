/* SPDX-License-Identifier: BSD-2-Clause */
#include "batch_output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_all(struct batch_output *output, const char *text, size_t len)
{
    while (len && !output->err) {
        ssize_t written = write(output->fd, text, len);

        if (written < 0 && errno != EINTR)
            output->err = errno;
        if (written > 0) {
            text += written;
            len -= (size_t)written;
        }
    }
}

static void print(struct batch_output *output, struct json *json)
{
    char *text = json_finish(json);
    size_t len = text ? strlen(text) : 0;

    if (text) {
        text[len++] = '\n'; /* in place of the terminator: one write, one line */
        write_all(output, text, len);
    } else {
        output->err = ENOMEM;
    }
    free(text);
}

/* "ENOKEY"; null when the cause has no number. */
static void put_errno(struct json *json, int err)
{
    const char *name = err ? strerrorname_np(err) : NULL;
    char number[16];

    snprintf(number, sizeof(number), "%d", err);
    if (err)
        json_string(json, "errno", name ? name : number);
    else
        json_null(json, "errno");
}

static void put_result(struct json *json, char *result)
{
    if (!result || !*result) {
        json_null(json, "result");
        return;
    }
    result[strcspn(result, "\n")] = '\0';
    json_document(json, "result", result);
}

void batch_output_outcome(struct batch_output *output, const struct outcome *outcome)
{
    struct outcome_failed *failed = &output->failed;
    struct json *json = json_new();

    json_object_open(json, NULL);
    json_number(json, "line", outcome->line);
    if (outcome->command)
        json_string(json, "command", outcome->command);
    else
        json_null(json, "command");
    json_number(json, "status", outcome->status);
    if (outcome->status == STATUS_DONE) {
        put_result(json, outcome->result);
    } else {
        put_errno(json, outcome->failure->err);
        json_string(json, "error", outcome->failure->text);
    }
    json_object_close(json);
    print(output, json);
    if (outcome->status == STATUS_DONE || (failed->line && failed->line < outcome->line))
        return;
    failed->line = outcome->line;
    failed->status = outcome->status;
    snprintf(failed->text, sizeof(failed->text), "%s", outcome->failure->text);
}

void batch_output_event(struct batch_output *output, const char *function,
                        enum protocol_event event, uint64_t value)
{
    static const char *const names[] = {
        [PROTOCOL_EVENT_CONFIG_CHANGED] = "config-changed",
        [PROTOCOL_EVENT_DEVICE_RESET] = "device-reset",
        [PROTOCOL_EVENT_ENGINE_GENERATION] = "engine-generation",
    };
    struct json *json = json_new();

    json_object_open(json, NULL);
    json_string(json, "event", names[event]);
    json_string(json, "function", function);
    if (event == PROTOCOL_EVENT_ENGINE_GENERATION)
        json_hex(json, "generation", value);
    json_object_close(json);
    print(output, json);
}
