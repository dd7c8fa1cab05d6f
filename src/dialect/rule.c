/* SPDX-License-Identifier: BSD-2-Clause */
#include "rule.h"
#include <assert.h>

static const struct {
    const char *name, *text;
    int tolerated;
} rules[RULE_COUNT] = {
#define REFUSED(id, rule, says)   [RULE_##id] = {rule, says, 0},
#define TOLERATED(id, rule, says) [RULE_##id] = {rule, says, 1},
    RULES(REFUSED, TOLERATED)
#undef REFUSED
#undef TOLERATED
};

const char *rule_name(enum rule rule)
{
    assert(rule > RULE_NONE && rule < RULE_COUNT);
    return rules[rule].name;
}

const char *rule_text(enum rule rule)
{
    assert(rule > RULE_NONE && rule < RULE_COUNT);
    return rules[rule].text;
}

int rule_is_tolerated(enum rule rule)
{
    assert(rule > RULE_NONE && rule < RULE_COUNT);
    return rules[rule].tolerated;
}
