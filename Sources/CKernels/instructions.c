#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"

#if defined(__x86_64__)
static bool has_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c") && __builtin_cpu_supports("sse4.2") &&
         __builtin_cpu_supports("pclmul");
}

/* No kernel needs VBMI2. All machines that have AVX-512 without it are of the first kind, which run
   slower while they use long vectors. */
static bool has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi2");
}
#else
static bool has_avx2(void) { return false; }
static bool has_avx512(void) { return false; }
#endif

bool pleat_has_instructions(pleat_instructions set) {
  switch (set) {
    case PLEAT_PORTABLE: return true;
    case PLEAT_AVX2: return has_avx2();
    case PLEAT_AVX512: return has_avx512();
  }
  return false;
}
