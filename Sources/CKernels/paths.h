/*
 * One loop for several instruction sets. A kernel is written once as an ALWAYS_INLINE function. It
 * is called from a function without attributes and from one with AVX2_PATH, and the compiler
 * generates separate code for each. Multiplication and addition are fused only where
 * the source says so, and operations keep its order, so both paths give the same bits.
 */
#ifndef PLEAT_PATHS_H
#define PLEAT_PATHS_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define PLEAT_HAS_AVX2_PATH 1
#define AVX2_PATH __attribute__((target("avx2,fma,f16c,sse4.2,pclmul")))
#else
#define PLEAT_HAS_AVX2_PATH 0
#define AVX2_PATH
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
