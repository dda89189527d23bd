/*
 * Blocks of 32 values: a half-precision scale, in some types a half-precision bias, and codes. Byte
 * j of 4-bit codes holds value j in its low half and value j + 16 in its high half. 5-bit codes
 * also have a 32-bit word: bit j is the fifth bit of value j.
 */
#ifndef PLEAT_GGML_SMALL_H
#define PLEAT_GGML_SMALL_H

#include <stddef.h>

#include "half.h"

/* The 4-bit or 5-bit codes of a block, one per byte; `high` is the word of fifth bits, or 0. */
ALWAYS_INLINE void nibble_codes(const uint8_t *restrict nibbles, uint32_t high,
                                uint8_t *restrict codes) {
  for (int j = 0; j < 16; j++) {
    codes[j] = (uint8_t)((nibbles[j] & 15) | (high >> j & 1) << 4);
    codes[j + 16] = (uint8_t)(nibbles[j] >> 4 | (high >> (j + 16) & 1) << 4);
  }
}

/* Byte j has value j in its low half and value j + 16 in its high half. */
ALWAYS_INLINE void pack_nibbles(const uint8_t *restrict codes, uint8_t *restrict out) {
  for (int j = 0; j < 16; j++) out[j] = (uint8_t)((codes[j] & 15) | codes[j + 16] << 4);
}

/* The word of fifth bits, if there is one, and the nibbles. */
ALWAYS_INLINE void pack_small_codes(const uint8_t *restrict codes, int bits,
                                    uint8_t *restrict out) {
  if (bits == 5) {
    uint32_t high = 0;
    for (int j = 0; j < 32; j++) high |= (uint32_t)(codes[j] >> 4) << j;
    memcpy(out, &high, sizeof high);
    out += sizeof high;
  }
  pack_nibbles(codes, out);
}

/* The same, or bytes with a sign. */
ALWAYS_INLINE void pack_codes(const uint8_t *restrict codes, int bits, uint8_t *restrict out) {
  if (bits == 8) {
    for (int j = 0; j < 32; j++) out[j] = codes[j] ^ 0x80;
    return;
  }
  pack_small_codes(codes, bits, out);
}

/* The bytes of a block. */
ALWAYS_INLINE ptrdiff_t small_block_size(int bits, bool has_bias) {
  return 4 * bits + (has_bias ? 4 : 2);
}

ALWAYS_INLINE void scaled(const uint8_t *restrict codes, int zero, float scale,
                          float *restrict out) {
  for (int j = 0; j < 32; j++) out[j] = scale * (float)((int)codes[j] - zero);
}

ALWAYS_INLINE void scaled_and_moved(const uint8_t *restrict codes, float scale, float bias,
                                    float *restrict out) {
  for (int j = 0; j < 32; j++) out[j] = scale * (float)codes[j] + bias;
}

/* scale, nibbles[16] */
ALWAYS_INLINE void decode_q4_0(const uint8_t *restrict block, float *restrict out) {
  uint8_t codes[32];
  nibble_codes(block + 2, 0, codes);
  scaled(codes, 8, load_f16(block), out);
}

/* scale, bias, nibbles[16] */
ALWAYS_INLINE void decode_q4_1(const uint8_t *restrict block, float *restrict out) {
  uint8_t codes[32];
  nibble_codes(block + 4, 0, codes);
  scaled_and_moved(codes, load_f16(block), load_f16(block + 2), out);
}

/* scale, fifth bits[4], nibbles[16] */
ALWAYS_INLINE void decode_q5_0(const uint8_t *restrict block, float *restrict out) {
  uint8_t codes[32];
  nibble_codes(block + 6, load32(block + 2), codes);
  scaled(codes, 16, load_f16(block), out);
}

/* scale, bias, fifth bits[4], nibbles[16] */
ALWAYS_INLINE void decode_q5_1(const uint8_t *restrict block, float *restrict out) {
  uint8_t codes[32];
  nibble_codes(block + 8, load32(block + 4), codes);
  scaled_and_moved(codes, load_f16(block), load_f16(block + 2), out);
}

/* scale, signed codes[32] */
ALWAYS_INLINE void decode_q8_0(const uint8_t *restrict block, float *restrict out) {
  float scale = load_f16(block);
  for (int j = 0; j < 32; j++) out[j] = scale * (float)(int8_t)block[2 + j];
}

/* Returns what `ACT` gives for the bits of a type and whether it has a bias, or `unknown`. Both are
   constants in each call, so that the loops compile to straight-line code. */
#define FOR_SMALL_TYPE(type, ACT, unknown) \
  switch (type) {                          \
    case 2: return ACT(4, false);          \
    case 3: return ACT(4, true);           \
    case 6: return ACT(5, false);          \
    case 7: return ACT(5, true);           \
    case 8: return ACT(8, false);          \
    default: return unknown;               \
  }

#endif
