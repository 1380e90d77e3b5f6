/* Preloaded into the binary under test: the time of day stands still at HELD_CLOCK; the monotonic clock goes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (clock == CLOCK_REALTIME) {
        time->tv_sec = atoll(getenv("HELD_CLOCK"));
        time->tv_nsec = 0;
        return 0;
    }
    if (real == NULL) real = dlsym(RTLD_NEXT, "clock_gettime");
    return real(clock, time);
}
