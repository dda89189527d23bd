#pragma STDC FP_CONTRACT OFF

#include <math.h>

#include "CKernels.h"
#include "group.h"

/* Rounds any float half to even. Floats of magnitude 2^23 and above are integers already. */
ALWAYS_INLINE float nearest(float value) {
  float magnitude = fabsf(value);
  float whole = magnitude < 0x1p23f ? (magnitude + 0x1p23f) - 0x1p23f : magnitude;
  return copysignf(whole, value);
}

/* The steps are those of quantize in mlx/backend/cpu/quantized.cpp. Operations that are equivalent
   in exact arithmetic would change the last bit of some scales. */
ALWAYS_INLINE int64_t mlx_batch(const float *restrict values, ptrdiff_t groups, ptrdiff_t size,
                                int bits, pleat_format format, uint8_t *restrict codes,
                                float *restrict scales, float *restrict biases) {
  const int top = (1 << bits) - 1;
  float origins[BATCH];
  batch_state batch;
  find_extremes(values, groups, size, &batch);
  for (ptrdiff_t k = 0; k < groups; k++) {
    float least = float_of_key(batch.least[k]), most = float_of_key(batch.most[k]);
    bool from_least = fabsf(least) > fabsf(most);
    float step = (most - least) / (float)top;
    step = step > 1e-7f ? step : 1e-7f;
    step = from_least ? step : -step;
    float edge = from_least ? least : most;
    float count = nearest(edge / step);
    float scale = count != 0 ? edge / count : step;
    batch.scales[k] = scale;
    batch.biases[k] = origins[k] = count != 0 ? edge : 0;
    /* If all values are one large constant, count is infinite and the scale is 0. All codes are
       then 0, as in MLX. */
    batch.divisors[k] = scale != 0 ? scale : float_of_bits(0x7f800000);
  }
  round_to_format(batch.scales, groups, format);
  round_to_format(batch.biases, groups, format);
  int64_t fault = find_fault(&batch, groups);
  if (fault >= 0) return fault;
  for (ptrdiff_t k = 0; k < groups; k++) {
    write_codes(values + k * size, size, origins[k], batch.divisors[k], 0, top, codes + k * size);
  }
  memcpy(scales, batch.scales, (size_t)groups * sizeof *scales);
  memcpy(biases, batch.biases, (size_t)groups * sizeof *biases);
  return -1;
}

GROUP_ENCODER(mlx, mlx_batch)
