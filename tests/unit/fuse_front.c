/* SPDX-License-Identifier: BSD-2-Clause */
/* The FUSE tree, mounted: names, attributes, bytes, and files whose slot has gone. */
#include "gate_store.h"
#include "mount_server.h"
#include "patience.h"
#include "tap.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static uint8_t data[4 << 20], back[4 << 20];

/* ---- the tree ---- */

static void names_in(const char *name, char *names, size_t size)
{
    DIR *dir = opendir(mount_path(name));

    names[0] = '\0';
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        snprintf(names + strlen(names), size - strlen(names), "%s:%llu ", entry->d_name,
                 (unsigned long long)entry->d_ino);
    if (dir)
        closedir(dir);
}

/* Mounted since `start`. */
static void test_tree(time_t start)
{
    char names[256];
    struct stat st;
    struct statvfs vfs;

    names_in("", names, sizeof(names));
    is_str(names, ".:1 ..:1 raw:2 slot:4 view:5 status.json:4099 ", "the root");
    names_in("slot", names, sizeof(names));
    is_str(names, ".:4 ..:1 0:4112 10:4122 ", "slot: the programmed ones");
    stat(mount_path("raw"), &st);
    is_int(st.st_mode, S_IFREG | 0600, "raw: mode");
    is_int(st.st_size, MOUNT_SECTORS * 512, "raw: size");
    is_int(st.st_blocks, MOUNT_SECTORS, "raw: blocks");
    is_int(st.st_nlink, 1, "raw: links");
    is_int(st.st_uid, getuid(), "raw: owner");
    ok(st.st_mtime >= start && st.st_mtime <= time(NULL) + 1, "raw: time");
    stat(mount_path("slot/0"), &st);
    is_int(st.st_size, MOUNT_SIZE, "slot/0: size in whole data units");
    is_int(st.st_blksize, MOUNT_UNIT, "slot/0: block size");
    is_int(st.st_ino, 4112, "slot/0: inode");
    stat(mount_path("slot"), &st);
    is_int(st.st_mode, S_IFDIR | 0700, "slot: mode");
    stat(mount_path(""), &st);
    is_int(st.st_nlink, 4, "the root: links");
    names_in("view", names, sizeof(names));
    is_str(names, ".:5 ..:1 a:343597387782 b:618475294726 ", "view: in the order of numbers");
    stat(mount_path("view/b"), &st);
    is_int(st.st_mode, S_IFREG | 0600, "view/b: mode");
    is_int(st.st_size, MOUNT_SECTORS * 512, "view/b: size");
    fails(stat(mount_path("view/c"), &st), ENOENT, "no view of that name");
    stat(mount_path("view"), &st);
    is_int(st.st_mode, S_IFDIR | 0700, "view: mode");
    is_int(st.st_nlink, 2, "view: links");
    fails(stat(mount_path("slot/1"), &st), ENOENT, "an empty slot has no file");
    fails(stat(mount_path("slot/12"), &st), ENOENT, "nor has one out of range");
    fails(stat(mount_path("slot/00"), &st), ENOENT, "nor another spelling");
    fails(stat(mount_path("slot/0x"), &st), ENOENT, "nor a name");
    fails(stat(mount_path("views"), &st), ENOENT, "nor a folder that is not there");
    fails(stat(mount_path("vm0"), &st), ENOENT, "an only function has no folder");
    is_int(statvfs(mount_path(""), &vfs), 0, "statfs");
    is_int((intmax_t)(vfs.f_blocks * vfs.f_frsize), MOUNT_SECTORS * 512, "tells the size");
}

static void test_refusals(void)
{
    char other[128];
    int fd = mount_open_at("raw", O_RDWR);
    loff_t from = 0, to = 8192;

    snprintf(other, sizeof(other), "%s", mount_path("other"));
    fails(open(other, O_CREAT | O_WRONLY, 0600), EPERM, "create");
    fails(mkdir(other, 0700), EPERM, "mkdir");
    fails(mknod(other, S_IFREG | 0600, 0), EPERM, "mknod");
    fails(symlink("raw", other), EPERM, "symlink");
    fails(link(mount_path("raw"), other), EPERM, "link");
    fails(rename(mount_path("raw"), other), EPERM, "rename");
    fails(unlink(mount_path("raw")), EPERM, "unlink");
    fails(rmdir(mount_path("slot")), EPERM, "rmdir");
    for (int twice = 0; twice < 2; twice++) {
        fails(fsetxattr(fd, "user.a", "b", 1, 0), EOPNOTSUPP, "setxattr");
        fails(fgetxattr(fd, "user.a", other, 1), EOPNOTSUPP, "getxattr");
        fails(flistxattr(fd, other, 1), EOPNOTSUPP, "listxattr");
        fails(fremovexattr(fd, "user.a"), EOPNOTSUPP, "removexattr");
        fails(ioctl(fd, BLKGETSIZE64, data), ENOTTY, "ioctl");
    }
    is_int(copy_file_range(fd, &from, fd, &to, 4096, 0), 4096, "copy_file_range does its work");
    is_int(poll(&(struct pollfd){.fd = fd, .events = POLLIN | POLLOUT}, 1, 0), 1, "poll");
    fails(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0, ENODEV,
          "a shared mapping");
    close(fd);
}

static void test_status(void)
{
    int fd = mount_open_at("status.json", O_RDONLY);
    char text[64] = "", again[64] = "";
    struct stat st;

    is_int(read(fd, text, sizeof(text)), 11, "status.json");
    is_int(pread(fd, again, sizeof(again), 0), 11, "once more");
    is_str(again, text, "an open has one text");
    is_int(pread(fd, again, sizeof(again), 5), 6, "from the middle");
    is_int(pread(fd, again, sizeof(again), 11), 0, "at its end");
    is_int(lseek(fd, 0, SEEK_END), 11, "its size");
    is_int(fsync(fd), 0, "fsync");
    close(fd);
    stat(mount_path("status.json"), &st);
    is_int(st.st_mode, S_IFREG | 0400, "its mode");
    fails(mount_open_at("status.json", O_RDWR), EACCES, "it cannot be written");
}

/* ---- bytes ---- */

static void test_bytes(void)
{
    int slot = mount_open_at("slot/0", O_RDWR), raw = mount_open_at("raw", O_RDONLY);
    size_t len = 3 << 20;

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 13 ^ i >> 9);
    is_int(pwrite(slot, data + 1, len - 1, 12345), (intmax_t)len - 1, "3 MiB at odd places");
    is_int(pread(slot, back, len - 1, 12345), (intmax_t)len - 1, "read");
    ok(!memcmp(back, data + 1, len - 1), "what was written");
    is_int(pread(raw, back, len, 0), (intmax_t)len, "raw");
    ok(!memmem(back, len, data + 100, 16), "has no plaintext");
    is_int(pwrite(slot, data, 100, MOUNT_SIZE - 40), 40, "a write over the end is short");
    fails(pwrite(slot, data, 60, MOUNT_SIZE), ENOSPC, "then there is no space");
    is_int(pread(slot, back, 100, MOUNT_SIZE - 40), 40, "a read over the end is short");
    is_int(pread(slot, back, 100, MOUNT_SIZE), 0, "then it is the end");
    close(slot);
    close(raw);
}

static void test_size(void)
{
    int fd = mount_open_at("slot/0", O_RDWR | O_TRUNC);
    struct stat st;

    is_int(fstat(fd, &st) ? -1 : st.st_size, MOUNT_SIZE, "O_TRUNC leaves the size");
    is_int(pread(fd, back, 16, 20000), 16, "and the bytes");
    ok(!memcmp(back, data + 20000 - 12345 + 1, 16), "as they were");
    fails(ftruncate(fd, 4096), EINVAL, "ftruncate to another size");
    is_int(ftruncate(fd, MOUNT_SIZE), 0, "to the same");
    fails(truncate(mount_path("slot/0"), 0), EINVAL, "truncate");
    is_int(fchmod(fd, 0644), 0, "chmod is taken");
    is_int(futimens(fd, NULL), 0, "times too");
    is_int(fchown(fd, getuid(), getgid()), 0, "owner too");
    fstat(fd, &st);
    is_int(st.st_mode, S_IFREG | 0600, "and forgotten");
    is_int(lseek(fd, 100, SEEK_DATA), 100, "SEEK_DATA");
    is_int(lseek(fd, 100, SEEK_HOLE), MOUNT_SIZE, "SEEK_HOLE");
    fails(lseek(fd, MOUNT_SIZE, SEEK_DATA), ENXIO, "SEEK_DATA at the end");
    close(fd);
}

static void test_fallocate(void)
{
    int slot = mount_open_at("slot/0", O_RDWR), raw = mount_open_at("raw", O_RDWR);
    int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, size = MOUNT_SECTORS * 512;

    for (int twice = 0; twice < 2; twice++) {
        fails(fallocate(slot, punch, 0, 4096), EOPNOTSUPP, "slot/0: punch a hole");
        fails(fallocate(slot, FALLOC_FL_ZERO_RANGE, 0, 4096), EOPNOTSUPP, "slot/0: zero a range");
        fails(fallocate(raw, 0, 0, 4096), EOPNOTSUPP, "raw: allocate");
    }
    memset(data, 0x77, 8192);
    is_int(pwrite(raw, data, 8192, 0), 8192, "raw: write");
    is_int(fallocate(raw, punch, 100, 3000), 0, "raw: punch a hole at odd places");
    is_int(fallocate(raw, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 5000, 50), 0,
           "raw: zero a range");
    memset(data + 100, 0, 3000);
    memset(data + 5000, 0, 50);
    is_int(pread(raw, back, 8192, 0), 8192, "raw: read");
    is_mem(back, data, 8192, "raw: zeros where they belong");
    is_int(fallocate(raw, FALLOC_FL_ZERO_RANGE, size - 512, 512), 0, "raw: up to the end");
    fails(fallocate(raw, FALLOC_FL_ZERO_RANGE, size - 512, 513), ENOSPC, "raw: past the end");
    is_int(fallocate(raw, punch, size - 512, 9999), 0, "raw: a hole past the end");
    close(slot);
    close(raw);
}

static void test_stable(void)
{
    struct iovec iov = {data, 4096};
    int flushes = mount_tell(COUNT, GATE_FLUSH, 0);
    int fd = mount_open_at("slot/0", O_RDWR), dsync = mount_open_at("slot/0", O_RDWR | O_DSYNC);

    is_int(pwrite(fd, data, 4096, 0), 4096, "a write");
    is_int(mount_tell(COUNT, GATE_FLUSH, 0), flushes, "is no flush");
    is_int(pwritev2(fd, &iov, 1, 0, RWF_DSYNC), 4096, "a write with RWF_DSYNC");
    is_int(mount_tell(COUNT, GATE_FLUSH, 0), flushes + 1, "is one");
    is_int(pwrite(dsync, data, 4096, 0), 4096, "a write of an O_DSYNC file");
    is_int(mount_tell(COUNT, GATE_FLUSH, 0), flushes + 2, "is one");
    is_int(fdatasync(fd), 0, "fdatasync");
    is_int(mount_tell(COUNT, GATE_FLUSH, 0), flushes + 3, "is one");
    mount_tell(FAIL, GATE_FLUSH, EIO);
    fails(pwrite(dsync, data, 4096, 0), EIO, "a write that cannot be made stable");
    close(fd);
    close(dsync);
}

static void *write_unit(void *arg)
{
    off_t offset = (off_t)(uintptr_t)arg * MOUNT_UNIT;
    int fd = mount_open_at("slot/0", O_RDWR);
    ssize_t n = pwrite(fd, data, MOUNT_UNIT, offset);

    close(fd);
    return (void *)(intptr_t)n;
}

static void test_parallel(void)
{
    pthread_t threads[4];
    void *n;

    mount_tell(CLOSE, GATE_WRITE, 0);
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_unit, (void *)i);
    ok(mount_tell(WAIT, GATE_WRITE, 4), "four writes of one file are at the media at once");
    is_int(mount_tell(PROGRAM, 0, 1), -EBUSY, "which makes the slot busy");
    mount_tell(OPEN, GATE_WRITE, 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &n);
        is_int((intptr_t)n, MOUNT_UNIT, "a write");
    }
}

/* ---- dead files ---- */

static void is_dead(int fd, const char *name)
{
    struct stat st;

    note("%s", name);
    fails(pread(fd, back, 100, 5), ENOKEY, "read");
    fails(pwrite(fd, data, MOUNT_UNIT, 0), ENOKEY, "write");
    fails(pwrite(fd, data, 1, 0), ENOKEY, "write of a byte");
    fails(fsync(fd), ENOKEY, "fsync");
    is_int(fstat(fd, &st) ? -1 : st.st_size, MOUNT_SIZE, "fstat still tells the size");
}

static void test_dead_file(void)
{
    int fd = mount_open_at("slot/0", O_RDWR), fresh;

    mount_tell(PROGRAM, 0, 99);
    is_dead(fd, "programmed again");
    fresh = mount_open_at("slot/0", O_RDWR);
    is_int(pwrite(fresh, data, 100, 5), 100, "a new open works");
    mount_tell(EVICT, 0, 0);
    is_dead(fd, "evicted");
    is_dead(fresh, "evicted: the new one");
    fails(mount_open_at("slot/0", O_RDWR), ENOENT, "evicted: no open");
    mount_tell(PROGRAM, 0, 1);
    is_dead(fresh, "programmed for the third time");
    close(fd);
    close(fresh);
}

/* ---- functions ---- */

static int add(enum order order, int id, const char *name, int first_slot)
{
    snprintf(mount_text, sizeof(mount_text), "%s", name);
    return mount_tell(order, id, first_slot);
}

/* A removal waits for a close, but not for ever. */
static int remove_closed(int id)
{
    int r;

    soon((r = mount_tell(REMOVE, id, 0)) != -EBUSY);
    return r;
}

static void test_folders(void)
{
    char names[256];
    struct stat st, same;

    mount_tell(PROGRAM, 0, 1);
    add(ADD, 3, "vm3", 8);
    add(ADD_READ_ONLY, 2, "vm2", 0);
    names_in("", names, sizeof(names));
    is_str(names, ".:1 ..:1 raw:2 slot:4 view:5 status.json:4099 vm0:4097 vm2:8193 vm3:12289 ",
           "several functions: each has a folder");
    names_in("vm3", names, sizeof(names));
    is_str(names, ".:12289 ..:1 raw:12290 slot:12292 view:12293 status.json:12291 ",
           "with its files");
    names_in("vm3/slot", names, sizeof(names));
    is_str(names, ".:12292 ..:12289 10:12314 ", "and its slots");
    stat(mount_path(""), &st);
    is_int(st.st_nlink, 7, "the root: links");
    stat(mount_path("vm3"), &st);
    is_int(st.st_nlink, 4, "a folder: links");
    is_int(st.st_mode, S_IFDIR | 0700, "a folder: mode");
    stat(mount_path("slot/0"), &st);
    stat(mount_path("vm0/slot/0"), &same);
    ok(st.st_ino == same.st_ino && st.st_nlink == 2, "slot/0 is a name of vm0/slot/0");
    fails(stat(mount_path("vm3/slot/0"), &st), ENOENT, "a slot below the window has no file");
    fails(stat(mount_path("vm3/vm3"), &st), ENOENT, "a folder has no folders");
    fails(stat(mount_path("vm1"), &st), ENOENT, "nor is there one without its function");
    is_int(stat(mount_path("vm3/raw"), &st) ? -1 : st.st_size, MOUNT_SECTORS * 512, "its raw");
    fails(open(mount_path("vm3/status.json"), O_WRONLY), EACCES, "its status cannot be written");
}

static void test_views(void)
{
    int fd = mount_open_at("vm3/view/b", O_RDWR), top = mount_open_at("view/a", O_RDONLY);
    struct stat st, same;

    is_int(mount_tell(HOLDS, 0, 0), 2, "an open view is held");
    is_int(pwrite(fd, "view", 4, 70001), 4, "it is written");
    is_int(pread(top, back, 4, 70001), 4, "and read");
    is_mem(back, "view", 4, "what it shows");
    is_int(fsync(fd), 0, "and flushed");
    fails(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096), EOPNOTSUPP, "no holes in it");
    is_int(mount_tell(REMOVE, 3, 0), -EBUSY, "it keeps its function");
    is_str(mount_text, "file vm3/view/b is open", "in words");
    ok(mount_has_open("vm0/view/a, vm3/view/b, "), "what is open: %s", mount_text);
    stat(mount_path("view/a"), &st);
    stat(mount_path("vm0/view/a"), &same);
    ok(st.st_ino == same.st_ino && st.st_nlink == 2, "view/a is a name of vm0/view/a");
    fails(mount_open_at("vm2/view/a", O_RDWR), getuid() ? EACCES : EROFS, "one of a read-only");
    close(fd);
    close(top);
    ok(soon(!mount_tell(HOLDS, 0, 0)), "closed, they are let go");
}

static void test_layer(void)
{
    char names[256];
    struct stat st;
    int fd;

    add(ADD_LAYER, 5, "l0", 0);
    names_in("l0", names, sizeof(names));
    is_str(names, ".:20481 ..:1 raw:20482 view:20485 ", "a layer has raw and view");
    fails(stat(mount_path("l0/slot"), &st), ENOENT, "and no slots");
    fails(stat(mount_path("l0/status.json"), &st), ENOENT, "nor a status");
    stat(mount_path("l0"), &st);
    is_int(st.st_nlink, 3, "its folder: links");
    fd = mount_open_at("l0/raw", O_RDWR);
    is_int(pread(fd, back, 100, 7), 100, "its raw is read");
    is_int(mount_tell(REMOVE, 5, 0), -EBUSY, "and keeps it");
    close(fd);
    is_int(remove_closed(5), 0, "until it is closed");
}

static void test_read_only(void)
{
    struct stat st;
    int fd;

    stat(mount_path("vm2/slot/0"), &st);
    is_int(st.st_mode, S_IFREG | 0400, "read-only: mode of a slot");
    stat(mount_path("vm2/raw"), &st);
    is_int(st.st_mode, S_IFREG | 0600, "of raw, which is the owner's");
    fails(mount_open_at("vm2/slot/0", O_RDWR), getuid() ? EACCES : EROFS,
          "it is not opened to write");
    fd = mount_open_at("vm2/slot/0", O_RDONLY);
    is_int(pread(fd, back, 100, 0), 100, "but is read");
    fstat(fd, &st);
    is_int(st.st_mode, S_IFREG | 0400, "and open has its mode");
    close(fd);
}

static _Atomic bool over;

static void *use_while_there(void *arg)
{
    char byte;
    intptr_t bad = 0;

    (void)arg;
    while (!over) {
        int fd = mount_open_at("vm3/slot/10", O_RDWR);
        struct stat st;
        if (fd >= 0) {
            bad += pread(fd, &byte, 1, 0) != 1 || fstat(fd, &st) || st.st_nlink != 1;
            close(fd);
        } else if (errno != ENOENT) {
            bad++;
        }
    }
    return (void *)bad;
}

/* A file that was opened works, whenever its function was to go. */
static void test_race(void)
{
    pthread_t threads[3];
    int64_t end = now_ms() + PATIENCE_MS;
    unsigned gone = 0, other = 0;
    void *bad;

    for (unsigned i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, use_while_there, NULL);
    for (unsigned i = 0; i < 100 || (!gone && now_ms() < end); i++) {
        int r = mount_tell(REMOVE, 3, 0);
        gone += r == 0;
        other += r && r != -EBUSY;
        if (!r)
            add(ADD, 3, "vm3", 8);
    }
    over = true;
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], &bad);
        is_int((intptr_t)bad, 0, "what was opened worked");
    }
    is_int(other, 0, "a removal is done or refused");
    ok(gone, "some were done");
}

/* The close of a file is waited for, an open one is not. */
static void test_removal(void)
{
    int fd = mount_open_at("vm3/slot/10", O_RDWR), raw = mount_open_at("vm2/raw", O_RDONLY), other;
    int64_t start = now_ms();
    struct stat st;

    is_int(mount_tell(REMOVE, 3, 0), -EBUSY, "a function with a file open stays");
    ok(now_ms() - start >= 500, "after a wait for its close");
    is_str(mount_text, "file vm3/slot/10 is open", "in words");
    is_int(pwrite(fd, data, 100, 7), 100, "the file works on");
    close(fd);
    is_int(remove_closed(3), 0, "once closed it goes");
    fails(stat(mount_path("vm3"), &st), ENOENT, "at once");
    is_int(pread(raw, back, 100, 0), 100, "another's open file is not disturbed");
    is_int(mount_tell(REMOVE, 2, 0), -EBUSY, "raw keeps its function");
    is_str(mount_text, "file vm2/raw is open", "in words");
    close(raw);
    add(ADD, 4, "vm3", 0);
    stat(mount_path("vm3/raw"), &st);
    is_int(st.st_ino, 4 << 12 | 2, "a new function of the name has other inodes");
    other = mount_open_at("status.json", O_RDONLY);
    is_int(mount_tell(REMOVE, 1, 0), -EBUSY, "status.json keeps the first");
    is_str(mount_text, "file vm0/status.json is open", "in words");
    close(other);
    is_int(remove_closed(1), 0, "the first goes");
    stat(mount_path("slot/0"), &st);
    is_int(st.st_ino, 2 << 12 | 16, "and another is the first");
    is_int(remove_closed(2), 0, "the second goes");
    fails(stat(mount_path("vm3"), &st), ENOENT, "the last has no folder");
    is_int(remove_closed(4), 0, "the last goes");
    fails(stat(mount_path("status.json"), &st), ENOENT, "no function, no status");
    fails(stat(mount_path("slot/0"), &st), ENOENT, "no slots");
    is_int(stat(mount_path("slot"), &st), 0, "but their folder");
    is_int(stat(mount_path("raw"), &st), 0, "and raw");
}

int main(void)
{
    time_t start = time(NULL);

    if (!mount_open()) {
        skip("/dev/fuse cannot be opened");
        return tap_done();
    }
    mount_start();
    test_tree(start);
    test_refusals();
    test_status();
    test_bytes();
    test_size();
    test_fallocate();
    test_stable();
    test_parallel();
    test_dead_file();
    test_folders();
    test_read_only();
    test_views();
    test_layer();
    test_race();
    test_removal();
    mount_tell(STOP, 0, 0);
    is_int(mount_close(), 0, "the server ends well");
    return tap_done();
}
