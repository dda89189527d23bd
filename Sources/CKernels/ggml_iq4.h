/*
 * Encoders of IQ4_NL and IQ4_XS, whose codes are indices into iq4_values.
 */
#ifndef PLEAT_GGML_IQ4_H
#define PLEAT_GGML_IQ4_H

#include "ggml_iq4_search.h"
#include "ggml_signed_search.h"

/* The codes of `count` values times the factor; NaN gives 15, as in llama.cpp. */
ALWAYS_INLINE void write_iq4_codes(const float *restrict values, int count, float factor,
                                   uint8_t *restrict codes) {
  for (int i = 0; i < count; i += LANES) {
    lanes x = load_lanes(values + i) * factor;
    int_lanes code = (int_lanes){} + 15;
#pragma GCC unroll 15
    for (int k = 0; k < 15; k++) code += x < iq4_thresholds[k];
    store_bytes(codes + i, code);
  }
}

ALWAYS_INLINE float reciprocal_or_zero(float x) { return x != 0 ? 1 / x : 0; }

/* d, nibbles[16]. The codes are those of d before it is rounded. */
ALWAYS_INLINE int64_t encode_iq4_nl_batch(weight_rows rows, ptrdiff_t first, small_batch *batch,
                                          uint8_t *restrict out) {
  lanes x[32], w[32];
  transpose(batch->values, 32, 32, x);
  if (rows.importance) transpose(batch->weights, 32, 32, w);
  for (int i = 0; i < 32 && !rows.importance; i++) w[i] = x[i] * x[i];
  lanes scales = fit_iq4(x, w);
  if (rows.search_rounds > 0) scales = search_iq4_nl(rows, first, batch, scales);
  for (int k = 0; k < batch->count; k++, out += 18) {
    uint8_t codes[32];
    if (!all_finite(batch->values + 32 * k, 32)) return 2 * k;
    store_f16(out, scales[k]);
    if (!is_finite_half(load16(out))) return 2 * k + 1;
    write_iq4_codes(batch->values + 32 * k, 32, reciprocal_or_zero(scales[k]), codes);
    pack_nibbles(codes, out + 2);
  }
  return -1;
}

ALWAYS_INLINE int64_t encode_iq4_nl(weight_rows rows, uint8_t *restrict out) {
  const ptrdiff_t block_count = rows.row_count * rows.column_count / 32;
  for (ptrdiff_t first = 0; first < block_count; first += LANES) {
    small_batch batch;
    load_small_batch(rows, first, block_count - first, &batch);
    if (rows.importance) {
      float means[LANES];
      sums_of_squares(batch.values, 32, 32, LANES, means);
      for (int k = 0; k < LANES; k++) means[k] *= 2.0f / 32;
      weigh_small_batch(rows, first, means, &batch);
    }
    int64_t fault = encode_iq4_nl_batch(rows, first, &batch, out + 18 * first);
    if (fault >= 0) return 2 * first + fault;
  }
  return -1;
}

static const signed_type iq4_xs_type = {
    .levels = {0}, .part_count = 8, .lowest = -32, .highest = 31};

ALWAYS_INLINE void fit_iq4_xs(const float *restrict values, const float *restrict importance,
                              float mean_square, signed_scales *restrict stored) {
  lanes x[32], w[32];
  float scales[8];
  transpose(values, 32, 32, x);
  if (importance) transpose(importance, 32, 32, w);
  for (int i = 0; i < 32; i++) {
    w[i] = importance ? w[i] * root(mean_square + x[i] * x[i]) : x[i] * x[i];
  }
  store_lanes(scales, fit_iq4(x, w));
  int farthest = index_of_farthest(scales, 8);
  stored->d = -(farthest < 0 ? 0 : scales[farthest]) / 32;
  int_lanes whole = nearest_int(load_lanes(scales) * reciprocal_or_zero(stored->d));
  whole = choose_int(whole < 31, whole, (int_lanes){} + 31);
  whole = choose_int(whole > -32, whole, (int_lanes){} - 32);
  memcpy(stored->codes, &whole, sizeof whole);
}

/* d, high 2 bits of the 8 scales as one 16-bit word, their low 4 bits[4], nibbles[128]. The codes
   of llama.cpp are those of d before it is rounded. */
ALWAYS_INLINE void write_iq4_xs(const float *restrict values,
                                const signed_scales *restrict stored, uint8_t *restrict block) {
  unsigned high = 0;
  store_f16(block, stored->d);
  memset(block + 4, 0, 4);
  for (int s = 0; s < 8; s++) {
    uint8_t codes[32];
    const int scale = stored->codes[s];
    write_iq4_codes(values + 32 * s, 32, reciprocal_or_zero(stored->d * (float)scale), codes);
    pack_nibbles(codes, block + 8 + 16 * s);
    block[4 + s / 2] |= (uint8_t)((scale & 15) << (s % 2 * 4));
    high |= (unsigned)(scale + 32) >> 4 << (2 * s);
  }
  block[2] = (uint8_t)high, block[3] = (uint8_t)(high >> 8);
}

ALWAYS_INLINE int64_t encode_iq4_xs(weight_rows rows, uint8_t *restrict out) {
  enum { SUMMED = 4, SIZE = 136 };
  const ptrdiff_t block_count = rows.row_count * rows.column_count / 256;
  float sums[SUMMED] = {0};
  for (ptrdiff_t k = 0; k < block_count; k++, out += SIZE) {
    const float *values = rows.values + 256 * k;
    const ptrdiff_t left = block_count - k;
    signed_scales stored;
    if (rows.importance && k % SUMMED == 0) {
      sums_of_squares(values, 256, 256, left < SUMMED ? left : SUMMED, sums);
    }
    if (!all_finite(values, 256)) return 2 * k;
    fit_iq4_xs(values, importance_of(rows, k, 256), sums[k % SUMMED] * (2.0f / 256), &stored);
    improve_signed(iq4_xs_type, rows, k, &stored);
    write_iq4_xs(values, &stored, out);
    if (!is_finite_half(load16(out))) return 2 * k + 1;
  }
  return -1;
}

#endif
