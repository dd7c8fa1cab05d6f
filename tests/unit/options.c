/* SPDX-License-Identifier: BSD-2-Clause */
/* icesim's command line: what is taken, and the one line for what is not. */
#include "icesim/options.h"
#include "base/bytes.h"
#include "tap.h"
#include <errno.h>

#define ARGS_MAX 12

static int parse(const char *const *args, struct options *options, struct ice_why *why)
{
    static char copies[ARGS_MAX][64];
    char name[] = "icesim";
    char *argv[ARGS_MAX + 2] = {name};
    int argc = 1;
    for (; args[argc - 1]; argc++) {
        snprintf(copies[argc - 1], sizeof(copies[0]), "%s", args[argc - 1]);
        argv[argc] = copies[argc - 1];
    }
    return options_parse(argc, argv, options, why);
}

static void test_refusals(void)
{
    static const struct {
        const char *args[ARGS_MAX];
        const char *text;
    } cases[] = {
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
        {{"--size", "1M", "--dialect", "ice9"}, "--dialect ice9: there is only ice2"},
        {{"--size", "1M", "--stop-timeout", "ten"}, "--stop-timeout: \"ten\" is not a number"},
        {{"--size", "1M", "--stop-timeout", "99999"}, "--stop-timeout 99999: outside 0..86400"},
        {{"--size", "1M", "--log-level", "loud"},
         "--log-level loud: none of error, warning, info, debug"},
        {{"--size", "1M", "--allow-root"}, "--allow-root: there is no --mount"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct options options;
        struct ice_why why = {.text = ""};
        is_int(parse(cases[i].args, &options, &why), -EINVAL, "case %zu is refused", i);
        is_str(why.text, cases[i].text, "%s", cases[i].text);
    }
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
    const char *many[] = {
        "--image=--size", "--slots=0xff",   "--mount=m", "--allow-root", "--dir", "d", "--run",
        "exit 3",         "--stop-timeout", "0",         "--pidfile=p",  NULL};
    is_int(parse(many, &options, &why), 0, "many options");
    is_str(options.image, "--size", "a value may look like an option");
    is_str(options.run, "exit 3", "or hold blanks");
    ok(options.size == 0 && options.slots == 255 && options.stop_timeout == 0 &&
           options.allow_root && !strcmp(options.pidfile, "p"),
       "the others");
    const char *help[] = {"--help", NULL};
    ok(!parse(help, &options, &why) && options.help, "--help needs nothing else");
}

int main(void)
{
    test_refusals();
    test_values();
    return tap_done();
}
