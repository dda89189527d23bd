#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "ggml_lanes.h"
#include "group.h"

/*
 * Codes that are numbers themselves, with a scale for each group, as MLX makes them on a CPU. Eight
 * groups are encoded together: a lane has the scale of a group, or a value of one.
 */

ALWAYS_INLINE int_lanes larger_int(int_lanes x, int_lanes y) { return choose_int(x > y, x, y); }

/* The bits of the largest magnitudes of eight groups. Those of NaN and infinity are the largest. */
ALWAYS_INLINE int_lanes largest_of_groups(const float *values, int size) {
  float found[LANES * LANES];
  lanes columns[LANES];
  for (int k = 0; k < LANES; k++) {
    int_lanes most = (int_lanes)magnitude(load_lanes(values + k * size));
    for (int i = LANES; i < size; i += LANES) {
      most = larger_int(most, (int_lanes)magnitude(load_lanes(values + k * size + i)));
    }
    store_lanes(found + k * LANES, (lanes)most);
  }
  transpose(found, LANES, LANES, columns);
  for (int step = LANES / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; i++) {
      columns[i] = (lanes)larger_int((int_lanes)columns[i], (int_lanes)columns[i + step]);
    }
  }
  return (int_lanes)columns[0];
}

/* The codes of the nearest E4M3 numbers, halves to even. Magnitudes from 448 on become 448. */
ALWAYS_INLINE int_lanes nearest_e4m3(lanes x) {
  lanes most = smaller(magnitude(x), all(448));
  int_lanes bits = (int_lanes)most;
  /* The last place of 2^14 is 2^-9, the step of subnormal numbers. */
  int_lanes subnormal = (int_lanes)(most + 0x1p14f) - (int_lanes)all(0x1p14f);
  /* Rebias the exponent, and round off the low 20 bits. A carry into the exponent is correct. */
  int_lanes normal = (bits - (120 << 23) + 0x7ffff + (bits >> 20 & 1)) >> 20;
  return choose_int(most < 0x1p-6f, subnormal, normal) | ((int_lanes)x >> 24 & 0x80);
}

/* Codes of numbers that are not negative. */
ALWAYS_INLINE lanes decode_e4m3(int_lanes code) {
  lanes subnormal = __builtin_convertvector(code, lanes) * 0x1p-9f;
  return choose(code < 8, subnormal, (lanes)((code << 20) + (120 << 23)));
}

/* The bytes of the smallest powers of two that are not below x, at least 2^-127; that of 1 if x is
   zero. */
ALWAYS_INLINE int_lanes power_above(lanes x) {
  int_lanes bits = (int_lanes)x, rest = bits & 0x007fffff;
  int_lanes normal = (bits >> 23) - (rest > 0), subnormal = -(rest > 0x00400000);
  return choose_int(x > 0, choose_int(bits >> 23 > 0, normal, subnormal), (int_lanes){0} + 127);
}

typedef struct {
  lanes scales;    /* infinite if all codes are 0 */
  int_lanes bytes; /* as stored */
} group_scales;

/* `largest` is the largest magnitude of each group. The quotient is rounded to `format`. */
ALWAYS_INLINE group_scales find_scales(pleat_scaled_mode mode, lanes largest,
                                       pleat_format format) {
  float quotients[LANES];
  store_lanes(quotients, largest / (mode == PLEAT_MXFP8 ? 448.0f : 6.0f));
  round_to_format(quotients, LANES, format);
  lanes x = load_lanes(quotients);
  group_scales found;
  if (mode == PLEAT_NVFP4) {
    found.bytes = nearest_e4m3(x);
    found.scales = choose(found.bytes > 0, decode_e4m3(found.bytes), all(HUGE_VALF));
  } else {
    found.bytes = power_above(x);
    /* The bits of 2^-127 are those of a subnormal number. */
    found.scales = (lanes)choose_int(found.bytes > 0, found.bytes << 23,
                                     (int_lanes){0} + 0x00400000);
  }
  return found;
}

/* Whether numbers of the group would become infinite or be cut off. */
ALWAYS_INLINE bool is_too_large(pleat_scaled_mode mode, float largest, pleat_format format) {
  switch (mode) {
    case PLEAT_MXFP4: return largest > 0x1.cp127f; /* 4 * 2^126 is infinite */
    case PLEAT_MXFP8: return largest >= 0x1.fp127f; /* 256 * 2^120 is infinite */
    case PLEAT_NVFP4: {
      float quotient = largest / 6.0f;
      round_to_format(&quotient, 1, format);
      return quotient > 464; /* rounds to more than 448, the largest scale */
    }
  }
  return false;
}

/* Codes of E2M1: the nearest numbers, halves to the smaller magnitude, and no negative zero. The
   middle between two numbers, times a scale, is exact. */
ALWAYS_INLINE void write_e2m1(const float *restrict values, int size, float scale,
                              uint8_t *restrict out) {
  static const float middles[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  typedef uint16_t pairs __attribute__((vector_size(16)));
  typedef uint8_t bytes __attribute__((vector_size(8)));
  uint8_t codes[32];
  for (int i = 0; i < size; i += LANES) {
    lanes x = load_lanes(values + i), most = magnitude(x);
    int_lanes code = {0};
#pragma GCC unroll 7
    for (int k = 0; k < 7; k++) code -= most > middles[k] * scale;
    store_bytes(codes + i, code | ((code > 0) & (x < 0) & 8));
  }
  for (int i = 0; i < size; i += 16) {
    pairs pair;
    memcpy(&pair, codes + i, sizeof pair);
    bytes packed = __builtin_convertvector(pair | pair >> 4, bytes);
    memcpy(out + i / 2, &packed, sizeof packed);
  }
}

ALWAYS_INLINE void write_e4m3(const float *restrict values, int size, float scale,
                              uint8_t *restrict out) {
  /* A power of two from 2^-127 to 2^120, whose reciprocal is exact. */
  const float factor = 1 / scale;
  for (int i = 0; i < size; i += LANES) {
    store_bytes(out + i, nearest_e4m3(load_lanes(values + i) * factor));
  }
}

ALWAYS_INLINE int64_t scaled_of_mode(pleat_scaled_mode mode, const float *values, ptrdiff_t count,
                                     pleat_format format, uint8_t *codes, uint8_t *scales) {
  const int size = mode == PLEAT_NVFP4 ? 16 : 32, length = mode == PLEAT_MXFP8 ? 32 : size / 2;
  const float limit = mode == PLEAT_NVFP4 ? 2000 : 0x1p127f;
  for (ptrdiff_t k = 0; k < count; k += LANES) {
    const int groups = count - k < LANES ? (int)(count - k) : LANES;
    const float *batch = values + k * size;
    float padded[32 * LANES];
    if (groups < LANES) {
      memset(padded, 0, sizeof padded);
      memcpy(padded, batch, (size_t)(groups * size) * sizeof *padded);
      batch = padded;
    }
    lanes largest = (lanes)largest_of_groups(batch, size);
    if (any(~(largest < limit))) {
      for (int j = 0; j < groups; j++) {
        if (!is_finite(largest[j])) return 2 * (k + j);
        if (is_too_large(mode, largest[j], format)) return 2 * (k + j) + 1;
      }
    }
    group_scales found = find_scales(mode, largest, format);
    for (int j = 0; j < groups; j++) {
      uint8_t *out = codes + (k + j) * length;
      scales[k + j] = (uint8_t)found.bytes[j];
      if (mode == PLEAT_MXFP8) {
        write_e4m3(batch + j * size, size, found.scales[j], out);
      } else {
        write_e2m1(batch + j * size, size, found.scales[j], out);
      }
    }
  }
  return -1;
}

ALWAYS_INLINE int64_t scaled(pleat_scaled_mode mode, const float *values, ptrdiff_t count,
                             pleat_format format, uint8_t *codes, uint8_t *scales) {
  switch (mode) {
    case PLEAT_MXFP4: return scaled_of_mode(PLEAT_MXFP4, values, count, format, codes, scales);
    case PLEAT_NVFP4: return scaled_of_mode(PLEAT_NVFP4, values, count, format, codes, scales);
    case PLEAT_MXFP8: return scaled_of_mode(PLEAT_MXFP8, values, count, format, codes, scales);
  }
  return -1;
}

AVX2_PATH static int64_t scaled_avx2(pleat_scaled_mode mode, const float *values, ptrdiff_t count,
                                     pleat_format format, uint8_t *codes, uint8_t *scales) {
  return scaled(mode, values, count, format, codes, scales);
}

int64_t pleat_encode_scaled(pleat_instructions set, pleat_scaled_mode mode, const float *values,
                            ptrdiff_t group_count, pleat_format format, uint8_t *codes,
                            uint8_t *scales) {
  return uses_avx2(set) ? scaled_avx2(mode, values, group_count, format, codes, scales)
                           : scaled(mode, values, group_count, format, codes, scales);
}
