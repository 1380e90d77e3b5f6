#pragma once
// A queue of bytes.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *memory;
    size_t start, count, capacity;
};

static inline void append(struct bytes *bytes, const void *from, size_t count) {
    if (!count) return;
    if (bytes->start + bytes->count + count > bytes->capacity) {
        if (bytes->start) memmove(bytes->memory, bytes->memory + bytes->start, bytes->count);
        bytes->start = 0;
        if (bytes->count + count > bytes->capacity) {
            bytes->capacity = (bytes->count + count) * 2;
            bytes->memory = realloc(bytes->memory, bytes->capacity);
        }
    }
    memcpy(bytes->memory + bytes->start + bytes->count, from, count);
    bytes->count += count;
}

static inline size_t take(struct bytes *bytes, void *to, size_t capacity) {
    size_t count = bytes->count < capacity ? bytes->count : capacity;
    if (count) memcpy(to, bytes->memory + bytes->start, count);
    bytes->start += count;
    bytes->count -= count;
    if (!bytes->count) bytes->start = 0;
    return count;
}

// Moves the first of one queue behind the other.
static inline void move(struct bytes *from, struct bytes *to, size_t count) {
    append(to, from->memory + from->start, count);
    from->start += count;
    from->count -= count;
    if (!from->count) from->start = 0;
}

static inline void empty(struct bytes *bytes) { bytes->start = bytes->count = 0; }
