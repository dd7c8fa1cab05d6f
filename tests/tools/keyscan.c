/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looks for an AES key in the memory of a process. The key is read from a file; its raw bytes and
 * its schedules count (keyscan_patterns.c).
 *
 *   keyscan PID KEYFILE                 lists the finds: address, kind, mapping, VmFlags of smaps
 *   keyscan run KEYFILE COMMAND...      runs the command, and looks at each of its system calls
 *                                       that sends, and at its very end
 *
 * Exit status: 0 nothing found (with `run`: found while it ran, nothing at its end), 1 otherwise,
 * 2 it could not look.
 *
 * Not looked at is memory that another process shares with this one, as a front end does its
 * guest's: the keys in it are the guest's own. Such is a shared mapping, left out of dumps (dd), of
 * a file that another process maps too. Memory for secrets is left out of dumps as well, but
 * private.
 */
#include "keyscan.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP               4096                /* a page */
#define PAGES              512                 /* whose marks are read at once */
#define PRESENT_OR_SWAPPED ((uint64_t)3 << 62) /* Linux, Documentation/admin-guide/mm/pagemap.rst  \
                                                */
#define MAPPING_MAX ((uint64_t)4 << 30)        /* larger ones are a sanitizer's shadow */

struct mapping {
    uint64_t start, end;
    bool shared;
    char file[64]; /* device and inode */
    char line[256], flags[128];
};

/* What is found in a row, of one kind, is one line. */
struct streak {
    uint64_t start, length;
    const char *kind;
};

static void print_streak(const struct streak *streak, const struct mapping *mapping)
{
    if (streak->length)
        printf("%#llx %s, %llu bytes; %s; %s\n", (unsigned long long)streak->start, streak->kind,
               (unsigned long long)streak->length + RUN - 1, mapping->line, mapping->flags);
}

/* The process in /proc: its memory, and what the kernel tells of each page. */
struct process {
    int memory, pagemap;
};

/*
 * Marks the pages from `at` on that are to be looked at. What is private and neither in memory nor
 * swapped out was never written; of shared pages others may have written what this process has not
 * touched yet.
 */
static void mark_pages(const struct process *process, const struct mapping *mapping, uint64_t at,
                       uint64_t marks[PAGES])
{
    memset(marks, 0xff, PAGES * sizeof(marks[0]));
    if (!mapping->shared)
        (void)!pread(process->pagemap, marks, PAGES * sizeof(marks[0]),
                     (off_t)(at / STEP * sizeof(marks[0])));
}

/* A page at a time, with what a run that begins in it has in the next. */
static long scan_mapping(const struct process *process, const struct mapping *mapping, bool list)
{
    uint8_t bytes[STEP + RUN - 1];
    uint64_t marks[PAGES];
    struct streak streak = {0};
    unsigned page = 0;
    long finds = 0;
    for (uint64_t at = mapping->start; at < mapping->end; at += STEP, page++) {
        if (page % PAGES == 0)
            mark_pages(process, mapping, at, marks);
        if (!(marks[page % PAGES] & PRESENT_OR_SWAPPED))
            continue;
        ssize_t len = pread(process->memory, bytes, sizeof(bytes), (off_t)at);
        for (ssize_t i = 0; i < STEP && i + RUN <= len; i++) {
            const char *kind = patterns_match(bytes + i);
            if (!kind)
                continue;
            finds++;
            if (kind == streak.kind && at + (uint64_t)i == streak.start + streak.length) {
                streak.length++;
                continue;
            }
            if (list)
                print_streak(&streak, mapping);
            streak = (struct streak){at + (uint64_t)i, 1, kind};
        }
    }
    if (list)
        print_streak(&streak, mapping);
    return finds;
}

/* ---- mappings ---- */

/* The first line of a mapping, as in maps and smaps. */
static bool parse_mapping(const char *line, struct mapping *mapping)
{
    unsigned long long start, end;
    char modes[8], device[24], inode[24];
    if (sscanf(line, "%llx-%llx %7s %*s %23s %23s", &start, &end, modes, device, inode) != 5)
        return false;
    *mapping = (struct mapping){.start = start, .end = end, .shared = modes[3] == 's'};
    snprintf(mapping->file, sizeof(mapping->file), "%s %s", device, inode);
    snprintf(mapping->line, sizeof(mapping->line), "%.255s", line);
    return true;
}

static bool maps_file(const char *pid, const char *file)
{
    char path[300], line[512];
    struct mapping mapping;
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%s/maps", pid);
    FILE *maps = fopen(path, "re");
    while (maps && !found && fgets(line, sizeof(line), maps))
        found = parse_mapping(line, &mapping) && mapping.shared && !strcmp(mapping.file, file);
    if (maps)
        fclose(maps);
    return found;
}

static bool is_mapped_elsewhere(pid_t pid, const char *file)
{
    bool found = false;
    const struct dirent *entry;
    DIR *proc = opendir("/proc");
    while (proc && !found && (entry = readdir(proc)))
        found = isdigit((unsigned char)entry->d_name[0]) && atol(entry->d_name) != pid &&
                maps_file(entry->d_name, file);
    if (proc)
        closedir(proc);
    return found;
}

static bool is_guests(pid_t pid, const struct mapping *mapping)
{
    return mapping->shared && strstr(mapping->flags, " dd") &&
           is_mapped_elsewhere(pid, mapping->file);
}

/* The next mapping of smaps: its first line to its VmFlags. */
static bool next_mapping(FILE *smaps, struct mapping *mapping)
{
    char line[512];
    bool named = false;
    while (fgets(line, sizeof(line), smaps)) {
        line[strcspn(line, "\n")] = 0;
        if (parse_mapping(line, mapping)) {
            named = true;
        } else if (named && !strncmp(line, "VmFlags:", 8)) {
            snprintf(mapping->flags, sizeof(mapping->flags), "%.127s", line);
            return true;
        }
    }
    return false;
}

static int open_proc(pid_t pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fprintf(stderr, "keyscan: %s: %s\n", path, strerror(errno));
    return fd;
}

long scan_process(pid_t pid, bool list)
{
    struct mapping mapping;
    struct process process = {open_proc(pid, "mem"), open_proc(pid, "pagemap")};
    bool opened = process.memory >= 0 && process.pagemap >= 0;
    int maps = opened ? open_proc(pid, "smaps") : -1;
    FILE *smaps = maps < 0 ? NULL : fdopen(maps, "r");
    long finds = smaps ? 0 : -1;
    while (smaps && next_mapping(smaps, &mapping))
        if (mapping.end - mapping.start <= MAPPING_MAX && !is_guests(pid, &mapping))
            finds += scan_mapping(&process, &mapping, list);
    if (smaps)
        fclose(smaps);
    if (process.memory >= 0)
        close(process.memory);
    if (process.pagemap >= 0)
        close(process.pagemap);
    return finds;
}

/* ---- run ---- */

static bool sends(pid_t pid)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    return info.entry.nr == SYS_sendmsg || info.entry.nr == SYS_sendto ||
           info.entry.nr == SYS_writev;
}

/* Follows the child from its exec to its end; -1, or what was found at the end. */
static long follow(pid_t pid, long *live)
{
    long left = -1;
    int status, number = 0;
    while (ptrace(PTRACE_SYSCALL, pid, 0, number) == 0 && waitpid(pid, &status, __WALL) == pid &&
           WIFSTOPPED(status)) {
        number = WSTOPSIG(status);
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
            left = scan_process(pid, true);
        else if (number == (SIGTRAP | 0x80) && sends(pid))
            *live += scan_process(pid, false);
        if (number == SIGTRAP || number == (SIGTRAP | 0x80))
            number = 0;
    }
    return left;
}

static int run(char **command)
{
    long live = 0, left;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, pid, 0,
               PTRACE_O_EXITKILL | PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD)) {
        fprintf(stderr, "keyscan: %s cannot be traced\n", command[0]);
        return 2;
    }
    left = follow(pid, &live);
    printf("%ld while it sent, %ld at its end\n", live, left);
    return left < 0 ? 2 : live == 0 || left > 0;
}

int main(int argc, char **argv)
{
    if (argc < 3 || !patterns_load(argv[2]))
        return 2;
    if (!strcmp(argv[1], "run"))
        return argc > 3 ? run(argv + 3) : 2;
    long finds = scan_process((pid_t)atol(argv[1]), true);
    return finds < 0 ? 2 : finds > 0;
}
