/*
 * The search for better scales and offsets. Lanes work in step: each on a group, or eight of them
 * on eight values of one long group. A trial rounds the values of a group to codes, for some scale
 * and offset, and sums them. The sums give the scale and the offset that fit these codes best, and
 * the gain: how far they reduce the squared error. So trials are compared without a second pass
 * over the values.
 *
 * The effort has stages. Each stage has trials of its own, then improves the best trial so far in
 * rounds, rounds its parameters to their storage format, and measures the error of what is stored.
 * Stored parameters are replaced only by others with a smaller error. Therefore the result is never
 * worse than the standard encoding, nor than that of a lower effort.
 */
#ifndef PLEAT_SEARCH_H
#define PLEAT_SEARCH_H

#include "CKernels.h"
#include "group.h"
#include "lanes.h"

typedef double wide_lanes __attribute__((vector_size(8 * LANES)));

/* The least size of groups whose values are spread over the lanes. */
enum { LONG_GROUP = 512 };

/* Weights are relative to the mean of their group, and at least this. */
#define LEAST_WEIGHT 1e-6f

/* Outside, 1 / range is not a normal number, and the standard encoding is kept. */
#define LEAST_RANGE 0x1p-120f
#define MOST_RANGE 0x1p120f

typedef struct {
  const float *values;
  ptrdiff_t group_count, group_size;
  int bits;
  pleat_format format;
  const float *importance; /* of the columns of a row; null if all are equal */
  ptrdiff_t groups_per_row;
  int effort;
  float *scratch;
  uint8_t *codes;
  float *scales, *offsets; /* offsets are biases or zeros, or null */
} search_job;

/* Constants of a search: whether the path has an instruction that rounds (see lanes.h), whether one
   group is spread over all lanes, and whether values have weights. */
typedef struct {
  bool rounds, spread, weighted;
} search_kind;

/* Two tiles are searched in step, since sums of one trial wait for each other. */
enum { TILES = 2 };

/* Some groups, one in each lane, or one group spread over all lanes. Lanes past the last group
   repeat it. Lanes past the last value of a spread group have weight 0. */
typedef struct {
  ptrdiff_t first, groups; /* the index of the first group, and how many there are */
  ptrdiff_t count;         /* of vectors */
  float *originals, *scaled, *weights; /* count vectors of each; scaled is in units of `range` */
  lanes range, inverse;                /* inverse = 1 / range, or 0 if it is not a normal number */
} search_tile;

/* code = value * slope + shift, rounded and clamped to low ... low + top. `below` and `above` are
   how far the ends of the range lie beyond the first and the last code. */
typedef struct {
  lanes slope, shift, low, below, above;
} search_trial;

/* What fits the codes of a trial best: the scale in units of `range`, and the mean code. */
typedef struct {
  lanes gain, scale, mean;
  search_trial trial;
} search_fit;

/* Sums over a group, each multiplied by the weight of the value. */
typedef struct {
  lanes codes, products, squares;
} search_sums;

/* Stored parameters, and the error that they cause: `error` is nearly the sum of the weighted squared
   errors, and the exact sum is less than `doubt` away. */
typedef struct {
  lanes scale, bias, low;
  lanes error, doubt;
} search_result;

/* In a spread group each of eight lanes gets the sum of all lanes. */
ALWAYS_INLINE void add_lanes(bool spread, lanes *sums) {
  if (!spread) return;
  const lanes a = *sums;
  *sums = all(((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])));
}

/* Loading. */

ALWAYS_INLINE ptrdiff_t vector_count(ptrdiff_t group_size) {
  return group_size < LONG_GROUP ? group_size : (group_size + LANES - 1) / LANES;
}

ALWAYS_INLINE ptrdiff_t group_in_lane(const search_tile *tile, int lane) {
  return tile->first + (lane < tile->groups ? lane : tile->groups - 1);
}

/* Stores value i of the lane's group at `to` + i * stride. */
ALWAYS_INLINE void load_weights(const search_job *job, const search_tile *tile, int lane, float *to,
                                ptrdiff_t stride) {
  const ptrdiff_t size = job->group_size;
  const float *weights =
      job->importance + group_in_lane(tile, lane) % job->groups_per_row * size;
  double sum = 0;
  for (ptrdiff_t i = 0; i < size; i++) sum += (double)weights[i];
  const double scale = (double)size / sum;
  for (ptrdiff_t i = 0; i < size; i++) {
    float weight = (float)((double)weights[i] * scale);
    weight = weight > LEAST_WEIGHT ? weight : LEAST_WEIGHT;
    to[i * stride] = sum > 0 ? weight : 1;
  }
}

/* Tile number `index` of TILES. */
ALWAYS_INLINE void load_tile(const search_job *job, search_kind kind, ptrdiff_t first, int index,
                             search_tile *tile) {
  const ptrdiff_t size = job->group_size, left = job->group_count - first;
  tile->first = first;
  tile->groups = kind.spread ? 1 : left < LANES ? left : LANES;
  tile->count = vector_count(size);
  tile->originals = job->scratch + index * 3 * tile->count * LANES;
  tile->scaled = tile->originals + tile->count * LANES;
  tile->weights = tile->scaled + tile->count * LANES;
  const ptrdiff_t stride = kind.spread ? 1 : LANES;
  const bool is_full = !kind.spread && tile->groups == LANES && size % LANES == 0;
  for (ptrdiff_t i = 0; is_full && i < size; i += LANES) {
    lanes block[LANES];
    transpose(job->values + first * size + i, size, LANES, block);
    memcpy(tile->originals + i * LANES, block, sizeof block);
  }
  for (int j = 0; j < (kind.spread ? 1 : LANES); j++) {
    const float *values = job->values + group_in_lane(tile, j) * size;
    for (ptrdiff_t i = 0; !is_full && i < size; i++) tile->originals[i * stride + j] = values[i];
    if (!kind.weighted) continue;
    if (job->importance) {
      load_weights(job, tile, j, tile->weights + j, stride);
    } else {
      for (ptrdiff_t i = 0; i < size; i++) tile->weights[i * stride + j] = 1;
    }
  }
  for (ptrdiff_t i = size; kind.spread && i < tile->count * LANES; i++) {
    tile->originals[i] = tile->originals[0];
    tile->weights[i] = 0;
  }
}

/* The least and the largest value of each group. */
ALWAYS_INLINE void find_ends(search_kind kind, const search_tile *tile, lanes *least,
                             lanes *most) {
  lanes low = load_lanes(tile->originals), high = low;
  for (ptrdiff_t i = 1; i < tile->count; i++) {
    const lanes x = load_lanes(tile->originals + i * LANES);
    low = smaller(x, low);
    high = larger(x, high);
  }
  if (kind.spread) {
    float lowest = low[0], highest = high[0];
    for (int j = 1; j < LANES; j++) {
      lowest = low[j] < lowest ? low[j] : lowest;
      highest = high[j] > highest ? high[j] : highest;
    }
    low = all(lowest);
    high = all(highest);
  }
  *least = low;
  *most = high;
}

ALWAYS_INLINE void set_range(search_tile *tile, const lanes *range) {
  const lanes size = magnitude(*range);
  tile->range = *range;
  tile->inverse = choose((size >= LEAST_RANGE) & (size <= MOST_RANGE), 1 / *range, all(0));
}

/* Trials. */

/* How far apart the first trials are, in codes. The larger a group and the fewer its codes, the
   more of its range is best cut off. */
ALWAYS_INLINE float trial_spacing(ptrdiff_t size, int bits) {
  if (size >= 1024) return 2;
  return (size >= 128 && bits <= 3) || (size >= 256 && bits <= 5) ? 1 : 0.5f;
}

/* Two trials at a time hide the latency of additions. */
enum { TRIALS = 2 };

/* The sums of `count` trials, each of a tile. Only groups with a bias need `codes`. */
ALWAYS_INLINE void sum_codes(search_kind kind, const search_tile *const tiles[TRIALS],
                             const search_fit *fits, int count, bool has_bias, float top,
                             search_sums *sums) {
  lanes slope[TRIALS], shift[TRIALS], low[TRIALS], high[TRIALS];
  lanes codes[TRIALS], products[TRIALS], squares[TRIALS];
  for (int t = 0; t < count; t++) {
    slope[t] = fits[t].trial.slope, shift[t] = fits[t].trial.shift;
    low[t] = has_bias ? all(0) : fits[t].trial.low, high[t] = low[t] + top;
    codes[t] = products[t] = squares[t] = all(0);
  }
  for (ptrdiff_t i = 0; i < tiles[0]->count; i++) {
#pragma GCC unroll 2
    for (int t = 0; t < count; t++) {
      const lanes x = load_lanes(tiles[t]->scaled + i * LANES);
      const lanes w = kind.weighted ? load_lanes(tiles[t]->weights + i * LANES) : all(1);
      lanes code = has_bias ? fused(x, slope[t], shift[t]) : x * slope[t];
      code = rounded_within(kind.rounds, code, low[t], high[t]);
      lanes part = kind.weighted ? code * w : code;
      if (has_bias) codes[t] += part;
      products[t] = fused(part, x, products[t]);
      squares[t] = fused(part, code, squares[t]);
    }
  }
  for (int t = 0; t < count; t++) {
    add_lanes(kind.spread, &codes[t]);
    add_lanes(kind.spread, &products[t]);
    add_lanes(kind.spread, &squares[t]);
    sums[t] = (search_sums){.codes = codes[t], .products = products[t], .squares = squares[t]};
  }
}

/* Fits the scale, from the sums around the mean code or around 0. */
ALWAYS_INLINE void fit_scale(const lanes *products, const lanes *squares, search_fit *fit) {
  const int_lanes defined = *squares > 0;
  fit->scale = choose(defined, *products / *squares, all(0));
  fit->gain = choose(defined, *products * fit->scale, all(0));
}

ALWAYS_INLINE void keep_better(const search_fit *fit, search_fit *best) {
  const int_lanes better = fit->gain > best->gain;
  best->gain = choose(better, fit->gain, best->gain);
  best->scale = choose(better, fit->scale, best->scale);
  best->mean = choose(better, fit->mean, best->mean);
  best->trial.low = choose(better, fit->trial.low, best->trial.low);
  best->trial.below = choose(better, fit->trial.below, best->trial.below);
  best->trial.above = choose(better, fit->trial.above, best->trial.above);
}

/* Results. */

ALWAYS_INLINE void round_vector(pleat_format format, lanes *vector) {
  float values[LANES];
  memcpy(values, vector, sizeof values);
  round_to_format(values, LANES, format);
  memcpy(vector, values, sizeof values);
}

/* The sum of the weighted squared errors of stored parameters, with the codes of write_codes. */
ALWAYS_INLINE wide_lanes exact_error(search_kind kind, const search_tile *tile, float top,
                                     const search_result *result) {
  const lanes scale = result->scale, bias = result->bias, low = result->low, high = low + top;
  const lanes divisor = choose(scale != 0, scale, all(INFINITY));
  const wide_lanes wide_scale = __builtin_convertvector(scale, wide_lanes);
  const wide_lanes wide_bias = __builtin_convertvector(bias, wide_lanes);
  wide_lanes sum = {0};
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    const lanes x = load_lanes(tile->originals + i * LANES);
    const lanes code = rounded_within(kind.rounds, (x - bias) / divisor, low, high);
    wide_lanes error = __builtin_convertvector(x, wide_lanes) -
                       (wide_scale * __builtin_convertvector(code, wide_lanes) + wide_bias);
    error *= error;
    if (kind.weighted) {
      const lanes w = load_lanes(tile->weights + i * LANES);
      error *= __builtin_convertvector(w, wide_lanes);
    }
    sum += error;
  }
  if (kind.spread) {
    const wide_lanes a = sum;
    sum[0] = ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
    for (int j = 1; j < LANES; j++) sum[j] = sum[0];
  }
  return sum;
}

/* Estimates the error in single precision, with products instead of quotients. Let S be the largest
   magnitude of scale * code. A product gives another code than the quotient only where it lies
   within 2^-22 S / scale of the middle between two codes: there, both codes miss the value by the
   same, up to 2^-20 S. With the rounding of scale * code + bias, and of the difference, each error e
   is off by less than h = 2^-19 (S + |bias|), besides a relative 2^-24. So the sum E of w e^2 is off
   by less than 2 h sqrt(W E) + 3 h^2 W, with W the sum of the weights, and the relative error of
   adding up. */
ALWAYS_INLINE void estimate_errors(ptrdiff_t size, search_kind kind,
                                   const search_tile tiles[TILES], float top,
                                   search_result results[TILES]) {
  lanes inverse[TILES], sums[TILES];
  for (int t = 0; t < TILES; t++) {
    inverse[t] = choose(results[t].scale != 0, 1 / results[t].scale, all(0)), sums[t] = all(0);
  }
  for (ptrdiff_t i = 0; i < tiles[0].count; i++) {
#pragma GCC unroll 2
    for (int t = 0; t < TILES; t++) {
      const lanes x = load_lanes(tiles[t].originals + i * LANES), bias = results[t].bias;
      const lanes low = results[t].low;
      const lanes code = rounded_within(kind.rounds, (x - bias) * inverse[t], low, low + top);
      const lanes error = x - fused(results[t].scale, code, bias);
      const lanes part =
          kind.weighted ? error * load_lanes(tiles[t].weights + i * LANES) : error;
      sums[t] = fused(part, error, sums[t]);
    }
  }
  for (int t = 0; t < TILES; t++) {
    search_result *result = &results[t];
    const lanes low = result->low, high = low + top, span = magnitude(result->scale);
    add_lanes(kind.spread, &sums[t]);
    const lanes reach =
        span * larger(magnitude(low), magnitude(high)) + magnitude(result->bias);
    const lanes off = 0x1.2p-19f * root(all((float)size)) * reach;
    const lanes rounding = sums[t] * (0x1p-22f * (float)(tiles[t].count + 8));
    const lanes doubt = 2 * off * root(sums[t]) + 4 * off * off + rounding + 0x1p-100f;
    const int_lanes normal = ((span >= LEAST_RANGE) & (span <= MOST_RANGE)) | (span == 0);
    result->error = sums[t];
    result->doubt = choose(normal, doubt, all(INFINITY));
  }
}

ALWAYS_INLINE void take_result(int_lanes where, const search_result *found, search_result *result) {
  result->error = choose(where, found->error, result->error);
  result->doubt = choose(where, found->doubt, result->doubt);
  result->scale = choose(where, found->scale, result->scale);
  result->bias = choose(where, found->bias, result->bias);
  result->low = choose(where, found->low, result->low);
}

/* Keeps parameters that have a smaller error: measured exactly where the estimates are too close.
   Parameters that are not finite have an error that is not finite, so they are never kept. */
ALWAYS_INLINE void keep_smaller(search_kind kind, const search_tile *tile, float top,
                                const search_result *found, search_result *result) {
  int_lanes is_smaller = found->error + found->doubt < result->error - result->doubt;
  const int_lanes is_larger = result->error + result->doubt < found->error - found->doubt;
  const int_lanes is_same = (found->scale == result->scale) & (found->bias == result->bias) &
                            (found->low == result->low);
  if (any(~(is_smaller | is_larger | is_same))) {
    const wide_lanes left = exact_error(kind, tile, top, found);
    const wide_lanes right = exact_error(kind, tile, top, result);
    for (int j = 0; j < LANES; j++) is_smaller[j] = left[j] < right[j] ? -1 : 0;
  }
  take_result(is_smaller, found, result);
}

/* Writes the parameters and the codes of a lane. */
ALWAYS_INLINE void write_group(const search_job *job, ptrdiff_t group, float scale, float bias,
                               float low) {
  const ptrdiff_t size = job->group_size;
  job->scales[group] = scale;
  write_codes(job->values + group * size, size, bias,
              scale != 0 ? scale : float_of_bits(0x7f800000), (int)low, (1 << job->bits) - 1,
              job->codes + group * size);
}

#endif
