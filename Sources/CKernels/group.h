/*
 * Encoders work on batches of groups that stay in the L1 cache. They first find the extremes of
 * each group, then compute all scales of the batch, then the codes. The loops are plain, so that
 * the compiler can vectorize them. Common group sizes are compile-time constants.
 */
#ifndef PLEAT_GROUP_H
#define PLEAT_GROUP_H

#include "CKernels.h"
#include "half.h"

enum { BATCH = 32 };

typedef struct {
  int32_t least[BATCH], most[BATCH]; /* as keys, see half.h */
  float scales[BATCH], biases[BATCH], divisors[BATCH];
} batch_state;

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

/* The value of largest magnitude, with its sign; the first one if both signs occur. */
ALWAYS_INLINE float farthest(const float *values, ptrdiff_t size, float least, float most) {
  /* A branch would be mispredicted often: a conditional move is faster. */
  float value = most > -least ? most : least;
  for (ptrdiff_t i = 0; most == -least && i < size; i++) {
    if (values[i] == least || values[i] == most) return values[i];
  }
  return value;
}

ALWAYS_INLINE void round_to_format(float *values, ptrdiff_t count, pleat_format format) {
  if (format == PLEAT_FLOAT16) {
    for (ptrdiff_t k = 0; k < count; k++) {
      values[k] = rounded_to_half(values[k]);
    }
  } else if (format == PLEAT_BFLOAT16) {
    for (ptrdiff_t k = 0; k < count; k++) {
      values[k] = float_of_bits((uint32_t)bf16_of_f32_bits(bits_of_float(values[k])) << 16);
    }
  }
}

/* Rounds the scales to their storage format, and sets the divisors of the values. The divisor of a
   scale of 0 is infinity, so that all quotients are 0. */
ALWAYS_INLINE void finish_scales(batch_state *batch, ptrdiff_t groups, pleat_format format) {
  round_to_format(batch->scales, groups, format);
  for (ptrdiff_t k = 0; k < groups; k++) {
    batch->divisors[k] = batch->scales[k] != 0 ? batch->scales[k] : float_of_bits(0x7f800000);
  }
}

/* The result for the first group of the batch that cannot be encoded, or -1; see CKernels.h. */
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

/* Rounds (w - bias) / divisor half to even, clamps it to low...low + top, and stores it as 0...top.
   The bounds are integers, so clamping before rounding gives the same. Adding 1.5 * 2^23 then
   rounds the fraction and nothing else. The last bits of the sum are the integer. */
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

/* Where the codes of a group are written; null if only the parameters are wanted. */
ALWAYS_INLINE uint8_t *codes_from(uint8_t *codes, ptrdiff_t start) {
  return codes ? codes + start : NULL;
}

/* Makes a function over any number of groups from `batch`, which encodes up to BATCH groups. The
   compiler generates separate code for common sizes and for each instruction set. */
#define GROUP_ENCODER(name, batch)                                                              \
  ALWAYS_INLINE int64_t name##_of_size(const float *values, ptrdiff_t count, ptrdiff_t size,    \
                                       int bits, pleat_format format, uint8_t *codes,           \
                                       float *scales, float *offsets) {                         \
    for (ptrdiff_t k = 0; k < count; k += BATCH) {                                              \
      ptrdiff_t groups = count - k < BATCH ? count - k : BATCH;                                 \
      int64_t fault = batch(values + k * size, groups, size, bits, format,                      \
                            codes_from(codes, k * size), scales + k, offsets + k);              \
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
    return uses_avx2(set)                                                                    \
               ? name##_avx2(values, count, size, bits, format, codes, scales, offsets)         \
               : name(values, count, size, bits, format, codes, scales, offsets);               \
  }

#endif
