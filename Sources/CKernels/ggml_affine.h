/*
 * The search of llama.cpp for the scale and the minimum of a sub-block, w ~ scale * code + minimum:
 * make_qkx2_quants and make_qkx3_quants in ggml/src/ggml-quants.c. It tries several ranges. For
 * each it rounds the values to codes, fits a line to them by weighted least squares, and sums the
 * weighted errors.
 */
#ifndef PLEAT_GGML_AFFINE_H
#define PLEAT_GGML_AFFINE_H

#include "ggml_lanes.h"

/* Two vectors of sub-blocks are searched at a time, to hide the latency of the operations. */
enum { UNITS = 2, LONGEST = 32 };

/* The parameters of a search. In calls they are constants. */
typedef struct {
  int length, top; /* values of a sub-block, highest code */
  /* In trial k the values span top + first + step * k codes. */
  float first, step;
  int trial_count;
  bool is_absolute; /* sums magnitudes of errors, not squares */
} affine_search;

typedef struct {
  lanes values[LONGEST], weights[LONGEST], codes[LONGEST];
  lanes lowest, highest;  /* of the values; `lowest` is not above 0 */
  lanes total, sum, error; /* the weights, the weighted values, the weighted errors of `best` */
  /* The result. The minimum is never positive. The codes are round(factor * (w - origin)). */
  struct {
    lanes scale, minimum, factor, origin;
  } best;
} affine_unit;

ALWAYS_INLINE lanes affine_codes(lanes values, lanes factor, lanes origin, int top) {
  return larger(smaller(nearest(factor * (values - origin)), all((float)top)), all(0));
}

/* The sums of the weighted errors of the codes. */
ALWAYS_INLINE void find_errors(affine_search search, const affine_unit units[UNITS],
                               const lanes scales[UNITS], const lanes minima[UNITS],
                               lanes errors[UNITS]) {
  for (int u = 0; u < UNITS; u++) errors[u] = all(0);
  for (int i = 0; i < search.length; i++) {
    for (int u = 0; u < UNITS; u++) {
      lanes e = scales[u] * units[u].codes[i] + minima[u] - units[u].values[i];
      errors[u] += units[u].weights[i] * (search.is_absolute ? magnitude(e) : e * e);
    }
  }
}

/* Finds the range and the sums. */
ALWAYS_INLINE void start_search(affine_search search, affine_unit *unit) {
  lanes lowest = unit->values[0], highest = lowest;
  lanes total = unit->weights[0], sum = total * lowest;
  for (int i = 1; i < search.length; i++) {
    lowest = smaller(unit->values[i], lowest);
    highest = larger(unit->values[i], highest);
    total += unit->weights[i];
    sum += unit->weights[i] * unit->values[i];
  }
  unit->lowest = choose(lowest > 0, all(0), lowest), unit->highest = highest;
  unit->total = total, unit->sum = sum;
}

/* The range from the lowest value, or 0, to the highest, without a fit. */
ALWAYS_INLINE void try_whole_range(affine_search search, affine_unit units[UNITS]) {
  lanes scales[UNITS], minima[UNITS], errors[UNITS];
  for (int u = 0; u < UNITS; u++) {
    affine_unit *unit = &units[u];
    lanes factor = (float)search.top / (unit->highest - unit->lowest);
    scales[u] = unit->best.scale = 1 / factor, unit->best.factor = factor;
    minima[u] = unit->best.minimum = unit->best.origin = unit->lowest;
    for (int i = 0; i < search.length; i++) {
      unit->codes[i] = affine_codes(unit->values[i], factor, unit->lowest, search.top);
    }
  }
  find_errors(search, units, scales, minima, errors);
  for (int u = 0; u < UNITS; u++) units[u].error = errors[u];
}

/* One trial. If it is the best so far, later trials start from its minimum. */
ALWAYS_INLINE void try_range(affine_search search, float range, affine_unit units[UNITS]) {
  lanes origins[UNITS], factors[UNITS];
  lanes codes[UNITS], squares[UNITS], products[UNITS]; /* weighted sums */
  for (int u = 0; u < UNITS; u++) {
    origins[u] = units[u].best.minimum, factors[u] = range / (units[u].highest - origins[u]);
    codes[u] = squares[u] = products[u] = all(0);
  }
  for (int i = 0; i < search.length; i++) {
    for (int u = 0; u < UNITS; u++) {
      lanes code = affine_codes(units[u].values[i], factors[u], origins[u], search.top);
      lanes weighted = units[u].weights[i] * code;
      units[u].codes[i] = code;
      codes[u] += weighted;
      squares[u] += weighted * code;
      products[u] += weighted * units[u].values[i];
    }
  }
  lanes determinants[UNITS], scales[UNITS], minima[UNITS], errors[UNITS];
  for (int u = 0; u < UNITS; u++) {
    lanes total = units[u].total, sum = units[u].sum;
    determinants[u] = total * squares[u] - codes[u] * codes[u];
    scales[u] = (total * products[u] - sum * codes[u]) / determinants[u];
    minima[u] = (squares[u] * sum - codes[u] * products[u]) / determinants[u];
    scales[u] = choose(minima[u] > 0, products[u] / squares[u], scales[u]);
    minima[u] = choose(minima[u] > 0, all(0), minima[u]);
  }
  find_errors(search, units, scales, minima, errors);
  for (int u = 0; u < UNITS; u++) {
    affine_unit *unit = &units[u];
    int_lanes is_better = (determinants[u] > 0) & (errors[u] < unit->error);
    unit->error = choose(is_better, errors[u], unit->error);
    unit->best.scale = choose(is_better, scales[u], unit->best.scale);
    unit->best.minimum = choose(is_better, minima[u], unit->best.minimum);
    unit->best.factor = choose(is_better, factors[u], unit->best.factor);
    unit->best.origin = choose(is_better, origins[u], unit->best.origin);
  }
}

/* Sets `best` from the values and the weights. */
ALWAYS_INLINE void search_affine(affine_search search, affine_unit units[UNITS]) {
  for (int u = 0; u < UNITS; u++) start_search(search, &units[u]);
  try_whole_range(search, units);
  for (int k = 0; k < search.trial_count; k++) {
    try_range(search, search.first + search.step * (float)k + (float)search.top, units);
  }
  for (int u = 0; u < UNITS; u++) {
    affine_unit *unit = &units[u];
    int_lanes is_flat = unit->highest <= unit->lowest;
    unit->best.scale = choose(is_flat, all(0), unit->best.scale);
    unit->best.minimum = choose(is_flat, unit->lowest, unit->best.minimum);
    unit->best.factor = choose(is_flat, all(0), unit->best.factor);
    unit->best.origin = choose(is_flat, all(0), unit->best.origin);
  }
}

#endif
