/* SPDX-License-Identifier: BSD-2-Clause */
/* icectl without a server: wrong usage is one line on stderr, a status, and nothing on stdout. */
#include "base/bytes.h"
#include "icectl/commands.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS_MAX 16

struct outcome {
    int status;
    char out[4096], err[1024];
};

/* Sends descriptor `fd` to an unlinked file; returns what it was, for restore. */
static int redirect(int fd, int *file)
{
    char path[] = "/tmp/icectl-args-XXXXXX";
    int saved = dup(fd);

    fflush(NULL);
    *file = mkstemp(path);
    unlink(path);
    dup2(*file, fd);
    return saved;
}

static void restore(int fd, int saved, int file, char *text, size_t room)
{
    ssize_t got;

    fflush(NULL);
    got = pread(file, text, room - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    dup2(saved, fd);
    close(saved);
    close(file);
}

static struct outcome run(const char *line)
{
    char copy[512], *argv[WORDS_MAX + 1], *rest = NULL;
    int argc = 0, out_file, err_file, out, err;
    struct outcome outcome;

    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word && argc < WORDS_MAX;
         word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    argv[argc] = NULL;
    out = redirect(STDOUT_FILENO, &out_file);
    err = redirect(STDERR_FILENO, &err_file);
    outcome.status = icectl_run(argc, argv);
    restore(STDERR_FILENO, err, err_file, outcome.err, sizeof(outcome.err));
    restore(STDOUT_FILENO, out, out_file, outcome.out, sizeof(outcome.out));
    return outcome;
}

static const struct {
    const char *line;
    int status;
    const char *err; /* after "icectl: " */
} cases[] = {
    {"icectl", 2, "usage: no command; icectl --help lists them"},
    {"icectl --", 2, "usage: no command; icectl --help lists them"},
    {"icectl -x wait", 2, "usage: unknown option -x"},
    {"icectl --jso wait", 2, "usage: unknown option --jso"},
    {"icectl -d", 2, "usage: option \"-d\" requires an argument"},
    {"icectl --timeout soon wait", 2, "usage: --timeout \"soon\" is not a number of seconds"},
    {"icectl --timeout -1 wait", 2, "usage: --timeout \"-1\" is not a number of seconds"},
    {"icectl -f control info", 2, "usage: --function \"control\" is a reserved word"},
    {"icectl frobnicate", 2, "frobnicate: unknown command; icectl --help lists them"},
    {"icectl slot", 2, "slot: incomplete command; icectl slot --help lists them"},
    {"icectl slot fly", 2, "slot: unknown command fly; icectl slot --help lists them"},
    {"icectl sl list", 2, "sl: unknown command; icectl --help lists them"},
    {"icectl slot list 3", 2, "slot list: unexpected argument \"3\""},
    {"icectl slot program --alg aes-256-xts --key-file k", 2, "slot program: missing option SLOT"},
    {"icectl slot program 1 --key-file k", 2, "slot program: missing option --alg=ALG"},
    {"icectl slot program 1 --alg aes-512-xts --key-file k", 2,
     "slot program: --alg \"aes-512-xts\" is no algorithm; icectl caps lists them"},
    {"icectl slot program 1 --alg aes-256-xts --alg aes-256-xts --key-file k", 2,
     "slot program: excess option --alg=aes-256-xts"},
    {"icectl slot program one --alg aes-256-xts --key-file k", 2,
     "slot program: SLOT \"one\" is not a number"},
    {"icectl slot program 0x100000000 --alg aes-256-xts --key-file k", 2,
     "slot program: SLOT \"0x100000000\" is above 4294967295"},
    {"icectl slot program 1 --alg aes-256-xts --key-file k --via tunnel", 2,
     "slot program: --via \"tunnel\" is none of in-band, out-of-band"},
    {"icectl slot program 1 --alg aes-256-xts --key-file /dev/null --wrapped", 1,
     "slot program 1: key file /dev/null is empty"},
    {"icectl slot program 1 --alg aes-256-xts --key-file /dev/zero --wrapped", 1,
     "slot program 1: key file /dev/zero holds more than the 128 bytes of a wrapped key"},
    {"icectl slot program 1 --alg aes-256-xts --key-file k --data-unit 1000", 2,
     "slot program: --data-unit \"1000\" is not a power of two from 512 to 2G"},
    {"icectl slot program 1 --alg aes-256-xts --key-file k --data-unit 4G", 2,
     "slot program: --data-unit \"4G\" is not a power of two from 512 to 2G"},
    {"icectl slot program 1 --alg aes-256-xts --key-file /dev/null", 1,
     "slot program 1: key file /dev/null holds 0 bytes, not the 64 of aes-256-xts"},
    {"icectl slot program 1 --alg aes-128-ecb --key-file /dev/zero", 1,
     "slot program 1: key file /dev/zero holds more than the 16 bytes of aes-128-ecb"},
    {"icectl slot program 1 --alg aes-128-ecb --key-file /nonexistent", 1,
     "slot program 1: key file /nonexistent: No such file or directory"},
    {"icectl slot program 1 --alg aes-128-ecb --key-file /", 1,
     "slot program 1: key file /: Is a directory"},
    {"icectl slot evict", 2, "slot evict: either SLOT or --all is needed"},
    {"icectl slot evict 1 --all", 2, "slot evict: either SLOT or --all is needed"},
    {"icectl io read --count 1", 2, "io read: missing option --sector=SECTOR"},
    {"icectl io read --sector 1 --count 1K", 2, "io read: --count \"1K\" is not a number"},
    {"icectl io read --sector 1 --count 1 --slot 1", 2,
     "io read: --slot and --dun are given together or not at all"},
    {"icectl io read --sector 1 --count 1 --dun 1", 2,
     "io read: --slot and --dun are given together or not at all"},
    {"icectl io read --sector 1 --count 1 --slot 1 --dun "
     "0x10000000000000000000000000000000000000000000000000000000000000000",
     2,
     "io read: --dun \"0x10000000000000000000000000000000000000000000000000000000000000\" has more "
     "than 256 bits"},
    {"icectl io read --sector 1 --count 1 --slot 1 --dun 7x", 2,
     "io read: --dun \"7x\" is not a number"},
    {"icectl caps --require aes-256-xts", 2,
     "caps: --require \"aes-256-xts\" is not ALG:BYTES[,wrapped]"},
    {"icectl caps --require aes-512-xts:4096", 2,
     "caps: --require \"aes-512-xts\" is no algorithm"},
    {"icectl caps --require aes-256-xts:4096,raw", 2,
     "caps: --require \"aes-256-xts:4096,raw\" is not ALG:BYTES[,wrapped]"},
    {"icectl key", 2, "key: incomplete command; icectl key --help lists them"},
    {"icectl key prepare -o k", 2, "key prepare: missing option --key-file=FILE|-"},
    {"icectl key generate --key-file k", 2, "key generate: unknown option --key-file"},
    {"icectl key derive --key-file /dev/null -o k", 1, "key derive: key file /dev/null is empty"},
    {"icectl key import --key-file k --via x -o k", 2,
     "key import: --via \"x\" is none of in-band, out-of-band"},
    {"icectl -d /nonexistent key generate -o k", 5,
     "key generate: no server in /nonexistent: /nonexistent/control.sock: No such file or "
     "directory"},
    {"icectl function add", 2, "function add: missing option NAME[,KEY=VALUE...]"},
    {"icectl -d /nonexistent function add a,b=c", 5,
     "function add a: no server in /nonexistent: /nonexistent/control.sock: No such file or "
     "directory"},
    {"icectl function remove", 2, "function remove: missing option NAME"},
    {"icectl io read --sector 1 --count 1 --data-unit 4K", 2, "io read: --data-unit needs --slot"},
    {"icectl io write --sector 0 /nonexistent", 1,
     "io write: /nonexistent: No such file or directory"},
    {"icectl io write --sector 0 /", 1, "io write: /: Is a directory"},
    {"icectl reset", 2, "reset: missing option --scope=SCOPE"},
    {"icectl reset --scope power", 2,
     "reset: --scope \"power\" is none of device, function, engine"},
    {"icectl -d /nonexistent info", 5,
     "info: no server in /nonexistent: /nonexistent/control.sock: No such file or directory"},
    {"icectl -d /nonexistent -f vm0 info", 5,
     "info: no server in /nonexistent: /nonexistent/vm0.sock: No such file or directory"},
    {"icectl -d /nonexistent --timeout 0.05 wait", 5,
     "wait: no server in /nonexistent: /nonexistent/control.sock: No such file or directory"},
    {"icectl -d /nonexistent slot list", 5,
     "slot list: no server in /nonexistent: /nonexistent/control.sock: No such file or directory"},
};

static void test_failures(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct outcome outcome;
        char want[512];

        outcome = run(cases[i].line);
        is_int(outcome.status, cases[i].status, "%s: status", cases[i].line);
        snprintf(want, sizeof(want), "icectl: %s\n", cases[i].err);
        is_str(outcome.err, want, "%s: stderr", cases[i].line);
        is_str(outcome.out, "", "%s: stdout", cases[i].line);
    }
}

static void test_help(void)
{
    static const char *const lines[] = {
        "icectl --help",           "icectl slot --help",         "icectl io --help",
        "icectl wait --help",      "icectl info --help",         "icectl caps --help",
        "icectl slot list --help", "icectl slot program --help", "icectl slot evict --help",
        "icectl io read --help",   "icectl io write --help",     "icectl io flush --help",
        "icectl io id --help",     "icectl io lifetime --help",  "icectl io discard --help",
        "icectl io zero --help",   "icectl io erase --help",     "icectl reset --help",
        "icectl stats --help",     "icectl --json --help wait",  "icectl io read --sector 1 --help",
    };

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct outcome outcome = run(lines[i]);

        ok(outcome.status == 0 && strlen(outcome.out) > 40 && strstr(outcome.out, "icectl ") &&
               !*outcome.err,
           "%s", lines[i]);
    }
    is_str(run("icectl --version").out, "icectl " PACKAGE_VERSION "\n", "icectl --version");
}

static void test_no_dir(void)
{
    struct outcome outcome;

    setenv("ICESIM_DIR", "/nonexistent/a", 1);
    ok(strstr(run("icectl info").err, "no server in /nonexistent/a:"), "ICESIM_DIR");
    ok(strstr(run("icectl -d /nonexistent/b info").err, "no server in /nonexistent/b:"),
       "-d comes before it");
    unsetenv("ICESIM_DIR");
    setenv("XDG_RUNTIME_DIR", "/nonexistent/c", 1);
    ok(strstr(run("icectl info").err, "no server in /nonexistent/c/icesim:"), "XDG_RUNTIME_DIR");
    unsetenv("XDG_RUNTIME_DIR");
    outcome = run("icectl -f nobody info");
    if (geteuid() == 0)
        ok(strstr(outcome.err, "/run/icesim"), "root's default");
    else
        is_str(outcome.err, "icectl: usage: no runtime folder: give -d DIR, or set ICESIM_DIR\n",
               "no default for users");
}

int main(void)
{
    setenv("ICESIM_DIR", "/nonexistent", 1);
    test_failures();
    test_help();
    test_no_dir();
    return tap_done();
}
