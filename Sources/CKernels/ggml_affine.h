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
  bool rounds;      /* see lanes.h */
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

/* How codes are found. If |factor * (value - origin)| is below 2^21 for all values, rounding is
   simple. In a range of less than top + 1/2 codes, no code exceeds the highest one. */
typedef enum { RANGE_BELOW_TOP, RANGE_NEAR, RANGE_ANY } affine_range;

ALWAYS_INLINE lanes codes_in_range(affine_search search, affine_range kind, lanes values,
                                   lanes factor, lanes origin) {
  if (kind == RANGE_ANY) return affine_codes(values, factor, origin, search.top);
  lanes code = rounded(search.rounds, factor * (values - origin));
  if (kind != RANGE_BELOW_TOP) code = smaller(code, all((float)search.top));
  return larger(code, all(0));
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

/* Weighted sums over the codes of a unit. */
typedef struct {
  lanes codes, squares, products; /* `products` with the values */
} affine_sums;

/* Sets the codes, and sums them. */
ALWAYS_INLINE void sum_codes(affine_search search, affine_range kind, const lanes factors[UNITS],
                             const lanes origins[UNITS], affine_unit units[UNITS],
                             affine_sums sums[UNITS]) {
  for (int u = 0; u < UNITS; u++) sums[u] = (affine_sums){all(0), all(0), all(0)};
  for (int i = 0; i < search.length; i++) {
    for (int u = 0; u < UNITS; u++) {
      lanes value = units[u].values[i];
      lanes code = codes_in_range(search, kind, value, factors[u], origins[u]);
      lanes weighted = units[u].weights[i] * code;
      units[u].codes[i] = code;
      sums[u].codes += weighted;
      sums[u].squares += weighted * code;
      sums[u].products += weighted * value;
    }
  }
}

/* One trial. If it is the best so far, later trials start from its minimum. */
ALWAYS_INLINE void try_range(affine_search search, float range, affine_unit units[UNITS]) {
  lanes origins[UNITS], factors[UNITS];
  affine_sums sums[UNITS];
  int_lanes is_far = {0};
  for (int u = 0; u < UNITS; u++) {
    lanes lowest = units[u].lowest, highest = units[u].highest;
    origins[u] = units[u].best.minimum, factors[u] = range / (highest - origins[u]);
    /* With a factor above 0, the highest value is at `range`; infinite factors make the lowest one
       infinite or NaN. The codes of flat sub-blocks do not count. */
    lanes least = magnitude(factors[u] * (lowest - origins[u]));
    is_far |= ~((factors[u] > 0) & (least < 0x1p21f)) & (highest > lowest);
  }
  if (any(is_far)) {
    sum_codes(search, RANGE_ANY, factors, origins, units, sums);
  } else if (range < (float)search.top + 0.49f) {
    sum_codes(search, RANGE_BELOW_TOP, factors, origins, units, sums);
  } else {
    sum_codes(search, RANGE_NEAR, factors, origins, units, sums);
  }
  lanes determinants[UNITS], scales[UNITS], minima[UNITS], errors[UNITS];
  for (int u = 0; u < UNITS; u++) {
    lanes total = units[u].total, sum = units[u].sum;
    lanes codes = sums[u].codes, squares = sums[u].squares, products = sums[u].products;
    determinants[u] = total * squares - codes * codes;
    scales[u] = (total * products - sum * codes) / determinants[u];
    minima[u] = (squares * sum - codes * products) / determinants[u];
    const int_lanes is_positive = minima[u] > 0;
    if (any(is_positive)) scales[u] = choose(is_positive, products / squares, scales[u]);
    minima[u] = choose(is_positive, all(0), minima[u]);
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
