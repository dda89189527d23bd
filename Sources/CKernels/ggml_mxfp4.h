/*
 * The encoder of MXFP4: 32 values with the exponent of a power of two. llama.cpp ignores
 * importance; the search for smaller errors does not.
 */
#ifndef PLEAT_GGML_MXFP4_H
#define PLEAT_GGML_MXFP4_H

#include "ggml_batch.h"
#include "ggml_tables.h"

/* floor(log2(x)) for x > 0, where log2 is rounded to single precision. So just below 2^n it can be
   n: within half a unit in the last place of n, times ln 2, which is 44 * 2^-24 relative to 2^n if
   |n| is around 64 to 128. */
ALWAYS_INLINE int floor_of_log2(float x) {
  double wide = (double)x; /* subnormal floats become normal */
  uint64_t bits;
  memcpy(&bits, &wide, sizeof bits);
  const int below = (int)(bits >> 52) - 1023, n = below + 1;
  const uint64_t rest = ((1ull << 52) - (bits & ((1ull << 52) - 1))) >> 29;
  /* The logarithms below n have the exponent of n - 1 if n > 0, and that of n if n < 0. */
  const unsigned size = (unsigned)(n > 0 ? n - 1 : -n);
  int exponent = 0;
  while (size >> exponent > 1) exponent++;
  return size > 0 && rest <= 88u >> (7 - exponent) ? n : below;
}

/* The codes of the nearest values; a tie goes to the smaller magnitude. */
ALWAYS_INLINE int_lanes nearest_mxfp4(lanes x, float scale) {
  int_lanes code = {0};
#pragma GCC unroll 7
  for (int k = 0; k < 7; k++) {
    /* Not the scaled mean: the upper value may be infinite, and then it is never taken. */
    float threshold = e2m1_doubles[k] * scale / 2 + e2m1_doubles[k + 1] * scale / 2;
    code -= magnitude(x) > threshold;
  }
  return code + ((code > 0) & (x < 0) & 8);
}

/* exponent, nibbles[16] */
ALWAYS_INLINE void write_mxfp4(const float *restrict values, uint8_t exponent,
                               uint8_t *restrict block) {
  const float scale = e8m0_half(exponent);
  uint8_t codes[32];
  for (int i = 0; i < 32; i += LANES) {
    store_bytes(codes + i, nearest_mxfp4(load_lanes(values + i), scale));
  }
  block[0] = exponent;
  pack_nibbles(codes, block + 1);
}

ALWAYS_INLINE double error_of_mxfp4(const float *restrict values, const float *restrict weights,
                                    const uint8_t *restrict block) {
  float decoded[32];
  double error = 0;
  decode_mxfp4(block, decoded);
  for (int i = 0; i < 32; i++) {
    double e = (double)decoded[i] - (double)values[i];
    error += (double)weights[i] * (e * e);
  }
  return error;
}

/* Tries the exponents around that of llama.cpp, for a smaller error. */
ALWAYS_INLINE void search_mxfp4(const float *restrict values, const float *restrict importance,
                                uint8_t *restrict block) {
  float weights[32];
  weigh_by_importance(importance, 32, weights);
  const int middle = block[0];
  double least = error_of_mxfp4(values, weights, block);
  for (int exponent = middle - 1; exponent <= middle + 1; exponent += 2) {
    uint8_t trial[17];
    if (exponent < 0 || exponent > 254) continue;
    write_mxfp4(values, (uint8_t)exponent, trial);
    double error = error_of_mxfp4(values, weights, trial);
    if (error < least) {
      least = error;
      memcpy(block, trial, sizeof trial);
    }
  }
}

ALWAYS_INLINE int64_t encode_mxfp4(weight_rows rows, uint8_t *restrict out) {
  const ptrdiff_t block_count = rows.row_count * rows.column_count / 32;
  for (ptrdiff_t k = 0; k < block_count; k++, out += 17) {
    const float *values = rows.values + 32 * k;
    if (!all_finite(values, 32)) return 2 * k;
    float most = 0;
    for (int i = 0; i < 32; i++) most = fabsf(values[i]) > most ? fabsf(values[i]) : most;
    /* Below 2^-125 the exponent is negative, and llama.cpp stores its low byte. */
    int exponent = most > 0 ? floor_of_log2(most) + 125 : 0;
    write_mxfp4(values, (uint8_t)exponent, out);
    if (rows.search_rounds > 0) search_mxfp4(values, importance_of(rows, k, 32), out);
  }
  return -1;
}

#endif
