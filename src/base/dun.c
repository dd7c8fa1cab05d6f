/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/dun.h"

#include <inttypes.h>
#include <stdio.h>

void dun_text(const struct dun *dun, char text[static DUN_TEXT])
{
    int top = 3, len;

    while (top > 0 && !dun->limb[top])
        top--;
    len = snprintf(text, DUN_TEXT, "0x%" PRIx64, dun->limb[top]);
    while (top-- > 0)
        len += snprintf(text + len, DUN_TEXT - (size_t)len, "%016" PRIx64, dun->limb[top]);
}
