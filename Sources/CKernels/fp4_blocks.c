#include "CKernels.h"
#include "paths.h"

/* The bytes of a run of codes with one scale, and the runs in a block. */
enum { MXFP4_BYTES = 16, MXFP4_RUNS = 1, NVFP4_BYTES = 8, NVFP4_RUNS = 4 };

ALWAYS_INLINE void join(const uint8_t *restrict codes, const uint8_t *restrict scales,
                        ptrdiff_t block_count, uint8_t *restrict blocks, int bytes, int runs) {
  const int half = bytes / 2;
  for (ptrdiff_t k = 0; k < block_count; k++, scales += runs) {
    for (int r = 0; r < runs; r++) *blocks++ = scales[r];
    for (int r = 0; r < runs; r++, codes += bytes, blocks += bytes) {
      for (int j = 0; j < half; j++) {
        uint8_t first = codes[j], second = codes[j + half];
        blocks[2 * j] = (uint8_t)((first & 0x0f) | second << 4);
        blocks[2 * j + 1] = (uint8_t)(first >> 4 | (second & 0xf0));
      }
    }
  }
}

ALWAYS_INLINE void split(const uint8_t *restrict blocks, ptrdiff_t block_count,
                         uint8_t *restrict codes, uint8_t *restrict scales, int bytes, int runs) {
  const int half = bytes / 2;
  for (ptrdiff_t k = 0; k < block_count; k++, scales += runs) {
    for (int r = 0; r < runs; r++) scales[r] = *blocks++;
    for (int r = 0; r < runs; r++, codes += bytes, blocks += bytes) {
      for (int j = 0; j < half; j++) {
        uint8_t even = blocks[2 * j], odd = blocks[2 * j + 1];
        codes[j] = (uint8_t)((even & 0x0f) | odd << 4);
        codes[j + half] = (uint8_t)(even >> 4 | (odd & 0xf0));
      }
    }
  }
}

#define PATHS(name, bytes, runs)                                                                  \
  static void name##_join_portable(const uint8_t *codes, const uint8_t *scales, ptrdiff_t count,  \
                                   uint8_t *blocks) {                                             \
    join(codes, scales, count, blocks, bytes, runs);                                              \
  }                                                                                               \
  AVX2_PATH static void name##_join_avx2(const uint8_t *codes, const uint8_t *scales,             \
                                         ptrdiff_t count, uint8_t *blocks) {                      \
    join(codes, scales, count, blocks, bytes, runs);                                              \
  }                                                                                               \
  static void name##_split_portable(const uint8_t *blocks, ptrdiff_t count, uint8_t *codes,       \
                                    uint8_t *scales) {                                            \
    split(blocks, count, codes, scales, bytes, runs);                                             \
  }                                                                                               \
  AVX2_PATH static void name##_split_avx2(const uint8_t *blocks, ptrdiff_t count, uint8_t *codes, \
                                          uint8_t *scales) {                                      \
    split(blocks, count, codes, scales, bytes, runs);                                             \
  }                                                                                               \
  void pleat_##name##_join(pleat_instructions set, const uint8_t *codes, const uint8_t *scales,   \
                           ptrdiff_t block_count, uint8_t *blocks) {                              \
    if (uses_avx2(set)) {                                                                      \
      name##_join_avx2(codes, scales, block_count, blocks);                                       \
    } else {                                                                                      \
      name##_join_portable(codes, scales, block_count, blocks);                                   \
    }                                                                                             \
  }                                                                                               \
  void pleat_##name##_split(pleat_instructions set, const uint8_t *blocks, ptrdiff_t block_count, \
                            uint8_t *codes, uint8_t *scales) {                                    \
    if (uses_avx2(set)) {                                                                      \
      name##_split_avx2(blocks, block_count, codes, scales);                                      \
    } else {                                                                                      \
      name##_split_portable(blocks, block_count, codes, scales);                                  \
    }                                                                                             \
  }

PATHS(mxfp4, MXFP4_BYTES, MXFP4_RUNS)
PATHS(nvfp4, NVFP4_BYTES, NVFP4_RUNS)
