/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of listening sockets: whose they are, and that nobody else's is removed. */
#include "icesim/socket_path.h"
#include "tap.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], path[96];

static bool is_there(void)
{
    return access(path, F_OK) == 0;
}

/* Returns the words of a refusal, or "". */
static const char *listen_again(void)
{
    static struct ice_why why;

    why.text[0] = 0;
    int fd = socket_listen(path, &why);
    if (fd >= 0)
        close(fd);
    return fd == -EADDRINUSE ? why.text : "";
}

static void test_who_listens(void)
{
    int fd = socket_listen(path, NULL), status = -1;

    ok(fd >= 0, "a socket");
    ok(strstr(listen_again(), ": icesim itself listens there"), "its own is called so");
    pid_t child = fork();
    if (child == 0)
        _exit(!strstr(listen_again(), ": another process listens there"));
    waitpid(child, &status, 0);
    is_int(status, 0, "another process's too");
    close(fd);
    fd = socket_listen(path, NULL);
    ok(fd >= 0, "one that nobody serves is replaced");
    close(fd);
    unlink(path);
}

static void test_unlink(void)
{
    int mine = socket_listen(path, NULL);
    struct socket_file file = socket_file(path), none = {0};

    unlink(path);
    int other = socket_listen(path, NULL);
    struct socket_file others = socket_file(path);
    socket_unlink(path, &file);
    ok(is_there(), "another's socket of the name stays");
    socket_unlink(path, &none);
    ok(is_there(), "also for who has none");
    socket_unlink(path, &others);
    ok(!is_there(), "the socket that it was made for goes");
    socket_unlink(path, &others);
    ok(!is_there(), "and may be gone already");
    close(mine);
    close(other);
}

int main(void)
{
    snprintf(folder, sizeof(folder), "/tmp/icesim-socket.XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof(path), "%s/socket", folder);
    test_who_listens();
    test_unlink();
    rmdir(folder);
    return tap_done();
}
