/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * icerefcrypt enc|dec ALG DATA_UNIT DUN KEYFILE < in > out
 *
 * What the data unit ciphers should give, by OpenSSL's libcrypto, for tests of the programs. Input
 * is whole data units.
 */
#include "unit/libcrypto_ref.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *object)
{
    fprintf(stderr, "icerefcrypt: %s %s\n", what, object);
    exit(1);
}

static unsigned long long number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (errno || end == text || *end)
        die("not a number:", text);
    return value;
}

/* Up to 128 bits, in hexadecimal; or decimal, up to 64. */
static ref_dun wide_number(const char *text)
{
    size_t len = strlen(text), high = len > 18 ? len - 16 : 0; /* 0x, then 16 digits */
    char top[19] = "";

    if (!high || strncmp(text, "0x", 2) != 0)
        return number(text);
    if (high >= sizeof(top) || strspn(text + 2, "0123456789abcdef") != len - 2)
        die("not a number:", text);
    memcpy(top, text, high);
    return (ref_dun)number(top) << 64 | strtoull(text + high, NULL, 16);
}

static void read_key(const char *path, unsigned char *key, size_t size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die("cannot open", path);
    if (fread(key, 1, size, file) != size || fgetc(file) != EOF)
        die("wrong length of the key in", path);
    fclose(file);
}

int main(int argc, char **argv)
{
    if (argc != 6 || (strcmp(argv[1], "enc") && strcmp(argv[1], "dec")))
        die("usage:", "icerefcrypt enc|dec ALG DATA_UNIT DUN KEYFILE < in > out");
    const struct algorithm *algorithm = algorithm_by_name(argv[2]);
    if (!algorithm)
        die("unknown algorithm", argv[2]);
    size_t unit = (size_t)number(argv[3]);
    if (unit < 16 || unit > 1 << 20 || unit % 16)
        die("impossible data unit", argv[3]);
    ref_dun dun = wide_number(argv[4]);
    unsigned char key[KEY_BYTES_MAX];
    read_key(argv[5], key, algorithm->key_bytes);

    unsigned char *in = malloc(unit), *out = malloc(unit);
    if (!in || !out)
        die("out of", "memory");
    size_t len;
    for (; (len = fread(in, 1, unit, stdin)) == unit; dun++) {
        if (!libcrypto_ref(algorithm, unit, dun, key, argv[1][0] == 'e', in, out, unit))
            die("libcrypto refuses", argv[2]);
        fwrite(out, 1, unit, stdout);
    }
    if (len || ferror(stdin))
        die("cannot read", "whole data units");
    if (fflush(stdout) || ferror(stdout))
        die("cannot write", "the output");
    free(in);
    free(out);
    return 0;
}
