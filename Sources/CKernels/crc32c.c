#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "half.h"

/*
 * Checksums are polynomials over GF(2) modulo the Castagnoli polynomial. They are reflected: bit 31
 * is x^0. The checksum is linear in the message. If n zero bytes follow a message, its checksum is
 * multiplied by x^8n. This is how the checksums of pieces are joined.
 */
#define POLYNOMIAL 0x82f63b78u

/* table[k][b] is the checksum of byte b followed by k zero bytes. It is the XOR of the entries of
   the single bits of b. */
#define ENTRY(n, c0, c1, c2, c3, c4, c5, c6, c7)                                           \
  (((n) & 1 ? c0 : 0) ^ ((n) & 2 ? c1 : 0) ^ ((n) & 4 ? c2 : 0) ^ ((n) & 8 ? c3 : 0) ^     \
   ((n) & 16 ? c4 : 0) ^ ((n) & 32 ? c5 : 0) ^ ((n) & 64 ? c6 : 0) ^ ((n) & 128 ? c7 : 0))
#define ENTRIES4(n, ...)                                   \
  ENTRY(n, __VA_ARGS__), ENTRY(n + 1, __VA_ARGS__),        \
      ENTRY(n + 2, __VA_ARGS__), ENTRY(n + 3, __VA_ARGS__)
#define ENTRIES16(n, ...)                                         \
  ENTRIES4(n, __VA_ARGS__), ENTRIES4(n + 4, __VA_ARGS__),         \
      ENTRIES4(n + 8, __VA_ARGS__), ENTRIES4(n + 12, __VA_ARGS__)
#define ENTRIES64(n, ...)                                            \
  ENTRIES16(n, __VA_ARGS__), ENTRIES16(n + 16, __VA_ARGS__),         \
      ENTRIES16(n + 32, __VA_ARGS__), ENTRIES16(n + 48, __VA_ARGS__)
#define ROW(...)                                             \
  {ENTRIES64(0, __VA_ARGS__), ENTRIES64(64, __VA_ARGS__),    \
   ENTRIES64(128, __VA_ARGS__), ENTRIES64(192, __VA_ARGS__)}

static const uint32_t table[8][256] = {
    ROW(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf,
        0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    ROW(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8,
        0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    ROW(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5,
        0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    ROW(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6,
        0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    ROW(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91,
        0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    ROW(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f,
        0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    ROW(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53,
        0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    ROW(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da,
        0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

/* Both update functions work on the inverted checksum. */

static uint32_t update_portable(uint32_t crc, const uint8_t *bytes, ptrdiff_t count) {
  for (; count >= 8; bytes += 8, count -= 8) {
    uint64_t x = load64(bytes) ^ crc;
    crc = table[7][x & 255] ^ table[6][x >> 8 & 255] ^ table[5][x >> 16 & 255] ^
          table[4][x >> 24 & 255] ^ table[3][x >> 32 & 255] ^ table[2][x >> 40 & 255] ^
          table[1][x >> 48 & 255] ^ table[0][x >> 56];
  }
  for (; count > 0; bytes++, count--) crc = table[0][(crc ^ *bytes) & 255] ^ crc >> 8;
  return crc;
}

#if PLEAT_HAS_AVX2_PATH
#include <immintrin.h>

enum { LANE = 1024 };

/* The checksum of a message followed by n zero bytes; `power` is x^(8 * n - 33). The exponent is
   lower by 33, because the product of two reflected words has a further factor x, and the
   instruction that reduces it multiplies by x^32. */
AVX2_PATH ALWAYS_INLINE uint64_t followed_by_zeros(uint64_t crc, uint32_t power) {
  __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi32_si128((int)power), 0);
  return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* A crc32 instruction takes three cycles, but one can start every cycle: use three lanes. */
AVX2_PATH static uint32_t update_avx2(uint32_t start, const uint8_t *bytes, ptrdiff_t count) {
  const uint32_t one_lane = 0x170076fa, two_lanes = 0xa51b6135;
  uint64_t crc = start;
  for (; count >= 3 * LANE; bytes += 3 * LANE, count -= 3 * LANE) {
    uint64_t second = 0, third = 0;
    for (ptrdiff_t i = 0; i < LANE; i += 8) {
      crc = _mm_crc32_u64(crc, load64(bytes + i));
      second = _mm_crc32_u64(second, load64(bytes + LANE + i));
      third = _mm_crc32_u64(third, load64(bytes + 2 * LANE + i));
    }
    crc = followed_by_zeros(crc, two_lanes) ^ followed_by_zeros(second, one_lane) ^ third;
  }
  for (; count >= 8; bytes += 8, count -= 8) crc = _mm_crc32_u64(crc, load64(bytes));
  uint32_t rest = (uint32_t)crc;
  for (; count > 0; bytes++, count--) rest = _mm_crc32_u8(rest, *bytes);
  return rest;
}
#else
#define update_avx2 update_portable
#endif

uint32_t pleat_crc32c(pleat_instructions set, uint32_t crc, const void *bytes, ptrdiff_t count) {
  return uses_avx2(set) ? ~update_avx2(~crc, bytes, count)
                           : ~update_portable(~crc, bytes, count);
}

ALWAYS_INLINE uint32_t product(uint32_t a, uint32_t b) {
  uint32_t sum = 0;
  for (; a != 0; a <<= 1) {
    if (a & 0x80000000) sum ^= b;
    b = b >> 1 ^ (b & 1 ? POLYNOMIAL : 0);
  }
  return sum;
}

uint32_t pleat_crc32c_combine(uint32_t crc1, uint32_t crc2, uint64_t length2) {
  uint32_t square = 1u << (31 - 8); /* x^8, x^16, x^32 … */
  for (; length2 != 0; length2 >>= 1) {
    if (length2 & 1) crc1 = product(crc1, square);
    square = product(square, square);
  }
  return crc1 ^ crc2;
}
