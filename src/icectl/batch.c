/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * icectl batch: a script's lines as tasks of a session, a JSON document a line as they end. Lines
 * of the script are read as they come, so that another program can write one, look at the answer,
 * and write the next.
 */
#include "args.h"
#include "base/bytes.h"
#include "batch_output.h"
#include "commands.h"
#include "script.h"
#include "session.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct batch {
    struct icectl *icectl;
    struct session *session;
    struct script script;
    const char *name; /* of the script, for messages */
    struct batch_output output;
    struct name first; /* the function of lines without -f; "": not known yet */
    unsigned number;   /* of the line */
    bool keep_going, stopped;
    const struct line *foreground; /* is waited for */
};

struct line {
    struct batch *batch;
    unsigned number;
    struct words words;
    struct icectl icectl;
    struct failure failure;
    const char *command; /* its name; NULL: none has been found */
    char *text;          /* what it printed */
    size_t len;
};

/* ---- acknowledge ---- */

/* The answer to the first call tells of all generations before it. */
static enum status acknowledge(const struct icectl *icectl, struct device *device)
{
    struct ice_why why;
    struct json *json;
    uint8_t status;
    uint64_t generation;
    int err = client_get_status(device->client, &status, &why);

    generation = client_generation(device->client);
    if (!err)
        err = client_acknowledge(device->client, generation, &why);
    if (err)
        return fail_call(icectl, device->client, err, &why);
    json = json_new();
    json_object_open(json, NULL);
    json_hex(json, "generation", generation);
    json_object_close(json);
    return print_json(icectl, json, &why) ? fail_why(icectl, STATUS_REFUSED, &why) : STATUS_DONE;
}

static enum status command_acknowledge(struct icectl *icectl, const struct command_entry *entry,
                                       int argc, char **argv)
{
    return device_command(icectl, entry, argc, argv, acknowledge);
}

/* What only a batch has. */
static const struct command_entry acknowledge_entry = {"acknowledge", command_acknowledge, "", ""};

/* ---- a line, as a task ---- */

/*
 * The first function, found once and without letting another line run: which lines come first must
 * not hang on it. When it cannot be found, the line's command finds out why.
 */
static void set_default_function(struct line *line)
{
    struct name *first = &line->batch->first;
    struct icectl alone = line->icectl;
    struct client *control;

    alone.session = NULL;
    if (!line->icectl.function && !*first->text &&
        !connect_socket(&alone, "control", alone.timeout_ms, &control, NULL)) {
        if (pick_function(&alone, control, first, NULL))
            *first->text = '\0';
        client_close(control);
    }
    if (!line->icectl.function && *first->text)
        line->icectl.function = first->text;
}

static enum status run_words(struct line *line, int argc, char **argv)
{
    struct icectl *icectl = &line->icectl;
    const struct command_entry *entry = &acknowledge_entry;
    int words = 1;

    if (strcmp(argv[0], entry->name))
        entry = command_find(argc, argv, &words);
    if (!entry)
        return command_unknown(icectl, argc, argv);
    line->command = entry->name;
    set_action(icectl, "%s", entry->name);
    if (entry->run == command_batch)
        return fail(icectl, STATUS_USAGE, "a batch in a batch");
    if (entry->run == command_wait)
        return fail(icectl, STATUS_USAGE,
                    "in a batch it is a line of its own and waits for what is under way");
    set_default_function(line);
    return entry->run(icectl, entry, argc - (words - 1), argv + (words - 1));
}

/* The global options that a line may have. */
static enum status run_options(struct line *line)
{
    struct arg_str *function = arg_str0("f", "function", "FUNCTION", NULL);
    void *table[] = {arg_lit0(NULL, "help", NULL), function, arg_end(4)};
    const struct arg_lit *help = table[0];
    int argc = line->words.count, command;
    char **argv = line->words.words;
    bool unknown;
    enum status status;

    if (arg_nullcheck(table)) {
        status = fail(&line->icectl, STATUS_REFUSED, "no memory for the options");
    } else {
        command = args_first_operand(argc, argv, table, &unknown);
        status = args_read(&line->icectl, unknown ? command + 1 : command, argv, table);
        if (!status)
            status = args_function(&line->icectl, function);
        if (!status && (help->count || command == argc))
            status = fail(&line->icectl, STATUS_USAGE, "a line is a command, perhaps behind -f");
        if (!status)
            status = run_words(line, argc - command, argv + command);
    }
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

static void free_line(struct line *line)
{
    words_free(&line->words);
    free(line->text);
    free(line);
}

static void tell_line(struct line *line, enum status status)
{
    struct batch *batch = line->batch;
    struct outcome outcome = {
        .line = line->number,
        .command = line->command,
        .status = status,
        .failure = &line->failure,
        .result = line->text,
    };

    batch_output_outcome(&batch->output, &outcome);
    if (batch->foreground == line) {
        batch->foreground = NULL;
        batch->stopped |= status && !batch->keep_going;
    }
}

static void run_line(void *arg)
{
    struct line *line = arg;
    enum status status;

    line->icectl.out = open_memstream(&line->text, &line->len);
    if (!line->icectl.out) {
        status = fail(&line->icectl, STATUS_REFUSED, "no memory for the output");
    } else {
        status = run_options(line);
        if (fclose(line->icectl.out))
            status = fail(&line->icectl, STATUS_REFUSED, "no memory for the output");
    }
    tell_line(line, status);
    free_line(line);
}

/* ---- the script ---- */

/* A line that cannot be run, and after which nothing is. */
static void refuse_line(struct batch *batch, int err, const char *text)
{
    struct failure failure = {.err = err};
    struct outcome outcome = {
        .line = batch->number,
        .status = STATUS_USAGE,
        .failure = &failure,
    };

    snprintf(failure.text, sizeof(failure.text), "%s", text);
    batch_output_outcome(&batch->output, &outcome);
    batch->stopped = true;
}

static void wait_for_all(struct batch *batch)
{
    while (session_tasks(batch->session))
        session_round(batch->session, -1);
}

/* Takes the words. */
static void start_line(struct batch *batch, struct words *words, bool background)
{
    struct line *line = calloc(1, sizeof(*line));
    struct ice_why why;

    if (!line) {
        words_free(words);
        refuse_line(batch, ENOMEM, "no memory for the line");
        return;
    }
    *line = (struct line){
        .batch = batch,
        .number = batch->number,
        .words = *words,
        .icectl = *batch->icectl,
    };
    line->icectl.session = batch->session;
    line->icectl.failure = &line->failure;
    line->icectl.json = true;
    set_action(&line->icectl, "usage");
    while (session_tasks(batch->session) == TASKS_MAX)
        session_round(batch->session, -1);
    batch->foreground = background ? NULL : line;
    if (session_start(batch->session, run_line, line, &why)) {
        batch->foreground = NULL;
        free_line(line);
        refuse_line(batch, why.err, why.text);
    }
    while (batch->foreground)
        session_round(batch->session, -1);
}

static void take_line(struct batch *batch, const char *text, size_t len)
{
    static const char blanks[] = " \t\r";
    struct ice_why why;
    struct words words;
    bool background;

    batch->number++;
    for (; len && memchr(blanks, *text, sizeof(blanks) - 1); len--)
        text++;
    background = len && *text == '&';
    if (words_split(text + background, len - background, &words, &why)) {
        refuse_line(batch, why.err, why.text);
        return;
    }
    if (words.count == 2 && !background && !strcmp(words.words[1], "wait")) {
        words_free(&words);
        wait_for_all(batch);
        batch->stopped |= batch->output.failed.line && !batch->keep_going;
    } else if (words.count > 1) {
        start_line(batch, &words, background);
    } else {
        words_free(&words);
        if (background)
            refuse_line(batch, 0, "nothing follows the &");
    }
}

/* Waits for more of the script while what is under way goes on. */
static void read_script(struct batch *batch)
{
    int err;

    if (!session_round(batch->session, batch->script.fd))
        return;
    err = script_read(&batch->script);
    if (err) {
        batch->number++;
        refuse_line(batch, -err, strerror(-err));
    }
}

static void run_script(struct batch *batch)
{
    while (!batch->stopped && !batch->output.err) {
        const char *text;
        size_t len;

        switch (script_next(&batch->script, &text, &len)) {
        case SCRIPT_LINE:
            take_line(batch, text, len);
            break;
        case SCRIPT_MORE:
            read_script(batch);
            break;
        case SCRIPT_LONG:
            batch->number++;
            refuse_line(batch, 0, "the line is longer than 65536 bytes");
            break;
        case SCRIPT_END:
            batch->stopped = true;
            break;
        }
    }
    wait_for_all(batch);
}

static void on_event(void *user, const char *function, enum protocol_event event, uint64_t value)
{
    struct batch *batch = user;

    batch_output_event(&batch->output, function, event, value);
}

/* ---- standard input and output ---- */

/*
 * While a batch has a standard descriptor, the lines find one in its place that refuses all. The
 * batch's own, or -errno.
 */
static int borrow(int fd, int refusing)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int null = own < 0 ? -1 : open("/dev/null", refusing | O_CLOEXEC);
    int err = errno;

    if (null >= 0 && dup2(null, fd) >= 0) {
        close(null);
        return own;
    }
    err = null >= 0 ? errno : err;
    if (own >= 0)
        close(own);
    if (null >= 0)
        close(null);
    return -err;
}

static void give_back(int own, int fd)
{
    if (own < 0)
        return;
    dup2(own, fd);
    close(own);
}

static enum status run_open(struct batch *batch)
{
    struct ice_why why;
    const struct outcome_failed *failed = &batch->output.failed;

    batch->session = session_new(on_event, batch, &why);
    if (!batch->session || script_init(&batch->script, batch->script.fd, &why)) {
        session_free(batch->session);
        return fail_why(batch->icectl, STATUS_REFUSED, &why);
    }
    run_script(batch);
    session_free(batch->session);
    script_free(&batch->script);
    if (batch->output.err)
        return fail(batch->icectl, STATUS_REFUSED, "standard output: %s",
                    strerror(batch->output.err));
    if (failed->line)
        return fail(batch->icectl, failed->status, "line %u: %s", failed->line, failed->text);
    return STATUS_DONE;
}

static enum status run_batch(struct icectl *icectl, const char *path, bool keep_going)
{
    bool is_stdin = !strcmp(path, "-");
    struct batch batch = {
        .icectl = icectl,
        .keep_going = keep_going,
        .name = is_stdin ? "standard input" : path,
        .output.fd = -1,
    };
    enum status status;

    batch.script.fd =
        is_stdin ? borrow(STDIN_FILENO, O_WRONLY) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (batch.script.fd < 0)
        return fail(icectl, STATUS_REFUSED, "%s: %s", batch.name,
                    strerror(is_stdin ? -batch.script.fd : errno));
    batch.output.fd = borrow(STDOUT_FILENO, O_RDONLY);
    if (batch.output.fd < 0)
        status = fail(icectl, STATUS_REFUSED, "standard output: %s", strerror(-batch.output.fd));
    else
        status = run_open(&batch);
    give_back(batch.output.fd, STDOUT_FILENO);
    if (is_stdin)
        give_back(batch.script.fd, STDIN_FILENO);
    else
        close(batch.script.fd);
    return status;
}

enum status command_batch(struct icectl *icectl, const struct command_entry *entry, int argc,
                          char **argv)
{
    struct arg_lit *keep_going = arg_lit0(NULL, "keep-going", "go on when a line has failed");
    struct arg_str *file = arg_str0(NULL, NULL, "FILE", NULL);
    void *table[] = {arg_lit0(NULL, "help", "show this"), keep_going, file, arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = run_batch(icectl, file->count ? file->sval[0] : "-", keep_going->count);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
