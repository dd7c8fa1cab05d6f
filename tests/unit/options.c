/* SPDX-License-Identifier: BSD-2-Clause */
/* icesim's command line: what is taken, and the one line for what is not. */
#include "icesim/options.h"
#include "base/bytes.h"
#include "tap.h"
#include <errno.h>

#define ARGS_MAX    20
#define TEN         "/123456789"
#define PATH_OF_107 TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "/123456"
#define PATH_OF_108 PATH_OF_107 "7"

static int parse(const char *const *args, struct options *options, struct ice_why *why)
{
    static char copies[ARGS_MAX][128];
    char name[] = "icesim";
    char *argv[ARGS_MAX + 2] = {name};
    int argc = 1;
    for (; args[argc - 1]; argc++) {
        snprintf(copies[argc - 1], sizeof(copies[0]), "%s", args[argc - 1]);
        argv[argc] = copies[argc - 1];
    }
    return options_parse(argc, argv, options, why);
}

struct refusal {
    const char *args[ARGS_MAX];
    const char *text;
};

static void expect_refusals(const struct refusal *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct options options;
        struct ice_why why = {.text = ""};
        is_int(parse(cases[i].args, &options, &why), -EINVAL, "case %zu is refused", i);
        is_str(why.text, cases[i].text, "%s", cases[i].text);
    }
}

static void test_refusals(void)
{
    static const struct refusal cases[] = {
        {{NULL}, "--image or --size: one of them is needed"},
        {{"--slots", "8"}, "--image or --size: one of them is needed"},
        {{"--size", "1M", "--slots", "300"}, "--slots 300: outside 1..255"},
        {{"--size", "1M", "--slots", "0"}, "--slots 0: outside 1..255"},
        {{"--size", "1M", "--slots", "-1"}, "--slots: \"-1\" is not a number"},
        {{"--size", "1M", "--slots="}, "--slots: N is missing"},
        {{"--size", "0"}, "--size 0: not a multiple of 512 above 0"},
        {{"--size", "1000"}, "--size 1000: not a multiple of 512 above 0"},
        {{"--size", "4KB"}, "--size: \"4KB\" is not a size (bytes, or with K, M, G or T)"},
        {{"--size", "1M", "--size", "2M"}, "--size: given twice"},
        {{"--size"}, "--size: SIZE is missing"},
        {{"--image", ""}, "--image: FILE is missing"},
        {{"--siz", "1M"}, "--siz: unknown option"},
        {{"--nonsense", "--worse"}, "--nonsense: unknown option"},
        {{"-s", "1M"}, "-s: unexpected argument"},
        {{"--size", "1M", "disk.img"}, "disk.img: unexpected argument"},
        {{"disk.img", "--size", "1M"}, "disk.img: unexpected argument"},
        {{"--size", "1M", "--", "disk.img"}, "--: unexpected argument"},
        {{"--size", "1M", "--help=yes"}, "--help: takes no value"},
        {{"--size", "1M", "--dialect", "ice9"}, "--dialect ice9: none of ice1, ice2, inline"},
        {{"--size", "1M", "--stop-timeout", "ten"}, "--stop-timeout: \"ten\" is not a number"},
        {{"--size", "1M", "--stop-timeout", "99999"}, "--stop-timeout 99999: outside 0..86400"},
        {{"--size", "1M", "--log-level", "loud"},
         "--log-level loud: none of error, warning, info, debug"},
        {{"--size", "1M", "--allow-root"}, "--allow-root: there is no --mount"},
        {{"--size", "1M", "--reserve", "8"}, "--reserve: \"8\" is not FIRST+COUNT"},
        {{"--size", "1M", "--reserve", "30+3"}, "--reserve: \"30+3\" goes past 32"},
        {{"--size", "1M", "--slots", "8", "--reserve", "8+1"}, "--reserve: \"8+1\" goes past 8"},
        {{"--size", "1M", "--bitlocker-iv", "sector"},
         "--bitlocker-iv sector: none of offset, dun"},
        {{"--size", "1M", "--strict=yes"}, "--strict: takes no value"},
        {{"--size", "1M", "--state="}, "--state: FILE is missing"},
        {{"--size", "1M", "--function="}, "--function: NAME[,KEY=VALUE]... is missing"},
        {{"--size", "1M", "--function", "vm1,slots=8+"},
         "--function vm1,slots=8+: slots=8+ is not FIRST+COUNT"},
        {{"--size", "1M", "--function", "a", "--function", "b", "--function=a,ro"},
         "--function a,ro: there is a function of this name already"},
        {{"--size", "1M", "--function", "a,dun-bits=256"},
         "--function a,dun-bits=256: dun-bits=256 is above the 64 of dialect ice2"},
        {{"--size", "1M", "--function", "a,addr=physical", "--strict", "--dialect", "inline"},
         "--function a,addr=physical: addr=physical is against dialect inline, and strict is set"},
    };
    expect_refusals(cases, ARRAY_SIZE(cases));
}

static void test_refused_sockets(void)
{
    static const struct refusal cases[] = {
        {{"--image=a", "--blk-file=b"}, "--blk-file: there is --image already"},
        {{"--size", "1M", "--read-only", "--function", "a"},
         "--read-only: with --function, its flag ro says so"},
        {{"--size", "1M", "--vhost-user", "/s"}, "--vhost-user /s: not FUNCTION=PATH"},
        {{"--size", "1M", "--vhost-user", "vm0="},
         "--vhost-user: PATH has 0 bytes; it has 1 to 107"},
        {{"--size", "1M", "--vhost-user", "vm0=" PATH_OF_108},
         "--vhost-user: PATH has 108 bytes; it has 1 to 107"},
        {{"--size", "1M", "--vhost-user", "vm1=/s"},
         "--vhost-user vm1=/s: there is no --function of this name"},
        {{"--size", "1M", "--vhost-user", "vm=/s"},
         "--vhost-user vm=/s: there is no --function of this name"},
        {{"--size", "1M", "--vhost-user", "=/s"},
         "--vhost-user =/s: there is no --function of this name"},
        {{"--size", "1M", "--vhost-user", "vm0=/s", "--vhost-user=vm0=/t"},
         "--vhost-user vm0=/t: vm0 has a socket for vhost-user already"},
        {{"--size", "1M", "--vhost-user", "vm0=/s", "--fd=7"},
         "--fd vm0: vm0 has a socket for vhost-user already"},
        {{"--size", "1M", "--socket-path", PATH_OF_108},
         "--socket-path: PATH has 108 bytes; it has 1 to 107"},
        {{"--size", "1M", "--socket-path", "/s", "--fd", "7"},
         "--socket-path: not together with --fd"},
        {{"--size", "1M", "--socket-path", "/s", "--vhost-user", "vm0=/s"},
         "--socket-path vm0: vm0 has a socket for vhost-user already"},
        {{"--size", "1M", "--fd", "vm1=7"}, "--fd vm1=7: there is no --function of this name"},
        {{"--size", "1M", "--fd", "2"}, "--fd 2: standard input, output and error are not for it"},
        {{"--size", "1M", "--fd", "vm0=x"}, "--fd: \"x\" is not a number"},
        {{"--size", "1M", "--fd", "0x80000000"}, "--fd: \"0x80000000\" is above 2147483647"},
    };
    expect_refusals(cases, ARRAY_SIZE(cases));
}

static void test_values(void)
{
    struct options options;
    struct ice_why why = {.text = ""};
    const char *few[] = {"--size", "1M", "--", NULL};
    is_int(parse(few, &options, &why), 0, "--size alone, and an end of options");
    ok(!options.image && options.size == 1 << 20 && options.slots == 32 &&
           options.dialect == &dialect_ice2 && options.stop_timeout == 10 &&
           options.log_level == LOG_INFO && !options.mount && !options.dir && !options.run,
       "the defaults");
    ok(options.function_count == 1 && !strcmp(options.functions[0].name, "vm0") &&
           !options.functions[0].has_slots && options.functions[0].dialect == &dialect_ice2 &&
           !options.strict && !options.unsafe_overlap && !options.unsafe_monitor &&
           !options.state && !options.reserve_count && !options.bitlocker_iv_from_dun,
       "one function with everything");
    options_free(&options);
    const char *many[] = {
        "--image=--size", "--slots=0xff",   "--mount=m", "--allow-root", "--dir", "d", "--run",
        "exit 3",         "--stop-timeout", "0",         "--pidfile=p",  NULL};
    is_int(parse(many, &options, &why), 0, "many options");
    is_str(options.image, "--size", "a value may look like an option");
    is_str(options.run, "exit 3", "or hold blanks");
    ok(options.size == 0 && options.slots == 255 && options.stop_timeout == 0 &&
           options.allow_root && !strcmp(options.pidfile, "p"),
       "the others");
    options_free(&options);
    const char *help[] = {"--help", NULL};
    ok(!parse(help, &options, &why) && options.help, "--help needs nothing else");
}

static void test_functions(void)
{
    struct options options;
    struct ice_why why = {.text = ""};
    const char *args[] = {"--function",
                          "vm1,slots=0+4",
                          "--dialect=ice1",
                          "--function",
                          "b,dialect=inline",
                          "--strict",
                          "--size=1M",
                          "--reserve=0x10+2",
                          "--unsafe-overlap",
                          "--unsafe-monitor",
                          "--state",
                          "file",
                          "--bitlocker-iv",
                          "dun",
                          NULL};
    is_int(parse(args, &options, &why), 0, "two functions %s", why.text);
    ok(options.function_count == 2 && !strcmp(options.functions[0].name, "vm1") &&
           options.functions[0].slots == 4 && options.functions[0].dialect == &dialect_ice1 &&
           options.functions[0].strict,
       "--dialect and --strict are the defaults of all");
    ok(!strcmp(options.functions[1].name, "b") && options.functions[1].dialect == &dialect_inline &&
           options.functions[1].strict,
       "a dialect of its own");
    ok(options.dialect == &dialect_ice1 && options.strict && options.reserve_first == 16 &&
           options.reserve_count == 2 && options.unsafe_overlap && options.unsafe_monitor &&
           !strcmp(options.state, "file") && options.bitlocker_iv_from_dun,
       "what goes for the engine");
    options_free(&options);
}

static void test_sockets(void)
{
    struct options options;
    struct ice_why why = {.text = ""};
    const char *none[] = {"--blk-file", "disk.img", "--read-only", NULL};
    is_int(parse(none, &options, &why), 0, "a back-end program's options %s", why.text);
    is_str(options.image, "disk.img", "--blk-file is --image");
    ok(options.functions[0].read_only && !options.sockets[0].path && options.sockets[0].fd == -1,
       "--read-only is for the default function; no socket");
    options_free(&options);
    const char *three[] = {"--size=1M",
                           "--function=a",
                           "--function",
                           "b",
                           "--function=c,ro",
                           "--vhost-user",
                           "b=./x=y",
                           "--fd",
                           "9",
                           "--fd=c=0xa",
                           NULL};
    is_int(parse(three, &options, &why), 0, "a socket of each function %s", why.text);
    ok(!options.sockets[0].path && options.sockets[0].fd == 9, "a number alone: the first");
    is_str(options.sockets[1].path, "./x=y", "a path may have =");
    ok(options.sockets[1].fd == -1 && options.sockets[2].fd == 10 && !options.sockets[2].path,
       "a number of a function");
    options_free(&options);
    const char *first[] = {"--size=1M",        "--function=a", "--function=b",
                           "--socket-path=/s", "--fd",         NULL};
    is_int(parse(first, &options, &why), -EINVAL, "--fd without a value");
    first[4] = NULL;
    is_int(parse(first, &options, &why), 0, "--socket-path %s", why.text);
    ok(!strcmp(options.sockets[0].path, "/s") && !options.sockets[1].path, "is the first's");
    options_free(&options);
    const char *longest[] = {"--size=1M", "--vhost-user", "vm0=" PATH_OF_107, NULL};
    is_int(parse(longest, &options, &why), 0, "the longest path %s", why.text);
    is_str(options.sockets[0].path, PATH_OF_107, "is taken whole");
    options_free(&options);
    const char *ask[] = {"--nonsense", "--size", "--print-capabilities", "x", NULL};
    ok(!parse(ask, &options, &why) && options.print_capabilities, "capabilities, whatever else");
    options_free(&options);
}

int main(void)
{
    test_refusals();
    test_refused_sockets();
    test_values();
    test_functions();
    test_sockets();
    return tap_done();
}
