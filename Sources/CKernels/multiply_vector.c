#pragma STDC FP_CONTRACT OFF

#define LANES 16

#include "lanes.h"
#include "packed_rows.h"

/*
 * Products of matrices with one vector. Every output is the chain of multiply.c, so one token alone
 * gets the bits that it gets among others.
 *
 * Lanes are rows. The rows of a block go forward together, because each sum waits for its last
 * fused multiply-add. With AVX-512, two blocks do.
 */
enum { VECTORS = HEIGHT / LANES, MOST_BLOCKS = 2, MOST = MOST_BLOCKS * VECTORS };

/* Blocks that go forward together: how many, a constant, and how many bytes they are apart. */
typedef struct {
  int count;
  ptrdiff_t distance;
} blocks_in_step;

/* How far ahead weights are fetched from memory: by themselves, processors stop at a page. */
enum { AHEAD = 2048, LINE = 64 };

/* The bytes of a word of each row of a block. */
enum { WORDS = 4 * HEIGHT };

typedef uint32_t word_lanes __attribute__((vector_size(4 * LANES)));
typedef uint16_t half_lanes __attribute__((vector_size(2 * LANES)));
typedef int16_t signed_half_lanes __attribute__((vector_size(2 * LANES)));

/* Numbers of a format. */
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

/* Halves that are finite. */
ALWAYS_INLINE lanes widened_finite(const uint8_t *numbers) {
  signed_half_lanes halves;
  memcpy(&halves, numbers, sizeof halves);
  int_lanes bits = __builtin_convertvector(halves, int_lanes);
  return (lanes)(bits << 13 & (int)0x8fffe000) * 0x1p112f;
}

/* Where the numbers or words of a vector of rows begin, if those of a block take `size` bytes. */
ALWAYS_INLINE const uint8_t *vector_in(blocks_in_step blocks, const uint8_t *packed, ptrdiff_t size,
                                       int vector) {
  return packed + vector / VECTORS * blocks.distance + vector % VECTORS * size / VECTORS;
}

ALWAYS_INLINE void fetch_ahead(blocks_in_step blocks, const uint8_t *words) {
  for (int b = 0; b < blocks.count; b++) {
    for (int i = 0; i < WORDS; i += LINE) {
      __builtin_prefetch(words + b * blocks.distance + AHEAD + i);
    }
  }
}

/* The sums of the rows of a block; there may be fewer than lanes. */
ALWAYS_INLINE void store_sums(const lanes *sums, ptrdiff_t row_count, float *out) {
  ptrdiff_t count = row_count < HEIGHT ? row_count : HEIGHT;
  /* A copy of another length would keep the sums themselves out of registers. */
  float numbers[HEIGHT];
  for (int v = 0; v < VECTORS; v++) store_lanes(numbers + v * LANES, sums[v]);
  memcpy(out, numbers, (size_t)count * sizeof *out);
}

/*
 * Parameters of 16 bits allow short cuts, all exact. A product with a code or a zero has at most 19
 * bits, so that a fused multiply-add with an offset rounds as a sum does. And codes may stay in their
 * byte of a word, where they count 2^8, 2^16 or 2^24 times as much, if scales are halves: the scales
 * that are as much smaller are at least 2^-48.
 */

typedef struct {
  lanes scales[MOST], offsets[MOST];
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

ALWAYS_INLINE void read_group(pleat_group_form form, pleat_format format, float zero,
                              blocks_in_step blocks, const uint8_t *packed, group_lanes *group) {
  const ptrdiff_t size = numbers_size(format);
  for (int v = 0; v < blocks.count * VECTORS; v++) {
    const uint8_t *numbers = vector_in(blocks, packed, size, v);
    lanes scales = parameters_of(format, numbers);
    group->scales[v] = scales;
    /* No zero is negative, as none is in a sum. */
    group->offsets[v] = form != PLEAT_CENTERED ? parameters_of(format, numbers + size)
                        : is_sum(form, format) ? all(0) - scales * zero
                                               : all(zero);
  }
}

/* Tells the compiler that a pointer changed: what it points to is then read again, each time as an
 * operand, and does not push other vectors out of the registers. */
#define READ_AGAIN(pointer) __asm__("" : "+r"(pointer))

/* Adds the products of the columns of a group to the sums. */
ALWAYS_INLINE void add_group(int bits, pleat_group_form form, pleat_format format,
                             ptrdiff_t columns, const float *x, blocks_in_step blocks,
                             const uint8_t *packed, const group_lanes *group, lanes *sums) {
  const int vectors = blocks.count * VECTORS;
  /* Of codes that stay in byte i. */
  lanes scales[4][MOST];
  memcpy(scales[0], group->scales, sizeof scales[0]);
  for (int i = 1; codes_stay(bits, form, format, i) && i < 4; i++) {
    for (int v = 0; v < vectors; v++) scales[i][v] = scales[i - 1][v] * 0x1p-8f;
  }
  const lanes(*read_again)[MOST] = (const lanes(*)[MOST])scales;
  for (ptrdiff_t k = 0; k < columns; k += 32 / bits, packed += WORDS) {
    word_lanes words[MOST];
    for (int v = 0; v < vectors; v++) {
      memcpy(&words[v], vector_in(blocks, packed, WORDS, v), sizeof words[v]);
    }
    fetch_ahead(blocks, packed);
    /* Unrolled as a whole, the loop would keep sums in memory. */
#pragma clang loop unroll(disable)
    for (int shift = 0; shift < 8; shift += bits) {
#pragma clang loop unroll(full)
      for (int byte = 0; byte < 4; byte++) {
        const int kept = codes_stay(bits, form, format, byte) ? byte : 0;
        READ_AGAIN(read_again);
        lanes factor = all(*x++);
        for (int v = 0; v < vectors; v++) {
          word_lanes codes = words[v] >> ((byte - kept) * 8) & ((1u << bits) - 1) << (kept * 8);
          lanes weight = weights_of(form, format, codes, read_again[kept][v], group->offsets[v]);
          sums[v] = fused(factor, weight, sums[v]);
        }
      }
      for (int v = 0; v < vectors; v++) words[v] >>= bits & 7;
    }
  }
}

/*
 * Codes in a mantissa. A word is read from some bytes before or behind its own, so that a code is
 * among the high bits of a mantissa. With the exponent of a power of two B, the bits are the number
 * B + code, without a shift or a conversion. The weight is
 * scale * (B + code) + (offset - scale * B), rounded once, if the bracket is exact.
 */

/* The place of a code's lowest bit in the mantissa, if it is `shift` bits above that of a byte. */
ALWAYS_INLINE int place_of(int bits, int shift) { return (shift + bits < 8 ? 16 : 8) + shift; }

ALWAYS_INLINE lanes base_of(int bits, int shift) {
  return all((float)(1 << (23 - place_of(bits, shift))));
}

/* Makes the offsets for codes with each shift. Returns whether all are exact. The last shift has
   the largest B, the one before it the smallest. If scale * B is never smaller than the offset, a
   rounded sum does not give back the offset, and the last sum has the most places. Bits are
   compared, because negative zeros get lost. */
ALWAYS_INLINE bool place_offsets(int bits, blocks_in_step blocks, const group_lanes *group,
                                 lanes placed[][MOST]) {
  const int last = 8 - bits, smallest = bits < 8 ? last - bits : last;
  int_lanes rounded = {0};
  for (int v = 0; v < blocks.count * VECTORS; v++) {
    lanes scales = group->scales[v], offsets = group->offsets[v];
    for (int shift = 0; shift <= last; shift += bits) {
      placed[shift / bits][v] = fused(-scales, base_of(bits, shift), offsets);
    }
    rounded |= magnitude(offsets) > magnitude(scales) * base_of(bits, smallest);
    lanes again = fused(scales, base_of(bits, last), placed[last / bits][v]);
    rounded |= (int_lanes)again ^ (int_lanes)offsets;
  }
  return !any(rounded);
}

/* The same as `add_group`, with such offsets. */
ALWAYS_INLINE void add_placed(int bits, ptrdiff_t columns, const float *x, blocks_in_step blocks,
                              const uint8_t *packed, const group_lanes *group,
                              const lanes placed[][MOST], lanes *sums) {
  for (ptrdiff_t k = 0; k < columns; k += 32 / bits, packed += WORDS) {
    fetch_ahead(blocks, packed);
#pragma clang loop unroll(full)
    for (int shift = 0; shift < 8; shift += bits) {
      const int place = place_of(bits, shift);
      const uint32_t mask = ((1u << bits) - 1) << place, exponent = (uint32_t)(150 - place) << 23;
#pragma clang loop unroll(full)
      for (int byte = 0; byte < 4; byte++) {
        lanes factor = all(*x++);
        for (int v = 0; v < blocks.count * VECTORS; v++) {
          word_lanes words;
          memcpy(&words, vector_in(blocks, packed, WORDS, v) + byte - place / 8, sizeof words);
          lanes weight = fused(group->scales[v], (lanes)((words & mask) | exponent),
                               placed[shift / bits][v]);
          sums[v] = fused(factor, weight, sums[v]);
        }
      }
    }
  }
}

ALWAYS_INLINE void multiply_groups(int most, int bits, pleat_group_form form, pleat_format format,
                                   const float *x, const pleat_packed_groups *groups,
                                   const uint8_t *packed, ptrdiff_t row_count, float *out) {
  const ptrdiff_t parameters = numbers_size(format) * (form == PLEAT_CENTERED ? 1 : 2);
  const bool is_placed = most > 1 && is_sum(form, format) && format != PLEAT_FLOAT32;
  for (ptrdiff_t first = 0; first < row_count; first += most * HEIGHT) {
    ptrdiff_t rest = row_count - first;
    /* The last block may go beside itself. */
    const blocks_in_step blocks = {most, rest > HEIGHT ? block_size(groups) : 0};
    lanes sums[MOST] = {0};
    for (ptrdiff_t g = 0; g < groups->count; g++) {
      const float *factors = x + g * groups->size;
      group_lanes group;
      lanes placed[4][MOST];
      read_group(form, format, groups->zero, blocks, packed, &group);
      packed += parameters;
      if (is_placed && place_offsets(bits, blocks, &group, placed)) {
        add_placed(bits, groups->size, factors, blocks, packed, &group, placed, sums);
      } else {
        add_group(bits, form, format, groups->size, factors, blocks, packed, &group, sums);
      }
      packed += groups->size * HEIGHT * bits / 8;
    }
    packed += (most - 1) * block_size(groups);
    for (int b = 0; b < most && b * HEIGHT < rest; b++) {
      store_sums(sums + b * VECTORS, rest - b * HEIGHT, out + first + b * HEIGHT);
    }
  }
}

ALWAYS_INLINE void multiply_form(int most, int bits, pleat_group_form form, const float *x,
                                 const pleat_packed_groups *groups, const uint8_t *packed,
                                 ptrdiff_t row_count, float *out) {
#define MULTIPLY(format) \
  multiply_groups(most, bits, form, format, x, groups, packed, row_count, out)
  switch (groups->format) {
    case PLEAT_FLOAT16: MULTIPLY(PLEAT_FLOAT16); break;
    case PLEAT_BFLOAT16: MULTIPLY(PLEAT_BFLOAT16); break;
    default: MULTIPLY(PLEAT_FLOAT32); break;
  }
#undef MULTIPLY
}

ALWAYS_INLINE void multiply_bits(int most, int bits, const float *x,
                                 const pleat_packed_groups *groups, const uint8_t *packed,
                                 ptrdiff_t row_count, float *out) {
#define MULTIPLY(form) multiply_form(most, bits, form, x, groups, packed, row_count, out)
  switch (groups->form) {
    case PLEAT_BIASED: MULTIPLY(PLEAT_BIASED); break;
    case PLEAT_CENTERED: MULTIPLY(PLEAT_CENTERED); break;
    case PLEAT_ZERO_POINTS: MULTIPLY(PLEAT_ZERO_POINTS); break;
  }
#undef MULTIPLY
}

ALWAYS_INLINE void multiply_any(int most, const float *x, const pleat_packed_groups *groups,
                                const uint8_t *packed, ptrdiff_t row_count, float *out) {
  switch (groups->bits) {
    case 2: multiply_bits(most, 2, x, groups, packed, row_count, out); break;
    case 4: multiply_bits(most, 4, x, groups, packed, row_count, out); break;
    default: multiply_bits(most, 8, x, groups, packed, row_count, out); break;
  }
}

AVX2_PATH static void multiply_any_avx2(const float *x, const pleat_packed_groups *groups,
                                        const uint8_t *packed, ptrdiff_t row_count, float *out) {
  multiply_any(1, x, groups, packed, row_count, out);
}

AVX512_PATH static void multiply_any_avx512(const float *x, const pleat_packed_groups *groups,
                                            const uint8_t *packed, ptrdiff_t row_count,
                                            float *out) {
  multiply_any(MOST_BLOCKS, x, groups, packed, row_count, out);
}

void pleat_multiply_groups(pleat_instructions set, const float *x,
                           const pleat_packed_groups *groups, const void *packed,
                           ptrdiff_t row_count, float *out) {
  uses_avx512(set) ? multiply_any_avx512(x, groups, packed, row_count, out)
  : uses_avx2(set) ? multiply_any_avx2(x, groups, packed, row_count, out)
                   : multiply_any(1, x, groups, packed, row_count, out);
}

ALWAYS_INLINE void multiply_numbers(pleat_format format, const float *x, ptrdiff_t columns,
                                    const uint8_t *packed, ptrdiff_t row_count, float *out) {
  const ptrdiff_t size = numbers_size(format);
  for (ptrdiff_t first = 0; first < row_count; first += HEIGHT) {
    lanes sums[VECTORS] = {0};
    for (ptrdiff_t k = 0; k < columns; k++, packed += size) {
      lanes factor = all(x[k]);
      for (int v = 0; v < VECTORS; v++) {
        sums[v] = fused(factor, widened(format, packed + v * size / VECTORS), sums[v]);
      }
    }
    store_sums(sums, row_count - first, out + first);
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

AVX512_PATH static void multiply_format_avx512(pleat_format format, const float *x,
                                               ptrdiff_t columns, const uint8_t *packed,
                                               ptrdiff_t row_count, float *out) {
  multiply_format(format, x, columns, packed, row_count, out);
}

void pleat_multiply_numbers(pleat_instructions set, pleat_format format, const float *x,
                            ptrdiff_t columns, const void *packed, ptrdiff_t row_count,
                            float *out) {
  uses_avx512(set) ? multiply_format_avx512(format, x, columns, packed, row_count, out)
  : uses_avx2(set) ? multiply_format_avx2(format, x, columns, packed, row_count, out)
                   : multiply_format(format, x, columns, packed, row_count, out);
}
