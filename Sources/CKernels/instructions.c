#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"

bool pleat_has_instructions(pleat_instructions set) {
  switch (set) {
    case PLEAT_PORTABLE:
      return true;
    case PLEAT_AVX2:
#if defined(__x86_64__)
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c") && __builtin_cpu_supports("sse4.2") &&
             __builtin_cpu_supports("pclmul");
#else
      return false;
#endif
  }
  return false;
}
