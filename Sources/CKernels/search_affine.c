#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "search.h"

/* The weighted mean of the scaled values is taken away from them, so that the sums are exact enough
   in single precision. */
typedef struct {
  f32x8 least;       /* of the values */
  f32x8 center;      /* the mean of (value - least) / range, which was taken away */
  f32x8 sum, mean;   /* of the scaled values: nearly 0 */
  f32x8 over_weight; /* 1 / the sum of the weights */
} affine_tile;

/* The sum of the scaled values, and of the weights, after taking `center` away. */
ALWAYS_INLINE void sum_scaled(const search_tile *tile, const f32x8 *center, f32x8 *sum) {
  f32x8 total = {0}, x, w;
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    load_vector(tile->scaled, i, &x);
    x -= *center;
    store_vector(&x, i, tile->scaled);
    if (tile->weighted) load_vector(tile->weights, i, &w), x *= w;
    total += x;
  }
  add_lanes(tile->spread, &total);
  *sum = total;
}

ALWAYS_INLINE void scale_values(ptrdiff_t size, search_tile *tile, affine_tile *affine) {
  f32x8 most, x, weight = {0};
  const f32x8 zero = {0};
  find_ends(tile, &affine->least, &most);
  const f32x8 range = most - affine->least;
  set_range(tile, &range);
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    load_vector(tile->originals, i, &x);
    x = (x - affine->least) * tile->inverse;
    store_vector(&x, i, tile->scaled);
  }
  if (tile->weighted) {
    for (ptrdiff_t i = 0; i < tile->count; i++) load_vector(tile->weights, i, &x), weight += x;
    add_lanes(tile->spread, &weight);
  } else {
    fill_vector((float)size, &weight);
  }
  affine->over_weight = 1 / weight;
  sum_scaled(tile, &zero, &affine->sum);
  affine->center = affine->sum * affine->over_weight;
  sum_scaled(tile, &affine->center, &affine->sum);
  affine->mean = affine->sum * affine->over_weight;
}

/* Scale and offset for which the ends of the range lie `below` and `above` the codes. */
ALWAYS_INLINE void set_ends(const affine_tile *affine, float top, search_trial *trial) {
  trial->slope = top + trial->below + trial->above;
  trial->shift = affine->center * trial->slope - trial->below;
}

/* Trial k of a stage; false if there are no more. */
ALWAYS_INLINE bool next_trial(int stage, int k, float step, const search_fit *best,
                              search_trial *trial) {
  static const int8_t below[] = {1, -1, 0, 0, 1, -1, 1, -1};
  static const int8_t above[] = {0, 0, 1, -1, 1, -1, -1, 1};
  const f32x8 zero = {0};
  if (stage == 1) {
    if (k == 8) return false;
    trial->below = best->trial.below + step * (float)below[k];
    trial->above = best->trial.above + step * (float)above[k];
  } else {
    const int side = stage == 0 ? 3 : 11;
    if (k == side * side) return false;
    trial->below = zero + (step * (float)(k / side) - 0.25f);
    trial->above = zero + (step * (float)(k % side) - 0.25f);
  }
  return true;
}

ALWAYS_INLINE void try_codes(const search_tile *tile, const affine_tile *affine, float top,
                             search_fit *fit) {
  search_sums sums;
  sum_codes(tile, &fit->trial, true, top, &sums);
  fit->mean = sums.codes * affine->over_weight;
  sums.products -= fit->mean * affine->sum;
  sums.squares -= fit->mean * sums.codes;
  fit_scale(&sums.products, &sums.squares, fit);
}

/* Takes scale and offset from the fit of the codes. */
ALWAYS_INLINE void follow(const affine_tile *affine, const f32x8 *scale, search_fit *fit) {
  fit->trial.slope = 1 / *scale;
  fit->trial.shift = fit->mean - affine->mean * fit->trial.slope;
}

/* Rounds the scale, and fits the bias to the codes that the rounded scale gives. */
ALWAYS_INLINE void store_fit(const search_job *job, const search_tile *tile,
                             const affine_tile *affine, float top, search_fit *fit,
                             search_result *result) {
  result->low = fit->trial.low;
  result->scale = fit->scale * tile->range;
  round_vector(job->format, &result->scale);
  const f32x8 scale = result->scale * tile->inverse;
  follow(affine, &scale, fit);
  try_codes(tile, affine, top, fit);
  for (int j = 0; j < LANES; j++) {
    double mean = (double)affine->center[j] + (double)affine->mean[j];
    mean = (double)affine->least[j] + (double)tile->range[j] * mean;
    result->bias[j] = (float)(mean - (double)result->scale[j] * (double)fit->mean[j]);
  }
  round_vector(job->format, &result->bias);
}

ALWAYS_INLINE void improve(const search_job *job, bool spread, bool weighted, ptrdiff_t first) {
  const float top = (float)((1 << job->bits) - 1);
  const float spacing = trial_spacing(job->group_size, job->bits);
  search_tile tile;
  affine_tile affine;
  search_result result = {.low = {0}}, found;
  search_fit best = {.gain = {0}}, fit = best;
  load_tile(job, spread, weighted, first, &tile);
  for (int j = 0; j < LANES; j++) {
    result.scale[j] = job->scales[group_in_lane(&tile, j)];
    result.bias[j] = job->offsets[group_in_lane(&tile, j)];
  }
  find_error(&tile, top, &result);
  scale_values(job->group_size, &tile, &affine);
  for (int stage = 0; stage <= job->effort; stage++) {
    const float step = spacing / (float)(1 << stage);
    const search_fit start = best;
    for (int k = 0; next_trial(stage, k, step, &start, &fit.trial); k++) {
      set_ends(&affine, top, &fit.trial);
      try_codes(&tile, &affine, top, &fit);
      keep_better(&fit, &best);
    }
    search_fit refined = best;
    for (int k = 0; k < (stage < 2 ? 2 : 8); k++) {
      fit = refined;
      follow(&affine, &fit.scale, &fit);
      try_codes(&tile, &affine, top, &fit);
      keep_better(&fit, &refined);
    }
    store_fit(job, &tile, &affine, top, &refined, &found);
    find_error(&tile, top, &found);
    keep_smaller(&found, &result);
  }
  for (int j = 0; j < tile.groups; j++) {
    const ptrdiff_t k = first + j;
    if (result.scale[j] == job->scales[k] && result.bias[j] == job->offsets[k]) continue;
    job->offsets[k] = result.bias[j];
    write_group(job, k, result.scale[j], result.bias[j], 0);
  }
}

GROUP_SEARCH(affine, improve)

ptrdiff_t pleat_search_scratch(ptrdiff_t group_size) {
  return 3 * LANES * vector_count(group_size);
}

int64_t pleat_search_affine(pleat_instructions set, const float *values, ptrdiff_t group_count,
                            ptrdiff_t group_size, int bits, pleat_format format,
                            const float *importance, ptrdiff_t groups_per_row, int effort,
                            float *scratch, uint8_t *codes, float *scales, float *biases) {
  int64_t fault = pleat_encode_minmax(set, values, group_count, group_size, bits, format, codes,
                                      scales, biases);
  if (fault >= 0) return fault;
  search_affine(set, &(search_job){values, group_count, group_size, bits, format, importance,
                                   groups_per_row, effort, scratch, codes, scales, biases});
  return -1;
}
