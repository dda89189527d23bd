/*
 * Conversions of one value. They are branch-free, so that loops over them can be vectorized. Halves
 * and floats are passed as bits, since floating-point registers may change the payload of a NaN.
 */
#ifndef PLEAT_HALF_H
#define PLEAT_HALF_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "paths.h"

ALWAYS_INLINE float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

ALWAYS_INLINE uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

ALWAYS_INLINE bool is_finite(float value) {
  return (bits_of_float(value) & 0x7fffffff) < 0x7f800000;
}

/* Keys are signed integers that have the order of the floats: -0 is below +0, and infinities and
   NaNs lie outside the finite values. */

ALWAYS_INLINE int32_t key_of_bits(uint32_t bits) {
  int32_t x = (int32_t)bits;
  return x ^ (x >> 31 & 0x7fffffff);
}

ALWAYS_INLINE float float_of_key(int32_t key) {
  return float_of_bits((uint32_t)(key ^ (key >> 31 & 0x7fffffff)));
}

/* Half-precision formats. */

ALWAYS_INLINE uint32_t f32_bits_of_f16(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  uint32_t magnitude = half & 0x7fff;
  uint32_t normal = (magnitude << 13) + (112u << 23);
  /* Subnormal halves are multiples of 2^-24, which are exact as floats. */
  uint32_t subnormal = bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
  uint32_t special = 0x7f800000 | magnitude << 13 | (magnitude > 0x7c00 ? 0x00400000 : 0);
  uint32_t finite = magnitude < 0x0400 ? subnormal : normal;
  return sign | (magnitude < 0x7c00 ? finite : special);
}

ALWAYS_INLINE uint16_t f16_of_f32_bits(uint32_t bits) {
  uint32_t sign = bits >> 16 & 0x8000;
  uint32_t magnitude = bits & 0x7fffffff;
  /* Rebias the exponent, and round off the low 13 bits. A carry into the exponent is correct. */
  uint32_t normal = (magnitude - (112u << 23) + 0x0fff + (magnitude >> 13 & 1)) >> 13;
  /* The last place of 0.5 is 2^-24, as in subnormal halves, so the addition rounds correctly. */
  uint32_t subnormal = bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000;
  uint32_t nan = 0x7e00 | (magnitude >> 13 & 0x03ff);
  uint32_t finite = magnitude < 0x38800000 ? subnormal : normal;
  uint32_t number = magnitude < 0x47800000 ? finite : 0x7c00;
  return (uint16_t)(sign | (magnitude <= 0x7f800000 ? number : nan));
}

ALWAYS_INLINE uint16_t bf16_of_f32_bits(uint32_t bits) {
  uint32_t number = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  uint32_t nan = bits >> 16 | 0x0040;
  return (uint16_t)((bits & 0x7fffffff) <= 0x7f800000 ? number : nan);
}

ALWAYS_INLINE uint16_t half_of(float value) { return f16_of_f32_bits(bits_of_float(value)); }
ALWAYS_INLINE float float_of_half(uint16_t half) { return float_of_bits(f32_bits_of_f16(half)); }
ALWAYS_INLINE float rounded_to_half(float value) { return float_of_half(half_of(value)); }

/* Loads at any alignment. */

ALWAYS_INLINE uint16_t load16(const void *bytes) {
  uint16_t value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

ALWAYS_INLINE uint32_t load32(const void *bytes) {
  uint32_t value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

ALWAYS_INLINE uint64_t load64(const void *bytes) {
  uint64_t value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

ALWAYS_INLINE float load_f16(const void *bytes) {
  return float_of_half(load16(bytes));
}

/* Rounds to the nearest half, ties to even. */
ALWAYS_INLINE void store_f16(void *bytes, float value) {
  uint16_t half = half_of(value);
  memcpy(bytes, &half, sizeof half);
}

#endif
