/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the FUSE tree shows: the media as stored through the owner's function, slots through `vm0`,
 * and status.json, made by the code that answers `icectl --json info` and `slot list`.
 */
#ifndef ICESIM_ICESIM_FUSE_FILES_H
#define ICESIM_ICESIM_FUSE_FILES_H

#include "fuse_front/fuse_front.h"
#include "host.h"

struct fuse_files;

/* 0 or -errno. */
int fuse_files_open(struct host *host, struct fuse_files **files, struct ice_why *why);

/* No call of the ops is under way; NULL is allowed. */
void fuse_files_close(struct fuse_files *files);

/* The operations, with a struct fuse_files as their user. */
extern const struct fuse_front_ops fuse_files_ops;

#endif
