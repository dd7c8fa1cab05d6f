/* SPDX-License-Identifier: BSD-2-Clause */
/* Waits until the control socket and every function's socket answer hello. */
#include "args.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "commands.h"
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define WAIT_DEFAULT_MS 10000
#define PAUSE_MS        20

static int knock(const struct icectl *icectl, const char *file, int timeout_ms, struct ice_why *why)
{
    struct client *client;
    int err = connect_socket(icectl, file, timeout_ms, &client, why);

    if (!err)
        client_close(client);
    return err;
}

/* One look at all sockets. */
static int try_all(const struct icectl *icectl, int timeout_ms, struct ice_why *why)
{
    struct client *control;
    struct name *names;
    unsigned count;
    int err = connect_socket(icectl, "control", timeout_ms, &control, why);

    if (err)
        return err;
    err = list_functions(control, &names, &count, why);
    client_close(control);
    if (err)
        return err;
    for (unsigned i = 0; !err && i < count; i++)
        err = knock(icectl, names[i].text, timeout_ms, why);
    free(names);
    return err;
}

static enum status wait_for_all(const struct icectl *icectl)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    int timeout = icectl->timeout_ms < 0 ? WAIT_DEFAULT_MS : icectl->timeout_ms;
    int64_t end = now_ms() + timeout;

    for (;;) {
        struct ice_why why;
        int64_t left = end - now_ms();
        int err = try_all(icectl, (int)(left > PAUSE_MS ? left : PAUSE_MS), &why);

        if (!err)
            return STATUS_DONE;
        if (now_ms() + PAUSE_MS > end)
            return fail_connect(icectl, err, &why);
        nanosleep(&pause, NULL);
    }
}

enum status command_wait(struct icectl *icectl, const struct command_entry *entry, int argc,
                         char **argv)
{
    void *table[] = {arg_lit0(NULL, "help", "show this"), arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = wait_for_all(icectl);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
