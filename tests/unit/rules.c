/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each rule of the list is broken once, on a strict function and on one that is not: what the
 * driver is answered, and what is reported. A rule without a case fails.
 */
#include "base/bytes.h"
#include "observe/violations.h"
#include "rule_cases.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the observer ---- */

static struct {
    unsigned count;
    enum rule rule;
    char text[ICE_WHY_TEXT];
} reported;

static void note_violation(struct observer *observer, const struct ice_attachment *attachment,
                           enum rule rule, const char *text)
{
    (void)observer;
    (void)attachment;
    reported.count++;
    reported.rule = rule;
    snprintf(reported.text, sizeof(reported.text), "%s", text);
}

static const struct observer_ops ops = {.violation = note_violation};
static struct observer noting = {.ops = &ops};

/* ---- the cases ---- */

static void bench_open(struct bench *b, const struct rule_case *c, bool strict)
{
    static const struct capability only = {ALG_AES_XTS, KEY_SIZE_256, 4096};
    struct function_params params = {
        .dialect = c->dialect,
        .strict = strict,
        .read_only = c->rule == RULE_IO_READ_ONLY,
        .block_size = c->rule == RULE_IO_BLOCK ? 4096 : 0,
        .capabilities = &only,
        .capability_count = 1,
    };

    memset(b, 0, sizeof(*b));
    rig_open_as(&b->rig, 4, RULE_SECTORS, NULL, params);
    b->rig.observers[1] = &noting;
    if (c->stage == READY)
        b->a = rig_attach(&b->rig, RIG_ALL);
    else if (attachment_open(b->rig.function, NULL, NULL, &b->a, NULL))
        abort();
    memset(&reported, 0, sizeof(reported));
}

static void bench_close(struct bench *b)
{
    attachment_close(b->a);
    rig_close(&b->rig);
}

/* What is counted: this rule `n` times, the others never. */
static void check_counted(struct rig *rig, enum rule rule, uint64_t n)
{
    struct stats_counters counters;
    uint64_t others = 0;

    stats_read(rig->stats, &counters);
    for (unsigned r = 0; r < RULE_COUNT; r++)
        others += r == rule ? 0 : counters.violations[r];
    ok(counters.violations[rule] == n && !others, "%s: counted %u times, no other", rule_name(rule),
       (unsigned)n);
}

static void run_case(const struct rule_case *c, bool strict)
{
    const char *name = rule_name(c->rule), *where = strict ? "strict" : "not strict";
    bool answered = c->stage == READY && c->rule != RULE_CONFIG_READ_ONLY;
    bool tolerated = rule_is_tolerated(c->rule), unstoppable = c->rule == RULE_CONFIG_EARLY;
    int status = c->status, err = c->err;
    struct answer answer;
    struct bench b;

    if (strict && tolerated && !unstoppable) {
        status = answered ? (int)VIRTIO_BLK_S_IOERR : -1;
        err = EINVAL;
    }
    bench_open(&b, c, strict);
    answer = c->provoke(&b);
    is_int(answer.status, status, "%s, %s: status", name, where);
    is_int(answer.why.err, err, "%s, %s: errno", name, where);
    is_int(reported.count, strict, "%s, %s: reported", name, where);
    if (strict) {
        is_int(reported.rule, c->rule, "%s: as this rule", name);
        is_str(reported.text, err ? answer.why.text : rule_text(c->rule), "%s: in words", name);
    }
    check_counted(&b.rig, c->rule, strict);
    bench_close(&b);
}

static void test_cases(void)
{
    bool seen[RULE_COUNT] = {true};

    for (size_t i = 0; i < rule_case_count; i++) {
        ok((rule_cases[i].err == 0) == (bool)rule_is_tolerated(rule_cases[i].rule),
           "%s is %s by functions that are not strict", rule_name(rule_cases[i].rule),
           rule_cases[i].err ? "refused" : "tolerated");
        run_case(&rule_cases[i], false);
        run_case(&rule_cases[i], true);
        seen[rule_cases[i].rule] = true;
    }
    for (unsigned rule = 1; rule < RULE_COUNT; rule++)
        ok(seen[rule], "rule %s has a case", rule_name(rule));
}

/* ---- the log ---- */

static size_t count_lines(const char *text, const char *with)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, with)); at++)
        n++;
    return n;
}

static void test_log(void)
{
    struct observer *log = violations_log_new();
    char text[4096] = "";
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    struct bench b;

    bench_open(&b, &rule_cases[0], true);
    b.rig.observers[1] = log;
    dup2(fileno(file), STDERR_FILENO);
    for (unsigned i = 0; i < 3; i++)
        rule_cases[0].provoke(&b);
    rule_cases[1].provoke(&b);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    is_int((intmax_t)count_lines(text, "\n"), 2, "three of one rule and one of another: two lines");
    is_int((intmax_t)count_lines(text, "warning: vm0: the driver broke rule status-order: status "
                                       "DRIVER comes after ACKNOWLEDGE\n"),
           1, "function, rule, particulars");
    is_int((intmax_t)count_lines(text, "rule feature-foreign: feature bit 40 is not offered\n"), 1,
           "of the other too");
    bench_close(&b);
    violations_log_free(log);
}

int main(void)
{
    test_cases();
    test_log();
    return tap_done();
}
