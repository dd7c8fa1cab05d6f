/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/algorithm.h"
#include "base/bytes.h"

const struct algorithm algorithms[ALGORITHM_COUNT] = {
    {"aes-128-xts", ALG_AES_XTS, KEY_SIZE_128, 32},
    {"aes-256-xts", ALG_AES_XTS, KEY_SIZE_256, 64},
    {"aes-128-cbc-bitlocker", ALG_BITLOCKER_AES_CBC, KEY_SIZE_128, 16},
    {"aes-192-cbc-bitlocker", ALG_BITLOCKER_AES_CBC, KEY_SIZE_192, 24},
    {"aes-256-cbc-bitlocker", ALG_BITLOCKER_AES_CBC, KEY_SIZE_256, 32},
    {"aes-128-ecb", ALG_AES_ECB, KEY_SIZE_128, 16},
    {"aes-192-ecb", ALG_AES_ECB, KEY_SIZE_192, 24},
    {"aes-256-ecb", ALG_AES_ECB, KEY_SIZE_256, 32},
    {"aes-128-cbc-essiv", ALG_ESSIV_AES_CBC, KEY_SIZE_128, 16},
    {"aes-192-cbc-essiv", ALG_ESSIV_AES_CBC, KEY_SIZE_192, 24},
    {"aes-256-cbc-essiv", ALG_ESSIV_AES_CBC, KEY_SIZE_256, 32},
};

const struct algorithm *algorithm_by_name(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(algorithms); i++) {
        if (!strcmp(algorithms[i].name, name))
            return &algorithms[i];
    }
    return NULL;
}

const struct algorithm *algorithm_by_id(unsigned alg, unsigned key_size)
{
    for (unsigned i = 0; i < ARRAY_SIZE(algorithms); i++) {
        if (algorithms[i].alg == alg && algorithms[i].key_size == key_size)
            return &algorithms[i];
    }
    return NULL;
}

bool algorithm_takes_wrapped(unsigned alg, unsigned key_size)
{
    return alg == ALG_AES_XTS && key_size == KEY_SIZE_256;
}
