/* SPDX-License-Identifier: BSD-2-Clause */
#include "common.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void set_action(struct icectl *icectl, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(icectl->action, sizeof(icectl->action), fmt, args);
    va_end(args);
}

enum status fail(const struct icectl *icectl, enum status status, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = '?';
    fprintf(stderr, "icectl: %s: %s\n", icectl->action, text);
    return status;
}

enum status fail_call(const struct icectl *icectl, const struct client *client, int err,
                      const struct ice_why *why)
{
    bool ended = !client_alive(client) || err == -EPROTO;

    return fail(icectl, ended ? STATUS_CONNECTION : STATUS_REFUSED, "%s", why->text);
}

enum status fail_connect(const struct icectl *icectl, int err, const struct ice_why *why)
{
    if (err == -ENOENT || err == -ECONNREFUSED)
        return fail(icectl, STATUS_CONNECTION, "no server in %s: %s", icectl->dir, why->text);
    return fail(icectl, STATUS_CONNECTION, "%s", why->text);
}

char *default_dir(void)
{
    const char *dir = getenv("ICESIM_DIR");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *path = NULL;

    if (dir && *dir)
        return strdup(dir);
    if (runtime && *runtime)
        return asprintf(&path, "%s/icesim", runtime) < 0 ? NULL : path;
    return geteuid() == 0 ? strdup("/run/icesim") : NULL;
}

int print_json(const struct icectl *icectl, struct json *json, struct ice_why *why)
{
    char *text = json_finish(json);

    if (!text)
        return why_set(why, ENOMEM, "no memory for the document");
    fprintf(icectl->out, "%s\n", text);
    free(text);
    return 0;
}

int print_item(const struct icectl *icectl, struct reader reader, struct ice_why *why)
{
    struct json *json = json_new();
    int err = json_from_cbor(json, NULL, &reader);

    if (err) {
        free(json_finish(json));
        return why_set(why, EPROTO, "the server's answer cannot be shown as JSON");
    }
    return print_json(icectl, json, why);
}
