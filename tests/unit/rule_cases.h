/* SPDX-License-Identifier: BSD-2-Clause */
/* A driver that breaks each rule of dialect/rule.h once. */
#ifndef ICESIM_TESTS_RULE_CASES_H
#define ICESIM_TESTS_RULE_CASES_H

#include "rig.h"

#define RULE_SECTORS 128u /* of the bench */

/* 4 slots; one capability, aes-256-xts with data units of 4096 bytes. */
struct bench {
    struct rig rig;
    struct ice_attachment *a;
    uint8_t head[DIALECT_HEAD_MAX];
    uint8_t data[8192];
};

struct rule_case {
    enum rule rule;
    const struct dialect *dialect;
    enum { FRESH, READY } stage; /* of the driver, when it breaks the rule */
    int status;                  /* of a function that is not strict; -1: refused without one */
    int err;                     /* the same; 0: it is let pass */
    struct answer (*provoke)(struct bench *b);
};

extern const struct rule_case rule_cases[];
extern const unsigned rule_case_count;

#endif
