/* SPDX-License-Identifier: BSD-2-Clause */
#include "activation.h"
#include "base/parse.h"
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3

/* Whether the variables are for this process: they may be left from a parent's. */
static bool is_for_us(void)
{
    const char *text = getenv("LISTEN_PID");
    uint64_t pid;
    return text && !parse_number(text, INT_MAX, &pid, NULL) && (pid_t)pid == getpid();
}

static unsigned count_names(const char *names)
{
    unsigned n = 1;
    for (; *names; names++)
        n += *names == ':';
    return n;
}

/* `names` is cut up. */
static int each_named(unsigned count, char *names,
                      int (*each)(void *, unsigned, const char *, int, struct ice_why *),
                      void *user, struct ice_why *why)
{
    int err = 0;
    for (unsigned i = 0; !err && i < count; i++)
        err = each(user, i, strsep(&names, ":"), FIRST_FD + (int)i, why);
    return err;
}

static int read_variables(unsigned *count, char **names, struct ice_why *why)
{
    const char *fds = getenv("LISTEN_FDS"), *list = getenv("LISTEN_FDNAMES");
    struct ice_why cause;
    uint64_t number;
    if (!fds || !is_for_us())
        return 0;
    if (parse_number(fds, INT_MAX - FIRST_FD, &number, &cause))
        return why_set(why, EINVAL, "LISTEN_FDS: %s", cause.text);
    *count = (unsigned)number;
    if (!number || !list)
        return 0;
    if (count_names(list) != number)
        return why_set(why, EINVAL, "LISTEN_FDNAMES has %u names, LISTEN_FDS says %u",
                       count_names(list), *count);
    *names = strdup(list);
    return *names ? 0 : why_set(why, ENOMEM, "no memory for names");
}

int activation_each(int (*each)(void *, unsigned, const char *, int, struct ice_why *), void *user,
                    struct ice_why *why)
{
    unsigned count = 0;
    char *names = NULL;
    int err = read_variables(&count, &names, why);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (!err)
        err = each_named(count, names, each, user, why);
    free(names);
    return err;
}
