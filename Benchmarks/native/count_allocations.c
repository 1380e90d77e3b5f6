// Counts what a program asks of the allocator, for a reader outside: LD_PRELOAD this, with USHER_COUNTS naming a file.
//
// The file is mapped and shared: nine 64-bit counts, one for each function below, in their order. What libnghttp2 and
// OpenSSL ask for is counted at the end instead, whatever the function: it is known by the address that the call returns
// to. Only counting happens here; every call goes on to the C library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MALLOC, CALLOC, REALLOC, POSIX_MEMALIGN, ALIGNED_ALLOC, MEMALIGN, FREE, BY_NGHTTP2, BY_OPENSSL, FUNCTIONS };

static _Atomic uint64_t unshared[FUNCTIONS];
static _Atomic uint64_t *counts = unshared;
// Where these libraries lie. libcrypto asks for all memory of OpenSSL, but its calls may return right to libssl.
static struct library { const char *name; int function; uintptr_t start, end; } libraries[] = {
    {"libnghttp2", BY_NGHTTP2, 0, 0},
    {"libcrypto", BY_OPENSSL, 0, 0},
    {"libssl", BY_OPENSSL, 0, 0},
};
enum { LIBRARIES = sizeof libraries / sizeof *libraries };

static int find_library(struct dl_phdr_info *found, size_t size, void *unused) {
    (void)size, (void)unused;
    for (int n = 0; n < LIBRARIES; n++) {
        if (!strstr(found->dlpi_name, libraries[n].name)) continue;
        libraries[n].start = found->dlpi_addr;
        for (int i = 0; i < found->dlpi_phnum; i++) {
            const ElfW(Phdr) *segment = &found->dlpi_phdr[i];
            uintptr_t end = found->dlpi_addr + segment->p_vaddr + segment->p_memsz;
            if (segment->p_type == PT_LOAD && end > libraries[n].end) libraries[n].end = end;
        }
    }
    return 0;
}

__attribute__((constructor)) static void share(void) {
    dl_iterate_phdr(find_library, NULL);
    const char *path = getenv("USHER_COUNTS");
    if (!path) return;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof unshared) != 0) return;
    void *memory = mmap(NULL, sizeof unshared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED) counts = memory;
}

static void count_for(int function, void *caller) {
    for (int n = 0; n < LIBRARIES && function != FREE; n++)
        if ((uintptr_t)caller >= libraries[n].start && (uintptr_t)caller < libraries[n].end) function = libraries[n].function;
    atomic_fetch_add_explicit(&counts[function], 1, memory_order_relaxed);
}

#define count(function) count_for(function, __builtin_return_address(0))

// The C library's own functions under their second names: no dlsym, which itself allocates.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

void *malloc(size_t size) {
    count(MALLOC);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(CALLOC);
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count(REALLOC);
    return __libc_realloc(old, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    count(POSIX_MEMALIGN);
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : 12; // ENOMEM
}

void *aligned_alloc(size_t alignment, size_t size) {
    count(ALIGNED_ALLOC);
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
    count(MEMALIGN);
    return __libc_memalign(alignment, size);
}

void free(void *memory) {
    if (memory) count(FREE);
    __libc_free(memory);
}
