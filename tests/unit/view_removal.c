/* SPDX-License-Identifier: BSD-2-Clause */
/* Views of a host that go: who keeps them, whom they keep, who waits. */
#include "views_bench.h"
#include <pthread.h>
#include <stdatomic.h>

static void test_removal(void)
{
    struct view_file view, other;
    struct ice_why why = {.text = ""};
    open_host();
    adds_function("vm0,sectors=0+4096");
    adds("vm0", "a", 0);
    adds("vm0", "b", 1);
    function_stays("vm0", "view a is on it");
    ok(view_named(views, "vm0", "a", &view) && view_hold(views, "vm0", view.number, &view),
       "a is held");
    is_int(view_remove(views, "vm0", "a", false, &why), -EBUSY, "and stays");
    is_str(why.text, "view a is open", "in words");
    view.file.locks = locks;
    ok(writes(&view.file, 4095, "still", 5) && reads(&view.file, 4095, "still", 5), "and works");
    ok(view_hold(views, "vm0", view.number, &other), "and can be opened");
    view_let_go(views, "vm0", view.number);
    view_let_go(views, "vm0", view.number);
    removes("vm0", "a");
    ok(!view_named(views, "vm0", "a", &other) && !view_hold(views, "vm0", view.number, &other) &&
           view_from(views, "vm0", 1, &other) && !strcmp(other.name, "b"),
       "it is gone");
    is_int(view_remove(views, "vm0", "a", false, &why), -ENOENT, "for good");
    is_str(why.text, "there is no view \"a\" of vm0", "in words");
    is_int(view_remove(views, "vm1", "a", false, &why), -ENOENT, "nor of another");
    is_str(why.text, "there is no function or layer \"vm1\"", "in words");
    adds("vm0", "a", 0);
    ok(view_named(views, "vm0", "a", &other) && other.number > view.number,
       "a name that comes again is another view");
    removes("vm0", "a");
    is_int(attachments("vm0"), 1, "with a view there is an attachment");
    removes("vm0", "b");
    is_int(attachments("vm0"), 0, "without there is none");
    function_goes("vm0");
    close_host();
}

static atomic_int result;

static void *remove_and_wait(void *user)
{
    (void)user;
    atomic_store(&result, view_remove(views, "vm0", "a", true, NULL));
    return NULL;
}

static void test_wait(void)
{
    struct view_file view, other;
    pthread_t thread;
    struct ice_why why = {.text = ""};
    open_host();
    adds_function("vm0,sectors=0+4096");
    adds("vm0", "a", 0);
    view_from(views, "vm0", 1, &view);
    view_hold(views, "vm0", view.number, &view);
    for (int stop = 0; stop < 2; stop++) {
        atomic_store(&result, 1);
        pthread_create(&thread, NULL, remove_and_wait, NULL);
        ok(soon(!view_named(views, "vm0", "a", &other)) &&
               !view_hold(views, "vm0", view.number, &other),
           "no new opens");
        usleep(600000);
        is_int(atomic_load(&result), 1, "it waits");
        is_int(view_remove(views, "vm0", "a", false, &why), -EBUSY, "another does not");
        is_str(why.text, "view a is being removed", "in words");
        function_stays("vm0", "view a is on it");
        view.file.locks = locks;
        ok(writes(&view.file, 1, "x", 1), "who holds it works on");
        if (!stop) {
            view_let_go(views, "vm0", view.number);
            pthread_join(thread, NULL);
            is_int(atomic_load(&result), 0, "let go of, it is removed");
            adds("vm0", "a", 0);
            view_from(views, "vm0", 1, &view);
            view_hold(views, "vm0", view.number, &view);
        }
    }
    views_end_waits(views);
    pthread_join(thread, NULL);
    is_int(atomic_load(&result), -ECANCELED, "at the end nobody waits");
    is_int(view_remove(views, "vm0", "a", true, &why), -ECANCELED, "nor again");
    view_let_go(views, "vm0", view.number);
    close_host();
}

/* ---- keys in use by requests that outlive their file ---- */

static void *read_unit(void *file)
{
    uint8_t unit[4096];
    return (void *)(intptr_t)(byte_file_read(file, 0, unit, sizeof(unit), NULL) == sizeof(unit));
}

/* A read in flight through view a of vm0. */
static void start_read(pthread_t *thread, struct byte_file *file)
{
    *file = file_of("vm0", "a");
    gate_close(gate, GATE_READ);
    pthread_create(thread, NULL, read_unit, file);
    ok(gate_wait(gate, GATE_READ, 1), "a request in flight");
}

static void await_read(pthread_t thread)
{
    void *good;
    pthread_join(thread, &good);
    ok(good, "which ends well");
}

static void test_removal_keeps_nobody(void)
{
    pthread_t reader, remover;
    struct view_file other;
    struct byte_file file;
    open_host();
    adds_function("vm0,keys=inline,sectors=0+2048");
    adds_function("vm1,sectors=2048+2048");
    adds("vm0", "a", 0);
    start_read(&reader, &file);
    atomic_store(&result, 1);
    pthread_create(&remover, NULL, remove_and_wait, NULL);
    ok(soon(!view_named(views, "vm0", "a", &other)), "a removal");
    usleep(100000);
    is_int(atomic_load(&result), 1, "waits for the request");
    adds("vm1", "b", 1);
    removes("vm1", "b");
    adds("vm0", "c", 1);
    function_goes("vm1");
    function_stays("vm0", "view a is on it");
    is_int(atomic_load(&result), 1, "nobody else does");
    gate_open(gate, GATE_READ);
    await_read(reader);
    pthread_join(remover, NULL);
    is_int(atomic_load(&result), 0, "then it is removed");
    close_host();
}

static void *open_late(void *user)
{
    (void)user;
    usleep(100000);
    gate_open(gate, GATE_READ);
    return NULL;
}

/* A key that something is at work with when waits have ended keeps the end waiting all the same. */
static void test_late_end(void)
{
    pthread_t reader, opener;
    struct byte_file file;
    open_host();
    adds_function("vm0,keys=inline,sectors=0+2048");
    adds("vm0", "a", 0);
    start_read(&reader, &file);
    views_end_waits(views);
    pthread_create(&opener, NULL, open_late, NULL);
    close_host();
    pthread_join(opener, NULL);
    await_read(reader);
}

int main(void)
{
    begin();
    test_removal();
    test_wait();
    test_removal_keeps_nobody();
    test_late_end();
    return end();
}
