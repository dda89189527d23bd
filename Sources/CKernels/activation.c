#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "lanes.h"

/*
 * The functions between the products of a layer. Each number of a result depends on its own inputs
 * only, or on the row that it is in, and sums have a fixed order: eight lanes of doubles, then a
 * tree. exp is computed here, because the libraries of two systems give it different last bits.
 */

typedef double doubles __attribute__((vector_size(64)));

/* e^x to about one unit in the last place, for x from -87 to 88; below and above it is that of
   these bounds. x = n ln 2 + r with |r| <= ln 2 / 2, and e^r is 1 + r + r^2 times a polynomial that was
   fitted at the nodes of Chebyshev. */
ALWAYS_INLINE lanes exponential(lanes x) {
  x = smaller(larger(x, all(-87)), all(88));
  lanes n = rounded_within(false, x * 0x1.715476p0f, all(-126), all(127));
  lanes r = fused(n, all(-0x1.62e4p-1f), x);
  r = fused(n, all(-0x1.7f7d1cp-20f), r);
  lanes p = all(0x1.6d4366p-10f);
  p = fused(p, r, all(0x1.120ba6p-7f));
  p = fused(p, r, all(0x1.5554e8p-5f));
  p = fused(p, r, all(0x1.5554dcp-3f));
  p = fused(p, r, all(0x1p-1f));
  p = fused(p, r, all(1));
  p = fused(p, r, all(1));
  int_lanes power = __builtin_convertvector(n, int_lanes) + 127;
  return p * (lanes)(power << 23);
}

/* NaN for NaN, which `exponential` does not keep. */
ALWAYS_INLINE lanes sigmoid(lanes x) {
  return choose(x == x, 1 / (1 + exponential(-x)), x);
}

ALWAYS_INLINE lanes hyperbolic_tangent(lanes x) {
  return choose(x == x, 1 - 2 / (exponential(2 * x) + 1), x);
}

/* ln(1 + e^x) = max(x, 0) + ln(1 + u) with u = e^-|x|, and ln(1 + u) is 2 atanh(s) with
   s = u / (2 + u), at most 1/3: s + s^3 / 3 + s^5 / 5 and so on, twice. */
ALWAYS_INLINE lanes softplus(lanes x) {
  lanes u = exponential(-magnitude(x));
  lanes s = u / (2 + u);
  lanes z = s * s;
  lanes p = all(1.0f / 17);
  p = fused(p, z, all(1.0f / 15));
  p = fused(p, z, all(1.0f / 13));
  p = fused(p, z, all(1.0f / 11));
  p = fused(p, z, all(1.0f / 9));
  p = fused(p, z, all(1.0f / 7));
  p = fused(p, z, all(1.0f / 5));
  p = fused(p, z, all(1.0f / 3));
  p = fused(p, z, all(1));
  return choose(x == x, choose(x > 0, x, all(0)) + 2 * s * p, x);
}

ALWAYS_INLINE lanes activated(pleat_activation function, lanes x) {
  switch (function) {
    case PLEAT_SILU:
      return x * sigmoid(x);
    case PLEAT_SIGMOID:
      return sigmoid(x);
    case PLEAT_GELU_TANH: {
      lanes cube = x * x * x;
      lanes inner = 0x1.988454p-1f * fused(all(0.044715f), cube, x);
      return 0.5f * x * (1 + hyperbolic_tangent(inner));
    }
    case PLEAT_RELU:
      return choose(x < 0, all(0), x);
    case PLEAT_SQUARED_RELU: {
      lanes positive = choose(x < 0, all(0), x);
      return positive * positive;
    }
    case PLEAT_SOFTPLUS:
      return softplus(x);
  }
  return x;
}

/* Loads the next eight values, with zeros after the last one. */
ALWAYS_INLINE lanes load_some(const float *values, ptrdiff_t left) {
  if (left >= LANES) return load_lanes(values);
  lanes result = {0};
  memcpy(&result, values, (size_t)left * sizeof *values);
  return result;
}

ALWAYS_INLINE void store_some(float *values, ptrdiff_t left, lanes x) {
  memcpy(values, &x, (size_t)(left < LANES ? left : LANES) * sizeof *values);
}

ALWAYS_INLINE double tree(doubles x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

ALWAYS_INLINE void activate(pleat_activation function, float *values, const float *factors,
                            ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = activated(function, load_some(values + i, count - i));
    if (factors) x *= load_some(factors + i, count - i);
    store_some(values + i, count - i, x);
  }
}

AVX2_PATH static void activate_avx2(pleat_activation function, float *values,
                                    const float *factors, ptrdiff_t count) {
  activate(function, values, factors, count);
}

void pleat_activate(pleat_instructions set, pleat_activation function, float *values,
                    const float *factors, ptrdiff_t count) {
  uses_avx2(set) ? activate_avx2(function, values, factors, count)
                    : activate(function, values, factors, count);
}

ALWAYS_INLINE void clamped_gate(float *values, const float *factors, ptrdiff_t count, float scale,
                                float limit) {
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    /* NaN stays NaN: it is the second operand. */
    lanes x = smaller(all(limit), load_some(values + i, count - i));
    lanes y = larger(all(-limit), smaller(all(limit), load_some(factors + i, count - i)));
    store_some(values + i, count - i, (y + 1) * (x * sigmoid(x * scale)));
  }
}

AVX2_PATH static void clamped_gate_avx2(float *values, const float *factors, ptrdiff_t count,
                                        float scale, float limit) {
  clamped_gate(values, factors, count, scale, limit);
}

void pleat_clamped_gate(pleat_instructions set, float *values, const float *factors,
                        ptrdiff_t count, float scale, float limit) {
  uses_avx2(set) ? clamped_gate_avx2(values, factors, count, scale, limit)
                    : clamped_gate(values, factors, count, scale, limit);
}

/* e^x - 1. Near 0 it keeps the digits that the difference would lose. */
ALWAYS_INLINE lanes exponential_minus_one(lanes x) {
  lanes p = all(0x1.6d4366p-10f);
  p = fused(p, x, all(0x1.120ba6p-7f));
  p = fused(p, x, all(0x1.5554e8p-5f));
  p = fused(p, x, all(0x1.5554dcp-3f));
  p = fused(p, x, all(0x1p-1f));
  p = fused(p, x, all(1));
  return choose(magnitude(x) < 0.34f, p * x, exponential(x) - 1);
}

ALWAYS_INLINE void xielu(float *values, ptrdiff_t count, float above, float below, float slope,
                         float limit) {
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = load_some(values + i, count - i);
    lanes negative = (exponential_minus_one(smaller(all(limit), x)) - x) * below;
    lanes curve = choose(x > 0, above * x * x, choose(x == x, negative, x));
    store_some(values + i, count - i, curve + slope * x);
  }
}

AVX2_PATH static void xielu_avx2(float *values, ptrdiff_t count, float above, float below,
                                 float slope, float limit) {
  xielu(values, count, above, below, slope, limit);
}

void pleat_xielu(pleat_instructions set, float *values, ptrdiff_t count, float above, float below,
                 float slope, float limit) {
  uses_avx2(set) ? xielu_avx2(values, count, above, below, slope, limit)
                    : xielu(values, count, above, below, slope, limit);
}

ALWAYS_INLINE void cap(float *values, ptrdiff_t count, float scale, float limit) {
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = load_some(values + i, count - i) * scale / limit;
    store_some(values + i, count - i, limit * hyperbolic_tangent(x));
  }
}

AVX2_PATH static void cap_avx2(float *values, ptrdiff_t count, float scale, float limit) {
  cap(values, count, scale, limit);
}

void pleat_cap(pleat_instructions set, float *values, ptrdiff_t count, float scale, float limit) {
  uses_avx2(set) ? cap_avx2(values, count, scale, limit) : cap(values, count, scale, limit);
}

ALWAYS_INLINE void softmax(float *values, ptrdiff_t count, float scale) {
  lanes most = all(-INFINITY);
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = load_some(values + i, count - i) * scale;
    store_some(values + i, count - i, x);
    if (count - i < LANES) {
      for (ptrdiff_t k = count - i; k < LANES; k++) x[k] = -INFINITY;
    }
    most = larger(x, most);
  }
  float top = most[0];
  for (int k = 1; k < LANES; k++) top = most[k] > top ? most[k] : top;
  doubles sums = {0};
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = load_some(values + i, count - i) - top;
    lanes power = choose(x == x, exponential(x), x);
    if (count - i < LANES) {
      for (ptrdiff_t k = count - i; k < LANES; k++) power[k] = 0;
    }
    store_some(values + i, count - i, power);
    sums += __builtin_convertvector(power, doubles);
  }
  float factor = (float)(1 / tree(sums));
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    store_some(values + i, count - i, load_some(values + i, count - i) * factor);
  }
}

AVX2_PATH static void softmax_avx2(float *values, ptrdiff_t count, float scale) {
  softmax(values, count, scale);
}

void pleat_softmax(pleat_instructions set, float *values, ptrdiff_t count, float scale) {
  if (uses_avx2(set)) {
    softmax_avx2(values, count, scale);
  } else {
    softmax(values, count, scale);
  }
}

ALWAYS_INLINE void norm(bool subtracts_mean, const float *values, const float *weights,
                        const float *biases, ptrdiff_t count, float addend, double epsilon,
                        float *out) {
  doubles sums = {0};
  for (ptrdiff_t i = 0; i < count && subtracts_mean; i += LANES) {
    sums += __builtin_convertvector(load_some(values + i, count - i), doubles);
  }
  float mean = (float)(tree(sums) / (double)count);
  doubles squares = {0};
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = load_some(values + i, count - i) - mean;
    if (count - i < LANES) {
      for (ptrdiff_t k = count - i; k < LANES; k++) x[k] = 0;
    }
    doubles y = __builtin_convertvector(x, doubles);
    squares += y * y;
  }
  float scale = (float)(1 / sqrt(tree(squares) / (double)count + epsilon));
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = (load_some(values + i, count - i) - mean) * scale;
    if (weights) x *= load_some(weights + i, count - i) + addend;
    if (biases) x += load_some(biases + i, count - i);
    store_some(out + i, count - i, x);
  }
}

AVX2_PATH static void norm_avx2(bool subtracts_mean, const float *values, const float *weights,
                                const float *biases, ptrdiff_t count, float addend,
                                double epsilon, float *out) {
  norm(subtracts_mean, values, weights, biases, count, addend, epsilon, out);
}

void pleat_norm(pleat_instructions set, bool subtracts_mean, const float *values,
                const float *weights, const float *biases, ptrdiff_t count, float addend,
                double epsilon, float *out) {
  uses_avx2(set)
      ? norm_avx2(subtracts_mean, values, weights, biases, count, addend, epsilon, out)
      : norm(subtracts_mean, values, weights, biases, count, addend, epsilon, out);
}

ALWAYS_INLINE void add_scaled(const float *values, float scale, ptrdiff_t count, float *out) {
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = load_some(values + i, count - i) * scale;
    store_some(out + i, count - i, load_some(out + i, count - i) + x);
  }
}

AVX2_PATH static void add_scaled_avx2(const float *values, float scale, ptrdiff_t count,
                                      float *out) {
  add_scaled(values, scale, count, out);
}

void pleat_add_scaled(pleat_instructions set, const float *values, float scale, ptrdiff_t count,
                      float *out) {
  uses_avx2(set) ? add_scaled_avx2(values, scale, count, out)
                    : add_scaled(values, scale, count, out);
}

void pleat_rotate(const float *cosines, const float *sines, ptrdiff_t pairs, bool neighbours,
                  float *values, float *scratch) {
  for (ptrdiff_t i = 0; i < pairs; i++) {
    float a = neighbours ? values[2 * i] : values[i];
    float b = neighbours ? values[2 * i + 1] : values[i + pairs];
    scratch[i] = a * cosines[i] - b * sines[i];
    scratch[i + pairs] = b * cosines[i] + a * sines[i];
  }
  memcpy(values, scratch, (size_t)(2 * pairs) * sizeof *values);
}

ALWAYS_INLINE double log_sum_exp(const float *values, ptrdiff_t count) {
  float top = -INFINITY;
  for (ptrdiff_t i = 0; i < count; i++) top = values[i] > top ? values[i] : top;
  doubles sums = {0};
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes power = exponential(load_some(values + i, count - i) - top);
    if (count - i < LANES) {
      for (ptrdiff_t k = count - i; k < LANES; k++) power[k] = 0;
    }
    sums += __builtin_convertvector(power, doubles);
  }
  return (double)top + log(tree(sums));
}

AVX2_PATH static double log_sum_exp_avx2(const float *values, ptrdiff_t count) {
  return log_sum_exp(values, count);
}

double pleat_log_sum_exp(pleat_instructions set, const float *values, ptrdiff_t count) {
  return uses_avx2(set) ? log_sum_exp_avx2(values, count) : log_sum_exp(values, count);
}

ALWAYS_INLINE double divergence(const float *base, const float *other, ptrdiff_t count,
                                double base_sum, double other_sum) {
  doubles sums = {0};
  for (ptrdiff_t i = 0; i < count; i += LANES) {
    lanes x = load_some(base + i, count - i), y = load_some(other + i, count - i);
    doubles first = __builtin_convertvector(x, doubles) - base_sum;
    doubles second = __builtin_convertvector(y, doubles) - other_sum;
    lanes power = exponential(__builtin_convertvector(first, lanes));
    if (count - i < LANES) {
      for (ptrdiff_t k = count - i; k < LANES; k++) power[k] = 0;
    }
    sums += __builtin_convertvector(power, doubles) * (first - second);
  }
  return tree(sums);
}

AVX2_PATH static double divergence_avx2(const float *base, const float *other, ptrdiff_t count,
                                        double base_sum, double other_sum) {
  return divergence(base, other, count, base_sum, other_sum);
}

double pleat_divergence(pleat_instructions set, const float *base, const float *other,
                        ptrdiff_t count, double base_sum, double other_sum) {
  return uses_avx2(set) ? divergence_avx2(base, other, count, base_sum, other_sum)
                           : divergence(base, other, count, base_sum, other_sum);
}
