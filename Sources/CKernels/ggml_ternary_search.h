/*
 * A search for TQ1_0 and TQ2_0 with smaller errors than llama.cpp's: squared, and weighted by
 * importance alone. Values of at least half the scale become plus or minus the scale, so the best
 * scale is the weighted mean of their magnitudes. The largest magnitude of llama.cpp suits only
 * weights that are ternary already.
 */
#ifndef PLEAT_GGML_TERNARY_SEARCH_H
#define PLEAT_GGML_TERNARY_SEARCH_H

#include "ggml_lanes.h"

/* The weighted sum of the magnitudes of at least a threshold, and the sum of their weights. */
typedef struct {
  double magnitudes, weights;
} ternary_sums;

ALWAYS_INLINE ternary_sums sum_above(const float *values, const float *weights, float threshold) {
  lanes magnitudes = all(0), total = all(0);
  for (int i = 0; i < 256; i += LANES) {
    lanes size = magnitude(load_lanes(values + i)), w = load_lanes(weights + i);
    w = choose(size >= threshold, w, all(0));
    magnitudes += w * size, total += w;
  }
  return (ternary_sums){sum_of_lanes(magnitudes), sum_of_lanes(total)};
}

ALWAYS_INLINE double error_of_ternary(const float *values, const float *weights, float scale) {
  lanes error = all(0);
  for (int i = 0; i < 256; i += LANES) {
    lanes size = magnitude(load_lanes(values + i));
    lanes e = choose(size >= scale / 2, size - scale, size);
    error += load_lanes(weights + i) * (e * e);
  }
  return sum_of_lanes(error);
}

/* A half-precision scale with a smaller error than the largest magnitude, or that. Thresholds are
   tried down to 1/256 of it. Then each round takes the best scale, and half of that as the
   threshold. */
ALWAYS_INLINE float search_ternary(weight_rows rows, ptrdiff_t index, float largest) {
  const float *values = rows.values + 256 * index;
  float weights[256], threshold = largest, scale = largest;
  double most = 0;
  weigh_by_importance(importance_of(rows, index, 256), 256, weights);
  for (int trial = 0; trial < 16; trial++) {
    threshold *= 0x1.6a09e6p-1f;
    ternary_sums sums = sum_above(values, weights, threshold);
    double gain = sums.magnitudes * sums.magnitudes / sums.weights;
    if (!(gain > most)) continue;
    most = gain, scale = (float)(sums.magnitudes / sums.weights);
  }
  for (int round = 0; round < 2 + 2 * rows.search_rounds; round++) {
    ternary_sums sums = sum_above(values, weights, scale / 2);
    if (sums.weights > 0) scale = (float)(sums.magnitudes / sums.weights);
  }
  const float found = rounded_to_half(scale), start = rounded_to_half(largest);
  bool is_better =
      error_of_ternary(values, weights, found) < error_of_ternary(values, weights, start);
  return is_better ? found : largest;
}

#endif
