/*
 * The search of llama.cpp for a scale of 32 values of IQ4, whose codes are indices into iq4_values.
 */
#ifndef PLEAT_GGML_IQ4_FIT_H
#define PLEAT_GGML_IQ4_FIT_H

#include "ggml_symmetric.h"
#include "ggml_tables.h"

/* Where the nearest value changes: half way between values. A tie goes to the higher one. */
static const float iq4_thresholds[15] = {-115.5f, -93.5f, -74,   -57,   -42, -28.5f, -16, -4.5f,
                                         7,       19,     31.5f, 45.5f, 61,  79,     101};

/* The nearest values. Passing all thresholds is faster than looking up indices. */
ALWAYS_INLINE lanes nearest_iq4(lanes x) {
  lanes value = all(iq4_values[15]);
#pragma GCC unroll 15
  for (int i = 0; i < 15; i++) {
    lanes step = all(iq4_values[i + 1] - iq4_values[i]);
    value -= choose(x < iq4_thresholds[i], step, all(0));
  }
  return value;
}

/* The factors that are tried lie close together. Neighboring thresholds differ by a factor of 1.2
   or more, so between two factors whose ratio is smaller no value passes more than one of them. Its
   two candidates are found once, and their contributions to the sums. */
typedef struct {
  lanes x, threshold;       /* the upper candidate is taken if factor * x >= threshold */
  lanes products[2], squares[2]; /* of the lower and the upper candidate */
} iq4_candidates;

ALWAYS_INLINE void find_candidates(const lanes *x, const lanes *w, lanes least, lanes most,
                                   iq4_candidates *candidates) {
  for (int i = 0; i < 32; i++) {
    lanes a = nearest_iq4(least * x[i]), b = nearest_iq4(most * x[i]);
    lanes lower = smaller(a, b), upper = larger(a, b);
    candidates[i] = (iq4_candidates){
        .x = x[i], .threshold = (lower + upper) / 2,
        .products = {w[i] * lower * x[i], w[i] * upper * x[i]},
        .squares = {w[i] * lower * lower, w[i] * upper * upper}};
  }
}

/* The sums of weight * x * value and of weight * value^2 at some factors. */
ALWAYS_INLINE void sum_candidates(const iq4_candidates *candidates, const lanes *factors,
                                  int factor_count, lanes *products, lanes *squares) {
  for (int t = 0; t < factor_count; t++) products[t] = squares[t] = all(0);
  for (int i = 0; i < 32; i++) {
    const iq4_candidates *c = &candidates[i];
    for (int t = 0; t < factor_count; t++) {
      int_lanes is_upper = factors[t] * c->x >= c->threshold;
      products[t] += choose(is_upper, c->products[1], c->products[0]);
      squares[t] += choose(is_upper, c->squares[1], c->squares[0]);
    }
  }
}

/* The best scale of llama.cpp for one sub-block of 32 values in each lane. The first trial maps the
   farthest value to 127, the others map it to -120...-134. */
ALWAYS_INLINE lanes fit_iq4(const lanes *x, const lanes *w) {
  enum { AT_ONCE = 3 };
  const lanes farthest = first_farthest(x, 32);
  const lanes opposite = 1 / (farthest / 127);
  lanes product = all(0), square = all(0);
  for (int i = 0; i < 32; i++) {
    lanes value = nearest_iq4(opposite * x[i]);
    product += w[i] * value * x[i];
    square += w[i] * value * value;
  }
  lanes scale = choose(square > 0, product / square, all(0)), best = scale * product;
  iq4_candidates candidates[32];
  find_candidates(x, w, -120.0f / farthest, -134.0f / farthest, candidates);
  for (int k = -7; k <= 7; k += AT_ONCE) {
    lanes factors[AT_ONCE], products[AT_ONCE], squares[AT_ONCE];
    for (int t = 0; t < AT_ONCE; t++) factors[t] = (float)(k + t - 127) / farthest;
    sum_candidates(candidates, factors, AT_ONCE, products, squares);
    for (int t = 0; t < AT_ONCE; t++) {
      int_lanes is_better =
          (squares[t] > 0) & (products[t] * products[t] > best * squares[t]);
      lanes trial = products[t] / squares[t];
      scale = choose(is_better, trial, scale);
      best = choose(is_better, trial * products[t], best);
    }
  }
  return choose(magnitude(farthest) < least_magnitude, all(0), scale);
}

#endif
