/*
 * Encoders of Q4_0 and Q5_0 with importance, or with a search for smaller errors. Blocks of 32
 * values have one scale, so the result of llama.cpp's search is stored as it is. The layouts are in
 * ggml_small.h.
 */
#ifndef PLEAT_GGML_Q0_H
#define PLEAT_GGML_Q0_H

#include "ggml_group_search.h"

/* d, in Q5_0 fifth bits[4], nibbles[16] */
ALWAYS_INLINE void pack_q0(const uint8_t *restrict codes, int bits, uint8_t *restrict block) {
  block += 2;
  if (bits == 5) {
    uint32_t high = 0;
    for (int j = 0; j < 32; j++) high |= (uint32_t)(codes[j] >> 4) << j;
    memcpy(block, &high, sizeof high);
    block += sizeof high;
  }
  pack_nibbles(codes, block);
}

ALWAYS_INLINE int64_t encode_q0_batch(int bits, weight_rows rows, ptrdiff_t first,
                                      small_batch *batch, uint8_t *restrict out) {
  const int top = 1 << (bits - 1), size = 2 + 4 * bits;
  const bool is_searched = rows.search_rounds > 0;
  lanes x[32], w[32], wx[32];
  transpose(batch->values, 32, 32, x);
  transpose(batch->weights, 32, 32, w);
  for (int i = 0; i < 32; i++) wx[i] = w[i] * x[i];
  symmetric_fit fit;
  if (rows.importance) {
    fit = fit_symmetric(x, wx, w, 32, top, false);
  } else {
    fit.scale = first_farthest(x, 32) / (float)-top;
  }
  if (is_searched) fit.scale = search_groups((level_set){top}, rows, first, batch, fit.scale);
  for (int k = 0; k < batch->count; k++) {
    const float *values = batch->values + 32 * k;
    uint8_t codes[32], *block = out + size * k;
    if (!all_finite(values, 32)) return 2 * k;
    store_f16(block, fit.scale[k]);
    if (!is_finite_half(load16(block))) return 2 * k + 1;
    if (is_searched) {
      write_nearest_codes(values, 32, top, load_f16(block), codes);
    } else {
      write_found_codes(values, 32, top, fit.factor[k], fit.is_zero[k], codes);
    }
    pack_q0(codes, bits, block);
  }
  return -1;
}

/* The mean square in weights is that of the row. Rows are summed several at a time. */
ALWAYS_INLINE int64_t encode_q0(int bits, weight_rows rows, uint8_t *restrict out) {
  enum { SUMMED = 8 };
  const ptrdiff_t columns = rows.column_count, size = 2 + 4 * bits;
  for (ptrdiff_t row = 0; row < rows.row_count; row += SUMMED) {
    const ptrdiff_t left = rows.row_count - row, number = left < SUMMED ? left : SUMMED;
    const ptrdiff_t start = row * columns / 32, end = (row + number) * columns / 32;
    float sums[SUMMED], means[LANES] = {0};
    sums_of_squares(rows.values + row * columns, columns, columns, number, sums);
    for (ptrdiff_t first = start; first < end; first += LANES) {
      small_batch batch;
      load_small_batch(rows, first, end - first, &batch);
      for (int k = 0; k < batch.count; k++) {
        means[k] = sums[(first + k) * 32 / columns - row] / (float)columns;
      }
      if (rows.importance) weigh_small_batch(rows, first, means, &batch);
      int64_t fault = encode_q0_batch(bits, rows, first, &batch, out + first * size);
      if (fault >= 0) return 2 * first + fault;
    }
  }
  return -1;
}

#endif
