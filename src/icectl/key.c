/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware-wrapped keys: key generate, import, prepare, derive. Keys come and go as bare bytes, in
 * secret memory from read(2) to write(2).
 */
#include "args.h"
#include "base/secret.h"
#include "commands.h"
#include "key_file.h"
#include "key_path.h"
#include "virtio/ice.h"

#include <string.h>
#include <unistd.h>

struct key_args {
    struct arg_lit *help;
    struct arg_str *output, *via;
    struct arg_str *key_file; /* not of generate: its table ends before */
    struct arg_end *end;
};

/* Of `key`, which may be NULL; in secret memory, to be freed; NULL with *status told. */
static uint8_t *convert(const struct icectl *icectl, enum via via, enum command_kind kind,
                        const uint8_t *key, size_t len, size_t *answer_len, enum status *status)
{
    uint8_t *answer = secret_alloc(KEY_BLOB_BYTES);
    struct key_path path;
    struct ice_why why;

    if (!answer) {
        secret_exhausted("a key", &why);
        *status = fail_why(icectl, STATUS_REFUSED, &why);
        return NULL;
    }
    *status = key_path_open(icectl, via, &path);
    if (!*status) {
        *status = tell_key_operation(
            icectl, key_path_convert(&path, kind, key, len, answer, answer_len, &why), &why);
        key_path_close(&path);
    }
    if (!*status)
        return answer;
    secret_free(answer);
    return NULL;
}

static enum status check_output(const struct icectl *icectl, const char *output)
{
    if (output)
        return STATUS_DONE;
    if (icectl->session)
        return fail(icectl, STATUS_REFUSED, "in a batch a key needs -o FILE");
    if (!isatty(STDOUT_FILENO))
        return STATUS_DONE;
    return fail(icectl, STATUS_REFUSED, "standard output is a terminal; give -o FILE");
}

/* `key_file` NULL: none. */
static enum status run(const struct icectl *icectl, const struct key_args *args,
                       const char *key_file, enum command_kind kind)
{
    const char *output = args->output->count ? args->output->sval[0] : "-";
    enum via via = VIA_EITHER;
    uint8_t *key = NULL, *answer;
    size_t len = 0, answer_len;
    struct ice_why why;
    enum status status = read_via(icectl, args->via, &via);

    if (!strcmp(output, "-"))
        output = NULL;
    if (!status)
        status = check_output(icectl, output);
    if (status)
        return status;
    if (key_file) {
        key = read_key_file(key_file, 1, ICE_KEY_FIELD, "a key", &len, &why);
        if (!key)
            return fail_why(icectl, STATUS_REFUSED, &why);
    }
    answer = convert(icectl, via, kind, key, len, &answer_len, &status);
    secret_free(key);
    if (answer && write_key_file(output, answer, answer_len, &why))
        status = fail_why(icectl, STATUS_REFUSED, &why);
    secret_free(answer);
    return status;
}

static struct key_args new_args(void)
{
    return (struct key_args){
        .help = arg_lit0(NULL, "help", "show this"),
        .output = arg_str0("o", "output", "FILE", "a new file for the key (standard output)"),
        .via = arg_str0(NULL, "via", "PATH", "in-band or out-of-band"),
    };
}

enum status command_key_generate(struct icectl *icectl, const struct command_entry *entry, int argc,
                                 char **argv)
{
    struct key_args args = new_args();
    void *table[] = {args.help, args.output, args.via, arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = run(icectl, &args, NULL, COMMAND_KEY_GENERATE);
    arg_freetable(table, sizeof(table) / sizeof(*table));
    return status;
}

static enum command_kind kind_of(const struct command_entry *entry)
{
    return !strcmp(entry->name, "key import")    ? COMMAND_KEY_IMPORT
           : !strcmp(entry->name, "key prepare") ? COMMAND_KEY_PREPARE
                                                 : COMMAND_KEY_DERIVE;
}

enum status command_key_convert(struct icectl *icectl, const struct command_entry *entry, int argc,
                                char **argv)
{
    struct key_args args = new_args();
    enum status status;

    args.key_file = arg_str1(NULL, "key-file", "FILE|-", "the key");
    args.end = arg_end(4);
    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = run(icectl, &args, args.key_file->sval[0], kind_of(entry));
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}
