/* SPDX-License-Identifier: BSD-2-Clause */
/* Images that may not be written, and the functions over them. */
#include "base/units.h"
#include "cipher/cipher.h"
#include "icesim/host.h"
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTORS 64u
#define NOBODY  65534 /* whom modes of files bind, unlike root */

static char folder[64], image[96];
static struct host host;

static void make_image(void)
{
    snprintf(folder, sizeof(folder), "/tmp/icesim-image.XXXXXX");
    if (!mkdtemp(folder) ||
        (geteuid() == 0 && (chown(folder, NOBODY, NOBODY) || setegid(NOBODY) || seteuid(NOBODY)))) {
        printf("Bail out! a folder\n");
        exit(1);
    }
    snprintf(image, sizeof(image), "%s/image", folder);
    int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, "image", 5, 0) != 5 || ftruncate(fd, SECTORS * SECTOR_SIZE) ||
        fchmod(fd, 0400)) {
        printf("Bail out! an image\n");
        exit(1);
    }
    close(fd);
}

static void test_store(void)
{
    struct store *one, *two;
    struct ice_why why = {.text = ""};
    char bytes[SECTOR_SIZE] = "";
    struct iovec iov = {bytes, sizeof(bytes)};

    is_int(store_open_file(image, 0, &one, &why), -EACCES, "who writes does not get it");
    if (!is_int(store_open_file_to_read(image, 0, &one, &why), 0, "who reads does"))
        return;
    ok(one->read_only, "as a store that is read-only");
    is_int(one->ops->read(one, 0, &iov, 1, &why), 0, "it is read");
    ok(!strcmp(bytes, "image"), "what is in it");
    is_int(one->ops->flush(one, &why), 0, "and flushed");
    if (is_int(store_open_file_to_read(image, 0, &two, &why), 0, "two may read"))
        store_close(two);
    chmod(image, 0600);
    is_int(store_open_file(image, 0, &two, &why), -EBUSY, "but nobody writes meanwhile");
    store_close(one);
    if (is_int(store_open_file_to_read(image, 0, &one, &why), 0, "where it may be written")) {
        ok(!one->read_only, "it is no read-only one");
        store_close(one);
    }
    chmod(image, 0400);
}

/* `own`: on the image. */
static int add(const char *function, bool own, struct ice_why *why)
{
    struct function_spec spec;
    char text[160];

    why->text[0] = 0;
    snprintf(text, sizeof(text), "%s%s%s", function, own ? ",image=" : "", own ? image : "");
    int err = function_spec_parse(text, &spec, why);
    return err ? err : host_add(&host, &spec, why);
}

static void test_functions(void)
{
    struct host_params params = {.slots = 8, .dialect = &dialect_ice2};
    struct ice_why why = {.text = ""};

    if (!is_int(store_open_file_to_read(image, 0, &params.store, &why), 0, "media to read") ||
        !is_int(host_open(&host, &params, &why), 0, "a host over them"))
        return;
    ok(function_is_read_only(host.owner), "their owner does not write either");
    is_int(add("vm0,sectors=0+8", false, &why), -EROFS, "no function that writes");
    is_str(why.text, "the media may only be read, and it is not ro", "which is said");
    is_int(add("vm0,ro", false, &why), 0, "but one that reads");
    ok(function_is_read_only(host.functions->owner_view), "and nobody writes its raw file");
    is_int(host_resize(&host, "vm0", 8 * SECTOR_SIZE, NULL, &why), -EROFS, "it is not cut");
    is_str(why.text, "its image may only be read", "which is said");
    is_int((intmax_t)function_sectors(host.functions->function), SECTORS, "its size stays");
    host_close(&host);
}

static void test_own_image(void)
{
    struct host_params params = {.slots = 8, .dialect = &dialect_ice2};
    struct ice_why why = {.text = ""};

    if (!is_int(store_open_ram(SECTORS * SECTOR_SIZE, &params.store, &why), 0, "media in RAM") ||
        !is_int(host_open(&host, &params, &why), 0, "a host over them"))
        return;
    is_int(add("vm0,slots=0+4", true, &why), -EACCES, "its image is not for one that writes");
    is_int(add("vm0,slots=0+4,ro", true, &why), 0, "but for one that reads");
    is_int(host_resize(&host, "vm0", 8 * SECTOR_SIZE, NULL, &why), -EROFS, "it is not cut");
    is_int(add("vm1,slots=4+4", false, &why), 0, "the media are written as ever");
    host_close(&host);
}

int main(void)
{
    struct ice_why why;

    make_image();
    is_int(cipher_init(&why), 0, "ciphers");
    test_store();
    test_functions();
    test_own_image();
    unlink(image);
    if (geteuid() != getuid() && seteuid(getuid()))
        return 1;
    rmdir(folder);
    return tap_done();
}
