#include <string.h>

#include "CKernels.h"
#include "paths.h"

/*
 * Codes that are packed down columns: word k of the stream of a row is in line k, at the place of
 * the row. Tiles are turned, so that the words of a row follow each other, and are packed as rows
 * are. Sixteen words are what a cache line holds; sixteen times 32 codes are whole words for any
 * number of bits.
 */

enum { TILE_ROWS = 16, TILE_COLUMNS = 512 };

/* words lines of which each has count words, and the same words row by row. */

ALWAYS_INLINE void turn_lines(const uint8_t *lines, ptrdiff_t distance, ptrdiff_t words,
                              ptrdiff_t count, uint32_t *rows) {
  for (ptrdiff_t k = 0; k < words; k++, lines += distance) {
    for (ptrdiff_t row = 0; row < count; row++) {
      memcpy(rows + row * words + k, lines + 4 * row, 4);
    }
  }
}

ALWAYS_INLINE void turn_rows(const uint32_t *rows, ptrdiff_t words, ptrdiff_t count,
                             uint8_t *lines, ptrdiff_t distance) {
  for (ptrdiff_t k = 0; k < words; k++, lines += distance) {
    for (ptrdiff_t row = 0; row < count; row++) {
      memcpy(lines + 4 * row, rows + row * words + k, 4);
    }
  }
}

/* A whole tile has a constant number of rows, for the compiler to unroll. */

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
      uint8_t *lines = (uint8_t *)out + first / 32 * bits * distance + 4 * row;
      if (count == TILE_ROWS) {
        turn_rows(tile, words, TILE_ROWS, lines, distance);
      } else {
        turn_rows(tile, words, count, lines, distance);
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
      const uint8_t *lines = (const uint8_t *)bytes + first / 32 * bits * distance + 4 * row;
      if (count == TILE_ROWS) {
        turn_lines(lines, distance, words, TILE_ROWS, tile);
      } else {
        turn_lines(lines, distance, words, count, tile);
      }
      for (ptrdiff_t k = 0; k < count; k++) {
        pleat_unpack(set, tile + k * words, 1, wide, bits, codes + (row + k) * columns + first);
      }
    }
  }
}
