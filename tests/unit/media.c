/* SPDX-License-Identifier: BSD-2-Clause */
/* RAM and file stores: content, holes, locks, and what store_open_file refuses. */
#include "base/bytes.h"
#include "media/store.h"
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

static char dir[64];

/* A path in the test's folder; good until the fourth next call. */
static const char *in_dir(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static int write_at(struct store *store, uint64_t offset, const void *bytes, size_t len,
                    struct ice_why *why)
{
    struct iovec iov = {(void *)bytes, len};
    return store->ops->write(store, offset, &iov, 1, why);
}

static int read_at(struct store *store, uint64_t offset, void *bytes, size_t len,
                   struct ice_why *why)
{
    struct iovec iov = {bytes, len};
    return store->ops->read(store, offset, &iov, 1, why);
}

static bool filled_with(struct store *store, uint64_t offset, size_t len, int byte)
{
    unsigned char *got = malloc(len);
    bool same = read_at(store, offset, got, len, NULL) == 0;
    for (size_t i = 0; i < len; i++)
        same &= got[i] == byte;
    free(got);
    return same;
}

static void fill(struct store *store, uint64_t offset, size_t len, int byte)
{
    void *bytes = malloc(len);
    memset(bytes, byte, len);
    is_int(write_at(store, offset, bytes, len, NULL), 0, "write %zu bytes at %llu", len,
           (unsigned long long)offset);
    free(bytes);
}

static off_t allocated(const char *path)
{
    struct stat st;
    return stat(path, &st) ? -1 : (off_t)st.st_blocks * 512;
}

/* What every store must do. `store` has 4 MiB, all zero. */
static void test_content(const char *name, struct store *store)
{
    static char half[64 * 1024];
    ok(store->size == 4 * MIB, "%s: size", name);
    ok(filled_with(store, 0, 4 * MIB, 0), "%s: reads as zeros at first", name);
    fill(store, MIB, MIB, 0xaa);
    ok(filled_with(store, MIB, MIB, 0xaa) && filled_with(store, MIB - 512, 512, 0) &&
           filled_with(store, 2 * MIB, 512, 0),
       "%s: what is written is read, and nothing else changes", name);
    is_int(store->ops->flush(store, NULL), 0, "%s: flush", name);

    is_int(store->ops->zero(store, MIB + 512, 1024, false, NULL), 0, "%s: zero", name);
    is_int(store->ops->zero(store, MIB + 64 * KIB, 64 * KIB, true, NULL), 0, "%s: zero, unmap",
           name);
    is_int(store->ops->discard(store, MIB + 512 * KIB, 512 * KIB - 512, NULL), 0, "%s: discard",
           name);
    ok(filled_with(store, MIB, 512, 0xaa) && filled_with(store, MIB + 512, 1024, 0) &&
           filled_with(store, MIB + 1536, 64 * KIB - 1536, 0xaa) &&
           filled_with(store, MIB + 64 * KIB, 64 * KIB, 0) &&
           filled_with(store, MIB + 128 * KIB, 384 * KIB, 0xaa) &&
           filled_with(store, MIB + 512 * KIB, 512 * KIB - 512, 0) &&
           filled_with(store, 2 * MIB - 512, 512, 0xaa),
       "%s: exactly these ranges are zero", name);
    is_int(store->ops->zero(store, 0, 0, false, NULL), 0, "%s: zero of nothing", name);

    memset(half, 0x11, sizeof(half));
    struct iovec many[3000];
    for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = (struct iovec){half, i % 3 ? 512 : 0};
    is_int(store->ops->write(store, 2 * MIB, many, ARRAY_SIZE(many), NULL), 0,
           "%s: more parts than the kernel takes at once", name);
    ok(filled_with(store, 2 * MIB, 2000 * 512, 0x11) &&
           filled_with(store, 2 * MIB + 2000 * 512, 512, 0),
       "%s: all of them written", name);
    fill(store, 4 * MIB - 512, 512, 0x22);
    ok(filled_with(store, 4 * MIB - 512, 512, 0x22), "%s: the last sector", name);
}

/* Bytes of memory behind the only memfd of this process. */
static long long ram_used(void)
{
    DIR *fds = opendir("/proc/self/fd");
    long long used = -1;
    for (struct dirent *entry; fds && (entry = readdir(fds));) {
        char target[128];
        ssize_t len = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);
        struct stat st;
        if (len > 0 && !strncmp(target, "/memfd:icesim", 13) && !fstat(atoi(entry->d_name), &st))
            used = (long long)st.st_blocks * 512;
    }
    if (fds)
        closedir(fds);
    return used;
}

static long resident_kib(void)
{
    long pages = -1;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm && fscanf(statm, "%*d %ld", &pages) != 1)
        pages = -1;
    if (statm)
        fclose(statm);
    return pages * sysconf(_SC_PAGESIZE) / 1024;
}

static void test_terabyte(void)
{
    struct store *store = NULL;
    struct ice_why why = {0};
    uint64_t size = UINT64_C(1) << 40;
    if (!is_int(store_open_ram(size, &store, &why), 0, "1 TiB of RAM: open"))
        return;
    static char room[MIB];
    memset(room, 1, sizeof(room));
    long before = resident_kib();
    bool zeros = true;
    for (uint64_t i = 0; i < 2048; i++) {
        zeros &= read_at(store, i * (size / 2048), room, sizeof(room), NULL) == 0;
        zeros &= !room[0] && !room[sizeof(room) - 1];
    }
    ok(zeros, "1 TiB of RAM: 2 GiB read in 2048 places are zeros");
    ok(ram_used() == 0, "1 TiB of RAM: no page behind it (%lld bytes)", ram_used());
    ok(resident_kib() - before < 16 * 1024, "1 TiB of RAM: reading grew the process by %ld KiB",
       resident_kib() - before);

    fill(store, size - MIB, MIB, 0x44);
    ok(ram_used() >= (long long)MIB, "1 TiB of RAM: writing takes memory");
    is_int(store->ops->zero(store, size - KIB * MIB, KIB * MIB, false, NULL), 0,
           "1 TiB of RAM: zero the last GiB");
    ok(ram_used() == 0, "1 TiB of RAM: zeroing gives the memory back (%lld bytes)", ram_used());
    store_close(store);
}

static void test_ram(void)
{
    struct store *store = NULL;
    struct ice_why why = {0};
    if (is_int(store_open_ram(4 * MIB, &store, &why), 0, "RAM: open")) {
        test_content("RAM", store);
        store_close(store);
    }
    is_int(store_open_ram(0, &store, &why), -EINVAL, "RAM: no size");
    is_int(store_open_ram(1000, &store, &why), -EINVAL, "RAM: no multiple of 512");
    is_str(why.text, "a size of 1000 bytes is no positive multiple of 512", "RAM: clause");
    is_int(store_open_ram(UINT64_C(1) << 63, &store, &why), -EFBIG, "RAM: 2^63 bytes");
}

static void test_file(void)
{
    struct store *store = NULL;
    struct ice_why why = {0};
    const char *path = in_dir("disk.img");
    if (!is_int(store_open_file(path, 4 * MIB, &store, &why), 0, "file: created"))
        return;
    struct stat st;
    ok(stat(path, &st) == 0 && st.st_size == (off_t)(4 * MIB) && (st.st_mode & 07777) == 0600,
       "file: size and mode");
    ok(st.st_blocks == 0, "file: sparse");
    test_content("file", store);

    fill(store, 0, 2 * MIB, 0x55);
    store->ops->flush(store, NULL);
    off_t full = allocated(path);
    is_int(store->ops->discard(store, 0, 2 * MIB, NULL), 0, "file: discard 2 MiB");
    off_t after = allocated(path);
    ok(full - after >= (off_t)(MIB * 3 / 2), "file: discard gives space back (%lld to %lld bytes)",
       (long long)full, (long long)after);
    fill(store, 0, MIB, 0x66);
    store->ops->flush(store, NULL);
    full = allocated(path);
    store->ops->zero(store, 0, MIB, false, NULL);
    ok(allocated(path) >= full, "file: zero without unmap keeps the space");
    fill(store, 0, 4096, 0x77);
    store_close(store);

    if (is_int(store_open_file(path, 0, &store, &why), 0, "file: opened again, any size")) {
        ok(store->size == 4 * MIB && filled_with(store, 0, 4096, 0x77), "file: content kept");
        store_close(store);
    }
    is_int(store_open_file(path, 4 * MIB, &store, &why), 0, "file: opened again, right size");
    store_close(store);
}

/* Expects store_open_file to refuse with `err` and this clause. */
__attribute__((format(printf, 4, 5))) static void refused(const char *path, uint64_t size, int err,
                                                          const char *format, ...)
{
    struct store *store = NULL;
    struct ice_why why = {0};
    char clause[ICE_WHY_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(clause, sizeof(clause), format, args);
    va_end(args);
    is_int(store_open_file(path, size, &store, &why), -err, "refused: %s", clause);
    is_int(why.err, err, "refused: errno in the clause");
    is_str(why.text, clause, "refused: clause");
    ok(!store, "refused: no store");
}

static void make_file(const char *path, off_t size, mode_t mode)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0 || ftruncate(fd, size))
        note("cannot make %s", path);
    close(fd);
}

static void test_refusals(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s", in_dir("refused.img"));
    refused(path, 0, ENOENT, "%s does not exist and no size is given to create it with", path);
    refused(in_dir("no/such/folder.img"), 4096, ENOENT,
            "cannot create %s: No such file or directory", in_dir("no/such/folder.img"));
    refused(path, 1000, EINVAL, "a size of 1000 bytes is no positive multiple of 512");
    ok(access(path, F_OK) != 0, "refused: nothing was created");
    make_file(path, 4096, 0600);
    refused(path, 8192, EINVAL, "%s has 4096 bytes, not the 8192 asked for", path);
    make_file(path, 0, 0600);
    refused(path, 0, EINVAL, "%s is empty", path);
    refused(path, 4096, EINVAL, "%s is empty", path);
    make_file(path, 1000, 0600);
    refused(path, 0, EINVAL, "%s has 1000 bytes, no multiple of 512", path);
    ok(access(path, F_OK) == 0, "refused: a file that was there stays");
    refused(dir, 0, EINVAL, "%s is neither a file nor a block device", dir);
    refused("/dev/zero", 0, EINVAL, "%s is neither a file nor a block device", "/dev/zero");
    mkfifo(in_dir("fifo"), 0600);
    refused(in_dir("fifo"), 0, EINVAL, "%s is neither a file nor a block device", in_dir("fifo"));
    refused(in_dir("refused.img/x"), 512, ENOTDIR, "cannot open %s: Not a directory",
            in_dir("refused.img/x"));
    if (symlink("nowhere", in_dir("dangling")) == 0)
        refused(in_dir("dangling"), 512, EEXIST, "cannot create %s: File exists",
                in_dir("dangling"));
}

/* Runs `body` in a child as a user without rights, without its output; true when it returned true.
 */
static bool as_nobody(bool (*body)(void))
{
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(9);
        _exit(body() ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status == 0;
}

static bool refuses_read_only(void)
{
    struct store *store;
    struct ice_why why = {0};
    return store_open_file(in_dir("readonly.img"), 0, &store, &why) == -EACCES &&
           strstr(why.text, "for reading and writing: Permission denied");
}

/* A file size that the process may not have: created, then removed. */
static bool removes_what_it_created(void)
{
    struct rlimit limit = {4096, 4096};
    struct store *store;
    struct ice_why why = {0};
    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           store_open_file(in_dir("toolarge.img"), 8192, &store, &why) == -EFBIG &&
           strstr(why.text, "8192 bytes long: File too large") &&
           access(in_dir("toolarge.img"), F_OK) != 0;
}

/* The first pwritev is cut at the limit, the next one says why. */
static bool resumes_and_reports(void)
{
    struct rlimit limit = {4096, 4096};
    struct store *store;
    struct ice_why why = {0};
    char bytes[8192];
    memset(bytes, 0x5a, sizeof(bytes));
    signal(SIGXFSZ, SIG_IGN);
    if (store_open_file(in_dir("partial.img"), 8192, &store, &why) ||
        setrlimit(RLIMIT_FSIZE, &limit))
        return false;
    bool good = write_at(store, 0, bytes, sizeof(bytes), &why) == -EFBIG &&
                !strcmp(why.text, "the media cannot be written: File too large") &&
                filled_with(store, 0, 4096, 0x5a) && filled_with(store, 4096, 4096, 0);
    store_close(store);
    return good;
}

static bool reports_truncation(void)
{
    struct store *store;
    struct ice_why why = {0};
    char bytes[1024];
    if (store_open_file(in_dir("cut.img"), 8192, &store, &why) || truncate(in_dir("cut.img"), 512))
        return false;
    bool good = read_at(store, 0, bytes, sizeof(bytes), &why) == -EIO &&
                !strcmp(why.text, "the media has been cut short");
    store_close(store);
    return good;
}

static void test_failures(void)
{
    if (chmod(dir, 0777))
        note("cannot open %s to all", dir);
    make_file(in_dir("readonly.img"), 4096, 0444);
    ok(as_nobody(refuses_read_only), "no write permission: EACCES");
    ok(as_nobody(removes_what_it_created), "a file that could not be made is removed");
    ok(as_nobody(resumes_and_reports),
       "a partial write goes on, and fails where it fails; drivers do not learn the path");
    ok(as_nobody(reports_truncation), "an image that was cut short: EIO");
}

static bool is_locked_out(void)
{
    struct store *store = NULL;
    struct ice_why why = {0};
    char want[ICE_WHY_TEXT];
    snprintf(want, sizeof(want), "%s is locked: it is in use already", in_dir("locked.img"));
    int rc = store_open_file(in_dir("locked.img"), 0, &store, &why);
    store_close(store);
    return rc == -EBUSY && !strcmp(why.text, want);
}

static bool in_child(bool (*body)(void))
{
    pid_t child = fork();
    if (child == 0)
        _exit(body() ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    return status == 0;
}

/* The exit status of a shell command, quietly; -1 when it was killed. */
__attribute__((format(printf, 1, 2))) static int shell(const char *format, ...)
{
    char command[256];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_lock(void)
{
    struct store *store = NULL;
    const char *path = in_dir("locked.img");
    if (!is_int(store_open_file(path, MIB, &store, NULL), 0, "lock: taken"))
        return;
    ok(in_child(is_locked_out), "lock: another process is refused");
    ok(is_locked_out(), "lock: a second opening by this process is refused");
    close(open(path, O_RDONLY | O_CLOEXEC));
    ok(in_child(is_locked_out), "lock: closing another descriptor of the file keeps it");

    bool qemu = shell("command -v qemu-io >/dev/null") == 0;
    if (qemu) {
        ok(shell("qemu-io -f raw -r -c 'read 0 512' %s 2>&1 | grep -q 'Failed to lock'", path) == 0,
           "lock: qemu-io is refused, reading only");
        ok(shell("qemu-io -f raw -c 'read 0 512' %s 2>&1 | grep -q 'Failed to lock'", path) == 0,
           "lock: qemu-io is refused");
    } else {
        skip("no qemu-io");
    }
    store_close(store);
    ok(!in_child(is_locked_out), "lock: gone when closed");
    if (qemu)
        is_int(shell("qemu-io -f raw -c 'read 0 512' %s >/dev/null 2>&1", path), 0,
               "lock: qemu-io is let in again");
}

/* QEMU has the image first. */
static void test_lock_of_qemu(void)
{
    if (shell("command -v qemu-io >/dev/null")) {
        skip("no qemu-io");
        return;
    }
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
        return;
    pid_t child = fork();
    if (child == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execlp("qemu-io", "qemu-io", "-f", "raw", in_dir("locked.img"), NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    char answer[16];
    ok(write(to[1], "read 0 512\n", 11) == 11 && read(from[0], answer, sizeof(answer)) > 0,
       "qemu-io runs");
    ok(is_locked_out(), "lock: an image that QEMU holds is refused");
    close(to[1]);
    waitpid(child, NULL, 0);
    close(from[0]);
}

/* A loop device as the block device, where root may have one. */
static void test_block_device(void)
{
    char device[64] = "", command[256];
    make_file(in_dir("backing.img"), 4 * MIB, 0600);
    snprintf(command, sizeof(command), "losetup -f --show %s 2>/dev/null", in_dir("backing.img"));
    FILE *losetup = geteuid() ? NULL : popen(command, "re");
    bool made = losetup && fscanf(losetup, "%63s", device) == 1;
    if (losetup)
        pclose(losetup);
    if (!made) {
        skip("no loop device");
        return;
    }
    struct store *store = NULL, *second = NULL;
    struct ice_why why = {0};
    char want[ICE_WHY_TEXT];
    if (is_int(store_open_file(device, 4 * MIB, &store, &why), 0, "block device: open")) {
        snprintf(want, sizeof(want), "%s is in use", device);
        is_int(store_open_file(device, 0, &second, &why), -EBUSY, "block device: only once");
        is_str(why.text, want, "block device: clause");
        test_content("block device", store);
        store_close(store);
    }
    is_int(store_open_file(device, 8 * MIB, &store, &why), -EINVAL, "block device: another size");
    is_int(shell("losetup -d %s", device), 0, "block device: released");
}

int main(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/icesim-media-XXXXXX",
             parent && strlen(parent) < 32 ? parent : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    test_ram();
    test_terabyte();
    test_file();
    test_refusals();
    test_failures();
    test_lock();
    test_lock_of_qemu();
    test_block_device();
    is_int(shell("rm -r %s", dir), 0, "cleaned up");
    return tap_done();
}
