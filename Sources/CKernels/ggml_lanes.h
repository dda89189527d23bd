/*
 * Parts of the block encoders of llama.cpp. Its sums run in element order, so a loop over the
 * elements of one sub-block cannot be vectorized. Instead eight sub-blocks are encoded at a time,
 * one in each lane of a vector.
 */
#ifndef PLEAT_GGML_LANES_H
#define PLEAT_GGML_LANES_H

#include "half.h"
#include "lanes.h"

/* Rows of weights, and the importance of their columns, which may be null. */
typedef struct {
  const float *values, *importance;
  ptrdiff_t row_count, column_count;
  int search_rounds; /* 0 for the blocks of llama.cpp */
  bool rounds;       /* whether the path has an instruction that rounds, see lanes.h */
} weight_rows;

/* The importance of the columns of a block of `size` values; null if there is none. Blocks are
   numbered through all rows. */
ALWAYS_INLINE const float *importance_of(weight_rows rows, ptrdiff_t block, ptrdiff_t size) {
  return rows.importance ? rows.importance + block * size % rows.column_count : NULL;
}

/* The nearest integer, halves to even. Adding 1.5 * 2^23 leaves it in the low 23 bits of the sum.
   From magnitudes of 2^22 on the result is the one of llama.cpp, which also takes these bits:
   infinities give -2^22, and NaN gives 0. */
ALWAYS_INLINE lanes nearest(lanes x) {
  int_lanes bits = (int_lanes)(x + 0x1.8p23f);
  return (lanes)((bits & 0x007fffff) | 0x4b000000) - 0x1.8p23f;
}

ALWAYS_INLINE int_lanes nearest_int(lanes x) {
  return ((int_lanes)(x + 0x1.8p23f) & 0x007fffff) - 0x00400000;
}

ALWAYS_INLINE int32_t nearest_one(float x) {
  return (int32_t)(bits_of_float(x + 0x1.8p23f) & 0x007fffff) - 0x00400000;
}

/* The low bytes. */
ALWAYS_INLINE void store_bytes(uint8_t *out, int_lanes x) {
  typedef uint8_t bytes __attribute__((vector_size(LANES)));
  bytes low = __builtin_convertvector(x, bytes);
  memcpy(out, &low, sizeof low);
}

/* Codes are integers of 0 to 255. */
ALWAYS_INLINE void store_codes(uint8_t *out, lanes codes) {
  store_bytes(out, (int_lanes)(codes + 0x1p23f));
}

/* The nearest half-precision numbers, ties to even; infinity for NaN. The steps are in half.h. */
ALWAYS_INLINE int_lanes halves_of(lanes x) {
  const int_lanes bits = (int_lanes)x, size = bits & 0x7fffffff;
  const int_lanes normal = (size - (112 << 23) + 0x0fff + (size >> 13 & 1)) >> 13;
  const int_lanes subnormal = (int_lanes)((lanes)size + 0.5f) - 0x3f000000;
  const int_lanes finite = choose_int(size < 0x38800000, subnormal, normal);
  const int_lanes number = choose_int(size < 0x47800000, finite, (int_lanes){0} + 0x7c00);
  return (bits >> 16 & 0x8000) | number;
}

/* Sums of squares of `number` rows of `count` values, each in element order. The rows start
   `stride` values apart. Several sums at a time hide the latency of additions. */
ALWAYS_INLINE void sums_of_squares(const float *rows, ptrdiff_t stride, ptrdiff_t count,
                                   ptrdiff_t number, float *sums) {
  ptrdiff_t k = 0;
  for (; k + 4 <= number; k += 4) {
    const float *row = rows + k * stride;
    float a = 0, b = 0, c = 0, d = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
      float x = row[i], y = row[i + stride], z = row[i + 2 * stride], w = row[i + 3 * stride];
      a += x * x, b += y * y, c += z * z, d += w * w;
    }
    sums[k] = a, sums[k + 1] = b, sums[k + 2] = c, sums[k + 3] = d;
  }
  for (; k < number; k++) {
    sums[k] = 0;
    for (ptrdiff_t i = 0; i < count; i++) sums[k] += rows[k * stride + i] * rows[k * stride + i];
  }
}

/* The weights of the squared errors of values: importance * sqrt(mean_square + value^2). `count` is
   a multiple of eight. */
ALWAYS_INLINE void weigh(const float *values, const float *importance, float mean_square,
                         int count, float *weights) {
  for (int i = 0; i < count; i += LANES) {
    lanes x = load_lanes(values + i);
    store_lanes(weights + i, load_lanes(importance + i) * root(mean_square + x * x));
  }
}

/* The weights of a search with smaller errors: importance divided by its mean in the block, at
   least 1e-6; all 1 without importance. */
ALWAYS_INLINE void weigh_by_importance(const float *importance, int count, float *weights) {
  double sum = 0;
  for (int i = 0; importance && i < count; i++) sum += importance[i];
  const float mean = (float)(sum / count);
  if (!(mean > 0)) {
    for (int i = 0; i < count; i++) weights[i] = 1;
    return;
  }
  for (int i = 0; i < count; i++) {
    float weight = importance[i] / mean;
    weights[i] = weight > 1e-6f ? weight : 1e-6f;
  }
}

/* Whether no value is NaN or infinite. */
ALWAYS_INLINE bool all_finite(const float *values, ptrdiff_t count) {
  uint32_t found = 0;
  for (ptrdiff_t i = 0; i < count; i++) {
    found |= (bits_of_float(values[i]) & 0x7fffffff) >= 0x7f800000;
  }
  return !found;
}

/* Whether a half-precision number is neither NaN nor infinite. */
ALWAYS_INLINE bool is_finite_half(uint16_t half) { return (half & 0x7c00) != 0x7c00; }

#endif
