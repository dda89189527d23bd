#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "ggml_grids.h"
#include "ggml_k.h"
#include "ggml_small.h"
#include "ggml_tables.h"

#define EACH_BLOCK(decode_block, bytes, elements)                \
  for (ptrdiff_t k = 0; k < block_count; k++) {                  \
    decode_block(blocks + k * (bytes), out + k * (elements));    \
  }                                                              \
  return true

ALWAYS_INLINE bool decode(uint32_t type, const uint8_t *restrict blocks, ptrdiff_t block_count,
                          float *restrict out) {
  switch (type) {
    case 2: EACH_BLOCK(decode_q4_0, 18, 32);
    case 3: EACH_BLOCK(decode_q4_1, 20, 32);
    case 6: EACH_BLOCK(decode_q5_0, 22, 32);
    case 7: EACH_BLOCK(decode_q5_1, 24, 32);
    case 8: EACH_BLOCK(decode_q8_0, 34, 32);
    case 10: EACH_BLOCK(decode_q2_k, 84, 256);
    case 11: EACH_BLOCK(decode_q3_k, 110, 256);
    case 12: EACH_BLOCK(decode_q4_k, 144, 256);
    case 13: EACH_BLOCK(decode_q5_k, 176, 256);
    case 14: EACH_BLOCK(decode_q6_k, 210, 256);
    case 16: EACH_BLOCK(decode_iq2_xxs, 66, 256);
    case 17: EACH_BLOCK(decode_iq2_xs, 74, 256);
    case 18: EACH_BLOCK(decode_iq3_xxs, 98, 256);
    case 19: EACH_BLOCK(decode_iq1_s, 50, 256);
    case 20: EACH_BLOCK(decode_iq4_nl, 18, 32);
    case 21: EACH_BLOCK(decode_iq3_s, 110, 256);
    case 22: EACH_BLOCK(decode_iq2_s, 82, 256);
    case 23: EACH_BLOCK(decode_iq4_xs, 136, 256);
    case 29: EACH_BLOCK(decode_iq1_m, 56, 256);
    case 34: EACH_BLOCK(decode_tq1_0, 54, 256);
    case 35: EACH_BLOCK(decode_tq2_0, 66, 256);
    case 39: EACH_BLOCK(decode_mxfp4, 17, 32);
    case 40: EACH_BLOCK(decode_nvfp4, 36, 64);
    case 41: EACH_BLOCK(decode_q1_0, 18, 128);
    case 42: EACH_BLOCK(decode_q2_0, 18, 64);
    default: return false;
  }
}

AVX2_PATH static bool decode_avx2(uint32_t type, const uint8_t *blocks, ptrdiff_t block_count,
                                  float *out) {
  return decode(type, blocks, block_count, out);
}

bool pleat_ggml_decode(pleat_instructions set, uint32_t type, const void *blocks,
                       ptrdiff_t block_count, float *out) {
  return uses_avx2(set) ? decode_avx2(type, blocks, block_count, out)
                           : decode(type, blocks, block_count, out);
}

#define UNPACK_EACH(unpack_block, bytes, size)                                             \
  for (ptrdiff_t k = 0; k < block_count; k++) {                                            \
    ptrdiff_t first = k * (256 / (size));                                                  \
    unpack_block(blocks + k * (bytes), codes + k * 256, scales + first,                    \
                 minima ? minima + first : NULL);                                          \
  }                                                                                        \
  return true

ALWAYS_INLINE bool unpack_k(uint32_t type, const uint8_t *restrict blocks, ptrdiff_t block_count,
                            uint8_t *restrict codes, float *restrict scales,
                            float *restrict minima) {
  switch (type) {
    case 10: UNPACK_EACH(unpack_q2_k, 84, 16);
    case 11: UNPACK_EACH(unpack_q3_k, 110, 16);
    case 12: UNPACK_EACH(unpack_q4_k, 144, 32);
    case 13: UNPACK_EACH(unpack_q5_k, 176, 32);
    case 14: UNPACK_EACH(unpack_q6_k, 210, 16);
    default: return false;
  }
}

AVX2_PATH static bool unpack_k_avx2(uint32_t type, const uint8_t *blocks, ptrdiff_t block_count,
                                    uint8_t *codes, float *scales, float *minima) {
  return unpack_k(type, blocks, block_count, codes, scales, minima);
}

bool pleat_ggml_unpack_k(pleat_instructions set, uint32_t type, const void *blocks,
                         ptrdiff_t block_count, uint8_t *codes, float *scales, float *minima) {
  return uses_avx2(set) ? unpack_k_avx2(type, blocks, block_count, codes, scales, minima)
                           : unpack_k(type, blocks, block_count, codes, scales, minima);
}
