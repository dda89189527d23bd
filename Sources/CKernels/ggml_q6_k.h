/*
 * Q6_K: 16 sub-blocks of 16 values. The scale of a sub-block is a signed byte times d.
 */
#ifndef PLEAT_GGML_Q6_K_H
#define PLEAT_GGML_Q6_K_H

#include "ggml_signed_search.h"

/* Sub-blocks have 16 values. A unit has one for each lane. */
enum { Q6_K_SIZE = 210, Q6_K_TOP = 32, Q6_K_UNITS = 16 / LANES };

static const signed_type q6_k_type = {
    .levels = {Q6_K_TOP}, .part_count = 16, .lowest = -128, .highest = 127};

/* low 4 bits[128], high 2 bits[64], signed scales[16], d */
ALWAYS_INLINE void pack_q6_k(const uint8_t *restrict codes, uint8_t *restrict block) {
  for (int half = 0; half < 2; half++, codes += 128) {
    uint8_t *low = block + 64 * half, *high = block + 128 + 32 * half;
    for (int l = 0; l < 32; l++) {
      uint8_t a = codes[l], b = codes[l + 32], c = codes[l + 64], d = codes[l + 96];
      low[l] = (uint8_t)((a & 15) | c << 4);
      low[l + 32] = (uint8_t)((b & 15) | d << 4);
      high[l] = (uint8_t)(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
    }
  }
}

/* The stored scales are relative to the one of largest magnitude, which becomes -128. */
ALWAYS_INLINE void round_scales_q6_k(const float *scales, int farthest, signed_scales *stored) {
  const float factor = -128 / scales[farthest];
  for (int s = 0; s < 16; s += LANES) {
    int_lanes whole = nearest_int(load_lanes(scales + s) * factor);
    /* llama.cpp stores the low byte. */
    whole = low_byte(choose_int(whole < 127, whole, (int_lanes){} + 127));
    memcpy(stored->codes + s, &whole, sizeof whole);
  }
  stored->d = 1 / factor;
}

ALWAYS_INLINE void write_q6_k(const float *restrict values, const symmetric_fit fits[Q6_K_UNITS],
                              const signed_scales *restrict stored, uint8_t *restrict block) {
  uint8_t codes[256];
  store_f16(block + 208, stored->d);
  const float d = load_f16(block + 208);
  for (int s = 0; s < 16; s++) {
    const float scale = d * (float)stored->codes[s];
    block[192 + s] = (uint8_t)stored->codes[s];
    if (scale != 0) {
      write_nearest_codes(values + 16 * s, 16, Q6_K_TOP, scale, codes + 16 * s);
    } else {
      write_found_codes(values + 16 * s, 16, Q6_K_TOP, fits[s / LANES].factor[s % LANES],
                        fits[s / LANES].is_zero[s % LANES], codes + 16 * s);
    }
  }
  pack_q6_k(codes, block);
}

ALWAYS_INLINE void encode_q6_k_block(weight_rows rows, ptrdiff_t index, uint8_t *restrict block) {
  const float *values = rows.values + 256 * index;
  const float *importance = importance_of(rows, index, 256);
  symmetric_fit fits[Q6_K_UNITS];
  float scales[16];
  for (int u = 0; u < Q6_K_UNITS; u++) {
    lanes x[16], w[16], wx[16];
    transpose(values + 16 * LANES * u, 16, 16, x);
    if (importance) transpose(importance + 16 * LANES * u, 16, 16, w);
    for (int i = 0; i < 16; i++) {
      if (!importance) w[i] = x[i] * x[i];
      wx[i] = w[i] * x[i];
    }
    fits[u] = fit_symmetric(rows.rounds, x, wx, w, 16, Q6_K_TOP, false);
    store_lanes(scales + LANES * u, fits[u].scale);
  }
  signed_scales stored = {0};
  int farthest = index_of_farthest(scales, 16);
  const bool is_zero = farthest < 0 || fabsf(scales[farthest]) < least_magnitude;
  if (!is_zero) round_scales_q6_k(scales, farthest, &stored);
  improve_signed(q6_k_type, rows, index, &stored);
  if (is_zero && stored.d == 0) {
    memset(block, 0, Q6_K_SIZE);
  } else {
    write_q6_k(values, fits, &stored, block);
  }
}

ALWAYS_INLINE int64_t encode_q6_k(weight_rows rows, uint8_t *restrict out) {
  const ptrdiff_t block_count = rows.row_count * rows.column_count / 256;
  for (ptrdiff_t k = 0; k < block_count; k++, out += Q6_K_SIZE) {
    if (!all_finite(rows.values + 256 * k, 256)) return 2 * k;
    encode_q6_k_block(rows, k, out);
    if (!is_finite_half(load16(out + 208))) return 2 * k + 1;
  }
  return -1;
}

#endif
