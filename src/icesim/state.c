/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state file is written in place, so that no temporary file ever holds the secret. It has two
 * records, each with a checksum, each at a sector of its own; the one with the higher boot counter
 * counts, and a start writes the other one. A write that was torn leaves the record that counted.
 *
 * A record: u8[8] magic, le32 version, le32 CRC of the record with this field 0, le64 boot,
 * u8[32] secret, zeros.
 */
#include "icesim/state.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "engine/engine.h"
#include "media/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION      1
#define RECORD_BYTES ((size_t)STATE_FILE_BYTES / 2)
#define VERSION_AT   8
#define CRC_AT       12
#define BOOT_AT      16
#define SECRET_AT    24

static const uint8_t magic[VERSION_AT] = {'i', 'c', 'e', 's', 't', 'a', 't', 'e'};

/* ---- records ---- */

/* CRC-32 as in Ethernet, of a record but for its CRC field, which counts as 0. */
static uint32_t record_crc(const uint8_t *record)
{
    uint32_t crc = UINT32_MAX;
    for (unsigned i = 0; i < RECORD_BYTES; i++) {
        crc ^= i >= CRC_AT && i < CRC_AT + 4 ? 0 : record[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

static bool is_whole(const uint8_t *record)
{
    return !memcmp(record, magic, sizeof(magic)) &&
           load_le32(record + CRC_AT) == record_crc(record);
}

static void build_record(uint8_t *record, const uint8_t *secret, uint64_t boot)
{
    memset(record, 0, RECORD_BYTES);
    memcpy(record, magic, sizeof(magic));
    store_le32(record + VERSION_AT, VERSION);
    store_le64(record + BOOT_AT, boot);
    memcpy(record + SECRET_AT, secret, ENGINE_SECRET_BYTES);
    store_le32(record + CRC_AT, record_crc(record));
}

/* ---- the file ---- */

static int write_stable(int fd, const uint8_t *bytes, size_t len, off_t at, const char *path,
                        struct ice_why *why)
{
    ssize_t written = pwrite(fd, bytes, len, at);
    if (written < 0 || fsync(fd))
        return why_errno(why, errno, "cannot write %s", path);
    return (size_t)written == len ? 0 : why_set(why, ENOSPC, "cannot write all of %s", path);
}

/* The file's name is on stable storage too. */
static int sync_folder(const char *path, struct ice_why *why)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof(copy))
        return why_set(why, ENAMETOOLONG, "the path is longer than %d bytes", PATH_MAX - 1);
    strcpy(copy, path);
    int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = folder < 0 || fsync(folder) ? errno : 0;
    if (folder >= 0)
        close(folder);
    return err ? why_errno(why, err, "cannot sync the folder of %s", path) : 0;
}

/* A new secret; `file` is a buffer for all of the file. A failure takes the file away again. */
static int make(int fd, const char *path, uint8_t *file, struct state *state, struct ice_why *why)
{
    int rc = store_lock_file(fd, path, why);
    secret_random(state->secret, ENGINE_SECRET_BYTES);
    state->boot = 1;
    build_record(file, state->secret, 0);
    build_record(file + RECORD_BYTES, state->secret, state->boot);
    if (!rc)
        rc = write_stable(fd, file, STATE_FILE_BYTES, 0, path, why);
    if (!rc)
        rc = sync_folder(path, why);
    if (rc)
        unlink(path);
    return rc;
}

/* Whose it is, and who may read it. */
static int check_file(int fd, const char *path, struct ice_why *why)
{
    struct stat status;
    if (fstat(fd, &status))
        return why_errno(why, errno, "cannot look at %s", path);
    if (!S_ISREG(status.st_mode))
        return why_set(why, EINVAL, "%s is no regular file", path);
    if (status.st_uid != geteuid())
        return why_set(why, EPERM, "%s belongs to user %u", path, status.st_uid);
    if (status.st_mode & 077)
        return why_set(why, EPERM, "%s is open to others: its mode is %04o and must be 0600", path,
                       status.st_mode & 07777);
    if (status.st_size != STATE_FILE_BYTES)
        return why_set(why, EINVAL, "%s has %lld bytes, a state file %u", path,
                       (long long)status.st_size, STATE_FILE_BYTES);
    return 0;
}

/*
 * What the records say, into `state`, with the boot counter raised; `*spare` is the record to
 * write. Where one is broken, its counter may have been the higher one: no number is used twice.
 */
static int understand(const uint8_t *file, const char *path, struct state *state, unsigned *spare,
                      struct ice_why *why)
{
    bool whole[2] = {is_whole(file), is_whole(file + RECORD_BYTES)};
    if (!whole[0] && !whole[1])
        return why_set(why, EINVAL, "%s is no state file, or garbled", path);
    uint64_t boots[2] = {load_le64(file + BOOT_AT), load_le64(file + RECORD_BYTES + BOOT_AT)};
    unsigned best = !whole[0] || (whole[1] && boots[1] > boots[0]);
    const uint8_t *record = file + best * RECORD_BYTES;
    if (load_le32(record + VERSION_AT) != VERSION)
        return why_set(why, EINVAL, "%s has version %u, this icesim knows %u", path,
                       load_le32(record + VERSION_AT), VERSION);
    memcpy(state->secret, record + SECRET_AT, ENGINE_SECRET_BYTES);
    state->boot = boots[best] + (whole[!best] ? 1 : 2);
    *spare = !best;
    return 0;
}

static int resume(int fd, const char *path, uint8_t *file, struct state *state, struct ice_why *why)
{
    unsigned spare;
    int rc = store_lock_file(fd, path, why);
    if (!rc)
        rc = check_file(fd, path, why);
    if (rc)
        return rc;
    ssize_t got = pread(fd, file, STATE_FILE_BYTES, 0);
    if (got != STATE_FILE_BYTES)
        return why_errno(why, got < 0 ? errno : EIO, "cannot read %s", path);
    rc = understand(file, path, state, &spare, why);
    if (rc)
        return rc;
    uint8_t *record = file + spare * RECORD_BYTES;
    build_record(record, state->secret, state->boot);
    return write_stable(fd, record, RECORD_BYTES, (off_t)(spare * RECORD_BYTES), path, why);
}

/* The file, and whether it is new. */
static int open_file(const char *path, bool *is_new, struct ice_why *why)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *is_new = fd >= 0;
    if (fd < 0 && errno == EEXIST)
        fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 ? fd : why_errno(why, errno, "cannot open %s", path);
}

static int open_with(const char *path, uint8_t *file, struct state *state, struct ice_why *why)
{
    bool is_new;
    state->fd = open_file(path, &is_new, why);
    if (state->fd < 0)
        return state->fd;
    return is_new ? make(state->fd, path, file, state, why)
                  : resume(state->fd, path, file, state, why);
}

int state_open(const char *path, struct state *state, struct ice_why *why)
{
    uint8_t *file = secret_alloc(STATE_FILE_BYTES);
    *state = (struct state){.fd = -1, .secret = secret_alloc(ENGINE_SECRET_BYTES)};
    int rc = file && state->secret ? open_with(path, file, state, why)
                                   : secret_exhausted("the device secret", why);
    secret_free(file);
    if (rc)
        state_close(state);
    return rc;
}

void state_close(struct state *state)
{
    if (!state->secret)
        return;
    if (state->fd >= 0)
        close(state->fd);
    secret_free(state->secret);
    *state = (struct state){0};
}
