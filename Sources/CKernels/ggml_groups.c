#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "ggml_small.h"

/* Scales are rounded for many blocks at a time, so that the compiler can vectorize the loop. */
enum { BATCH = 64 };

ALWAYS_INLINE void round_batch(const float *restrict values, ptrdiff_t count,
                               uint16_t *restrict halves) {
  for (ptrdiff_t k = 0; k < count; k++) halves[k] = half_of(values[k]);
}

ALWAYS_INLINE void widen_batch(const uint16_t *restrict halves, ptrdiff_t count,
                               float *restrict values) {
  for (ptrdiff_t k = 0; k < count; k++) values[k] = float_of_half(halves[k]);
}

ALWAYS_INLINE void unpack_codes(const uint8_t *restrict bytes, int bits, uint8_t *restrict codes) {
  if (bits == 8) {
    for (int j = 0; j < 32; j++) codes[j] = bytes[j] ^ 0x80;
  } else if (bits == 5) {
    nibble_codes(bytes + 4, load32(bytes), codes);
  } else {
    nibble_codes(bytes, 0, codes);
  }
}

ALWAYS_INLINE bool pack_blocks(int bits, bool has_bias, const uint8_t *codes, const float *scales,
                               const float *biases, ptrdiff_t block_count, uint8_t *out) {
  const ptrdiff_t header = has_bias ? 4 : 2;
  const ptrdiff_t size = small_block_size(bits, has_bias);
  uint16_t scale_halves[BATCH], bias_halves[BATCH];
  for (ptrdiff_t start = 0; start < block_count; start += BATCH) {
    ptrdiff_t count = block_count - start < BATCH ? block_count - start : BATCH;
    round_batch(scales + start, count, scale_halves);
    if (has_bias) round_batch(biases + start, count, bias_halves);
    for (ptrdiff_t k = 0; k < count; k++) {
      uint8_t *block = out + (start + k) * size;
      memcpy(block, scale_halves + k, 2);
      if (has_bias) memcpy(block + 2, bias_halves + k, 2);
      pack_codes(codes + (start + k) * 32, bits, block + header);
    }
  }
  return true;
}

ALWAYS_INLINE bool unpack_blocks(int bits, bool has_bias, const uint8_t *blocks,
                                 ptrdiff_t block_count, uint8_t *codes, float *scales,
                                 float *biases) {
  const ptrdiff_t header = has_bias ? 4 : 2;
  const ptrdiff_t size = small_block_size(bits, has_bias);
  uint16_t scale_halves[BATCH], bias_halves[BATCH];
  for (ptrdiff_t start = 0; start < block_count; start += BATCH) {
    ptrdiff_t count = block_count - start < BATCH ? block_count - start : BATCH;
    for (ptrdiff_t k = 0; k < count; k++) {
      const uint8_t *block = blocks + (start + k) * size;
      scale_halves[k] = load16(block);
      if (has_bias) bias_halves[k] = load16(block + 2);
      unpack_codes(block + header, bits, codes + (start + k) * 32);
    }
    widen_batch(scale_halves, count, scales + start);
    if (has_bias) widen_batch(bias_halves, count, biases + start);
  }
  return true;
}

#define PACK(bits, has_bias) \
  pack_blocks(bits, has_bias, codes, scales, biases, block_count, out)
#define UNPACK(bits, has_bias) \
  unpack_blocks(bits, has_bias, blocks, block_count, codes, scales, biases)

static bool pack_portable(uint32_t type, const uint8_t *codes, const float *scales,
                          const float *biases, ptrdiff_t block_count, uint8_t *out) {
  FOR_SMALL_TYPE(type, PACK, false)
}

AVX2_PATH static bool pack_avx2(uint32_t type, const uint8_t *codes, const float *scales,
                                const float *biases, ptrdiff_t block_count, uint8_t *out) {
  FOR_SMALL_TYPE(type, PACK, false)
}

static bool unpack_portable(uint32_t type, const uint8_t *blocks, ptrdiff_t block_count,
                            uint8_t *codes, float *scales, float *biases) {
  FOR_SMALL_TYPE(type, UNPACK, false)
}

AVX2_PATH static bool unpack_avx2(uint32_t type, const uint8_t *blocks, ptrdiff_t block_count,
                                  uint8_t *codes, float *scales, float *biases) {
  FOR_SMALL_TYPE(type, UNPACK, false)
}

bool pleat_ggml_pack(pleat_instructions set, uint32_t type, const uint8_t *codes,
                     const float *scales, const float *biases, ptrdiff_t block_count, void *out) {
  return uses_avx2(set) ? pack_avx2(type, codes, scales, biases, block_count, out)
                           : pack_portable(type, codes, scales, biases, block_count, out);
}

bool pleat_ggml_unpack(pleat_instructions set, uint32_t type, const void *blocks,
                       ptrdiff_t block_count, uint8_t *codes, float *scales, float *biases) {
  return uses_avx2(set) ? unpack_avx2(type, blocks, block_count, codes, scales, biases)
                           : unpack_portable(type, blocks, block_count, codes, scales, biases);
}
