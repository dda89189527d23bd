/*
 * Blocks of 256 values whose codes are indices into codebooks of 4 or 8 values: IQ1, IQ2 and IQ3.
 * Also Q1_0 and Q2_0, whose codes are such digits themselves.
 *
 * IQ2 and IQ3 store magnitudes and signs: a byte of signs for eight values, the first in the lowest
 * bit. In IQ2_XXS, IQ2_XS and IQ3_XXS seven signs are stored, and the eighth makes the number of
 * negative values even. All products below are exact, so their order does not matter.
 */
#ifndef PLEAT_GGML_GRIDS_H
#define PLEAT_GGML_GRIDS_H

#include "ggml_codebooks.h"
#include "half.h"
#include "lanes.h"

/* The eight digits of 2 bits in an entry of a codebook. */
ALWAYS_INLINE int_lanes digits_of_2_bits(uint16_t entry) {
  const int_lanes places = {0, 2, 4, 6, 8, 10, 12, 14};
  return ((int_lanes){} + entry) >> places & 3;
}

/* The eight digits of 4 bits in two entries of a codebook. */
ALWAYS_INLINE int_lanes digits_of_4_bits(uint16_t first, uint16_t second) {
  const int_lanes places = {0, 4, 8, 12, 16, 20, 24, 28};
  return ((int_lanes){} + (int32_t)(first | (uint32_t)second << 16)) >> places & 15;
}

/* Stores scale * whole, with the sign changed where a bit of `signs` is set. */
ALWAYS_INLINE void store_signed(float scale, int_lanes whole, uint8_t signs, float *out) {
  const int_lanes places = {31, 30, 29, 28, 27, 26, 25, 24};
  const int_lanes bits = ((int_lanes){} + signs) << places & INT32_MIN;
  const lanes x = scale * __builtin_convertvector(whole, lanes);
  store_lanes(out, (lanes)((int_lanes)x ^ bits));
}

/* Seven signs, and the eighth. */
ALWAYS_INLINE uint8_t even_signs(uint32_t word) {
  const uint32_t seven = word & 127;
  return (uint8_t)(seven | (uint32_t)__builtin_parity(seven) << 7);
}

/* The digits of IQ2 are the magnitudes 8, 25 and 43. */
ALWAYS_INLINE void store_iq2(float scale, uint16_t entry, uint8_t signs, float *out) {
  const int_lanes digits = digits_of_2_bits(entry);
  store_signed(scale, 8 + 17 * digits + (digits >> 1), signs, out);
}

/* d; for each 32 values 4 indices of 8 bits, and a word of 4 times 7 signs with a 4-bit scale */
ALWAYS_INLINE void decode_iq2_xxs(const uint8_t *restrict block, float *restrict out) {
  const float d = load_f16(block);
  for (int s = 0; s < 8; s++) {
    const uint8_t *indices = block + 2 + 8 * s;
    const uint32_t word = load32(indices + 4);
    const float scale = d * (0.5f + (float)(int)(word >> 28)) * 0.25f;
    for (int k = 0; k < 4; k++, out += 8) {
      store_iq2(scale, iq2_xxs_grid[indices[k]], even_signs(word >> (7 * k)), out);
    }
  }
}

/* The scale of run k of 8 values, from 4-bit scales of 16 values each. */
ALWAYS_INLINE float iq2_scale(float d, const uint8_t *scales, int k) {
  return d * (0.5f + (float)(scales[k / 4] >> (k / 2 % 2 * 4) & 15)) * 0.25f;
}

/* d, words of a 9-bit index and 7 signs[32], 4-bit scales[8] */
ALWAYS_INLINE void decode_iq2_xs(const uint8_t *restrict block, float *restrict out) {
  const float d = load_f16(block);
  for (int k = 0; k < 32; k++) {
    const uint16_t word = load16(block + 2 + 2 * k);
    store_iq2(
        iq2_scale(d, block + 66, k), iq2_xs_grid[word & 511], even_signs(word >> 9), out + 8 * k);
  }
}

/* d, low 8 bits of the indices[32], signs[32], high 2 bits of the indices[8], 4-bit scales[8] */
ALWAYS_INLINE void decode_iq2_s(const uint8_t *restrict block, float *restrict out) {
  const float d = load_f16(block);
  for (int k = 0; k < 32; k++) {
    const int high = block[66 + k / 4] >> (k % 4 * 2) & 3;
    store_iq2(
        iq2_scale(d, block + 74, k), iq2_s_grid[block[2 + k] | high << 8], block[34 + k],
        out + 8 * k);
  }
}

/* d, 8-bit indices[64], words of 4 times 7 signs with a 4-bit scale[8]. The digits are the
   magnitudes 4, 12, 20, 28, 36, 44, 52 and 62. */
ALWAYS_INLINE void decode_iq3_xxs(const uint8_t *restrict block, float *restrict out) {
  const float d = load_f16(block);
  const uint8_t *indices = block + 2;
  for (int s = 0; s < 8; s++) {
    const uint32_t word = load32(block + 66 + 4 * s);
    const float scale = d * (0.5f + (float)(int)(word >> 28)) * 0.5f;
    for (int k = 0; k < 4; k++, indices += 2, out += 8) {
      const int_lanes digits = digits_of_4_bits(iq3_xxs_grid[indices[0]], iq3_xxs_grid[indices[1]]);
      const int_lanes whole = 4 + 8 * digits - 2 * (digits == 7);
      store_signed(scale, whole, even_signs(word >> (7 * k)), out);
    }
  }
}

/* d, low 8 bits of the indices[64], their high bits[8], signs[32], 4-bit scales[4]. The digits are
   the odd magnitudes from 1 to 15. */
ALWAYS_INLINE void decode_iq3_s(const uint8_t *restrict block, float *restrict out) {
  const float d = load_f16(block);
  for (int k = 0; k < 32; k++) {
    const float scale = d * (float)(1 + 2 * (block[106 + k / 8] >> (k / 4 % 2 * 4) & 15));
    const int high = block[66 + k / 4] >> (k % 4 * 2);
    const int first = block[2 + 2 * k] | (high & 1) << 8;
    const int second = block[3 + 2 * k] | (high & 2) << 7;
    const int_lanes digits = digits_of_4_bits(iq3_s_grid[first], iq3_s_grid[second]);
    store_signed(scale, 1 + 2 * digits, block[74 + k], out + 8 * k);
  }
}

/* The digits of IQ1 are -1, 0 and 1, all moved by 1/8 up, or down if the flag is set. */
ALWAYS_INLINE void store_iq1(float d, int scale, int index, bool moves_down, float *out) {
  const lanes digits = __builtin_convertvector(digits_of_2_bits(iq1_s_grid[index]) - 1, lanes);
  store_lanes(out, d * (float)(2 * scale + 1) * (digits + (moves_down ? -0.125f : 0.125f)));
}

/* d, low 8 bits of the indices[32], for each 32 values a word of 4 times their high 3 bits, a 3-bit
   scale and the flag[8] */
ALWAYS_INLINE void decode_iq1_s(const uint8_t *restrict block, float *restrict out) {
  const float d = load_f16(block);
  for (int k = 0; k < 32; k++) {
    const int word = load16(block + 34 + k / 4 * 2);
    const int index = block[2 + k] | (word >> (k % 4 * 3) & 7) << 8;
    store_iq1(d, word >> 12 & 7, index, word >> 15, out + 8 * k);
  }
}

/* low 8 bits of the indices[32], their high 3 bits and the flag[16], 3-bit scales of 16 values in
   16-bit words[4]. The high 4 bits of the words are d. */
ALWAYS_INLINE void decode_iq1_m(const uint8_t *restrict block, float *restrict out) {
  uint16_t words[4];
  memcpy(words, block + 48, sizeof words);
  const int d_bits =
      words[0] >> 12 | words[1] >> 12 << 4 | words[2] >> 12 << 8 | words[3] >> 12 << 12;
  const float d = float_of_half((uint16_t)d_bits);
  for (int k = 0; k < 32; k++) {
    const int scale = words[k / 8] >> (k / 2 % 4 * 3) & 7, high = block[32 + k / 2] >> (k % 2 * 4);
    store_iq1(d, scale, block[k] | (high & 7) << 8, high & 8, out + 8 * k);
  }
}

/* d, signs[16]: a value is d if its bit is set, else -d */
ALWAYS_INLINE void decode_q1_0(const uint8_t *restrict block, float *restrict out) {
  const float d = load_f16(block);
  for (int k = 0; k < 16; k++) store_signed(d, (int_lanes){} + 1, ~block[2 + k], out + 8 * k);
}

/* d, 2-bit codes[16]: a value is d times -1, 0, 1 or 2 */
ALWAYS_INLINE void decode_q2_0(const uint8_t *restrict block, float *restrict out) {
  const float d = load_f16(block);
  for (int k = 0; k < 8; k++) {
    const int_lanes whole = digits_of_2_bits(load16(block + 2 + 2 * k)) - 1;
    store_lanes(out + 8 * k, d * __builtin_convertvector(whole, lanes));
  }
}

#endif
