#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "search.h"

/* Zero has a whole code in both kinds, so there is only a scale to fit. */

/* Scales the values: by the farthest one, or by the range that includes 0. `zero` gets the code of
   zero that fits the whole range. */
ALWAYS_INLINE void scale_values(search_tile *tile, bool has_zeros, float top, lanes *zero) {
  lanes least, most;
  find_ends(tile, &least, &most);
  least = smaller(least, all(0));
  most = larger(most, all(0));
  const lanes range = has_zeros ? most - least : choose(most > -least, most, least);
  set_range(tile, &range);
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    const lanes x = load_lanes(tile->originals + i * LANES);
    store_lanes(tile->scaled + i * LANES, x * tile->inverse);
  }
  *zero = -least * tile->inverse * top;
  *zero = rounded_within(false, *zero, all(0), all(top));
}

/* How far the scale of trial i of a stage goes beyond the range, in codes. The stages have 5, 4 and
   8 such distances: each stage halves the gaps of the lower one. */
ALWAYS_INLINE int distance_count(int stage) { return stage == 0 ? 5 : 2 << stage; }

ALWAYS_INLINE float distance(int stage, int i, float spacing) {
  return spacing / (float)(1 << stage) * (float)(stage == 0 ? i : 2 * i + 1);
}

/* Trial k of a stage of symmetric groups. The farthest value gets a code near the first one, or
   near the last one. */
ALWAYS_INLINE void set_symmetric(int stage, int k, float spacing, float top, search_trial *trial) {
  const float central = (top + 1) / 2, beyond = distance(stage, k / 2, spacing) - 1;
  trial->low = all(0 - central);
  trial->slope = all(k % 2 == 0 ? -(central + beyond) : central - 0.5f + beyond);
}

/* How many zero points next to that for the whole range a stage tries, on each side. */
ALWAYS_INLINE int reach_of(int stage) { return stage < 2 ? 1 : 2; }

/* Trial k of a stage of groups with zero points, which are those next to `zero`. */
ALWAYS_INLINE void set_zero_point(int stage, int k, float spacing, float top, const lanes *zero,
                                  search_trial *trial) {
  const int reach = reach_of(stage), width = 2 * reach + 1;
  const lanes near = rounded_within(false, *zero + (float)(k % width - reach), all(0), all(top));
  trial->low = 0 - near;
  trial->slope = all(top + (distance(stage, k / width, spacing) - 0.5f));
}

ALWAYS_INLINE void try_codes(const search_tile *tile, float top, int count, search_fit *fits) {
  search_sums sums[TRIALS];
  sum_codes(tile, fits, count, false, top, sums);
  for (int t = 0; t < count; t++) fit_scale(&sums[t].products, &sums[t].squares, &fits[t]);
}

/* Tries all trials of a stage. An odd one is tried alone. */
ALWAYS_INLINE void try_stage(const search_tile *tile, bool has_zeros, float top, int stage,
                             float spacing, const lanes *zero, search_fit *best) {
  search_fit fits[TRIALS] = {*best, *best};
  const int width = has_zeros ? 2 * reach_of(stage) + 1 : 2;
  const int last = width * distance_count(stage) - 1;
  for (int k = 0; k <= last; k += TRIALS) {
    for (int t = 0; t < TRIALS; t++) {
      const int number = k + t < last ? k + t : last;
      has_zeros ? set_zero_point(stage, number, spacing, top, zero, &fits[t].trial)
                : set_symmetric(stage, number, spacing, top, &fits[t].trial);
    }
    if (k < last) {
      try_codes(tile, top, TRIALS, fits);
      for (int t = 0; t < TRIALS; t++) keep_better(&fits[t], best);
    } else {
      try_codes(tile, top, 1, fits);
      keep_better(fits, best);
    }
  }
}

ALWAYS_INLINE void load_result(const search_job *job, const search_tile *tile, bool has_zeros,
                               float central, search_result *result) {
  for (int j = 0; j < LANES; j++) {
    const ptrdiff_t k = group_in_lane(tile, j);
    result->scale[j] = job->scales[k];
    result->low[j] = 0 - (has_zeros ? job->offsets[k] : central);
  }
}

ALWAYS_INLINE void improve(const search_job *job, bool rounds, bool spread, bool weighted,
                           ptrdiff_t first, bool has_zeros) {
  const float top = (float)((1 << job->bits) - 1), central = (top + 1) / 2;
  /* Without a bias, it pays to cut off more. */
  const float spacing = trial_spacing(job->group_size, job->bits - 1);
  search_tile tile;
  search_result result = {.low = {0}}, found = result;
  search_fit best = {.gain = {0}}, fit = best;
  lanes zero;
  load_tile(job, rounds, spread, weighted, first, &tile);
  load_result(job, &tile, has_zeros, central, &result);
  estimate_error(job->group_size, &tile, top, &result);
  scale_values(&tile, has_zeros, top, &zero);
  for (int stage = 0; stage <= job->effort; stage++) {
    try_stage(&tile, has_zeros, top, stage, spacing, &zero, &best);
    search_fit refined = best;
    for (int k = 0; k < (stage < 2 ? 2 : 8); k++) {
      fit = refined;
      fit.trial.slope = 1 / fit.scale;
      try_codes(&tile, top, 1, &fit);
      keep_better(&fit, &refined);
    }
    found.low = refined.trial.low;
    found.scale = refined.scale * tile.range;
    round_vector(job->format, &found.scale);
    estimate_error(job->group_size, &tile, top, &found);
    keep_smaller(&tile, top, &found, &result);
  }
  for (int j = 0; j < tile.groups; j++) {
    const ptrdiff_t k = first + j;
    if (has_zeros) job->offsets[k] = 0 - result.low[j];
    write_group(job, k, result.scale[j], 0, result.low[j]);
  }
}

ALWAYS_INLINE void improve_symmetric(const search_job *job, bool rounds, bool spread, bool weighted,
                                     ptrdiff_t first) {
  improve(job, rounds, spread, weighted, first, false);
}

ALWAYS_INLINE void improve_zero_point(const search_job *job, bool rounds, bool spread,
                                      bool weighted, ptrdiff_t first) {
  improve(job, rounds, spread, weighted, first, true);
}

GROUP_SEARCH(symmetric, improve_symmetric)
GROUP_SEARCH(zero_point, improve_zero_point)

int64_t pleat_search_symmetric(pleat_instructions set, const float *values, ptrdiff_t group_count,
                               ptrdiff_t group_size, int bits, pleat_format format,
                               const float *importance, ptrdiff_t groups_per_row, int effort,
                               float *scratch, uint8_t *codes, float *scales) {
  int64_t fault =
      pleat_encode_symmetric(set, values, group_count, group_size, bits, format, NULL, scales);
  if (fault >= 0) return fault;
  search_symmetric(set, &(search_job){values, group_count, group_size, bits, format, importance,
                                      groups_per_row, effort, scratch, codes, scales, NULL});
  return -1;
}

int64_t pleat_search_zero_point(pleat_instructions set, const float *values, ptrdiff_t group_count,
                                ptrdiff_t group_size, int bits, pleat_format format,
                                const float *importance, ptrdiff_t groups_per_row, int effort,
                                float *scratch, uint8_t *codes, float *scales, float *zeros) {
  int64_t fault = pleat_encode_zero_point(set, values, group_count, group_size, bits, format,
                                          NULL, scales, zeros);
  if (fault >= 0) return fault;
  search_zero_point(set, &(search_job){values, group_count, group_size, bits, format, importance,
                                       groups_per_row, effort, scratch, codes, scales, zeros});
  return -1;
}
