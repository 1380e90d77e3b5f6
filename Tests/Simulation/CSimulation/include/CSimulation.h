#pragma once
// A kernel of sockets, epoll and clocks that exists in memory alone, under the calls of CLinux. Everything that it may
// decide it decides by one generator: a seed is a run.
//
// Descriptors from SIM_FIRST on are of this kernel; all others are left to the real one.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_FIRST (1 << 20)

// How often the kernel fails where it may, in 1/1024 of the calls.
struct sim_faults {
    uint32_t accept_exhausted;
    uint32_t accept_aborted;
    uint32_t socket_exhausted;
    uint32_t connect_unreachable;
    uint32_t watch_exhausted;
    uint32_t interrupted;
    uint32_t stopped;     // the process stands still for up to a minute
    uint32_t clock_steps; // the time of day jumps
    uint32_t wire;        // of connections: the wire to a peer that speaks TLS fails; such a peer leaves without a word
};

// Begins a run; `step` lets the peers act and gives the time of the next thing they mean to do, INT64_MAX for none.
void sim_begin(uint64_t seed, struct sim_faults faults, int64_t (*step)(int64_t now));
// Ends it; the number of descriptors that are still open.
int sim_end(void);
int64_t sim_now(void);
// The connections of clients that the process holds, at one port.
int sim_held(uint16_t port);
// The connections that the process has to a port, or is opening.
int sim_connections_to(uint16_t port);
// Waits until somebody is to be told something, or to the deadline: for several workers, who each ask without waiting.
void sim_wait_for_any(int64_t deadline);
uint64_t sim_random(void);
uint32_t sim_below(uint32_t bound);
// True once in `of` times 1024 or so.
bool sim_chance(uint32_t of_1024);
// Set where the worker waits for something that will never come.
bool sim_is_stuck(void);
// The number of system calls so far.
uint64_t sim_calls(void);
// What has been read and written so far, when and how much of it: the same in each run of a seed.
uint64_t sim_digest(void);

// From now on a trap names its seed before it ends the process.
void sim_name_seed_at_crash(void);

// Whether everything that happens is written to the standard error: to look at one seed.
void sim_trace(bool is_on);
// Writes a line among the others, where they are written.
void sim_say(const char *text);

int sim_listener(uint16_t port);
// A further descriptor of the same listener: who has it accepts from the same queue.
int sim_listener_again(int fd);
// A client's connection to a listener: its number, or -1 where nobody listens.
int sim_connect(uint16_t port);
// The next connection that the process has begun, or -1.
int sim_next_outgoing(uint16_t *port);
// The process's connect has come to that end: 0, or an errno.
void sim_finish_connect(int stream, int error);

// Before TLS begins, where it `is_secured`, what a proxy in front says comes to the process.
void sim_peer_greet(int stream, const uint8_t *bytes, size_t count, bool is_secured);
// From its first byte on the peer speaks TLS. What it writes then comes to the process in bits, cut at any place.
void sim_peer_secure(int stream, bool is_client, bool speaks_http2);

// What a peer does with its end of a connection.
void sim_peer_write(int stream, const uint8_t *bytes, size_t count);
size_t sim_peer_read(int stream, uint8_t *bytes, size_t capacity);
size_t sim_peer_available(int stream);
void sim_peer_finish(int stream);
void sim_peer_reset(int stream);
// With TLS: the end will come without a word (close_notify).
void sim_peer_mute(int stream);
// The peer has nothing to do with it any more: its end is closed.
void sim_peer_release(int stream);
// True where the process has closed or shut its end, and all that it wrote was read.
bool sim_peer_sees_end(int stream);
// True where the process has closed its end without having read all, or it was never accepted.
bool sim_peer_sees_reset(int stream);
bool sim_is_closed_by_process(int stream);

// Before the first run: what all peers that speak TLS have in common.
void sim_tls_prepare(void);
// The certificate of their servers, for simulated.test, which is its own authority, and its key, as PEM.
const char *sim_tls_certificate(void);
const char *sim_tls_key(void);
// What a peer has found to be wrong in this run, or NULL: what came is no TLS, or an alert that it has not deserved.
const char *sim_tls_fault(void);
// What there was of it in all runs.
enum sim_tls_counter { SIM_TLS_HANDSHAKES, SIM_TLS_RESUMPTIONS, SIM_TLS_UPDATES, SIM_TLS_WRITES, SIM_TLS_COUNTS };
uint64_t sim_tls_count(enum sim_tls_counter what);
