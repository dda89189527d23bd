/*
 * A search for Q3_K, Q6_K and IQ4_XS with smaller errors than llama.cpp's, see ggml_levels.h. The
 * scale of a sub-block, called a part, is a signed code times d.
 *
 * 1. The start is the result of llama.cpp, or the following one, if its error is smaller: the best
 *    scale of each part, and codes relative to the d, of several, which fits these scales best.
 * 2. Each part tries the codes up to REACH steps away, with d as it is.
 * 3. d is fitted to all levels of the block by least squares. It is kept if the error becomes
 *    smaller.
 *
 * Steps 2 and 3 are repeated. Since no step makes the error larger, it is never above llama.cpp's.
 */
#ifndef PLEAT_GGML_SIGNED_SEARCH_H
#define PLEAT_GGML_SIGNED_SEARCH_H

#include "ggml_levels.h"

enum { SIGNED_REACH = 2, SIGNED_UNITS = 16 / LANES };

/* In calls the properties are constants. */
typedef struct {
  level_set levels;
  int part_count, lowest, highest; /* the codes of scales */
} signed_type;

typedef struct {
  float d;
  int32_t codes[16];
} signed_scales;

/* The values of a block. A unit has a part for each lane. Its values start at x + length * unit. */
typedef struct {
  lanes x[256 / LANES], w[256 / LANES];
} signed_block;

typedef struct {
  float d;
  lanes codes[SIGNED_UNITS], errors[SIGNED_UNITS]; /* of the parts */
  double error;
} signed_choice;

ALWAYS_INLINE level_sums sum_unit(signed_type type, const signed_block *block,
                                  const signed_choice *choice, int u) {
  const int length = 256 / type.part_count;
  return sum_levels(type.levels, block->x + length * u, block->w + length * u, length,
                    choice->d * choice->codes[u]);
}

/* Measures a choice, and takes it if it is better than the best. */
ALWAYS_INLINE void offer_signed(signed_type type, const signed_block *block,
                                signed_choice *choice, signed_choice *best) {
  choice->error = 0;
  for (int u = 0; u < type.part_count / LANES; u++) {
    choice->errors[u] = sum_unit(type, block, choice, u).error;
    choice->error += sum_of_lanes(choice->errors[u]);
  }
  if (choice->error < best->error) *best = *choice;
}

ALWAYS_INLINE lanes nearest_code(signed_type type, lanes x) {
  return rounded_within(false, x, all((float)type.lowest), all((float)type.highest));
}

/* Sets d to what fits the codes and the levels best, unless that is not a number that can be
   stored. */
ALWAYS_INLINE void set_d(double products, double squares, signed_choice *choice) {
  const double d = products / squares;
  if (squares > 0 && d > -65504 && d < 65504) choice->d = rounded_to_half((float)d);
}

/* Adds up the lanes of each row; of sixteen first those that are eight apart, like two units. */
ALWAYS_INLINE octet sums_of_rows(const lanes rows[8]) {
  float numbers[8 * 8];
  octet columns[8], sum = {0};
  for (int k = 0; k < 8; k++) {
    octet parts[LANES / 8], row = {0};
    memcpy(parts, &rows[k], sizeof parts);
    for (int part = 0; part < LANES / 8; part++) row += parts[part];
    memcpy(numbers + 8 * k, &row, sizeof row);
  }
  transpose_octets(numbers, 8, 8, columns);
  for (int k = 0; k < 8; k++) sum += columns[k];
  return sum;
}

/* Step 1. Codes are taken for 16 trials of d; the one with the largest gain counts. Half of the
   trials give the farthest scale a code near the lowest one, the others near the highest one. */
ALWAYS_INLINE void spread_scales(signed_type type, const level_fit *fits, signed_choice *choice) {
  const int units = type.part_count / LANES;
  lanes scales[SIGNED_UNITS];
  float factors[16], gains[16], farthest = 0;
  for (int u = 0; u < units; u++) {
    scales[u] = scale_of_fit(fits[u]);
    for (int k = 0; k < LANES; k++) {
      farthest = fabsf(scales[u][k]) > fabsf(farthest) ? scales[u][k] : farthest;
    }
  }
  for (int side = 0; side < 2; side++) {
    lanes products[8], squares[8];
    for (int k = 0; k < 8; k++) {
      const float steps = (float)type.lowest * (1 - (float)k / 64);
      const float factor = (side ? -1 - steps : steps) / farthest;
      products[k] = squares[k] = all(0);
      for (int u = 0; u < units; u++) {
        lanes codes = nearest_code(type, scales[u] * factor);
        products[k] += codes * fits[u].products, squares[k] += codes * codes * fits[u].squares;
      }
      factors[8 * side + k] = factor;
    }
    octet product = sums_of_rows(products), square = sums_of_rows(squares);
    for (int k = 0; k < 8; k++) {
      gains[8 * side + k] = square[k] > 0 ? product[k] * product[k] / square[k] : 0;
    }
  }
  int best = 0;
  for (int k = 1; k < 16; k++) best = gains[k] > gains[best] ? k : best;
  double products = 0, squares = 0;
  for (int u = 0; u < units; u++) {
    choice->codes[u] = nearest_code(type, scales[u] * factors[best]);
    products += sum_of_lanes(choice->codes[u] * fits[u].products);
    squares += sum_of_lanes(choice->codes[u] * choice->codes[u] * fits[u].squares);
  }
  set_d(products, squares, choice);
}

/* Step 2 for one unit. */
ALWAYS_INLINE void try_signed_codes(signed_type type, const signed_block *block, int u,
                                    signed_choice *choice) {
  signed_choice trial = *choice;
  const lanes middle = choice->codes[u];
  for (int shift = -SIGNED_REACH; shift <= SIGNED_REACH; shift++) {
    if (shift == 0) continue;
    trial.codes[u] = nearest_code(type, middle + (float)shift);
    lanes error = sum_unit(type, block, &trial, u).error;
    int_lanes is_better = error < choice->errors[u];
    choice->errors[u] = choose(is_better, error, choice->errors[u]);
    choice->codes[u] = choose(is_better, trial.codes[u], choice->codes[u]);
  }
}

/* Step 3. */
ALWAYS_INLINE void fit_d(signed_type type, const signed_block *block, signed_choice *choice) {
  double products = 0, squares = 0;
  for (int u = 0; u < type.part_count / LANES; u++) {
    level_sums sums = sum_unit(type, block, choice, u);
    products += sum_of_lanes(choice->codes[u] * sums.products);
    squares += sum_of_lanes(choice->codes[u] * choice->codes[u] * sums.squares);
  }
  set_d(products, squares, choice);
}

/* Improves the scales that llama.cpp has found for a block. */
ALWAYS_INLINE void search_signed(signed_type type, int rounds, const float *values,
                                 const float *weights, signed_scales *found) {
  const int units = type.part_count / LANES, length = 256 / type.part_count;
  signed_block block;
  signed_choice best = {.error = INFINITY}, choice = {.d = rounded_to_half(found->d)};
  level_fit fits[SIGNED_UNITS];
  for (int u = 0; u < units; u++) {
    transpose(values + LANES * length * u, length, length, block.x + length * u);
    transpose(weights + LANES * length * u, length, length, block.w + length * u);
    for (int k = 0; k < LANES; k++) choice.codes[u][k] = (float)found->codes[LANES * u + k];
    fits[u] = fit_levels(type.levels, block.x + length * u, block.w + length * u, length);
  }
  offer_signed(type, &block, &choice, &best);
  spread_scales(type, fits, &choice);
  offer_signed(type, &block, &choice, &best);
  if (best.error == INFINITY) return; /* The squares of the values overflow. */
  for (int round = 0; round < rounds; round++) {
    choice = best;
    for (int u = 0; u < units; u++) try_signed_codes(type, &block, u, &choice);
    offer_signed(type, &block, &choice, &best);
    choice = best;
    fit_d(type, &block, &choice);
    offer_signed(type, &block, &choice, &best);
  }
  found->d = best.d;
  for (int k = 0; k < type.part_count; k++) {
    found->codes[k] = (int32_t)best.codes[k / LANES][k % LANES];
  }
}

/* Does this if the rows ask for it. */
ALWAYS_INLINE void improve_signed(signed_type type, weight_rows rows, ptrdiff_t index,
                                  signed_scales *found) {
  if (rows.search_rounds == 0) return;
  float weights[256];
  weigh_by_importance(importance_of(rows, index, 256), 256, weights);
  search_signed(type, rows.search_rounds, rows.values + 256 * index, weights, found);
}

#endif
