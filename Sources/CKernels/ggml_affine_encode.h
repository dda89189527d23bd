/*
 * Encoders of Q4_1 and Q5_1 with importance. Blocks of 32 values have one scale and one minimum, so
 * the result of the search is stored as it is. The layouts are in ggml_small.h.
 */
#ifndef PLEAT_GGML_AFFINE_ENCODE_H
#define PLEAT_GGML_AFFINE_ENCODE_H

#include "ggml_affine.h"

enum { AFFINE_BLOCK = 32, AFFINE_BLOCKS = UNITS * LANES, SUMMED_ROWS = 4 };

ALWAYS_INLINE void write_affine_block(int bits, const float *values, uint16_t scale,
                                      uint16_t minimum, float factor, float origin,
                                      uint8_t *out) {
  uint8_t codes[AFFINE_BLOCK];
  for (int i = 0; i < AFFINE_BLOCK; i += LANES) {
    store_codes(codes + i, affine_codes(load_lanes(values + i), all(factor), all(origin),
                                        (1 << bits) - 1));
  }
  memcpy(out, &scale, 2), memcpy(out + 2, &minimum, 2), out += 4;
  if (bits == 5) {
    uint32_t high = 0;
    for (int i = 0; i < 32; i++) high |= (uint32_t)(codes[i] >> 4) << i;
    memcpy(out, &high, 4), out += 4;
  }
  for (int i = 0; i < 16; i++) out[i] = (uint8_t)((codes[i] & 15) | codes[i + 16] << 4);
}

/* Encodes up to AFFINE_BLOCKS blocks. The weights are those of the values. */
ALWAYS_INLINE int64_t encode_affine_batch(int bits, const float *values, const float *weights,
                                          int count, uint8_t *out) {
  const affine_search search = {.length = 32, .top = (1 << bits) - 1, .first = -0.9f,
                                .step = 0.05f, .trial_count = 37};
  affine_unit units[UNITS];
  for (int u = 0; u < UNITS; u++) {
    transpose(values + u * LANES * AFFINE_BLOCK, AFFINE_BLOCK, AFFINE_BLOCK, units[u].values);
    transpose(weights + u * LANES * AFFINE_BLOCK, AFFINE_BLOCK, AFFINE_BLOCK, units[u].weights);
  }
  search_affine(search, units);
  for (int k = 0; k < count; k++) {
    const affine_unit *unit = &units[k / LANES];
    const int lane = k % LANES;
    uint16_t scale = half_of(unit->best.scale[lane]), minimum = half_of(unit->best.minimum[lane]);
    if (!all_finite(values + k * AFFINE_BLOCK, AFFINE_BLOCK)) return 2 * k;
    if (!is_finite_half(scale) || !is_finite_half(minimum)) return 2 * k + 1;
    write_affine_block(bits, values + k * AFFINE_BLOCK, scale, minimum,
                       unit->best.factor[lane], unit->best.origin[lane], out + k * (bits * 4 + 4));
  }
  return -1;
}

/* The mean square of the weights is that of the row. */
ALWAYS_INLINE int64_t encode_affine_blocks(int bits, weight_rows rows, uint8_t *out) {
  const ptrdiff_t columns = rows.column_count;
  float values[AFFINE_BLOCKS * AFFINE_BLOCK], weights[AFFINE_BLOCKS * AFFINE_BLOCK];
  for (ptrdiff_t row = 0; row < rows.row_count; row += SUMMED_ROWS) {
    const ptrdiff_t left = rows.row_count - row, number = left < SUMMED_ROWS ? left : SUMMED_ROWS;
    const ptrdiff_t end = (row + number) * columns / AFFINE_BLOCK;
    float sums[SUMMED_ROWS];
    sums_of_squares(rows.values + row * columns, columns, columns, number, sums);
    for (ptrdiff_t first = row * columns / AFFINE_BLOCK; first < end; first += AFFINE_BLOCKS) {
      const int count = end - first < AFFINE_BLOCKS ? (int)(end - first) : AFFINE_BLOCKS;
      memset(values, 0, sizeof values), memset(weights, 0, sizeof weights);
      memcpy(values, rows.values + first * AFFINE_BLOCK,
             (size_t)(count * AFFINE_BLOCK) * sizeof *values);
      for (int k = 0; k < count; k++) {
        float sum = sums[(first + k) * AFFINE_BLOCK / columns - row];
        weigh(values + k * AFFINE_BLOCK, importance_of(rows, first + k, AFFINE_BLOCK),
              sum / (float)columns, AFFINE_BLOCK, weights + k * AFFINE_BLOCK);
      }
      int64_t fault =
          encode_affine_batch(bits, values, weights, count, out + first * (bits * 4 + 4));
      if (fault >= 0) return 2 * first + fault;
    }
  }
  return -1;
}

#endif
