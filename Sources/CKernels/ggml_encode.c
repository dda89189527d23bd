#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "ggml_lanes.h"
#include "ggml_small.h"

/*
 * The types with blocks of 32 values, without importance. The steps are those of
 * quantize_row_q4_0_ref and its siblings in ggml/src/ggml-quants.c. Unlike in group.c, codes are
 * computed from the unrounded scale, by multiplying with its reciprocal.
 *
 * As many blocks as a vector has lanes are encoded at a time: vectors hold what each of them has one
 * of.
 */

enum { BLOCK = 32, STEP = LANES * BLOCK, VECTORS = BLOCK / LANES };

typedef struct {
  float biases[LANES], factors[LANES], shifts[LANES];
  int32_t halves[LANES]; /* of the scale, and above it of the bias */
} step_numbers;

/* Folds a vector of each block: lane k of the result is what `take` gives for all lanes of vector k. */
#define FOLD(take, rows)                                                              \
  for (int j = 0; j < LANES; j += 2) {                                                \
    rows[j] = take(                                                                   \
        __builtin_shufflevector(rows[j], rows[j + 1], 0, 8, 1, 9, 4, 12, 5, 13),      \
        __builtin_shufflevector(rows[j], rows[j + 1], 2, 10, 3, 11, 6, 14, 7, 15));   \
  }                                                                                   \
  for (int j = 0; j < LANES; j += 4) {                                                \
    rows[j] = take(                                                                   \
        __builtin_shufflevector(rows[j], rows[j + 2], 0, 1, 8, 9, 4, 5, 12, 13),      \
        __builtin_shufflevector(rows[j], rows[j + 2], 2, 3, 10, 11, 6, 7, 14, 15));   \
  }                                                                                   \
  rows[0] = take(__builtin_shufflevector(rows[0], rows[4], 0, 1, 2, 3, 8, 9, 10, 11), \
                 __builtin_shufflevector(rows[0], rows[4], 4, 5, 6, 7, 12, 13, 14, 15))

/* The extremes of each block. False if a value may be infinite or NaN: the sum of a block is, then. */
ALWAYS_INLINE bool find_extremes(const float *values, lanes *least, lanes *most) {
  lanes lows[LANES], highs[LANES];
  int_lanes rests = {0};
  for (int k = 0; k < LANES; k++, values += BLOCK) {
    lanes a = load_lanes(values), b = load_lanes(values + 8);
    lanes c = load_lanes(values + 16), d = load_lanes(values + 24);
    lanes sum = (a + b) + (c + d);
    rests |= (int_lanes)(sum - sum);
    lows[k] = smaller(smaller(a, b), smaller(c, d));
    highs[k] = larger(larger(a, b), larger(c, d));
  }
  FOLD(smaller, lows);
  FOLD(larger, highs);
  *least = lows[0], *most = highs[0];
  return !any(rests);
}

/* The first value of a block that is one of two. */
ALWAYS_INLINE float first_of(const float *values, float one, float other) {
  int i = 0;
  while (values[i] != one && values[i] != other) i++;
  return values[i];
}

/* The least value of each block. If it is zero, the first zero counts, whatever its sign. */
ALWAYS_INLINE lanes first_least(const float *values, lanes least) {
  if (!any(least == 0)) return least;
  for (int k = 0; k < LANES; k++) {
    if (least[k] == 0) least[k] = first_of(values + k * BLOCK, 0, 0);
  }
  return least;
}

/* The value of largest magnitude of each block, with its sign; the first one if both signs occur.
   ggml starts its search at +0 and compares with >, so a block of zeros gives +0. */
ALWAYS_INLINE lanes farthest_from_zero(const float *values, lanes least, lanes most) {
  lanes found = choose(most > -least, most, least);
  const int_lanes is_open = most == -least;
  if (!any(is_open)) return found;
  for (int k = 0; k < LANES; k++) {
    if (!is_open[k]) continue;
    found[k] = most[k] == 0 ? 0 : first_of(values + k * BLOCK, least[k], most[k]);
  }
  return found;
}

/* Sets the numbers of LANES blocks. False if one of them may not be finite. */
ALWAYS_INLINE bool find_numbers(int bits, bool has_bias, const float *values,
                                step_numbers *numbers) {
  const float zero = (float)(1 << (bits - 1));
  lanes least, most, scales, biases = all(0);
  const bool is_finite = find_extremes(values, &least, &most);
  if (has_bias) {
    biases = first_least(values, least);
    scales = (most - least) / (float)((1 << bits) - 1);
  } else if (bits == 8) {
    scales = larger(magnitude(least), magnitude(most)) / 127.0f;
  } else {
    scales = farthest_from_zero(values, least, most) / -zero;
  }
  /* If the reciprocal is infinite, converting the products to integers is undefined in C, and gives
     codes of 0 on x86. No decoded value depends on them, since the scale is stored as 0. */
  lanes factors = choose(scales != 0, 1 / scales, all(0)), shifts = all(0.5f);
  const int_lanes is_infinite = magnitude(factors) > 0x1.fffffep127f;
  factors = choose(is_infinite, all(0), factors);
  if (!has_bias) shifts = choose(is_infinite, all(0), all(zero + 0.5f));
  const int_lanes scale_halves = halves_of(scales), bias_halves = halves_of(biases);
  const int_lanes halves = scale_halves | bias_halves << 16;
  store_lanes(numbers->biases, biases), store_lanes(numbers->factors, factors);
  store_lanes(numbers->shifts, shifts), memcpy(numbers->halves, &halves, sizeof halves);
  return is_finite && !any(((scale_halves & 0x7c00) == 0x7c00) | ((bias_halves & 0x7c00) == 0x7c00));
}

/* round(value * factor) + 128, with halves rounded away from zero; the low byte counts. */
ALWAYS_INLINE int_lanes rounded_codes(lanes x) {
  const int_lanes whole = __builtin_convertvector(x, int_lanes);
  const lanes rest = x - __builtin_convertvector(whole, lanes);
  /* Comparisons that hold are -1. */
  return whole - (rest >= 0.5f) + (rest <= -0.5f) + 128;
}

/* trunc((value - bias) * factor + shift), at most the highest code. */
ALWAYS_INLINE int_lanes truncated_codes(int bits, lanes x) {
  const int_lanes codes = __builtin_convertvector(x, int_lanes);
  const int_lanes top = (int_lanes){0} + ((1 << bits) - 1);
  return choose_int(codes < top, codes, top);
}

/* The codes of block k of a step. */
ALWAYS_INLINE void find_codes(int bits, const float *values, const step_numbers *numbers, int k,
                              int_lanes codes[VECTORS]) {
  const lanes bias = all(numbers->biases[k]), factor = all(numbers->factors[k]);
  const lanes shift = all(numbers->shifts[k]);
  for (int i = 0; i < VECTORS; i++) {
    const lanes x = (load_lanes(values + k * BLOCK + i * LANES) - bias) * factor;
    codes[i] = bits == 8 ? rounded_codes(x) : truncated_codes(bits, x + shift);
  }
}

/* The low bytes of two vectors. */
ALWAYS_INLINE void store_pair(uint8_t *out, int_lanes x, int_lanes y) {
  typedef int32_t pair __attribute__((vector_size(8 * LANES)));
  typedef uint8_t bytes __attribute__((vector_size(2 * LANES)));
  /* Of positive numbers, compilers pack all at once. */
  const pair both = __builtin_shufflevector(x & 255, y & 255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                            12, 13, 14, 15);
  const bytes low = __builtin_convertvector(both, bytes);
  memcpy(out, &low, sizeof low);
}

ALWAYS_INLINE void store_each(const int_lanes codes[VECTORS], uint8_t *out) {
  store_pair(out, codes[0], codes[1]), store_pair(out + 2 * LANES, codes[2], codes[3]);
}

/* The codes as blocks hold them, see ggml_small.h. */
ALWAYS_INLINE void store_packed(int bits, const int_lanes codes[VECTORS], uint8_t *out) {
  if (bits == 4) {
    store_pair(out, codes[0] | codes[2] << 4, codes[1] | codes[3] << 4);
  } else {
    uint8_t bytes[BLOCK];
    store_each(codes, bytes);
    pack_codes(bytes, bits, out);
  }
}

/* The result for the first of `count` blocks that cannot be encoded, or -1; see CKernels.h. */
ALWAYS_INLINE int64_t find_fault(const float *values, const step_numbers *numbers, ptrdiff_t count) {
  for (ptrdiff_t k = 0; k < count; k++) {
    if (!all_finite(values + k * BLOCK, BLOCK)) return 2 * k;
    const uint32_t halves = (uint32_t)numbers->halves[k];
    if (!is_finite_half((uint16_t)halves) || !is_finite_half((uint16_t)(halves >> 16))) {
      return 2 * k + 1;
    }
  }
  return -1;
}

/* Calls `act` with `first`, `count`, `block` and `numbers` of each step, of LANES blocks or, at the
   end, fewer. */
#define EACH_STEP(bits, has_bias, act)                                                    \
  for (ptrdiff_t first = 0; first < block_count; first += LANES) {                        \
    const ptrdiff_t count = block_count - first < LANES ? block_count - first : LANES;    \
    const float *block = values + first * BLOCK;                                          \
    float copy[STEP];                                                                     \
    if (count < LANES) {                                                                  \
      memset(copy, 0, sizeof copy);                                                       \
      block = memcpy(copy, block, (size_t)count * BLOCK * sizeof *block);                 \
    }                                                                                     \
    step_numbers numbers;                                                                 \
    if (!find_numbers(bits, has_bias, block, &numbers)) {                                 \
      const int64_t fault = find_fault(block, &numbers, count);                           \
      if (fault >= 0) return 2 * first + fault;                                           \
    }                                                                                     \
    act                                                                                   \
  }                                                                                       \
  return -1

/* Codes, scales and biases apart. */
ALWAYS_INLINE int64_t encode_apart(int bits, bool has_bias, const float *values,
                                   ptrdiff_t block_count, uint8_t *codes, float *scales,
                                   float *biases) {
  EACH_STEP(bits, has_bias, {
    for (int k = 0; k < count; k++) {
      int_lanes found[VECTORS];
      find_codes(bits, block, &numbers, k, found);
      store_each(found, codes + (first + k) * BLOCK);
      const uint32_t halves = (uint32_t)numbers.halves[k];
      scales[first + k] = float_of_half((uint16_t)halves);
      if (has_bias) biases[first + k] = float_of_half((uint16_t)(halves >> 16));
    }
  });
}

/* Blocks. */
ALWAYS_INLINE int64_t encode_whole(int bits, bool has_bias, const float *values,
                                   ptrdiff_t block_count, uint8_t *out) {
  const ptrdiff_t size = small_block_size(bits, has_bias), header = has_bias ? 4 : 2;
  EACH_STEP(bits, has_bias, {
    for (int k = 0; k < count; k++, out += size) {
      int_lanes codes[VECTORS];
      find_codes(bits, block, &numbers, k, codes);
      memcpy(out, &numbers.halves[k], (size_t)header);
      store_packed(bits, codes, out + header);
    }
  });
}

#define APART(bits, has_bias) \
  encode_apart(bits, has_bias, values, block_count, codes, scales, biases)
#define WHOLE(bits, has_bias) encode_whole(bits, has_bias, values, block_count, out)

static int64_t apart_portable(uint32_t type, const float *values, ptrdiff_t block_count,
                              uint8_t *codes, float *scales, float *biases) {
  FOR_SMALL_TYPE(type, APART, 0)
}

AVX2_PATH static int64_t apart_avx2(uint32_t type, const float *values, ptrdiff_t block_count,
                                    uint8_t *codes, float *scales, float *biases) {
  FOR_SMALL_TYPE(type, APART, 0)
}

static int64_t whole_portable(uint32_t type, const float *values, ptrdiff_t block_count,
                              uint8_t *out) {
  FOR_SMALL_TYPE(type, WHOLE, 0)
}

AVX2_PATH static int64_t whole_avx2(uint32_t type, const float *values, ptrdiff_t block_count,
                                    uint8_t *out) {
  FOR_SMALL_TYPE(type, WHOLE, 0)
}

int64_t pleat_ggml_encode(pleat_instructions set, uint32_t type, const float *values,
                          ptrdiff_t block_count, uint8_t *codes, float *scales, float *biases) {
  return uses_avx2(set) ? apart_avx2(type, values, block_count, codes, scales, biases)
                        : apart_portable(type, values, block_count, codes, scales, biases);
}

int64_t pleat_ggml_encode_blocks(pleat_instructions set, uint32_t type, const float *values,
                                 ptrdiff_t block_count, void *out) {
  return uses_avx2(set) ? whole_avx2(type, values, block_count, out)
                        : whole_portable(type, values, block_count, out);
}
