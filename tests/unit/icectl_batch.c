/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * icectl batch: words, lines and fibers by themselves, then whole batches against a server that
 * holds answers back.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "fake_server.h"
#include "icectl/commands.h"
#include "icectl/fiber.h"
#include "icectl/script.h"
#include "icectl/words.h"
#include "patience.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- words ---- */

static void test_words(void)
{
    static const struct {
        const char *line;
        const char *words; /* each in brackets; NULL: refused */
        const char *text;
    } cases[] = {
        {"", "", NULL},
        {" \t \r", "", NULL},
        {"# all of it 'is a comment", "", NULL},
        {"io flush", "[io][flush]", NULL},
        {"\tio  flush \r", "[io][flush]", NULL},
        {"io flush # not this", "[io][flush]", NULL},
        {"io fl#ush", "[io][fl#ush]", NULL},
        {"a 'b  c' d", "[a][b  c][d]", NULL},
        {"a\"b c\"'d e'f", "[ab cd ef]", NULL},
        {"'' \"\"", "[][]", NULL},
        {"'a\\b\"'", "[a\\b\"]", NULL},
        {"\"a\\\"\\\\\\$\\`\\n\"", "[a\"\\$`\\n]", NULL},
        {"a\\ b \\# \\'", "[a b][#][']", NULL},
        {"$HOME `x` *", "[$HOME][`x`][*]", NULL},
        {"a 'b", NULL, "a quote (') is not closed"},
        {"a \"b\\\"", NULL, "a quote (\") is not closed"},
        {"a \\", NULL, "nothing follows the backslash at the end"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ice_why why = {.text = ""};
        struct words words;
        char got[128] = "";
        int err = words_split(cases[i].line, strlen(cases[i].line), &words, &why);

        is_int(err, cases[i].words ? 0 : -EINVAL, "<%s>", cases[i].line);
        if (err) {
            is_str(why.text, cases[i].text, "<%s>: why", cases[i].line);
            continue;
        }
        for (int k = 1; k < words.count; k++)
            snprintf(got + strlen(got), sizeof(got) - strlen(got), "[%s]", words.words[k]);
        is_str(got, cases[i].words, "<%s>: words", cases[i].line);
        ok(!words.words[words.count] && !*words.words[0], "<%s>: as main's", cases[i].line);
        words_free(&words);
    }
    struct ice_why why;
    struct words words;
    is_int(words_split("a\0b", 3, &words, &why), -EINVAL, "a zero byte");
    is_str(why.text, "a zero byte is no text", "why");
}

/* Words of one letter, and the longest one: the most that a line may need. */
static void test_tight_words(void)
{
    char line[1001];
    struct words words;
    struct ice_why why;

    for (size_t i = 0; i < sizeof(line); i++)
        line[i] = i % 2 ? ' ' : 'x';
    is_int(words_split(line, sizeof(line), &words, &why), 0, "501 words in 1001 bytes");
    is_int(words.count, 502, "their number");
    words_free(&words);
    memset(line, 'y', sizeof(line));
    is_int(words_split(line, sizeof(line), &words, &why), 0, "one word of 1001 bytes");
    is_int((intmax_t)strlen(words.words[1]), 1001, "its length");
    words_free(&words);
}

/* ---- lines ---- */

static void test_script(void)
{
    static char longest[SCRIPT_LINE_MAX];
    struct script script;
    struct ice_why why;
    const char *line;
    size_t len;
    int ends[2];

    if (pipe(ends) || script_init(&script, ends[0], &why))
        return;
    is_int(script_next(&script, &line, &len), SCRIPT_MORE, "nothing has been read");
    ok(write(ends[1], "one\n\ntw", 7) == 7 && !script_read(&script), "two lines and a half");
    is_int(script_next(&script, &line, &len), SCRIPT_LINE, "the first");
    ok(len == 3 && !memcmp(line, "one", 3), "is it");
    ok(script_next(&script, &line, &len) == SCRIPT_LINE && len == 0, "an empty one");
    is_int(script_next(&script, &line, &len), SCRIPT_MORE, "half a line is none");
    ok(write(ends[1], "o\nend", 5) == 5 && !script_read(&script), "the rest");
    ok(script_next(&script, &line, &len) == SCRIPT_LINE && len == 3 && !memcmp(line, "two", 3),
       "a line of two reads");
    is_int(script_next(&script, &line, &len), SCRIPT_MORE, "perhaps it goes on");
    memset(longest, 'x', sizeof(longest));
    ok(write(ends[1], longest, sizeof(longest) - 4) > 0, "as long as can be");
    while (script_next(&script, &line, &len) == SCRIPT_MORE && script.end < SCRIPT_LINE_MAX - 1)
        script_read(&script);
    ok(write(ends[1], "\nlast", 5) == 5 && !script_read(&script), "and its break");
    ok(script_next(&script, &line, &len) == SCRIPT_LINE && len == SCRIPT_LINE_MAX - 1,
       "65536 bytes with the break are a line");
    close(ends[1]);
    while (!script.ended)
        script_read(&script);
    ok(script_next(&script, &line, &len) == SCRIPT_LINE && len == 4, "the last needs no break");
    is_int(script_next(&script, &line, &len), SCRIPT_END, "the end");
    script_free(&script);
    close(ends[0]);
}

/* ---- fibers ---- */

struct counter {
    unsigned n, step, limit;
};

static unsigned fill(unsigned depth)
{
    volatile char room[512];

    room[depth % sizeof(room)] = 1;
    return depth ? fill(depth - 1) + (unsigned)room[depth % sizeof(room)] : 0;
}

static void count(void *arg)
{
    struct counter *counter = arg;

    while (counter->n < counter->limit) {
        counter->n += counter->step;
        counter->step = fill(100) / 100;
        fiber_pause();
    }
}

static void test_fibers(void)
{
    struct counter counters[3] = {{0, 1, 4}, {0, 1, 2}, {0, 1, 0}};
    struct fiber *fibers[3];
    struct ice_why why;

    for (unsigned i = 0; i < 3; i++)
        fibers[i] = fiber_new(count, &counters[i], &why);
    is_int(counters[0].n, 0, "a new fiber has not begun");
    for (unsigned i = 1; i <= 4; i++) {
        ok(fiber_resume(fibers[0]) && counters[0].n == i, "it runs until it pauses: %u", i);
        if (i <= 2)
            ok(fiber_resume(fibers[1]) && counters[1].n == i, "so does another: %u", i);
    }
    ok(!fiber_resume(fibers[0]) && !fiber_resume(fibers[1]), "both return");
    ok(!fiber_resume(fibers[2]), "one that never pauses");
    for (unsigned i = 0; i < 3; i++)
        fiber_free(fibers[i]);
    for (unsigned i = 0; i < 1000; i++) {
        struct counter one = {0, 1, 1};
        struct fiber *fiber = fiber_new(count, &one, &why);

        fiber_resume(fiber);
        fiber_resume(fiber);
        fiber_free(fiber);
    }
    ok(true, "1000 stacks come and go");
}

/* ---- batches ---- */

static struct {
    int status;
    int out_fd; /* while it runs */
    char out[65536], err[1024];
} run;

static void slurp(FILE *file, char *to, size_t room)
{
    size_t len;

    rewind(file);
    len = fread(to, 1, room - 1, file);
    to[len] = '\0';
    fclose(file);
}

/* Runs a script against a server with one connection. */
static void batch(fake_script *server, const char *script, const char *option)
{
    char *path = strdup(fake_start(server)), *dir = dirname(path);
    char name[64];
    const char *argv[12] = {"icectl", "-d", dir, "-f", "vm0", "--timeout", "60"};
    int argc = 7, streams[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    FILE *out = tmpfile(), *err = tmpfile(), *text = tmpfile();

    fputs(script, text);
    fflush(text);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fileno(text));
    if (option && !strcmp(option, "--timeout"))
        argv[6] = "0.2";
    argv[argc++] = "batch";
    if (option && strcmp(option, "--timeout"))
        argv[argc++] = option;
    argv[argc++] = name;
    run.out_fd = fileno(out);
    fflush(stdout);
    dup2(fileno(out), STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    run.status = icectl_run(argc, (char **)(uintptr_t)argv);
    dup2(streams[0], STDOUT_FILENO);
    dup2(streams[1], STDERR_FILENO);
    close(streams[0]);
    close(streams[1]);
    fclose(text);
    slurp(out, run.out, sizeof(run.out));
    slurp(err, run.err, sizeof(run.err));
    fake_stop();
    free(path);
}

/* The next `n` requests. */
static bool take(struct fake_server *server, struct frame_view *views, unsigned n)
{
    for (unsigned i = 0; i < n;) {
        if (!fake_next(server, &views[i]))
            return false;
        i += !fake_setup(server, &views[i]);
    }
    return true;
}

/* An answer to GET_ID. */
static void answer(struct fake_server *server, const struct frame_view *view, char c)
{
    fake_written(server, view->tag, 21, (uint8_t)c, 0, NULL);
}

static void send_event(struct fake_server *server, enum protocol_event event, uint64_t value)
{
    fake_begin(server, MESSAGE_EVENT, 0, 2);
    write_uint(&server->out, event);
    write_uint(&server->out, value);
    fake_end(server);
}

#define ID(line, c)                                                                                \
    "{\"line\":" #line ",\"command\":\"io id\",\"status\":0,\"result\":{\"id\":\"" c c c c c c c c \
        c c c c c c c c c c c c "\"}}\n"

static unsigned early, late, unanswered;

/*
 * 64 requests are there before the first answer, in reverse; the 65th only then. Its line waits,
 * and the one behind it, which fails by itself, does not.
 */
static void script_many(struct fake_server *server)
{
    static struct frame_view views[IN_FLIGHT_MAX];
    struct frame_view last;
    struct stat printed;

    fake_hello(server);
    if (!take(server, views, IN_FLIGHT_MAX))
        return;
    late = !soon(!fstat(run.out_fd, &printed) && printed.st_size);
    early = recv(server->fd, &last, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    for (unsigned i = IN_FLIGHT_MAX; i--;)
        answer(server, &views[i], 'a');
    if (take(server, &last, 1))
        answer(server, &last, 'z');
    fake_next(server, &last);
}

static void test_many(void)
{
    char script[2000] = "", want[32768] = "";

    for (unsigned i = 1; i <= 65; i++)
        strcat(script, "& io id\n");
    strcat(script, "& bogus\n");
    strcpy(want, "{\"line\":66,\"command\":null,\"status\":2,\"errno\":null,"
                 "\"error\":\"bogus: unknown command; icectl --help lists them\"}\n");
    for (unsigned i = 64; i; i--)
        sprintf(want + strlen(want),
                "{\"line\":%u,\"command\":\"io id\",\"status\":0,\"result\":"
                "{\"id\":\"aaaaaaaaaaaaaaaaaaaa\"}}\n",
                i);
    strcat(want, ID(65, "z"));
    batch(script_many, script, NULL);
    is_int(run.status, 2, "65 lines at once, and a wrong one");
    is_int(early, 0, "no more than 64 are in flight");
    is_int(late, 0, "a line that waits for room holds up no other");
    is_str(run.out, want, "results come in order of completion, the line that waited last");
}

/* The answer to the last call and one to a request come in one piece. */
static void script_together(struct fake_server *server)
{
    static const uint8_t id[21] = "bbbbbbbbbbbbbbbbbbbb";
    uint8_t bytes[128];
    struct writer writer = {bytes, bytes + sizeof(bytes), false};
    struct frame_view request, call;

    fake_hello(server);
    if (!take(server, &request, 1))
        return;
    while (fake_next(server, &call) && call.message != MESSAGE_ACKNOWLEDGE)
        fake_setup(server, &call);
    write_array(&writer, 2);
    write_uint(&writer, MESSAGE_ACKNOWLEDGE);
    write_uint(&writer, call.tag);
    write_array(&writer, 4);
    write_uint(&writer, MESSAGE_REQUEST);
    write_uint(&writer, request.tag);
    write_bytes(&writer, id, sizeof(id));
    write_null(&writer);
    fake_send(server, bytes, (size_t)(writer.next - bytes));
    while (fake_next(server, &call))
        fake_setup(server, &call);
}

static void test_together(void)
{
    int64_t start = now_ms();

    batch(script_together, "& io id\n& acknowledge\n", NULL);
    ok(now_ms() - start < PATIENCE_MS / 2, "nothing waits for the time limit");
    is_int(run.status, 0, "an answer that came with another's");
    ok(strstr(run.out, ID(1, "b")), "is not left lying");
    ok(strstr(run.out, "{\"line\":2,\"command\":\"acknowledge\",\"status\":0,"
                       "\"result\":{\"generation\":\"0x0\"}}\n"),
       "the call's is there too");
}

/* Answers the second of three and is gone. */
static void script_lost(struct fake_server *server)
{
    struct frame_view views[3];

    fake_hello(server);
    if (take(server, views, 3))
        answer(server, &views[1], 'c');
}

#define LOST(line)                                                                                 \
    "{\"line\":" #line ",\"command\":\"io id\",\"status\":5,\"errno\":\"ECONNRESET\","             \
    "\"error\":\"io id: connection lost\"}\n"

static void test_lost(void)
{
    batch(script_lost, "& io id\n& io id\n& io id\nwait\nio id\n", NULL);
    is_int(run.status, 5, "a server that is gone");
    is_str(run.out, ID(2, "c") LOST(1) LOST(3), "what was under way has failed, no more begins");
    is_str(run.err, "icectl: batch: line 1: io id: connection lost\n", "one line says so");
}

static void script_mute(struct fake_server *server)
{
    struct frame_view view;

    unanswered = 0;
    fake_hello(server);
    while (fake_next(server, &view))
        unanswered += !fake_setup(server, &view);
}

#define LATE(line)                                                                                 \
    "{\"line\":" #line ",\"command\":\"io id\",\"status\":5,\"errno\":\"ETIMEDOUT\","              \
    "\"error\":\"io id: no answer within 0.2 s\"}\n"

static void test_timeout(void)
{
    /* Again where the way there alone has taken longer than there is time: the machine is busy. */
    for (unsigned tries = 0; tries < 100 && unanswered < 2; tries++)
        batch(script_mute, "& io id\n& io id\n", "--timeout");
    is_int(run.status, 5, "a server that does not answer in time");
    is_str(run.out, LATE(1) LATE(2), "both have waited for it");
}

/* Reset after the first request, a new generation before the second's answer. */
static void script_events(struct fake_server *server)
{
    struct frame_view view;

    fake_hello(server);
    if (!take(server, &view, 1))
        return;
    server->status = 0;
    send_event(server, PROTOCOL_EVENT_DEVICE_RESET, 0);
    answer(server, &view, 'd');
    if (!take(server, &view, 1))
        return;
    early = (unsigned)server->status;
    send_event(server, PROTOCOL_EVENT_ENGINE_GENERATION, 7);
    send_event(server, PROTOCOL_EVENT_CONFIG_CHANGED, 0);
    answer(server, &view, 'e');
    while (fake_next(server, &view)) {
        struct reader args = fake_args(server, &view);
        uint64_t generation = 0;

        if (view.message == MESSAGE_ACKNOWLEDGE && !read_uint(&args, 99, &generation, NULL))
            early = (unsigned)generation * 100 + early;
        fake_setup(server, &view);
    }
}

static void test_events(void)
{
    batch(script_events, "io id\nio id\nacknowledge", NULL);
    is_int(run.status, 0, "events");
    is_str(
        run.out,
        "{\"event\":\"device-reset\",\"function\":\"vm0\"}\n" ID(
            1,
            "d") "{\"event\":\"engine-generation\",\"function\":\"vm0\",\"generation\":\"0x7\"}\n"
                 "{\"event\":\"config-changed\",\"function\":\"vm0\"}\n" ID(
                     2, "e") "{\"line\":3,\"command\":\"acknowledge\",\"status\":0,"
                             "\"result\":{\"generation\":\"0x7\"}}\n",
        "are printed as they come");
    is_int(early, 715, "a reset device is negotiated again; generation 7 is acknowledged");
}

/* Refuses every request but the third. */
static void script_refusals(struct fake_server *server)
{
    static const struct ice_why why = {ENOKEY, "no such thing"};
    struct frame_view view;
    unsigned n = 0;

    fake_hello(server);
    while (fake_next(server, &view))
        if (fake_setup(server, &view))
            continue;
        else if (++n == 3)
            answer(server, &view, 'f');
        else
            fake_written(server, view.tag, 1, 0, 1, &why);
}

#define REFUSED(line)                                                                              \
    "{\"line\":" #line ",\"command\":\"io id\",\"status\":3,\"errno\":\"ENOKEY\","                 \
    "\"error\":\"io id: no such thing\"}\n"

static void test_failures(void)
{
    static const char first[] = "icectl: batch: line 1: io id: no such thing\n";

    batch(script_refusals, "io id\nio id\nio id\n", NULL);
    is_int(run.status, 3, "a failure");
    is_str(run.out, REFUSED(1), "ends the batch");
    is_str(run.err, first, "and is told");
    batch(script_refusals, "io id\nio id\nio id\nslot bogus\n", "--keep-going");
    is_int(run.status, 3, "--keep-going: the first failure's status");
    is_str(run.out,
           REFUSED(1) REFUSED(2) ID(3, "f") "{\"line\":4,\"command\":null,\"status\":2,"
                                            "\"errno\":null,\"error\":\"slot: unknown command "
                                            "bogus; icectl slot --help lists them\"}\n",
           "--keep-going: all lines are run");
    batch(script_refusals, "& io id\n& io id\nio id\nwait\nio id\n", NULL);
    is_str(run.out, REFUSED(1) REFUSED(2) ID(3, "f"),
           "a line that is not waited for fails nothing before the wait");
    is_int(run.status, 3, "its status is the batch's");
}

int main(void)
{
    frame_bind();
    test_words();
    test_tight_words();
    test_script();
    test_fibers();
    test_many();
    test_together();
    test_lost();
    test_timeout();
    test_events();
    test_failures();
    return tap_done();
}
