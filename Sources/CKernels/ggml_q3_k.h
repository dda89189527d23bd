/*
 * Q3_K: 16 sub-blocks of 16 values. The scale of a sub-block is a 6-bit number, less 32, times d.
 */
#ifndef PLEAT_GGML_Q3_K_H
#define PLEAT_GGML_Q3_K_H

#include "ggml_descent.h"
#include "ggml_signed_search.h"

enum { Q3_K_SIZE = 110, Q3_K_TOP = 4 };

static const signed_type q3_k_type = {
    .levels = {Q3_K_TOP}, .part_count = 16, .lowest = -32, .highest = 31};

ALWAYS_INLINE void pack_scales_q3_k(const int32_t *restrict codes, uint8_t *restrict packed) {
  uint8_t scales[16];
  for (int s = 0; s < 16; s++) scales[s] = (uint8_t)(codes[s] + 32);
  for (int s = 0; s < 8; s++) packed[s] = (uint8_t)((scales[s] & 15) | scales[s + 8] << 4);
  for (int s = 0; s < 4; s++) {
    packed[8 + s] = (uint8_t)(scales[s] >> 4 | scales[s + 4] >> 4 << 2 | scales[s + 8] >> 4 << 4 |
                              scales[s + 12] >> 4 << 6);
  }
}

/* high bits[32], 2-bit codes[64], 6-bit scales[12], d */
ALWAYS_INLINE void pack_q3_k(const uint8_t *restrict codes, uint8_t *restrict block) {
  for (int l = 0; l < 32; l++) {
    int high = 0;
    for (int plane = 0; plane < 8; plane++) high |= codes[32 * plane + l] >> 2 << plane;
    block[l] = (uint8_t)high;
  }
  for (int half = 0; half < 2; half++, codes += 128) {
    for (int l = 0; l < 32; l++) {
      block[32 + 32 * half + l] = (uint8_t)((codes[l] & 3) | (codes[l + 32] & 3) << 2 |
                                            (codes[l + 64] & 3) << 4 | (codes[l + 96] & 3) << 6);
    }
  }
}

/* The stored scales are relative to the one of largest magnitude, which becomes -32. */
ALWAYS_INLINE void round_scales_q3_k(const float *restrict scales, signed_scales *restrict stored) {
  int farthest = index_of_farthest(scales, 16);
  if (farthest < 0) {
    *stored = (signed_scales){.d = 0};
    for (int s = 0; s < 16; s++) stored->codes[s] = -32;
    return;
  }
  const float factor = -32 / scales[farthest];
  for (int s = 0; s < 16; s += LANES) {
    /* llama.cpp stores the number in a byte before it enforces the bounds. */
    int_lanes whole = low_byte(nearest_int(load_lanes(scales + s) * factor));
    whole = choose_int(whole < 31, whole, (int_lanes){} + 31);
    whole = choose_int(whole > -32, whole, (int_lanes){} - 32);
    memcpy(stored->codes + s, &whole, sizeof whole);
  }
  stored->d = 1 / factor;
}

ALWAYS_INLINE void write_q3_k(const float *restrict values, const q3_k_parts *restrict parts,
                              int first_part, const signed_scales *restrict stored,
                              uint8_t *restrict block) {
  uint8_t codes[256];
  store_f16(block + 108, stored->d);
  pack_scales_q3_k(stored->codes, block + 96);
  const float d = load_f16(block + 108);
  for (int s = 0; s < 16; s++) {
    const float scale = d * (float)stored->codes[s], *part = values + PART * s;
    if (scale != 0) {
      write_nearest_codes(part, PART, Q3_K_TOP, scale, codes + PART * s);
    } else {
      write_part_codes(part, parts, first_part + s, Q3_K_TOP, codes + PART * s);
    }
  }
  pack_q3_k(codes, block);
}

ALWAYS_INLINE void find_plain_q3_k(bool rounds, const float *restrict values, int count,
                                   q3_k_parts *restrict parts, signed_scales *restrict stored) {
  descend_symmetric(rounds, values, 16 * count, Q3_K_TOP, parts);
  for (int k = 0; k < count; k++) {
    round_scales_q3_k(parts->scales + 16 * k, &stored[k]);
  }
}

/* Fits the scales of the parts of a block, and finds the totals of their weights. */
ALWAYS_INLINE void fit_parts(bool rounds, const float *restrict values,
                             const float *restrict importance, float mean_square, int first_part,
                             q3_k_parts *restrict parts, float *restrict totals) {
  for (int part = 0; part < 16; part += LANES) {
    lanes x[PART], w[PART], wx[PART], total = all(0);
    transpose(values + PART * part, PART, PART, x);
    transpose(importance + PART * part, PART, PART, w);
    for (int i = 0; i < PART; i++) {
      w[i] *= root(mean_square + x[i] * x[i]);
      wx[i] = w[i] * x[i];
      total += w[i];
    }
    symmetric_fit fit = fit_symmetric(rounds, x, wx, w, PART, Q3_K_TOP, false);
    const int at = first_part + part;
    store_lanes(parts->scales + at, fit.scale);
    store_lanes(parts->factors + at, fit.factor);
    memcpy(parts->is_zero + at, &fit.is_zero, sizeof fit.is_zero);
    for (int k = 0; k < LANES; k++) parts->is_improved[at + k] = false;
    store_lanes(totals + part, total);
  }
}

/* At most a block for each lane, so that d is searched in lanes too. */
ALWAYS_INLINE void find_weighted_q3_k(weight_rows rows, ptrdiff_t first, int count,
                                      q3_k_parts *restrict parts, signed_scales *restrict stored) {
  const float *values = rows.values + 256 * first;
  float sums[LANES], totals[LANES * 16] = {0};
  for (int part = 16 * count; part < 16 * LANES; part++) parts->scales[part] = 0;
  sums_of_squares(values, 256, 256, count, sums);
  for (int k = 0; k < count; k++) {
    fit_parts(rows.rounds, values + 256 * k, importance_of(rows, first + k, 256),
              2 * sums[k] / 256, 16 * k, parts, totals + 16 * k);
  }
  lanes scales[16], weights[16], weighted[16];
  transpose(parts->scales, 16, 16, scales);
  transpose(totals, 16, 16, weights);
  for (int s = 0; s < 16; s++) weighted[s] = weights[s] * scales[s];
  symmetric_fit fit = fit_symmetric(rows.rounds, scales, weighted, weights, 16, 32, true);
  for (int k = 0; k < count; k++) {
    uint8_t codes[16];
    write_found_codes(parts->scales + 16 * k, 16, 32, fit.factor[k], fit.is_zero[k], codes);
    for (int s = 0; s < 16; s++) stored[k].codes[s] = codes[s] - 32;
    stored[k].d = fit.scale[k];
  }
}

ALWAYS_INLINE int64_t encode_q3_k(weight_rows rows, uint8_t *restrict out) {
  const ptrdiff_t block_count = rows.row_count * rows.column_count / 256;
  const int most = rows.importance ? LANES : MOST_Q3_K_PARTS / 16;
  q3_k_parts parts;
  signed_scales stored[MOST_Q3_K_PARTS / 16];
  for (ptrdiff_t first = 0; first < block_count; first += most) {
    const int count = block_count - first < most ? (int)(block_count - first) : most;
    if (rows.importance) {
      find_weighted_q3_k(rows, first, count, &parts, stored);
    } else {
      find_plain_q3_k(rows.rounds, rows.values + 256 * first, count, &parts, stored);
    }
    for (int k = 0; k < count; k++, out += Q3_K_SIZE) {
      const float *values = rows.values + 256 * (first + k);
      if (!all_finite(values, 256)) return 2 * (first + k);
      improve_signed(q3_k_type, rows, first + k, &stored[k]);
      write_q3_k(values, &parts, 16 * k, &stored[k], out);
      if (!is_finite_half(load16(out + 108))) return 2 * (first + k) + 1;
    }
  }
  return -1;
}

#endif
