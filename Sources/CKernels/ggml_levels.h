/*
 * Values approximated by a scale of either sign times levels: whole numbers, or the values of IQ4.
 * The searches here minimize squared errors, weighted by importance alone.
 */
#ifndef PLEAT_GGML_LEVELS_H
#define PLEAT_GGML_LEVELS_H

#include "ggml_iq4_fit.h"

/* Whole numbers from -top to top - 1; the values of IQ4 if top is 0. */
typedef struct {
  int top;
} level_set;

static const level_set iq4_levels = {0};

/* Without wrapping: what is far away, or NaN, becomes the lowest or the highest level. */
ALWAYS_INLINE lanes nearest_level(level_set set, lanes x) {
  if (!set.top) return nearest_iq4(x);
  return rounded_within(false, x, all((float)-set.top), all((float)(set.top - 1)));
}

/* Weighted sums over values. */
typedef struct {
  lanes error;             /* squared errors */
  lanes products, squares; /* of value and level, of level and level */
} level_sums;

/* The sums with the levels that are nearest for a scale. */
ALWAYS_INLINE level_sums sum_levels(level_set set, const lanes *x, const lanes *w, int length,
                                    lanes scale) {
  const lanes inverse = choose(scale != 0, 1 / scale, all(0));
  level_sums sums = {all(0), all(0), all(0)};
  for (int i = 0; i < length; i++) {
    lanes level = nearest_level(set, x[i] * inverse), weighted = w[i] * level;
    lanes e = level * scale - x[i];
    sums.error += w[i] * (e * e);
    sums.products += weighted * x[i], sums.squares += weighted * level;
  }
  return sums;
}

/* A fit is better if products^2 / squares is larger: by that the sum of the weighted squares of the
   values exceeds its error. */
typedef struct {
  lanes products, squares, gain;
} level_fit;

ALWAYS_INLINE void offer_fit(lanes products, lanes squares, level_fit *best) {
  lanes gain = products * products / squares;
  int_lanes is_better = (squares > 0) & (gain > best->gain);
  best->products = choose(is_better, products, best->products);
  best->squares = choose(is_better, squares, best->squares);
  best->gain = choose(is_better, gain, best->gain);
}

ALWAYS_INLINE lanes scale_of_fit(level_fit fit) {
  return choose(fit.squares > 0, fit.products / fit.squares, all(0));
}

/* The trials around the scale that maps the farthest value to the lowest level, and around the one
   that maps it to the highest level. */
enum { SIDE_TRIALS = 9 };

ALWAYS_INLINE level_fit fit_whole_numbers(int top, const lanes *x, const lanes *w, int length) {
  const lanes farthest = first_farthest(x, length);
  level_fit best = {all(0), all(0), all(0)};
  for (int trial = 0; trial < SIDE_TRIALS; trial++) {
    const float shift = (float)trial / (SIDE_TRIALS / 2) - 1;
    lanes factors[2] = {-((float)top + shift) / farthest, ((float)top - 0.5f + shift) / farthest};
    lanes products[2] = {all(0), all(0)}, squares[2] = {all(0), all(0)};
    for (int i = 0; i < length; i++) {
      for (int side = 0; side < 2; side++) {
        lanes level = rounded_symmetric(false, factors[side] * x[i], top, ROUND_CLAMPED);
        lanes weighted = w[i] * level;
        products[side] += weighted * x[i], squares[side] += weighted * level;
      }
    }
    for (int side = 0; side < 2; side++) offer_fit(products[side], squares[side], &best);
  }
  return best;
}

ALWAYS_INLINE level_fit fit_iq4_levels(const lanes *x, const lanes *w) {
  const lanes farthest = first_farthest(x, 32);
  level_fit best = {all(0), all(0), all(0)};
  iq4_candidates candidates[32];
  for (int side = 0; side < 2; side++) {
    const float middle = side ? 113 : -127, step = side ? 1.75f : -1.75f;
    const lanes first = (middle - SIDE_TRIALS / 2 * step) / farthest;
    const lanes last = (middle + SIDE_TRIALS / 2 * step) / farthest;
    find_candidates(x, w, first, last, candidates);
    for (int trial = 0; trial < SIDE_TRIALS; trial++) {
      lanes factor = (middle + (float)(trial - SIDE_TRIALS / 2) * step) / farthest;
      lanes products, squares;
      sum_candidates(candidates, &factor, 1, &products, &squares);
      offer_fit(products, squares, &best);
    }
  }
  return best;
}

/* The best of some scales of both signs, for each lane. */
ALWAYS_INLINE level_fit fit_levels(level_set set, const lanes *x, const lanes *w, int length) {
  return set.top ? fit_whole_numbers(set.top, x, w, length) : fit_iq4_levels(x, w);
}

#endif
