/*
 * The search of llama.cpp for a scale without offset: values are approximated by scale * l, with
 * whole numbers l from -top to top - 1. Codes are stored as l + top.
 */
#ifndef PLEAT_GGML_SYMMETRIC_H
#define PLEAT_GGML_SYMMETRIC_H

#include "ggml_lanes.h"

/* Values whose magnitudes are all below this count as zeros. */
static const float least_magnitude = 1e-15f;

/* What a search found. l is the nearest whole number to factor * value, except that zeros get -top,
   with a scale of 0. */
typedef struct {
  lanes scale, factor;
  int_lanes is_zero;
} symmetric_fit;

/* The values of largest magnitude, the first ones if there are several; +0 for zeros. */
ALWAYS_INLINE lanes first_farthest(const lanes *x, int count) {
  lanes found = all(0), most = all(0);
  for (int i = 0; i < count; i++) {
    lanes size = magnitude(x[i]);
    int_lanes is_farther = size > most;
    found = choose(is_farther, x[i], found);
    most = choose(is_farther, size, most);
  }
  return found;
}

/* Sums of weight * value * l, and of weight * l * l. */
typedef struct {
  lanes products, squares;
} symmetric_sums;

/* How factor * value is rounded. Values that are finite and not larger than the farthest one stay
   near -top...top, so that rounding is simple, and only the bounds that a factor can exceed need
   to be enforced. */
typedef enum { ROUND_WITHIN, ROUND_BELOW_TOP, ROUND_CLAMPED, ROUND_ANY } symmetric_rounding;

ALWAYS_INLINE lanes rounded_symmetric(bool rounds, lanes x, int top,
                                      symmetric_rounding rounding) {
  x = rounding == ROUND_ANY ? nearest(x) : rounded(rounds, x);
  if (rounding != ROUND_WITHIN) x = smaller(x, all((float)(top - 1)));
  if (rounding >= ROUND_CLAMPED) x = larger(x, all((float)-top));
  return x;
}

/* Several trials at a time hide the latency of additions, and share the values. */
enum { TRIALS = 3 };

ALWAYS_INLINE void find_sums(bool rounds, const lanes factors[TRIALS], int trials, const lanes *x,
                             const lanes *wx, const lanes *w, int count, int top,
                             symmetric_rounding rounding, symmetric_sums sums[TRIALS]) {
  for (int t = 0; t < trials; t++) sums[t] = (symmetric_sums){all(0), all(0)};
  for (int i = 0; i < count; i++) {
    for (int t = 0; t < trials; t++) {
      lanes l = rounded_symmetric(rounds, factors[t] * x[i], top, rounding);
      sums[t].products += wx[i] * l;
      sums[t].squares += w[i] * l * l;
    }
  }
}

/* The best of 19 scales near the one that maps the farthest value to -top. `wx` is w * x. The scale
   is the best one for the codes, and has the largest sum of products squared over sum of squares.
   With `is_any`, values may be infinite or NaN. */
ALWAYS_INLINE symmetric_fit fit_symmetric(bool rounds, const lanes *x, const lanes *wx,
                                          const lanes *w, int count, int top, bool is_any) {
  const lanes farthest = first_farthest(x, count);
  symmetric_fit fit = {.factor = (float)-top / farthest,
                       .is_zero = magnitude(farthest) < least_magnitude};
  symmetric_sums sums[TRIALS];
  lanes factors[TRIALS] = {fit.factor};
  find_sums(rounds, factors, 1, x, wx, w, count, top, is_any ? ROUND_ANY : ROUND_BELOW_TOP, sums);
  fit.scale = choose(sums[0].squares != 0, sums[0].products / sums[0].squares, all(0));
  lanes best = fit.scale * sums[0].products;
/* Trial j of 18, which is number -9...9 but not 0. */
#define TRY(first, last, rounding)                                                           \
  for (int j = first; j <= last; j += TRIALS) {                                              \
    for (int t = 0; t < TRIALS; t++) {                                                       \
      factors[t] = -((float)top + 0.1f * (float)(j + t - (j + t < 9 ? 9 : 8))) / farthest;   \
    }                                                                                        \
    find_sums(rounds, factors, TRIALS, x, wx, w, count, top, is_any ? ROUND_ANY : rounding,  \
              sums);                                                                         \
    for (int t = 0; t < TRIALS; t++) {                                                       \
      lanes products = sums[t].products, squares = sums[t].squares;                          \
      int_lanes is_better = (squares > 0) & (products * products > best * squares);          \
      lanes scale = products / squares;                                                      \
      fit.factor = choose(is_better, factors[t], fit.factor);                                \
      fit.scale = choose(is_better, scale, fit.scale);                                       \
      best = choose(is_better, scale * products, best);                                      \
    }                                                                                        \
  }
  /* Products stay below top - 1/2 up to k = -6, and above -top - 1/2 up to k = 4. */
  TRY(0, 2, ROUND_WITHIN)
  TRY(3, 11, ROUND_BELOW_TOP)
  TRY(12, 17, ROUND_CLAMPED)
#undef TRY
  fit.scale = choose(fit.is_zero, all(0), fit.scale);
  return fit;
}

/* The codes of `l` in any range, clamped. */
ALWAYS_INLINE void write_symmetric(lanes l, int top, uint8_t *codes) {
  int_lanes whole = nearest_int(l);
  whole = choose_int(whole < top - 1, whole, (int_lanes){} + (top - 1));
  whole = choose_int(whole > -top, whole, (int_lanes){} - top) + top;
  store_bytes(codes, whole);
}

/* Codes that a search found for values in memory order. `count` is a multiple of eight. */
ALWAYS_INLINE void write_found_codes(const float *values, int count, int top, float factor,
                                     bool is_zero, uint8_t *codes) {
  if (is_zero) {
    memset(codes, 0, (size_t)count);
    return;
  }
  for (int i = 0; i < count; i += LANES) {
    write_symmetric(load_lanes(values + i) * factor, top, codes + i);
  }
}

/* Codes for a stored scale that is not zero. */
ALWAYS_INLINE void write_nearest_codes(const float *values, int count, int top, float scale,
                                       uint8_t *codes) {
  for (int i = 0; i < count; i += LANES) {
    write_symmetric(load_lanes(values + i) / scale, top, codes + i);
  }
}

/* The low byte, as a signed number. */
ALWAYS_INLINE int_lanes low_byte(int_lanes x) { return ((x & 255) ^ 128) - 128; }

/* The index of the number of largest magnitude, the first one if there are several; -1 if all are
   zero or NaN. */
ALWAYS_INLINE int index_of_farthest(const float *numbers, int count) {
  int found = -1;
  float most = 0;
  for (int k = 0; k < count; k++) {
    bool is_farther = fabsf(numbers[k]) > most;
    found = is_farther ? k : found;
    most = is_farther ? fabsf(numbers[k]) : most;
  }
  return found;
}

#endif
