/* SPDX-License-Identifier: BSD-2-Clause */
#include "vhost_rig.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void vm_bail_out(const char *what)
{
    printf("Bail out! the rig: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    unlink(path);
    vm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof(address)) && !listen(fd, 8),
            path);
    return fd;
}

static void open_back_end(struct vhost_rig *rig)
{
    struct ice_why why = {0};

    vm_must(!vhost_user_open(rig->rig.function, VHOST_USER_LISTENING, listen_at(rig->path),
                             &rig->back_end, &why),
            why.text);
}

void vhost_rig_open(struct vhost_rig *rig, struct store *store, struct function_params params)
{
    memset(rig, 0, sizeof(*rig));
    snprintf(rig->path, sizeof(rig->path), "/tmp/icesim-vhost-%d.sock", (int)getpid());
    rig_open_as(&rig->rig, 4, 2048, store, params);
    open_back_end(rig);
}

struct gate_store *vhost_rig_open_gated(struct vhost_rig *rig, struct function_params params)
{
    struct store *ram;

    vm_must(!store_open_ram(2048 * 512, &ram, NULL), "a store");
    struct gate_store *gate = gate_store_new(ram);
    vhost_rig_open(rig, gate_store(gate), params);
    return gate;
}

void vhost_rig_close(struct vhost_rig *rig)
{
    vhost_user_close(rig->back_end);
    unlink(rig->path);
    rig_close(&rig->rig);
}

void vhost_rig_restart(struct vhost_rig *rig)
{
    vhost_user_close(rig->back_end);
    open_back_end(rig);
}

const struct vhost_user_counts *vhost_rig_count(struct vhost_rig *rig)
{
    vhost_user_count(rig->back_end, &rig->counts);
    return &rig->counts;
}

uint64_t vhost_rig_refused(struct vhost_rig *rig, enum vhost_user_refusal refusal)
{
    return vhost_rig_count(rig)->refused.of[refusal];
}

static void *reset_often(void *user)
{
    struct vhost_rig *rig = user;

    while (!atomic_load(&rig->resets_end))
        function_reset_attachments(rig->rig.function);
    return NULL;
}

void vhost_rig_begin_resets(struct vhost_rig *rig)
{
    atomic_store(&rig->resets_end, false);
    vm_must(!pthread_create(&rig->resets, NULL, reset_often, rig), "a thread");
}

void vhost_rig_end_resets(struct vhost_rig *rig)
{
    atomic_store(&rig->resets_end, true);
    pthread_join(rig->resets, NULL);
}
