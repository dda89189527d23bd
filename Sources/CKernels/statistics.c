#pragma STDC FP_CONTRACT OFF

#include <math.h>

#include "CKernels.h"
#include "half.h"

/* There are eight lanes on every machine; the compiler splits them to fit its registers. Lane i
   holds the values whose index is i modulo 8. */
typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef double f64x8 __attribute__((vector_size(64)));
typedef int64_t i64x8 __attribute__((vector_size(64)));

/* The number of values after which the 32-bit counts of the lanes are added to 64-bit counts. */
enum { CHUNK = 1 << 20 };

#define MAGNITUDE 0x7fffffff
#define INFINITY_BITS 0x7f800000

ALWAYS_INLINE double sum_of_lanes(const f64x8 *lanes) {
  const f64x8 a = *lanes;
  return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

ALWAYS_INLINE int64_t count_of_lanes(const i32x8 *lanes) {
  int64_t count = 0;
  for (int i = 0; i < 8; i++) count += (*lanes)[i];
  return count;
}

/* Loads the next eight values; lanes past the end are set to `fill`. */
ALWAYS_INLINE void load_lanes(const float *values, ptrdiff_t left, float fill, f32x8 *lanes) {
  if (left >= 8) {
    memcpy(lanes, values, sizeof *lanes);
  } else {
    for (int i = 0; i < 8; i++) (*lanes)[i] = fill;
    memcpy(lanes, values, (size_t)left * sizeof *values);
  }
}

ALWAYS_INLINE pleat_statistics statistics(const float *values, ptrdiff_t count) {
  f64x8 sums = {0}, squares = {0};
  i32x8 least = {0}, most = {0};
  least += INT32_MAX;
  most += INT32_MIN;
  int64_t nans = 0, infinities = 0;
  for (ptrdiff_t start = 0; start < count; start += CHUNK) {
    ptrdiff_t end = count - start < CHUNK ? count : start + CHUNK;
    i32x8 nan_lanes = {0}, infinity_lanes = {0};
    for (ptrdiff_t i = start; i < end; i += 8) {
      f32x8 lanes;
      load_lanes(values + i, end - i, NAN, &lanes);
      i32x8 bits = (i32x8)lanes, magnitude = bits & MAGNITUDE;
      i32x8 finite = magnitude < INFINITY_BITS;
      nan_lanes -= magnitude > INFINITY_BITS;
      infinity_lanes -= magnitude == INFINITY_BITS;
      /* The keys of half.h, in vector form. */
      i32x8 key = bits ^ (bits >> 31 & MAGNITUDE);
      least = __builtin_elementwise_min(least, (key & finite) | (~finite & INT32_MAX));
      most = __builtin_elementwise_max(most, (key & finite) | (~finite & INT32_MIN));
      f64x8 x = __builtin_convertvector((f32x8)(bits & finite), f64x8);
      sums += x;
      squares += x * x;
    }
    nans += count_of_lanes(&nan_lanes);
    infinities += count_of_lanes(&infinity_lanes);
  }
  int32_t low = __builtin_reduce_min(least), high = __builtin_reduce_max(most);
  bool none = low > high;
  return (pleat_statistics){
      .nan_count = nans - (-count & 7), /* without the fill of the last lanes */
      .infinity_count = infinities,
      .minimum = none ? INFINITY : float_of_key(low),
      .maximum = none ? -INFINITY : float_of_key(high),
      .sum = sum_of_lanes(&sums),
      .sum_of_squares = sum_of_lanes(&squares),
  };
}

ALWAYS_INLINE float largest_magnitude(const float *values, ptrdiff_t count) {
  i32x8 most = {0};
  for (ptrdiff_t i = 0; i < count; i += 8) {
    f32x8 lanes;
    load_lanes(values + i, count - i, 0, &lanes);
    most = __builtin_elementwise_max(most, (i32x8)lanes & MAGNITUDE);
  }
  int32_t high = __builtin_reduce_max(most);
  return high > INFINITY_BITS ? NAN : float_of_bits((uint32_t)high);
}

/* All NaN results get the same bits: which operand's payload survives is not specified. */
ALWAYS_INLINE double one_nan(double value) { return value == value ? value : (double)NAN; }

ALWAYS_INLINE pleat_error error_from(const float *values, const float *reference, ptrdiff_t count) {
  f64x8 errors = {0}, squares = {0};
  i32x8 most = {0};
  for (ptrdiff_t i = 0; i < count; i += 8) {
    f32x8 a, b;
    load_lanes(values + i, count - i, 0, &a);
    load_lanes(reference + i, count - i, 0, &b);
    most = __builtin_elementwise_max(most, (i32x8)(a - b) & MAGNITUDE);
    f64x8 r = __builtin_convertvector(b, f64x8);
    f64x8 e = __builtin_convertvector(a, f64x8) - r;
    errors += e * e;
    squares += r * r;
  }
  int32_t high = __builtin_reduce_max(most);
  return (pleat_error){
      .sum_of_squared_errors = one_nan(sum_of_lanes(&errors)),
      .sum_of_squares = one_nan(sum_of_lanes(&squares)),
      .maximum_error = high > INFINITY_BITS ? NAN : float_of_bits((uint32_t)high),
  };
}

ALWAYS_INLINE pleat_update_error update_error(const float *values, const float *base,
                                              const float *delta, ptrdiff_t count) {
  f64x8 errors = {0}, squares = {0};
  i64x8 most = {0};
  for (ptrdiff_t i = 0; i < count; i += 8) {
    f32x8 v, b, d;
    load_lanes(values + i, count - i, 0, &v);
    load_lanes(base + i, count - i, 0, &b);
    load_lanes(delta + i, count - i, 0, &d);
    f64x8 u = __builtin_convertvector(d, f64x8);
    f64x8 e = __builtin_convertvector(v, f64x8) - __builtin_convertvector(b, f64x8) - u;
    most = __builtin_elementwise_max(most, (i64x8)e & INT64_MAX);
    errors += e * e;
    squares += u * u;
  }
  /* Without sign, doubles have the order of their bits as integers, with NaNs above infinity. */
  int64_t high = __builtin_reduce_max(most);
  double maximum;
  memcpy(&maximum, &high, sizeof maximum);
  return (pleat_update_error){
      .sum_of_squared_errors = one_nan(sum_of_lanes(&errors)),
      .sum_of_squares = one_nan(sum_of_lanes(&squares)),
      .maximum_error = one_nan(maximum),
  };
}

AVX2_PATH static pleat_statistics statistics_avx2(const float *values, ptrdiff_t count) {
  return statistics(values, count);
}

AVX2_PATH static float largest_magnitude_avx2(const float *values, ptrdiff_t count) {
  return largest_magnitude(values, count);
}

AVX2_PATH static pleat_error error_avx2(const float *values, const float *reference,
                                        ptrdiff_t count) {
  return error_from(values, reference, count);
}

AVX2_PATH static pleat_update_error update_error_avx2(const float *values, const float *base,
                                                      const float *delta, ptrdiff_t count) {
  return update_error(values, base, delta, count);
}

pleat_statistics pleat_statistics_of(pleat_instructions set, const float *values,
                                     ptrdiff_t count) {
  return uses_avx2(set) ? statistics_avx2(values, count) : statistics(values, count);
}

float pleat_largest_magnitude(pleat_instructions set, const float *values, ptrdiff_t count) {
  return uses_avx2(set) ? largest_magnitude_avx2(values, count)
                           : largest_magnitude(values, count);
}

pleat_error pleat_error_of(pleat_instructions set, const float *values, const float *reference,
                           ptrdiff_t count) {
  return uses_avx2(set) ? error_avx2(values, reference, count)
                           : error_from(values, reference, count);
}

pleat_update_error pleat_update_error_of(pleat_instructions set, const float *values,
                                         const float *base, const float *delta, ptrdiff_t count) {
  return uses_avx2(set) ? update_error_avx2(values, base, delta, count)
                           : update_error(values, base, delta, count);
}
