#define _GNU_SOURCE
#include "CLinux.h"

#include <pthread.h>

int linux_accept(int listener, struct sockaddr_storage *peer, socklen_t *length) {
    return USHER_RESULT(accept4(listener, (struct sockaddr *)peer, length, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

int linux_affinity_count(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) < 0) return -errno;
    return CPU_COUNT(&set);
}

void linux_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
