/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of a guest's memory, its translations, and files that are cut short. */
#include "tap.h"
#include "vhost_user/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)

static int file_of(size_t bytes)
{
    int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        abort();
    return fd;
}

static const char *add(struct guest_memory *memory, uint64_t guest, uint64_t size, uint64_t user,
                       uint64_t offset, int fd)
{
    struct vhost_user_region region = {guest, size, user, offset};
    return refusal_name(guest_memory_add(memory, &region, fd));
}

/* ---- the table ---- */

static void test_add(void)
{
    struct guest_memory memory = {.lost_fd = -1};
    int fd = file_of(16 * PAGE), sealed = file_of(PAGE);
    int read_only = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    is_str(add(&memory, 0, 0, 0, 0, fd), "memory-empty", "no bytes");
    is_str(add(&memory, UINT64_MAX - 10, PAGE, 0, 0, fd), "memory-wrap", "guest address");
    is_str(add(&memory, 0, PAGE, UINT64_MAX - 10, 0, fd), "memory-wrap", "user address");
    is_str(add(&memory, 0, PAGE, 0, UINT64_MAX - 10, fd), "memory-wrap", "offset");
    is_str(add(&memory, 0, 16 * PAGE + 1, 0, 0, fd), "memory-file", "a byte too many");
    is_str(add(&memory, 0, 16 * PAGE, 0, 1, fd), "memory-file", "with an offset of one");
    is_str(add(&memory, 0, PAGE, 0, 0, -1), "memory-file", "no file");
    is_str(add(&memory, 0, PAGE, 0, 0, read_only), "memory-map", "a file that is not writable");
    fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE);
    is_str(add(&memory, 0, PAGE, 0, 0, sealed), "memory-map", "a sealed one");
    is_int(memory.count, 0, "nothing was added");

    is_str(add(&memory, 4 * PAGE, 4 * PAGE, 0, 0, fd), "none", "a region");
    is_str(add(&memory, 7 * PAGE, PAGE, 0, 0, fd), "memory-overlap", "its last page");
    is_str(add(&memory, PAGE, 3 * PAGE + 1, 0, 0, fd), "memory-overlap", "its first byte");
    is_str(add(&memory, 0, 16 * PAGE, 0, 0, fd), "memory-overlap", "all of it");
    is_str(add(&memory, PAGE, 3 * PAGE, 0, 0, fd), "none", "right before");
    is_str(add(&memory, 8 * PAGE, PAGE, 0, 0, fd), "none", "right behind");
    for (unsigned i = memory.count; i < GUEST_REGIONS_MAX; i++)
        guest_memory_add(&memory, &(struct vhost_user_region){(100 + i) * PAGE, PAGE, 0, 0}, fd);
    is_str(add(&memory, 1000 * PAGE, PAGE, 0, 0, fd), "memory-full", "one more than there are");
    guest_memory_clear(&memory);
    is_int(memory.count, 0, "cleared");
    close(fd);
    close(sealed);
    close(read_only);
}

static void test_remove(void)
{
    struct guest_memory memory = {.lost_fd = -1};
    struct vhost_user_region region = {PAGE, PAGE, 0x10000, 0}, wrong;
    int fd = file_of(PAGE);

    guest_memory_add(&memory, &region, fd);
    close(fd);
    wrong = region;
    wrong.guest++;
    is_str(refusal_name(guest_memory_remove(&memory, &wrong)), "memory-unknown", "other address");
    wrong = region;
    wrong.size--;
    is_str(refusal_name(guest_memory_remove(&memory, &wrong)), "memory-unknown", "other size");
    wrong = region;
    wrong.user = 0;
    is_str(refusal_name(guest_memory_remove(&memory, &wrong)), "memory-unknown", "other user");
    is_int(memory.count, 1, "it is there");
    region.mmap_offset = 77;
    is_str(refusal_name(guest_memory_remove(&memory, &region)), "none", "offset aside");
    is_int(memory.count, 0, "it is gone");
    is_str(refusal_name(guest_memory_remove(&memory, &region)), "memory-unknown", "again");
}

static void test_parts(void)
{
    struct guest_memory memory = {.lost_fd = -1};
    const struct guest_region *near = NULL;
    struct iovec parts[3];
    int fd = file_of(4 * PAGE);

    for (unsigned i = 0; i < 3; i++) /* three pages that touch, backwards in the file */
        add(&memory, (10 + i) * PAGE, PAGE, 0x700000 + i * PAGE, (2 - i) * PAGE + 32, fd);
    is_int(guest_memory_parts(&memory, &near, 10 * PAGE, PAGE, parts, 3), 1, "a page");
    ok(parts[0].iov_base == memory.regions[0].bytes && parts[0].iov_len == PAGE, "all of it");
    ok(near == &memory.regions[0], "is near now");
    is_int(guest_memory_parts(&memory, &near, 11 * PAGE - 1, PAGE + 2, parts, 3), 3,
           "over two edges");
    ok(parts[0].iov_base == memory.regions[0].bytes + PAGE - 1 && parts[0].iov_len == 1 &&
           parts[1].iov_base == memory.regions[1].bytes && parts[1].iov_len == PAGE &&
           parts[2].iov_base == memory.regions[2].bytes && parts[2].iov_len == 1,
       "is three parts, in order");
    is_int(guest_memory_parts(&memory, &near, 11 * PAGE - 1, PAGE + 2, parts, 2), -1,
           "room for two");
    is_int(guest_memory_parts(&memory, &near, 13 * PAGE - 1, 2, parts, 3), 0, "past the end");
    is_int(guest_memory_parts(&memory, &near, 10 * PAGE - 1, 2, parts, 3), 0, "before the start");
    is_int(guest_memory_parts(&memory, &near, 12 * PAGE, UINT64_MAX - PAGE, parts, 3), 0,
           "wrapping");

    ok(guest_memory_user(&memory, 0x700000 + PAGE + 5, 7) == memory.regions[1].bytes + 5, "user");
    ok(guest_memory_user(&memory, 0x700000, PAGE) == memory.regions[0].bytes, "a whole region");
    ok(!guest_memory_user(&memory, 0x700000 + PAGE - 1, 2), "not over an edge");
    ok(!guest_memory_user(&memory, 0x700000 - 1, 1), "not before");
    memory.regions[0].bytes[0] = 0x77;
    uint8_t byte = 0;
    ok(pread(fd, &byte, 1, (off_t)(2 * PAGE + 32)) == 1 && byte == 0x77,
       "the file has what we write");
    guest_memory_clear(&memory);
    close(fd);
}

/* Whether the mapping at `address` has flag `flag` ("dd": not in cores), as the kernel says. */
static bool mapped_with(const void *address, const char *flag)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool within = false, found = false;
    unsigned long start, end;

    while (maps && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            within = (uintptr_t)address >= start && (uintptr_t)address < end;
        else if (within && !strncmp(line, "VmFlags:", 8))
            found = strstr(line, flag);
    }
    if (maps)
        fclose(maps);
    return found;
}

static void test_cores(void)
{
    struct guest_memory memory = {.lost_fd = -1};
    int fd = file_of(PAGE);

    add(&memory, 0, PAGE, 0, 0, fd);
    ok(mapped_with(memory.regions[0].map, " dd"), "a core would not have the region");
    guest_memory_clear(&memory);
    close(fd);
}

/* ---- a file that is cut short ---- */

struct reader {
    struct guest_memory *memory;
    unsigned char got;
};

static void *read_last_byte(void *arg)
{
    struct reader *reader = arg;
    volatile const unsigned char *bytes = reader->memory->regions[1].bytes;

    guest_memory_guard(reader->memory, NULL, 0);
    reader->got = bytes[PAGE - 1];
    guest_memory_guard(NULL, NULL, 0);
    return NULL;
}

static unsigned char last_byte(struct guest_memory *memory)
{
    struct reader reader = {.memory = memory, .got = 0xee};
    pthread_t thread;

    pthread_create(&thread, NULL, read_last_byte, &reader);
    pthread_join(thread, NULL);
    return reader.got;
}

static bool raised(int fd)
{
    struct pollfd at = {.fd = fd, .events = POLLIN};
    return poll(&at, 1, 0) == 1;
}

static void test_cut(void)
{
    struct guest_memory cut = {.lost_fd = eventfd(0, EFD_CLOEXEC)};
    struct guest_memory whole = {.lost_fd = eventfd(0, EFD_CLOEXEC)};
    int kept = file_of(PAGE), fd = file_of(PAGE), other = file_of(2 * PAGE);
    unsigned char seven = 7;
    char byte;

    add(&cut, 0, PAGE, 0, 0, kept);
    add(&cut, PAGE, PAGE, 0, 0, fd);
    add(&whole, 0, PAGE, 0, 0, other);
    add(&whole, PAGE, PAGE, 0, PAGE, other);
    cut.regions[0].bytes[0] = 5;
    if (pwrite(fd, &seven, 1, PAGE - 1) != 1 || pwrite(other, &seven, 1, 2 * PAGE - 1) != 1)
        abort();
    is_int(last_byte(&cut), 7, "the file is whole");
    ok(!guest_memory_lost(&cut) && !raised(cut.lost_fd), "and the memory is there");

    if (ftruncate(fd, 0))
        abort();
    struct iovec part = {cut.regions[1].bytes, 1};
    is_int(preadv(other, &part, 1, 0), -1, "the kernel cannot copy to it");
    is_int(errno, EFAULT, "EFAULT");
    ok(!guest_memory_lost(&cut), "which raises no signal");
    guest_memory_guard(&cut, NULL, 0);
    struct iovec parts[] = {{cut.regions[0].bytes, 1}, part};
    guest_memory_touch(parts, 1);
    ok(!guest_memory_lost(&cut), "a look at what is there neither");
    guest_memory_touch(parts, 2);
    ok(guest_memory_lost(&cut), "but one at what was cut off");
    guest_memory_guard(NULL, NULL, 0);
    is_int(last_byte(&cut), 0, "cut short, it reads as zeros");
    ok(guest_memory_lost(&cut), "the memory is lost");
    ok(raised(cut.lost_fd), "and somebody is told");
    cut.regions[1].bytes[PAGE - 1] = 9;
    is_int(last_byte(&cut), 9, "what stands there now can be written");
    ok(pread(fd, &byte, 1, 0) == 0, "and is private");
    is_int(cut.regions[0].bytes[0], 5, "other regions are as they were");
    ok(mapped_with(cut.regions[0].map, " sh"), "shared still");

    is_int(last_byte(&whole), 7, "another guest's memory is whole");
    ok(!guest_memory_lost(&whole) && !raised(whole.lost_fd), "and there");
    close(cut.lost_fd);
    close(whole.lost_fd);
    guest_memory_clear(&cut);
    guest_memory_clear(&whole);
    close(kept);
    close(fd);
    close(other);
}

static void test_cut_log(void)
{
    struct guest_memory memory = {.lost_fd = -1};
    int fd = file_of(2 * PAGE);
    volatile unsigned char *log = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    log[0] = 3;
    if (ftruncate(fd, PAGE))
        abort();
    guest_memory_guard(&memory, (void *)log, 2 * PAGE);
    is_int(log[2 * PAGE - 1], 0, "a log that is cut short reads as zeros");
    is_int(log[0], 0, "all of it");
    ok(guest_memory_lost(&memory), "and the memory is lost");
    guest_memory_guard(NULL, NULL, 0);
    munmap((void *)log, 2 * PAGE);
    close(fd);
}

/* Runs `wrong` in a child; whether it was ended. */
static bool ends(void (*wrong)(void))
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        struct rlimit none = {0};
        setrlimit(RLIMIT_CORE, &none);
        close(STDERR_FILENO);
        wrong();
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status != 0;
}

static void touch_elsewhere(void)
{
    static struct guest_memory memory = {.lost_fd = -1};
    int fd = file_of(PAGE);
    volatile unsigned char *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

    add(&memory, 0, PAGE, 0, 0, fd);
    guest_memory_guard(&memory, NULL, 0);
    if (!ftruncate(fd, 0))
        (void)bytes[0];
}

static void touch_unguarded(void)
{
    static struct guest_memory memory = {.lost_fd = -1};
    int fd = file_of(PAGE);

    add(&memory, 0, PAGE, 0, 0, fd);
    guest_memory_guard(&memory, NULL, 0);
    guest_memory_guard(NULL, NULL, 0);
    volatile unsigned char *bytes = memory.regions[0].bytes;
    if (!ftruncate(fd, 0))
        (void)bytes[0];
}

static void send_sigbus(void)
{
    static struct guest_memory memory = {.lost_fd = -1};

    guest_memory_guard(&memory, NULL, 0);
    raise(SIGBUS);
}

int main(void)
{
    test_add();
    test_remove();
    test_parts();
    test_cores();
    test_cut();
    test_cut_log();
    ok(ends(touch_elsewhere), "a SIGBUS in memory that is no guest's ends the process");
    ok(ends(touch_unguarded), "so does one of a thread that is not on guard");
    ok(ends(send_sigbus), "and one that somebody sends");
    return tap_done();
}
