// How long OpenSSL alone takes to verify the signatures of these tokens: microseconds of CPU a token, on stdout.
//
//   verify_loop ALGORITHM KEYFILE TOKENFILE ROUNDS
//
// Signatures are decoded and keys are read before the clock starts; what is timed is one EVP call after the other on
// contexts that are used again, the least that any verifier has to do.
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct token {
    unsigned char *text, *signature;
    size_t text_size, signature_size;
};

static void fail(const char *what) {
    fprintf(stderr, "verify_loop: %s\n", what);
    exit(1);
}

static size_t decode(const char *from, size_t count, unsigned char *to) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t written = 0;
    unsigned bits = 0, held = 0;
    for (size_t i = 0; i < count; i++) {
        const char *place = strchr(alphabet, from[i]);
        if (!place) fail("bad base64url");
        held = held << 6 | (unsigned)(place - alphabet);
        bits += 6;
        if (bits >= 8) to[written++] = (unsigned char)(held >> (bits -= 8));
    }
    return written;
}

// JOSE has the two halves side by side, OpenSSL wants DER (RFC 7518, section 3.4).
static void make_der(struct token *token) {
    ECDSA_SIG *pair = ECDSA_SIG_new();
    size_t half = token->signature_size / 2;
    ECDSA_SIG_set0(pair, BN_bin2bn(token->signature, (int)half, NULL),
                   BN_bin2bn(token->signature + half, (int)half, NULL));
    unsigned char *der = NULL;
    token->signature_size = (size_t)i2d_ECDSA_SIG(pair, &der);
    token->signature = der;
    ECDSA_SIG_free(pair);
}

static double cpu_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static EVP_PKEY *read_key(const char *path, int is_secret) {
    FILE *file = fopen(path, "r");
    if (!file) fail("no key file");
    EVP_PKEY *key = NULL;
    if (is_secret) {
        unsigned char secret[256];
        size_t size = fread(secret, 1, sizeof secret, file);
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, secret, size);
    } else {
        key = PEM_read_PUBKEY(file, NULL, NULL, NULL);
    }
    fclose(file);
    if (!key) fail("bad key");
    return key;
}

static void verify(EVP_MD_CTX *context, EVP_PKEY *key, const EVP_MD *digest, int is_secret,
                   const struct token *token) {
    if (is_secret) {
        unsigned char code[64];
        size_t size = sizeof code;
        if (EVP_DigestSignInit(context, NULL, digest, NULL, key) != 1 ||
            EVP_DigestSign(context, code, &size, token->text, token->text_size) != 1 ||
            size != token->signature_size || CRYPTO_memcmp(code, token->signature, size) != 0)
            fail("a code is wrong");
    } else if (EVP_DigestVerifyInit(context, NULL, digest, NULL, key) != 1 ||
               EVP_DigestVerify(context, token->signature, token->signature_size, token->text, token->text_size) != 1) {
        fail("a signature is wrong");
    }
    EVP_MD_CTX_reset(context);
}

int main(int argc, char **argv) {
    if (argc != 5) fail("verify_loop ALGORITHM KEYFILE TOKENFILE ROUNDS");
    int is_secret = strcmp(argv[1], "HS256") == 0, is_ec = strcmp(argv[1], "ES256") == 0;
    EVP_PKEY *key = read_key(argv[2], is_secret);
    EVP_MD *digest = strcmp(argv[1], "EdDSA") == 0 ? NULL : EVP_MD_fetch(NULL, "SHA256", NULL);
    static struct token tokens[4096];
    size_t count = 0;
    FILE *file = fopen(argv[3], "r");
    if (!file) fail("no token file");
    static char line[16384];
    while (count < 4096 && fscanf(file, "%16383s", line) == 1) {
        char *dot = strrchr(line, '.');
        if (!dot) fail("no token");
        struct token *token = &tokens[count++];
        token->text_size = (size_t)(dot - line);
        token->text = (unsigned char *)strndup(line, token->text_size);
        token->signature = malloc(strlen(dot));
        token->signature_size = decode(dot + 1, strlen(dot + 1), token->signature);
        if (is_ec) make_der(token);
    }
    if (count == 0) fail("no tokens");
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    for (size_t i = 0; i < count; i++) verify(context, key, digest, is_secret, &tokens[i]);
    int rounds = atoi(argv[4]);
    double start = cpu_seconds();
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++) verify(context, key, digest, is_secret, &tokens[i]);
    printf("%.3f\n", (cpu_seconds() - start) * 1e6 / ((double)count * rounds));
    return 0;
}
