/*
 * Blocks whose codes are indices into a table of values, and blocks of ternary digits.
 */
#ifndef PLEAT_GGML_TABLES_H
#define PLEAT_GGML_TABLES_H

#include "half.h"

static const float iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

/* Twice the values of E2M1. Its negative zero counts as zero. */
static const float e2m1_doubles[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 32 values from 16 bytes: first the low halves, then the high halves. */
ALWAYS_INLINE void look_up(const uint8_t *restrict nibbles, const float *restrict values,
                           float scale, float *restrict out) {
  for (int j = 0; j < 16; j++) {
    out[j] = scale * values[nibbles[j] & 15];
    out[j + 16] = scale * values[nibbles[j] >> 4];
  }
}

/* d, nibbles[16] */
ALWAYS_INLINE void decode_iq4_nl(const uint8_t *restrict block, float *restrict out) {
  look_up(block + 2, iq4_values, load_f16(block), out);
}

/* d, high 2 bits of the 8 scales as one 16-bit word, their low 4 bits[4], nibbles[128] */
ALWAYS_INLINE void decode_iq4_xs(const uint8_t *restrict block, float *restrict out) {
  float d = load_f16(block);
  int high = load16(block + 2);
  for (int s = 0; s < 8; s++) {
    int low4 = block[4 + s / 2] >> (s % 2 * 4) & 15, high2 = high >> (2 * s) & 3;
    float scale = d * (float)((low4 | high2 << 4) - 32);
    look_up(block + 8 + 16 * s, iq4_values, scale, out + 32 * s);
  }
}

/* 2^(exponent - 128), subnormal at 0 and 1 */
ALWAYS_INLINE float e8m0_half(uint8_t exponent) {
  uint32_t e = exponent;
  return float_of_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

/* exponent, nibbles[16] */
ALWAYS_INLINE void decode_mxfp4(const uint8_t *restrict block, float *restrict out) {
  look_up(block + 1, e2m1_doubles, e8m0_half(block[0]), out);
}

/* Half the value of an E4M3 without a sign; the pattern of NaN counts as zero. */
ALWAYS_INLINE float ue4m3_half(uint8_t bits) {
  const uint32_t exponent = bits >> 3 & 15, mantissa = bits & 7;
  const float normal = float_of_bits((exponent + 119) << 23 | mantissa << 20);
  const float number = exponent == 0 ? (float)(int)mantissa * 0x1p-10f : normal;
  return bits == 0x7f ? 0 : number;
}

/* scales[4], nibbles[8] of 16 values each: first the low halves, then the high halves */
ALWAYS_INLINE void decode_nvfp4(const uint8_t *restrict block, float *restrict out) {
  for (int s = 0; s < 4; s++, out += 16) {
    const float scale = ue4m3_half(block[s]);
    const uint8_t *run = block + 4 + 8 * s;
    for (int j = 0; j < 8; j++) {
      out[j] = scale * e2m1_doubles[run[j] & 15];
      out[j + 8] = scale * e2m1_doubles[run[j] >> 4];
    }
  }
}

/* Decodes `count` bytes of ternary digits; each digit gives a run of `count` values. A byte is a
   fraction in 256ths. Multiplied by 3^n modulo 1, its first ternary digit is digit n. */
ALWAYS_INLINE float *decode_digits(const uint8_t *restrict bytes, int count, int digits, float d,
                                   float *restrict out) {
  for (int n = 0, power = 1; n < digits; n++, power *= 3, out += count) {
    for (int j = 0; j < count; j++) {
      int fraction = (uint8_t)(bytes[j] * power);
      out[j] = d * (float)((fraction * 3 >> 8) - 1);
    }
  }
  return out;
}

/* bytes of five digits[48], in runs of 32 and 16 bytes; bytes of four digits[4]; d */
ALWAYS_INLINE void decode_tq1_0(const uint8_t *restrict block, float *restrict out) {
  float d = load_f16(block + 52);
  out = decode_digits(block, 32, 5, d, out);
  out = decode_digits(block + 32, 16, 5, d, out);
  decode_digits(block + 48, 4, 4, d, out);
}

/* 2-bit codes[64] in planes of 32 bytes, d */
ALWAYS_INLINE void decode_tq2_0(const uint8_t *restrict block, float *restrict out) {
  float d = load_f16(block + 64);
  for (int s = 0; s < 8; s++) {
    const uint8_t *run = block + s / 4 * 32;
    int shift = s % 4 * 2;
    for (int l = 0; l < 32; l++) out[32 * s + l] = d * (float)((run[l] >> shift & 3) - 1);
  }
}

#endif
