/*
 * The search of llama.cpp for a scale without offset that Q3_K uses without importance: it starts
 * from the codes that map the farthest value to -top, and changes one code at a time. Values are
 * their own weights, as squares.
 */
#ifndef PLEAT_GGML_DESCENT_H
#define PLEAT_GGML_DESCENT_H

#include "ggml_symmetric.h"

/* Sub-blocks, called parts, have 16 values. Units of a part for each lane are improved together,
   since the divisions of one hide the latency of the others. */
enum { PART = 16, MOST_Q3_K_PARTS = 512, DESCENT_UNITS = 3, DESCENT_GROUP = DESCENT_UNITS * LANES };

typedef struct {
  lanes x[PART], codes[PART];
  lanes products, squares; /* the sums of weight * x * code and weight * code^2 */
} descent_unit;

/* What a search found for each part: its scale, and what gives its codes. */
typedef struct {
  float scales[MOST_Q3_K_PARTS], factors[MOST_Q3_K_PARTS];
  int32_t is_zero[MOST_Q3_K_PARTS];
  bool is_improved[MOST_Q3_K_PARTS]; /* whether `codes` are those, and not the factor */
  float products[MOST_Q3_K_PARTS], squares[MOST_Q3_K_PARTS];
  float codes[MOST_Q3_K_PARTS][PART];
} q3_k_parts;

ALWAYS_INLINE lanes scale_of(const descent_unit *unit) {
  return choose(unit->squares > 0, unit->products / unit->squares, all(0));
}

/* Takes the codes that the factors give. */
ALWAYS_INLINE void start_descent(bool rounds, lanes factor, int top, descent_unit *restrict unit) {
  lanes products = all(0), squares = all(0);
  for (int i = 0; i < PART; i++) {
    lanes x = unit->x[i], w = x * x;
    lanes code = rounded_symmetric(rounds, factor * x, top, ROUND_BELOW_TOP);
    unit->codes[i] = code;
    products += w * x * code;
    squares += w * code * code;
  }
  unit->products = products, unit->squares = squares;
}

/* Replaces code i by the best one for the other codes, if that improves the sums. Returns where. */
ALWAYS_INLINE int_lanes improve_code(bool rounds, descent_unit *unit, int i, int top) {
  const lanes x = unit->x[i], w = x * x, old = unit->codes[i];
  lanes products = unit->products - w * x * old, squares = unit->squares - w * old * old;
  lanes code = rounded_symmetric(rounds, x * squares / products, top, ROUND_ANY);
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

/* Puts a part into each lane of a unit. In the first pass their codes are not yet known. */
ALWAYS_INLINE void load_unit(bool rounds, const float *restrict values, const int *parts,
                             bool is_first, int top, const q3_k_parts *restrict found,
                             descent_unit *restrict unit) {
  float x[LANES * PART], codes[LANES * PART];
  lanes factors;
  for (int k = 0; k < LANES; k++) {
    const int part = parts[k];
    memcpy(x + PART * k, values + PART * part, sizeof found->codes[0]);
    if (is_first) {
      factors[k] = found->factors[part];
    } else {
      memcpy(codes + PART * k, found->codes[part], sizeof found->codes[0]);
      unit->products[k] = found->products[part], unit->squares[k] = found->squares[part];
    }
  }
  transpose(x, PART, PART, unit->x);
  if (is_first) {
    start_descent(rounds, factors, top, unit);
  } else {
    transpose(codes, PART, PART, unit->codes);
  }
}

ALWAYS_INLINE void store_unit(const descent_unit *restrict unit, const int *parts,
                              q3_k_parts *restrict found) {
  const lanes scales = scale_of(unit);
  lanes rows[PART];
  for (int i = 0; i < PART; i += LANES) {
    float columns[LANES * LANES];
    memcpy(columns, unit->codes + i, sizeof columns);
    transpose(columns, LANES, LANES, rows + i);
  }
  for (int k = 0; k < LANES; k++) {
    const int part = parts[k];
    for (int i = 0; i < PART; i += LANES) store_lanes(found->codes[part] + i, rows[i + k]);
    found->products[part] = unit->products[k], found->squares[part] = unit->squares[k];
    found->scales[part] = scales[k];
  }
}

/* One pass over the codes of some parts. Keeps those in the list that changed, and returns their
   number. The list has room for DESCENT_GROUP more. */
ALWAYS_INLINE int descend(bool rounds, const float *restrict values, int *parts, int count,
                          bool is_first, int top, q3_k_parts *restrict found) {
  int changed_count = 0;
  /* The last part fills up the lanes, which then store the same. */
  for (int k = 0; k < DESCENT_GROUP; k++) parts[count + k] = parts[count - 1];
  for (int start = 0; start < count; start += DESCENT_GROUP) {
    descent_unit units[DESCENT_UNITS];
    int_lanes is_changed[DESCENT_UNITS] = {{0}};
    for (int u = 0; u < DESCENT_UNITS; u++) {
      load_unit(rounds, values, parts + start + LANES * u, is_first, top, found, &units[u]);
    }
    for (int i = 0; i < PART; i++) {
#pragma GCC unroll 3
      for (int u = 0; u < DESCENT_UNITS; u++) {
        is_changed[u] |= improve_code(rounds, &units[u], i, top);
      }
    }
    for (int u = 0; u < DESCENT_UNITS; u++) {
      store_unit(&units[u], parts + start + LANES * u, found);
    }
    const int left = count - start < DESCENT_GROUP ? count - start : DESCENT_GROUP;
    for (int k = 0; k < left; k++) {
      parts[changed_count] = parts[start + k];
      changed_count += is_changed[k / LANES][k % LANES] != 0;
    }
  }
  return changed_count;
}

/* If the farthest value is positive, all products are negative or zero, and llama.cpp changes no
   code. So only the other parts are improved. A part that a pass does not change needs no further
   pass, so each pass puts the others together, to fill lanes. `part_count` is a multiple of
   the number of lanes. */
ALWAYS_INLINE void descend_symmetric(bool rounds, const float *restrict values, int part_count,
                                     int top, q3_k_parts *restrict found) {
  int parts[MOST_Q3_K_PARTS + DESCENT_GROUP], count = 0;
  for (int part = 0; part < part_count; part += LANES) {
    descent_unit unit;
    transpose(values + PART * part, PART, PART, unit.x);
    const lanes farthest = first_farthest(unit.x, PART), factor = (float)-top / farthest;
    const int_lanes is_zero = magnitude(farthest) < least_magnitude;
    start_descent(rounds, factor, top, &unit);
    store_lanes(found->scales + part, choose(is_zero, all(0), scale_of(&unit)));
    store_lanes(found->factors + part, factor);
    memcpy(found->is_zero + part, &is_zero, sizeof is_zero);
    for (int k = 0; k < LANES; k++) {
      bool is_improved = (!is_zero[k]) & (farthest[k] < 0);
      found->is_improved[part + k] = is_improved;
      parts[count] = part + k;
      count += is_improved;
    }
  }
  if (count > 0) count = descend(rounds, values, parts, count, true, top, found);
  for (int pass = 1; pass < 5 && count > 0; pass++) {
    count = descend(rounds, values, parts, count, false, top, found);
  }
}

/* The codes that were found for a part. */
ALWAYS_INLINE void write_part_codes(const float *values, const q3_k_parts *found, int part,
                                    int top, uint8_t *codes) {
  if (!found->is_improved[part]) {
    write_found_codes(values, PART, top, found->factors[part], found->is_zero[part],
                      codes);
    return;
  }
  for (int i = 0; i < PART; i++) codes[i] = (uint8_t)(found->codes[part][i] + (float)top);
}

#endif
