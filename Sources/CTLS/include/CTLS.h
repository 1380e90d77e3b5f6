#pragma once
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

/* TLS on a socket that does not block: the macros, loops and call-backs of OpenSSL that Swift cannot write well.
   Nothing here keeps state but for one BIO method, made once. */

/* What a step came to, where it is no count of bytes. */
enum {
    USHER_TLS_ENDED = 0,        /* the peer has said that it sends nothing more (close_notify) */
    USHER_TLS_WANTS_INPUT = -1, /* bytes of the peer are needed */
    USHER_TLS_WANTS_ROOM = -2,  /* the socket takes no more for now */
    USHER_TLS_CUT = -3,         /* the connection ended without close_notify, or broke */
    USHER_TLS_FAILED = -4,      /* the peer breaks the protocol; the reason is in the queue of errors */
};

/* HTTP versions for ALPN (RFC 7301), and in which order they are preferred. */
enum { USHER_ALPN_NONE, USHER_ALPN_HTTP1, USHER_ALPN_H2, USHER_ALPN_H2_HTTP1, USHER_ALPN_HTTP1_H2 };

/* Contexts. What they have in common: TLS 1.2 and 1.3 by the intermediate profile, no compression, no
   renegotiation. NULL where memory is short. */
SSL_CTX *usher_tls_new_server_context(int minimum_is_13, int issues_tickets);
SSL_CTX *usher_tls_new_client_context(void);
/* Sessions are taken up again only where they began with the same scope (at most 32 bytes), and not after that time. */
int usher_tls_limit_sessions(SSL_CTX *context, const unsigned char *scope, unsigned count, long seconds);
void usher_tls_set_owner(SSL_CTX *context, void *owner);
void *usher_tls_owner(const SSL *session);
int usher_tls_set_protocols(SSL_CTX *context, int protocols, int is_server);
/* The first certificate is the server's (or client's) own, the others are its chain. */
int usher_tls_use_certificate(SSL_CTX *context, const STACK_OF(X509) *certificates, EVP_PKEY *key);
/* Demands (or, where it is optional, asks for) a certificate of one of these authorities; how many there are. */
int usher_tls_ask_clients(SSL_CTX *context, const void *pem, int count, int is_required);
/* The certificates of a PEM text; NULL where there are none, or memory is short. */
X509_STORE *usher_tls_new_store(const void *pem, int count);
void usher_tls_set_server_name_callback(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument);
void usher_tls_set_status_callback(SSL_CTX *context, int (*callback)(SSL *, void *));
int usher_tls_staple(SSL *session, const void *response, size_t count);
int usher_tls_use_ticket_key(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const unsigned char *cipher_key,
                             const unsigned char *mac_key, const unsigned char *iv, int encrypts);
void usher_tls_keep_sessions(SSL_CTX *context, int (*callback)(SSL *, SSL_SESSION *));

/* Sessions on a descriptor, which they do not own. NULL where memory is short, or the name is none. `early` was read
   from the socket before TLS began. */
SSL *usher_tls_accept(SSL_CTX *context, int descriptor, const void *early, size_t early_count);
SSL *usher_tls_connect(SSL_CTX *context, int descriptor, const char *server, int is_address);
int usher_tls_handshake(SSL *session);
long usher_tls_read(SSL *session, void *to, size_t room);
long usher_tls_write(SSL *session, const void *from, size_t count);
/* The descriptor has had an event: the kernel may have more, whatever the last read from it has found. */
void usher_tls_note_event(SSL *session);
/* True where a read may give something without a further event of the descriptor. */
int usher_tls_has_more(const SSL *session);
/* Says that nothing follows (close_notify). */
void usher_tls_close(SSL *session);
/* True where the failure is that the peer speaks HTTP without TLS. */
int usher_tls_failed_on_http(void);
int usher_tls_protocol_is_h2(const SSL *session);

/* Certificates. */
STACK_OF(X509) *usher_tls_read_certificates(const void *pem, int count);
int usher_tls_certificate_count(const STACK_OF(X509) *certificates);
X509 *usher_tls_certificate(const STACK_OF(X509) *certificates, int place);
void usher_tls_free_certificates(STACK_OF(X509) *certificates);
/* 1 for RSA, 2 for ECDSA, 3 for the rest. */
int usher_tls_key_kind(EVP_PKEY *key);
/* Seconds since 1970; -1 where the certificate does not say. */
int64_t usher_tls_not_before(const X509 *certificate);
int64_t usher_tls_not_after(const X509 *certificate);
/* The subject by RFC 4514, to be freed with usher_tls_free. */
char *usher_tls_subject(const X509 *certificate);
/* The alternative names, "DNS:a,URI:b" or, of host names alone, "a,b"; to be freed with usher_tls_free. NULL where one
   of them could be read in two ways, or memory is short. */
char *usher_tls_alternative_names(const X509 *certificate, int hosts_only);
void usher_tls_free(char *text);
int usher_tls_fingerprint(const X509 *certificate, unsigned char *sha256);
/* When a response of an OCSP responder ends to hold, in seconds since 1970; -1 where it is none, is no "good", or is
   not about this certificate. One that is out of date `now` may be about any: nobody is shown it. */
int64_t usher_tls_status_end(const void *response, size_t count, X509 *leaf, int64_t now);
