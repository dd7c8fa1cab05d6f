/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions that can pause: each runs on a stack of its own, on the thread that resumes it, and
 * gives the processor back only where it says so.
 */
#ifndef ICESIM_ICECTL_FIBER_H
#define ICESIM_ICECTL_FIBER_H

#include "base/why.h"
#include <stdbool.h>

struct fiber;

/* A paused one that will call run(arg). NULL: `why` says what is missing. */
struct fiber *fiber_new(void (*run)(void *arg), void *arg, struct ice_why *why);

/* Runs it until it pauses (true) or its function returns (false). Not from a fiber. */
bool fiber_resume(struct fiber *fiber);

/* Pauses the fiber that runs. */
void fiber_pause(void);

/* It has not begun, or has returned. NULL is allowed. */
void fiber_free(struct fiber *fiber);

#endif
