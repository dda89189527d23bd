#pragma STDC FP_CONTRACT OFF

#include <math.h>
#include <string.h>

#include "half.h"
#include "packed_rows.h"

ptrdiff_t pleat_packed_size(const pleat_packed_groups *groups, ptrdiff_t row_count) {
  return (row_count + HEIGHT - 1) / HEIGHT * block_size(groups);
}

/* A number of each row of a block, `stride` apart; those of missing rows are 0. */
ALWAYS_INLINE uint8_t *pack_numbers(pleat_format format, const float *values, ptrdiff_t stride,
                                    ptrdiff_t rows, uint8_t *out) {
  for (ptrdiff_t r = 0; r < HEIGHT; r++) {
    float value = r < rows ? values[r * stride] : 0;
    if (format == PLEAT_FLOAT32) {
      memcpy(out + r * 4, &value, 4);
    } else if (format == PLEAT_FLOAT16) {
      store_f16(out + r * 2, value);
    } else {
      uint16_t half = (uint16_t)(bits_of_float(value) >> 16);
      memcpy(out + r * 2, &half, 2);
    }
  }
  return out + numbers_size(format);
}

/* Makes one word of 32 / bits codes of a byte each. */
ALWAYS_INLINE uint32_t word_of_codes(const uint8_t *codes, int bits) {
  uint32_t word = 0;
  for (int shift = 0; shift < 8; shift += bits, codes += 4) {
    uint32_t four;
    memcpy(&four, codes, 4);
    word |= four << shift;
  }
  return word;
}

ALWAYS_INLINE uint8_t *pack_codes(int bits, const uint8_t *codes, ptrdiff_t stride, ptrdiff_t rows,
                                  ptrdiff_t columns, uint8_t *out) {
  for (ptrdiff_t k = 0; k < columns; k += 32 / bits, out += HEIGHT * 4) {
    for (ptrdiff_t r = 0; r < HEIGHT; r++) {
      uint32_t word = 0;
      if (r < rows) {
        const uint8_t *first = codes + r * stride + k;
        word = word_of_codes(first, bits);
      }
      memcpy(out + r * 4, &word, 4);
    }
  }
  return out;
}

ALWAYS_INLINE bool all_finite(const float *values, ptrdiff_t count) {
  bool result = true;
  for (ptrdiff_t i = 0; i < count; i++) result &= fabsf(values[i]) < INFINITY;
  return result;
}

bool pleat_pack_groups(const pleat_packed_groups *groups, const uint8_t *codes, const float *scales,
                       const float *offsets, ptrdiff_t row_count, void *packed) {
  const ptrdiff_t columns = groups->count * groups->size;
  uint8_t *out = packed;
  for (ptrdiff_t first = 0; first < row_count; first += HEIGHT) {
    ptrdiff_t rows = row_count - first < HEIGHT ? row_count - first : HEIGHT;
    for (ptrdiff_t g = 0; g < groups->count; g++) {
      ptrdiff_t group = first * groups->count + g;
      out = pack_numbers(groups->format, scales + group, groups->count, rows, out);
      if (groups->form != PLEAT_CENTERED) {
        out = pack_numbers(groups->format, offsets + group, groups->count, rows, out);
      }
      const uint8_t *start = codes + first * columns + g * groups->size;
      switch (groups->bits) {
        case 2: out = pack_codes(2, start, columns, rows, groups->size, out); break;
        case 4: out = pack_codes(4, start, columns, rows, groups->size, out); break;
        default: out = pack_codes(8, start, columns, rows, groups->size, out); break;
      }
    }
  }
  ptrdiff_t count = row_count * groups->count;
  return all_finite(scales, count) &&
         (groups->form == PLEAT_CENTERED || all_finite(offsets, count));
}

ptrdiff_t pleat_packed_number_size(pleat_format format, ptrdiff_t columns, ptrdiff_t row_count) {
  return (row_count + HEIGHT - 1) / HEIGHT * columns * numbers_size(format);
}

void pleat_pack_numbers(pleat_format format, const float *values, ptrdiff_t columns,
                        ptrdiff_t row_count, void *packed) {
  uint8_t *out = packed;
  for (ptrdiff_t first = 0; first < row_count; first += HEIGHT) {
    ptrdiff_t rows = row_count - first < HEIGHT ? row_count - first : HEIGHT;
    for (ptrdiff_t k = 0; k < columns; k++) {
      out = pack_numbers(format, values + first * columns + k, columns, rows, out);
    }
  }
}
