/*
 * Sums of squares that do not depend on the order of addition.
 *
 * The square of a float, m^2 * 2^(2e - 300) with its exponent field e and m < 2^24, is an integer
 * of 48 bits times a power of two. It is cut at fixed powers of two into digits of 32 bits: bin t
 * has the digit of weight 2^(32 t - 256). A square has the bin t = (2 e + 2) / 32 of its 47th bit,
 * and no digit above it or more than two below it. A column keeps the digits of three bins: the
 * highest bin of all its squares, and the next two. Each is a sum in 64 bits, which 2^32 squares do
 * not fill. Only digits below 2^-64 of the largest square are dropped, and which ones depends on no
 * order.
 */
#include <string.h>

#include "CKernels.h"
#include "paths.h"

enum { BLOCK = 64 };

ALWAYS_INLINE uint32_t exponent_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits >> 23 & 255;
}

ALWAYS_INLINE void raise_tops(const float *values, ptrdiff_t row_count, ptrdiff_t row_stride,
                              ptrdiff_t column_count, uint8_t *tops) {
  for (ptrdiff_t row = 0; row < row_count; row++, values += row_stride) {
    for (ptrdiff_t i = 0; i < column_count; i++) {
      uint8_t top = (uint8_t)((2 * exponent_of(values[i]) + 2) >> 5);
      tops[i] = top > tops[i] ? top : tops[i];
    }
  }
}

/* Adds the squares of `count` columns, at most BLOCK, which begin in each row at values[0]. */
ALWAYS_INLINE void add_block(const float *values, ptrdiff_t row_count, ptrdiff_t row_stride,
                             ptrdiff_t column_count, ptrdiff_t count, const uint8_t *tops,
                             uint64_t *words) {
  uint64_t low[BLOCK], middle[BLOCK], high[BLOCK], top[BLOCK];
  for (ptrdiff_t i = 0; i < count; i++) {
    low[i] = middle[i] = high[i] = 0;
    top[i] = tops[i];
  }
  for (ptrdiff_t row = 0; row < row_count; row++, values += row_stride) {
    for (ptrdiff_t i = 0; i < count; i++) {
      uint32_t bits;
      memcpy(&bits, values + i, sizeof bits);
      uint64_t exponent = bits >> 23 & 255;
      /* Squares of numbers with the exponent 0 are too small for any sum in float32. */
      uint64_t m = exponent == 0 ? 0 : (bits & 0x7fffff) | 0x800000;
      uint64_t square = m * m, place = 2 * exponent + 2;
      uint64_t shift = 18 + (place & 31), below = top[i] - (place >> 5);
      uint64_t digit2 = square >> (64 - shift), rest = square << shift;
      uint64_t digit1 = rest >> 32, digit0 = rest & UINT32_MAX;
      high[i] += below == 0 ? digit2 : 0;
      middle[i] += below == 0 ? digit1 : below == 1 ? digit2 : 0;
      low[i] += below == 0 ? digit0 : below == 1 ? digit1 : below == 2 ? digit2 : 0;
    }
  }
  for (ptrdiff_t i = 0; i < count; i++) {
    words[i] += low[i];
    words[i + column_count] += middle[i];
    words[i + 2 * column_count] += high[i];
  }
}

ALWAYS_INLINE void add_squares(const float *values, ptrdiff_t row_count, ptrdiff_t row_stride,
                               ptrdiff_t column_count, const uint8_t *tops, uint64_t *words) {
  for (ptrdiff_t i = 0; i < column_count; i += BLOCK) {
    if (column_count - i >= BLOCK) {
      add_block(values + i, row_count, row_stride, column_count, BLOCK, tops + i, words + i);
    } else {
      add_block(values + i, row_count, row_stride, column_count, column_count - i, tops + i,
                words + i);
    }
  }
}

AVX2_PATH static void raise_tops_avx2(const float *values, ptrdiff_t row_count,
                                      ptrdiff_t row_stride, ptrdiff_t column_count,
                                      uint8_t *tops) {
  raise_tops(values, row_count, row_stride, column_count, tops);
}

AVX2_PATH static void add_squares_avx2(const float *values, ptrdiff_t row_count,
                                       ptrdiff_t row_stride, ptrdiff_t column_count,
                                       const uint8_t *tops, uint64_t *words) {
  add_squares(values, row_count, row_stride, column_count, tops, words);
}

void pleat_raise_tops(pleat_instructions set, const float *values, ptrdiff_t row_count,
                      ptrdiff_t row_stride, ptrdiff_t column_count, uint8_t *tops) {
  uses_avx2(set) ? raise_tops_avx2(values, row_count, row_stride, column_count, tops)
                    : raise_tops(values, row_count, row_stride, column_count, tops);
}

void pleat_add_squares(pleat_instructions set, const float *values, ptrdiff_t row_count,
                       ptrdiff_t row_stride, ptrdiff_t column_count, const uint8_t *tops,
                       uint64_t *words) {
  uses_avx2(set) ? add_squares_avx2(values, row_count, row_stride, column_count, tops, words)
                    : add_squares(values, row_count, row_stride, column_count, tops, words);
}
