/* SPDX-License-Identifier: BSD-2-Clause */
/* The runtime folder and its lock; the budget of request buffers. */
#include "icesim/runtime.h"
#include "icesim/budget.h"
#include "tap.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char base[] = "/tmp/icesim-runtime-XXXXXX";
static char dir[64];

static void test_lock(void)
{
    struct runtime one, two;
    struct ice_why why = {.text = ""};
    struct stat st;
    char text[128];
    is_int(runtime_open(&one, dir, &why), 0, "a folder is made");
    ok(!stat(dir, &st) && (st.st_mode & 07777) == 0700, "mode 0700");
    is_int(runtime_open(&two, dir, &why), -EBUSY, "a second one is refused");
    snprintf(text, sizeof(text), "icesim with process id %d serves in %s already", getpid(), dir);
    is_str(why.text, text, "by name");
    runtime_close(&one);
    ok(stat(dir, &st) < 0, "and removed at the end");
    mkdir(dir, 0755);
    is_int(runtime_open(&one, dir, &why), 0, "a folder that is there is used");
    runtime_close(&one);
    ok(rmdir(dir) == 0, "and left, empty");
}

static void test_leftovers(void)
{
    struct runtime runtime;
    struct ice_why why = {.text = ""};
    struct stat st;
    pid_t child = fork();
    if (child == 0) {
        runtime_open(&runtime, dir, &why);
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    ok(!stat(dir, &st), "a killed one leaves its folder");
    is_int(runtime_open(&runtime, dir, &why), 0, "which the next one takes");
    runtime_close(&runtime);
    ok(stat(dir, &st) < 0, "and removes");
}

static void test_errors(void)
{
    struct runtime runtime;
    struct ice_why why = {.text = ""};
    char path[96], text[192];
    snprintf(path, sizeof(path), "%s/no/such", base);
    snprintf(text, sizeof(text), "folder %s: No such file or directory", path);
    is_int(runtime_open(&runtime, path, &why), -ENOENT, "no parent");
    is_str(why.text, text, "is said");
    unsetenv("XDG_RUNTIME_DIR");
    setenv("XDG_RUNTIME_DIR", base, 1);
    is_int(runtime_open(&runtime, NULL, &why), 0, "the default is under XDG_RUNTIME_DIR");
    snprintf(text, sizeof(text), "%s/icesim", base);
    is_str(runtime.dir, text, "named icesim");
    runtime_close(&runtime);
}

/* ---- budget ---- */

static bool woken(struct budget *budget)
{
    struct pollfd wake = {.fd = budget->wake, .events = POLLIN};
    uint64_t count;
    return poll(&wake, 1, 0) == 1 && read(budget->wake, &count, sizeof(count)) > 0;
}

static void test_budget(void)
{
    struct budget budget;
    struct budget_waiter a = {0}, large = {0}, small = {0}, late = {0};
    budget_init(&budget, 100);
    ok(budget_take(&budget, &a, 60), "there is room");
    ok(!budget_take(&budget, &large, 50), "not for more than the rest");
    budget_wait(&budget, &large, 50);
    ok(!budget_take(&budget, &small, 10), "what would fit waits behind who waits");
    budget_wait(&budget, &small, 10);
    ok(budget_short(&budget) && !woken(&budget), "they wait");
    budget_give(&budget, 20);
    ok(woken(&budget) && !budget_short(&budget), "both are granted at once");
    is_int((intmax_t)budget.used, 100, "and charged");
    ok(budget_next_granted(&budget) && budget_next_granted(&budget) &&
           !budget_next_granted(&budget),
       "each is told");
    ok(budget_take(&budget, &large, 50) && budget_take(&budget, &small, 10), "and takes it");
    budget_wait(&budget, &late, 30);
    budget_cancel(&budget, &late);
    ok(!budget_short(&budget), "who leaves waits no more");
    budget_wait(&budget, &late, 30);
    budget_give(&budget, 60);
    budget_cancel(&budget, &late);
    is_int((intmax_t)budget.used, 40, "who leaves with a grant gives it back");
    budget_give(&budget, 40);
    ok(budget_take(&budget, &large, 500), "more than all is had when nothing is used");
    budget_give(&budget, 500);
    budget_destroy(&budget);
}

int main(void)
{
    if (!mkdtemp(base))
        return 1;
    snprintf(dir, sizeof(dir), "%s/d", base);
    test_lock();
    test_leftovers();
    test_errors();
    test_budget();
    ok(rmdir(base) == 0, "nothing is left");
    return tap_done();
}
