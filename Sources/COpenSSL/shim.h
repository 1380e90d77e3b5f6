#pragma once
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* What Swift cannot write well: parameter lists that keep pointers, variadic functions, pass-phrase prompts. */

/* Sets key and digest of an HMAC context. */
static inline int usher_hmac_init(EVP_MAC_CTX *context, const char *digest, const unsigned char *key, size_t count) {
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_init(context, key, count, parameters);
}

static inline EVP_PKEY *usher_public_key_from(const char *type, OSSL_PARAM *parameters) {
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (context == NULL || parameters == NULL || EVP_PKEY_fromdata_init(context) != 1
        || EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    return key;
}

/* An RSA public key from big-endian numbers. */
static inline EVP_PKEY *usher_rsa_public_key(
    const unsigned char *n, int n_count, const unsigned char *e, int e_count) {
    BIGNUM *modulus = BN_bin2bn(n, n_count, NULL), *exponent = BN_bin2bn(e, e_count, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM *parameters = NULL;
    EVP_PKEY *key = NULL;
    if (modulus != NULL && exponent != NULL && builder != NULL
        && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1
        && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1
        && (parameters = OSSL_PARAM_BLD_to_param(builder)) != NULL)
        key = usher_public_key_from("RSA", parameters);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

/* A public key on a named curve from an uncompressed point; OpenSSL checks that the point is on the curve. */
static inline EVP_PKEY *usher_ec_public_key(const char *group, const unsigned char *point, size_t count) {
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)point, count),
        OSSL_PARAM_construct_end(),
    };
    return usher_public_key_from("EC", parameters);
}

/* 1 where the point of an EC key is a valid one: in range, on the curve and not infinity. That it is of the right order, too, takes
   a whole multiplication; the curves that we take have the cofactor 1, so that every point on them is (SP 800-56A, 5.6.2.3.4). */
static inline int usher_check_public_key(EVP_PKEY *key) {
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    int result = context != NULL && EVP_PKEY_public_check_quick(context) == 1;
    EVP_PKEY_CTX_free(context);
    return result;
}

/* PEM without ever asking a terminal for a pass phrase: the empty one is tried. */
static inline EVP_PKEY *usher_read_public_key(const void *pem, int count) {
    BIO *input = BIO_new_mem_buf(pem, count);
    EVP_PKEY *key = input == NULL ? NULL : PEM_read_bio_PUBKEY(input, NULL, NULL, (void *)"");
    BIO_free(input);
    return key;
}

static inline EVP_PKEY *usher_read_private_key(const void *pem, int count) {
    BIO *input = BIO_new_mem_buf(pem, count);
    EVP_PKEY *key = input == NULL ? NULL : PEM_read_bio_PrivateKey(input, NULL, NULL, (void *)"");
    BIO_free(input);
    return key;
}

static inline EVP_PKEY *usher_generate_rsa_key(size_t bits) { return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits); }
static inline EVP_PKEY *usher_generate_ec_key(const char *group) { return EVP_PKEY_Q_keygen(NULL, NULL, "EC", group); }
static inline EVP_PKEY *usher_generate_ed25519_key(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }

/* TLS: macros and loops that Swift does not see. */

/* A client's context: verifies whom it talks to, TLS 1.2 or later, no renegotiation. NULL where memory is short. */
static inline SSL_CTX *usher_tls_client_context(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) return NULL;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

/* Adds the certificates of a PEM text to those that a context trusts; how many there were. */
static inline int usher_tls_trust(SSL_CTX *context, const void *pem, int count) {
    BIO *input = BIO_new_mem_buf(pem, count);
    if (input == NULL) return 0;
    int added = 0;
    X509 *certificate;
    while ((certificate = PEM_read_bio_X509_AUX(input, NULL, NULL, (void *)"")) != NULL) {
        added += X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1;
        X509_free(certificate);
    }
    BIO_free(input);
    ERR_clear_error();
    return added;
}

/* A client's session between two memory BIOs that demands this name, or this IP address, of the server. */
static inline SSL *usher_tls_client(SSL_CTX *context, const char *server, int is_address) {
    SSL *session = SSL_new(context);
    BIO *input = BIO_new(BIO_s_mem()), *output = BIO_new(BIO_s_mem());
    if (session == NULL || input == NULL || output == NULL) {
        BIO_free(input);
        BIO_free(output);
        SSL_free(session);
        return NULL;
    }
    BIO_set_mem_eof_return(input, -1);
    BIO_set_mem_eof_return(output, -1);
    SSL_set_bio(session, input, output);
    SSL_set_connect_state(session);
    X509_VERIFY_PARAM *rules = SSL_get0_param(session);
    /* Never the subject's CN (RFC 9525 6.3): it may be anybody's name, in a certificate that was not made for a server. */
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    int done = is_address ? X509_VERIFY_PARAM_set1_ip_asc(rules, server)
                          : X509_VERIFY_PARAM_set1_host(rules, server, 0) == 1 && SSL_set_tlsext_host_name(session, server) == 1;
    if (done != 1) {
        SSL_free(session);
        return NULL;
    }
    return session;
}
