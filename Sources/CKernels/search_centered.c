#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "search.h"

/* Zero has a whole code in both kinds, so there is only a scale to fit. */

/* Scales the values: by the farthest one, or by the range that includes 0. `zero` gets the code of
   zero that fits the whole range. */
ALWAYS_INLINE void scale_values(search_tile *tile, bool has_zeros, float top, f32x8 *zero) {
  const f32x8 nothing = {0};
  f32x8 least, most, x;
  find_ends(tile, &least, &most);
  least = WHERE(least < nothing, least, nothing);
  most = WHERE(most > nothing, most, nothing);
  const f32x8 range = has_zeros ? most - least : WHERE(most > -least, most, least);
  set_range(tile, &range);
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    load_vector(tile->originals, i, &x);
    x *= tile->inverse;
    store_vector(&x, i, tile->scaled);
  }
  const f32x8 high = nothing + top;
  *zero = -least * tile->inverse * top;
  clamp_and_round(&nothing, &high, zero);
}

/* How far the scale of trial i of a stage goes beyond the range, in codes. The stages have 5, 4 and
   8 such distances: each stage halves the gaps of the lower one. */
ALWAYS_INLINE int distance_count(int stage) { return stage == 0 ? 5 : 2 << stage; }

ALWAYS_INLINE float distance(int stage, int i, float spacing) {
  return spacing / (float)(1 << stage) * (float)(stage == 0 ? i : 2 * i + 1);
}

/* Trial k of a stage of symmetric groups; false if there are no more. The farthest value gets a
   code near the first one, or near the last one. */
ALWAYS_INLINE bool next_symmetric(int stage, int k, float spacing, float top, search_trial *trial) {
  const f32x8 nothing = {0};
  const float central = (top + 1) / 2, beyond = distance(stage, k / 2, spacing) - 1;
  if (k == 2 * distance_count(stage)) return false;
  trial->low = nothing - central;
  trial->slope = nothing + (k % 2 == 0 ? -(central + beyond) : central - 0.5f + beyond);
  return true;
}

/* Trial k of a stage of groups with zero points; false if there are no more. The zero points are
   those next to `zero`. */
ALWAYS_INLINE bool next_zero_point(int stage, int k, float spacing, float top, const f32x8 *zero,
                                   search_trial *trial) {
  const f32x8 nothing = {0}, high = nothing + top;
  const int reach = stage < 2 ? 1 : 2, width = 2 * reach + 1;
  if (k == width * distance_count(stage)) return false;
  f32x8 near = *zero + (float)(k % width - reach);
  clamp_and_round(&nothing, &high, &near);
  trial->low = nothing - near;
  trial->slope = nothing + (top + (distance(stage, k / width, spacing) - 0.5f));
  return true;
}

ALWAYS_INLINE void try_codes(const search_tile *tile, float top, search_fit *fit) {
  search_sums sums;
  sum_codes(tile, &fit->trial, false, top, &sums);
  fit_scale(&sums.products, &sums.squares, fit);
}

ALWAYS_INLINE void load_result(const search_job *job, const search_tile *tile, bool has_zeros,
                               float central, search_result *result) {
  for (int j = 0; j < LANES; j++) {
    const ptrdiff_t k = group_in_lane(tile, j);
    result->scale[j] = job->scales[k];
    result->low[j] = 0 - (has_zeros ? job->offsets[k] : central);
  }
}

ALWAYS_INLINE void improve(const search_job *job, bool spread, bool weighted, ptrdiff_t first,
                           bool has_zeros) {
  const float top = (float)((1 << job->bits) - 1), central = (top + 1) / 2;
  /* Without a bias, it pays to cut off more. */
  const float spacing = trial_spacing(job->group_size, job->bits - 1);
  search_tile tile;
  search_result result = {.low = {0}}, found = result;
  search_fit best = {.gain = {0}}, fit = best;
  f32x8 zero;
  load_tile(job, spread, weighted, first, &tile);
  load_result(job, &tile, has_zeros, central, &result);
  find_error(&tile, top, &result);
  scale_values(&tile, has_zeros, top, &zero);
  for (int stage = 0; stage <= job->effort; stage++) {
    for (int k = 0; has_zeros ? next_zero_point(stage, k, spacing, top, &zero, &fit.trial)
                              : next_symmetric(stage, k, spacing, top, &fit.trial);
         k++) {
      try_codes(&tile, top, &fit);
      keep_better(&fit, &best);
    }
    search_fit refined = best;
    for (int k = 0; k < (stage < 2 ? 2 : 8); k++) {
      fit = refined;
      fit.trial.slope = 1 / fit.scale;
      try_codes(&tile, top, &fit);
      keep_better(&fit, &refined);
    }
    found.low = refined.trial.low;
    found.scale = refined.scale * tile.range;
    round_vector(job->format, &found.scale);
    find_error(&tile, top, &found);
    keep_smaller(&found, &result);
  }
  for (int j = 0; j < tile.groups; j++) {
    const ptrdiff_t k = first + j;
    const float code_of_zero = 0 - result.low[j];
    if (result.scale[j] == job->scales[k] && (!has_zeros || code_of_zero == job->offsets[k])) {
      continue;
    }
    if (has_zeros) job->offsets[k] = code_of_zero;
    write_group(job, k, result.scale[j], 0, result.low[j]);
  }
}

ALWAYS_INLINE void improve_symmetric(const search_job *job, bool spread, bool weighted,
                                     ptrdiff_t first) {
  improve(job, spread, weighted, first, false);
}

ALWAYS_INLINE void improve_zero_point(const search_job *job, bool spread, bool weighted,
                                      ptrdiff_t first) {
  improve(job, spread, weighted, first, true);
}

GROUP_SEARCH(symmetric, improve_symmetric)
GROUP_SEARCH(zero_point, improve_zero_point)

int64_t pleat_search_symmetric(pleat_instructions set, const float *values, ptrdiff_t group_count,
                               ptrdiff_t group_size, int bits, pleat_format format,
                               const float *importance, ptrdiff_t groups_per_row, int effort,
                               float *scratch, uint8_t *codes, float *scales) {
  int64_t fault =
      pleat_encode_symmetric(set, values, group_count, group_size, bits, format, codes, scales);
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
                                          codes, scales, zeros);
  if (fault >= 0) return fault;
  search_zero_point(set, &(search_job){values, group_count, group_size, bits, format, importance,
                                       groups_per_row, effort, scratch, codes, scales, zeros});
  return -1;
}
