#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "half.h"
#include "lanes.h"

/*
 * Products of matrices with one vector. Every output is the chain of multiply.c, so one token alone
 * gets the bits that it gets among others.
 *
 * Lanes are rows. Matrices are packed for that: 24 rows are a block, three vectors of eight rows
 * that go forward together, because each sum waits for its last fused multiply-add. A block has
 * its columns one after another. Of codes, a vector has several columns: a lane is a word of 16, 8
 * or 4 codes of a row, the first code in the lowest bits.
 */
enum { OCTETS = 3, HEIGHT = OCTETS * LANES };

/* How far ahead weights are fetched from memory: by themselves, processors stop at a page. */
enum { AHEAD = 2048, LINE = 64 };

typedef uint32_t word_lanes __attribute__((vector_size(32)));
typedef uint16_t half_lanes __attribute__((vector_size(16)));

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
  uint64_t x;
  memcpy(&x, codes, bits == 8 ? 4 : 8);
  if (bits == 8) return (uint32_t)x;
  x = (x | x >> (8 - bits)) & (bits == 4 ? 0x00ff00ff00ff00ff : 0x000f000f000f000f);
  x = (x | x >> (16 - 2 * bits)) & (bits == 4 ? 0x0000ffff0000ffff : 0x000000ff000000ff);
  return (uint32_t)(x | x >> (32 - 4 * bits));
}

ALWAYS_INLINE uint8_t *pack_codes(int bits, const uint8_t *codes, ptrdiff_t stride, ptrdiff_t rows,
                                  ptrdiff_t columns, uint8_t *out) {
  for (ptrdiff_t k = 0; k < columns; k += 32 / bits, out += HEIGHT * 4) {
    for (ptrdiff_t r = 0; r < HEIGHT; r++) {
      uint32_t word = 0;
      if (r < rows) {
        const uint8_t *first = codes + r * stride + k;
        word = bits == 2 ? (word_of_codes(first, 2) & 0xffff) | word_of_codes(first + 8, 2) << 16
                         : word_of_codes(first, bits);
      }
      memcpy(out + r * 4, &word, 4);
    }
  }
  return out;
}

void pleat_pack_groups(const pleat_packed_groups *groups, const uint8_t *codes, const float *scales,
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

/* The byte in which codes of a column stay. The last one would reach the sign. */
ALWAYS_INLINE int byte_of(int bits, bool in_halves, int column) {
  int byte = column * bits / 8;
  return in_halves && (bits < 8 || byte < 3) ? byte : 0;
}

ALWAYS_INLINE lanes codes_of(int bits, bool in_halves, word_lanes words, int column) {
  int byte = byte_of(bits, in_halves, column);
  uint32_t mask = ((1u << bits) - 1) << (byte * 8);
  word_lanes codes = words >> (column * bits - byte * 8) & mask;
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
  const pleat_format format = in_halves ? PLEAT_FLOAT16 : groups->format;
  const ptrdiff_t size = numbers_size(format);
  for (int o = 0; o < OCTETS; o++) {
    group->scales[0][o] = widened(format, packed + o * size / OCTETS);
    for (int i = 1; in_halves && i < 4; i++) {
      group->scales[i][o] = group->scales[i - 1][o] * 0x1p-8f;
    }
    group->offsets[o] = form == PLEAT_CENTERED
                            ? all(groups->zero)
                            : widened(format, packed + size + o * size / OCTETS);
  }
  return packed + (form == PLEAT_CENTERED ? size : 2 * size);
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
#pragma clang loop unroll(full)
        for (int c = 0; c < 32 / bits; c++) {
          lanes factor = all(*factors++);
          for (int o = 0; o < OCTETS; o++) {
            lanes code = codes_of(bits, in_halves, words[o], c);
            lanes weight =
                weights_of(form, in_halves, code, byte_of(bits, in_halves, c), &group, o);
            sums[o] = fused(factor, weight, sums[o]);
          }
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
