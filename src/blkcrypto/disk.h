/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block device as users of blk-crypto see it: requests carry a key and a DUN, not a slot. Made
 * over a channel (native.h), over other disks (layer.h), or over one with the fallback beside it
 * (fallback.h); all look the same from above, and stack.
 *
 * Calls wait for their request. Any thread, any number at once; nothing on the path of a request
 * allocates.
 */
#ifndef ICESIM_BLKCRYPTO_DISK_H
#define ICESIM_BLKCRYPTO_DISK_H

#include "crypto_caps.h"
#include "profile.h"

struct disk;
struct disk_key; /* a key in use at one disk */

/* Which way a key's data goes. */
enum disk_path {
    DISK_NATIVE,   /* the engine's: by a keyslot, or along with each request */
    DISK_FALLBACK, /* ciphers in this process */
};

struct disk_io {
    uint64_t offset; /* bytes, whole sectors; whole data units of `len` with a key */
    void *buffer;    /* read into, or written from */
    size_t len;      /* 1..REQUEST_MAX */
    bool write;
    struct disk_key *key; /* NULL: the data as it is */
    struct dun dun;       /* of the first data unit */
};

struct disk_key_counts {
    struct profile_counts profile;
    uint64_t fallbacks;
};

struct disk_ops {
    /*
     * All or nothing. A layered disk cuts the range into parts, each all or nothing on one child,
     * and ends with the first that fails; those before it stay done. 0; -EINVAL:
     * crypto_context_check, before anything is touched; else as the device said: -EIO, -ENOSPC,
     * -EROFS, -ENOKEY …. After an error what a read has left in the buffer is nobody's data.
     */
    int (*transfer)(struct disk *disk, const struct disk_io *io, struct ice_why *why);
    int (*flush)(struct disk *disk, struct ice_why *why);
    /*
     * What Linux calls start using: outside the I/O path, before the first request with the key.
     * `key` stays the caller's, unchanged, until close. 0; -EOPNOTSUPP with the reason; -ENOMEM.
     */
    int (*key_open)(struct disk *disk, const struct crypto_key *key, struct disk_key **opened,
                    struct ice_why *why);
    /*
     * Takes the key out of all that is below. 0; -EBUSY with requests in flight: nothing changes,
     * the key still works; another -errno: unlinked all the same.
     */
    int (*key_evict)(struct disk *disk, struct disk_key *key, struct ice_why *why);
    /* After key_evict with another result than -EBUSY, or when no request was made with it. */
    void (*key_close)(struct disk *disk, struct disk_key *key);
    enum disk_path (*key_path)(const struct disk_key *key);
    /* Counters of the key, summed over the children; fallbacks are requests by DISK_FALLBACK. */
    void (*key_counts)(struct disk_key *key, struct disk_key_counts *counts);
    /* See disk_config_supported. NULL: as `caps` say. */
    int (*config_supported)(struct disk *disk, const struct crypto_config *config,
                            enum disk_path *path, struct ice_why *why);
    void (*close)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
    const char *name;        /* for people, given by its owner; NULL: none */
    uint64_t size;           /* bytes; of a native one its maker's to keep up to date */
    struct crypto_caps caps; /* native ones; of a layered disk the intersection; none: all zeros */
    uint32_t block_size;     /* logical: 512 or 4096 */
    bool whole_units;        /* with a key, the offset of a request is whole data units too */
};

/*
 * Before there is a key: whether keys used so are served, and which way. `config` is one that
 * crypto_key_init takes. 0, or -EOPNOTSUPP with the reason.
 */
static inline int disk_config_supported(struct disk *disk, const struct crypto_config *config,
                                        enum disk_path *path, struct ice_why *why)
{
    if (disk->ops->config_supported)
        return disk->ops->config_supported(disk, config, path, why);
    *path = DISK_NATIVE;
    return crypto_caps_support(&disk->caps, config, why);
}

#endif
