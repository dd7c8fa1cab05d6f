/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Known answers. Standards give short messages, units here are 512 bytes and more: a published
 * answer is the beginning of the ciphertext of a unit that begins with the published plaintext.
 */
#include "cipher/cipher.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNIT 512

static size_t unhex(const char *hex, uint8_t *bytes)
{
    size_t n = 0;
    for (unsigned value; sscanf(hex + 2 * n, "%2x", &value) == 1; n++)
        bytes[n] = (uint8_t)value;
    return n;
}

static struct cipher *open_params(const struct cipher_params *params, const uint8_t *key)
{
    struct cipher *cipher = NULL;
    struct ice_why why = {0};
    if (cipher_open(params, key, &cipher, &why)) {
        note("%s: %s", params->algorithm->name, why.text);
        exit(1);
    }
    return cipher;
}

static struct cipher *open_cipher(const char *algorithm, const uint8_t *key, unsigned data_unit)
{
    return open_params(&(struct cipher_params){algorithm_by_name(algorithm), data_unit, false},
                       key);
}

/*
 * IEEE 1619-2007, annex B: vector 4 (XTS-AES-128, data unit 0) and vector 10 (XTS-AES-256, data
 * unit ff). The plaintext is 00 01 … ff, twice.
 */
static void test_ieee1619(void)
{
    static const struct {
        const char *name, *algorithm, *key;
        uint64_t dun;
        const char *ciphertext;
    } rows[] = {
        {"IEEE 1619 vector 4", "aes-128-xts",
         "2718281828459045235360287471352631415926535897932384626433832795", 0,
         "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c"
         "c78cf7f5e543445f8333d8fa7f56000005279fa5d8b5e4ad40e736ddb4d35412"
         "328063fd2aab53e5ea1e0a9f332500a5df9487d07a5c92cc512c8866c7e860ce"
         "93fdf166a24912b422976146ae20ce846bb7dc9ba94a767aaef20c0d61ad0265"
         "5ea92dc4c4e41a8952c651d33174be51a10c421110e6d81588ede82103a252d8"
         "a750e8768defffed9122810aaeb99f9172af82b604dc4b8e51bcb08235a6f434"
         "1332e4ca60482a4ba1a03b3e65008fc5da76b70bf1690db4eae29c5f1badd03c"
         "5ccf2a55d705ddcd86d449511ceb7ec30bf12b1fa35b913f9f747a8afd1b130e"
         "94bff94effd01a91735ca1726acd0b197c4e5b03393697e126826fb6bbde8ecc"
         "1e08298516e2c9ed03ff3c1b7860f6de76d4cecd94c8119855ef5297ca67e9f3"
         "e7ff72b1e99785ca0a7e7720c5b36dc6d72cac9574c8cbbc2f801e23e56fd344"
         "b07f22154beba0f08ce8891e643ed995c94d9a69c9f1b5f499027a78572aeebd"
         "74d20cc39881c213ee770b1010e4bea718846977ae119f7a023ab58cca0ad752"
         "afe656bb3c17256a9f6e9bf19fdd5a38fc82bbe872c5539edb609ef4f79c203e"
         "bb140f2e583cb2ad15b4aa5b655016a8449277dbd477ef2c8d6c017db738b18d"
         "eb4a427d1923ce3ff262735779a418f20a282df920147beabe421ee5319d0568"},
        {"IEEE 1619 vector 10", "aes-256-xts",
         "2718281828459045235360287471352662497757247093699959574966967627"
         "3141592653589793238462643383279502884197169399375105820974944592",
         0xff,
         "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"
         "5d31e276f8fe4a8d66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd"
         "5776926c49a3095eb108fd1098baec70aaa66999a72a82f27d848b21d4a741b0"
         "c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf1000020887891429ca"
         "2a3e7a7d7df7b10355165c8b9a6d0a7de8b062c4500dc4cd120c0f7418dae3d0"
         "b5781c34803fa75421c790dfe1de1834f280d7667b327f6c8cd7557e12ac3a0f"
         "93ec05c52e0493ef31a12d3d9260f79a289d6a379bc70c50841473d1a8cc81ec"
         "583e9645e07b8d9670655ba5bbcfecc6dc3966380ad8fecb17b6ba02469a020a"
         "84e18e8f84252070c13e9f1f289be54fbc481457778f616015e1327a02b140f1"
         "505eb309326d68378f8374595c849d84f4c333ec4423885143cb47bd71c5edae"
         "9be69a2ffeceb1bec9de244fbe15992b11b77c040f12bd8f6a975a44a0f90c29"
         "a9abc3d4d893927284c58754cce294529f8614dcd2aba991925fedc4ae74ffac"
         "6e333b93eb4aff0479da9a410e4450e0dd7ae4c6e2910900575da401fc07059f"
         "645e8b7e9bfdef33943054ff84011493c27b3429eaedb4ed5376441a77ed4385"
         "1ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550be97f7ab4066193c4caa"
         "773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t key[KEY_BYTES_MAX], plain[UNIT], want[UNIT], got[UNIT];
        for (unsigned k = 0; k < UNIT; k++)
            plain[k] = (uint8_t)k;
        unhex(rows[i].key, key);
        is_int((intmax_t)unhex(rows[i].ciphertext, want), UNIT, "%s: whole", rows[i].name);
        struct cipher *cipher = open_cipher(rows[i].algorithm, key, UNIT);
        cipher_encrypt(cipher, dun_from_u64(rows[i].dun), plain, got, UNIT);
        is_mem(got, want, UNIT, "%s", rows[i].name);
        cipher_decrypt(cipher, dun_from_u64(rows[i].dun), got, got, UNIT);
        is_mem(got, plain, UNIT, "%s, back", rows[i].name);
        cipher_close(cipher);
    }
}

/*
 * NIST CAVP, XTSTestVectors: XTSGenAES128.rsp and XTSGenAES256.rsp, ENCRYPT, COUNT = 1. The tweak
 * `i` is 128 bits: DUN limbs 0 and 1.
 */
static void test_cavp_xts(void)
{
    static const struct {
        const char *algorithm, *key, *tweak, *plain, *ciphertext;
    } rows[] = {
        {"aes-128-xts", "a1b90cba3f06ac353b2c343876081762090923026e91771815f29dab01932f2f",
         "4faef7117cda59c66e4b92013e768ad5", "ebabce95b14d3c8d6fb350390790311c",
         "778ae8b43cb98d5a825081d5be471c63"},
        {"aes-256-xts",
         "1ea661c58d943a0e4801e42f4b0947149e7f9f8e3e68d0c7505210bd311a0e7c"
         "d6e13ffdf2418d8d1911c004cda58da3d619b7e2b9141e58318eea392cf41b08",
         "adf8d92627464ad2f0428e84a9f87564",
         "2eedea52cd8215e1acc647e810bbc3642e87287f8d2e57e36c0a24fbc12a202e",
         "cbaad0e2f6cea3f50b37f934d46a9b130b9d54f07e34f36af793e86f73c6d7db"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t key[KEY_BYTES_MAX], tweak[16], data[UNIT] = {0}, want[UNIT];
        unhex(rows[i].key, key);
        unhex(rows[i].tweak, tweak);
        unhex(rows[i].plain, data);
        size_t len = unhex(rows[i].ciphertext, want);
        struct cipher *cipher = open_cipher(rows[i].algorithm, key, UNIT);
        struct dun dun = {{load_le64(tweak), load_le64(tweak + 8), 0, 0}};
        cipher_encrypt(cipher, dun, data, data, UNIT);
        is_mem(data, want, len, "NIST CAVP %s", rows[i].algorithm);
        cipher_close(cipher);
    }
}

/*
 * NIST SP 800-38A: F.1.1, F.1.3, F.1.5 (ECB) and F.2.1, F.2.3, F.2.5 (CBC), their plaintext, their
 * keys, and SHA-256 of each key (by sha256sum) for ESSIV.
 */
static const char sp800_plain[] =
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
static const struct {
    const char *bits, *key, *key_hash, *ecb, *cbc;
} sp800[] = {
    {"128", "2b7e151628aed2a6abf7158809cf4f3c",
     "d4ffb8b77f7d6b26196e9a070e983f6701a4c42dec813d4de1a535d20a7df536",
     "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
     "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
     "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
     "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"},
    {"192", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
     "80fa5ff8e512e1d12f60c27d305e47fb19daa5f0aad3f32c9dd5145309e38d54",
     "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef"
     "ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e",
     "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
     "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd"},
    {"256", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
     "b93c72b74bc8487d29827005f80d635918f91bc22b14d7ed05714d58f96702dd",
     "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
     "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7",
     "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
     "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"},
};

static void test_sp800_ecb(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(sp800); i++) {
        char name[64];
        uint8_t key[KEY_BYTES_MAX], data[2 * UNIT], want[2 * UNIT];
        unhex(sp800[i].key, key);
        for (unsigned at = 0; at < sizeof(data); at += 64) {
            unhex(sp800_plain, data + at);
            unhex(sp800[i].ecb, want + at);
        }
        snprintf(name, sizeof(name), "aes-%s-ecb", sp800[i].bits);
        struct cipher *cipher = open_cipher(name, key, UNIT);
        cipher_encrypt(cipher, dun_from_u64(99), data, data, sizeof(data));
        is_mem(data, want, sizeof(data), "SP 800-38A %s", name);
        cipher_close(cipher);
    }
}

/* The IV of byte offset or unit `number`, by AES-ECB with the key `hex`. */
static void ecb_iv(const char *hex, uint64_t number, uint8_t iv[static 16])
{
    static const char *const names[] = {"aes-128-ecb", "aes-192-ecb", "aes-256-ecb"};
    uint8_t key[KEY_BYTES_MAX], block[UNIT] = {0};
    size_t len = unhex(hex, key);
    struct cipher *cipher = open_cipher(names[(len - 16) / 8], key, UNIT);
    store_le64(block, number);
    cipher_encrypt(cipher, dun_from_u64(0), block, block, UNIT);
    memcpy(iv, block, 16);
    cipher_close(cipher);
}

/*
 * The standard's IV is 00 01 … 0f, ours depends on the DUN: a first block that makes up for the
 * difference gives the standard's ciphertext.
 */
static void check_cbc(const char *name, bool iv_from_dun, unsigned i, uint64_t dun,
                      const uint8_t iv[static 16])
{
    const struct cipher_params params = {algorithm_by_name(name), UNIT, iv_from_dun};
    uint8_t key[KEY_BYTES_MAX], data[2 * UNIT] = {0}, want[64], before[UNIT];
    unhex(sp800[i].key, key);
    unhex(sp800[i].cbc, want);
    unhex(sp800_plain, data + UNIT);
    for (unsigned k = 0; k < 16; k++)
        data[UNIT + k] ^= (uint8_t)k ^ iv[k];
    memcpy(before, data + UNIT, UNIT);
    struct cipher *cipher = open_params(&params, key);
    cipher_encrypt(cipher, dun_from_u64(dun - 1), data, data, sizeof(data));
    is_mem(data + UNIT, want, sizeof(want), "SP 800-38A %s", name);
    cipher_decrypt(cipher, dun_from_u64(dun), data + UNIT, data, UNIT);
    is_mem(data, before, UNIT, "SP 800-38A %s, back", name);
    cipher_close(cipher);
}

static void test_sp800_cbc(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(sp800); i++) {
        char name[64];
        uint8_t iv[16];
        snprintf(name, sizeof(name), "aes-%s-cbc-essiv", sp800[i].bits);
        ecb_iv(sp800[i].key_hash, 1000, iv);
        check_cbc(name, false, i, 1000, iv);
        check_cbc(name, true, i, 1000, iv); /* the switch is BitLocker's alone */
        snprintf(name, sizeof(name), "aes-%s-cbc-bitlocker", sp800[i].bits);
        ecb_iv(sp800[i].key, UINT64_C(1000) * UNIT, iv);
        check_cbc(name, false, i, 1000, iv);
        ecb_iv(sp800[i].key, 1000, iv);
        check_cbc(name, true, i, 1000, iv);
    }
}

/* The first DUN that is too wide has the IV of a narrower one. */
static void test_iv_bits(void)
{
    static const struct {
        const char *algorithm;
        unsigned data_unit;
        bool from_dun;
        unsigned bits;
    } rows[] = {
        {"aes-256-xts", 4096, false, 128},
        {"aes-128-cbc-essiv", 65536, false, 128},
        {"aes-192-ecb", 512, false, 128},
        {"aes-128-cbc-bitlocker", 512, false, 119},
        {"aes-256-cbc-bitlocker", 65536, false, 112},
        {"aes-256-cbc-bitlocker", 65536, true, 128},
    };
    uint8_t key[KEY_BYTES_MAX];
    for (unsigned k = 0; k < sizeof(key); k++)
        key[k] = (uint8_t)k;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct cipher_params params = {algorithm_by_name(rows[i].algorithm),
                                             rows[i].data_unit, rows[i].from_dun};
        unsigned bits = cipher_iv_bits(&params);
        is_int(bits, rows[i].bits, "%s, units of %u%s: bits of the IV", rows[i].algorithm,
               rows[i].data_unit, rows[i].from_dun ? ", IV from the DUN" : "");
        static uint8_t low[65536], high[65536];
        struct dun widest = {{0, UINT64_C(1) << (bits - 1 - 64), 0, 0}}, wider = {{0}};
        wider.limb[bits / 64] = UINT64_C(1) << bits % 64;
        struct cipher *cipher = open_params(&params, key);
        memset(low, 0, rows[i].data_unit);
        cipher_encrypt(cipher, dun_from_u64(0), low, low, rows[i].data_unit);
        memset(high, 0, rows[i].data_unit);
        cipher_encrypt(cipher, widest, high, high, rows[i].data_unit);
        ok(params.algorithm->alg == ALG_AES_ECB || memcmp(low, high, rows[i].data_unit),
           "%s: the top bit tells", rows[i].algorithm);
        memset(high, 0, rows[i].data_unit);
        cipher_encrypt(cipher, wider, high, high, rows[i].data_unit);
        is_mem(high, low, rows[i].data_unit, "%s: the bit above does not", rows[i].algorithm);
        cipher_close(cipher);
    }
}

/*
 * 512 zero bytes, key 00 01 02 …, computed with dm-crypt's definitions by pyca/cryptography. First
 * and last 16 bytes of the ciphertext.
 */
static void test_zero_units(void)
{
    static const struct {
        const char *algorithm;
        struct dun dun;
        const char *first, *last;
    } rows[] = {
        {"aes-256-xts",
         {{1}},
         "0c22ed7e2168a8500b30154c2ec00d26",
         "a1fe130460ec6322bc846036dc6cc47b"},
        {"aes-256-xts", {{0, 1}}, "2aca9fa268f090c0fcfa1ae9c5b934e9", ""},
        {"aes-128-xts",
         {{1}},
         "a8ce33a288a211258599d867beceaf25",
         "eabbee88416c7eda35ebe03d41aec5e9"},
        {"aes-128-cbc-essiv",
         {{1}},
         "fe58062f6a4a8afefc6fa80c447ff6d3",
         "5652bec129fd18b081b7fc0fa5c3a1ad"},
        {"aes-128-cbc-bitlocker",
         {{1}},
         "6d7cba1f684d311b71de2fa7cecebc1c",
         "03086cb7042516b1346c4b7630eb43c9"},
        {"aes-128-ecb",
         {{1}},
         "c6a13b37878f5b826f4f8162a1c8d879",
         "c6a13b37878f5b826f4f8162a1c8d879"},
    };
    uint8_t key[KEY_BYTES_MAX];
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t data[UNIT] = {0}, want[16];
        struct cipher *cipher = open_cipher(rows[i].algorithm, key, UNIT);
        cipher_encrypt(cipher, rows[i].dun, data, data, UNIT);
        size_t len = unhex(rows[i].first, want);
        is_mem(data, want, len, "%s, zeros at DUN 0x%llx:%016llx: first", rows[i].algorithm,
               (unsigned long long)rows[i].dun.limb[1], (unsigned long long)rows[i].dun.limb[0]);
        len = unhex(rows[i].last, want);
        is_mem(data + UNIT - 16, want, len, "%s, zeros: last", rows[i].algorithm);
        cipher_close(cipher);
    }
}

/* A run of units is what the units are one by one; the XTS tweak carries beyond 64 bits by itself.
 */
static void test_runs(void)
{
    enum { UNITS = 5 };
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
        uint8_t key[KEY_BYTES_MAX];
        uint8_t run[UNITS * UNIT], single[UNITS * UNIT];
        for (unsigned k = 0; k < sizeof(key); k++)
            key[k] = (uint8_t)(k * 3 + i);
        memset(run, 0x33, sizeof(run));
        memset(single, 0x33, sizeof(single));
        struct cipher *cipher = open_cipher(algorithms[i].name, key, UNIT);
        struct dun dun = {{UINT64_MAX - 2, UINT64_MAX >> 1, 0, 0}};
        cipher_encrypt(cipher, dun, run, run, sizeof(run));
        for (unsigned k = 0; k < UNITS; k++, dun_add(&dun, 1))
            cipher_encrypt(cipher, dun, single + k * UNIT, single + k * UNIT, UNIT);
        is_mem(run, single, sizeof(run), "%s: a run over a carry", algorithms[i].name);
        ok(algorithms[i].alg == ALG_AES_ECB || memcmp(run, run + UNIT, UNIT),
           "%s: equal units differ encrypted", algorithms[i].name);
        is_int(cipher_encrypt(cipher, dun, run, run, 0), 0, "%s: nothing to do",
               algorithms[i].name);
        cipher_close(cipher);
    }
}

static void test_refusals(void)
{
    static const char *const names[] = {"aes-128-xts", "aes-256-xts"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        uint8_t key[KEY_BYTES_MAX];
        struct cipher *cipher = NULL;
        struct ice_why why = {0};
        memset(key, 0x77, sizeof(key));
        const struct algorithm *algorithm = algorithm_by_name(names[i]);
        const struct cipher_params params = {algorithm, UNIT, false};
        is_int(cipher_open(&params, key, &cipher, &why), -EINVAL, "%s: equal halves", names[i]);
        is_str(why.text, "the two halves of the XTS key are equal", "%s: equal halves: clause",
               names[i]);
        ok(!cipher, "%s: equal halves: no cipher", names[i]);
        key[algorithm->key_bytes - 1] ^= 1;
        is_int(cipher_open(&params, key, &cipher, &why), 0, "%s: halves differ by a bit", names[i]);
        cipher_close(cipher);
    }
    cipher_close(NULL);
}

static void test_fingerprint(void)
{
    /* (printf 'icesim key\0'; printf '\0\1…\17') | sha256sum, and the same up to \77 */
    static const char *const want[] = {"1dabb18a72550b44", "98d7c176c31263d4"};
    uint8_t key[KEY_BYTES_MAX], got[FINGERPRINT_BYTES], bytes[FINGERPRINT_BYTES];
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (unsigned i = 0; i < 2; i++) {
        unhex(want[i], bytes);
        cipher_fingerprint(key, i ? 64 : 16, got);
        is_mem(got, bytes, sizeof(got), "fingerprint of %d bytes", i ? 64 : 16);
    }
}

/* Contexts are one thread's each; several at once do not meet. */
static void *encrypt_often(void *out)
{
    uint8_t key[KEY_BYTES_MAX];
    uint8_t *data = out;
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (unsigned round = 0; round < 200; round++) {
        struct cipher *cipher = open_cipher(algorithms[round % ALGORITHM_COUNT].name, key, UNIT);
        cipher_encrypt(cipher, dun_from_u64(round), data, data, UNIT);
        cipher_close(cipher);
    }
    return NULL;
}

static void test_threads(void)
{
    enum { THREADS = 4 };
    static uint8_t data[THREADS][UNIT];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, encrypt_often, data[i]);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 1; i < THREADS; i++)
        is_mem(data[i], data[0], UNIT, "thread %u", i);
}

/* In FIPS mode the library takes its memory where it likes. */
static void test_fips(const char *self)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("LIBGCRYPT_FORCE_FIPS_MODE", "1", 1);
        execl(self, self, "fips", NULL);
        _exit(127);
    }
    int status = -1;
    waitpid(child, &status, 0);
    is_int(status, 0, "FIPS mode is refused");
}

static int fips_child(void)
{
    struct ice_why why = {0};
    int rc = cipher_init(&why);
    return rc == -ENOTSUP && strstr(why.text, "FIPS mode") ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct ice_why why = {0};
    if (argc > 1)
        return fips_child();
    test_fips(argv[0]);
    if (!is_int(cipher_init(&why), 0, "cipher_init"))
        return tap_done();
    test_ieee1619();
    test_cavp_xts();
    test_sp800_ecb();
    test_sp800_cbc();
    test_iv_bits();
    test_zero_units();
    test_runs();
    test_refusals();
    test_fingerprint();
    test_threads();
    return tap_done();
}
