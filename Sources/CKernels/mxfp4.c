#include "CKernels.h"
#include "paths.h"

ALWAYS_INLINE void join(const uint8_t *restrict codes, const uint8_t *restrict exponents,
                        ptrdiff_t block_count, uint8_t *restrict blocks) {
  for (ptrdiff_t k = 0; k < block_count; k++, codes += 16, blocks += 17) {
    blocks[0] = exponents[k];
    for (int j = 0; j < 8; j++) {
      uint8_t first = codes[j], second = codes[j + 8];
      blocks[1 + 2 * j] = (uint8_t)((first & 0x0f) | second << 4);
      blocks[2 + 2 * j] = (uint8_t)(first >> 4 | (second & 0xf0));
    }
  }
}

ALWAYS_INLINE void split(const uint8_t *restrict blocks, ptrdiff_t block_count,
                         uint8_t *restrict codes, uint8_t *restrict exponents) {
  for (ptrdiff_t k = 0; k < block_count; k++, codes += 16, blocks += 17) {
    exponents[k] = blocks[0];
    for (int j = 0; j < 8; j++) {
      uint8_t even = blocks[1 + 2 * j], odd = blocks[2 + 2 * j];
      codes[j] = (uint8_t)((even & 0x0f) | odd << 4);
      codes[j + 8] = (uint8_t)(even >> 4 | (odd & 0xf0));
    }
  }
}

static void join_portable(const uint8_t *codes, const uint8_t *exponents, ptrdiff_t block_count,
                          uint8_t *blocks) {
  join(codes, exponents, block_count, blocks);
}

AVX2_PATH static void join_avx2(const uint8_t *codes, const uint8_t *exponents,
                                ptrdiff_t block_count, uint8_t *blocks) {
  join(codes, exponents, block_count, blocks);
}

static void split_portable(const uint8_t *blocks, ptrdiff_t block_count, uint8_t *codes,
                           uint8_t *exponents) {
  split(blocks, block_count, codes, exponents);
}

AVX2_PATH static void split_avx2(const uint8_t *blocks, ptrdiff_t block_count, uint8_t *codes,
                                 uint8_t *exponents) {
  split(blocks, block_count, codes, exponents);
}

void pleat_mxfp4_join(pleat_instructions set, const uint8_t *codes, const uint8_t *exponents,
                      ptrdiff_t block_count, uint8_t *blocks) {
  if (set == PLEAT_AVX2) {
    join_avx2(codes, exponents, block_count, blocks);
  } else {
    join_portable(codes, exponents, block_count, blocks);
  }
}

void pleat_mxfp4_split(pleat_instructions set, const uint8_t *blocks, ptrdiff_t block_count,
                       uint8_t *codes, uint8_t *exponents) {
  if (set == PLEAT_AVX2) {
    split_avx2(blocks, block_count, codes, exponents);
  } else {
    split_portable(blocks, block_count, codes, exponents);
  }
}
