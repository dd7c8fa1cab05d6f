/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options. argtable2 keeps the table and writes the help; what it would let pass (abbreviations,
 * options behind arguments, several complaints at once) is refused before it sees the line.
 */
#include "options.h"
#include "base/bytes.h"
#include "base/parse.h"
#include "base/units.h"
#include "socket_path.h"
#include <argtable2.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOP_TIMEOUT_MAX 86400u

struct table {
    struct arg_str *image, *size, *slots, *dialect;
    struct arg_lit *strict;
    struct arg_str *function, *reserve;
    struct arg_lit *unsafe_overlap, *unsafe_monitor;
    struct arg_str *state, *bitlocker_iv;
    struct arg_str *dir, *mount;
    struct arg_lit *allow_root;
    struct arg_str *vhost_user, *fd, *socket_path, *blk_file;
    struct arg_lit *read_only, *print_capabilities;
    struct arg_str *run, *pidfile, *stop_timeout, *log_level;
    struct arg_lit *no_mlock;
    struct arg_lit *help, *version;
    struct arg_end *end;
};

/* struct table as arg_parse wants it. */
#define TABLE_ENTRIES (sizeof(struct table) / sizeof(void *))

/* `words`: how many times an option may come that may come again. */
static bool table_new(struct table *t, int words)
{
    t->image = arg_str0(NULL, "image", "FILE", "keep sectors in FILE, as ciphertext");
    t->size = arg_str0(NULL, "size", "SIZE", "bytes (K, M, G, T); creates FILE, or alone: RAM");
    t->slots = arg_str0(NULL, "slots", "N", "keyslots of the engine, 1 to 255 (32)");
    t->dialect = arg_str0(NULL, "dialect", "DIALECT", "ice1, ice2 (default) or inline");
    t->strict = arg_lit0(NULL, "strict", "functions take what the draft defines, no more");
    t->function = arg_strn(NULL, "function", "NAME[,KEY=VALUE]...", 0, words,
                           "a virtual device; may come again (vm0, with everything)");
    t->reserve = arg_str0(NULL, "reserve", "FIRST+COUNT", "slots that no function gets");
    t->unsafe_overlap = arg_lit0(NULL, "unsafe-overlap", "let windows of functions overlap");
    t->unsafe_monitor =
        arg_lit0(NULL, "unsafe-monitor", "out of band, let functions program any slot");
    t->state = arg_str0(NULL, "state", "FILE", "keep the device secret there (IMAGE.secret)");
    t->bitlocker_iv = arg_str0(NULL, "bitlocker-iv", "offset|dun", "what BitLocker IVs count");
    t->dir = arg_str0(NULL, "dir", "DIR", "folder of the sockets");
    t->mount = arg_str0(NULL, "mount", "DIR", "show raw, slot/N, view/NAME, status.json under DIR");
    t->allow_root = arg_lit0(NULL, "allow-root", "let root use the mount too");
    t->vhost_user = arg_strn(NULL, "vhost-user", "FUNCTION=PATH", 0, words,
                             "listen for a VMM of FUNCTION; may come again");
    t->fd = arg_strn(NULL, "fd", "[FUNCTION=]FD", 0, words,
                     "the same, on an open socket; may come again");
    t->socket_path = arg_str0(NULL, "socket-path", "PATH", "--vhost-user of the first function");
    t->blk_file = arg_str0(NULL, "blk-file", "FILE", "another name of --image");
    t->read_only = arg_lit0(NULL, "read-only", "the default function takes no writes");
    t->print_capabilities =
        arg_lit0(NULL, "print-capabilities", "print JSON for managers of VMMs and exit");
    t->run = arg_str0(NULL, "run", "COMMAND", "when ready, run COMMAND; exit with its status");
    t->pidfile = arg_str0(NULL, "pidfile", "FILE", "write the process id to FILE when ready");
    t->stop_timeout = arg_str0(NULL, "stop-timeout", "SECONDS", "serve what is open so long (10)");
    t->log_level = arg_str0(NULL, "log-level", "LEVEL", "error, warning, info or debug (info)");
    t->no_mlock = arg_lit0(NULL, "no-mlock", "keep keys in memory that may be swapped out");
    t->help = arg_lit0(NULL, "help", "show this and exit");
    t->version = arg_lit0(NULL, "version", "show the version and exit");
    t->end = arg_end(1);
    return arg_nullcheck((void **)t) == 0;
}

static void table_free(struct table *t)
{
    arg_freetable((void **)t, TABLE_ENTRIES);
}

/* ---- before argtable2 ---- */

static const struct arg_hdr *find(const struct table *t, const char *name, size_t len,
                                  unsigned *index)
{
    void *const *entries = (void *const *)t;
    for (unsigned i = 0; i + 1 < TABLE_ENTRIES; i++) {
        const struct arg_hdr *option = entries[i];
        if (strlen(option->longopts) == len && !memcmp(option->longopts, name, len)) {
            *index = i;
            return option;
        }
    }
    return NULL;
}

/*
 * One element of argv and perhaps its value in the next; returns how many it takes, or -errno.
 * `seen` has a bit for each entry of the table.
 */
static int check_option(const struct table *t, char **argv, uint32_t *seen, struct ice_why *why)
{
    const char *name = argv[0] + 2;
    size_t len = strcspn(name, "=");
    unsigned index;
    const struct arg_hdr *option = find(t, name, len, &index);
    bool joined = name[len] == '=';
    if (!option)
        return why_set(why, EINVAL, "--%.*s: unknown option", (int)min_u64(len, 64), name);
    bool again =
        option == &t->function->hdr || option == &t->vhost_user->hdr || option == &t->fd->hdr;
    if (*seen & 1u << index && !again)
        return why_set(why, EINVAL, "--%s: given twice", option->longopts);
    *seen |= 1u << index;
    if (!(option->flag & ARG_HASVALUE))
        return joined ? why_set(why, EINVAL, "--%s: takes no value", option->longopts) : 1;
    const char *value = joined ? name + len + 1 : argv[1];
    if (!value || !*value)
        return why_set(why, EINVAL, "--%s: %s is missing", option->longopts, option->datatype);
    return joined ? 1 : 2;
}

static int check_line(const struct table *t, char **argv, struct ice_why *why)
{
    uint32_t seen = 0;
    while (*++argv) {
        if (!strcmp(*argv, "--") && !argv[1])
            break;
        if (strncmp(*argv, "--", 2) || !(*argv)[2])
            return why_set(why, EINVAL, "%.64s: unexpected argument", *argv);
        int taken = check_option(t, argv, &seen, why);
        if (taken < 0)
            return taken;
        argv += taken - 1;
    }
    return 0;
}

static int parse_line(struct table *t, int argc, char **argv, struct ice_why *why)
{
    int err = check_line(t, argv, why);
    if (!err && arg_parse(argc, argv, (void **)t))
        err = why_set(why, EINVAL, "the command line is not understood");
    return err;
}

/* ---- values ---- */

static const char *text(const struct arg_str *option)
{
    return option->count ? option->sval[0] : NULL;
}

/* Puts the option in front of what base/parse.h says. */
static int blame(const struct arg_str *option, int err, const struct ice_why *cause,
                 struct ice_why *why)
{
    return err ? why_set(why, EINVAL, "--%s: %s", option->hdr.longopts, cause->text) : 0;
}

static int parse_unsigned(const struct arg_str *option, unsigned min, unsigned max, unsigned *value,
                          struct ice_why *why)
{
    uint64_t number;
    struct ice_why cause;
    if (!option->count)
        return 0;
    int err = parse_number(option->sval[0], UINT64_MAX, &number, &cause);
    if (err)
        return blame(option, err, &cause, why);
    if (number < min || number > max)
        return why_set(why, EINVAL, "--%s %.32s: outside %u..%u", option->hdr.longopts,
                       option->sval[0], min, max);
    *value = (unsigned)number;
    return 0;
}

static int parse_media(const struct table *t, struct options *options, struct ice_why *why)
{
    struct ice_why cause;
    options->image = text(t->image->count ? t->image : t->blk_file);
    if (t->image->count && t->blk_file->count)
        return why_set(why, EINVAL, "--blk-file: there is --image already");
    if (!options->image && !t->size->count)
        return why_set(why, EINVAL, "--image or --size: one of them is needed");
    if (!t->size->count)
        return 0;
    int err = blame(t->size, parse_size(t->size->sval[0], &options->size, &cause), &cause, why);
    if (err)
        return err;
    if (!options->size || options->size % SECTOR_SIZE)
        return why_set(why, EINVAL, "--size %.32s: not a multiple of %u above 0", t->size->sval[0],
                       SECTOR_SIZE);
    return 0;
}

static int parse_bitlocker_iv(const struct table *t, struct options *options, struct ice_why *why)
{
    const char *value = t->bitlocker_iv->count ? t->bitlocker_iv->sval[0] : "offset";
    options->bitlocker_iv_from_dun = !strcmp(value, "dun");
    if (!options->bitlocker_iv_from_dun && strcmp(value, "offset") != 0)
        return why_set(why, EINVAL, "--bitlocker-iv %.32s: none of offset, dun", value);
    return 0;
}

static int parse_reserve(const struct table *t, struct options *options, struct ice_why *why)
{
    uint64_t first, count;
    struct ice_why cause;
    if (!t->reserve->count)
        return 0;
    int err =
        blame(t->reserve, parse_range(t->reserve->sval[0], options->slots, &first, &count, &cause),
              &cause, why);
    if (err)
        return err;
    options->reserve_first = (unsigned)first;
    options->reserve_count = (unsigned)count;
    return 0;
}

static int parse_dialect(const struct table *t, struct options *options, struct ice_why *why)
{
    options->dialect = &dialect_ice2;
    options->strict = t->strict->count;
    if (t->dialect->count)
        options->dialect = dialect_by_name(t->dialect->sval[0]);
    if (!options->dialect)
        return why_set(why, EINVAL, "--dialect %.32s: none of ice1, ice2, inline",
                       t->dialect->sval[0]);
    return 0;
}

static int parse_function(const char *text, struct options *options, struct ice_why *why)
{
    struct function_spec *spec = &options->functions[options->function_count];
    struct ice_why cause;
    int err = function_spec_parse(text, spec, &cause);
    if (!err)
        err = function_spec_settle(spec, options->dialect, options->strict, &cause);
    for (unsigned i = 0; !err && i < options->function_count; i++) {
        if (!strcmp(options->functions[i].name, spec->name))
            err = why_set(&cause, EINVAL, "there is a function of this name already");
    }
    options->function_count++;
    return err ? why_set(why, EINVAL, "--function %.64s: %s", text, cause.text) : 0;
}

static int parse_default_function(bool read_only, struct options *options, struct ice_why *why)
{
    return parse_function(read_only ? "vm0,ro" : "vm0", options, why);
}

static int parse_functions(const struct table *t, struct options *options, struct ice_why *why)
{
    size_t n = (size_t)t->function->count;
    int err = 0;
    options->functions = calloc(n ? n : 1, sizeof(*options->functions));
    if (!options->functions)
        return why_set(why, EINVAL, "no memory for the options");
    if (!n)
        return parse_default_function(t->read_only->count, options, why);
    if (t->read_only->count)
        return why_set(why, EINVAL, "--read-only: with --function, its flag ro says so");
    for (size_t i = 0; !err && i < n; i++)
        err = parse_function(t->function->sval[i], options, why);
    return err;
}

/* ---- sockets for vhost-user ---- */

/* The one of the function that `text` names, `len` bytes; it has none yet. Or NULL. */
static struct vhost_socket *socket_of(const struct arg_str *option, const char *text, size_t len,
                                      const struct options *options, struct ice_why *why)
{
    unsigned i = 0;
    while (i < options->function_count && (strlen(options->functions[i].name) != len ||
                                           memcmp(options->functions[i].name, text, len) != 0))
        i++;
    if (i == options->function_count) {
        why_say(why, EINVAL, "--%s %.64s: there is no --function of this name",
                option->hdr.longopts, text);
        return NULL;
    }
    struct vhost_socket *socket = &options->sockets[i];
    if (socket->path || socket->fd >= 0) {
        why_say(why, EINVAL, "--%s %.64s: %s has a socket for vhost-user already",
                option->hdr.longopts, text, options->functions[i].name);
        return NULL;
    }
    return socket;
}

static int parse_path(const struct arg_str *option, const char *path, struct vhost_socket *socket,
                      struct ice_why *why)
{
    if (!*path || strlen(path) > SOCKET_PATH_MAX)
        return why_set(why, EINVAL, "--%s: PATH has %zu bytes; it has 1 to %u",
                       option->hdr.longopts, strlen(path), SOCKET_PATH_MAX);
    socket->path = path;
    return 0;
}

static int parse_vhost_user(const struct arg_str *option, const char *text,
                            const struct options *options, struct ice_why *why)
{
    size_t len = strcspn(text, "=");
    if (!text[len])
        return why_set(why, EINVAL, "--vhost-user %.64s: not FUNCTION=PATH", text);
    struct vhost_socket *socket = socket_of(option, text, len, options, why);
    return socket ? parse_path(option, text + len + 1, socket, why) : -EINVAL;
}

static int parse_socket_path(const struct table *t, const struct options *options,
                             struct ice_why *why)
{
    if (!t->socket_path->count)
        return 0;
    if (t->fd->count)
        return why_set(why, EINVAL, "--socket-path: not together with --fd");
    const char *first = options->functions[0].name;
    struct vhost_socket *socket = socket_of(t->socket_path, first, strlen(first), options, why);
    return socket ? parse_path(t->socket_path, t->socket_path->sval[0], socket, why) : -EINVAL;
}

static int parse_fd(const struct arg_str *option, const char *text, const struct options *options,
                    struct ice_why *why)
{
    const char *equals = strchr(text, '='), *name = equals ? text : options->functions[0].name;
    uint64_t fd;
    struct ice_why cause;
    int err =
        blame(option, parse_number(equals ? equals + 1 : text, INT_MAX, &fd, &cause), &cause, why);
    if (err)
        return err;
    if (fd <= STDERR_FILENO)
        return why_set(why, EINVAL, "--fd %.64s: standard input, output and error are not for it",
                       text);
    size_t len = equals ? (size_t)(equals - text) : strlen(name);
    struct vhost_socket *socket = socket_of(option, name, len, options, why);
    if (socket)
        socket->fd = (int)fd;
    return socket ? 0 : -EINVAL;
}

static int parse_sockets(const struct table *t, struct options *options, struct ice_why *why)
{
    options->sockets = calloc(options->function_count, sizeof(*options->sockets));
    if (!options->sockets)
        return why_set(why, EINVAL, "no memory for the options");
    for (unsigned i = 0; i < options->function_count; i++)
        options->sockets[i].fd = -1;
    int err = 0;
    for (int i = 0; !err && i < t->vhost_user->count; i++)
        err = parse_vhost_user(t->vhost_user, t->vhost_user->sval[i], options, why);
    if (!err)
        err = parse_socket_path(t, options, why);
    for (int i = 0; !err && i < t->fd->count; i++)
        err = parse_fd(t->fd, t->fd->sval[i], options, why);
    return err;
}

static int parse_log_level(const struct table *t, struct options *options, struct ice_why *why)
{
    options->log_level = LOG_INFO;
    if (t->log_level->count && log_level_parse(t->log_level->sval[0], &options->log_level) < 0)
        return why_set(why, EINVAL, "--log-level %.32s: none of error, warning, info, debug",
                       t->log_level->sval[0]);
    return 0;
}

static int fill(const struct table *t, struct options *options, struct ice_why *why)
{
    options->help = t->help->count;
    options->version = t->version->count;
    if (options->help || options->version)
        return 0;
    options->dir = text(t->dir);
    options->mount = text(t->mount);
    options->allow_root = t->allow_root->count;
    options->run = text(t->run);
    options->pidfile = text(t->pidfile);
    options->no_mlock = t->no_mlock->count;
    options->unsafe_overlap = t->unsafe_overlap->count;
    options->unsafe_monitor = t->unsafe_monitor->count;
    options->state = text(t->state);
    int err = parse_media(t, options, why);
    if (!err)
        err = parse_unsigned(t->slots, 1, SLOTS_MAX, &options->slots, why);
    if (!err)
        err = parse_reserve(t, options, why);
    if (!err)
        err = parse_bitlocker_iv(t, options, why);
    if (!err)
        err = parse_dialect(t, options, why);
    if (!err)
        err = parse_functions(t, options, why);
    if (!err)
        err = parse_sockets(t, options, why);
    if (!err)
        err = parse_unsigned(t->stop_timeout, 0, STOP_TIMEOUT_MAX, &options->stop_timeout, why);
    if (!err)
        err = parse_log_level(t, options, why);
    if (!err && options->allow_root && !options->mount)
        err = why_set(why, EINVAL, "--allow-root: there is no --mount");
    return err;
}

/* It goes before all else, whatever that is: so its convention has it. */
static bool wants_capabilities(char **argv)
{
    while (*++argv) {
        if (!strcmp(*argv, "--print-capabilities"))
            return true;
    }
    return false;
}

int options_parse(int argc, char **argv, struct options *options, struct ice_why *why)
{
    struct table t;
    *options = (struct options){.print_capabilities = wants_capabilities(argv)};
    if (options->print_capabilities)
        return 0;
    int err = table_new(&t, argc) ? 0 : why_set(why, EINVAL, "no memory for the options");
    *options = (struct options){.slots = 32, .stop_timeout = 10};
    if (!err)
        err = parse_line(&t, argc, argv, why);
    if (!err)
        err = fill(&t, options, why);
    if (err)
        options_free(options);
    table_free(&t);
    return err;
}

void options_free(struct options *options)
{
    free(options->functions);
    free(options->sockets);
    options->functions = NULL;
    options->sockets = NULL;
}

void options_help(FILE *to)
{
    struct table t;
    if (table_new(&t, 1)) {
        fputs("Usage: icesim --size SIZE | --image FILE [OPTION]...\n"
              "A virtual block device with an inline crypto engine.\n\n",
              to);
        arg_print_glossary(to, (void **)&t, "  %-30s %s\n");
    }
    table_free(&t);
}

void options_print_capabilities(FILE *to)
{
    fputs("{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}\n", to);
}
