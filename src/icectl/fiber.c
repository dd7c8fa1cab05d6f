/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contexts of ucontext.h on stacks with a guard page. The sanitizers keep books on stacks and are
 * told of every switch.
 */
#include "fiber.h"
#include "base/sanitizers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if UNDER_ASAN
#include <sanitizer/common_interface_defs.h>
#elif UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define STACK_BYTES ((size_t)256 << 10)

struct fiber {
    ucontext_t context, resumer;
    void (*run)(void *arg);
    void *arg;
    char *mapping; /* the guard page, then the stack */
    size_t guard;
    bool returned;
#if UNDER_ASAN
    void *fake, *resumer_fake;
    const void *resumer_stack;
    size_t resumer_bytes;
#elif UNDER_TSAN
    void *tsan, *tsan_resumer;
#endif
};

static _Thread_local struct fiber *running;

static void switch_to_fiber(struct fiber *fiber)
{
#if UNDER_ASAN
    __sanitizer_start_switch_fiber(&fiber->resumer_fake, fiber->mapping + fiber->guard,
                                   STACK_BYTES);
#elif UNDER_TSAN
    fiber->tsan_resumer = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber->tsan, 0);
#endif
    swapcontext(&fiber->resumer, &fiber->context);
#if UNDER_ASAN
    __sanitizer_finish_switch_fiber(fiber->resumer_fake, NULL, NULL);
#endif
}

static void arrive(struct fiber *fiber)
{
#if UNDER_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake, &fiber->resumer_stack, &fiber->resumer_bytes);
#else
    (void)fiber;
#endif
}

static void switch_to_resumer(struct fiber *fiber)
{
#if UNDER_ASAN
    __sanitizer_start_switch_fiber(fiber->returned ? NULL : &fiber->fake, fiber->resumer_stack,
                                   fiber->resumer_bytes);
#elif UNDER_TSAN
    __tsan_switch_to_fiber(fiber->tsan_resumer, 0);
#endif
    swapcontext(&fiber->context, &fiber->resumer);
    arrive(fiber);
}

static void begin(void)
{
    struct fiber *fiber = running;

    arrive(fiber);
    fiber->run(fiber->arg);
    fiber->returned = true;
    switch_to_resumer(fiber);
}

static char *map_stack(size_t guard)
{
    char *mapping = mmap(NULL, guard + STACK_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

    if (mapping == MAP_FAILED)
        return NULL;
    if (mprotect(mapping, guard, PROT_NONE)) {
        munmap(mapping, guard + STACK_BYTES);
        return NULL;
    }
    return mapping;
}

static void prepare(struct fiber *fiber)
{
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->mapping + fiber->guard;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, begin, 0);
#if UNDER_TSAN
    fiber->tsan = __tsan_create_fiber(0);
#endif
}

struct fiber *fiber_new(void (*run)(void *arg), void *arg, struct ice_why *why)
{
    struct fiber *fiber = calloc(1, sizeof(*fiber));

    if (fiber) {
        fiber->guard = (size_t)sysconf(_SC_PAGESIZE);
        fiber->mapping = map_stack(fiber->guard);
    }
    if (!fiber || !fiber->mapping) {
        free(fiber);
        why_set(why, ENOMEM, "no memory for a stack");
        return NULL;
    }
    fiber->run = run;
    fiber->arg = arg;
    prepare(fiber);
    return fiber;
}

bool fiber_resume(struct fiber *fiber)
{
    assert(!running && !fiber->returned);
    running = fiber;
    switch_to_fiber(fiber);
    running = NULL;
    return !fiber->returned;
}

void fiber_pause(void)
{
    assert(running);
    switch_to_resumer(running);
}

void fiber_free(struct fiber *fiber)
{
    if (!fiber)
        return;
    /* What never returned from this stack has left its marks. */
    ASAN_UNPOISON_MEMORY_REGION(fiber->mapping + fiber->guard, STACK_BYTES);
#if UNDER_TSAN
    __tsan_destroy_fiber(fiber->tsan);
#endif
    munmap(fiber->mapping, fiber->guard + STACK_BYTES);
    free(fiber);
}
