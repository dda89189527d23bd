#pragma STDC FP_CONTRACT OFF

#include <math.h>

#include "CKernels.h"
#include "group.h"

/* The steps are those of quantize_row_q4_0_ref and its siblings in ggml/src/ggml-quants.c. Unlike
   in group.c, codes are computed from the unrounded scale, by multiplying with its reciprocal. */

enum { BLOCK = 32 };

/* ggml starts its search at +0 and compares with >, so a block of zeros gives +0. */
ALWAYS_INLINE float farthest_from_zero(const float *values, float least, float most) {
  return least == most && most == 0 ? 0.0f : farthest(values, BLOCK, least, most);
}

/* If the minimum is zero, the first zero of the block counts, whatever its sign. */
ALWAYS_INLINE float first_least(const float *values, float least) {
  if (least != 0) return least;
  for (ptrdiff_t i = 0; i < BLOCK; i++) {
    if (values[i] == 0) return values[i];
  }
  return least;
}

/* round(value * factor) + 128, with halves rounded away from zero; the low byte is stored. */
ALWAYS_INLINE void write_rounded(const float *restrict values, float factor,
                                 uint8_t *restrict codes) {
  for (ptrdiff_t i = 0; i < BLOCK; i++) {
    float x = values[i] * factor;
    int whole = (int)x;
    float rest = x - (float)whole;
    codes[i] = (uint8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f) + 128);
  }
}

/* trunc((value - bias) * factor + shift), at most top. */
ALWAYS_INLINE void write_truncated(const float *restrict values, float bias, float factor,
                                   float shift, int top, uint8_t *restrict codes) {
  for (ptrdiff_t i = 0; i < BLOCK; i++) {
    int code = (int)((values[i] - bias) * factor + shift);
    codes[i] = (uint8_t)(code < top ? code : top);
  }
}

ALWAYS_INLINE int64_t batch_of_blocks(int bits, bool has_bias, const float *restrict values,
                                      ptrdiff_t blocks, uint8_t *restrict codes,
                                      float *restrict scales, float *restrict biases) {
  const int top = (1 << bits) - 1, zero = 1 << (bits - 1);
  float origins[BATCH], factors[BATCH];
  batch_state batch;
  find_extremes(values, blocks, BLOCK, &batch);
  for (ptrdiff_t k = 0; k < blocks; k++) {
    const float *block = values + k * BLOCK;
    float least = float_of_key(batch.least[k]), most = float_of_key(batch.most[k]);
    if (has_bias) {
      origins[k] = first_least(block, least);
      batch.scales[k] = (most - least) / (float)top;
    } else if (bits == 8) {
      origins[k] = 0;
      batch.scales[k] = fmaxf(fabsf(least), fabsf(most)) / 127;
    } else {
      origins[k] = 0;
      batch.scales[k] = farthest_from_zero(block, least, most) / (float)-zero;
    }
    batch.biases[k] = origins[k];
    factors[k] = batch.scales[k] != 0 ? 1 / batch.scales[k] : 0;
  }
  round_to_format(batch.scales, blocks, PLEAT_FLOAT16);
  if (has_bias) round_to_format(batch.biases, blocks, PLEAT_FLOAT16);
  int64_t fault = find_fault(&batch, blocks);
  if (fault >= 0) return fault;
  for (ptrdiff_t k = 0; k < blocks; k++) {
    /* If the reciprocal is infinite, converting the products to integers is undefined in C, and
       gives codes of 0 on x86. No decoded value depends on them, since the scale is stored as 0. */
    bool is_infinite = !is_finite(factors[k]);
    float factor = is_infinite ? 0 : factors[k];
    float shift = has_bias ? 0.5f : is_infinite ? 0 : (float)zero + 0.5f;
    if (bits == 8) {
      write_rounded(values + k * BLOCK, factor, codes + k * BLOCK);
    } else {
      write_truncated(values + k * BLOCK, origins[k], factor, shift, top, codes + k * BLOCK);
    }
  }
  memcpy(scales, batch.scales, (size_t)blocks * sizeof *scales);
  if (has_bias) memcpy(biases, batch.biases, (size_t)blocks * sizeof *biases);
  return -1;
}

ALWAYS_INLINE int64_t encode_blocks(int bits, bool has_bias, const float *values,
                                    ptrdiff_t block_count, uint8_t *codes, float *scales,
                                    float *biases) {
  for (ptrdiff_t k = 0; k < block_count; k += BATCH) {
    ptrdiff_t blocks = block_count - k < BATCH ? block_count - k : BATCH;
    int64_t fault = batch_of_blocks(bits, has_bias, values + k * BLOCK, blocks, codes + k * BLOCK,
                                    scales + k, has_bias ? biases + k : biases);
    if (fault >= 0) return 2 * k + fault;
  }
  return -1;
}

ALWAYS_INLINE int64_t encode(uint32_t type, const float *values, ptrdiff_t block_count,
                             uint8_t *codes, float *scales, float *biases) {
  switch (type) {
    case 2: return encode_blocks(4, false, values, block_count, codes, scales, biases);
    case 3: return encode_blocks(4, true, values, block_count, codes, scales, biases);
    case 6: return encode_blocks(5, false, values, block_count, codes, scales, biases);
    case 7: return encode_blocks(5, true, values, block_count, codes, scales, biases);
    case 8: return encode_blocks(8, false, values, block_count, codes, scales, biases);
    default: return 0;
  }
}

AVX2_PATH static int64_t encode_avx2(uint32_t type, const float *values, ptrdiff_t block_count,
                                     uint8_t *codes, float *scales, float *biases) {
  return encode(type, values, block_count, codes, scales, biases);
}

int64_t pleat_ggml_encode(pleat_instructions set, uint32_t type, const float *values,
                          ptrdiff_t block_count, uint8_t *codes, float *scales, float *biases) {
  return uses_avx2(set) ? encode_avx2(type, values, block_count, codes, scales, biases)
                           : encode(type, values, block_count, codes, scales, biases);
}
