/* SPDX-License-Identifier: BSD-2-Clause */
/* Global options, the table of commands, and the way from a command line to one of them. */
#include "args.h"
#include "base/bytes.h"
#include "base/parse.h"
#include "commands.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

static const struct command_entry commands[] = {
    {"wait", command_wait, "", "Waits until the server and all its functions answer."},
    {"info", command_info, "", "Shows what a driver sees: features, configuration, status."},
    {"caps", command_caps, "[--require ALG:BYTES[,wrapped]]",
     "Shows the algorithms and data unit sizes."},
    {"slot list", command_slot_list, "", "Shows all keyslots of the function."},
    {"slot program", command_slot_program,
     "SLOT --alg ALG --key-file FILE|- [--data-unit BYTES] [--wrapped] [--via in-band|out-of-band]",
     "Programs a keyslot."},
    {"slot evict", command_slot_evict, "SLOT | --all [--via in-band|out-of-band]",
     "Empties a keyslot."},
    {"key generate", command_key_generate, "[-o FILE] [--via in-band|out-of-band]",
     "Makes a long-term wrapped key."},
    {"key import", command_key_convert, "--key-file FILE|- [-o FILE] [--via in-band|out-of-band]",
     "Wraps a raw key into a long-term key."},
    {"key prepare", command_key_convert, "--key-file FILE|- [-o FILE] [--via in-band|out-of-band]",
     "Makes an ephemeral key of a long-term one."},
    {"key derive", command_key_convert, "--key-file FILE|- [-o FILE] [--via in-band|out-of-band]",
     "Derives the software secret of an ephemeral key."},
    {"io read", command_io_read,
     "--sector S --count N [--slot K --dun D [--data-unit BYTES]] [-o FILE]",
     "Reads sectors, through a keyslot or as stored."},
    {"io write", command_io_write, "--sector S [--slot K --dun D [--data-unit BYTES]] [FILE|-]",
     "Writes sectors, through a keyslot or as they are."},
    {"io flush", command_io_flush, "", "Makes stable what was written."},
    {"io id", command_io_id, "", "Shows the device's identity string."},
    {"io lifetime", command_io_lifetime, "", "Shows the device's wear."},
    {"io discard", command_io_range, "--sector S --count N", "Gives sectors back."},
    {"io zero", command_io_range, "--sector S --count N", "Writes zeros, as stored."},
    {"io erase", command_io_range, "--sector S --count N", "Erases sectors securely."},
    {"function list", command_function_list, "", "Shows all functions."},
    {"function add", command_function_add, "NAME[,KEY=VALUE...]", "Adds a function."},
    {"function remove", command_function_remove, "NAME",
     "Removes a function, and cuts its clients off."},
    {"view list", command_view_list, "", "Shows the views of a function or a layer."},
    {"view add", command_view_add,
     "NAME --alg ALG --key-file FILE|- [--wrapped] [--data-unit BYTES] [--sector S] [--count N] "
     "[--dun D] [--fallback auto|forbid|force]",
     "Shows sectors through a key, as a file."},
    {"view remove", command_view_remove, "NAME [--wait]", "Removes a view, and evicts its key."},
    {"layer list", command_layer_list, "", "Shows all layers."},
    {"layer add", command_layer_add, "NAME --map linear|striped[:BYTES] FUNCTION...",
     "Makes one device of several functions."},
    {"layer remove", command_layer_remove, "NAME", "Removes a layer."},
    {"resize", command_resize, "SIZE", "Gives the function's media another size."},
    {"reset", command_reset, "--scope device|function|engine",
     "Resets attachments, the function's slots, or the engine."},
    {"stats", command_stats, "", "Shows what the function has done."},
    {"batch", command_batch, "[--keep-going] [FILE|-]",
     "Runs the commands of a script, on one connection, many at once if it says so."},
};

struct globals {
    struct arg_lit *help, *version, *json;
    struct arg_str *dir, *function, *timeout;
    struct arg_end *end;
};

#define GLOBALS_COUNT (sizeof(struct globals) / sizeof(void *))

static void globals_new(struct globals *globals)
{
    globals->help = arg_lit0(NULL, "help", "show this, or after a command its help");
    globals->version = arg_lit0(NULL, "version", "show the version");
    globals->json = arg_lit0(NULL, "json", "print JSON");
    globals->dir = arg_str0("d", "dir", "DIR", "runtime folder of icesim");
    globals->function = arg_str0("f", "function", "FUNCTION", "function (default: the first)");
    globals->timeout = arg_str0(NULL, "timeout", "SECONDS", "give up after so long");
    globals->end = arg_end(4);
}

static void print_help(FILE *out, void **table)
{
    fputs("Usage: icectl [OPTIONS] COMMAND [ARGUMENTS]\n", out);
    args_print_options(out, table);
    fputs("\nCommands (icectl COMMAND --help tells more):\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        fprintf(out, "  %-24s %s\n", commands[i].name, commands[i].help);
}

/* ---- finding a command ---- */

/* Words of `name` that argv begins with; 0 when it does not begin with all of `name`'s. */
static int matches(const char *name, int argc, char **argv)
{
    const char *space = strchr(name, ' ');
    size_t first = space ? (size_t)(space - name) : strlen(name);

    if (argc < 1 || strlen(argv[0]) != first || memcmp(argv[0], name, first))
        return 0;
    if (!space)
        return 1;
    return argc > 1 && !strcmp(argv[1], space + 1) ? 2 : 0;
}

static bool is_group(const char *word, const char *name)
{
    size_t len = strlen(word);

    return !strncmp(name, word, len) && name[len] == ' ';
}

enum status command_unknown(struct icectl *icectl, int argc, char **argv)
{
    const char *word = argv[0];
    bool help = argc > 1 && !strcmp(argv[1], "--help") && !icectl->session;
    bool known = false;

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (!is_group(word, commands[i].name))
            continue;
        known = true;
        if (help)
            fprintf(icectl->out, "icectl %s%s%s\n    %s\n", commands[i].name,
                    *commands[i].synopsis ? " " : "", commands[i].synopsis, commands[i].help);
    }
    if (help && known)
        return STATUS_DONE;
    set_action(icectl, "%.60s", word);
    if (!known)
        return fail(icectl, STATUS_USAGE, "unknown command; icectl --help lists them");
    if (argc > 1)
        return fail(icectl, STATUS_USAGE, "unknown command %s; icectl %s --help lists them",
                    argv[1], word);
    return fail(icectl, STATUS_USAGE, "incomplete command; icectl %s --help lists them", word);
}

const struct command_entry *command_find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        *words = matches(commands[i].name, argc, argv);
        if (*words)
            return &commands[i];
    }
    return NULL;
}

static enum status run_command(struct icectl *icectl, int argc, char **argv)
{
    int words;
    const struct command_entry *entry = command_find(argc, argv, &words);

    if (!entry)
        return command_unknown(icectl, argc, argv);
    set_action(icectl, "%s", entry->name);
    return entry->run(icectl, entry, argc - (words - 1), argv + (words - 1));
}

/* ---- global options ---- */

/* Seconds with a fraction, to milliseconds. */
static enum status parse_timeout(const struct icectl *icectl, const char *text, int *ms)
{
    char *end;
    double seconds;

    errno = 0;
    seconds = strtod(text, &end);
    if (end == text || *end || errno || !(seconds >= 0) || seconds > INT_MAX / 1000.0)
        return fail(icectl, STATUS_USAGE, "--timeout \"%.32s\" is not a number of seconds", text);
    *ms = (int)(seconds * 1000);
    return STATUS_DONE;
}

static enum status take_globals(struct icectl *icectl, const struct globals *globals)
{
    enum status status = STATUS_DONE;

    icectl->json = globals->json->count;
    if (globals->dir->count)
        icectl->dir = globals->dir->sval[0];
    if (globals->timeout->count)
        status = parse_timeout(icectl, globals->timeout->sval[0], &icectl->timeout_ms);
    return status ? status : args_function(icectl, globals->function);
}

/* Global options stand before the command: what follows it is the command's. */
static enum status parse_globals(struct icectl *icectl, int argc, char **argv,
                                 struct globals *globals, int *command)
{
    void **table = (void **)globals;
    enum status status;
    bool unknown;

    if (arg_nullcheck(table))
        return fail(icectl, STATUS_REFUSED, "no memory for the options");
    *command = args_first_operand(argc, argv, table, &unknown);
    status = args_read(icectl, unknown ? *command + 1 : *command, argv, table);
    if (*command < argc && !strcmp(argv[*command], "--"))
        ++*command;
    return status ? status : take_globals(icectl, globals);
}

static enum status run_line(struct icectl *icectl, int argc, char **argv, struct globals *globals)
{
    int command = argc;
    enum status status = parse_globals(icectl, argc, argv, globals, &command);
    char *dir = NULL;

    if (status)
        return status;
    if (globals->help->count) {
        print_help(icectl->out, (void **)globals);
        return STATUS_DONE;
    }
    if (globals->version->count) {
        fputs("icectl " PACKAGE_VERSION "\n", icectl->out);
        return STATUS_DONE;
    }
    if (command == argc)
        return fail(icectl, STATUS_USAGE, "no command; icectl --help lists them");
    if (!icectl->dir)
        icectl->dir = dir = default_dir();
    if (!icectl->dir)
        return fail(icectl, STATUS_USAGE, "no runtime folder: give -d DIR, or set ICESIM_DIR");
    status = run_command(icectl, argc - command, argv + command);
    free(dir);
    return status;
}

/* Output is kept until the command has succeeded: a failed one prints nothing. */
static enum status print_output(struct icectl *icectl, const char *text, size_t len)
{
    if (fwrite(text, 1, len, stdout) != len || fflush(stdout))
        return fail(icectl, STATUS_REFUSED, "standard output: %s", strerror(errno));
    return STATUS_DONE;
}

int icectl_run(int argc, char **argv)
{
    struct icectl icectl = {.timeout_ms = -1, .action = "usage"};
    struct globals globals;
    enum status status;
    char *text = NULL;
    size_t len = 0;

    icectl.out = open_memstream(&text, &len);
    if (!icectl.out)
        return fail(&icectl, STATUS_REFUSED, "no memory");
    globals_new(&globals);
    status = run_line(&icectl, argc, argv, &globals);
    arg_freetable((void **)&globals, GLOBALS_COUNT);
    if (fclose(icectl.out))
        status = fail(&icectl, STATUS_REFUSED, "no memory for the output");
    else if (status == STATUS_DONE)
        status = print_output(&icectl, text, len);
    free(text);
    return (int)status;
}
