/* SPDX-License-Identifier: BSD-2-Clause */
/* vhost-frontend: see usage() below. One JSON object on standard output for each command. */
#include "base/bytes.h"
#include "base/parse.h"
#include "base/secret.h"
#include "base/units.h"
#include "program.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static int usage(void)
{
    fputs(
        "usage: vhost-frontend -s SOCKET [OPTION...] COMMAND [OPTION...]\n"
        "\n"
        "  -s SOCKET            of the back end; waits for it\n"
        "  --dialect NAME       ice1, ice2 (default), inline\n"
        "  --queues N           of requests (1)\n"
        "  --size N             entries of a ring (128)\n"
        "  --regions N          of memory (2)\n"
        "  --memory SIZE        for buffers (32M)\n"
        "  --timeout MS         for an answer (60000)\n"
        "  --with LIST          in-band\n"
        "  --without LIST       indirect, event-idx, ice, wce, mq, reply-ack, channel, inflight,\n"
        "                       mem-slots, status: not to be negotiated\n"
        "  --every-kick         kick though the device asks for none\n"
        "  --every-call         ask for each call\n"
        "  --spin               wait by looking at the rings, ask for no call\n"
        "\n"
        "  features | config | flush | stop\n"
        "  program SLOT --alg ALG --key-file FILE [--data-unit BYTES]\n"
        "  evict SLOT\n"
        "  read | write FILE --sector S [--count N] [--slot K --dun D --data-unit BYTES]\n"
        "  discard | zero --sector S --count N\n"
        "  await-change --count N      there were N CONFIG_CHANGE since the start\n"
        "  io [--requests N] [--depth D] [--block BYTES] [--sector S] [--count N] [--reads %]\n"
        "     [--seed N] [--slot K --dun D --data-unit BYTES] [--image FILE] [--until-line]\n"
        "     [--kills N] [--alg ALG --key-file FILE]\n"
        "                       verified; the back end is killed N times, each with requests in\n"
        "                       flight; with a key, IOERR and a CONFIG_CHANGE program it anew\n"
        "  keys --slot K --count N --alg ALG --key-file FILE\n"
        "                       programs and evicts them, kills the back end, connects again\n"
        "  batch                a command per line of standard input\n"
        "\n"
        "Exit status: 0, 1 failed, 2 usage, 3 IOERR, 4 UNSUPP, 6 data are wrong.\n",
        stderr);
    return 2;
}

/* ---- options of the front end ---- */

static int change_features(struct frontend_options *options, const char *list, bool with)
{
    static const struct {
        const char *name;
        uint64_t features, protocol;
    } table[] = {
        {"in-band", 0, VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS)},
        {"indirect", VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC), 0},
        {"event-idx", VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX), 0},
        {"wce", VIRTIO_FEATURE(9) | VIRTIO_FEATURE(11), 0},
        {"ice", VIRTIO_FEATURE(22) | VIRTIO_FEATURE(23) | ~(VIRTIO_FEATURE(50) - 1), 0},
        {"mq", VIRTIO_FEATURE(12), VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_MQ)},
        {"reply-ack", 0, VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_REPLY_ACK)},
        {"channel", 0, VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_BACKEND_REQ)},
        {"inflight", 0, VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD)},
        {"mem-slots", 0, VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)},
        {"status", 0, VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_STATUS)},
    };
    char copy[256], *rest = copy;

    if (strlen(list) >= sizeof(copy))
        return -EINVAL;
    strcpy(copy, list);
    for (char *name; (name = strsep(&rest, ","));) {
        unsigned i = 0;
        while (i < ARRAY_SIZE(table) && strcmp(table[i].name, name))
            i++;
        if (i == ARRAY_SIZE(table))
            return -EINVAL;
        options->features =
            with ? options->features | table[i].features : options->features & ~table[i].features;
        options->protocol =
            with ? options->protocol | table[i].protocol : options->protocol & ~table[i].protocol;
    }
    return 0;
}

static int number(const char *text, uint64_t max, unsigned *value)
{
    uint64_t n;
    struct ice_why why;

    if (parse_number(text, max, &n, &why))
        return -EINVAL;
    *value = (unsigned)n;
    return 0;
}

enum option_of_front_end {
    DIALECT = 256,
    QUEUES,
    SIZE,
    REGIONS,
    MEMORY,
    TIMEOUT,
    WITH,
    WITHOUT,
    EVERY_KICK,
    EVERY_CALL,
    SPIN
};

static int set_option(struct frontend_options *options, int option, const char *text)
{
    unsigned timeout;
    uint64_t memory;

    switch (option) {
    case 's':
        options->path = text;
        return 0;
    case DIALECT:
        options->dialect = dialect_by_name(text);
        return options->dialect ? 0 : -EINVAL;
    case QUEUES:
        return number(text, FRONTEND_QUEUES_MAX, &options->queues);
    case SIZE:
        return number(text, VRING_SIZE_LIMIT, &options->queue_size);
    case REGIONS:
        return number(text, VHOST_USER_TABLE_REGIONS, &options->regions);
    case MEMORY:
        if (parse_size(text, &memory, NULL))
            return -EINVAL;
        options->memory = memory;
        return 0;
    case TIMEOUT:
        if (number(text, INT32_MAX, &timeout))
            return -EINVAL;
        options->timeout_ms = (int)timeout;
        return 0;
    case WITH:
    case WITHOUT:
        return change_features(options, text, option == WITH);
    case EVERY_KICK:
        options->every_kick = true;
        return 0;
    case EVERY_CALL:
        options->every_call = true;
        return 0;
    case SPIN:
        options->spin = true;
        return 0;
    default:
        return -EINVAL;
    }
}

static int read_options(int argc, char **argv, struct frontend_options *options)
{
    static const struct option table[] = {
        {"dialect", 1, NULL, DIALECT},
        {"queues", 1, NULL, QUEUES},
        {"size", 1, NULL, SIZE},
        {"regions", 1, NULL, REGIONS},
        {"memory", 1, NULL, MEMORY},
        {"timeout", 1, NULL, TIMEOUT},
        {"with", 1, NULL, WITH},
        {"without", 1, NULL, WITHOUT},
        {"every-kick", 0, NULL, EVERY_KICK},
        {"every-call", 0, NULL, EVERY_CALL},
        {"spin", 0, NULL, SPIN},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "+s:", table, NULL)) != -1) {
        if (set_option(options, option, optarg))
            return -EINVAL;
    }
    return options->path && optind < argc ? 0 : -EINVAL;
}

/* ---- commands and their options ---- */

static const struct command_name {
    const char *name;
    command_run *run;
    bool takes_object;
} commands[] = {
    {"features", run_features, false},
    {"config", run_config, false},
    {"flush", run_flush, false},
    {"stop", run_stop, false},
    {"program", run_program, true},
    {"evict", run_evict, true},
    {"read", run_read, true},
    {"write", run_write, true},
    {"discard", run_discard, false},
    {"zero", run_zero, false},
    {"io", run_io, false},
    {"keys", run_keys, false},
    {"await-change", run_await_change, false},
};

static const struct option argument_table[] = {
    {"sector", 1, NULL, 's'},     {"count", 1, NULL, 'c'},
    {"slot", 1, NULL, 'k'},       {"dun", 1, NULL, 'd'},
    {"alg", 1, NULL, 'a'},        {"data-unit", 1, NULL, 'u'},
    {"key-file", 1, NULL, 'f'},   {"seed", 1, NULL, 'x'},
    {"requests", 1, NULL, 'n'},   {"kills", 1, NULL, 'K'},
    {"depth", 1, NULL, 'D'},      {"reads", 1, NULL, 'r'},
    {"block", 1, NULL, 'b'},      {"image", 1, NULL, 'i'},
    {"until-line", 0, NULL, 'l'}, {0},
};

static int set_argument(struct arguments *arguments, int option, const char *text)
{
    switch (option) {
    case 's':
        return parse_number(text, UINT64_MAX, &arguments->sector, NULL);
    case 'c':
        return parse_number(text, UINT32_MAX, &arguments->count, NULL);
    case 'k':
        arguments->tagged = true;
        return number(text, UINT32_MAX, &arguments->slot);
    case 'd':
        return parse_dun(text, &arguments->dun, NULL);
    case 'a':
        arguments->algorithm = algorithm_by_name(text);
        return arguments->algorithm ? 0 : -EINVAL;
    case 'u':
        return number(text, DATA_UNIT_MAX, &arguments->data_unit);
    case 'f':
        arguments->key_file = text;
        return 0;
    case 'x':
        return parse_number(text, UINT64_MAX, &arguments->seed, NULL);
    case 'n':
        return parse_number(text, UINT64_MAX, &arguments->requests, NULL);
    case 'K':
        return parse_number(text, UINT32_MAX, &arguments->kills, NULL);
    case 'D':
        return number(text, 4096, &arguments->depth);
    case 'r':
        return number(text, 100, &arguments->reads);
    case 'b':
        return number(text, TRANSFER_MAX, &arguments->block);
    case 'i':
        arguments->image = text;
        return 0;
    case 'l':
        arguments->unlimited = true;
        return 0;
    default:
        return -EINVAL;
    }
}

/* argv[0] is the command. NULL: usage. */
static const struct command_name *read_command(int argc, char **argv, struct arguments *arguments)
{
    int option;

    *arguments = (struct arguments){
        .algorithm = algorithm_by_name("aes-256-xts"),
        .data_unit = 4096,
        .seed = 1,
        .requests = 1000,
        .depth = 1,
        .reads = 50,
        .block = 4096,
    };
    optind = 0;
    while ((option = getopt_long(argc, argv, "", argument_table, NULL)) != -1) {
        if (set_argument(arguments, option, optarg))
            return NULL;
    }
    if (arguments->data_unit < DATA_UNIT_MIN)
        return NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].name, argv[0]))
            continue;
        if (optind + commands[i].takes_object != argc)
            return NULL;
        arguments->object = commands[i].takes_object ? argv[optind] : NULL;
        return &commands[i];
    }
    return NULL;
}

/* ---- running them ---- */

static int exit_status(int err)
{
    switch (-err) {
    case 0:
        return 0;
    case EIO:
        return 3;
    case EOPNOTSUPP:
        return 4;
    case EILSEQ:
        return 6;
    default:
        return 1;
    }
}

static int run(struct program *program, int argc, char **argv)
{
    struct frontend_counts before, after;
    struct arguments arguments;
    const struct command_name *command = read_command(argc, argv, &arguments);
    struct json *json = json_new();
    struct ice_why why = {0};

    if (!command) {
        free(json_finish(json));
        return usage();
    }
    frontend_count(program->frontend, &before);
    json_object_open(json, NULL);
    json_string(json, "command", command->name);
    int err = command->run(program, &arguments, json, &why);
    frontend_count(program->frontend, &after);
    json_number(json, "requests", after.requests - before.requests);
    json_number(json, "kicks", after.kicks - before.kicks);
    json_number(json, "calls", after.calls - before.calls);
    json_number(json, "status", (uint64_t)exit_status(err));
    if (err)
        json_string(json, "error", why.text);
    json_object_close(json);
    char *text = json_finish(json);
    puts(text ? text : "{}");
    fflush(stdout);
    free(text);
    if (err)
        fprintf(stderr, "vhost-frontend: %s: %s\n", command->name, why.text);
    return exit_status(err);
}

/* Each answer says its command's status. */
static int run_batch(struct program *program)
{
    char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, stdin) > 0) {
        char *argv[32], *rest = line;
        int argc = 0;
        while (argc < 31 && (argv[argc] = strsep(&rest, " \n")))
            argc += *argv[argc] != 0;
        argv[argc] = NULL;
        if (argc)
            run(program, argc, argv);
    }
    free(line);
    return 0;
}

static int start(struct program *program, struct ice_why *why)
{
    int err = frontend_new(&program->options, &program->frontend, why);

    if (!err)
        err = frontend_connect(program->frontend, why);
    if (!err)
        err = frontend_config(program->frontend, &program->config, why);
    if (!err)
        err = frontend_channel(program->frontend, TRANSFER_MAX + 1, &program->channel, why);
    return err;
}

int main(int argc, char **argv)
{
    struct program program = {.options = frontend_usual(NULL)};
    struct ice_why why = {0};
    int status;

    secret_harden_process();
    if (read_options(argc, argv, &program.options))
        return usage();
    argc -= optind;
    argv += optind;
    if (start(&program, &why)) {
        fprintf(stderr, "vhost-frontend: %s\n", why.text);
        frontend_free(program.frontend);
        return 1;
    }
    if (!strcmp(argv[0], "batch"))
        status = run_batch(&program);
    else
        status = run(&program, argc, argv);
    frontend_free(program.frontend);
    return status;
}
