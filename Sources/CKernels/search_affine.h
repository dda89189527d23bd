/*
 * The search for a scale and a bias of each group.
 */
#ifndef PLEAT_SEARCH_AFFINE_H
#define PLEAT_SEARCH_AFFINE_H

#include "search_loops.h"

/* The weighted mean of the scaled values is taken away from them, so that the sums are exact enough
   in single precision. */
typedef struct {
  lanes least;       /* of the values */
  lanes center;      /* the mean of (value - least) / range, which was taken away */
  lanes sum, mean;   /* of the scaled values: nearly 0 */
  lanes over_weight; /* 1 / the sum of the weights */
} affine_tile;

/* The sum of the scaled values, and of the weights, after taking `center` away. */
ALWAYS_INLINE void sum_scaled(search_kind kind, const search_tile *tile, const lanes *center,
                              lanes *sum) {
  lanes total = all(0);
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    lanes x = load_lanes(tile->scaled + i * LANES) - *center;
    store_lanes(tile->scaled + i * LANES, x);
    if (kind.weighted) x *= load_lanes(tile->weights + i * LANES);
    total += x;
  }
  add_lanes(kind.spread, &total);
  *sum = total;
}

ALWAYS_INLINE void scale_values(ptrdiff_t size, search_kind kind, search_tile *tile,
                                affine_tile *affine) {
  const lanes zero = all(0);
  lanes most, weight = zero;
  find_ends(kind, tile, &affine->least, &most);
  const lanes range = most - affine->least;
  set_range(tile, &range);
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    const lanes x = load_lanes(tile->originals + i * LANES);
    store_lanes(tile->scaled + i * LANES, (x - affine->least) * tile->inverse);
  }
  if (kind.weighted) {
    for (ptrdiff_t i = 0; i < tile->count; i++) weight += load_lanes(tile->weights + i * LANES);
    add_lanes(kind.spread, &weight);
  } else {
    weight = all((float)size);
  }
  affine->over_weight = 1 / weight;
  sum_scaled(kind, tile, &zero, &affine->sum);
  affine->center = affine->sum * affine->over_weight;
  sum_scaled(kind, tile, &affine->center, &affine->sum);
  affine->mean = affine->sum * affine->over_weight;
}

/* Scale and offset for which the ends of the range lie `below` and `above` the codes. */
ALWAYS_INLINE void set_ends(const affine_tile *affine, float top, search_trial *trial) {
  trial->slope = top + trial->below + trial->above;
  trial->shift = affine->center * trial->slope - trial->below;
}

ALWAYS_INLINE int trial_count(int stage) { return stage == 0 ? 9 : stage == 1 ? 8 : 121; }

ALWAYS_INLINE void set_trial(int stage, int k, float step, const search_fit *start,
                             search_trial *trial) {
  static const int8_t below[] = {1, -1, 0, 0, 1, -1, 1, -1};
  static const int8_t above[] = {0, 0, 1, -1, 1, -1, -1, 1};
  if (stage == 1) {
    trial->below = start->trial.below + step * (float)below[k];
    trial->above = start->trial.above + step * (float)above[k];
  } else {
    const int side = stage == 0 ? 3 : 11;
    trial->below = all(step * (float)(k / side) - 0.25f);
    trial->above = all(step * (float)(k % side) - 0.25f);
  }
}

/* Tries `count` fits, each of a tile. */
ALWAYS_INLINE void try_codes(search_kind kind, const search_tile *const tiles[TRIALS],
                             const affine_tile *const affine[TRIALS], float top, int count,
                             search_fit *fits) {
  search_sums sums[TRIALS];
  sum_codes(kind, tiles, fits, count, true, top, sums);
  for (int t = 0; t < count; t++) {
    search_fit *fit = &fits[t];
    fit->mean = sums[t].codes * affine[t]->over_weight;
    sums[t].products -= fit->mean * affine[t]->sum;
    sums[t].squares -= fit->mean * sums[t].codes;
    fit_scale(&sums[t].products, &sums[t].squares, fit);
  }
}

/* One fit for each tile. */
ALWAYS_INLINE void try_both(search_kind kind, const search_tile tiles[TILES],
                            const affine_tile affine[TILES], float top, search_fit fits[TILES]) {
  const search_tile *const both[] = {&tiles[0], &tiles[1]};
  const affine_tile *const both_affine[] = {&affine[0], &affine[1]};
  try_codes(kind, both, both_affine, top, TILES, fits);
}

/* Tries all trials of a stage, two of a tile at a time. The last one of an odd number is tried with
   that of the other tile. */
ALWAYS_INLINE void try_stage(search_kind kind, const search_tile tiles[TILES],
                             const affine_tile affine[TILES], float top, int stage, float step,
                             search_fit best[TILES]) {
  const search_fit starts[] = {best[0], best[1]};
  const int count = trial_count(stage);
  search_fit fits[TRIALS];
  for (int tile = 0; tile < TILES; tile++) {
    const search_tile *const same[] = {&tiles[tile], &tiles[tile]};
    const affine_tile *const same_affine[] = {&affine[tile], &affine[tile]};
    for (int k = 0; k + TRIALS <= count; k += TRIALS) {
      for (int t = 0; t < TRIALS; t++) {
        fits[t] = starts[tile];
        set_trial(stage, k + t, step, &starts[tile], &fits[t].trial);
        set_ends(&affine[tile], top, &fits[t].trial);
      }
      try_codes(kind, same, same_affine, top, TRIALS, fits);
      for (int t = 0; t < TRIALS; t++) keep_better(&fits[t], &best[tile]);
    }
  }
  if (count % TRIALS == 0) return;
  for (int t = 0; t < TILES; t++) {
    fits[t] = starts[t];
    set_trial(stage, count - 1, step, &starts[t], &fits[t].trial);
    set_ends(&affine[t], top, &fits[t].trial);
  }
  try_both(kind, tiles, affine, top, fits);
  for (int t = 0; t < TILES; t++) keep_better(&fits[t], &best[t]);
}

/* Takes scale and offset from the fit of the codes. */
ALWAYS_INLINE void follow(const affine_tile *affine, const lanes *scale, search_fit *fit) {
  fit->trial.slope = 1 / *scale;
  fit->trial.shift = fit->mean - affine->mean * fit->trial.slope;
}

/* Rounds the scales, and fits the biases to the codes that the rounded scales give. */
ALWAYS_INLINE void store_fits(const search_job *job, search_kind kind,
                              const search_tile tiles[TILES], const affine_tile affine[TILES],
                              float top, search_fit fits[TILES], search_result results[TILES]) {
  for (int t = 0; t < TILES; t++) {
    results[t].low = fits[t].trial.low;
    results[t].scale = fits[t].scale * tiles[t].range;
    round_vector(job->format, &results[t].scale);
    const lanes scale = results[t].scale * tiles[t].inverse;
    follow(&affine[t], &scale, &fits[t]);
  }
  try_both(kind, tiles, affine, top, fits);
  for (int t = 0; t < TILES; t++) {
    for (int j = 0; j < LANES; j++) {
      double mean = (double)affine[t].center[j] + (double)affine[t].mean[j];
      mean = (double)affine[t].least[j] + (double)tiles[t].range[j] * mean;
      results[t].bias[j] = (float)(mean - (double)results[t].scale[j] * (double)fits[t].mean[j]);
    }
    round_vector(job->format, &results[t].bias);
  }
}

ALWAYS_INLINE void improve(const search_job *job, search_kind kind,
                           const ptrdiff_t firsts[TILES]) {
  const float top = (float)((1 << job->bits) - 1);
  const float spacing = trial_spacing(job->group_size, job->bits);
  search_tile tiles[TILES];
  affine_tile affine[TILES];
  search_result results[TILES] = {{.low = {0}}}, found[TILES];
  search_fit best[TILES] = {{.gain = {0}}}, refined[TILES], fits[TILES];
  for (int t = 0; t < TILES; t++) {
    load_tile(job, kind, firsts[t], t, &tiles[t]);
    for (int j = 0; j < LANES; j++) {
      results[t].scale[j] = job->scales[group_in_lane(&tiles[t], j)];
      results[t].bias[j] = job->offsets[group_in_lane(&tiles[t], j)];
    }
  }
  estimate_errors(job->group_size, kind, tiles, top, results);
  for (int t = 0; t < TILES; t++) scale_values(job->group_size, kind, &tiles[t], &affine[t]);
  for (int stage = 0; stage <= job->effort; stage++) {
    try_stage(kind, tiles, affine, top, stage, spacing / (float)(1 << stage), best);
    for (int t = 0; t < TILES; t++) refined[t] = best[t];
    for (int k = 0; k < (stage < 2 ? 2 : 8); k++) {
      for (int t = 0; t < TILES; t++) {
        fits[t] = refined[t];
        follow(&affine[t], &fits[t].scale, &fits[t]);
      }
      try_both(kind, tiles, affine, top, fits);
      for (int t = 0; t < TILES; t++) keep_better(&fits[t], &refined[t]);
    }
    store_fits(job, kind, tiles, affine, top, refined, found);
    estimate_errors(job->group_size, kind, tiles, top, found);
    for (int t = 0; t < TILES; t++) keep_smaller(kind, &tiles[t], top, &found[t], &results[t]);
  }
  for (int t = 0; t < TILES; t++) {
    for (int j = 0; j < tiles[t].groups; j++) {
      const ptrdiff_t k = firsts[t] + j;
      job->offsets[k] = results[t].bias[j];
      write_group(job, k, results[t].scale[j], results[t].bias[j], 0);
    }
  }
}

SEARCH_LOOPS(affine, improve)

#endif
