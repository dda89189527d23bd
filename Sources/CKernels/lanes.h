/*
 * Lanes that work in step: eight, unless the file that includes this asks for sixteen. The vectors
 * are an extension of the compiler, which splits them where the machine has shorter ones.
 */
#ifndef PLEAT_LANES_H
#define PLEAT_LANES_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "paths.h"

/* The functions below are always inlined, so it does not matter how vectors are passed. */
#pragma GCC diagnostic ignored "-Wpsabi"

#if !defined(LANES)
#define LANES 8
#endif

typedef float lanes __attribute__((vector_size(4 * LANES)));
/* Also the result of comparisons: all bits set where they hold. */
typedef int32_t int_lanes __attribute__((vector_size(4 * LANES)));

ALWAYS_INLINE lanes all(float value) {
#if LANES == 8
  return (lanes){value, value, value, value, value, value, value, value};
#else
  return (lanes){value, value, value, value, value, value, value, value,
                 value, value, value, value, value, value, value, value};
#endif
}

ALWAYS_INLINE lanes load_lanes(const float *values) {
  lanes result;
  memcpy(&result, values, sizeof result);
  return result;
}

ALWAYS_INLINE void store_lanes(float *values, lanes x) { memcpy(values, &x, sizeof x); }

ALWAYS_INLINE lanes choose(int_lanes condition, lanes yes, lanes no) {
  return (lanes)((condition & (int_lanes)yes) | (~condition & (int_lanes)no));
}

ALWAYS_INLINE int_lanes choose_int(int_lanes condition, int_lanes yes, int_lanes no) {
  return (condition & yes) | (~condition & no);
}

ALWAYS_INLINE bool any(int_lanes condition) {
  int32_t bits = 0;
  for (int k = 0; k < LANES; k++) bits |= condition[k];
  return bits != 0;
}

/* The sum of eight lanes each, in their order; then the sum of these. */
ALWAYS_INLINE double sum_of_lanes(lanes x) {
  double total = 0;
  for (int start = 0; start < LANES; start += 8) {
    double sum = 0;
    for (int k = start; k < start + 8; k++) sum += x[k];
    total += sum;
  }
  return total;
}

/* The second operand if the comparison is false, as with NaN or two zeros. */
ALWAYS_INLINE lanes smaller(lanes x, lanes y) { return choose(x < y, x, y); }
ALWAYS_INLINE lanes larger(lanes x, lanes y) { return choose(x > y, x, y); }

ALWAYS_INLINE lanes magnitude(lanes x) { return (lanes)((int_lanes)x & 0x7fffffff); }

/* a * b + c, rounded once. */
ALWAYS_INLINE lanes fused(lanes a, lanes b, lanes c) {
#if defined(__clang__)
  return __builtin_elementwise_fma(a, b, c);
#else
  lanes result;
  for (int k = 0; k < LANES; k++) result[k] = fmaf(a[k], b[k], c[k]);
  return result;
#endif
}

ALWAYS_INLINE lanes root(lanes x) {
#if defined(__clang__)
  return __builtin_elementwise_sqrt(x);
#else
  for (int k = 0; k < LANES; k++) x[k] = sqrtf(x[k]);
  return x;
#endif
}

/* The nearest integers, halves to even, of magnitudes below 2^22. `rounds` is a constant: whether
   the path has an instruction for this. Only with it, zeros can be negative. */
ALWAYS_INLINE lanes rounded(bool rounds, lanes x) {
#if defined(__clang__)
  if (rounds) return __builtin_elementwise_roundeven(x);
#endif
  return (x + 0x1.8p23f) - 0x1.8p23f;
}

/* The nearest integers of low to high, halves to even; NaN gives low. The bounds are integers of
   magnitudes below 2^22, so clamping before rounding gives the same. */
ALWAYS_INLINE lanes rounded_within(bool rounds, lanes x, lanes low, lanes high) {
  return rounded(rounds, smaller(larger(x, low), high));
}

/* Eight lanes, whatever LANES is. */
typedef float octet __attribute__((vector_size(32)));

/* Puts eight rows into lanes: lane j of out[i] is element i of row j. The rows start `stride`
   values apart, and have `count` values, a multiple of eight. */
ALWAYS_INLINE void transpose_octets(const float *rows, ptrdiff_t stride, int count, octet *out) {
  for (int i = 0; i < count; i += 8) {
    octet a[8], b[8];
    for (int j = 0; j < 8; j++) memcpy(&a[j], rows + j * stride + i, sizeof a[j]);
    for (int j = 0; j < 8; j += 2) {
      b[j] = __builtin_shufflevector(a[j], a[j + 1], 0, 8, 1, 9, 4, 12, 5, 13);
      b[j + 1] = __builtin_shufflevector(a[j], a[j + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int j = 0; j < 8; j += 4) {
      a[j] = __builtin_shufflevector(b[j], b[j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[j + 1] = __builtin_shufflevector(b[j], b[j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
      a[j + 2] = __builtin_shufflevector(b[j + 1], b[j + 3], 0, 1, 8, 9, 4, 5, 12, 13);
      a[j + 3] = __builtin_shufflevector(b[j + 1], b[j + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int j = 0; j < 4; j++) {
      out[i + j] = __builtin_shufflevector(a[j], a[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
      out[i + j + 4] = __builtin_shufflevector(a[j], a[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
  }
}

/* The same with a row for each lane. */
ALWAYS_INLINE void transpose(const float *rows, ptrdiff_t stride, int count, lanes *out) {
#if LANES == 8
  transpose_octets(rows, stride, count, out);
#else
  for (int i = 0; i < count; i += 8) {
    octet low[8], high[8];
    transpose_octets(rows + i, stride, 8, low);
    transpose_octets(rows + i + 8 * stride, stride, 8, high);
    for (int j = 0; j < 8; j++) {
      out[i + j] = __builtin_shufflevector(low[j], high[j], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                           12, 13, 14, 15);
    }
  }
#endif
}

#endif
