#pragma once
// The Linux calls that Swift's Glibc module does not show, as inline functions of one shape: the result, or the
// negated errno. Nothing else lives here.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

// The calls that every request makes enter the kernel without the C library in between: there each would be a
// cancellation point, two locked instructions and a branch a call, for threads that nobody ever cancels. Elsewhere than
// on the two architectures the library's way is as right, and slower; Tests/Simulation takes the library's place.
#if defined(__x86_64__) && !defined(USHER_SIMULATION)
#define USHER_KERNEL(number, a, b, c, d, e, f) ({                                                              \
    long result_ = SYS_##number;                                                                               \
    register long d_ __asm__("r10") = (long)(d);                                                               \
    register long e_ __asm__("r8") = (long)(e);                                                                \
    register long f_ __asm__("r9") = (long)(f);                                                                \
    __asm__ volatile("syscall" : "+a"(result_)                                                                 \
                     : "D"((long)(a)), "S"((long)(b)), "d"((long)(c)), "r"(d_), "r"(e_), "r"(f_)               \
                     : "rcx", "r11", "memory");                                                                \
    result_; })
#elif defined(__aarch64__) && !defined(USHER_SIMULATION)
#define USHER_KERNEL(number, a, b, c, d, e, f) ({                                                              \
    register long number_ __asm__("x8") = SYS_##number;                                                        \
    register long a_ __asm__("x0") = (long)(a);                                                                \
    register long b_ __asm__("x1") = (long)(b);                                                                \
    register long c_ __asm__("x2") = (long)(c);                                                                \
    register long d_ __asm__("x3") = (long)(d);                                                                \
    register long e_ __asm__("x4") = (long)(e);                                                                \
    register long f_ __asm__("x5") = (long)(f);                                                                \
    __asm__ volatile("svc 0" : "+r"(a_)                                                                        \
                     : "r"(number_), "r"(b_), "r"(c_), "r"(d_), "r"(e_), "r"(f_) : "memory");                  \
    a_; })
#else
#define USHER_KERNEL(number, a, b, c, d, e, f) USHER_RESULT(syscall(SYS_##number, a, b, c, d, e, f))
#endif

#define USHER_RESULT(call) ({ __typeof__(call) r_ = (call); r_ < 0 ? -(__typeof__(r_))errno : r_; })

static inline int linux_epoll_create(void) { return USHER_RESULT(epoll_create1(EPOLL_CLOEXEC)); }

static inline int linux_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return USHER_RESULT(epoll_ctl(epoll, operation, descriptor, &event));
}

static inline int linux_epoll_wait(int epoll, struct epoll_event *events, int capacity, int timeout_ms) {
    // epoll_pwait without a mask: aarch64 has no other.
    return (int)USHER_KERNEL(epoll_pwait, epoll, events, capacity, timeout_ms, 0, 8);
}

static inline uint64_t linux_epoll_token(const struct epoll_event *event) { return event->data.u64; }
static inline uint32_t linux_epoll_events(const struct epoll_event *event) { return event->events; }

static inline int linux_eventfd(void) { return USHER_RESULT(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

static inline int linux_signalfd(const sigset_t *signals) {
    return USHER_RESULT(signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC));
}

// Has a signal end the process with status 0; defined in CLinux.c.
void linux_end_on_signal(int signal);

static inline int linux_socket(int family) {
    return USHER_RESULT(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// Defined in CLinux.c, where GNU extensions are visible.
int linux_accept(int listener, struct sockaddr_storage *peer, socklen_t *length);
int linux_affinity_count(void);
void linux_name_thread(const char *name);

static inline int linux_bind(int fd, const struct sockaddr_storage *address, socklen_t length) {
    return USHER_RESULT(bind(fd, (const struct sockaddr *)address, length));
}

static inline int linux_connect(int fd, const struct sockaddr_storage *address, socklen_t length) {
    return USHER_RESULT(connect(fd, (const struct sockaddr *)address, length));
}

static inline int linux_listen(int fd, int backlog) { return USHER_RESULT(listen(fd, backlog)); }

static inline int linux_local_address(int fd, struct sockaddr_storage *address, socklen_t *length) {
    return USHER_RESULT(getsockname(fd, (struct sockaddr *)address, length));
}

static inline int linux_set_option(int fd, int level, int option, int value) {
    return USHER_RESULT(setsockopt(fd, level, option, &value, sizeof value));
}

static inline int linux_pending_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
    return error;
}

/* Bytes that were written and not acknowledged (SIOCOUTQ, by its older name); 0 where nobody can tell. */
static inline int linux_undelivered(int fd) {
    int count = 0;
    return ioctl(fd, TIOCOUTQ, &count) < 0 ? 0 : count;
}

static inline int linux_shutdown_write(int fd) { return USHER_RESULT(shutdown(fd, SHUT_WR)); }

/* Has the close of a connection reset it. */
static inline int linux_reset_at_close(int fd) {
    struct linger rule = {.l_onoff = 1, .l_linger = 0};
    return USHER_RESULT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &rule, sizeof rule));
}

static inline ssize_t linux_receive(int fd, void *bytes, size_t count) {
    return USHER_KERNEL(recvfrom, fd, bytes, count, 0, 0, 0);
}

static inline ssize_t linux_peek(int fd) {
    char byte;
    return USHER_RESULT(recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT));
}

static inline ssize_t linux_send(int fd, const void *bytes, size_t count) {
    return USHER_KERNEL(sendto, fd, bytes, count, MSG_NOSIGNAL, 0, 0);
}

static inline ssize_t linux_read(int fd, void *bytes, size_t count) { return USHER_RESULT(read(fd, bytes, count)); }
static inline ssize_t linux_write(int fd, const void *bytes, size_t count) {
    return USHER_RESULT(write(fd, bytes, count));
}

// One process hands its sockets to another, and talks to its service manager; all defined in CLinux.c.
#define LINUX_MOST_DESCRIPTORS 250
int linux_handover_socket(void);
int linux_handover_patience(int fd, int seconds);
int linux_handover_accept(int fd);
ssize_t linux_send_descriptors(int fd, const void *bytes, size_t count, const int *descriptors, int descriptor_count);
ssize_t linux_receive_descriptors(int fd, void *bytes, size_t count, int *descriptors, int *descriptor_count);
int linux_peer_process(int fd, int32_t *process, uint32_t *user);
ssize_t linux_notify(const char *path, size_t length, const void *bytes, size_t count);
int linux_is_listening(int fd);
