#include <string.h>

#include "CKernels.h"
#include "paths.h"

/*
 * Codes packed down columns: word k of the bit stream of a row is in stripe k, at the position of
 * the row. Tiles are transposed, so that the words of a row follow one another, and are packed as
 * rows. A tile has 16 rows, because a cache line holds 16 words. Its 512 columns are a multiple of
 * 32, so that its rows are whole words for any number of bits.
 */

enum { TILE_ROWS = 16, TILE_COLUMNS = 512 };

/* Copies between `words` stripes of `count` words each, and the same words row by row. */

ALWAYS_INLINE void rows_from_stripes(const uint8_t *stripes, ptrdiff_t distance, ptrdiff_t words,
                                     ptrdiff_t count, uint32_t *rows) {
  for (ptrdiff_t k = 0; k < words; k++, stripes += distance) {
    for (ptrdiff_t row = 0; row < count; row++) {
      memcpy(rows + row * words + k, stripes + 4 * row, 4);
    }
  }
}

ALWAYS_INLINE void stripes_from_rows(const uint32_t *rows, ptrdiff_t words, ptrdiff_t count,
                                     uint8_t *stripes, ptrdiff_t distance) {
  for (ptrdiff_t k = 0; k < words; k++, stripes += distance) {
    for (ptrdiff_t row = 0; row < count; row++) {
      memcpy(stripes + 4 * row, rows + row * words + k, 4);
    }
  }
}

/* For a whole tile, the number of rows is a constant, so that the compiler can unroll the loop. */

void pleat_pack_lines(pleat_instructions set, const uint8_t *codes, ptrdiff_t rows,
                      ptrdiff_t columns, int bits, void *out, ptrdiff_t distance) {
  uint32_t tile[TILE_ROWS * TILE_COLUMNS / 4];
  for (ptrdiff_t row = 0; row < rows; row += TILE_ROWS) {
    ptrdiff_t count = rows - row < TILE_ROWS ? rows - row : TILE_ROWS;
    for (ptrdiff_t first = 0; first < columns; first += TILE_COLUMNS) {
      ptrdiff_t wide = columns - first < TILE_COLUMNS ? columns - first : TILE_COLUMNS;
      ptrdiff_t words = wide * bits / 32;
      for (ptrdiff_t k = 0; k < count; k++) {
        pleat_pack(set, codes + (row + k) * columns + first, 1, wide, bits, tile + k * words);
      }
      uint8_t *stripes = (uint8_t *)out + first / 32 * bits * distance + 4 * row;
      if (count == TILE_ROWS) {
        stripes_from_rows(tile, words, TILE_ROWS, stripes, distance);
      } else {
        stripes_from_rows(tile, words, count, stripes, distance);
      }
    }
  }
}

void pleat_unpack_lines(pleat_instructions set, const void *bytes, ptrdiff_t distance,
                        ptrdiff_t rows, ptrdiff_t columns, int bits, uint8_t *codes) {
  uint32_t tile[TILE_ROWS * TILE_COLUMNS / 4];
  for (ptrdiff_t row = 0; row < rows; row += TILE_ROWS) {
    ptrdiff_t count = rows - row < TILE_ROWS ? rows - row : TILE_ROWS;
    for (ptrdiff_t first = 0; first < columns; first += TILE_COLUMNS) {
      ptrdiff_t wide = columns - first < TILE_COLUMNS ? columns - first : TILE_COLUMNS;
      ptrdiff_t words = wide * bits / 32;
      const uint8_t *stripes = (const uint8_t *)bytes + first / 32 * bits * distance + 4 * row;
      if (count == TILE_ROWS) {
        rows_from_stripes(stripes, distance, words, TILE_ROWS, tile);
      } else {
        rows_from_stripes(stripes, distance, words, count, tile);
      }
      for (ptrdiff_t k = 0; k < count; k++) {
        pleat_unpack(set, tile + k * words, 1, wide, bits, codes + (row + k) * columns + first);
      }
    }
  }
}
