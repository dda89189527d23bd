#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "group.h"

ALWAYS_INLINE int64_t minmax_batch(const float *restrict values, ptrdiff_t groups, ptrdiff_t size,
                                   int bits, pleat_format format, uint8_t *restrict codes,
                                   float *restrict scales, float *restrict biases) {
  const int top = (1 << bits) - 1;
  batch_state batch;
  find_extremes(values, groups, size, &batch);
  for (ptrdiff_t k = 0; k < groups; k++) {
    float least = float_of_key(batch.least[k]), most = float_of_key(batch.most[k]);
    batch.scales[k] = (most - least) / (float)top;
    batch.biases[k] = least;
  }
  round_to_format(batch.biases, groups, format);
  finish_scales(&batch, groups, format);
  int64_t fault = find_fault(&batch, groups);
  if (fault >= 0) return fault;
  for (ptrdiff_t k = 0; codes && k < groups; k++) {
    write_codes(values + k * size, size, batch.biases[k], batch.divisors[k], 0, top,
                codes + k * size);
  }
  memcpy(scales, batch.scales, (size_t)groups * sizeof *scales);
  memcpy(biases, batch.biases, (size_t)groups * sizeof *biases);
  return -1;
}

ALWAYS_INLINE int64_t symmetric_batch(const float *restrict values, ptrdiff_t groups,
                                      ptrdiff_t size, int bits, pleat_format format,
                                      uint8_t *restrict codes, float *restrict scales) {
  const int zero = 1 << (bits - 1), top = (1 << bits) - 1;
  batch_state batch;
  find_extremes(values, groups, size, &batch);
  for (ptrdiff_t k = 0; k < groups; k++) {
    float least = float_of_key(batch.least[k]), most = float_of_key(batch.most[k]);
    batch.scales[k] = farthest(values + k * size, size, least, most) / (float)-zero;
    batch.biases[k] = 0.0f;
  }
  finish_scales(&batch, groups, format);
  int64_t fault = find_fault(&batch, groups);
  if (fault >= 0) return fault;
  for (ptrdiff_t k = 0; codes && k < groups; k++) {
    write_codes(values + k * size, size, 0.0f, batch.divisors[k], -zero, top, codes + k * size);
  }
  memcpy(scales, batch.scales, (size_t)groups * sizeof *scales);
  return -1;
}

GROUP_ENCODER(minmax, minmax_batch)

ALWAYS_INLINE int64_t symmetric_of_size(const float *values, ptrdiff_t count, ptrdiff_t size,
                                        int bits, pleat_format format, uint8_t *codes,
                                        float *scales) {
  for (ptrdiff_t k = 0; k < count; k += BATCH) {
    ptrdiff_t groups = count - k < BATCH ? count - k : BATCH;
    int64_t fault = symmetric_batch(values + k * size, groups, size, bits, format,
                                    codes_from(codes, k * size), scales + k);
    if (fault >= 0) return 2 * k + fault;
  }
  return -1;
}

ALWAYS_INLINE int64_t symmetric(const float *values, ptrdiff_t count, ptrdiff_t size, int bits,
                                pleat_format format, uint8_t *codes, float *scales) {
  switch (size) {
    case 32: return symmetric_of_size(values, count, 32, bits, format, codes, scales);
    case 64: return symmetric_of_size(values, count, 64, bits, format, codes, scales);
    case 128: return symmetric_of_size(values, count, 128, bits, format, codes, scales);
    default: return symmetric_of_size(values, count, size, bits, format, codes, scales);
  }
}

ALWAYS_INLINE void affine(const uint8_t *restrict codes, ptrdiff_t count, ptrdiff_t size,
                          const float *restrict scales, const float *restrict biases,
                          float *restrict out) {
  for (ptrdiff_t k = 0; k < count; k++) {
    float scale = scales[k], bias = biases[k];
    for (ptrdiff_t i = k * size; i < (k + 1) * size; i++) out[i] = scale * (float)codes[i] + bias;
  }
}

ALWAYS_INLINE void centered(const uint8_t *restrict codes, ptrdiff_t count, ptrdiff_t size,
                            const float *restrict scales, float zero, float *restrict out) {
  for (ptrdiff_t k = 0; k < count; k++) {
    float scale = scales[k];
    for (ptrdiff_t i = k * size; i < (k + 1) * size; i++) out[i] = scale * ((float)codes[i] - zero);
  }
}

AVX2_PATH static int64_t symmetric_avx2(const float *values, ptrdiff_t count, ptrdiff_t size,
                                        int bits, pleat_format format, uint8_t *codes,
                                        float *scales) {
  return symmetric(values, count, size, bits, format, codes, scales);
}

AVX2_PATH static void affine_avx2(const uint8_t *codes, ptrdiff_t count, ptrdiff_t size,
                                  const float *scales, const float *biases, float *out) {
  affine(codes, count, size, scales, biases, out);
}

AVX2_PATH static void centered_avx2(const uint8_t *codes, ptrdiff_t count, ptrdiff_t size,
                                    const float *scales, float zero, float *out) {
  centered(codes, count, size, scales, zero, out);
}

int64_t pleat_encode_symmetric(pleat_instructions set, const float *values, ptrdiff_t group_count,
                               ptrdiff_t group_size, int bits, pleat_format format,
                               uint8_t *codes, float *scales) {
  return uses_avx2(set)
             ? symmetric_avx2(values, group_count, group_size, bits, format, codes, scales)
             : symmetric(values, group_count, group_size, bits, format, codes, scales);
}

void pleat_decode_affine(pleat_instructions set, const uint8_t *codes, ptrdiff_t group_count,
                         ptrdiff_t group_size, const float *scales, const float *biases,
                         float *out) {
  uses_avx2(set) ? affine_avx2(codes, group_count, group_size, scales, biases, out)
                    : affine(codes, group_count, group_size, scales, biases, out);
}

void pleat_decode_centered(pleat_instructions set, const uint8_t *codes, ptrdiff_t group_count,
                           ptrdiff_t group_size, const float *scales, float zero, float *out) {
  uses_avx2(set) ? centered_avx2(codes, group_count, group_size, scales, zero, out)
                    : centered(codes, group_count, group_size, scales, zero, out);
}
