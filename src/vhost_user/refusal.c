/* SPDX-License-Identifier: BSD-2-Clause */
#include "refusal.h"

static const char *const names[REFUSALS] = {[REFUSAL_NONE] = "none",
#define X(constant, name, text) [REFUSAL_##constant] = (name),
                                            VHOST_USER_REFUSALS(X)
#undef X
};

static const char *const texts[REFUSALS] = {[REFUSAL_NONE] = "nothing",
#define X(constant, name, text) [REFUSAL_##constant] = (text),
                                            VHOST_USER_REFUSALS(X)
#undef X
};

const char *refusal_name(enum vhost_user_refusal refusal)
{
    return names[refusal];
}

const char *refusal_text(enum vhost_user_refusal refusal)
{
    return texts[refusal];
}
