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
    for (char *c = icectl->action; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
}

__attribute__((format(printf, 4, 0))) static enum status
vfail(const struct icectl *icectl, enum status status, int err, const char *fmt, va_list args)
{
    struct failure failure = {.err = err};
    size_t len = (size_t)snprintf(failure.text, sizeof(failure.text), "%s: ", icectl->action);

    vsnprintf(failure.text + len, sizeof(failure.text) - len, fmt, args);
    for (char *c = failure.text; *c; c++)
        if (*c == '\n')
            *c = '?';
    if (!icectl->failure)
        fprintf(stderr, "icectl: %s\n", failure.text);
    else if (!*icectl->failure->text)
        *icectl->failure = failure;
    return status;
}

enum status fail_errno(const struct icectl *icectl, enum status status, int err, const char *fmt,
                       ...)
{
    va_list args;

    va_start(args, fmt);
    status = vfail(icectl, status, err, fmt, args);
    va_end(args);
    return status;
}

enum status fail(const struct icectl *icectl, enum status status, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    status = vfail(icectl, status, 0, fmt, args);
    va_end(args);
    return status;
}

enum status fail_why(const struct icectl *icectl, enum status status, const struct ice_why *why)
{
    return fail_errno(icectl, status, why->err, "%s", why->text);
}

enum status call_status(const struct client *client, int err)
{
    return !client_alive(client) || err == -EPROTO ? STATUS_CONNECTION : STATUS_REFUSED;
}

enum status fail_call(const struct icectl *icectl, const struct client *client, int err,
                      const struct ice_why *why)
{
    return fail_why(icectl, call_status(client, err), why);
}

static bool is_served(const struct icectl *icectl)
{
    char *path;
    bool served;

    if (asprintf(&path, "%s/control.sock", icectl->dir) < 0)
        return false;
    served = !access(path, F_OK);
    free(path);
    return served;
}

enum status fail_connect(const struct icectl *icectl, int err, const struct ice_why *why)
{
    if (err == -ENOENT && is_served(icectl))
        return fail_errno(icectl, STATUS_CONNECTION, ENOENT, "there is no such function in %s: %s",
                          icectl->dir, why->text);
    if (err == -ENOENT || err == -ECONNREFUSED)
        return fail_errno(icectl, STATUS_CONNECTION, why->err, "no server in %s: %s", icectl->dir,
                          why->text);
    return fail_why(icectl, STATUS_CONNECTION, why);
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
