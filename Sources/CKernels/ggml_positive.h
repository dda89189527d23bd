/*
 * The rounding of the scales, or the minima, of a block to integers times a common factor:
 * make_qp_quants in ggml/src/ggml-quants.c. Each lane has the numbers of one block.
 */
#ifndef PLEAT_GGML_POSITIVE_H
#define PLEAT_GGML_POSITIVE_H

#include "ggml_lanes.h"

ALWAYS_INLINE lanes float_lanes(int_lanes x) { return __builtin_convertvector(x, lanes); }

ALWAYS_INLINE int_lanes at_most(int_lanes x, int top) {
  int_lanes limit = (int_lanes){} + top;
  return choose_int(x < limit, x, limit);
}

/* llama.cpp stores codes in bytes. This matters if rounding errors have made a scale negative. */
ALWAYS_INLINE int_lanes as_bytes(int_lanes x) { return x & 0xff; }

/* The weighted squared error of the numbers divided by `factor`. */
ALWAYS_INLINE lanes positive_error(const lanes *numbers, const lanes *weights, int count,
                                   const int_lanes *codes, lanes factor) {
  lanes scale = 1 / factor, error = all(0);
  for (int i = 0; i < count; i++) {
    lanes e = numbers[i] - scale * float_lanes(codes[i]);
    error += weights[i] * e * e;
  }
  return error;
}

/* Moves one code after the other to where it fits the current scale. Returns the scale. */
ALWAYS_INLINE lanes improve_positive(const lanes *numbers, const lanes *weights, int count, int top,
                                     int_lanes *codes) {
  lanes products = all(0), squares = all(0);
  for (int i = 0; i < count; i++) {
    lanes code = float_lanes(codes[i]);
    products += weights[i] * numbers[i] * code;
    squares += weights[i] * code * code;
    codes[i] = as_bytes(codes[i]);
  }
  for (int pass = 0; pass < 5; pass++) {
    int_lanes changed = {0};
    for (int i = 0; i < count; i++) {
      lanes old = float_lanes(codes[i]), weighted = weights[i] * numbers[i];
      lanes p = products - weighted * old, s = squares - weights[i] * old * old;
      int_lanes is_valid = (p > 0) & (s > 0);
      int_lanes code = at_most(nearest_int(numbers[i] * s / p), top);
      lanes new = float_lanes(code);
      p += weighted * new, s += weights[i] * new * new;
      int_lanes is_better = is_valid & (code != codes[i]) &
                            (p * p * squares > products * products * s);
      codes[i] = choose_int(is_better, as_bytes(code), codes[i]);
      products = choose(is_better, p, products), squares = choose(is_better, s, squares);
      changed |= is_better;
    }
    if (!any(changed)) break;
  }
  return choose(squares > 0, products / squares, all(0));
}

/* Rounds the numbers to codes of 0 to top. Returns the scale. */
ALWAYS_INLINE lanes fit_positive(const lanes *numbers, const lanes *weights, int count, int top,
                                 int_lanes *codes) {
  lanes most = all(0);
  for (int i = 0; i < count; i++) most = choose(most > numbers[i], most, numbers[i]);
  lanes factor = (float)top / most;
  for (int i = 0; i < count; i++) codes[i] = as_bytes(nearest_int(factor * numbers[i]));
  lanes least = positive_error(numbers, weights, count, codes, factor);
  for (int k = -4; k <= 4; k++) {
    if (k == 0) continue;
    lanes trial = (0.1f * (float)k + (float)top) / most;
    int_lanes trial_codes[16];
    for (int i = 0; i < count; i++) {
      trial_codes[i] = at_most(nearest_int(trial * numbers[i]), top);
    }
    lanes error = positive_error(numbers, weights, count, trial_codes, trial);
    int_lanes is_better = error < least;
    least = choose(is_better, error, least), factor = choose(is_better, trial, factor);
  }
  for (int i = 0; i < count; i++) {
    codes[i] = at_most(nearest_int(factor * numbers[i]), top);
  }
  lanes scale = improve_positive(numbers, weights, count, top, codes);
  int_lanes is_zero = most < 1e-15f;
  for (int i = 0; i < count; i++) codes[i] &= ~is_zero;
  return choose(is_zero, all(0), scale);
}

#endif
