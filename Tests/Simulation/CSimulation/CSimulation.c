#define _GNU_SOURCE
#include "CSimulation.h"
#include "TLS.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 512, QUEUE = 64 };
enum kind { FREE, EPOLL, EVENT, LISTENER, STREAM };
enum wire_fault { RESET, FINISH, STAND_STILL, GARBLE, WIRE_FAULTS };

struct object {
    enum kind kind;
    int fd; // -1: the process has none, or none any more
    // epoll: who watches it, by its descriptor
    int watcher;
    bool watched, pending;
    uint32_t interest;
    uint64_t token;
    // event
    uint64_t counter;
    // listener, and the port of a stream
    uint16_t port;
    int waiting[QUEUE], waiting_count;
    int queue;   // the object whose queue this descriptor of a listener accepts from
    int sharing; // how many descriptors that queue has
    // stream: `in` goes to the process, `out` comes from it
    struct bytes in, out;
    size_t room;
    bool refuses_more; // the last send found no room
    bool outgoing, connecting, announced;
    int error;
    bool in_finished, out_finished, is_reset, released, closed, closed_unread;
    // a stream whose peer speaks TLS: `plain` is what the peer has decrypted, and `flight` comes to `in` bit by bit
    struct tls *tls;
    bool spoke_tls;
    struct bytes plain, flight;
    int64_t due;       // when the next bit comes
    bool finishes;     // the end of the stream comes behind it
    bool stands_still; // nothing comes any more
    size_t before_fault;
    enum wire_fault wire_fault;
};

static struct {
    bool runs, stuck, traces;
    uint64_t seed, state, calls, digest;
    uint64_t secrets; // state of the generator behind getrandom and RAND_bytes
    int64_t now, wall_offset;
    struct sim_faults faults;
    int64_t (*step)(int64_t);
    struct object objects[MOST];
    int used; // objects that were ever in use
    int of_descriptor[MOST];
} sim;

// MARK: the real kernel

static long real(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    register long d_ __asm__("r10") = d, e_ __asm__("r8") = e, f_ __asm__("r9") = f;
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(d_), "r"(e_), "r"(f_) : "rcx", "r11", "memory");
    long result = number;
#else
    register long n_ __asm__("x8") = number, a_ __asm__("x0") = a, b_ __asm__("x1") = b, c_ __asm__("x2") = c,
                  d_ __asm__("x3") = d, e_ __asm__("x4") = e, f_ __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(a_) : "r"(n_), "r"(b_), "r"(c_), "r"(d_), "r"(e_), "r"(f_) : "memory");
    long result = a_;
#endif
    if (result < 0 && result > -4096) { errno = (int)-result; return -1; }
    return result;
}
#define REAL(number, a, b, c, d, e, f) \
    real(SYS_##number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

void sim_trace(bool is_on) { sim.traces = is_on; }

// What of a text fits into a line, with line ends as `|`.
__attribute__((noinline)) static void write_line(const char *what, int stream, long result, const void *bytes) {
    char text[600], excerpt[500] = "";
    for (long index = 0; bytes && index < result && index < 499; index++) {
        uint8_t byte = ((const uint8_t *)bytes)[index];
        excerpt[index] = byte == '\n' ? '|' : byte < 32 || byte > 126 ? '.' : (char)byte;
        excerpt[index + 1] = 0;
    }
    int count = snprintf(text, sizeof text, "%10.6f %-9s %3d %6ld %s\n", (double)(sim.now - 1000000000) / 1e6, what,
                         stream, result, excerpt);
    REAL(write, 2, text, count < (int)sizeof text ? count : (int)sizeof text - 1, 0, 0, 0);
}

static inline void trace(const char *what, int stream, long result, const void *bytes) {
    if (sim.traces) write_line(what, stream, result, bytes);
}

void sim_say(const char *text) { trace("say", -1, (long)strlen(text), text); }

static int number_of(const struct object *object) { return (int)(object - sim.objects); }

static long fail(int code) { errno = code; return -1; }

// MARK: chance

// splitmix64 (Steele, Lea, Flood)
static uint64_t draw(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_random(void) { return draw(&sim.state); }

uint32_t sim_below(uint32_t bound) { return bound ? (uint32_t)((sim_random() >> 32) * bound >> 32) : 0; }
bool sim_chance(uint32_t of_1024) { return of_1024 && sim_below(1024) < of_1024; }

// What the process takes for random is the seed's, too: names of requests, packed by HPACK, have not all the same length.
int RAND_bytes(unsigned char *bytes, int count) {
    for (int index = 0; index < count; index++) bytes[index] = (unsigned char)draw(&sim.secrets);
    return 1;
}

// MARK: objects

static struct object *make(enum kind kind) {
    for (int index = 0; index < MOST; index++) {
        struct object *object = &sim.objects[index];
        if (object->kind != FREE) continue;
        struct bytes in = object->in, out = object->out, plain = object->plain, flight = object->flight;
        empty(&in), empty(&out), empty(&plain), empty(&flight);
        *object = (struct object){.kind = kind, .fd = -1, .in = in, .out = out, .plain = plain, .flight = flight};
        if (index >= sim.used) sim.used = index + 1;
        return object;
    }
    abort();
}

// The lowest number that is free, as everywhere: a number comes back as soon as it can.
static int describe(struct object *object) {
    for (int number = 0; number < MOST; number++) {
        if (sim.of_descriptor[number] >= 0) continue;
        sim.of_descriptor[number] = (int)(object - sim.objects);
        return object->fd = SIM_FIRST + number;
    }
    abort();
}

static struct object *of(int fd) {
    if (!sim.runs || fd < SIM_FIRST || fd >= SIM_FIRST + MOST) return NULL;
    int index = sim.of_descriptor[fd - SIM_FIRST];
    return index < 0 ? NULL : &sim.objects[index];
}

static bool is_fake(int fd) { return fd >= SIM_FIRST; }

// Something has changed that an edge-triggered watcher is told.
static void wake(struct object *object) { object->pending = true; }

static uint32_t readiness(const struct object *object) {
    uint32_t ready = 0;
    switch (object->kind) {
    case EVENT: return object->counter ? EPOLLIN : 0;
    case LISTENER: return sim.objects[object->queue].waiting_count ? EPOLLIN : 0;
    case STREAM:
        if (object->connecting) return 0;
        if (object->in.count || object->in_finished || object->is_reset) ready |= EPOLLIN;
        if (object->in_finished || object->is_reset) ready |= EPOLLRDHUP;
        if (object->out.count < object->room || object->is_reset) ready |= EPOLLOUT;
        if (object->is_reset) ready |= EPOLLERR | EPOLLHUP;
        if (object->in_finished && object->out_finished) ready |= EPOLLHUP;
        return ready;
    default: return 0;
    }
}

static void forget(struct object *object) {
    // One that waits to be accepted is there yet, though its peer may have left; and so is a queue that others accept from.
    if (object->fd < 0 && object->released && object->closed && !object->sharing) object->kind = FREE;
}

void sim_begin(uint64_t seed, struct sim_faults faults, int64_t (*step)(int64_t)) {
    for (int index = 0; index < sim.used; index++) {
        sim.objects[index].kind = FREE;
        tls_free(sim.objects[index].tls);
        sim.objects[index].tls = NULL;
    }
    tls_forget();
    sim.used = 0;
    memset(sim.of_descriptor, 0xff, sizeof sim.of_descriptor);
    sim.seed = seed;
    sim.state = seed * 0xd1342543de82ef95u + 1;
    sim.calls = sim.digest = 0;
    sim.secrets = ~seed;
    sim.now = 1000000000;
    sim.wall_offset = 1769299200000000;
    sim.faults = faults;
    sim.step = step;
    sim.stuck = false;
    sim.runs = true;
}

int sim_end(void) {
    int open = 0;
    for (int number = 0; number < MOST; number++) open += sim.of_descriptor[number] >= 0;
    sim.runs = false;
    return open;
}

int64_t sim_now(void) { return sim.now; }
bool sim_is_stuck(void) { return sim.stuck; }
uint64_t sim_calls(void) { return sim.calls; }

static void name_seed(int number) {
    char text[64];
    int count = snprintf(text, sizeof text, "seed %llu: signal %d\n", (unsigned long long)sim.seed, number);
    REAL(write, 1, text, count, 0, 0, 0);
    signal(number, SIG_DFL);
    raise(number);
}

void sim_name_seed_at_crash(void) {
    // Each run takes and gives back the same megabytes: they stay with the process. 32 MiB is the most that is taken.
    if (!mallopt(M_MMAP_THRESHOLD, 32 << 20)) abort();
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    signal(SIGILL, name_seed);
    signal(SIGTRAP, name_seed);
    signal(SIGSEGV, name_seed);
    signal(SIGABRT, name_seed);
}

// MARK: peers

int sim_listener(uint16_t port) {
    struct object *object = make(LISTENER);
    object->port = port;
    object->released = true;
    object->queue = number_of(object);
    object->sharing = 1;
    return describe(object);
}

int sim_listener_again(int fd) {
    const struct object *first = of(fd);
    struct object *object = make(LISTENER);
    object->port = first->port;
    object->released = true;
    object->queue = first->queue;
    sim.objects[object->queue].sharing++;
    return describe(object);
}

// The kernel spreads connections over the queues of a port, in a way that nobody knows.
static struct object *queue_of(uint16_t port) {
    struct object *queues[QUEUE];
    uint32_t count = 0;
    for (int index = 0; index < sim.used && count < QUEUE; index++) {
        struct object *object = &sim.objects[index];
        if (object->kind == LISTENER && object->port == port && object->sharing) queues[count++] = object;
    }
    return count ? queues[count > 1 ? sim_below(count) : 0] : NULL;
}

int sim_connect(uint16_t port) {
    struct object *queue = queue_of(port);
    if (!queue || queue->waiting_count == QUEUE) return -1;
    struct object *stream = make(STREAM);
    stream->room = 1 + sim_below(sim_chance(256) ? 200 : 100000);
    stream->port = port;
    queue->waiting[queue->waiting_count++] = number_of(stream);
    // All who accept from it are told.
    for (int index = 0; index < sim.used; index++)
        if (sim.objects[index].kind == LISTENER && sim.objects[index].queue == number_of(queue)) wake(&sim.objects[index]);
    return number_of(stream);
}

int sim_next_outgoing(uint16_t *port) {
    for (int index = 0; index < sim.used; index++) {
        struct object *object = &sim.objects[index];
        if (object->kind != STREAM || !object->outgoing || object->announced) continue;
        object->announced = true;
        *port = object->port;
        return index;
    }
    return -1;
}

void sim_finish_connect(int stream, int error) {
    trace("connected", stream, error, NULL);
    struct object *object = &sim.objects[stream];
    object->connecting = false;
    if (error) {
        object->error = error;
        object->is_reset = true;
    }
    wake(object);
}

// MARK: what is between a peer that speaks TLS and the process

static void begin_flight(struct object *object) {
    if (object->due < sim.now) object->due = sim.now + (sim_below(4) ? sim_below(300) : 0);
}

// The wire does to the connection what no end of it wants.
static void fail_wire(struct object *object) {
    object->before_fault = SIZE_MAX;
    tls_excuse(object->tls);
    trace("wire fails", number_of(object), object->wire_fault, NULL);
    switch (object->wire_fault) {
    case RESET: sim_peer_reset(number_of(object)); break;
    case FINISH:
        object->in_finished = true;
        empty(&object->flight);
        break;
    case STAND_STILL: object->stands_still = true; break;
    default:
        if (object->flight.count) object->flight.memory[object->flight.start] ^= (uint8_t)(1u << sim_below(8));
    }
    wake(object);
}

static size_t piece(size_t count) {
    uint32_t most = (uint32_t)count;
    switch (sim_below(8)) {
    case 0: return 1 + sim_below(most < 40 ? most : 40);
    case 1: case 2: case 3: return 1 + sim_below(most);
    default: return count;
    }
}

// Some of what is in flight arrives, or all of it: cut at any place, whatever the records are.
static void arrive(struct object *object, bool is_all) {
    if (object->in_finished || object->is_reset || (object->closed && object->fd < 0)) {
        object->closed_unread = object->closed;
        empty(&object->flight);
    }
    if (object->flight.count) {
        size_t count = is_all ? object->flight.count : piece(object->flight.count);
        if (count > object->before_fault) count = object->before_fault;
        trace("wire", number_of(object), (long)count, NULL);
        move(&object->flight, &object->in, count);
        wake(object);
        if (object->before_fault != SIZE_MAX && (object->before_fault -= count) == 0) fail_wire(object);
    }
    object->due = sim.now + (sim_below(32) ? sim_below(4) ? sim_below(300) : 0 : sim_below(20000));
    if (object->finishes && !object->flight.count) {
        object->finishes = false;
        object->in_finished = true;
        wake(object);
    }
}

static bool is_in_flight(const struct object *object) {
    return object->kind == STREAM && object->tls && !object->stands_still && (object->flight.count || object->finishes);
}

// What is due arrives; when the next is.
static int64_t let_arrive(void) {
    int64_t next = INT64_MAX;
    for (int index = 0; index < sim.used; index++) {
        struct object *object = &sim.objects[index];
        if (is_in_flight(object) && object->due <= sim.now) arrive(object, false);
        if (is_in_flight(object) && object->due < next) next = object->due;
        // An event without a cause.
        if (object->tls && sim_chance(4)) wake(object);
    }
    return next;
}

void sim_peer_secure(int stream, bool is_client, bool speaks_http2) {
    struct object *object = &sim.objects[stream];
    object->tls = tls_new(is_client, speaks_http2, object->port);
    object->spoke_tls = true;
    object->before_fault = SIZE_MAX;
    if (sim_chance(sim.faults.wire)) {
        object->wire_fault = sim_below(WIRE_FAULTS);
        object->before_fault = 1 + sim_below(sim_below(2) ? 400 : 6000);
        // What a proxy in front says is not protected: garbled, it is an address that nobody has told.
        size_t greeting = object->flight.count;
        if (object->wire_fault == GARBLE && object->before_fault < greeting) object->before_fault = greeting;
    }
    begin_flight(object);
    tls_take(object->tls, NULL, 0, &object->plain, &object->flight);
}

void sim_peer_greet(int stream, const uint8_t *bytes, size_t count, bool is_secured) {
    if (!is_secured) return sim_peer_write(stream, bytes, count);
    append(&sim.objects[stream].flight, bytes, count);
}

static size_t read_securely(struct object *object, uint8_t *bytes, size_t capacity) {
    size_t count = object->out.count < capacity ? object->out.count : capacity;
    begin_flight(object);
    tls_take(object->tls, object->out.memory + object->out.start, count, &object->plain, &object->flight);
    object->out.start += count;
    object->out.count -= count;
    return take(&object->plain, bytes, capacity);
}

// MARK: what peers do

void sim_peer_write(int stream, const uint8_t *bytes, size_t count) {
    struct object *object = &sim.objects[stream];
    trace("peer: w", stream, (long)count, bytes);
    if (object->fd < 0 && object->closed) return;
    if (object->tls) {
        begin_flight(object);
        return tls_say(object->tls, bytes, count, &object->flight);
    }
    append(&object->in, bytes, count);
    wake(object);
}

size_t sim_peer_read(int stream, uint8_t *bytes, size_t capacity) {
    struct object *object = &sim.objects[stream];
    size_t before = object->out.count;
    size_t count = object->tls ? read_securely(object, bytes, capacity) : take(&object->out, bytes, capacity);
    trace("peer: r", stream, (long)count, bytes);
    if (object->out.count < before && object->refuses_more && object->out.count < object->room) {
        object->refuses_more = false;
        wake(object);
    }
    return count;
}

size_t sim_peer_available(int stream) { return sim.objects[stream].out.count + sim.objects[stream].plain.count; }

void sim_peer_finish(int stream) {
    trace("peer: fin", stream, 0, NULL);
    struct object *object = &sim.objects[stream];
    if (object->tls && !sim_chance(sim.faults.wire)) {
        begin_flight(object);
        tls_end(object->tls, &object->flight);
        object->finishes = true;
        return;
    }
    // With TLS in the middle of whatever it is.
    if (object->tls) tls_excuse(object->tls);
    empty(&object->flight);
    object->in_finished = true;
    wake(object);
}

void sim_peer_reset(int stream) {
    trace("peer: rst", stream, 0, NULL);
    struct object *object = &sim.objects[stream];
    object->is_reset = true;
    object->error = ECONNRESET;
    empty(&object->in), empty(&object->out), empty(&object->flight);
    wake(object);
}

void sim_peer_mute(int stream) {
    if (sim.objects[stream].tls) tls_mute(sim.objects[stream].tls);
}

void sim_peer_release(int stream) {
    trace("peer: end", stream, 0, NULL);
    struct object *object = &sim.objects[stream];
    if (object->tls) {
        if (!sim_chance(sim.faults.wire)) tls_end(object->tls, &object->flight);
        if (!object->stands_still) arrive(object, true);
        tls_free(object->tls);
        object->tls = NULL;
        empty(&object->flight), empty(&object->plain);
    }
    object->in_finished = true;
    object->released = true;
    // Whoever writes to an end that is closed is told so by a reset.
    if (object->out.count) sim_peer_reset(stream);
    wake(object);
    forget(object);
}

bool sim_peer_sees_end(int stream) {
    const struct object *object = &sim.objects[stream];
    return (object->out_finished || object->closed) && !object->out.count && !object->plain.count;
}

bool sim_peer_sees_reset(int stream) { return sim.objects[stream].closed_unread; }
bool sim_is_closed_by_process(int stream) { return sim.objects[stream].closed; }

// MARK: what CLinux calls

static bool is_watched(const struct object *object) { return object->kind != FREE && object->fd >= 0 && object->watched; }

// What whoever watches it is to be told.
static uint32_t events_of(struct object *object) {
    if (object->interest & EPOLLET && !object->pending) return 0;
    uint32_t ready = readiness(object) & (object->interest | EPOLLERR | EPOLLHUP);
    if (!ready) object->pending = false;
    return ready;
}

static int collect(const struct object *epoll, struct epoll_event *events, int capacity, bool *deferred) {
    int count = 0, first = (int)sim_below((uint32_t)(sim.used ? sim.used : 1));
    for (int step = 0; step < sim.used && count < capacity; step++) {
        struct object *object = &sim.objects[(first + step) % sim.used];
        if (!is_watched(object) || object->watcher != epoll->fd) continue;
        uint32_t ready = events_of(object);
        if (!ready) continue;
        // The order of events, and which come in one wait, is nobody's promise.
        if (sim_chance(128)) {
            *deferred = true;
            continue;
        }
        object->pending = false;
        trace("event", (first + step) % sim.used, ready, NULL);
        events[count++] = (struct epoll_event){.events = ready, .data = {.u64 = object->token}};
    }
    return count;
}

// Until something happens, or to the deadline; false where that has come.
static bool pass_time(int64_t next, int64_t deadline) {
    int64_t until = next < deadline ? next : deadline;
    if (until == INT64_MAX) {
        sim.stuck = true;
        // A stop makes an end of it: the inbox is what the peers hold.
        return false;
    }
    if (until > sim.now) sim.now = until;
    return sim.now < deadline;
}

static int wait_for_events(const struct object *epoll, struct epoll_event *events, int capacity, int timeout_ms) {
    trace("wait", -1, timeout_ms, NULL);
    if (sim_chance(sim.faults.interrupted)) return (int)fail(EINTR);
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : sim.now + (int64_t)timeout_ms * 1000;
    if (sim_chance(sim.faults.stopped)) sim.now += sim_below(60000) * 1000ll;
    if (sim_chance(sim.faults.clock_steps)) sim.wall_offset += ((int64_t)sim_below(7200) - 3600) * 1000000;
    for (;;) {
        int64_t next = sim.step(sim.now), wire = let_arrive();
        if (wire < next) next = wire;
        bool deferred = false;
        int count = collect(epoll, events, capacity, &deferred);
        if (count) {
            sim.now += sim_below(300);
            return count;
        }
        if (deferred) continue;
        if (timeout_ms == 0) return 0;
        if (!pass_time(next, deadline)) return 0;
    }
}

// Where several wait, each asks without waiting, and all of them together wait here.
void sim_wait_for_any(int64_t deadline) {
    for (;;) {
        int64_t next = sim.step(sim.now), wire = let_arrive();
        for (int index = 0; index < sim.used; index++)
            if (is_watched(&sim.objects[index]) && events_of(&sim.objects[index])) return;
        if (!pass_time(wire < next ? wire : next, deadline)) return;
    }
}

// What a run has done so far, in one number.
static void note(const struct object *object, ssize_t count) {
    sim.digest = (sim.digest ^ (uint64_t)sim.now ^ (uint64_t)number_of(object) << 48 ^ (uint64_t)count) * 0x100000001b3u;
}

uint64_t sim_digest(void) { return sim.digest; }

static ssize_t receive(struct object *object, void *bytes, size_t count, bool peeks) {
    if (object->connecting) return fail(EAGAIN);
    if (object->is_reset && !object->in.count) {
        if (object->error) {
            int error = object->error;
            object->error = 0;
            return fail(error);
        }
        return 0;
    }
    if (object->in.count) {
        if (peeks) return 1;
        return (ssize_t)take(&object->in, bytes, count);
    }
    return object->in_finished ? 0 : fail(EAGAIN);
}

static ssize_t transmit(struct object *object, const void *bytes, size_t count) {
    if (object->connecting) return fail(EAGAIN);
    if (object->is_reset) {
        int error = object->error ? object->error : EPIPE;
        object->error = 0;
        return fail(error);
    }
    if (object->out_finished) return fail(EPIPE);
    if (object->released) {
        // The first write behind a close goes through, and brings the reset. With TLS nobody can close without writing: what
        // has come before is there yet, as it is in Linux.
        struct bytes came = object->in;
        sim_peer_reset(number_of(object));
        if (object->spoke_tls) object->in = came;
        return (ssize_t)count;
    }
    if (object->out.count >= object->room) {
        object->refuses_more = true;
        return fail(EAGAIN);
    }
    // Memory is short for a moment.
    if (object->tls && sim_chance(32)) {
        wake(object);
        return fail(EAGAIN);
    }
    size_t room = object->room - object->out.count, taken = count < room ? count : room;
    append(&object->out, bytes, taken);
    if (taken < count) object->refuses_more = true;
    // How much is taken next time is another matter.
    if (sim_chance(64)) object->room = 1 + sim_below(sim_chance(256) ? 200 : 100000);
    return (ssize_t)taken;
}

long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long), d = va_arg(list, long),
         e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    if (!sim.runs) return real(number, a, b, c, d, e, f);
    if (number == SYS_getrandom) return RAND_bytes((unsigned char *)a, (int)b) * b;
    sim.calls++;
    struct object *object = of((int)a);
    if (number == SYS_epoll_pwait && object) return wait_for_events(object, (struct epoll_event *)b, (int)c, (int)d);
    if (number == SYS_recvfrom && object) {
        if (sim_chance(sim.faults.interrupted)) return fail(EINTR);
        // More arrives between two reads of one turn, and behind a read that has found all.
        if (is_in_flight(object) && sim_chance(200)) arrive(object, false);
        ssize_t count = receive(object, (void *)b, (size_t)c, false);
        note(object, count);
        trace("recv", number_of(object), count, object->tls ? NULL : (void *)b);
        if (is_in_flight(object) && sim_chance(200)) arrive(object, false);
        return count;
    }
    if (number == SYS_sendto && object) {
        if (sim_chance(sim.faults.interrupted)) { trace("intr", -1, 0, NULL); return fail(EINTR); }
        ssize_t count = transmit(object, (const void *)b, (size_t)c);
        note(object, count);
        trace("send", number_of(object), count, object->tls ? NULL : (void *)b);
        return count;
    }
    if (is_fake((int)a) && (number == SYS_recvfrom || number == SYS_sendto)) return fail(EBADF);
    return real(number, a, b, c, d, e, f);
}

int epoll_create1(int flags) {
    if (!sim.runs) return (int)REAL(epoll_create1, flags, 0, 0, 0, 0, 0);
    struct object *object = make(EPOLL);
    object->released = true;
    return describe(object);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    if (!is_fake(epoll)) return (int)REAL(epoll_ctl, epoll, operation, fd, event, 0, 0);
    sim.calls++;
    struct object *object = of(fd);
    if (!object) return (int)fail(EBADF);
    if (operation == EPOLL_CTL_DEL) {
        if (!object->watched) return (int)fail(ENOENT);
        object->watched = false;
        return 0;
    }
    if (object->watched) return (int)fail(EEXIST);
    if (object->kind == STREAM && sim_chance(sim.faults.watch_exhausted)) return (int)fail(ENOMEM);
    object->watched = true;
    object->watcher = epoll;
    object->interest = event->events;
    object->token = event->data.u64;
    wake(object);
    return 0;
}

int eventfd(unsigned int value, int flags) {
    if (!sim.runs) return (int)REAL(eventfd2, value, flags, 0, 0, 0, 0);
    struct object *object = make(EVENT);
    object->released = true;
    object->counter = value;
    return describe(object);
}

int socket(int family, int type, int protocol) {
    if (!sim.runs) return (int)REAL(socket, family, type, protocol, 0, 0, 0);
    sim.calls++;
    if (sim_chance(sim.faults.socket_exhausted)) return (int)fail(EMFILE);
    struct object *object = make(STREAM);
    object->outgoing = object->announced = object->connecting = true;
    object->room = 1 + sim_below(sim_chance(256) ? 200 : 100000);
    // Nobody is at the other end before there is a connect.
    object->released = true;
    return describe(object);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    if (!is_fake(fd)) return (int)REAL(connect, fd, address, length, 0, 0, 0);
    sim.calls++;
    if (sim_chance(sim.faults.connect_unreachable)) return (int)fail(sim_below(2) ? ENETUNREACH : EADDRNOTAVAIL);
    struct object *object = of(fd);
    object->port = ntohs(((const struct sockaddr_in *)address)->sin_port);
    object->released = object->announced = false;
    trace("connect", number_of(object), object->port, NULL);
    return (int)fail(EINPROGRESS);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    if (!is_fake(fd)) return (int)REAL(accept4, fd, address, length, flags, 0, 0);
    sim.calls++;
    struct object *listener = of(fd);
    if (!listener || listener->kind != LISTENER) return (int)fail(EBADF);
    listener = &sim.objects[listener->queue];
    if (!listener->waiting_count) return (int)fail(EAGAIN);
    if (sim_chance(sim.faults.accept_exhausted)) return (int)fail(sim_below(2) ? EMFILE : ENOMEM);
    struct object *stream = &sim.objects[listener->waiting[0]];
    memmove(listener->waiting, listener->waiting + 1, sizeof(int) * (size_t)--listener->waiting_count);
    if (sim_chance(sim.faults.accept_aborted)) {
        stream->closed = stream->closed_unread = true;
        forget(stream);
        return (int)fail(ECONNABORTED);
    }
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(40000), .sin_addr = {htonl(0x7f000001)}};
    memcpy(address, &peer, sizeof peer);
    *length = sizeof peer;
    trace("accept", number_of(stream), 0, NULL);
    return describe(stream);
}

int sim_connections_to(uint16_t port) {
    int count = 0;
    for (int index = 0; index < sim.used; index++) {
        const struct object *object = &sim.objects[index];
        if (object->kind == STREAM && object->outgoing && object->fd >= 0 && object->port == port) count++;
    }
    return count;
}

int sim_held(uint16_t port) {
    int count = 0;
    for (int index = 0; index < sim.used; index++) {
        const struct object *object = &sim.objects[index];
        if (object->kind == STREAM && !object->outgoing && object->fd >= 0 && object->port == port) count++;
    }
    return count;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
    return is_fake(fd) ? 0 : (int)REAL(setsockopt, fd, level, option, value, length, 0);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length) {
    if (!is_fake(fd)) return (int)REAL(getsockopt, fd, level, option, value, length, 0);
    struct object *object = of(fd);
    *(int *)value = object ? object->error : EBADF;
    if (object) object->error = 0;
    return 0;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *value = va_arg(arguments, void *);
    va_end(arguments);
    if (!is_fake(fd)) return (int)REAL(ioctl, fd, request, value, 0, 0, 0);
    struct object *object = of(fd);
    if (!object || object->kind != STREAM || request != TIOCOUTQ) return (int)fail(EBADF);
    *(int *)value = (int)object->out.count;
    return 0;
}

ssize_t recv(int fd, void *bytes, size_t count, int flags) {
    struct object *object = is_fake(fd) ? of(fd) : NULL;
    if (!is_fake(fd)) return REAL(recvfrom, fd, bytes, count, flags, 0, 0);
    sim.calls++;
    return object ? receive(object, bytes, count, flags & MSG_PEEK) : fail(EBADF);
}

int shutdown(int fd, int how) {
    if (!is_fake(fd)) return (int)REAL(shutdown, fd, how, 0, 0, 0, 0);
    struct object *object = of(fd);
    if (!object) return (int)fail(EBADF);
    object->out_finished = true;
    return 0;
}

ssize_t read(int fd, void *bytes, size_t count) {
    if (!is_fake(fd)) return REAL(read, fd, bytes, count, 0, 0, 0);
    struct object *object = of(fd);
    if (!object || object->kind != EVENT) return fail(EBADF);
    if (!object->counter) return fail(EAGAIN);
    memcpy(bytes, &object->counter, sizeof object->counter);
    object->counter = 0;
    return sizeof object->counter;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (!is_fake(fd)) return REAL(write, fd, bytes, count, 0, 0, 0);
    struct object *object = of(fd);
    if (!object || object->kind != EVENT) return fail(EBADF);
    object->counter++;
    wake(object);
    return (ssize_t)count;
}

// A descriptor of a listener is closed; whom nobody can accept any more is reset.
static void leave_queue(struct object *queue) {
    if (--queue->sharing) return;
    for (int index = 0; index < queue->waiting_count; index++) {
        struct object *stream = &sim.objects[queue->waiting[index]];
        stream->closed = stream->closed_unread = true;
        forget(stream);
    }
    forget(queue);
}

int close(int fd) {
    if (!is_fake(fd)) return (int)REAL(close, fd, 0, 0, 0, 0, 0);
    struct object *object = of(fd);
    if (!object) abort();
    trace("close", number_of(object), (long)object->in.count, NULL);
    sim.of_descriptor[fd - SIM_FIRST] = -1;
    object->fd = -1;
    object->watched = object->pending = false;
    object->closed = true;
    // What was not read makes the kernel send a reset, which may destroy what was written.
    if (object->kind == STREAM && object->in.count) object->closed_unread = true;
    if (object->kind == LISTENER) leave_queue(&sim.objects[object->queue]);
    forget(object);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!sim.runs || (clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME))
        return (int)REAL(clock_gettime, clock, time, 0, 0, 0, 0);
    int64_t now = sim.now + (clock == CLOCK_REALTIME ? sim.wall_offset : 0);
    time->tv_sec = now / 1000000;
    time->tv_nsec = now % 1000000 * 1000;
    return 0;
}

// OpenSSL's time of day, for the age of sessions and the validity of certificates.
int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
