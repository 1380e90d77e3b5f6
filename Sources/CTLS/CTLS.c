#include "CTLS.h"
#include <CLinux.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The wire: a BIO on a socket. Unlike OpenSSL's own it never raises SIGPIPE, and it remembers whether the kernel has
   more, which saves a system call for every request. */

struct wire {
    int descriptor;
    int is_drained; /* a read gave less than there was room for, and no event came since: the kernel's queue is empty */
    int has_ended;  /* end of stream, or the connection is broken */
    /* What was read before TLS began: the bytes behind a PROXY header. */
    unsigned char *early;
    size_t early_count, early_taken;
    /* Of the peer's messages behind the handshake: how many more it may send now, and when that was reckoned. */
    int is_established, messages_left, has_flooded;
    long reckoned_second;
    /* What has come of the peer's handshake, and in the call that is under way, in bytes of the socket. */
    size_t handshake_count, call_count;
};

/* So many at once, and one a second: KeyUpdate comes every some million records, tickets come two or four at a time.
   Each costs more than it costs the peer, and OpenSSL reads on behind it, for ever where they do not end. */
enum { MESSAGES_AT_ONCE = 32 };

/* The longest handshake: what OpenSSL takes of a ClientHello and of certificates is 231 KiB. Cut into records of one byte,
   with empty ones between, the same is 21 MB, which it goes through in one step of two seconds. */
enum { HANDSHAKE_BYTES = 262144 };

static int take_early(struct wire *wire, char *to, int room) {
    size_t count = wire->early_count - wire->early_taken;
    if (count > (size_t)room) count = (size_t)room;
    memcpy(to, wire->early + wire->early_taken, count);
    wire->early_taken += count;
    if (wire->early_taken == wire->early_count) {
        free(wire->early);
        wire->early = NULL;
    }
    return (int)count;
}

static int wire_read(BIO *bio, char *to, int room) {
    struct wire *wire = BIO_get_data(bio);
    ssize_t count;
    BIO_clear_retry_flags(bio);
    if (wire->early != NULL) return take_early(wire, to, room);
    do count = linux_receive(wire->descriptor, to, (size_t)room);
    while (count == -EINTR);
    if (count > 0) {
        wire->is_drained = count < room;
        wire->call_count += (size_t)count;
        if (!wire->is_established && (wire->handshake_count += (size_t)count) > HANDSHAKE_BYTES) {
            wire->has_flooded = 1;
            return -1;
        }
        return (int)count;
    }
    if (count == -EAGAIN) {
        wire->is_drained = 1;
        BIO_set_retry_read(bio);
        return -1;
    }
    wire->is_drained = 0;
    wire->has_ended = 1;
    return count == 0 ? 0 : -1;
}

static int wire_write(BIO *bio, const char *from, int count) {
    struct wire *wire = BIO_get_data(bio);
    ssize_t sent;
    BIO_clear_retry_flags(bio);
    do sent = linux_send(wire->descriptor, from, (size_t)count);
    while (sent == -EINTR);
    if (sent >= 0) return (int)sent;
    if (sent == -EAGAIN) BIO_set_retry_write(bio);
    else wire->has_ended = 1;
    return -1;
}

static long wire_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return ((struct wire *)BIO_get_data(bio))->has_ended;
    return 0;
}

static int wire_destroy(BIO *bio) {
    struct wire *wire = BIO_get_data(bio);
    if (wire != NULL) free(wire->early);
    free(wire);
    BIO_set_data(bio, NULL);
    return 1;
}

static BIO_METHOD *wire_method;
static pthread_once_t wire_method_once = PTHREAD_ONCE_INIT;

static void make_wire_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "usher");
    if (method == NULL) return;
    BIO_meth_set_read(method, wire_read);
    BIO_meth_set_write(method, wire_write);
    BIO_meth_set_ctrl(method, wire_control);
    BIO_meth_set_destroy(method, wire_destroy);
    wire_method = method;
}

static BIO *new_wire(int descriptor) {
    pthread_once(&wire_method_once, make_wire_method);
    if (wire_method == NULL) return NULL;
    BIO *bio = BIO_new(wire_method);
    struct wire *wire = calloc(1, sizeof *wire);
    if (bio == NULL || wire == NULL) {
        free(wire);
        BIO_free(bio);
        return NULL;
    }
    wire->descriptor = descriptor;
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    return bio;
}

static struct wire *wire_of(const SSL *session) { return BIO_get_data(SSL_get_rbio(session)); }

/* A handshake message behind the handshake; too many of them end what is read from the peer. */
static void note_late_message(SSL *session, struct wire *wire) {
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    long left = wire->messages_left + (now.tv_sec - wire->reckoned_second);
    wire->reckoned_second = now.tv_sec;
    wire->messages_left = (int)(left > MESSAGES_AT_ONCE ? MESSAGES_AT_ONCE : left) - 1;
    if (wire->messages_left >= 0) return;
    wire->messages_left = 0;
    wire->has_flooded = 1;
    SSL_set_shutdown(session, SSL_get_shutdown(session) | SSL_RECEIVED_SHUTDOWN);
}

static void on_message(int is_written, int version, int type, const void *bytes, size_t count, SSL *session,
                       void *argument) {
    (void)version, (void)bytes, (void)count, (void)argument;
    if (is_written || type != SSL3_RT_HANDSHAKE) return;
    struct wire *wire = wire_of(session);
    if (wire->is_established) note_late_message(session, wire);
}

/* Contexts */

/* Mozilla's intermediate profile without finite-field Diffie-Hellman: what speaks TLS 1.2 without elliptic curves
   today is not a browser of the last ten years. */
static const char *const ciphers_12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

static SSL_CTX *new_context(const SSL_METHOD *method) {
    SSL_CTX *context = SSL_CTX_new(method);
    if (context == NULL) return NULL;
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1
        || SSL_CTX_set_cipher_list(context, ciphers_12) != 1
        || SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                  | SSL_MODE_RELEASE_BUFFERS);
    /* One system call reads a whole record and what is behind it, instead of two for each. */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_msg_callback(context, on_message);
    return context;
}

SSL_CTX *usher_tls_new_server_context(int minimum_is_13, int issues_tickets) {
    SSL_CTX *context = new_context(TLS_server_method());
    if (context == NULL) return NULL;
    if (minimum_is_13) SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    /* Sessions live in tickets alone: nothing to share between workers but the keys. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (issues_tickets) {
        SSL_CTX_set_num_tickets(context, 1);
    } else {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(context, 0);
    }
    return context;
}

SSL_CTX *usher_tls_new_client_context(void) {
    SSL_CTX *context = new_context(TLS_client_method());
    if (context != NULL) SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return context;
}

int usher_tls_limit_sessions(SSL_CTX *context, const unsigned char *scope, unsigned count, long seconds) {
    SSL_CTX_set_timeout(context, seconds);
    return SSL_CTX_set_session_id_context(context, scope, count) == 1;
}

void usher_tls_set_owner(SSL_CTX *context, void *owner) { SSL_CTX_set_app_data(context, owner); }
void *usher_tls_owner(const SSL *session) { return SSL_CTX_get_app_data(SSL_get_SSL_CTX(session)); }

static const unsigned char *protocol_list(int protocols, unsigned *count) {
    static const unsigned char both[] = "\x02h2\x08http/1.1", reversed[] = "\x08http/1.1\x02h2";
    switch (protocols) {
    case USHER_ALPN_HTTP1: *count = 9; return both + 3;
    case USHER_ALPN_H2: *count = 3; return both;
    case USHER_ALPN_H2_HTTP1: *count = 12; return both;
    case USHER_ALPN_HTTP1_H2: *count = 12; return reversed;
    default: *count = 0; return both;
    }
}

static int select_protocol(SSL *session, const unsigned char **chosen, unsigned char *chosen_count,
                           const unsigned char *offered, unsigned offered_count, void *argument) {
    (void)session;
    unsigned count;
    const unsigned char *list = protocol_list((int)(intptr_t)argument, &count);
    unsigned char *found;
    if (SSL_select_next_proto(&found, chosen_count, list, count, offered, offered_count) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

int usher_tls_set_protocols(SSL_CTX *context, int protocols, int is_server) {
    if (protocols == USHER_ALPN_NONE) return 1;
    if (is_server) {
        SSL_CTX_set_alpn_select_cb(context, select_protocol, (void *)(intptr_t)protocols);
        return 1;
    }
    unsigned count;
    const unsigned char *list = protocol_list(protocols, &count);
    return SSL_CTX_set_alpn_protos(context, list, count) == 0;
}

int usher_tls_use_certificate(SSL_CTX *context, const STACK_OF(X509) *certificates, EVP_PKEY *key) {
    STACK_OF(X509) *chain = sk_X509_dup(certificates);
    if (chain == NULL) return 0;
    X509 *leaf = sk_X509_shift(chain);
    int done = SSL_CTX_use_cert_and_key(context, leaf, key, chain, 1) == 1;
    sk_X509_free(chain);
    return done;
}

X509_STORE *usher_tls_new_store(const void *pem, int count) {
    STACK_OF(X509) *certificates = usher_tls_read_certificates(pem, count);
    X509_STORE *store = X509_STORE_new();
    int added = 0;
    for (int place = 0; store != NULL && place < sk_X509_num(certificates); place++)
        added += X509_STORE_add_cert(store, sk_X509_value(certificates, place)) == 1;
    usher_tls_free_certificates(certificates);
    if (added > 0) return store;
    X509_STORE_free(store);
    return NULL;
}

int usher_tls_ask_clients(SSL_CTX *context, const void *pem, int count, int is_required) {
    STACK_OF(X509) *certificates = usher_tls_read_certificates(pem, count);
    int added = 0;
    for (int place = 0; place < sk_X509_num(certificates); place++) {
        X509 *certificate = sk_X509_value(certificates, place);
        added += X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1
            && SSL_CTX_add_client_CA(context, certificate) == 1;
    }
    usher_tls_free_certificates(certificates);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (is_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    return added;
}

void usher_tls_set_server_name_callback(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument) {
    SSL_CTX_set_tlsext_servername_callback(context, callback);
    SSL_CTX_set_tlsext_servername_arg(context, argument);
}

void usher_tls_set_status_callback(SSL_CTX *context, int (*callback)(SSL *, void *)) {
    SSL_CTX_set_tlsext_status_cb(context, callback);
}

int usher_tls_staple(SSL *session, const void *response, size_t count) {
    /* OpenSSL frees the copy with the session. */
    unsigned char *copy = OPENSSL_memdup(response, count);
    if (copy == NULL) return 0;
    if (SSL_set_tlsext_status_ocsp_resp(session, copy, (long)count) == 1) return 1;
    OPENSSL_free(copy);
    return 0;
}

int usher_tls_use_ticket_key(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const unsigned char *cipher_key,
                             const unsigned char *mac_key, const unsigned char *iv, int encrypts) {
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)mac_key, 32),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1
        && EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, cipher_key, iv, encrypts) == 1;
}

void usher_tls_keep_sessions(SSL_CTX *context, int (*callback)(SSL *, SSL_SESSION *)) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, callback);
}

/* Sessions */

static SSL *new_session(SSL_CTX *context, int descriptor) {
    ERR_clear_error();
    SSL *session = SSL_new(context);
    BIO *wire = new_wire(descriptor);
    if (session == NULL || wire == NULL) {
        BIO_free(wire);
        SSL_free(session);
        return NULL;
    }
    SSL_set_bio(session, wire, wire);
    return session;
}

static int receive_early(SSL *session, const void *bytes, size_t count) {
    struct wire *wire = wire_of(session);
    wire->early = malloc(count);
    if (wire->early == NULL) return 0;
    memcpy(wire->early, bytes, count);
    wire->early_count = count;
    return 1;
}

SSL *usher_tls_accept(SSL_CTX *context, int descriptor, const void *early, size_t early_count) {
    SSL *session = new_session(context, descriptor);
    if (session == NULL) return NULL;
    SSL_set_accept_state(session);
    if (early_count == 0 || receive_early(session, early, early_count)) return session;
    SSL_free(session);
    return NULL;
}

SSL *usher_tls_connect(SSL_CTX *context, int descriptor, const char *server, int is_address) {
    SSL *session = new_session(context, descriptor);
    if (session == NULL) return NULL;
    SSL_set_connect_state(session);
    X509_VERIFY_PARAM *rules = SSL_get0_param(session);
    /* Never the subject's CN (RFC 9525 6.3): it may be anybody's name, in a certificate that was not made for a server. */
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    int done = is_address ? X509_VERIFY_PARAM_set1_ip_asc(rules, server) == 1
                          : X509_VERIFY_PARAM_set1_host(rules, server, 0) == 1
                                && SSL_set_tlsext_host_name(session, server) == 1;
    if (done) return session;
    SSL_free(session);
    ERR_clear_error();
    return NULL;
}

static long outcome(const SSL *session, int result) {
    /* Not the end that the peer announces: what came before it may be half of something. */
    if (wire_of(session)->has_flooded) return USHER_TLS_FAILED;
    switch (SSL_get_error(session, result)) {
    case SSL_ERROR_WANT_READ: return USHER_TLS_WANTS_INPUT;
    case SSL_ERROR_WANT_WRITE: return USHER_TLS_WANTS_ROOM;
    case SSL_ERROR_ZERO_RETURN: return USHER_TLS_ENDED;
    default: return wire_of(session)->has_ended ? USHER_TLS_CUT : USHER_TLS_FAILED;
    }
}

int usher_tls_handshake(SSL *session) {
    ERR_clear_error();
    int result = SSL_do_handshake(session);
    if (result != 1) return (int)outcome(session, result);
    wire_of(session)->is_established = 1;
    wire_of(session)->messages_left = MESSAGES_AT_ONCE;
    return 1;
}

/* Reads as much from the socket as the room would take of a peer that fills its records, and no more: of one that does
   not, a room of 64 KiB takes 45 MB, and two seconds. */
long usher_tls_read(SSL *session, void *to, size_t room) {
    size_t total = 0;
    struct wire *wire = wire_of(session);
    wire->call_count = 0;
    for (;;) {
        size_t count = 0;
        ERR_clear_error();
        int result = SSL_read_ex(session, (char *)to + total, room - total, &count);
        if (result != 1) return total > 0 ? (long)total : outcome(session, result);
        total += count;
        if (total == room || wire->call_count > room || !SSL_has_pending(session)) return (long)total;
    }
}

long usher_tls_write(SSL *session, const void *from, size_t count) {
    size_t total = 0;
    while (total < count) {
        size_t sent = 0;
        ERR_clear_error();
        int result = SSL_write_ex(session, (const char *)from + total, count - total, &sent);
        if (result != 1) return total > 0 ? (long)total : outcome(session, result);
        total += sent;
    }
    return (long)total;
}

void usher_tls_note_event(SSL *session) {
    wire_of(session)->is_drained = 0;
}

int usher_tls_has_more(const SSL *session) {
    return !wire_of(session)->is_drained || SSL_has_pending(session)
        || (SSL_get_shutdown(session) & SSL_RECEIVED_SHUTDOWN) != 0;
}

void usher_tls_close(SSL *session) {
    if (!SSL_is_init_finished(session)) return;
    ERR_clear_error();
    (void)SSL_shutdown(session);
    ERR_clear_error();
}

int usher_tls_failed_on_http(void) {
    unsigned long code = ERR_peek_error();
    return ERR_GET_LIB(code) == ERR_LIB_SSL
        && (ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST || ERR_GET_REASON(code) == SSL_R_HTTPS_PROXY_REQUEST);
}

int usher_tls_protocol_is_h2(const SSL *session) {
    const unsigned char *name = NULL;
    unsigned count = 0;
    SSL_get0_alpn_selected(session, &name, &count);
    return count == 2 && memcmp(name, "h2", 2) == 0;
}

/* Certificates */

STACK_OF(X509) *usher_tls_read_certificates(const void *pem, int count) {
    STACK_OF(X509) *certificates = sk_X509_new_null();
    BIO *input = BIO_new_mem_buf(pem, count);
    X509 *certificate;
    while (certificates != NULL && input != NULL
           && (certificate = PEM_read_bio_X509_AUX(input, NULL, NULL, (void *)"")) != NULL)
        if (sk_X509_push(certificates, certificate) == 0) X509_free(certificate);
    BIO_free(input);
    ERR_clear_error();
    return certificates;
}

int usher_tls_certificate_count(const STACK_OF(X509) *certificates) {
    int count = sk_X509_num(certificates);
    return count < 0 ? 0 : count;
}

X509 *usher_tls_certificate(const STACK_OF(X509) *certificates, int place) {
    return sk_X509_value(certificates, place);
}

void usher_tls_free_certificates(STACK_OF(X509) *certificates) { sk_X509_pop_free(certificates, X509_free); }

int usher_tls_key_kind(EVP_PKEY *key) {
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA: return 1;
    case EVP_PKEY_EC: return 2;
    default: return 3;
    }
}

static int64_t seconds(const ASN1_TIME *time) {
    struct tm parts;
    if (time == NULL || ASN1_TIME_to_tm(time, &parts) != 1) return -1;
    return (int64_t)timegm(&parts);
}

int64_t usher_tls_not_before(const X509 *certificate) { return seconds(X509_get0_notBefore(certificate)); }
int64_t usher_tls_not_after(const X509 *certificate) { return seconds(X509_get0_notAfter(certificate)); }

/* What a memory BIO holds, as a text with a zero behind it. */
static char *taken(BIO *bio) {
    char *bytes = NULL, *text = NULL;
    long count = BIO_get_mem_data(bio, &bytes);
    if (count >= 0 && (text = malloc((size_t)count + 1)) != NULL) {
        if (count > 0) memcpy(text, bytes, (size_t)count);
        text[count] = 0;
    }
    BIO_free(bio);
    return text;
}

char *usher_tls_subject(const X509 *certificate) {
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL) return NULL;
    X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
    return taken(bio);
}

/* Writes one name with its kind; 0 where it has a byte that could end it, or hide what follows (rule F8). */
static int write_name(BIO *bio, const char *kind, const ASN1_STRING *name, int hosts_only) {
    const unsigned char *bytes = ASN1_STRING_get0_data(name);
    int count = ASN1_STRING_length(name);
    if (count <= 0) return 0;
    for (int place = 0; place < count; place++)
        if (bytes[place] <= 0x20 || bytes[place] >= 0x7f || bytes[place] == ',') return 0;
    char *before = NULL;
    if (BIO_get_mem_data(bio, &before) > 0) BIO_write(bio, ",", 1);
    if (!hosts_only) BIO_puts(bio, kind);
    return BIO_write(bio, bytes, count) == count;
}

static int write_address(BIO *bio, const ASN1_STRING *address) {
    char *before = NULL;
    if (BIO_get_mem_data(bio, &before) > 0) BIO_write(bio, ",", 1);
    BIO_puts(bio, "IP:");
    const unsigned char *bytes = ASN1_STRING_get0_data(address);
    int count = ASN1_STRING_length(address), fits = count == 4 || count == 16;
    for (int place = 0; fits && place < count; place++) {
        if (count == 4) BIO_printf(bio, place == 0 ? "%d" : ".%d", bytes[place]);
        else if (place % 2 == 0) BIO_printf(bio, place == 0 ? "%x" : ":%x", bytes[place] << 8 | bytes[place + 1]);
    }
    return fits;
}

char *usher_tls_alternative_names(const X509 *certificate, int hosts_only) {
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    int fits = bio != NULL;
    for (int place = 0; fits && place < sk_GENERAL_NAME_num(names); place++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, place);
        if (name->type == GEN_DNS) fits = write_name(bio, "DNS:", name->d.dNSName, hosts_only);
        else if (hosts_only) continue;
        else if (name->type == GEN_URI) fits = write_name(bio, "URI:", name->d.uniformResourceIdentifier, 0);
        else if (name->type == GEN_EMAIL) fits = write_name(bio, "email:", name->d.rfc822Name, 0);
        else if (name->type == GEN_IPADD) fits = write_address(bio, name->d.iPAddress);
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    if (fits) return taken(bio);
    BIO_free(bio);
    return NULL;
}

void usher_tls_free(char *text) { free(text); }

int usher_tls_fingerprint(const X509 *certificate, unsigned char *sha256) {
    unsigned count = 0;
    return X509_digest(certificate, EVP_sha256(), sha256, &count) == 1 && count == 32;
}

int64_t usher_tls_status_end(const void *response, size_t count, X509 *leaf, int64_t now) {
    const unsigned char *bytes = response;
    OCSP_RESPONSE *parsed = d2i_OCSP_RESPONSE(NULL, &bytes, (long)count);
    OCSP_BASICRESP *basic = NULL;
    int64_t end = -1, end_of_others = -1;
    int is_about_leaf = 0;
    if (parsed != NULL && OCSP_response_status(parsed) == OCSP_RESPONSE_STATUS_SUCCESSFUL
        && (basic = OCSP_response_get1_basic(parsed)) != NULL) {
        for (int place = 0; place < OCSP_resp_count(basic); place++) {
            OCSP_SINGLERESP *single = OCSP_resp_get0(basic, place);
            const OCSP_CERTID *about = OCSP_SINGLERESP_get0_id(single);
            ASN1_INTEGER *serial = NULL;
            OCSP_id_get0_info(NULL, NULL, NULL, &serial, (OCSP_CERTID *)about);
            ASN1_GENERALIZEDTIME *next = NULL;
            int status = OCSP_single_get0_status(single, NULL, NULL, NULL, &next);
            int64_t until = next == NULL ? INT64_MAX : seconds(next);
            if (serial == NULL || ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) != 0) {
                if (until > end_of_others) end_of_others = until;
                continue;
            }
            is_about_leaf = 1;
            if (status == V_OCSP_CERTSTATUS_GOOD) end = until;
        }
    }
    if (!is_about_leaf && end_of_others <= now) end = end_of_others;
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(parsed);
    ERR_clear_error();
    return end;
}
