// All is compiled once, for the fuzzer too, which is told of every comparison (clang, SanitizerCoverage). Here nobody
// listens: with libFuzzer's own functions a fifth of the time would be theirs.
#include <stdint.h>

_Thread_local uintptr_t __sancov_lowest_stack = UINTPTR_MAX;

void __sanitizer_cov_8bit_counters_init(char *start, char *stop) { (void)start; (void)stop; }
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) { (void)start; (void)stop; }
void __sanitizer_cov_trace_pc_indir(uintptr_t callee) { (void)callee; }
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) { (void)value; (void)cases; }

#define IGNORED(name, type) \
    void __sanitizer_cov_trace_##name(type left, type right) { (void)left; (void)right; }
IGNORED(cmp1, uint8_t)
IGNORED(cmp2, uint16_t)
IGNORED(cmp4, uint32_t)
IGNORED(cmp8, uint64_t)
IGNORED(const_cmp1, uint8_t)
IGNORED(const_cmp2, uint16_t)
IGNORED(const_cmp4, uint32_t)
IGNORED(const_cmp8, uint64_t)
