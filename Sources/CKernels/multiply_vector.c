#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "half.h"
#include "lanes.h"

/*
 * Products of matrices with one vector. Every output is the chain of multiply.c, so one token alone
 * gets the bits that it gets among others.
 *
 * Lanes are rows. Matrices are packed for that: 32 rows are a block, four vectors of eight rows
 * that go forward together, because each sum waits for its last fused multiply-add. A block has
 * its columns one after another. Of codes, a vector has several columns: a lane is a word of 16, 8
 * or 4 codes of a row. The first four are in the lowest bits of its bytes, the next four in the bits
 * above them.
 */
enum { OCTETS = 4, HEIGHT = OCTETS * LANES };

/* How far ahead weights are fetched from memory: by themselves, processors stop at a page. */
enum { AHEAD = 2048, LINE = 64 };

typedef uint32_t word_lanes __attribute__((vector_size(32)));
typedef uint16_t half_lanes __attribute__((vector_size(16)));
typedef int16_t signed_half_lanes __attribute__((vector_size(16)));

/* The bytes that a number of each row of a block takes. */
ALWAYS_INLINE ptrdiff_t numbers_size(pleat_format format) {
  return HEIGHT * (format == PLEAT_FLOAT32 ? 4 : 2);
}

ALWAYS_INLINE ptrdiff_t block_size(const pleat_packed_groups *groups) {
  ptrdiff_t parameters = numbers_size(groups->format) * (groups->form == PLEAT_CENTERED ? 1 : 2);
  return groups->count * (parameters + groups->size * HEIGHT * groups->bits / 8);
}

ptrdiff_t pleat_packed_size(const pleat_packed_groups *groups, ptrdiff_t row_count) {
  return (row_count + HEIGHT - 1) / HEIGHT * block_size(groups);
}

/* A number of each row of a block, `stride` apart; those of missing rows are 0. */
ALWAYS_INLINE uint8_t *pack_numbers(pleat_format format, const float *values, ptrdiff_t stride,
                                    ptrdiff_t rows, uint8_t *out) {
  for (ptrdiff_t r = 0; r < HEIGHT; r++) {
    float value = r < rows ? values[r * stride] : 0;
    if (format == PLEAT_FLOAT32) {
      memcpy(out + r * 4, &value, 4);
    } else if (format == PLEAT_FLOAT16) {
      store_f16(out + r * 2, value);
    } else {
      uint16_t half = (uint16_t)(bits_of_float(value) >> 16);
      memcpy(out + r * 2, &half, 2);
    }
  }
  return out + numbers_size(format);
}

/* Makes one word of 32 / bits codes of a byte each. */
ALWAYS_INLINE uint32_t word_of_codes(const uint8_t *codes, int bits) {
  uint32_t word = 0;
  for (int shift = 0; shift < 8; shift += bits, codes += 4) {
    uint32_t four;
    memcpy(&four, codes, 4);
    word |= four << shift;
  }
  return word;
}

ALWAYS_INLINE uint8_t *pack_codes(int bits, const uint8_t *codes, ptrdiff_t stride, ptrdiff_t rows,
                                  ptrdiff_t columns, uint8_t *out) {
  for (ptrdiff_t k = 0; k < columns; k += 32 / bits, out += HEIGHT * 4) {
    for (ptrdiff_t r = 0; r < HEIGHT; r++) {
      uint32_t word = 0;
      if (r < rows) {
        const uint8_t *first = codes + r * stride + k;
        word = word_of_codes(first, bits);
      }
      memcpy(out + r * 4, &word, 4);
    }
  }
  return out;
}

ALWAYS_INLINE bool all_finite(const float *values, ptrdiff_t count) {
  bool result = true;
  for (ptrdiff_t i = 0; i < count; i++) result &= fabsf(values[i]) < INFINITY;
  return result;
}

bool pleat_pack_groups(const pleat_packed_groups *groups, const uint8_t *codes, const float *scales,
                       const float *offsets, ptrdiff_t row_count, void *packed) {
  const ptrdiff_t columns = groups->count * groups->size;
  uint8_t *out = packed;
  for (ptrdiff_t first = 0; first < row_count; first += HEIGHT) {
    ptrdiff_t rows = row_count - first < HEIGHT ? row_count - first : HEIGHT;
    for (ptrdiff_t g = 0; g < groups->count; g++) {
      ptrdiff_t group = first * groups->count + g;
      out = pack_numbers(groups->format, scales + group, groups->count, rows, out);
      if (groups->form != PLEAT_CENTERED) {
        out = pack_numbers(groups->format, offsets + group, groups->count, rows, out);
      }
      const uint8_t *start = codes + first * columns + g * groups->size;
      switch (groups->bits) {
        case 2: out = pack_codes(2, start, columns, rows, groups->size, out); break;
        case 4: out = pack_codes(4, start, columns, rows, groups->size, out); break;
        default: out = pack_codes(8, start, columns, rows, groups->size, out); break;
      }
    }
  }
  ptrdiff_t count = row_count * groups->count;
  return all_finite(scales, count) &&
         (groups->form == PLEAT_CENTERED || all_finite(offsets, count));
}

/* Eight numbers of a format. */
ALWAYS_INLINE lanes widened(pleat_format format, const uint8_t *numbers) {
  lanes result;
  if (format == PLEAT_FLOAT32) {
    memcpy(&result, numbers, sizeof result);
    return result;
  }
  half_lanes halves;
  memcpy(&halves, numbers, sizeof halves);
  int_lanes bits = __builtin_convertvector(halves, int_lanes);
  if (format == PLEAT_BFLOAT16) return (lanes)(bits << 16);
  /* The exponent moves by 112 with a product that is exact for subnormal halves too. */
  int_lanes magnitude = (bits & 0x7fff) << 13;
  int_lanes finite = (int_lanes)((lanes)magnitude * 0x1p112f);
  int_lanes value = choose_int(magnitude < 0x0f800000, finite, magnitude | 0x7f800000);
  return (lanes)(value | (bits & 0x8000) << 16);
}

/* Eight halves that are finite. */
ALWAYS_INLINE lanes widened_finite(const uint8_t *numbers) {
  signed_half_lanes halves;
  memcpy(&halves, numbers, sizeof halves);
  int_lanes bits = __builtin_convertvector(halves, int_lanes);
  return (lanes)(bits << 13 & (int)0x8fffe000) * 0x1p112f;
}

/* The sums of the rows of a block; there may be fewer than lanes. */
ALWAYS_INLINE void store_sums(const lanes *sums, ptrdiff_t first, ptrdiff_t row_count,
                              float *out) {
  ptrdiff_t count = row_count - first < HEIGHT ? row_count - first : HEIGHT;
  /* A copy of another length would keep the sums themselves out of registers. */
  float numbers[HEIGHT];
  for (int o = 0; o < OCTETS; o++) store_lanes(numbers + o * LANES, sums[o]);
  memcpy(out + first, numbers, (size_t)count * sizeof *out);
}

/*
 * Scales in halves allow two short cuts, both exact. The product of a scale and a code has at most
 * 19 bits, so that a fused multiply-add with a bias rounds as a sum does. And codes may stay in their
 * byte of a word, where they count 2^8, 2^16 or 2^24 times as much, with scales that are as much
 * smaller: these are at least 2^-48.
 */

/* The parameters of a group; scales[i] belong to codes of byte i. */
typedef struct {
  lanes scales[4][OCTETS], offsets[OCTETS];
} group_lanes;

/* The byte in which a code stays. The last one would reach the sign. */
ALWAYS_INLINE int byte_of(int bits, bool in_halves, int byte) {
  return in_halves && (bits < 8 || byte < 3) ? byte : 0;
}

/* The codes in the lowest bits of a byte of the words. */
ALWAYS_INLINE lanes codes_of(int bits, bool in_halves, word_lanes words, int byte) {
  int kept = byte_of(bits, in_halves, byte);
  word_lanes codes = words >> ((byte - kept) * 8) & ((1u << bits) - 1) << (kept * 8);
  return __builtin_convertvector((int_lanes)codes, lanes);
}

ALWAYS_INLINE lanes weights_of(pleat_group_form form, bool in_halves, lanes code, int byte,
                               const group_lanes *group, int octet) {
  lanes scale = group->scales[byte][octet], offset = group->offsets[octet];
  if (form != PLEAT_BIASED) return scale * (code - offset * (float)(1 << (byte * 8)));
  return in_halves ? fused(scale, code, offset) : scale * code + offset;
}

ALWAYS_INLINE const uint8_t *read_group(pleat_group_form form, bool in_halves,
                                        const pleat_packed_groups *groups, const uint8_t *packed,
                                        group_lanes *group) {
  const ptrdiff_t size = numbers_size(in_halves ? PLEAT_FLOAT16 : groups->format);
  for (int o = 0; o < OCTETS; o++, packed += size / OCTETS) {
    group->scales[0][o] =
        in_halves ? widened_finite(packed) : widened(groups->format, packed);
    for (int i = 1; in_halves && i < 4; i++) {
      group->scales[i][o] = group->scales[i - 1][o] * 0x1p-8f;
    }
    const uint8_t *offsets = packed + size;
    group->offsets[o] = form == PLEAT_CENTERED ? all(groups->zero)
                        : in_halves            ? widened_finite(offsets)
                                               : widened(groups->format, offsets);
  }
  return form == PLEAT_CENTERED ? packed : packed + size;
}

ALWAYS_INLINE void multiply_groups(int bits, pleat_group_form form, bool in_halves, const float *x,
                                   const pleat_packed_groups *groups, const uint8_t *packed,
                                   ptrdiff_t row_count, float *out) {
  for (ptrdiff_t first = 0; first < row_count; first += HEIGHT) {
    lanes sums[OCTETS] = {0};
    const float *factors = x;
    for (ptrdiff_t g = 0; g < groups->count; g++) {
      group_lanes group;
      packed = read_group(form, in_halves, groups, packed, &group);
      for (ptrdiff_t k = 0; k < groups->size; k += 32 / bits) {
        word_lanes words[OCTETS];
        memcpy(words, packed, sizeof words);
        packed += sizeof words;
        __builtin_prefetch(packed + AHEAD);
        __builtin_prefetch(packed + AHEAD + LINE);
        /* Unrolled as a whole, the loop would keep sums in memory. */
#pragma clang loop unroll(disable)
        for (int shift = 0; shift < 8; shift += bits) {
#pragma clang loop unroll(full)
          for (int byte = 0; byte < 4; byte++) {
            lanes factor = all(*factors++);
            for (int o = 0; o < OCTETS; o++) {
              lanes code = codes_of(bits, in_halves, words[o], byte);
              lanes weight =
                  weights_of(form, in_halves, code, byte_of(bits, in_halves, byte), &group, o);
              sums[o] = fused(factor, weight, sums[o]);
            }
          }
          for (int o = 0; o < OCTETS; o++) words[o] >>= bits & 7;
        }
      }
    }
    store_sums(sums, first, row_count, out);
  }
}

ALWAYS_INLINE void multiply_form(int bits, const float *x, const pleat_packed_groups *groups,
                                 const uint8_t *packed, ptrdiff_t row_count, float *out) {
  const bool in_halves = groups->format == PLEAT_FLOAT16;
#define MULTIPLY(form, in_halves) \
  multiply_groups(bits, form, in_halves, x, groups, packed, row_count, out)
  switch (groups->form) {
    case PLEAT_BIASED:
      in_halves ? MULTIPLY(PLEAT_BIASED, true) : MULTIPLY(PLEAT_BIASED, false);
      break;
    case PLEAT_CENTERED:
      in_halves ? MULTIPLY(PLEAT_CENTERED, true) : MULTIPLY(PLEAT_CENTERED, false);
      break;
    case PLEAT_ZERO_POINTS: MULTIPLY(PLEAT_ZERO_POINTS, false); break;
  }
#undef MULTIPLY
}

ALWAYS_INLINE void multiply_any(const float *x, const pleat_packed_groups *groups,
                                const uint8_t *packed, ptrdiff_t row_count, float *out) {
  switch (groups->bits) {
    case 2: multiply_form(2, x, groups, packed, row_count, out); break;
    case 4: multiply_form(4, x, groups, packed, row_count, out); break;
    default: multiply_form(8, x, groups, packed, row_count, out); break;
  }
}

AVX2_PATH static void multiply_any_avx2(const float *x, const pleat_packed_groups *groups,
                                        const uint8_t *packed, ptrdiff_t row_count, float *out) {
  multiply_any(x, groups, packed, row_count, out);
}

void pleat_multiply_groups(pleat_instructions set, const float *x,
                           const pleat_packed_groups *groups, const void *packed,
                           ptrdiff_t row_count, float *out) {
  set == PLEAT_AVX2 ? multiply_any_avx2(x, groups, packed, row_count, out)
                    : multiply_any(x, groups, packed, row_count, out);
}

ptrdiff_t pleat_packed_number_size(pleat_format format, ptrdiff_t columns, ptrdiff_t row_count) {
  return (row_count + HEIGHT - 1) / HEIGHT * columns * numbers_size(format);
}

void pleat_pack_numbers(pleat_format format, const float *values, ptrdiff_t columns,
                        ptrdiff_t row_count, void *packed) {
  uint8_t *out = packed;
  for (ptrdiff_t first = 0; first < row_count; first += HEIGHT) {
    ptrdiff_t rows = row_count - first < HEIGHT ? row_count - first : HEIGHT;
    for (ptrdiff_t k = 0; k < columns; k++) {
      out = pack_numbers(format, values + first * columns + k, columns, rows, out);
    }
  }
}

ALWAYS_INLINE void multiply_numbers(pleat_format format, const float *x, ptrdiff_t columns,
                                    const uint8_t *packed, ptrdiff_t row_count, float *out) {
  const ptrdiff_t size = numbers_size(format);
  for (ptrdiff_t first = 0; first < row_count; first += HEIGHT) {
    lanes sums[OCTETS] = {0};
    for (ptrdiff_t k = 0; k < columns; k++, packed += size) {
      lanes factor = all(x[k]);
      for (int o = 0; o < OCTETS; o++) {
        sums[o] = fused(factor, widened(format, packed + o * size / OCTETS), sums[o]);
      }
    }
    store_sums(sums, first, row_count, out);
  }
}

ALWAYS_INLINE void multiply_format(pleat_format format, const float *x, ptrdiff_t columns,
                                   const uint8_t *packed, ptrdiff_t row_count, float *out) {
  switch (format) {
    case PLEAT_FLOAT16:
      multiply_numbers(PLEAT_FLOAT16, x, columns, packed, row_count, out);
      break;
    case PLEAT_BFLOAT16:
      multiply_numbers(PLEAT_BFLOAT16, x, columns, packed, row_count, out);
      break;
    default: multiply_numbers(PLEAT_FLOAT32, x, columns, packed, row_count, out);
  }
}

AVX2_PATH static void multiply_format_avx2(pleat_format format, const float *x, ptrdiff_t columns,
                                           const uint8_t *packed, ptrdiff_t row_count,
                                           float *out) {
  multiply_format(format, x, columns, packed, row_count, out);
}

void pleat_multiply_numbers(pleat_instructions set, pleat_format format, const float *x,
                            ptrdiff_t columns, const void *packed, ptrdiff_t row_count,
                            float *out) {
  set == PLEAT_AVX2 ? multiply_format_avx2(format, x, columns, packed, row_count, out)
                    : multiply_format(format, x, columns, packed, row_count, out);
}
