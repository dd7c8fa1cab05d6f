/* SPDX-License-Identifier: BSD-2-Clause */
/* An observer that logs what drivers of a strict function do wrong: of each rule the first case. */
#ifndef ICESIM_OBSERVE_VIOLATIONS_H
#define ICESIM_OBSERVE_VIOLATIONS_H

#include "device/observer.h"

/* For one function. NULL: no memory. */
struct observer *violations_log_new(void);
void violations_log_free(struct observer *log); /* NULL is allowed */

#endif
