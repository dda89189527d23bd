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
 * Parameters of 16 bits allow short cuts, all exact. A product with a code or a zero has at most 19
 * bits, so that a fused multiply-add with an offset rounds as a sum does. And codes may stay in their
 * byte of a word, where they count 2^8, 2^16 or 2^24 times as much, if scales are halves: the scales
 * that are as much smaller are at least 2^-48.
 */

typedef struct {
  lanes scales[OCTETS], offsets[OCTETS];
} group_lanes;

/* Whether a weight is scale * code + offset. */
ALWAYS_INLINE bool is_sum(pleat_group_form form, pleat_format format) {
  return form == PLEAT_BIASED || (form == PLEAT_CENTERED && format != PLEAT_FLOAT32);
}

ALWAYS_INLINE lanes weights_of(pleat_group_form form, pleat_format format, word_lanes codes,
                               lanes scale, lanes offset) {
  lanes code = __builtin_convertvector((int_lanes)codes, lanes);
  if (!is_sum(form, format)) return scale * (code - offset);
  return format == PLEAT_FLOAT32 ? scale * code + offset : fused(scale, code, offset);
}

/* Whether codes stay in a byte of a word. The last byte of 8 bits would reach the sign, and zero
 * points would have to count as much as the codes. */
ALWAYS_INLINE bool codes_stay(int bits, pleat_group_form form, pleat_format format, int byte) {
  return format == PLEAT_FLOAT16 && form != PLEAT_ZERO_POINTS && (bits < 8 || byte < 3);
}

ALWAYS_INLINE lanes parameters_of(pleat_format format, const uint8_t *numbers) {
  return format == PLEAT_FLOAT16 ? widened_finite(numbers) : widened(format, numbers);
}

ALWAYS_INLINE const uint8_t *read_group(pleat_group_form form, pleat_format format, float zero,
                                        const uint8_t *packed, group_lanes *group) {
  const ptrdiff_t size = numbers_size(format);
  for (int o = 0; o < OCTETS; o++, packed += size / OCTETS) {
    lanes scales = parameters_of(format, packed);
    group->scales[o] = scales;
    group->offsets[o] = form != PLEAT_CENTERED ? parameters_of(format, packed + size)
                        : is_sum(form, format) ? scales * -zero
                                               : all(zero);
  }
  return form == PLEAT_CENTERED ? packed : packed + size;
}

/* Tells the compiler that a pointer changed: what it points to is then read again, each time as an
 * operand, and does not push other vectors out of the registers. */
#define READ_AGAIN(pointer) __asm__("" : "+r"(pointer))

/* Adds the products of the columns of a group to the sums. */
ALWAYS_INLINE const uint8_t *add_group(int bits, pleat_group_form form, pleat_format format,
                                       ptrdiff_t columns, const float *x, const uint8_t *packed,
                                       const group_lanes *group, lanes *sums) {
  /* Of codes that stay in byte i. */
  lanes scales[4][OCTETS];
  memcpy(scales[0], group->scales, sizeof scales[0]);
  for (int i = 1; codes_stay(bits, form, format, i) && i < 4; i++) {
    for (int o = 0; o < OCTETS; o++) scales[i][o] = scales[i - 1][o] * 0x1p-8f;
  }
  const lanes(*read_again)[OCTETS] = (const lanes(*)[OCTETS])scales;
  for (ptrdiff_t k = 0; k < columns; k += 32 / bits) {
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
        const int kept = codes_stay(bits, form, format, byte) ? byte : 0;
        READ_AGAIN(read_again);
        lanes factor = all(*x++);
        for (int o = 0; o < OCTETS; o++) {
          word_lanes codes = words[o] >> ((byte - kept) * 8) & ((1u << bits) - 1) << (kept * 8);
          lanes weight = weights_of(form, format, codes, read_again[kept][o], group->offsets[o]);
          sums[o] = fused(factor, weight, sums[o]);
        }
      }
      for (int o = 0; o < OCTETS; o++) words[o] >>= bits & 7;
    }
  }
  return packed;
}

ALWAYS_INLINE void multiply_groups(int bits, pleat_group_form form, pleat_format format,
                                   const float *x, const pleat_packed_groups *groups,
                                   const uint8_t *packed, ptrdiff_t row_count, float *out) {
  for (ptrdiff_t first = 0; first < row_count; first += HEIGHT) {
    lanes sums[OCTETS] = {0};
    for (ptrdiff_t g = 0; g < groups->count; g++) {
      group_lanes group;
      packed = read_group(form, format, groups->zero, packed, &group);
      packed = add_group(bits, form, format, groups->size, x + g * groups->size, packed, &group,
                         sums);
    }
    store_sums(sums, first, row_count, out);
  }
}

ALWAYS_INLINE void multiply_form(int bits, pleat_group_form form, const float *x,
                                 const pleat_packed_groups *groups, const uint8_t *packed,
                                 ptrdiff_t row_count, float *out) {
#define MULTIPLY(format) multiply_groups(bits, form, format, x, groups, packed, row_count, out)
  switch (groups->format) {
    case PLEAT_FLOAT16: MULTIPLY(PLEAT_FLOAT16); break;
    case PLEAT_BFLOAT16: MULTIPLY(PLEAT_BFLOAT16); break;
    default: MULTIPLY(PLEAT_FLOAT32); break;
  }
#undef MULTIPLY
}

ALWAYS_INLINE void multiply_bits(int bits, const float *x, const pleat_packed_groups *groups,
                                 const uint8_t *packed, ptrdiff_t row_count, float *out) {
#define MULTIPLY(form) multiply_form(bits, form, x, groups, packed, row_count, out)
  switch (groups->form) {
    case PLEAT_BIASED: MULTIPLY(PLEAT_BIASED); break;
    case PLEAT_CENTERED: MULTIPLY(PLEAT_CENTERED); break;
    case PLEAT_ZERO_POINTS: MULTIPLY(PLEAT_ZERO_POINTS); break;
  }
#undef MULTIPLY
}

ALWAYS_INLINE void multiply_any(const float *x, const pleat_packed_groups *groups,
                                const uint8_t *packed, ptrdiff_t row_count, float *out) {
  switch (groups->bits) {
    case 2: multiply_bits(2, x, groups, packed, row_count, out); break;
    case 4: multiply_bits(4, x, groups, packed, row_count, out); break;
    default: multiply_bits(8, x, groups, packed, row_count, out); break;
  }
}

AVX2_PATH static void multiply_any_avx2(const float *x, const pleat_packed_groups *groups,
                                        const uint8_t *packed, ptrdiff_t row_count, float *out) {
  multiply_any(x, groups, packed, row_count, out);
}

void pleat_multiply_groups(pleat_instructions set, const float *x,
                           const pleat_packed_groups *groups, const void *packed,
                           ptrdiff_t row_count, float *out) {
  uses_avx2(set) ? multiply_any_avx2(x, groups, packed, row_count, out)
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
  uses_avx2(set) ? multiply_format_avx2(format, x, columns, packed, row_count, out)
                    : multiply_format(format, x, columns, packed, row_count, out);
}
