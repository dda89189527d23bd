/*
 * Encoding goes through batches of groups that stay in the nearest cache: first the extremes of
 * each group, then all scales of the batch together, then the codes. The loops are plain so that
 * the compiler makes vector code of them; common group sizes are constants for it.
 */
#ifndef PLEAT_GROUP_H
#define PLEAT_GROUP_H

#include "CKernels.h"
#include "half.h"

enum { BATCH = 32 };

typedef struct {
  int32_t least[BATCH], most[BATCH]; /* keys */
  float scales[BATCH], biases[BATCH], divisors[BATCH];
} batch_state;

ALWAYS_INLINE bool is_finite(float value) {
  return (bits_of_float(value) & 0x7fffffff) < 0x7f800000;
}

ALWAYS_INLINE void find_extremes(const float *restrict values, ptrdiff_t groups, ptrdiff_t size,
                                 batch_state *restrict batch) {
  for (ptrdiff_t k = 0; k < groups; k++, values += size) {
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (ptrdiff_t i = 0; i < size; i++) {
      uint32_t bits;
      memcpy(&bits, values + i, sizeof bits);
      int32_t key = key_of_bits(bits);
      least = key < least ? key : least;
      most = key > most ? key : most;
    }
    batch->least[k] = least;
    batch->most[k] = most;
  }
}

/* The value of largest magnitude, with its sign: the first one where two signs have it. */
ALWAYS_INLINE float farthest(const float *values, ptrdiff_t size, float least, float most) {
  /* Which sign is larger nobody can predict: to choose without a branch is faster. */
  float value = most > -least ? most : least;
  for (ptrdiff_t i = 0; most == -least && i < size; i++) {
    if (values[i] == least || values[i] == most) return values[i];
  }
  return value;
}

ALWAYS_INLINE void round_to_format(float *values, ptrdiff_t count, pleat_format format) {
  if (format == PLEAT_FLOAT16) {
    for (ptrdiff_t k = 0; k < count; k++) {
      values[k] = float_of_bits(f32_bits_of_f16(f16_of_f32_bits(bits_of_float(values[k]))));
    }
  } else if (format == PLEAT_BFLOAT16) {
    for (ptrdiff_t k = 0; k < count; k++) {
      values[k] = float_of_bits((uint32_t)bf16_of_f32_bits(bits_of_float(values[k])) << 16);
    }
  }
}

/* The scales as they will be stored, and what values are divided by: infinity instead of 0, which
   makes all of them 0. */
ALWAYS_INLINE void finish_scales(batch_state *batch, ptrdiff_t groups, pleat_format format) {
  round_to_format(batch->scales, groups, format);
  for (ptrdiff_t k = 0; k < groups; k++) {
    batch->divisors[k] = batch->scales[k] != 0 ? batch->scales[k] : float_of_bits(0x7f800000);
  }
}

/* The first group of the batch that cannot be encoded, as encoding returns it. */
ALWAYS_INLINE int64_t find_fault(const batch_state *batch, ptrdiff_t groups) {
  uint32_t faults = 0;
  for (ptrdiff_t k = 0; k < groups; k++) {
    faults |= (uint32_t)(batch->least[k] < (int32_t)0x80800000) |
              (uint32_t)(batch->most[k] > (int32_t)0x7f7fffff) |
              (uint32_t)!is_finite(batch->scales[k]) | (uint32_t)!is_finite(batch->biases[k]);
  }
  if (!faults) return -1;
  for (ptrdiff_t k = 0; k < groups; k++) {
    if (batch->least[k] < (int32_t)0x80800000 || batch->most[k] > (int32_t)0x7f7fffff) {
      return 2 * k;
    }
    if (!is_finite(batch->scales[k]) || !is_finite(batch->biases[k])) return 2 * k + 1;
  }
  return -1;
}

/* RNE((w - bias) / divisor), clamped to low...low + top, as 0...top. Clamping first is the same,
   the bounds being integers, and keeps the sum with 1.5 * 2^23 exact but for the rounding of the
   fraction: its last bits are the integer. */
ALWAYS_INLINE void write_codes(const float *restrict values, ptrdiff_t size, float bias,
                               float divisor, int low, int top, uint8_t *restrict codes) {
  const float lower = (float)low, upper = (float)(low + top);
  for (ptrdiff_t i = 0; i < size; i++) {
    float x = (values[i] - bias) / divisor;
    x = x > lower ? x : lower;
    x = x < upper ? x : upper;
    codes[i] = (uint8_t)(bits_of_float(x + 0x1.8p23f) - (uint32_t)low);
  }
}

/* From `batch`, which encodes up to BATCH groups, a function over any number of them: common sizes
   are constants for the compiler, which makes its own code for each instruction set. */
#define GROUP_ENCODER(name, batch)                                                              \
  ALWAYS_INLINE int64_t name##_of_size(const float *values, ptrdiff_t count, ptrdiff_t size,    \
                                       int bits, pleat_format format, uint8_t *codes,           \
                                       float *scales, float *offsets) {                         \
    for (ptrdiff_t k = 0; k < count; k += BATCH) {                                              \
      ptrdiff_t groups = count - k < BATCH ? count - k : BATCH;                                 \
      int64_t fault = batch(values + k * size, groups, size, bits, format, codes + k * size,    \
                            scales + k, offsets + k);                                           \
      if (fault >= 0) return 2 * k + fault;                                                     \
    }                                                                                           \
    return -1;                                                                                  \
  }                                                                                             \
                                                                                                \
  ALWAYS_INLINE int64_t name(const float *values, ptrdiff_t count, ptrdiff_t size, int bits,    \
                             pleat_format format, uint8_t *codes, float *scales,                \
                             float *offsets) {                                                  \
    switch (size) {                                                                             \
      case 32: return name##_of_size(values, count, 32, bits, format, codes, scales, offsets);  \
      case 64: return name##_of_size(values, count, 64, bits, format, codes, scales, offsets);  \
      case 128:                                                                                 \
        return name##_of_size(values, count, 128, bits, format, codes, scales, offsets);        \
      default:                                                                                  \
        return name##_of_size(values, count, size, bits, format, codes, scales, offsets);       \
    }                                                                                           \
  }                                                                                             \
                                                                                                \
  AVX2_PATH static int64_t name##_avx2(const float *values, ptrdiff_t count, ptrdiff_t size,    \
                                       int bits, pleat_format format, uint8_t *codes,           \
                                       float *scales, float *offsets) {                         \
    return name(values, count, size, bits, format, codes, scales, offsets);                     \
  }                                                                                             \
                                                                                                \
  int64_t pleat_encode_##name(pleat_instructions set, const float *values, ptrdiff_t count,     \
                              ptrdiff_t size, int bits, pleat_format format, uint8_t *codes,    \
                              float *scales, float *offsets) {                                  \
    return set == PLEAT_AVX2                                                                    \
               ? name##_avx2(values, count, size, bits, format, codes, scales, offsets)         \
               : name(values, count, size, bits, format, codes, scales, offsets);               \
  }

#endif
