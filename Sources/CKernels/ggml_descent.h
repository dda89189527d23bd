/*
 * The search of llama.cpp for a scale without offset that Q3_K uses without importance: it starts
 * from the codes that map the farthest value to -top, and changes one code at a time. Values are
 * their own weights, as squares.
 */
#ifndef PLEAT_GGML_DESCENT_H
#define PLEAT_GGML_DESCENT_H

#include "ggml_symmetric.h"

/* Sub-blocks, called parts, have 16 values. Units of lanes are improved together, since the
   divisions of one hide the latency of the others. */
enum { PART = 16, MOST_Q3_K_PARTS = 256, DESCENT_UNITS = 3, DESCENT_GROUP = 24 };

typedef struct {
  lanes x[PART], w[PART], codes[PART];
  lanes products, squares; /* the sums of weight * x * code and weight * code^2 */
} descent_unit;

/* What a search found for each part: its scale, and what gives its codes. */
typedef struct {
  float scales[MOST_Q3_K_PARTS], factors[MOST_Q3_K_PARTS];
  int32_t is_zero[MOST_Q3_K_PARTS];
  int places[MOST_Q3_K_PARTS]; /* in `codes`, or -1 if the factor gives the codes */
  float codes[MOST_Q3_K_PARTS + DESCENT_GROUP][PART];
} q3_k_parts;

ALWAYS_INLINE lanes scale_of(const descent_unit *unit) {
  return choose(unit->squares > 0, unit->products / unit->squares, all(0));
}

/* Returns the farthest values. */
ALWAYS_INLINE lanes start_descent(const float *restrict values, int top,
                                  descent_unit *restrict unit) {
  transpose(values, PART, PART, unit->x);
  const lanes farthest = first_farthest(unit->x, PART);
  const lanes factor = (float)-top / farthest;
  lanes products = all(0), squares = all(0);
  for (int i = 0; i < PART; i++) {
    lanes x = unit->x[i], w = x * x;
    lanes code = rounded_symmetric(factor * x, top, ROUND_BELOW_TOP);
    unit->w[i] = w, unit->codes[i] = code;
    products += w * x * code;
    squares += w * code * code;
  }
  unit->products = products, unit->squares = squares;
  return farthest;
}

/* Replaces code i by the best one for the other codes, if that improves the sums. Returns where. */
ALWAYS_INLINE int_lanes improve_code(descent_unit *unit, int i, int top) {
  const lanes x = unit->x[i], w = unit->w[i], old = unit->codes[i];
  lanes products = unit->products - w * x * old, squares = unit->squares - w * old * old;
  lanes code = rounded_symmetric(x * squares / products, top, ROUND_ANY);
  int_lanes is_better = (products > 0) & (code != old);
  products += w * x * code;
  squares += w * code * code;
  is_better &= (squares > 0) & (products * products * unit->squares >
                                unit->products * unit->products * squares);
  unit->codes[i] = choose(is_better, code, old);
  unit->products = choose(is_better, products, unit->products);
  unit->squares = choose(is_better, squares, unit->squares);
  return is_better;
}

/* Improves a group of sub-blocks, whose scales it stores, and whose codes. */
ALWAYS_INLINE void descend(const float *restrict values, int top, float *restrict scales,
                           float (*restrict codes)[PART]) {
  descent_unit units[DESCENT_UNITS];
  for (int u = 0; u < DESCENT_UNITS; u++) {
    start_descent(values + LANES * PART * u, top, &units[u]);
  }
  for (int pass = 0; pass < 5; pass++) {
    int_lanes is_changed = {0};
    for (int i = 0; i < PART; i++) {
#pragma GCC unroll 4
      for (int u = 0; u < DESCENT_UNITS; u++) is_changed |= improve_code(&units[u], i, top);
    }
    if (!any(is_changed)) break;
  }
  for (int u = 0; u < DESCENT_UNITS; u++) {
    store_lanes(scales + LANES * u, scale_of(&units[u]));
    for (int i = 0; i < PART; i += LANES) {
      for (int k = 0; k < LANES; k++) {
        for (int j = 0; j < LANES; j++) codes[LANES * u + k][i + j] = units[u].codes[i + j][k];
      }
    }
  }
}

/* If the farthest value is positive, all products are negative or zero, and llama.cpp changes no
   code. So only the other sub-blocks are improved, and put together to fill lanes. `part_count` is
   a multiple of eight. */
ALWAYS_INLINE void descend_symmetric(const float *restrict values, int part_count, int top,
                                     q3_k_parts *restrict found) {
  int improved[MOST_Q3_K_PARTS + DESCENT_GROUP], improved_count = 0;
  for (int part = 0; part < part_count; part += LANES) {
    descent_unit unit;
    const lanes farthest = start_descent(values + PART * part, top, &unit);
    const int_lanes is_zero = magnitude(farthest) < least_magnitude;
    store_lanes(found->scales + part, choose(is_zero, all(0), scale_of(&unit)));
    store_lanes(found->factors + part, (float)-top / farthest);
    memcpy(found->is_zero + part, &is_zero, sizeof is_zero);
    for (int k = 0; k < LANES; k++) {
      bool is_improved = (!is_zero[k]) & (farthest[k] < 0);
      found->places[part + k] = is_improved ? improved_count : -1;
      improved[improved_count] = part + k;
      improved_count += is_improved;
    }
  }
  for (int start = 0; start < improved_count; start += DESCENT_GROUP) {
    const int count = improved_count - start < DESCENT_GROUP ? improved_count - start
                                                             : DESCENT_GROUP;
    float group[DESCENT_GROUP * PART] = {0}, scales[DESCENT_GROUP];
    for (int k = 0; k < count; k++) {
      memcpy(group + PART * k, values + PART * improved[start + k],
             PART * sizeof(float));
    }
    descend(group, top, scales, found->codes + start);
    for (int k = 0; k < count; k++) found->scales[improved[start + k]] = scales[k];
  }
}

/* The codes that were found for a part. */
ALWAYS_INLINE void write_part_codes(const float *values, const q3_k_parts *found, int part,
                                    int top, uint8_t *codes) {
  const int place = found->places[part];
  if (place < 0) {
    write_found_codes(values, PART, top, found->factors[part], found->is_zero[part],
                      codes);
    return;
  }
  for (int i = 0; i < PART; i++) codes[i] = (uint8_t)(found->codes[place][i] + (float)top);
}

#endif
