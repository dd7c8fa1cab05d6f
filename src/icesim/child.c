/* SPDX-License-Identifier: BSD-2-Clause */
/* posix_spawn, since fork is no friend of threads. */
#include "child.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int set_path(struct ice_why *why)
{
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (len < 0)
        return why_errno(why, errno, "/proc/self/exe");
    program[len] = 0;
    *strrchr(program, '/') = 0;
    const char *path = getenv("PATH");
    char *longer;
    if (asprintf(&longer, "%s%s%s", program, path ? ":" : "", path ? path : "") < 0)
        return why_set(why, ENOMEM, "no memory for PATH");
    int err = setenv("PATH", longer, 1) < 0 ? why_errno(why, errno, "PATH") : 0;
    free(longer);
    return err;
}

int child_environment(const char *dir, const char *mount, struct ice_why *why)
{
    if (setenv("ICESIM_DIR", dir, 1) < 0)
        return why_errno(why, errno, "ICESIM_DIR");
    if ((mount ? setenv("ICESIM_MOUNT", mount, 1) : unsetenv("ICESIM_MOUNT")) < 0)
        return why_errno(why, errno, "ICESIM_MOUNT");
    return set_path(why);
}

int child_start(const char *command, pid_t *pid, struct ice_why *why)
{
    char shell[] = "sh", option[] = "-c";
    char *argv[] = {shell, option, (char *)(uintptr_t)command, NULL};
    posix_spawnattr_t attributes;
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int err = posix_spawn(pid, "/bin/sh", NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    return err ? why_errno(why, err, "starting /bin/sh") : 0;
}

bool child_ended(pid_t pid, int *status)
{
    int raw;
    if (waitpid(pid, &raw, WNOHANG) != pid)
        return false;
    *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    return true;
}
