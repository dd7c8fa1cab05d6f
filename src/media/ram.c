/* SPDX-License-Identifier: BSD-2-Clause */
/* A memfd is a sparse file in memory: holes cost nothing, and reading one allocates nothing. */
#include "media/fd_store.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int store_open_ram(uint64_t size, struct store **store, struct ice_why *why)
{
    int rc = check_store_size(size, why);
    if (rc)
        return rc;

    int fd = memfd_create("icesim", MFD_CLOEXEC);
    if (fd < 0)
        return why_errno(why, errno, "cannot make a RAM disk");
    if (ftruncate(fd, (off_t)size))
        rc =
            why_errno(why, errno, "cannot make a RAM disk of %llu bytes", (unsigned long long)size);
    else
        rc = fd_store_new(fd, size, true, "the RAM disk", store, why);
    if (rc)
        close(fd);
    return rc;
}
