/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control messages at work. One that may wait for requests in flight runs on a thread of its own,
 * as the others are to be answered meanwhile; one that may wait for people, on a thread that ends
 * with it. The connection's `reading` goes with the message, so nothing further is read before its
 * answer.
 */
#include "control.h"
#include "server_private.h"

static void answer(struct connection *c, int err, const struct ice_why *why)
{
    if (err) {
        document_free(&c->document);
        size_t len = message_error(c->small_bytes, SMALL_REPLY_MAX, c->job_tag, why);
        connection_queue(c, &c->small, c->small_bytes, len);
    } else {
        connection_queue(c, &c->large, c->document.bytes, c->document.len);
    }
}

static void run_job(struct connection *c)
{
    struct ice_why why = {0};
    const struct server *server = c->lane->server;
    const struct control control = {
        .host = c->host, .views = server->views, .back_ends = server->back_ends};
    struct reader args = {c->in + c->job_at, c->in + c->job_len};
    c->document = (struct document){0};
    document_array(&c->document, 3);
    document_uint(&c->document, c->job_message);
    document_uint(&c->document, c->job_tag);
    int err = control_run(&control, c->job_message, &args, &c->document, &why);

    pthread_mutex_lock(&c->lock);
    connection_consume(c, c->job_len);
    c->reading = false;
    connection_progress(c);
    answer(c, err, &why);
    connection_settle(c);
}

static struct connection *next_job(struct server *server)
{
    pthread_mutex_lock(&server->job_lock);
    while (!server->jobs && !server->jobs_end)
        pthread_cond_wait(&server->job_there, &server->job_lock);
    struct connection *c = server->jobs;
    if (c) {
        server->jobs = c->next_job;
        if (!server->jobs)
            server->last_job = NULL;
    }
    pthread_mutex_unlock(&server->job_lock);
    return c;
}

static void *job_loop(void *user)
{
    struct server *server = user;
    struct connection *c;
    while ((c = next_job(server)))
        run_job(c);
    return NULL;
}

static void *run_long_job(void *user)
{
    struct connection *c = user;
    struct server *server = c->lane->server;
    run_job(c);
    pthread_mutex_lock(&server->job_lock);
    if (--server->long_jobs == 0)
        pthread_cond_broadcast(&server->job_there);
    pthread_mutex_unlock(&server->job_lock);
    return NULL;
}

/* False: there is no thread for it. */
static bool start_long_job(struct connection *c)
{
    struct server *server = c->lane->server;
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&server->job_lock);
    bool started = !pthread_create(&thread, &attr, run_long_job, c);
    server->long_jobs += started;
    pthread_mutex_unlock(&server->job_lock);
    pthread_attr_destroy(&attr);
    return started;
}

void jobs_add(struct connection *c)
{
    struct server *server = c->lane->server;
    enum control_wait waits = control_waits(c->job_message);
    if (waits == CONTROL_NO_WAIT) {
        run_job(c);
        return;
    }
    if (waits == CONTROL_WAITS_USERS && start_long_job(c))
        return;
    pthread_mutex_lock(&server->job_lock);
    c->next_job = NULL;
    if (server->last_job)
        server->last_job->next_job = c;
    else
        server->jobs = c;
    server->last_job = c;
    pthread_cond_signal(&server->job_there);
    pthread_mutex_unlock(&server->job_lock);
}

int jobs_start(struct server *server, struct ice_why *why)
{
    pthread_mutex_init(&server->job_lock, NULL);
    pthread_cond_init(&server->job_there, NULL);
    int err = pthread_create(&server->job_thread, NULL, job_loop, server);
    server->job_thread_runs = !err;
    return err ? why_errno(why, err, "the control thread") : 0;
}

void jobs_stop(struct server *server)
{
    pthread_mutex_lock(&server->job_lock);
    server->jobs_end = true;
    pthread_cond_signal(&server->job_there);
    while (server->long_jobs)
        pthread_cond_wait(&server->job_there, &server->job_lock);
    pthread_mutex_unlock(&server->job_lock);
    if (server->job_thread_runs)
        pthread_join(server->job_thread, NULL);
    pthread_cond_destroy(&server->job_there);
    pthread_mutex_destroy(&server->job_lock);
}
