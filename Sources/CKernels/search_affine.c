#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "search.h"

/* The weighted mean of the scaled values is taken away from them, so that the sums are exact enough
   in single precision. */
typedef struct {
  lanes least;       /* of the values */
  lanes center;      /* the mean of (value - least) / range, which was taken away */
  lanes sum, mean;   /* of the scaled values: nearly 0 */
  lanes over_weight; /* 1 / the sum of the weights */
} affine_tile;

/* The sum of the scaled values, and of the weights, after taking `center` away. */
ALWAYS_INLINE void sum_scaled(const search_tile *tile, const lanes *center, lanes *sum) {
  lanes total = all(0);
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    lanes x = load_lanes(tile->scaled + i * LANES) - *center;
    store_lanes(tile->scaled + i * LANES, x);
    if (tile->weighted) x *= load_lanes(tile->weights + i * LANES);
    total += x;
  }
  add_lanes(tile->spread, &total);
  *sum = total;
}

ALWAYS_INLINE void scale_values(ptrdiff_t size, search_tile *tile, affine_tile *affine) {
  const lanes zero = all(0);
  lanes most, weight = zero;
  find_ends(tile, &affine->least, &most);
  const lanes range = most - affine->least;
  set_range(tile, &range);
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    const lanes x = load_lanes(tile->originals + i * LANES);
    store_lanes(tile->scaled + i * LANES, (x - affine->least) * tile->inverse);
  }
  if (tile->weighted) {
    for (ptrdiff_t i = 0; i < tile->count; i++) weight += load_lanes(tile->weights + i * LANES);
    add_lanes(tile->spread, &weight);
  } else {
    weight = all((float)size);
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

ALWAYS_INLINE void try_codes(const search_tile *tile, const affine_tile *affine, float top,
                             int count, search_fit *fits) {
  search_sums sums[TRIALS];
  sum_codes(tile, fits, count, true, top, sums);
  for (int t = 0; t < count; t++) {
    search_fit *fit = &fits[t];
    fit->mean = sums[t].codes * affine->over_weight;
    sums[t].products -= fit->mean * affine->sum;
    sums[t].squares -= fit->mean * sums[t].codes;
    fit_scale(&sums[t].products, &sums[t].squares, fit);
  }
}

/* Tries all trials of a stage. An odd one is tried alone. */
ALWAYS_INLINE void try_stage(const search_tile *tile, const affine_tile *affine, float top,
                             int stage, float step, search_fit *best) {
  const search_fit start = *best;
  search_fit fits[TRIALS] = {start, start};
  const int last = trial_count(stage) - 1;
  for (int k = 0; k <= last; k += TRIALS) {
    for (int t = 0; t < TRIALS; t++) {
      set_trial(stage, k + t < last ? k + t : last, step, &start, &fits[t].trial);
      set_ends(affine, top, &fits[t].trial);
    }
    if (k < last) {
      try_codes(tile, affine, top, TRIALS, fits);
      for (int t = 0; t < TRIALS; t++) keep_better(&fits[t], best);
    } else {
      try_codes(tile, affine, top, 1, fits);
      keep_better(fits, best);
    }
  }
}

/* Takes scale and offset from the fit of the codes. */
ALWAYS_INLINE void follow(const affine_tile *affine, const lanes *scale, search_fit *fit) {
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
  const lanes scale = result->scale * tile->inverse;
  follow(affine, &scale, fit);
  try_codes(tile, affine, top, 1, fit);
  for (int j = 0; j < LANES; j++) {
    double mean = (double)affine->center[j] + (double)affine->mean[j];
    mean = (double)affine->least[j] + (double)tile->range[j] * mean;
    result->bias[j] = (float)(mean - (double)result->scale[j] * (double)fit->mean[j]);
  }
  round_vector(job->format, &result->bias);
}

ALWAYS_INLINE void improve(const search_job *job, bool rounds, bool spread, bool weighted,
                           ptrdiff_t first) {
  const float top = (float)((1 << job->bits) - 1);
  const float spacing = trial_spacing(job->group_size, job->bits);
  search_tile tile;
  affine_tile affine;
  search_result result = {.low = {0}}, found;
  search_fit best = {.gain = {0}}, fit = best;
  load_tile(job, rounds, spread, weighted, first, &tile);
  for (int j = 0; j < LANES; j++) {
    result.scale[j] = job->scales[group_in_lane(&tile, j)];
    result.bias[j] = job->offsets[group_in_lane(&tile, j)];
  }
  estimate_error(job->group_size, &tile, top, &result);
  scale_values(job->group_size, &tile, &affine);
  for (int stage = 0; stage <= job->effort; stage++) {
    const float step = spacing / (float)(1 << stage);
    try_stage(&tile, &affine, top, stage, step, &best);
    search_fit refined = best;
    for (int k = 0; k < (stage < 2 ? 2 : 8); k++) {
      fit = refined;
      follow(&affine, &fit.scale, &fit);
      try_codes(&tile, &affine, top, 1, &fit);
      keep_better(&fit, &refined);
    }
    store_fit(job, &tile, &affine, top, &refined, &found);
    estimate_error(job->group_size, &tile, top, &found);
    keep_smaller(&tile, top, &found, &result);
  }
  for (int j = 0; j < tile.groups; j++) {
    const ptrdiff_t k = first + j;
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
  int64_t fault = pleat_encode_minmax(set, values, group_count, group_size, bits, format, NULL,
                                      scales, biases);
  if (fault >= 0) return fault;
  search_affine(set, &(search_job){values, group_count, group_size, bits, format, importance,
                                   groups_per_row, effort, scratch, codes, scales, biases});
  return -1;
}
