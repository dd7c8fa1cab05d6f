/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the FUSE tree shows of a host: the media as stored through the owner's function; of each
 * function its slots, its views, its sectors as stored, and status.json, made by the code that
 * answers `icectl --json info`, `slot list` and `view list`; of each layer its views and what it
 * stores. It follows functions and layers as they come and go, and keeps one from going while a
 * file of it is open.
 */
#ifndef ICESIM_ICESIM_FUSE_FILES_H
#define ICESIM_ICESIM_FUSE_FILES_H

#include "fuse_front/fuse_front.h"
#include "views.h"

struct fuse_files;

/* With the functions that there are; not yet mounted. 0 or -errno. */
int fuse_files_open(struct host *host, struct views *views, struct fuse_files **files,
                    struct ice_why *why);

/* Stops its front, too. NULL is allowed. */
void fuse_files_close(struct fuse_files *files);

/* For mounting; lives as long as `files`. */
struct fuse_front *fuse_files_front(struct fuse_files *files);

#endif
