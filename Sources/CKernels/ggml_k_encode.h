/*
 * Encoders of the K types with minima: Q2_K, Q4_K and Q5_K. Sub-blocks are called parts. The
 * layouts are in ggml_k.h.
 */
#ifndef PLEAT_GGML_K_ENCODE_H
#define PLEAT_GGML_K_ENCODE_H

#include "ggml_k_scales.h"
#include "ggml_k_search.h"

/* The codes nearest to the values with the stored scales. A part whose scale is stored as 0 keeps
   the codes of the search. `first` is the first part of the block in the batch. */
ALWAYS_INLINE void find_codes(k_type type, const k_batch *batch, const k_scales *found, int first,
                              uint8_t *codes) {
  const int length = K_BLOCK / type.part_count, top = (1 << type.bits) - 1;
  const float *values = batch->values + first * length;
  float d = float_of_half(found->scale), dmin = float_of_half(found->minimum);
  for (int part = 0; part < type.part_count; part++) {
    float scale = d * (float)found->scales[part], minimum = dmin * (float)found->minima[part];
    float factor = batch->factors[first + part], origin = batch->origins[first + part];
    for (int i = part * length; i < (part + 1) * length; i += LANES) {
      lanes x = load_lanes(values + i);
      lanes code = scale != 0 ? (x + minimum) / scale : factor * (x - origin);
      store_codes(codes + i, larger(smaller(nearest(code), all((float)top)), all(0)));
    }
  }
}

/* Bit planes of 32-byte runs, see ggml_k.h. */
ALWAYS_INLINE void pack_k_codes(int bits, const uint8_t *restrict codes, uint8_t *restrict out) {
  if (bits == 5) {
    for (int l = 0; l < 32; l++) {
      int high = 0;
      for (int s = 0; s < 8; s++) high |= codes[32 * s + l] >> 4 << s;
      out[l] = (uint8_t)high;
    }
    out += 32;
  }
  const int runs = bits == 2 ? 4 : 2, shift = 8 / runs, mask = (1 << shift) - 1;
  for (int start = 0; start < K_BLOCK; start += 32 * runs, out += 32) {
    for (int l = 0; l < 32; l++) {
      int byte = 0;
      for (int run = 0; run < runs; run++) {
        byte |= (codes[start + 32 * run + l] & mask) << (shift * run);
      }
      out[l] = (uint8_t)byte;
    }
  }
}

ALWAYS_INLINE void write_k_block(k_type type, bool clamps, const k_batch *batch, int block,
                                 k_scales *found, uint8_t *out) {
  uint8_t codes[K_BLOCK], *packed = type.bits == 2 ? out : out + 4;
  uint8_t *halves = type.bits == 2 ? out + 80 : out;
  memcpy(halves, &found->scale, 2);
  memcpy(halves + 2, &found->minimum, 2);
  pack_scales(type, clamps, found, packed);
  find_codes(type, batch, found, block * type.part_count, codes);
  pack_k_codes(type.bits, codes, packed + (type.bits == 2 ? 16 : 12));
}

ALWAYS_INLINE int64_t encode_k_blocks(k_type type, weight_rows rows, uint8_t *out) {
  const ptrdiff_t block_count = rows.row_count * rows.column_count / K_BLOCK;
  const bool clamps = rows.importance ? type.clamps_weighted : type.clamps_plain;
  type.plain.rounds = type.weighted.rounds = rows.rounds;
  k_batch batch;
  k_scales found[K_BLOCKS];
  for (ptrdiff_t first = 0; first < block_count; first += K_BLOCKS) {
    const int count = block_count - first < K_BLOCKS ? (int)(block_count - first) : K_BLOCKS;
    load_k_batch(type, rows, first, count, &batch);
    find_scales(type, rows.importance != NULL, &batch, found);
    if (rows.search_rounds > 0) search_k_batch(type, rows, first, count, &batch, found);
    for (int k = 0; k < count; k++) {
      if (!all_finite(batch.values + k * K_BLOCK, K_BLOCK)) return 2 * (first + k);
      if (!is_finite_half(found[k].scale) || !is_finite_half(found[k].minimum)) {
        return 2 * (first + k) + 1;
      }
      write_k_block(type, clamps, &batch, k, &found[k], out + (first + k) * type.size);
    }
  }
  return -1;
}

ALWAYS_INLINE int64_t encode_q2_k(weight_rows rows, uint8_t *out) {
  return encode_k_blocks(
      (k_type){
          .bits = 2, .part_count = 16, .top = 15, .mean_factor = 1, .size = 84,
          .plain = {.length = 16, .top = 3, .first = -0.5f, .step = 0.1f, .trial_count = 16,
                    .is_absolute = true},
          .weighted = {.length = 16, .top = 3, .first = -0.9f, .step = 0.05f, .trial_count = 37}},
      rows, out);
}

ALWAYS_INLINE int64_t encode_q4_k(weight_rows rows, uint8_t *out) {
  return encode_k_blocks(
      (k_type){
          .bits = 4, .part_count = 8, .top = 63, .mean_factor = 2, .size = 144,
          .clamps_plain = true,
          .plain = {.length = 32, .top = 15, .first = -1, .step = 0.1f, .trial_count = 21},
          .weighted = {.length = 32, .top = 15, .first = -0.9f, .step = 0.05f, .trial_count = 37}},
      rows, out);
}

ALWAYS_INLINE int64_t encode_q5_k(weight_rows rows, uint8_t *out) {
  return encode_k_blocks(
      (k_type){
          .bits = 5, .part_count = 8, .top = 63, .mean_factor = 2, .size = 176,
          .clamps_plain = true, .clamps_weighted = true,
          .plain = {.length = 32, .top = 31, .first = -0.5f, .step = 0.1f, .trial_count = 16},
          .weighted = {.length = 32, .top = 31, .first = -0.9f, .step = 0.05f, .trial_count = 37}},
      rows, out);
}

#endif
