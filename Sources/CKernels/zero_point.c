#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "group.h"

/* Rounds -lo / scale half to even and clamps it to 0...top. As in write_codes, it clamps first. */
ALWAYS_INLINE float nearest_zero(float lo, float scale, int top) {
  float x = -lo / scale;
  x = x > 0 ? x : 0;
  x = x < (float)top ? x : (float)top;
  return (x + 0x1.8p23f) - 0x1.8p23f;
}

ALWAYS_INLINE int64_t zero_point_batch(const float *restrict values, ptrdiff_t groups,
                                       ptrdiff_t size, int bits, pleat_format format,
                                       uint8_t *restrict codes, float *restrict scales,
                                       float *restrict zeros) {
  const int top = (1 << bits) - 1;
  float lows[BATCH];
  batch_state batch;
  find_extremes(values, groups, size, &batch);
  for (ptrdiff_t k = 0; k < groups; k++) {
    float least = float_of_key(batch.least[k]), most = float_of_key(batch.most[k]);
    float lo = least < 0 ? least : 0, hi = most > 0 ? most : 0;
    bool none = lo == hi;
    lows[k] = none ? -1 : lo;
    batch.scales[k] = ((none ? 1 : hi) - lows[k]) / (float)top;
    batch.biases[k] = 0;
  }
  finish_scales(&batch, groups, format);
  int64_t fault = find_fault(&batch, groups);
  if (fault >= 0) return fault;
  for (ptrdiff_t k = 0; k < groups; k++) {
    zeros[k] = batch.scales[k] != 0 ? nearest_zero(lows[k], batch.scales[k], top) : 0;
  }
  for (ptrdiff_t k = 0; codes && k < groups; k++) {
    write_codes(values + k * size, size, 0, batch.divisors[k], -(int)zeros[k], top,
                codes + k * size);
  }
  memcpy(scales, batch.scales, (size_t)groups * sizeof *scales);
  return -1;
}

GROUP_ENCODER(zero_point, zero_point_batch)

ALWAYS_INLINE void decode(const uint8_t *restrict codes, ptrdiff_t count, ptrdiff_t size,
                          const float *restrict scales, const float *restrict zeros,
                          float *restrict out) {
  for (ptrdiff_t k = 0; k < count; k++) {
    float scale = scales[k], zero = zeros[k];
    for (ptrdiff_t i = k * size; i < (k + 1) * size; i++) out[i] = scale * ((float)codes[i] - zero);
  }
}

AVX2_PATH static void decode_avx2(const uint8_t *codes, ptrdiff_t count, ptrdiff_t size,
                                  const float *scales, const float *zeros, float *out) {
  decode(codes, count, size, scales, zeros, out);
}

void pleat_decode_zero_points(pleat_instructions set, const uint8_t *codes, ptrdiff_t group_count,
                              ptrdiff_t group_size, const float *scales, const float *zeros,
                              float *out) {
  uses_avx2(set) ? decode_avx2(codes, group_count, group_size, scales, zeros, out)
                    : decode(codes, group_count, group_size, scales, zeros, out);
}
