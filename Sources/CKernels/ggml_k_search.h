/*
 * A search for Q2_K, Q4_K and Q5_K with smaller errors than llama.cpp's. It minimizes the squared
 * errors, weighted by importance alone. Sub-blocks are called parts.
 *
 * 1. The start is the result of llama.cpp, or that of a short search with these weights, whichever
 *    has the smaller error in the block.
 * 2. Each part tries the codes of its scale and its minimum up to 2 steps away, and all pairs of
 *    them, with the half-precision numbers of the block as they are.
 * 3. The half-precision numbers are fitted to all codes of the block by least squares. They are
 *    kept if the error becomes smaller.
 *
 * Steps 2 and 3 are repeated. Since no step makes the error larger, it is never above llama.cpp's.
 */
#ifndef PLEAT_GGML_K_SEARCH_H
#define PLEAT_GGML_K_SEARCH_H

#include "ggml_k_scales.h"

/* The codes of scales and minima that are tried: up to REACH steps away. */
enum { REACH = 2, SHIFTS = 2 * REACH + 1, MOST_UNITS = MOST_PARTS / LANES };

/* The values of a block. A unit is eight parts: a block, or half a block of Q2_K. */
typedef struct {
  struct {
    lanes values[LONGEST], weights[LONGEST];
    lanes total, sum; /* of the weights, of the weighted values */
  } units[MOST_UNITS];
} block_values;

/* What is stored of a block except for the codes, and its error. */
typedef struct {
  float d, dmin;
  lanes scales[MOST_UNITS], minima[MOST_UNITS]; /* codes */
  lanes errors[MOST_UNITS];                     /* of the parts */
  double error;
} block_choice;

/* Weighted sums over the values of each part. */
typedef struct {
  lanes error;                    /* squared errors */
  lanes codes, squares, products; /* codes, their squares, their products with the values */
} part_sums;

ALWAYS_INLINE int unit_count(k_type type) { return type.part_count / LANES; }

/* The code nearest to x, without wrapping. */
ALWAYS_INLINE lanes clamped_code(lanes x, int top) {
  return rounded_within(false, x, all(0), all((float)top));
}

ALWAYS_INLINE lanes inverse_of(lanes scale) { return choose(scale > 0, 1 / scale, all(0)); }

ALWAYS_INLINE part_sums sum_parts(k_type type, const block_values *block,
                                  const block_choice *choice, int u) {
  const int length = K_BLOCK / type.part_count, top = (1 << type.bits) - 1;
  lanes scale = choice->d * choice->scales[u], minimum = choice->dmin * choice->minima[u];
  lanes inverse = inverse_of(scale);
  part_sums sums = {all(0), all(0), all(0), all(0)};
  for (int i = 0; i < length; i++) {
    lanes x = block->units[u].values[i], weight = block->units[u].weights[i];
    lanes code = clamped_code((x + minimum) * inverse, top);
    lanes e = scale * code - minimum - x, weighted = weight * code;
    sums.error += weight * (e * e);
    sums.codes += weighted, sums.squares += weighted * code, sums.products += weighted * x;
  }
  return sums;
}

/* Measures a choice, and takes it if it is better than the best. */
ALWAYS_INLINE void offer(k_type type, const block_values *block, block_choice *choice,
                         block_choice *best) {
  choice->error = 0;
  for (int u = 0; u < unit_count(type); u++) {
    choice->errors[u] = sum_parts(type, block, choice, u).error;
    for (int k = 0; k < LANES; k++) choice->error += choice->errors[u][k];
  }
  if (choice->error < best->error) *best = *choice;
}

/* Step 2 for one unit. Errors are in units of the scale, which saves operations. */
ALWAYS_INLINE void try_codes(k_type type, const block_values *block, int u,
                             block_choice *choice) {
  const int length = K_BLOCK / type.part_count, top = (1 << type.bits) - 1;
  const lanes scales = choice->scales[u], minima = choice->minima[u];
  const lanes limit = all((float)type.top);
  lanes least = choice->errors[u];
  for (int a = -REACH; a <= REACH; a++) {
    /* A scale of 0 is kept only if the start has it. */
    lanes trial = smaller(larger(scales + (float)a, all(1)), limit);
    lanes scale = choice->d * trial, inverse = inverse_of(scale);
    lanes codes[SHIFTS], shifts[SHIFTS], errors[SHIFTS];
    for (int b = 0; b < SHIFTS; b++) {
      codes[b] = smaller(larger(minima + (float)(b - REACH), all(0)), limit);
      shifts[b] = choice->dmin * codes[b] * inverse, errors[b] = all(0);
    }
    for (int i = 0; i < length; i++) {
      lanes x = block->units[u].values[i] * inverse, weight = block->units[u].weights[i];
      for (int b = 0; b < SHIFTS; b++) {
        lanes y = x + shifts[b], e = clamped_code(y, top) - y;
        errors[b] += weight * (e * e);
      }
    }
    for (int b = 0; b < SHIFTS; b++) {
      lanes error = errors[b] * scale * scale;
      int_lanes is_better = (scale > 0) & (error < least);
      least = choose(is_better, error, least);
      choice->scales[u] = choose(is_better, trial, choice->scales[u]);
      choice->minima[u] = choose(is_better, codes[b], choice->minima[u]);
    }
  }
}

/* Step 3. With the codes fixed, a value is d * (scale * code) - dmin * minimum. */
ALWAYS_INLINE void fit_numbers(k_type type, const block_values *block, block_choice *choice) {
  double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
  for (int u = 0; u < unit_count(type); u++) {
    part_sums sums = sum_parts(type, block, choice, u);
    for (int k = 0; k < LANES; k++) {
      double scale = choice->scales[u][k], minimum = choice->minima[u][k];
      aa += scale * scale * sums.squares[k], ab += scale * minimum * sums.codes[k];
      bb += minimum * minimum * block->units[u].total[k];
      ax += scale * sums.products[k], bx += minimum * block->units[u].sum[k];
    }
  }
  double determinant = aa * bb - ab * ab;
  double d = (ax * bb - bx * ab) / determinant, dmin = (ax * ab - bx * aa) / determinant;
  if (!(determinant > 0 && d > 0 && d < 65504 && dmin > 0 && dmin < 65504)) return;
  choice->d = float_of_half(half_of((float)d));
  choice->dmin = float_of_half(half_of((float)dmin));
}

/* Step 1. */
ALWAYS_INLINE void offer_found(k_type type, const block_values *block, const k_scales *found,
                               block_choice *best) {
  block_choice choice;
  choice.d = float_of_half(found->scale), choice.dmin = float_of_half(found->minimum);
  for (int i = 0; i < type.part_count; i++) {
    choice.scales[i / LANES][i % LANES] = found->scales[i];
    choice.minima[i / LANES][i % LANES] = found->minima[i];
  }
  offer(type, block, &choice, best);
}

ALWAYS_INLINE void load_block(k_type type, const k_batch *batch, int index, block_values *block) {
  const int length = K_BLOCK / type.part_count;
  for (int u = 0; u < unit_count(type); u++) {
    const int start = index * K_BLOCK + u * LANES * length;
    lanes *values = block->units[u].values, *weights = block->units[u].weights;
    transpose(batch->values + start, length, length, values);
    transpose(batch->weights + start, length, length, weights);
    lanes total = all(0), sum = all(0);
    for (int i = 0; i < length; i++) total += weights[i], sum += weights[i] * values[i];
    block->units[u].total = total, block->units[u].sum = sum;
  }
}

/* Improves what llama.cpp has found for a block. `other` is the result of the short search. */
ALWAYS_INLINE void search_block(k_type type, int rounds, const k_batch *batch, int index,
                                const k_scales *other, k_scales *found) {
  block_values block;
  block_choice best = {.error = INFINITY};
  load_block(type, batch, index, &block);
  offer_found(type, &block, found, &best);
  offer_found(type, &block, other, &best);
  if (best.error == INFINITY) return; /* The squares of the values overflow. */
  for (int round = 0; round < rounds; round++) {
    block_choice choice = best;
    for (int u = 0; u < unit_count(type); u++) try_codes(type, &block, u, &choice);
    offer(type, &block, &choice, &best);
    choice = best;
    fit_numbers(type, &block, &choice);
    offer(type, &block, &choice, &best);
  }
  found->scale = half_of(best.d), found->minimum = half_of(best.dmin);
  for (int i = 0; i < type.part_count; i++) {
    found->scales[i] = (uint8_t)(int)best.scales[i / LANES][i % LANES];
    found->minima[i] = (uint8_t)(int)best.minima[i / LANES][i % LANES];
  }
}

/* Improves what llama.cpp has found for a batch. Replaces the weights of the batch. */
ALWAYS_INLINE void search_k_batch(k_type type, weight_rows rows, ptrdiff_t first, int count,
                                  k_batch *batch, k_scales found[K_BLOCKS]) {
  const affine_search shorter = {.length = type.weighted.length, .top = type.weighted.top,
                                 .first = -0.9f, .step = 0.2f, .trial_count = 10,
                                 .rounds = rows.rounds};
  k_scales others[K_BLOCKS];
  uint8_t packed[MOST_PARTS];
  for (int k = 0; k < K_BLOCKS; k++) {
    const float *importance = importance_of(rows, first + (k < count ? k : 0), K_BLOCK);
    weigh_by_importance(importance, K_BLOCK, batch->weights + k * K_BLOCK);
  }
  search_parts(shorter, true, batch);
  round_to_fit(type, batch, others);
  const bool clamps = rows.importance ? type.clamps_weighted : type.clamps_plain;
  for (int k = 0; k < count; k++) {
    pack_scales(type, clamps, &found[k], packed);
    pack_scales(type, true, &others[k], packed);
    search_block(type, rows.search_rounds, batch, k, &others[k], &found[k]);
  }
}

#endif
