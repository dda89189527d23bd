/*
 * One loop for several instruction sets. A kernel is written once as an ALWAYS_INLINE function. It
 * is called from a function without attributes and from one with AVX2_PATH, and the compiler
 * generates separate code for each. Multiplication and addition are fused only where
 * the source says so, and operations keep its order, so both paths give the same bits.
 */
#ifndef PLEAT_PATHS_H
#define PLEAT_PATHS_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#include "CKernels.h"

#if defined(__x86_64__)
#define PLEAT_HAS_AVX2_PATH 1
#define AVX2_PATH __attribute__((target("avx2,fma,f16c,sse4.2,pclmul")))
#define AVX512_PATH                                                                       \
  __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512vbmi2,avx2,fma,f16c," \
                        "sse4.2,pclmul")))
#else
#define PLEAT_HAS_AVX2_PATH 0
#define AVX2_PATH
#define AVX512_PATH
#endif

/* Which path of a kernel runs. A set includes those before it, so a kernel without a path for
   AVX-512 takes the one for AVX2. */
ALWAYS_INLINE bool uses_avx2(pleat_instructions set) { return set >= PLEAT_AVX2; }
ALWAYS_INLINE bool uses_avx512(pleat_instructions set) { return set >= PLEAT_AVX512; }

/* So that no kernel asks for one set and forgets those that include it. */
#if defined(__GNUC__)
#pragma GCC poison PLEAT_AVX2 PLEAT_AVX512
#endif

/* Whether a function without attributes can use an instruction that rounds to whole numbers. All
   AVX2 paths can. */
#if defined(__aarch64__)
#define PORTABLE_ROUNDS true
#else
#define PORTABLE_ROUNDS false
#endif

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels read and write little-endian memory directly"
#endif

#endif
