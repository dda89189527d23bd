/*
 * Encoders of Q4_0, Q4_1, Q5_0 and Q5_1 with importance. Blocks of 32 values have one scale, and in
 * some types one minimum, so the result of llama.cpp's search is stored as it is. The layouts are
 * in ggml_small.h.
 */
#ifndef PLEAT_GGML_SMALL_ENCODE_H
#define PLEAT_GGML_SMALL_ENCODE_H

#include "ggml_affine.h"
#include "ggml_batch.h"
#include "ggml_symmetric.h"

enum { SUMMED_ROWS = 8 };

/* Q4_0 or Q5_0 */
ALWAYS_INLINE int64_t encode_symmetric_batch(bool rounds, int bits, const small_batch *batch,
                                             uint8_t *restrict out) {
  const int top = 1 << (bits - 1);
  lanes x[32], w[32], wx[32];
  transpose(batch->values, 32, 32, x);
  transpose(batch->weights, 32, 32, w);
  for (int i = 0; i < 32; i++) wx[i] = w[i] * x[i];
  const symmetric_fit fit = fit_symmetric(rounds, x, wx, w, 32, top, false);
  for (int k = 0; k < batch->count; k++, out += 2 + 4 * bits) {
    const float *values = batch->values + 32 * k;
    uint8_t codes[32];
    if (!all_finite(values, 32)) return 2 * k;
    store_f16(out, fit.scale[k]);
    if (!is_finite_half(load16(out))) return 2 * k + 1;
    write_found_codes(values, 32, top, fit.factor[k], fit.is_zero[k], codes);
    pack_small_codes(codes, bits, out + 2);
  }
  return -1;
}

/* Q4_1 or Q5_1 */
ALWAYS_INLINE int64_t write_affine_batch(int bits, const small_batch *batch,
                                         const affine_unit *unit, uint8_t *restrict out) {
  for (int k = 0; k < batch->count; k++, out += 4 + 4 * bits) {
    const float *values = batch->values + 32 * k;
    uint8_t codes[32];
    if (!all_finite(values, 32)) return 2 * k;
    store_f16(out, unit->best.scale[k]), store_f16(out + 2, unit->best.minimum[k]);
    if (!is_finite_half(load16(out)) || !is_finite_half(load16(out + 2))) return 2 * k + 1;
    for (int i = 0; i < 32; i += LANES) {
      store_codes(codes + i, affine_codes(load_lanes(values + i), all(unit->best.factor[k]),
                                          all(unit->best.origin[k]), (1 << bits) - 1));
    }
    pack_small_codes(codes, bits, out + 4);
  }
  return -1;
}

ALWAYS_INLINE int64_t encode_batches(bool rounds, int bits, bool has_minimum,
                                     const small_batch batches[UNITS], uint8_t *restrict out) {
  const affine_search search = {.length = 32, .top = (1 << bits) - 1, .first = -0.9f,
                                .step = 0.05f, .trial_count = 37, .rounds = rounds};
  affine_unit units[UNITS];
  for (int u = 0; u < UNITS && has_minimum; u++) {
    transpose(batches[u].values, 32, 32, units[u].values);
    transpose(batches[u].weights, 32, 32, units[u].weights);
  }
  if (has_minimum) search_affine(search, units);
  for (int u = 0; u < UNITS; u++, out += LANES * small_block_size(bits, has_minimum)) {
    int64_t fault = has_minimum ? write_affine_batch(bits, &batches[u], &units[u], out)
                                : encode_symmetric_batch(rounds, bits, &batches[u], out);
    if (fault >= 0) return 2 * LANES * u + fault;
  }
  return -1;
}

/* The mean square in weights is that of the row. Rows are summed several at a time. */
ALWAYS_INLINE int64_t encode_small_blocks(int bits, bool has_minimum, weight_rows rows,
                                          uint8_t *restrict out) {
  const ptrdiff_t columns = rows.column_count;
  for (ptrdiff_t row = 0; row < rows.row_count; row += SUMMED_ROWS) {
    const ptrdiff_t left = rows.row_count - row, number = left < SUMMED_ROWS ? left : SUMMED_ROWS;
    const ptrdiff_t start = row * columns / 32, end = (row + number) * columns / 32;
    float sums[SUMMED_ROWS];
    sums_of_squares(rows.values + row * columns, columns, columns, number, sums);
    for (ptrdiff_t first = start; first < end; first += UNITS * LANES) {
      small_batch batches[UNITS];
      for (int u = 0; u < UNITS; u++) {
        const ptrdiff_t at = first + LANES * u;
        float means[LANES];
        load_small_batch(rows, at, end - at, &batches[u]);
        for (int k = 0; k < batches[u].count; k++) {
          means[k] = sums[(at + k) * 32 / columns - row] / (float)columns;
        }
        weigh_small_batch(rows, at, means, &batches[u]);
      }
      int64_t fault = encode_batches(rows.rounds, bits, has_minimum, batches,
                                     out + first * small_block_size(bits, has_minimum));
      if (fault >= 0) return 2 * first + fault;
    }
  }
  return -1;
}

#endif
