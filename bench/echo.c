/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bound of the socket cases: a client and a server, two processes with one thread each, that
 * move as many bytes per request and reply as the protocol does and look at none of them.
 */
#include "clock.h"
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFER (4u << 20)

/* Of a REQUEST frame: array head to bulk head 10, virtio-blk header 16, ICE payload 16. */
#define HEAD_BYTES 42
/* Array head, number, tag, a status byte as a string, null. */
#define REPLY_BYTES 8

static uint8_t buffer[BUFFER];

__attribute__((noreturn)) static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* The other side has measured enough, or something is wrong. */
__attribute__((noreturn)) static void stop(const char *what)
{
    if (errno && errno != EPIPE && errno != ECONNRESET)
        fail(what);
    exit(0);
}

static void send_all(int fd, size_t len)
{
    while (len) {
        ssize_t n = send(fd, buffer, len < BUFFER ? len : BUFFER, MSG_NOSIGNAL);

        if (n < 0)
            stop("echo: send");
        len -= (size_t)n;
    }
}

/* How many whole messages of `size` have come, with what came of one before in *part. */
static size_t receive(int fd, size_t size, size_t *part)
{
    ssize_t n;

    errno = 0;
    n = recv(fd, buffer, BUFFER, 0);
    if (n <= 0)
        stop("echo: recv");
    *part += (size_t)n;
    n = (ssize_t)(*part / size);
    *part %= size;
    return (size_t)n;
}

static void serve(int fd, size_t request)
{
    for (size_t part = 0;;)
        send_all(fd, receive(fd, request, &part) * REPLY_BYTES);
}

static void drive(int fd, size_t data, size_t in_flight, double seconds)
{
    size_t request = HEAD_BYTES + data;
    double start = seconds_now(), now = start;
    uint64_t requests = 0;
    size_t part = 0;

    send_all(fd, in_flight * request);
    while (now - start < seconds) {
        size_t n = receive(fd, REPLY_BYTES, &part);

        requests += n;
        send_all(fd, n * request);
        now = seconds_now();
    }
    print_rate(requests * data, now - start);
}

int main(int argc, char **argv)
{
    size_t data;
    int fds[2];
    pid_t child;

    if (argc != 4) {
        fputs("usage: echo DATA-BYTES IN-FLIGHT SECONDS\n", stderr);
        return 2;
    }
    data = (size_t)argument(argv[1]);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        fail("echo: socketpair");
    memset(buffer, 0x5a, sizeof(buffer));
    child = fork();
    if (child < 0)
        fail("echo: fork");
    if (!child) {
        close(fds[0]);
        serve(fds[1], HEAD_BYTES + data);
    }
    close(fds[1]);
    drive(fds[0], data, (size_t)argument(argv[2]), argument(argv[3]));
    shutdown(fds[0], SHUT_RDWR);
    close(fds[0]);
    waitpid(child, NULL, 0);
    return 0;
}
