#include <string.h>

#include "CKernels.h"
#include "half.h"

/*
 * AWQ stores the codes of eight adjacent rows in a word, and has one stripe of words per column.
 * From the lowest nibble up, a word holds rows 0, 2, 4, 6, 1, 3, 5, 7. Eight words of eight columns
 * form a square of 64 codes. It is transposed in three steps, which swap halves, quarters and
 * neighbors.
 */

static const uint8_t ORDER[8] = {0, 2, 4, 6, 1, 3, 5, 7};

#define NIBBLES 0x0f0f0f0f0f0f0f0full

/* Nibble i of the low half of x becomes byte i. */
ALWAYS_INLINE uint64_t spread(uint64_t x) {
  x = (x | x << 16) & 0x0000ffff0000ffffull;
  x = (x | x << 8) & 0x00ff00ff00ff00ffull;
  return (x | x << 4) & NIBBLES;
}

ALWAYS_INLINE uint64_t gather(uint64_t x) {
  x &= NIBBLES;
  x = (x | x >> 4) & 0x00ff00ff00ff00ffull;
  x = (x | x >> 8) & 0x0000ffff0000ffffull;
  return (x | x >> 16) & 0x00000000ffffffffull;
}

/* Byte j of word i becomes byte i of word j. */
ALWAYS_INLINE void transpose(uint64_t x[8]) {
  for (int i = 0; i < 4; i++) {
    uint64_t t = (x[i] >> 32 ^ x[i + 4]) & 0x00000000ffffffffull;
    x[i + 4] ^= t;
    x[i] ^= t << 32;
  }
  for (int i = 0; i < 8; i += i % 4 == 1 ? 3 : 1) {
    uint64_t t = (x[i] >> 16 ^ x[i + 2]) & 0x0000ffff0000ffffull;
    x[i + 2] ^= t;
    x[i] ^= t << 16;
  }
  for (int i = 0; i < 8; i += 2) {
    uint64_t t = (x[i] >> 8 ^ x[i + 1]) & 0x00ff00ff00ff00ffull;
    x[i + 1] ^= t;
    x[i] ^= t << 8;
  }
}

ALWAYS_INLINE void unpack_square(const uint8_t *words, ptrdiff_t distance, size_t width,
                                 ptrdiff_t columns, uint8_t *codes) {
  uint64_t x[8] = {0};
  for (size_t i = 0; i < width; i++) {
    uint32_t word;
    memcpy(&word, words + (ptrdiff_t)i * distance, 4);
    x[i] = spread(word);
  }
  transpose(x);
  for (int i = 0; i < 8; i++) memcpy(codes + ORDER[i] * columns, &x[i], width);
}

ALWAYS_INLINE void pack_square(const uint8_t *codes, ptrdiff_t columns, size_t width,
                               ptrdiff_t distance, uint8_t *words) {
  uint64_t x[8] = {0};
  for (int i = 0; i < 8; i++) memcpy(&x[i], codes + ORDER[i] * columns, width);
  transpose(x);
  for (size_t i = 0; i < width; i++) {
    uint32_t word = (uint32_t)gather(x[i]);
    memcpy(words + (ptrdiff_t)i * distance, &word, 4);
  }
}

ALWAYS_INLINE void unpack(const uint8_t *words, ptrdiff_t distance, ptrdiff_t rows,
                          ptrdiff_t columns, uint8_t *codes) {
  ptrdiff_t whole = columns / 8 * 8;
  for (ptrdiff_t c = 0; c < columns; c += 8) {
    for (ptrdiff_t r = 0; r < rows; r += 8) {
      const uint8_t *from = words + c * distance + r / 2;
      uint8_t *to = codes + r * columns + c;
      if (c < whole) {
        unpack_square(from, distance, 8, columns, to);
      } else {
        unpack_square(from, distance, (size_t)(columns - c), columns, to);
      }
    }
  }
}

ALWAYS_INLINE void pack(const uint8_t *codes, ptrdiff_t rows, ptrdiff_t columns, uint8_t *words,
                        ptrdiff_t distance) {
  ptrdiff_t whole = columns / 8 * 8;
  for (ptrdiff_t c = 0; c < columns; c += 8) {
    for (ptrdiff_t r = 0; r < rows; r += 8) {
      const uint8_t *from = codes + r * columns + c;
      uint8_t *to = words + c * distance + r / 2;
      if (c < whole) {
        pack_square(from, columns, 8, distance, to);
      } else {
        pack_square(from, columns, (size_t)(columns - c), distance, to);
      }
    }
  }
}

AVX2_PATH static void unpack_avx2(const uint8_t *words, ptrdiff_t distance, ptrdiff_t rows,
                                  ptrdiff_t columns, uint8_t *codes) {
  unpack(words, distance, rows, columns, codes);
}

AVX2_PATH static void pack_avx2(const uint8_t *codes, ptrdiff_t rows, ptrdiff_t columns,
                                uint8_t *words, ptrdiff_t distance) {
  pack(codes, rows, columns, words, distance);
}

void pleat_awq_unpack(pleat_instructions set, const void *words, ptrdiff_t distance,
                      ptrdiff_t rows, ptrdiff_t columns, uint8_t *codes) {
  uses_avx2(set) ? unpack_avx2(words, distance, rows, columns, codes)
                    : unpack(words, distance, rows, columns, codes);
}

void pleat_awq_pack(pleat_instructions set, const uint8_t *codes, ptrdiff_t rows,
                    ptrdiff_t columns, void *words, ptrdiff_t distance) {
  uses_avx2(set) ? pack_avx2(codes, rows, columns, words, distance)
                    : pack(codes, rows, columns, words, distance);
}
