#pragma once
// The peers' side of TLS: OpenSSL on memory alone. What the process's side is given and gives is ciphertext.
#include "Bytes.h"

#include <stdbool.h>

struct tls;

// A run begins: no session is known that could be taken up again.
void tls_forget(void);
struct tls *tls_new(bool is_client, bool speaks_http2, uint16_t port);
void tls_free(struct tls *tls);
// Ciphertext has come. What comes of it is behind `plain`, and what is to be sent behind `wire`.
void tls_take(struct tls *tls, const void *bytes, size_t count, struct bytes *plain, struct bytes *wire);
// Plaintext is to be sent: in one record or in many, padded or not, as chance has it; once both sides have agreed.
void tls_say(struct tls *tls, const void *bytes, size_t count, struct bytes *wire);
// Nothing follows (close_notify).
void tls_end(struct tls *tls, struct bytes *wire);
// It will not say so.
void tls_mute(struct tls *tls);
// From now on the other side may complain.
void tls_excuse(struct tls *tls);
