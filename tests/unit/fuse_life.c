/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a mount: where it may begin, a killed server's, detached with files open, cut off. */
#include "fuse_front/fuse_front.h"
#include "mount_server.h"
#include "patience.h"
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static uint8_t data[8192], back[8192];

/* ---- start ---- */

/* Here and not in the server: who looks at a mount of his own may wait for himself. */
static void refused(const char *path, int err, const char *text)
{
    static const struct fuse_front_ops none;
    static const struct byte_file raw;
    struct fuse_front *front;
    struct ice_why why = {0};

    is_int(fuse_front_new(&none, &raw, &front, &why), 0, "%s", text);
    is_int(fuse_front_start(front, path, false, &why), -err, "%s: errno", text);
    is_str(why.text, text, "%s: clause", text);
    fuse_front_stop(front);
}

static void test_mountpoint(void)
{
    close(open(mount_path("file"), O_CREAT | O_WRONLY, 0600));
    refused(mount_path("nowhere"), ENOENT, "no such folder");
    refused(mount_path("file"), ENOTDIR, "not a folder");
    refused(mount_path(""), ENOTEMPTY, "the folder is not empty");
    unlink(mount_path("file"));
    mount_start();
    refused(mount_path(""), EBUSY, "icesim (fuse.icesim) is mounted there");
    mount_tell(STOP, 0, 0);
    refused("/proc", EBUSY, "proc (proc) is mounted there");
}

/* A server that is killed with a file open leaves a mount on which all fails. */
static void test_dead_mount(void)
{
    struct stat st;
    int fd;

    mount_start();
    fd = mount_open_at("raw", O_RDONLY);
    mount_kill();
    fails(stat(mount_path(""), &st), ENOTCONN, "killed, its mount is dead");
    mount_restart();
    mount_start();
    is_int(stat(mount_path("raw"), &st), 0, "and is replaced");
    fails(pread(fd, back, 512, 0), ENOTCONN, "what was open is not");
    mount_tell(STOP, 0, 0);
    fails(stat(mount_path("raw"), &st), ENOENT, "stopped, the name is free");
    close(fd);
}

/* ---- the end ---- */

static void test_detach(void)
{
    int first = mount_open_at("slot/0", O_RDWR), again = mount_open_at("slot/0", O_RDWR);
    int raw = mount_open_at("raw", O_RDONLY);
    char self[64];
    struct stat st;

    snprintf(self, sizeof(self), "/proc/self/fd/%d", raw);
    mount_tell(DETACH, 0, 0);
    fails(stat(mount_path("raw"), &st), ENOENT, "the name is gone");
    is_int(pwrite(first, data, 5000, 3), 5000, "an open file is written");
    is_int(fsync(first), 0, "and flushed");
    fails(open(self, O_RDONLY), ENOENT, "nothing can be opened again");
    ok(mount_has_open("raw, slot/0 (2 times), "), "what is open: %s", mount_text);
    ok(!mount_tell(WAIT_CLOSED, 50, 0), "the wait for it has a limit");
    ok(!mount_tell(WAIT_CLOSED, PATIENCE_MS, 1), "and can be broken off");
    close(raw);
    close(first);
    ok(!mount_tell(WAIT_CLOSED, 50, 0), "one is still open");
    close(again);
    ok(mount_tell(WAIT_CLOSED, PATIENCE_MS, 0), "all is closed");
    mount_tell(STOP, 0, 0);
}

static void test_detach_idle(void)
{
    mount_start();
    mount_tell(DETACH, 0, 0);
    ok(mount_tell(WAIT_CLOSED, PATIENCE_MS, 0), "nothing open: closed at once");
    mount_tell(STOP, 0, 0);
}

static void test_cut_off(void)
{
    int fd;

    mount_start();
    fd = mount_open_at("raw", O_RDWR);
    mount_tell(DETACH, 0, 0);
    mount_tell(STOP, 0, 0);
    fails(pread(fd, back, 512, 0), ENOTCONN, "a stop cuts off what is open");
    close(fd);
}

/* ---- a loop device ---- */

static bool run_losetup(const char *arguments, char *line, size_t size)
{
    char command[256];
    FILE *out;
    bool there;

    snprintf(command, sizeof(command), "losetup %s 2>/dev/null", arguments);
    out = popen(command, "re");
    if (!out)
        return false;
    there = fgets(line, (int)size, out);
    if (there)
        line[strcspn(line, "\n")] = '\0';
    return !pclose(out) && there;
}

static void test_loop(void)
{
    char arguments[192], loop[64] = "", unused[8], want[128];
    int fd;

    mount_start();
    snprintf(arguments, sizeof(arguments), "-f --show %s", mount_path("slot/10"));
    if (!run_losetup(arguments, loop, sizeof(loop))) {
        skip("no loop devices here");
        mount_tell(STOP, 0, 0);
        return;
    }
    mount_tell(DETACH, 0, 0);
    snprintf(want, sizeof(want), "slot/10, %s on slot/10, ", loop);
    ok(mount_has_open(want), "a loop device is named: %s", mount_text);
    fd = open(loop, O_RDWR | O_CLOEXEC);
    is_int(pwrite(fd, data, 8192, 4096), 8192, "it is served on");
    is_int(fsync(fd), 0, "and flushed");
    close(fd);
    ok(!mount_tell(WAIT_CLOSED, 50, 0), "until it goes");
    snprintf(arguments, sizeof(arguments), "-d %s", loop);
    run_losetup(arguments, unused, sizeof(unused));
    ok(mount_tell(WAIT_CLOSED, PATIENCE_MS, 0), "then all is closed");
    mount_tell(STOP, 0, 0);
}

int main(void)
{
    if (!mount_open()) {
        skip("/dev/fuse cannot be opened");
        return tap_done();
    }
    test_dead_mount();
    test_mountpoint();
    mount_start();
    test_detach();
    test_detach_idle();
    test_cut_off();
    test_loop();
    is_int(mount_close(), 0, "the server ends well");
    return tap_done();
}
