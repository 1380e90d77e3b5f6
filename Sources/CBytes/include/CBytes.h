#pragma once
// Sixteen bytes at a time, where the processor can: Swift's vectors have no way to ask which lanes a comparison held
// for. Nothing else lives here.
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>

// Bit i is set where byte i may not stand in a field value without a closer look: controls, DEL and what is beyond
// ASCII. A signed comparison takes the last for negative.
static inline uint32_t bytes_unusual_in_field_value(const uint8_t *bytes) {
    const __m128i sixteen = _mm_loadu_si128((const __m128i *)bytes);
    const __m128i low = _mm_cmplt_epi8(sixteen, _mm_set1_epi8(0x20));
    const __m128i deleted = _mm_cmpeq_epi8(sixteen, _mm_set1_epi8(0x7F));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(low, deleted));
}

// Bit i is set where byte i is that one.
static inline uint32_t bytes_equal_to(const uint8_t *bytes, uint8_t byte) {
    const __m128i sixteen = _mm_loadu_si128((const __m128i *)bytes);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(sixteen, _mm_set1_epi8((char)byte)));
}
#else
// The same by eights: compilers make vectors of it where there are some.
static inline uint32_t bytes_unusual_in_field_value(const uint8_t *bytes) {
    uint32_t unusual = 0;
    for (unsigned place = 0; place < 16; place++) {
        const int8_t byte = (int8_t)bytes[place];
        unusual |= (uint32_t)(byte < 0x20 || byte == 0x7F) << place;
    }
    return unusual;
}

static inline uint32_t bytes_equal_to(const uint8_t *bytes, uint8_t byte) {
    uint32_t equal = 0;
    for (unsigned place = 0; place < 16; place++) equal |= (uint32_t)(bytes[place] == byte) << place;
    return equal;
}
#endif
