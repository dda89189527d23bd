/*
 * Encoders of TQ1_0 and TQ2_0: blocks of 256 ternary digits with a scale. llama.cpp ignores
 * importance.
 */
#ifndef PLEAT_GGML_TERNARY_H
#define PLEAT_GGML_TERNARY_H

#include "ggml_ternary_search.h"

ALWAYS_INLINE float largest_magnitude(const float *values, int count) {
  lanes most = all(0);
  for (int i = 0; i < count; i += LANES) most = larger(magnitude(load_lanes(values + i)), most);
  float found = 0;
  for (int k = 0; k < LANES; k++) found = most[k] > found ? most[k] : found;
  return found;
}

/* The digits, 0 to 2, for a scale. Halves are rounded away from zero. A product that is not finite
   gives the digit of zero, as on x86. */
ALWAYS_INLINE void find_digits(const float *restrict values, float scale,
                               uint8_t *restrict digits) {
  const float factor = scale != 0 ? 1 / scale : 0;
  const int_lanes unit = factor <= 0x1.fffffep127f ? (int_lanes){} - 1 : (int_lanes){};
  for (int i = 0; i < 256; i += LANES) {
    lanes x = load_lanes(values + i) * factor;
    store_bytes(digits + i, 1 + (unit & ((x <= -0.5f) - (x >= 0.5f))));
  }
}

/* Packs the digits of values that are `count` apart into `count` bytes. A byte is the number with
   these digits in 256ths of 3^5, rounded up. */
ALWAYS_INLINE void pack_digits(const uint8_t *restrict digits, int count, int number,
                               uint8_t *restrict out) {
  for (int j = 0; j < count; j++) {
    unsigned value = 0;
    for (int n = 0; n < 5; n++) value = 3 * value + (n < number ? digits[count * n + j] : 0);
    out[j] = (uint8_t)((value * 256 + 242) / 243);
  }
}

/* bytes of five digits[48], in runs of 32 and 16 bytes; bytes of four digits[4] */
ALWAYS_INLINE void pack_tq1_0(const uint8_t *restrict digits, uint8_t *restrict block) {
  pack_digits(digits, 32, 5, block);
  pack_digits(digits + 160, 16, 5, block + 32);
  pack_digits(digits + 240, 4, 4, block + 48);
}

/* 2-bit codes[64] in planes of 32 bytes */
ALWAYS_INLINE void pack_tq2_0(const uint8_t *restrict digits, uint8_t *restrict block) {
  for (int half = 0; half < 2; half++, digits += 128, block += 32) {
    for (int l = 0; l < 32; l++) {
      block[l] = (uint8_t)(digits[l] | digits[l + 32] << 2 | digits[l + 64] << 4 |
                           digits[l + 96] << 6);
    }
  }
}

/* The scale follows the digits, which TQ1_0 packs more densely. That of llama.cpp is the largest
   magnitude. */
ALWAYS_INLINE int64_t encode_ternary(bool is_dense, weight_rows rows, uint8_t *restrict out) {
  const ptrdiff_t block_count = rows.row_count * rows.column_count / 256;
  const int length = is_dense ? 52 : 64;
  for (ptrdiff_t k = 0; k < block_count; k++, out += length + 2) {
    const float *values = rows.values + 256 * k;
    uint8_t digits[256];
    if (!all_finite(values, 256)) return 2 * k;
    float scale = largest_magnitude(values, 256);
    if (rows.search_rounds > 0) scale = search_ternary(rows, k, scale);
    store_f16(out + length, scale);
    if (!is_finite_half(load16(out + length))) return 2 * k + 1;
    find_digits(values, scale, digits);
    is_dense ? pack_tq1_0(digits, out) : pack_tq2_0(digits, out);
  }
  return -1;
}

#endif
