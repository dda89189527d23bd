/*
 * How llama.cpp finds the scales and the minima of the K types that have minima: Q2_K, Q4_K and
 * Q5_K. Sub-blocks are called parts. The layouts are in ggml_k.h.
 */
#ifndef PLEAT_GGML_K_SCALES_H
#define PLEAT_GGML_K_SCALES_H

#include "ggml_affine.h"
#include "ggml_k.h"
#include "ggml_positive.h"

enum { K_BLOCK = 256, K_BLOCKS = 4, MOST_PARTS = 16 };

/* The properties of a type. In calls they are constants. */
typedef struct {
  int bits, part_count, top;     /* `top` is the highest code of a scale or a minimum */
  affine_search plain, weighted; /* without and with importance */
  float mean_factor;             /* of the mean square in weights */
  bool clamps_plain, clamps_weighted; /* whether codes of scales above `top` are cut */
  ptrdiff_t size;                /* bytes of a block */
} k_type;

typedef struct {
  float values[K_BLOCKS * K_BLOCK], weights[K_BLOCKS * K_BLOCK];
  /* For each part: the result of the search, and the total of the weights. */
  float scales[K_BLOCKS * MOST_PARTS], minima[K_BLOCKS * MOST_PARTS]; /* minima are negated */
  float factors[K_BLOCKS * MOST_PARTS], origins[K_BLOCKS * MOST_PARTS];
  float totals[K_BLOCKS * MOST_PARTS];
} k_batch;

/* What is stored of a block, except for the codes. */
typedef struct {
  uint16_t scale, minimum; /* half-precision */
  uint8_t scales[MOST_PARTS], minima[MOST_PARTS];
} k_scales;

ALWAYS_INLINE void weigh_without_importance(affine_search search, affine_unit *unit) {
  lanes mean = all(0);
  if (!search.is_absolute) {
    for (int i = 0; i < search.length; i++) mean += unit->values[i] * unit->values[i];
    mean = root(mean / (float)search.length);
  }
  for (int i = 0; i < search.length; i++) unit->weights[i] = mean + magnitude(unit->values[i]);
}

ALWAYS_INLINE void search_parts(affine_search search, bool is_weighted, k_batch *batch) {
  const int length = search.length;
  affine_unit units[UNITS];
  for (int part = 0; part < K_BLOCKS * K_BLOCK / length; part += UNITS * LANES) {
    for (int u = 0; u < UNITS; u++) {
      const int start = (part + u * LANES) * length;
      transpose(batch->values + start, length, length, units[u].values);
      if (is_weighted) {
        transpose(batch->weights + start, length, length, units[u].weights);
      } else {
        weigh_without_importance(search, &units[u]);
      }
    }
    search_affine(search, units);
    for (int u = 0; u < UNITS; u++) {
      const int first = part + u * LANES;
      store_lanes(batch->scales + first, units[u].best.scale);
      store_lanes(batch->minima + first, -units[u].best.minimum);
      store_lanes(batch->factors + first, units[u].best.factor);
      store_lanes(batch->origins + first, units[u].best.origin);
      store_lanes(batch->totals + first, units[u].total);
    }
  }
}

/* Rounds the scales of a block, or its minima, to codes times a half-precision number. The largest
   gets the code `top`. */
ALWAYS_INLINE uint16_t round_to_largest(k_type type, const float *numbers, uint8_t *codes) {
  float most = 0;
  for (int i = 0; i < type.part_count; i++) most = numbers[i] > most ? numbers[i] : most;
  float factor = most > 0 ? (float)type.top / most : 0;
  for (int i = 0; i < type.part_count; i++) codes[i] = (uint8_t)nearest_one(factor * numbers[i]);
  return half_of(most / (float)type.top);
}

/* The same by weighted least squares. Lane k has the scales of block k, and lane K_BLOCKS + k its
   minima. Further lanes are not used. */
ALWAYS_INLINE void round_to_fit(k_type type, const k_batch *batch, k_scales found[K_BLOCKS]) {
  lanes numbers[MOST_PARTS], weights[MOST_PARTS];
  int_lanes codes[MOST_PARTS];
  for (int i = 0; i < type.part_count; i++) {
    numbers[i] = weights[i] = all(0);
    for (int k = 0; k < K_BLOCKS; k++) {
      const int part = k * type.part_count + i;
      numbers[i][k] = batch->scales[part], numbers[i][K_BLOCKS + k] = batch->minima[part];
      weights[i][k] = weights[i][K_BLOCKS + k] = batch->totals[part];
    }
  }
  lanes scale = fit_positive(numbers, weights, type.part_count, type.top, codes);
  for (int k = 0; k < K_BLOCKS; k++) {
    found[k].scale = half_of(scale[k]), found[k].minimum = half_of(scale[K_BLOCKS + k]);
    for (int i = 0; i < type.part_count; i++) {
      found[k].scales[i] = (uint8_t)codes[i][k];
      found[k].minima[i] = (uint8_t)codes[i][K_BLOCKS + k];
    }
  }
}

/* Packs the codes of scales and minima, and replaces them by what is read back. They differ if
   rounding errors made a scale negative, so that its code is not in the range. */
ALWAYS_INLINE void pack_scales(k_type type, bool clamps, k_scales *found, uint8_t *out) {
  for (int i = 0; clamps && i < type.part_count; i++) {
    if (found->scales[i] > type.top) found->scales[i] = (uint8_t)type.top;
    if (found->minima[i] > type.top) found->minima[i] = (uint8_t)type.top;
  }
  if (type.bits == 2) {
    for (int i = 0; i < 16; i++) {
      out[i] = (uint8_t)(found->scales[i] | found->minima[i] << 4);
      found->scales[i] = out[i] & 15, found->minima[i] = out[i] >> 4;
    }
    return;
  }
  for (int i = 0; i < 4; i++) {
    uint8_t scale = found->scales[i + 4], minimum = found->minima[i + 4];
    out[i] = (uint8_t)(found->scales[i] | scale >> 4 << 6);
    out[i + 4] = (uint8_t)(found->minima[i] | minimum >> 4 << 6);
    out[i + 8] = (uint8_t)((scale & 15) | minimum << 4);
  }
  for (int i = 0; i < 8; i++) {
    int scale, minimum;
    scale_and_minimum(out, i, &scale, &minimum);
    found->scales[i] = (uint8_t)scale, found->minima[i] = (uint8_t)minimum;
  }
}

/* Copies blocks into the batch, fills it up with zeros, and computes the weights. */
ALWAYS_INLINE void load_k_batch(k_type type, weight_rows rows, ptrdiff_t first, int count,
                                k_batch *batch) {
  const size_t size = (size_t)(count * K_BLOCK) * sizeof(float);
  memcpy(batch->values, rows.values + first * K_BLOCK, size);
  memset(batch->values + count * K_BLOCK, 0, sizeof batch->values - size);
  if (!rows.importance) return;
  float sums[K_BLOCKS];
  sums_of_squares(batch->values, K_BLOCK, K_BLOCK, K_BLOCKS, sums);
  for (int k = 0; k < K_BLOCKS; k++) {
    const float *importance = importance_of(rows, first + (k < count ? k : 0), K_BLOCK);
    weigh(batch->values + k * K_BLOCK, importance, type.mean_factor * sums[k] / K_BLOCK, K_BLOCK,
          batch->weights + k * K_BLOCK);
  }
}

ALWAYS_INLINE void find_scales(k_type type, bool is_weighted, k_batch *batch,
                               k_scales found[K_BLOCKS]) {
  if (is_weighted) {
    search_parts(type.weighted, true, batch);
    round_to_fit(type, batch, found);
    return;
  }
  search_parts(type.plain, false, batch);
  for (int k = 0; k < K_BLOCKS; k++) {
    const int part = k * type.part_count;
    found[k].scale = round_to_largest(type, batch->scales + part, found[k].scales);
    found[k].minimum = round_to_largest(type, batch->minima + part, found[k].minima);
  }
}

#endif
