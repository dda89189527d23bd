/*
 * The search for better scales and offsets. Eight lanes work in step: on eight groups, or on eight
 * values of one long group. A trial rounds the values of a group to codes, for some scale and
 * offset, and sums them. The sums give the scale and the offset that fit these codes best, and the
 * gain: how far they reduce the squared error. So trials are compared without a second pass over
 * the values.
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

/* There are eight lanes on every machine; the compiler splits them to fit its registers. */
typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef double f64x8 __attribute__((vector_size(64)));

enum {
  LANES = 8,
  LONG_GROUP = 512, /* the least size of groups whose values are spread over the lanes */
};

/* Weights are relative to the mean of their group, and at least this. */
#define LEAST_WEIGHT 1e-6f

/* Outside, 1 / range is not a normal number, and the standard encoding is kept. */
#define LEAST_RANGE 0x1p-120f
#define MOST_RANGE 0x1p120f

/* Adding and subtracting it rounds half to even; see write_codes. */
#define ROUNDER 0x1.8p23f

#define WHERE(mask, a, b) ((f32x8)(((mask) & (i32x8)(a)) | (~(mask) & (i32x8)(b))))

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

/* Some groups, one in each lane, or one group spread over all lanes. Lanes past the last group
   repeat it. Lanes past the last value of a spread group have weight 0. */
typedef struct {
  ptrdiff_t first, groups; /* the index of the first group, and how many there are */
  ptrdiff_t count;         /* of vectors */
  bool spread, weighted;
  float *originals, *scaled, *weights; /* count vectors of each; scaled is in units of `range` */
  f32x8 range, inverse;                /* inverse = 1 / range, or 0 if it is not a normal number */
} search_tile;

/* code = value * slope + shift, rounded and clamped to low ... low + top. `below` and `above` are
   how far the ends of the range lie beyond the first and the last code. */
typedef struct {
  f32x8 slope, shift, low, below, above;
} search_trial;

/* What fits the codes of a trial best: the scale in units of `range`, and the mean code. */
typedef struct {
  f32x8 gain, scale, mean;
  search_trial trial;
} search_fit;

/* Sums over a group, each multiplied by the weight of the value. */
typedef struct {
  f32x8 codes, products, squares;
} search_sums;

/* Stored parameters, and the error that they cause. */
typedef struct {
  f32x8 scale, bias, low;
  f64x8 error;
} search_result;

ALWAYS_INLINE void load_vector(const float *from, ptrdiff_t index, f32x8 *vector) {
  memcpy(vector, from + index * LANES, sizeof *vector);
}

ALWAYS_INLINE void store_vector(const f32x8 *vector, ptrdiff_t index, float *to) {
  memcpy(to + index * LANES, vector, sizeof *vector);
}

ALWAYS_INLINE void fill_vector(float value, f32x8 *vector) {
  for (int j = 0; j < LANES; j++) (*vector)[j] = value;
}

/* In a spread group each lane gets the sum of all lanes. */
ALWAYS_INLINE void add_lanes(bool spread, f32x8 *sums) {
  if (!spread) return;
  const f32x8 a = *sums;
  fill_vector(((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7])), sums);
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

ALWAYS_INLINE void load_tile(const search_job *job, bool spread, bool weighted, ptrdiff_t first,
                             search_tile *tile) {
  const ptrdiff_t size = job->group_size, left = job->group_count - first;
  tile->first = first;
  tile->groups = spread ? 1 : left < LANES ? left : LANES;
  tile->count = vector_count(size);
  tile->spread = spread;
  tile->weighted = weighted;
  tile->originals = job->scratch;
  tile->scaled = tile->originals + tile->count * LANES;
  tile->weights = tile->scaled + tile->count * LANES;
  const ptrdiff_t stride = spread ? 1 : LANES;
  for (int j = 0; j < (spread ? 1 : LANES); j++) {
    const float *values = job->values + group_in_lane(tile, j) * size;
    for (ptrdiff_t i = 0; i < size; i++) tile->originals[i * stride + j] = values[i];
    if (!weighted) continue;
    if (job->importance) {
      load_weights(job, tile, j, tile->weights + j, stride);
    } else {
      for (ptrdiff_t i = 0; i < size; i++) tile->weights[i * stride + j] = 1;
    }
  }
  for (ptrdiff_t i = size; spread && i < tile->count * LANES; i++) {
    tile->originals[i] = tile->originals[0];
    tile->weights[i] = 0;
  }
}

/* The least and the largest value of each group. */
ALWAYS_INLINE void find_ends(const search_tile *tile, f32x8 *least, f32x8 *most) {
  f32x8 low, high, x;
  load_vector(tile->originals, 0, &low);
  high = low;
  for (ptrdiff_t i = 1; i < tile->count; i++) {
    load_vector(tile->originals, i, &x);
    low = WHERE(x < low, x, low);
    high = WHERE(x > high, x, high);
  }
  if (tile->spread) {
    float lowest = low[0], highest = high[0];
    for (int j = 1; j < LANES; j++) {
      lowest = low[j] < lowest ? low[j] : lowest;
      highest = high[j] > highest ? high[j] : highest;
    }
    fill_vector(lowest, &low);
    fill_vector(highest, &high);
  }
  *least = low;
  *most = high;
}

ALWAYS_INLINE void set_range(search_tile *tile, const f32x8 *range) {
  const f32x8 zero = {0}, size = WHERE(*range < zero, -*range, *range);
  tile->range = *range;
  tile->inverse = WHERE((size >= LEAST_RANGE) & (size <= MOST_RANGE), 1 / *range, zero);
}

/* Trials. */

/* How far apart the first trials are, in codes. The larger a group and the fewer its codes, the
   more of its range is best cut off. */
ALWAYS_INLINE float trial_spacing(ptrdiff_t size, int bits) {
  if (size >= 1024) return 2;
  return (size >= 128 && bits <= 3) || (size >= 256 && bits <= 5) ? 1 : 0.5f;
}

ALWAYS_INLINE void clamp_and_round(const f32x8 *low, const f32x8 *high, f32x8 *code) {
  f32x8 x = WHERE(*code > *low, *code, *low);
  x = WHERE(x < *high, x, *high);
  *code = (x + ROUNDER) - ROUNDER;
}

/* The sums of a trial. Only groups with a bias need `codes`. */
ALWAYS_INLINE void sum_codes(const search_tile *tile, const search_trial *trial, bool has_bias,
                             float top, search_sums *sums) {
  const f32x8 slope = trial->slope, shift = trial->shift, low = trial->low, high = low + top;
  f32x8 codes = {0}, products = {0}, squares = {0}, x, w;
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    load_vector(tile->scaled, i, &x);
    f32x8 code = x * slope;
    if (has_bias) code += shift;
    clamp_and_round(&low, &high, &code);
    f32x8 part = code;
    if (tile->weighted) load_vector(tile->weights, i, &w), part *= w;
    if (has_bias) codes += part;
    products += part * x;
    squares += part * code;
  }
  add_lanes(tile->spread, &codes);
  add_lanes(tile->spread, &products);
  add_lanes(tile->spread, &squares);
  *sums = (search_sums){.codes = codes, .products = products, .squares = squares};
}

/* Fits the scale, from the sums around the mean code or around 0. */
ALWAYS_INLINE void fit_scale(const f32x8 *products, const f32x8 *squares, search_fit *fit) {
  const f32x8 zero = {0};
  const i32x8 defined = *squares > zero;
  fit->scale = WHERE(defined, *products / *squares, zero);
  fit->gain = WHERE(defined, *products * fit->scale, zero);
}

ALWAYS_INLINE void keep_better(const search_fit *fit, search_fit *best) {
  const i32x8 better = fit->gain > best->gain;
  best->gain = WHERE(better, fit->gain, best->gain);
  best->scale = WHERE(better, fit->scale, best->scale);
  best->mean = WHERE(better, fit->mean, best->mean);
  best->trial.low = WHERE(better, fit->trial.low, best->trial.low);
  best->trial.below = WHERE(better, fit->trial.below, best->trial.below);
  best->trial.above = WHERE(better, fit->trial.above, best->trial.above);
}

/* Results. */

ALWAYS_INLINE void round_vector(pleat_format format, f32x8 *vector) {
  float values[LANES];
  memcpy(values, vector, sizeof values);
  round_to_format(values, LANES, format);
  memcpy(vector, values, sizeof values);
}

/* Measures the error of stored parameters, with the codes that write_codes makes. */
ALWAYS_INLINE void find_error(const search_tile *tile, float top, search_result *result) {
  const f32x8 scale = result->scale, bias = result->bias, low = result->low, high = low + top;
  const f32x8 zero = {0}, infinity = zero + float_of_bits(0x7f800000);
  const f32x8 divisor = WHERE(scale != zero, scale, infinity);
  const f64x8 wide_scale = __builtin_convertvector(scale, f64x8);
  const f64x8 wide_bias = __builtin_convertvector(bias, f64x8);
  f64x8 sum = {0};
  for (ptrdiff_t i = 0; i < tile->count; i++) {
    f32x8 x, w;
    load_vector(tile->originals, i, &x);
    f32x8 code = (x - bias) / divisor;
    clamp_and_round(&low, &high, &code);
    f64x8 error = __builtin_convertvector(x, f64x8) -
                  (wide_scale * __builtin_convertvector(code, f64x8) + wide_bias);
    error *= error;
    if (tile->weighted) {
      load_vector(tile->weights, i, &w);
      error *= __builtin_convertvector(w, f64x8);
    }
    sum += error;
  }
  if (tile->spread) {
    const f64x8 a = sum;
    sum[0] = ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
    for (int j = 1; j < LANES; j++) sum[j] = sum[0];
  }
  result->error = sum;
}

/* Parameters that are not finite have an error that is not finite, so they are never kept. */
ALWAYS_INLINE void keep_smaller(const search_result *found, search_result *result) {
  for (int j = 0; j < LANES; j++) {
    if (!(found->error[j] < result->error[j])) continue;
    result->error[j] = found->error[j];
    result->scale[j] = found->scale[j];
    result->bias[j] = found->bias[j];
    result->low[j] = found->low[j];
  }
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

/* Makes pleat_search_NAME from `improve`, which searches one tile. The compiler generates separate
   code for lanes of groups and for spread groups, with and without weights, and for each
   instruction set. ENCODE makes the standard encoding and reports faults. */
#define GROUP_SEARCH(name, improve)                                                            \
  ALWAYS_INLINE void name##_tiles(const search_job *job) {                                     \
    const ptrdiff_t size = job->group_size, count = job->group_count;                          \
    if (size < LONG_GROUP) {                                                                   \
      for (ptrdiff_t k = 0; k < count; k += LANES) {                                           \
        job->importance ? improve(job, false, true, k) : improve(job, false, false, k);        \
      }                                                                                        \
    } else {                                                                                   \
      for (ptrdiff_t k = 0; k < count; k++) {                                                  \
        job->importance || size % LANES != 0 ? improve(job, true, true, k)                     \
                                             : improve(job, true, false, k);                   \
      }                                                                                        \
    }                                                                                          \
  }                                                                                            \
                                                                                               \
  AVX2_PATH static void name##_tiles_avx2(const search_job *job) { name##_tiles(job); }        \
                                                                                               \
  static void name##_tiles_portable(const search_job *job) { name##_tiles(job); }              \
                                                                                               \
  static void search_##name(pleat_instructions set, const search_job *job) {                   \
    set == PLEAT_AVX2 ? name##_tiles_avx2(job) : name##_tiles_portable(job);                   \
  }

#endif
