/*
 * The searches for the scale of symmetric groups, and for a scale and a zero point.
 */
#ifndef PLEAT_SEARCH_CENTERED_H
#define PLEAT_SEARCH_CENTERED_H

#include "search_loops.h"

/* Zero has a whole code in both kinds, so there is only a scale to fit. */

/* Scales the values: by the farthest one, or by the range that includes 0. `zero` gets the code of
   zero that fits the whole range. */
ALWAYS_INLINE void scale_values(search_kind kind, search_tile *tile, bool has_zeros, float top,
                                lanes *zero) {
  lanes least, most;
  find_ends(kind, tile, &least, &most);
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

/* Tries `count` fits, each of a tile. */
ALWAYS_INLINE void try_codes(search_kind kind, const search_tile *const tiles[TRIALS], float top,
                             int count, search_fit *fits) {
  search_sums sums[TRIALS];
  sum_codes(kind, tiles, fits, count, false, top, sums);
  for (int t = 0; t < count; t++) fit_scale(&sums[t].products, &sums[t].squares, &fits[t]);
}

ALWAYS_INLINE void set_trial(bool has_zeros, int stage, int k, float spacing, float top,
                             const lanes *zero, search_trial *trial) {
  has_zeros ? set_zero_point(stage, k, spacing, top, zero, trial)
            : set_symmetric(stage, k, spacing, top, trial);
}

/* Tries all trials of a stage, two of a tile at a time. The last one of an odd number is tried with
   that of the other tile. */
ALWAYS_INLINE void try_stage(search_kind kind, const search_tile tiles[TILES], bool has_zeros,
                             float top, int stage, float spacing, const lanes zeros[TILES],
                             search_fit best[TILES]) {
  const search_tile *const both[] = {&tiles[0], &tiles[1]};
  const int count = (has_zeros ? 2 * reach_of(stage) + 1 : 2) * distance_count(stage);
  search_fit fits[TRIALS] = {best[0], best[1]};
  for (int tile = 0; tile < TILES; tile++) {
    const search_tile *const same[] = {both[tile], both[tile]};
    for (int k = 0; k + TRIALS <= count; k += TRIALS) {
      for (int t = 0; t < TRIALS; t++) {
        set_trial(has_zeros, stage, k + t, spacing, top, &zeros[tile], &fits[t].trial);
      }
      try_codes(kind, same, top, TRIALS, fits);
      for (int t = 0; t < TRIALS; t++) keep_better(&fits[t], &best[tile]);
    }
  }
  if (count % TRIALS == 0) return;
  for (int t = 0; t < TILES; t++) {
    set_trial(has_zeros, stage, count - 1, spacing, top, &zeros[t], &fits[t].trial);
  }
  try_codes(kind, both, top, TILES, fits);
  for (int t = 0; t < TILES; t++) keep_better(&fits[t], &best[t]);
}

ALWAYS_INLINE void load_result(const search_job *job, const search_tile *tile, bool has_zeros,
                               float central, search_result *result) {
  for (int j = 0; j < LANES; j++) {
    const ptrdiff_t k = group_in_lane(tile, j);
    result->scale[j] = job->scales[k];
    result->low[j] = 0 - (has_zeros ? job->offsets[k] : central);
  }
}

ALWAYS_INLINE void improve(const search_job *job, search_kind kind,
                           const ptrdiff_t firsts[TILES], bool has_zeros) {
  const float top = (float)((1 << job->bits) - 1), central = (top + 1) / 2;
  /* Without a bias, it pays to cut off more. */
  const float spacing = trial_spacing(job->group_size, job->bits - 1);
  search_tile tiles[TILES];
  const search_tile *const both[] = {&tiles[0], &tiles[1]};
  search_result results[TILES] = {{.low = {0}}}, found[TILES] = {{.low = {0}}};
  search_fit best[TILES] = {{.gain = {0}}}, refined[TILES], fits[TILES];
  lanes zeros[TILES];
  for (int t = 0; t < TILES; t++) {
    load_tile(job, kind, firsts[t], t, &tiles[t]);
    load_result(job, &tiles[t], has_zeros, central, &results[t]);
  }
  estimate_errors(job->group_size, kind, tiles, top, results);
  for (int t = 0; t < TILES; t++) scale_values(kind, &tiles[t], has_zeros, top, &zeros[t]);
  for (int stage = 0; stage <= job->effort; stage++) {
    try_stage(kind, tiles, has_zeros, top, stage, spacing, zeros, best);
    for (int t = 0; t < TILES; t++) refined[t] = best[t];
    for (int k = 0; k < (stage < 2 ? 2 : 8); k++) {
      for (int t = 0; t < TILES; t++) {
        fits[t] = refined[t];
        fits[t].trial.slope = 1 / fits[t].scale;
      }
      try_codes(kind, both, top, TILES, fits);
      for (int t = 0; t < TILES; t++) keep_better(&fits[t], &refined[t]);
    }
    for (int t = 0; t < TILES; t++) {
      found[t].low = refined[t].trial.low;
      found[t].scale = refined[t].scale * tiles[t].range;
      round_vector(job->format, &found[t].scale);
    }
    estimate_errors(job->group_size, kind, tiles, top, found);
    for (int t = 0; t < TILES; t++) keep_smaller(kind, &tiles[t], top, &found[t], &results[t]);
  }
  for (int t = 0; t < TILES; t++) {
    for (int j = 0; j < tiles[t].groups; j++) {
      const ptrdiff_t k = firsts[t] + j;
      if (has_zeros) job->offsets[k] = 0 - results[t].low[j];
      write_group(job, k, results[t].scale[j], 0, results[t].low[j]);
    }
  }
}

ALWAYS_INLINE void improve_symmetric(const search_job *job, search_kind kind,
                                     const ptrdiff_t firsts[TILES]) {
  improve(job, kind, firsts, false);
}

ALWAYS_INLINE void improve_zero_point(const search_job *job, search_kind kind,
                                      const ptrdiff_t firsts[TILES]) {
  improve(job, kind, firsts, true);
}

SEARCH_LOOPS(symmetric, improve_symmetric)
SEARCH_LOOPS(zero_point, improve_zero_point)

#endif
