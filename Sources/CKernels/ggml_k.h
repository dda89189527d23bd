/*
 * The K types: blocks of 256 values in sub-blocks of 16 or 32 values. The scale of a sub-block is a
 * small integer times the half-precision scale of the block. The same holds for minima, in types
 * that have them. Codes are stored in bit planes of 32-byte runs, so that a run of 32 values always
 * comes from one run of 32 bytes.
 */
#ifndef PLEAT_GGML_K_H
#define PLEAT_GGML_K_H

#include <stdbool.h>

#include "half.h"

/* What all sub-blocks of a type have in common: a value is scale * (code - zero) - minimum. `step_at`
   is where a block has the number that scales are multiples of; that of minima follows it. */
typedef struct {
  int size, low_bits, high_bits, zero, step_at;
  bool has_minima;
} k_layout;

#define Q2_K_LAYOUT \
  ((k_layout){.size = 16, .low_bits = 2, .step_at = 80, .has_minima = true})
#define Q3_K_LAYOUT \
  ((k_layout){.size = 16, .low_bits = 2, .high_bits = 1, .zero = 4, .step_at = 108})
#define Q4_K_LAYOUT ((k_layout){.size = 32, .low_bits = 4, .has_minima = true})
#define Q5_K_LAYOUT ((k_layout){.size = 32, .low_bits = 4, .high_bits = 1, .has_minima = true})
#define Q6_K_LAYOUT \
  ((k_layout){.size = 16, .low_bits = 4, .high_bits = 2, .zero = 32, .step_at = 208})

/* A sub-block: its parameters, and where the bits of its codes are, one byte for each code. */
typedef struct {
  float scale, minimum;
  const uint8_t *low, *high;
  int low_shift, high_shift;
} sub_block;

ALWAYS_INLINE int code_of(k_layout layout, sub_block from, int index) {
  int low = from.low[index] >> from.low_shift & ((1 << layout.low_bits) - 1);
  if (layout.high_bits == 0) return low;
  int high = from.high[index] >> from.high_shift & ((1 << layout.high_bits) - 1);
  return low | high << layout.low_bits;
}

/* scales[16] (scale low half, minimum high half), 2-bit codes[64], d, dmin */
ALWAYS_INLINE sub_block sub_block_q2_k(const uint8_t *block, int s, float d, float dmin) {
  return (sub_block){
      .scale = d * (float)(block[s] & 15),
      .minimum = dmin * (float)(block[s] >> 4),
      .low = block + 16 + s / 8 * 32 + s % 2 * 16,
      .low_shift = s / 2 % 4 * 2,
  };
}

/* high bits[32], 2-bit codes[64], 6-bit scales[12], d */
ALWAYS_INLINE sub_block sub_block_q3_k(const uint8_t *block, int s, float d, float dmin) {
  const uint8_t *scales = block + 96;
  int low4 = scales[s % 8] >> (s / 8 * 4) & 15, high2 = scales[8 + s % 4] >> (s / 4 * 2) & 3;
  return (sub_block){
      .scale = d * (float)((low4 | high2 << 4) - 32),
      .low = block + 32 + s / 8 * 32 + s % 2 * 16,
      .low_shift = s / 2 % 4 * 2,
      .high = block + s % 2 * 16,
      .high_shift = s / 2,
  };
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
ALWAYS_INLINE sub_block sub_block_q4_k(const uint8_t *block, int s, float d, float dmin) {
  int scale, minimum;
  scale_and_minimum(block + 4, s, &scale, &minimum);
  return (sub_block){
      .scale = d * (float)scale,
      .minimum = dmin * (float)minimum,
      .low = block + 16 + s / 2 * 32,
      .low_shift = s % 2 * 4,
  };
}

/* d, dmin, 6-bit scales and minima[12], fifth bits[32], 4-bit codes[128] */
ALWAYS_INLINE sub_block sub_block_q5_k(const uint8_t *block, int s, float d, float dmin) {
  sub_block result = sub_block_q4_k(block, s, d, dmin);
  result.low += 32;
  result.high = block + 16;
  result.high_shift = s;
  return result;
}

/* low 4 bits[128], high 2 bits[64], signed scales[16], d */
ALWAYS_INLINE sub_block sub_block_q6_k(const uint8_t *block, int s, float d, float dmin) {
  int half = s / 8, quarter = s / 2 % 4, start = s % 2 * 16;
  return (sub_block){
      .scale = d * (float)(int8_t)block[192 + s],
      .low = block + half * 64 + quarter % 2 * 32 + start,
      .low_shift = quarter / 2 * 4,
      .high = block + 128 + half * 32 + start,
      .high_shift = quarter * 2,
  };
}

ALWAYS_INLINE void decode_sub_block(k_layout layout, sub_block from, float *restrict out) {
  for (int l = 0; l < layout.size; l++) {
    float value = from.scale * (float)(code_of(layout, from, l) - layout.zero);
    out[l] = layout.has_minima ? value - from.minimum : value;
  }
}

/* Decodes a block of a K type, and takes one apart: codes of a byte each, and a scale and a minimum,
   where there is one, for each sub-block. */
#define K_TYPE(name, LAYOUT)                                                               \
  ALWAYS_INLINE void decode_##name(const uint8_t *restrict block, float *restrict out) {   \
    float d = load_f16(block + LAYOUT.step_at);                                            \
    float dmin = LAYOUT.has_minima ? load_f16(block + LAYOUT.step_at + 2) : 0;             \
    _Pragma("clang loop unroll(full)") for (int s = 0; s < 256 / LAYOUT.size; s++) {       \
      sub_block from = sub_block_##name(block, s, d, dmin);                                \
      decode_sub_block(LAYOUT, from, out + s * LAYOUT.size);                               \
    }                                                                                      \
  }                                                                                        \
                                                                                           \
  ALWAYS_INLINE void unpack_##name(const uint8_t *restrict block, uint8_t *restrict codes, \
                                   float *restrict scales, float *restrict minima) {       \
    float d = load_f16(block + LAYOUT.step_at);                                            \
    float dmin = LAYOUT.has_minima ? load_f16(block + LAYOUT.step_at + 2) : 0;             \
    for (int s = 0; s < 256 / LAYOUT.size; s++) {                                          \
      sub_block from = sub_block_##name(block, s, d, dmin);                                \
      scales[s] = from.scale;                                                              \
      if (LAYOUT.has_minima) minima[s] = from.minimum;                                     \
      for (int l = 0; l < LAYOUT.size; l++) {                                              \
        codes[s * LAYOUT.size + l] = (uint8_t)code_of(LAYOUT, from, l);                    \
      }                                                                                    \
    }                                                                                      \
  }

K_TYPE(q2_k, Q2_K_LAYOUT)
K_TYPE(q3_k, Q3_K_LAYOUT)
K_TYPE(q4_k, Q4_K_LAYOUT)
K_TYPE(q5_k, Q5_K_LAYOUT)
K_TYPE(q6_k, Q6_K_LAYOUT)

#endif
