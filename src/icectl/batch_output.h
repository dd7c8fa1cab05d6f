/* SPDX-License-Identifier: BSD-2-Clause */
/* What a batch prints: one JSON document a line, for each line that ends and each event. */
#ifndef ICESIM_ICECTL_BATCH_OUTPUT_H
#define ICESIM_ICECTL_BATCH_OUTPUT_H

#include "common.h"

/* The failed line with the lowest number; line 0: none. */
struct outcome_failed {
    unsigned line;
    enum status status;
    char text[sizeof(((struct failure *)0)->text)];
};

struct batch_output {
    int fd;
    int err; /* positive errno: nothing more can be written */
    struct outcome_failed failed;
};

struct outcome {
    unsigned line;
    const char *command; /* NULL: the line has none */
    enum status status;
    const struct failure *failure; /* when status is not STATUS_DONE */
    char *result; /* a document, perhaps with a line break behind, which is cut; NULL or "": none */
};

void batch_output_outcome(struct batch_output *output, const struct outcome *outcome);
void batch_output_event(struct batch_output *output, const char *function,
                        enum protocol_event event, uint64_t value);

#endif
