/* SPDX-License-Identifier: BSD-2-Clause */
/* What a client sent may stand in an error: that is why texts have no control characters. */
#include "control_args.h"
#include "base/bytes.h"
#include "base/parse.h"
#include <errno.h>
#include <inttypes.h>

#define SHOWN_MAX 32 /* bytes of what a client sent, in an error */

static struct argument *find(struct argument *arguments, unsigned n, const char *key, size_t len)
{
    for (unsigned i = 0; i < n; i++) {
        if (strlen(arguments[i].key) == len && !memcmp(arguments[i].key, key, len))
            return &arguments[i];
    }
    return NULL;
}

static bool is_printable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((uint8_t)text[i] < ' ' || text[i] == 0x7f)
            return false;
    }
    return true;
}

static int read_key(struct reader *reader, struct argument *arguments, unsigned n,
                    struct argument **argument, struct ice_why *why)
{
    const char *text;
    size_t len;
    int err = read_text(reader, &text, &len, why);
    if (err)
        return err;
    if (!is_printable(text, len))
        return why_set(why, EINVAL, "a key has a control character");
    *argument = find(arguments, n, text, len);
    int shown = (int)min_u64(len, SHOWN_MAX);
    if (!*argument)
        return why_set(why, EINVAL, "key \"%.*s\" is not known", shown, text);
    if ((*argument)->given)
        return why_set(why, EINVAL, "key \"%.*s\" is given twice", shown, text);
    return 0;
}

static int take_text(struct reader *reader, struct argument *argument, struct ice_why *why)
{
    const char *text;
    int err = read_text(reader, &text, &argument->len, why);
    if (err)
        return err;
    if (!is_printable(text, argument->len))
        return why_set(why, EINVAL, "key \"%s\": the text has a control character", argument->key);
    if (argument->len > argument->max)
        return why_set(why, EINVAL, "key \"%s\": \"%.*s…\" is too long", argument->key, SHOWN_MAX,
                       text);
    memcpy(argument->text, text, argument->len);
    argument->text[argument->len] = 0;
    return 0;
}

static int take_number(struct reader *reader, struct argument *argument, struct ice_why *why)
{
    int err = read_uint(reader, UINT64_MAX, &argument->number, why);
    if (!err && argument->number > argument->max)
        err = why_set(why, EINVAL, "key \"%s\": %" PRIu64 " is above %" PRIu64, argument->key,
                      argument->number, argument->max);
    return err;
}

static int take_bytes(struct reader *reader, struct argument *argument, struct ice_why *why)
{
    int err = read_bytes(reader, &argument->bytes, &argument->len, why);
    if (!err && argument->len > argument->max)
        err = why_set(why, EINVAL, "key \"%s\": %zu bytes, not above %" PRIu64, argument->key,
                      argument->len, argument->max);
    return err;
}

static int take_flag(struct reader *reader, struct argument *argument, struct ice_why *why)
{
    return read_bool(reader, &argument->flag, why);
}

static int read_argument(struct reader *reader, struct argument *arguments, unsigned n,
                         struct ice_why *why)
{
    static int (*const take[])(struct reader *, struct argument *, struct ice_why *) = {
        [ARGUMENT_TEXT] = take_text,
        [ARGUMENT_UINT] = take_number,
        [ARGUMENT_BYTES] = take_bytes,
        [ARGUMENT_BOOL] = take_flag,
    };
    struct argument *argument;
    int err = read_key(reader, arguments, n, &argument, why);
    if (!err)
        err = take[argument->type](reader, argument, why);
    if (!err)
        argument->given = true;
    return err;
}

int arguments_read(struct reader *reader, struct argument *arguments, unsigned n,
                   struct ice_why *why)
{
    uint64_t pairs;
    int err = read_map(reader, &pairs, why);
    for (; !err && pairs; pairs--)
        err = read_argument(reader, arguments, n, why);
    if (!err)
        err = read_end(reader, why);
    for (unsigned i = 0; !err && i < n; i++) {
        if (!arguments[i].optional && !arguments[i].given)
            err = why_set(why, EINVAL, "key \"%s\" is missing", arguments[i].key);
    }
    return err;
}

int argument_hex(const struct argument *argument, uint64_t *value, struct ice_why *why)
{
    struct ice_why cause;
    if (!argument->given || !parse_number(argument->text, UINT64_MAX, value, &cause))
        return 0;
    return why_set(why, cause.err, "key \"%s\": %s", argument->key, cause.text);
}

int argument_function(struct host *host, const struct argument *name,
                      struct host_function **function, struct ice_why *why)
{
    *function = host_find(host, name->text);
    if (!*function)
        return why_set(why, ENOENT, "there is no function \"%s\"", name->text);
    return 0;
}
