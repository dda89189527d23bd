/*
 * Eight consecutive blocks of 32 values.
 */
#ifndef PLEAT_GGML_BATCH_H
#define PLEAT_GGML_BATCH_H

#include "ggml_lanes.h"
#include "ggml_small.h"

/* Values and weights after the first `count` blocks are zeros. */
typedef struct {
  float values[32 * LANES], weights[32 * LANES];
  int count;
} small_batch;

/* Copies up to eight of the `left` blocks from number `first`. */
ALWAYS_INLINE void load_small_batch(weight_rows rows, ptrdiff_t first, ptrdiff_t left,
                                    small_batch *batch) {
  batch->count = left <= 0 ? 0 : left < LANES ? (int)left : LANES;
  const size_t size = (size_t)batch->count * 32 * sizeof(float);
  memset(batch->values, 0, sizeof batch->values);
  if (batch->count > 0) memcpy(batch->values, rows.values + 32 * first, size);
  memset(batch->weights, 0, sizeof batch->weights);
}

/* Weighs the values by importance, with a mean square for each block. */
ALWAYS_INLINE void weigh_small_batch(weight_rows rows, ptrdiff_t first, const float *mean_squares,
                                     small_batch *batch) {
  for (int k = 0; k < batch->count; k++) {
    weigh(batch->values + 32 * k, importance_of(rows, first + k, 32), mean_squares[k], 32,
          batch->weights + 32 * k);
  }
}

#endif
