/*
 * The K types: blocks of 256 values in sub-blocks of 16 or 32 values. The scale of a sub-block is a
 * small integer times the half-precision scale of the block. The same holds for minima, in types
 * that have them. Codes are stored in bit planes of 32-byte runs, so that a run of 32 values always
 * comes from one run of 32 bytes.
 */
#ifndef PLEAT_GGML_K_H
#define PLEAT_GGML_K_H

#include "half.h"

/* scales[16] (scale low half, minimum high half), 2-bit codes[64], d, dmin */
ALWAYS_INLINE void decode_q2_k(const uint8_t *restrict block, float *restrict out) {
  const uint8_t *scales = block, *codes = block + 16;
  float d = load_f16(block + 80), dmin = load_f16(block + 82);
  for (int s = 0; s < 16; s++) {
    float scale = d * (float)(scales[s] & 15), minimum = dmin * (float)(scales[s] >> 4);
    const uint8_t *run = codes + s / 8 * 32 + s % 2 * 16;
    int shift = s / 2 % 4 * 2;
    for (int l = 0; l < 16; l++) out[16 * s + l] = scale * (float)(run[l] >> shift & 3) - minimum;
  }
}

/* high bits[32], 2-bit codes[64], 6-bit scales[12], d */
ALWAYS_INLINE void decode_q3_k(const uint8_t *restrict block, float *restrict out) {
  const uint8_t *high = block, *codes = block + 32, *scales = block + 96;
  float d = load_f16(block + 108);
  for (int s = 0; s < 16; s++) {
    int low4 = scales[s % 8] >> (s / 8 * 4) & 15, high2 = scales[8 + s % 4] >> (s / 4 * 2) & 3;
    float scale = d * (float)((low4 | high2 << 4) - 32);
    const uint8_t *run = codes + s / 8 * 32 + s % 2 * 16, *bits = high + s % 2 * 16;
    int shift = s / 2 % 4 * 2, plane = s / 2;
    for (int l = 0; l < 16; l++) {
      int code = (run[l] >> shift & 3) | (bits[l] >> plane & 1) << 2;
      out[16 * s + l] = scale * (float)(code - 4);
    }
  }
}

/* The 6-bit scale and minimum of sub-block s. For s < 4 they are the low bits of bytes s and s + 4.
   For other s, their low four bits are the two halves of byte s + 4, and their high two bits are
   the high bits of bytes s - 4 and s. */
ALWAYS_INLINE void scale_and_minimum(const uint8_t *packed, int s, int *scale, int *minimum) {
  if (s < 4) {
    *scale = packed[s] & 63;
    *minimum = packed[s + 4] & 63;
  } else {
    *scale = (packed[s + 4] & 15) | packed[s - 4] >> 6 << 4;
    *minimum = packed[s + 4] >> 4 | packed[s] >> 6 << 4;
  }
}

/* d, dmin, 6-bit scales and minima[12], 4-bit codes[128] */
ALWAYS_INLINE void decode_q4_k(const uint8_t *restrict block, float *restrict out) {
  const uint8_t *codes = block + 16;
  float d = load_f16(block), dmin = load_f16(block + 2);
  for (int s = 0; s < 8; s++) {
    int scale6, minimum6;
    scale_and_minimum(block + 4, s, &scale6, &minimum6);
    float scale = d * (float)scale6, minimum = dmin * (float)minimum6;
    const uint8_t *run = codes + s / 2 * 32;
    int shift = s % 2 * 4;
    for (int l = 0; l < 32; l++) out[32 * s + l] = scale * (float)(run[l] >> shift & 15) - minimum;
  }
}

/* d, dmin, 6-bit scales and minima[12], fifth bits[32], 4-bit codes[128] */
ALWAYS_INLINE void decode_q5_k(const uint8_t *restrict block, float *restrict out) {
  const uint8_t *high = block + 16, *codes = block + 48;
  float d = load_f16(block), dmin = load_f16(block + 2);
  for (int s = 0; s < 8; s++) {
    int scale6, minimum6;
    scale_and_minimum(block + 4, s, &scale6, &minimum6);
    float scale = d * (float)scale6, minimum = dmin * (float)minimum6;
    const uint8_t *run = codes + s / 2 * 32;
    int shift = s % 2 * 4;
    for (int l = 0; l < 32; l++) {
      int code = (run[l] >> shift & 15) | (high[l] >> s & 1) << 4;
      out[32 * s + l] = scale * (float)code - minimum;
    }
  }
}

/* low 4 bits[128], high 2 bits[64], signed scales[16], d */
ALWAYS_INLINE void decode_q6_k(const uint8_t *restrict block, float *restrict out) {
  const uint8_t *low = block, *high = block + 128, *scales = block + 192;
  float d = load_f16(block + 208);
  for (int s = 0; s < 16; s++) {
    float scale = d * (float)(int8_t)scales[s];
    int half = s / 8, quarter = s / 2 % 4, start = s % 2 * 16;
    const uint8_t *nibbles = low + half * 64 + quarter % 2 * 32 + start;
    const uint8_t *pairs = high + half * 32 + start;
    int nibble_shift = quarter / 2 * 4, pair_shift = quarter * 2;
    for (int l = 0; l < 16; l++) {
      int code = (nibbles[l] >> nibble_shift & 15) | (pairs[l] >> pair_shift & 3) << 4;
      out[16 * s + l] = scale * (float)(code - 32);
    }
  }
}

#endif
