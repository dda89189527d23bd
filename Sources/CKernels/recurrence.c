#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "lanes.h"

/*
 * Layers that bring the numbers of earlier tokens to a token through a state of a fixed size. Every
 * sum over keys is one chain of fused multiply-adds in their order, and every column of a state is
 * computed by itself, so no bit depends on how many columns are computed at once.
 */

enum { GROUPS = PLEAT_STATE_COLUMNS / LANES };

/* The numbers of some columns for one token; those that are missing are 0. */
ALWAYS_INLINE void load_columns(const float *values, ptrdiff_t count, lanes *out) {
  float some[PLEAT_STATE_COLUMNS] = {0};
  memcpy(some, values, (size_t)count * sizeof *values);
  for (int j = 0; j < GROUPS; j++) out[j] = load_lanes(some + j * LANES);
}

ALWAYS_INLINE void store_columns(const lanes *x, float *values, ptrdiff_t count) {
  float some[PLEAT_STATE_COLUMNS];
  for (int j = 0; j < GROUPS; j++) store_lanes(some + j * LANES, x[j]);
  memcpy(values, some, (size_t)count * sizeof *values);
}

/* What the key finds in the state: the sums over its rows. */
ALWAYS_INLINE void read_state(const float *state, const float *key, ptrdiff_t key_size,
                              lanes *sums) {
  for (int j = 0; j < GROUPS; j++) sums[j] = all(0);
  for (ptrdiff_t k = 0; k < key_size; k++) {
    lanes factor = all(key[k]);
    for (int j = 0; j < GROUPS; j++) {
      lanes row = load_lanes(state + k * PLEAT_STATE_COLUMNS + j * LANES);
      sums[j] = fused(row, factor, sums[j]);
    }
  }
}

/* Adds key[k] * change to the rows times `decay`, and sums up what the query finds then. */
ALWAYS_INLINE void change_state(float *state, const float *key, const float *query,
                                ptrdiff_t key_size, float decay, const lanes *change, lanes *sums) {
  for (int j = 0; j < GROUPS; j++) sums[j] = all(0);
  for (ptrdiff_t k = 0; k < key_size; k++) {
    lanes factor = all(key[k]), weight = all(query[k]);
    for (int j = 0; j < GROUPS; j++) {
      float *numbers = state + k * PLEAT_STATE_COLUMNS + j * LANES;
      lanes row = fused(change[j], factor, load_lanes(numbers) * decay);
      store_lanes(numbers, row);
      sums[j] = fused(row, weight, sums[j]);
    }
  }
}

ALWAYS_INLINE void recur(bool corrects, const pleat_head_inputs *x, ptrdiff_t key_size,
                         ptrdiff_t value_size, float *state, float *out, ptrdiff_t out_stride) {
  for (ptrdiff_t first = 0; first < value_size; first += PLEAT_STATE_COLUMNS) {
    ptrdiff_t left = value_size - first;
    ptrdiff_t count = left < PLEAT_STATE_COLUMNS ? left : PLEAT_STATE_COLUMNS;
    for (ptrdiff_t t = 0; t < x->count; t++) {
      const float *key = x->keys + t * x->stride;
      lanes change[GROUPS], sums[GROUPS];
      load_columns(x->values + t * x->stride + first, count, change);
      if (corrects) {
        read_state(state, key, key_size, sums);
        for (int j = 0; j < GROUPS; j++) change[j] = change[j] - sums[j] * x->decays[t];
      }
      for (int j = 0; j < GROUPS; j++) change[j] = change[j] * x->rates[t];
      change_state(state, key, x->queries + t * x->stride, key_size, x->decays[t], change, sums);
      store_columns(sums, out + t * out_stride + first, count);
    }
    state += key_size * PLEAT_STATE_COLUMNS;
  }
}

AVX2_PATH static void recur_avx2(bool corrects, const pleat_head_inputs *x, ptrdiff_t key_size,
                                 ptrdiff_t value_size, float *state, float *out,
                                 ptrdiff_t out_stride) {
  recur(corrects, x, key_size, value_size, state, out, out_stride);
}

void pleat_recur(pleat_instructions set, bool corrects, const pleat_head_inputs *x,
                 ptrdiff_t key_size, ptrdiff_t value_size, float *state, float *out,
                 ptrdiff_t out_stride) {
  uses_avx2(set) ? recur_avx2(corrects, x, key_size, value_size, state, out, out_stride)
                    : recur(corrects, x, key_size, value_size, state, out, out_stride);
}

ALWAYS_INLINE void add_products(const float *values, const float *factors, ptrdiff_t count,
                                float *out) {
  ptrdiff_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    lanes sum = fused(load_lanes(values + i), load_lanes(factors + i), load_lanes(out + i));
    store_lanes(out + i, sum);
  }
  for (; i < count; i++) out[i] = fused(all(values[i]), all(factors[i]), all(out[i]))[0];
}

AVX2_PATH static void add_products_avx2(const float *values, const float *factors,
                                        ptrdiff_t count, float *out) {
  add_products(values, factors, count, out);
}

void pleat_add_products(pleat_instructions set, const float *values, const float *factors,
                        ptrdiff_t count, float *out) {
  uses_avx2(set) ? add_products_avx2(values, factors, count, out)
                    : add_products(values, factors, count, out);
}
