/* Preloaded into the binary under test: accept and socket fail as the shared file FAULTS_FILE says, and the time of day is off by
   as much as it says, or stands still; the monotonic clock goes on. kernel.py writes the file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct faults {
    volatile int64_t clock_step_seconds;
    volatile int64_t clock_held_at; /* a Unix second; 0 for a clock that runs */
    volatile int32_t accept_errno, accept_every; /* every so many calls; 0 never */
    volatile int32_t socket_errno, socket_every;
    volatile int32_t failed;
};
static struct faults *faults;
static int accepts, sockets;

__attribute__((constructor)) static void map(void) {
    int file = open(getenv("FAULTS_FILE"), O_RDWR);
    if (file < 0) abort();
    faults = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (faults == MAP_FAILED) abort();
    close(file);
}

static int fails(int *count, int every, int code) {
    if (every == 0 || __atomic_add_fetch(count, 1, __ATOMIC_RELAXED) % every) return 0;
    __atomic_add_fetch(&faults->failed, 1, __ATOMIC_RELAXED);
    errno = code;
    return 1;
}

int accept4(int listener, struct sockaddr *peer, socklen_t *length, int flags) {
    static int (*real)(int, struct sockaddr *, socklen_t *, int);
    if (!real) real = dlsym(RTLD_NEXT, "accept4");
    return fails(&accepts, faults->accept_every, faults->accept_errno) ? -1 : real(listener, peer, length, flags);
}

int socket(int domain, int type, int protocol) {
    static int (*real)(int, int, int);
    if (!real) real = dlsym(RTLD_NEXT, "socket");
    return fails(&sockets, faults->socket_every, faults->socket_errno) ? -1 : real(domain, type, protocol);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (clock != CLOCK_REALTIME || !faults) return result;
    if (faults->clock_held_at) *time = (struct timespec){.tv_sec = faults->clock_held_at};
    time->tv_sec += faults->clock_step_seconds;
    return result;
}

/* The C library's own do not go through clock_gettime. */

time_t time(time_t *into) {
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec now = {0};
    int result = clock_gettime(CLOCK_REALTIME, &now);
    *into = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return result;
}
