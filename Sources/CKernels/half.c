#pragma STDC FP_CONTRACT OFF

#include "half.h"

#include "CKernels.h"

/* Conversions of stored values to floats. */

ALWAYS_INLINE void f16_loop(const uint8_t *bytes, ptrdiff_t count, float *out) {
  for (ptrdiff_t i = 0; i < count; i++) {
    uint32_t bits = f32_bits_of_f16(load16(bytes + 2 * i));
    memcpy(out + i, &bits, sizeof bits);
  }
}

ALWAYS_INLINE void bf16_loop(const uint8_t *bytes, ptrdiff_t count, float *out) {
  for (ptrdiff_t i = 0; i < count; i++) {
    uint32_t bits = (uint32_t)load16(bytes + 2 * i) << 16;
    memcpy(out + i, &bits, sizeof bits);
  }
}

ALWAYS_INLINE void f64_loop(const uint8_t *bytes, ptrdiff_t count, float *out) {
  for (ptrdiff_t i = 0; i < count; i++) {
    double value;
    memcpy(&value, bytes + 8 * i, sizeof value);
    out[i] = (float)value;
  }
}

/* Conversions of floats to stored values. */

ALWAYS_INLINE void to_f16_loop(const float *values, ptrdiff_t count, uint8_t *out) {
  for (ptrdiff_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, values + i, sizeof bits);
    uint16_t half = f16_of_f32_bits(bits);
    memcpy(out + 2 * i, &half, sizeof half);
  }
}

ALWAYS_INLINE void to_bf16_loop(const float *values, ptrdiff_t count, uint8_t *out) {
  for (ptrdiff_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, values + i, sizeof bits);
    uint16_t half = bf16_of_f32_bits(bits);
    memcpy(out + 2 * i, &half, sizeof half);
  }
}

ALWAYS_INLINE void to_f64_loop(const float *values, ptrdiff_t count, uint8_t *out) {
  for (ptrdiff_t i = 0; i < count; i++) {
    double value = values[i];
    memcpy(out + 8 * i, &value, sizeof value);
  }
}

/* The AVX2 paths. Conversions from and to float16 use F16C instructions. */

#if PLEAT_HAS_AVX2_PATH
#include <immintrin.h>

AVX2_PATH static void f16_avx2(const uint8_t *bytes, ptrdiff_t count, float *out) {
  ptrdiff_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m128i halves = _mm_loadu_si128((const __m128i *)(bytes + 2 * i));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(halves));
  }
  f16_loop(bytes + 2 * i, count - i, out + i);
}

AVX2_PATH static void to_f16_avx2(const float *values, ptrdiff_t count, uint8_t *out) {
  ptrdiff_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(values + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128((__m128i *)(out + 2 * i), halves);
  }
  to_f16_loop(values + i, count - i, out + 2 * i);
}
#else
static void f16_avx2(const uint8_t *bytes, ptrdiff_t count, float *out) {
  f16_loop(bytes, count, out);
}

static void to_f16_avx2(const float *values, ptrdiff_t count, uint8_t *out) {
  to_f16_loop(values, count, out);
}
#endif

AVX2_PATH static void bf16_avx2(const uint8_t *bytes, ptrdiff_t count, float *out) {
  bf16_loop(bytes, count, out);
}

AVX2_PATH static void f64_avx2(const uint8_t *bytes, ptrdiff_t count, float *out) {
  f64_loop(bytes, count, out);
}

AVX2_PATH static void to_bf16_avx2(const float *values, ptrdiff_t count, uint8_t *out) {
  to_bf16_loop(values, count, out);
}

AVX2_PATH static void to_f64_avx2(const float *values, ptrdiff_t count, uint8_t *out) {
  to_f64_loop(values, count, out);
}

void pleat_f16_to_f32(pleat_instructions set, const void *bytes, ptrdiff_t count, float *out) {
  uses_avx2(set) ? f16_avx2(bytes, count, out) : f16_loop(bytes, count, out);
}

void pleat_bf16_to_f32(pleat_instructions set, const void *bytes, ptrdiff_t count, float *out) {
  uses_avx2(set) ? bf16_avx2(bytes, count, out) : bf16_loop(bytes, count, out);
}

void pleat_f64_to_f32(pleat_instructions set, const void *bytes, ptrdiff_t count, float *out) {
  uses_avx2(set) ? f64_avx2(bytes, count, out) : f64_loop(bytes, count, out);
}

void pleat_f32_to_f16(pleat_instructions set, const float *values, ptrdiff_t count, void *out) {
  uses_avx2(set) ? to_f16_avx2(values, count, out) : to_f16_loop(values, count, out);
}

void pleat_f32_to_bf16(pleat_instructions set, const float *values, ptrdiff_t count, void *out) {
  uses_avx2(set) ? to_bf16_avx2(values, count, out) : to_bf16_loop(values, count, out);
}

void pleat_f32_to_f64(pleat_instructions set, const float *values, ptrdiff_t count, void *out) {
  uses_avx2(set) ? to_f64_avx2(values, count, out) : to_f64_loop(values, count, out);
}
