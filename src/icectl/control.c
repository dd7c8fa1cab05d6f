/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"
#include "base/bytes.h"
#include "base/parse.h"
#include "base/secret.h"
#include "session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int connect_socket(const struct icectl *icectl, const char *file, int timeout_ms,
                   struct client **client, struct ice_why *why)
{
    char *path;
    int err;

    if (asprintf(&path, "%s/%s.sock", icectl->dir, file) < 0)
        return why_set(why, ENOMEM, "no memory");
    err = client_connect(path, timeout_ms, client, why);
    free(path);
    if (!err && icectl->session)
        session_adopt(icectl->session, *client);
    return err;
}

enum status connect_control(const struct icectl *icectl, struct client **control)
{
    struct ice_why why;
    int err = connect_socket(icectl, "control", icectl->timeout_ms, control, &why);

    return err ? fail_connect(icectl, err, &why) : STATUS_DONE;
}

static void write_argument(struct writer *writer, const struct control_argument *argument)
{
    write_text(writer, argument->key);
    if (argument->text)
        write_text(writer, argument->text);
    else if (argument->bytes)
        write_bytes(writer, argument->bytes, argument->len);
    else if (argument->is_flag)
        write_bool(writer, argument->number);
    else
        write_uint(writer, argument->number);
}

/* The arguments may hold a key. */
int control_call(struct client *control, enum message message,
                 const struct control_argument *arguments, unsigned n, uint8_t **bytes, size_t *len,
                 struct ice_why *why)
{
    uint8_t *map = secret_alloc(FRAME_INLINE_MAX);
    struct writer writer = {0};
    int err;

    if (!map)
        return secret_exhausted("a message", why);
    writer = (struct writer){map, map + FRAME_INLINE_MAX, false};
    write_map(&writer, n);
    for (unsigned i = 0; i < n; i++)
        write_argument(&writer, &arguments[i]);
    if (writer.full)
        err = why_set(why, EMSGSIZE, "the arguments are longer than a message may be");
    else
        err = client_control(control, message, map, (size_t)(writer.next - map), bytes, len, why);
    secret_free(map);
    return err;
}

/* The name in one function's map. It becomes part of a path, so it is checked. */
static int read_name(struct reader *reader, struct name *name, struct ice_why *why)
{
    uint64_t pairs;
    int err = read_map(reader, &pairs, why);

    name->text[0] = '\0';
    for (; !err && pairs; pairs--) {
        const char *key, *text;
        size_t key_len, len;

        err = read_text(reader, &key, &key_len, why);
        if (err)
            break;
        if (key_len != 4 || memcmp(key, "name", 4)) {
            err = read_skip(reader, why);
            continue;
        }
        err = read_text(reader, &text, &len, why);
        if (!err && len < NAME_BYTES) {
            memcpy(name->text, text, len);
            name->text[len] = '\0';
        }
    }
    if (!err && parse_name(name->text, why))
        err = -EPROTO;
    return err;
}

static int read_names(struct reader reader, struct name **names, unsigned *count,
                      struct ice_why *why)
{
    uint64_t elements;
    int err = read_array(&reader, &elements, why);

    if (err)
        return err;
    *names = calloc(elements + 1, sizeof(**names));
    if (!*names)
        return why_set(why, ENOMEM, "no memory for %llu functions", (unsigned long long)elements);
    *count = (unsigned)elements;
    for (unsigned i = 0; !err && i < *count; i++)
        err = read_name(&reader, &(*names)[i], why);
    if (err)
        free(*names);
    return err;
}

int list_functions(struct client *control, struct name **names, unsigned *count,
                   struct ice_why *why)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    int err = control_call(control, MESSAGE_FUNCTION_LIST, NULL, 0, &bytes, &len, why);

    if (err)
        return err;
    err = read_names((struct reader){bytes, bytes + len}, names, count, why);
    secret_free(bytes);
    return err;
}

int pick_function(const struct icectl *icectl, struct client *control, struct name *name,
                  struct ice_why *why)
{
    struct name *names;
    unsigned count;
    int err;

    if (icectl->function) {
        snprintf(name->text, sizeof(name->text), "%s", icectl->function);
        return 0;
    }
    err = list_functions(control, &names, &count, why);
    if (err)
        return err;
    if (count)
        *name = names[0];
    else
        err = why_set(why, ENODEV, "the server has no function");
    free(names);
    return err;
}

int show_document(const struct icectl *icectl, struct reader result, struct ice_why *why)
{
    return icectl->json ? print_item(icectl, result, why) : 0;
}

int show_nothing(const struct icectl *icectl, struct reader result, struct ice_why *why)
{
    (void)icectl;
    (void)result;
    (void)why;
    return 0;
}

enum status ask_control(const struct icectl *icectl, enum message message, bool of_function,
                        const struct control_argument *more, unsigned n, control_show *show)
{
    struct control_argument arguments[1 + CONTROL_ARGUMENTS];
    struct client *control = NULL;
    struct ice_why why;
    struct name name;
    uint8_t *bytes = NULL;
    size_t len = 0;
    unsigned first = of_function;
    enum status status = connect_control(icectl, &control);
    int err = 0;

    assert(n <= CONTROL_ARGUMENTS);
    if (status)
        return status;
    if (of_function) {
        err = pick_function(icectl, control, &name, &why);
        arguments[0] = argument_text("function", name.text);
    }
    for (unsigned i = 0; i < n; i++)
        arguments[first + i] = more[i];
    if (!err)
        err = control_call(control, message, arguments, first + n, &bytes, &len, &why);
    if (!err)
        err = show(icectl, (struct reader){bytes, bytes + len}, &why);
    if (err)
        status = fail_call(icectl, control, err, &why);
    secret_free(bytes);
    client_close(control);
    return status;
}
