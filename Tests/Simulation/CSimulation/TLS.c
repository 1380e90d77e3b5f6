#define OPENSSL_SUPPRESS_DEPRECATED
#include "TLS.h"
#include "CSimulation.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

enum { MOST_SESSIONS = 8 };

struct tls {
    SSL *ssl;
    bool established, over, has_ended, excused, speaks_http2, is_13;
    // A client's session is kept for the next one that wants the same: by port, protocol and version.
    SSL_SESSION **session;
    int updates;
    bool has_asked; // for a KeyUpdate of the other side, which has not come yet
    struct bytes waiting; // plaintext that waits for the handshake
};

static struct {
    SSL_CTX *server, *client;
    char certificate[2048], key[512];
    SSL_SESSION *sessions[MOST_SESSIONS];
    char fault[200];
    uint64_t counts[SIM_TLS_COUNTS];
} all;

// MARK: what all runs share

static int draw_bytes(unsigned char *bytes, int count) { return RAND_bytes(bytes, count); }
static int is_seeded(void) { return 1; }
static const RAND_METHOD seeded = {.bytes = draw_bytes, .pseudorand = draw_bytes, .status = is_seeded};

static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *count, const unsigned char *offered,
                           unsigned offered_count, void *argument) {
    (void)argument;
    const struct tls *tls = SSL_get_app_data(ssl);
    const unsigned char *wanted = (const unsigned char *)(tls->speaks_http2 ? "\x02h2" : "\x08http/1.1");
    unsigned char *found;
    if (SSL_select_next_proto(&found, count, wanted, wanted[0] + 1u, offered, offered_count) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

static void note_message(int is_written, int version, int type, const void *bytes, size_t count, SSL *ssl, void *argument) {
    (void)version, (void)argument;
    struct tls *tls = SSL_get_app_data(ssl);
    if (!is_written && type == SSL3_RT_HANDSHAKE && count && *(const uint8_t *)bytes == SSL3_MT_KEY_UPDATE)
        tls->has_asked = false;
}

// A certificate of its own authority: signatures of Ed25519 have all the same length.
static X509 *make_certificate(EVP_PKEY *key) {
    X509 *made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    ASN1_TIME_set_string_X509(X509_getm_notBefore(made), "20000101000000Z");
    ASN1_TIME_set_string_X509(X509_getm_notAfter(made), "21000101000000Z");
    X509_NAME *name = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"simulated", -1, -1, 0);
    X509_set_issuer_name(made, name);
    X509_set_pubkey(made, key);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:simulated.test");
    X509_add_ext(made, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(made, key, NULL);
    return made;
}

static void keep_text(BIO *bio, char *text, size_t room) {
    char *bytes;
    size_t count = (size_t)BIO_get_mem_data(bio, &bytes);
    if (count >= room) abort();
    memcpy(text, bytes, count);
    text[count] = 0;
    BIO_free(bio);
}

void sim_tls_prepare(void) {
    RAND_set_rand_method(&seeded);
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *certificate = make_certificate(key);
    BIO *text = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(text, certificate);
    keep_text(text, all.certificate, sizeof all.certificate);
    text = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(text, key, NULL, NULL, 0, NULL, NULL);
    keep_text(text, all.key, sizeof all.key);
    all.server = SSL_CTX_new(TLS_server_method());
    all.client = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_use_certificate(all.server, certificate) != 1 || SSL_CTX_use_PrivateKey(all.server, key) != 1) abort();
    SSL_CTX_set_session_cache_mode(all.server, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_cache_mode(all.client, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(all.server, choose_protocol, NULL);
    SSL_CTX_set_msg_callback(all.client, note_message);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(all.client), certificate);
    SSL_CTX_set_verify(all.client, SSL_VERIFY_PEER, NULL);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

const char *sim_tls_certificate(void) { return all.certificate; }
const char *sim_tls_key(void) { return all.key; }
const char *sim_tls_fault(void) { return all.fault[0] ? all.fault : NULL; }
uint64_t sim_tls_count(enum sim_tls_counter what) { return all.counts[what]; }

void tls_forget(void) {
    for (int place = 0; place < MOST_SESSIONS; place++) {
        SSL_SESSION_free(all.sessions[place]);
        all.sessions[place] = NULL;
    }
    all.fault[0] = 0;
}

// MARK: a connection

struct tls *tls_new(bool is_client, bool speaks_http2, uint16_t port) {
    struct tls *tls = calloc(1, sizeof *tls);
    tls->ssl = SSL_new(is_client ? all.client : all.server);
    tls->speaks_http2 = speaks_http2;
    SSL_set_app_data(tls->ssl, tls);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(tls->ssl, in, out);
    tls->is_13 = sim_below(4) > 0;
    SSL_set_max_proto_version(tls->ssl, tls->is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    // Records of all lengths, with and without padding (RFC 8446 §5.4).
    if (sim_below(3) == 0) SSL_set_max_send_fragment(tls->ssl, 512 + sim_below(15000));
    if (tls->is_13 && sim_below(4) == 0) SSL_set_block_padding(tls->ssl, 1 + sim_below(2000));
    if (!is_client) {
        SSL_set_accept_state(tls->ssl);
        SSL_set_num_tickets(tls->ssl, sim_below(4));
        return tls;
    }
    SSL_set_connect_state(tls->ssl);
    const unsigned char *offer = (const unsigned char *)(speaks_http2 ? "\x02h2" : "\x08http/1.1");
    if (speaks_http2 || sim_below(2)) SSL_set_alpn_protos(tls->ssl, offer, offer[0] + 1u);
    // The two listeners have neighbouring ports.
    tls->session = &all.sessions[(port & 1) << 2 | speaks_http2 << 1 | tls->is_13];
    if (*tls->session && sim_below(2)) SSL_set_session(tls->ssl, *tls->session);
    return tls;
}

void tls_free(struct tls *tls) {
    if (!tls) return;
    if (tls->session && tls->established && SSL_SESSION_is_resumable(SSL_get0_session(tls->ssl))) {
        SSL_SESSION_free(*tls->session);
        *tls->session = SSL_get1_session(tls->ssl);
    }
    // As in Sources/TLS: without it the session would not be taken up again.
    SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    free(tls->waiting.memory);
    free(tls);
}

void tls_mute(struct tls *tls) { tls->has_ended = true; }

void tls_excuse(struct tls *tls) { tls->excused = true; }

static void note_fault(struct tls *tls, const char *when) {
    tls->over = true;
    if (!tls->excused && !all.fault[0])
        snprintf(all.fault, sizeof all.fault, "TLS broke %s: %s", when, ERR_reason_error_string(ERR_peek_error()) ?: "?");
    ERR_clear_error();
}

static void collect_wire(struct tls *tls, struct bytes *wire) {
    char *bytes;
    BIO *out = SSL_get_wbio(tls->ssl);
    long count = BIO_get_mem_data(out, &bytes);
    append(wire, bytes, (size_t)count);
    (void)BIO_reset(out);
}

static void update_keys(struct tls *tls) {
    // OpenSSL 3.0 gives a session up (bad length) that is asked again while its answer waits behind a record that the
    // socket has not taken whole.
    if (!tls->is_13 || tls->has_asked || tls->updates == 8 || sim_below(16) > 0) return;
    tls->updates++;
    // A server that has said all and leaves does not wait for the answer, which would bring a reset.
    bool asks = !SSL_is_server(tls->ssl) && sim_below(2);
    tls->has_asked = asks;
    if (SSL_key_update(tls->ssl, asks ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
        all.counts[SIM_TLS_UPDATES]++;
}

static void encrypt(struct tls *tls, const uint8_t *bytes, size_t count) {
    update_keys(tls);
    if (SSL_is_server(tls->ssl) && tls->is_13 && sim_below(32) == 0) SSL_new_session_ticket(tls->ssl);
    // Small records are few: OpenSSL has a limit for empty ones only, but the process has one for how much a read costs.
    for (int small = sim_below(3) == 0 ? (int)sim_below(24) : 0; count;) {
        size_t part = count;
        if (small-- > 0) part = 1 + sim_below(count < 400 ? (uint32_t)count : 400);
        ERR_clear_error();
        if (SSL_write(tls->ssl, bytes, (int)part) != (int)part) return note_fault(tls, "in writing");
        all.counts[SIM_TLS_WRITES]++;
        bytes += part;
        count -= part;
    }
}

void tls_say(struct tls *tls, const void *bytes, size_t count, struct bytes *wire) {
    if (tls->over || tls->has_ended || !count) return;
    if (!tls->established) return append(&tls->waiting, bytes, count);
    encrypt(tls, bytes, count);
    collect_wire(tls, wire);
}

static void shake_hands(struct tls *tls) {
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result != 1) {
        if (SSL_get_error(tls->ssl, result) != SSL_ERROR_WANT_READ) note_fault(tls, "in the handshake");
        return;
    }
    tls->established = true;
    all.counts[SIM_TLS_HANDSHAKES]++;
    if (SSL_session_reused(tls->ssl)) all.counts[SIM_TLS_RESUMPTIONS]++;
    if (tls->waiting.count) encrypt(tls, tls->waiting.memory + tls->waiting.start, tls->waiting.count);
    empty(&tls->waiting);
}

void tls_take(struct tls *tls, const void *bytes, size_t count, struct bytes *plain, struct bytes *wire) {
    static uint8_t room[16384];
    if (tls->over) return;
    if (count) BIO_write(SSL_get_rbio(tls->ssl), bytes, (int)count);
    if (!tls->established) shake_hands(tls);
    while (tls->established && !tls->over) {
        ERR_clear_error();
        int result = SSL_read(tls->ssl, room, sizeof room);
        if (result > 0) {
            append(plain, room, (size_t)result);
            continue;
        }
        int error = SSL_get_error(tls->ssl, result);
        if (error == SSL_ERROR_ZERO_RETURN) break;
        if (error != SSL_ERROR_WANT_READ) note_fault(tls, "in reading");
        break;
    }
    collect_wire(tls, wire);
}

void tls_end(struct tls *tls, struct bytes *wire) {
    // An end in the middle of a handshake is answered with an alert.
    if (!tls->established) tls->excused = true;
    if (!tls->established || tls->over || tls->has_ended) return;
    tls->has_ended = true;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
    collect_wire(tls, wire);
}
