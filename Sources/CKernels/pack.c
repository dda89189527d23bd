#pragma STDC FP_CONTRACT OFF

#include <string.h>

#include "CKernels.h"
#include "half.h"

/*
 * Eight codes are the eight bytes of a 64-bit word when unpacked, and its low 8 * bits bits when
 * packed. Both directions take three steps, on single codes, pairs and fours: each step moves
 * neighbors together, or apart.
 */

#define EVEN_BYTES 0x00ff00ff00ff00ffull
#define EVEN_HALVES 0x0000ffff0000ffffull
#define EVEN_WORDS 0x00000000ffffffffull

ALWAYS_INLINE uint64_t pack8(uint64_t x, int bits) {
  x = (x & EVEN_BYTES) | (x >> (8 - bits) & EVEN_BYTES << bits);
  x = (x & EVEN_HALVES) | (x >> (16 - 2 * bits) & EVEN_HALVES << 2 * bits);
  return (x & EVEN_WORDS) | (x >> (32 - 4 * bits) & EVEN_WORDS << 4 * bits);
}

ALWAYS_INLINE uint64_t unpack8(uint64_t x, int bits) {
  uint64_t four = (1ull << 4 * bits) - 1, two = (1ull << 2 * bits) - 1, one = (1ull << bits) - 1;
  x = (x & four) | (x << (32 - 4 * bits) & four << 32);
  x = (x & two * (1 | 1ull << 32)) | (x << (16 - 2 * bits) & two * (1ull << 16 | 1ull << 48));
  return (x & one * 0x0001000100010001ull) | (x << (8 - bits) & one * 0x0100010001000100ull);
}

/* The number of bytes of a packed row. */
ALWAYS_INLINE ptrdiff_t row_size(ptrdiff_t columns, int bits) {
  return (columns * bits + 31) / 32 * 4;
}

/* Packs the codes from `first`, a multiple of eight, to the end of the row, and pads its last
   word with zeros. */
ALWAYS_INLINE void pack_rest(const uint8_t *codes, ptrdiff_t first, ptrdiff_t columns, int bits,
                             uint8_t *out) {
  ptrdiff_t size = row_size(columns, bits);
  ptrdiff_t at = first / 8 * bits;
  ptrdiff_t i = first;
  if (bits == 8 && columns >= 8) {
    memcpy(out, codes, (size_t)(columns / 8 * 8));
    i = at = columns / 8 * 8;
  }
  for (; i + 8 <= columns && at + 8 <= size; i += 8, at += bits) {
    uint64_t word = pack8(load64(codes + i), bits);
    memcpy(out + at, &word, 8);
  }
  for (; i < columns; i += 8, at += bits) {
    uint64_t word = 0;
    memcpy(&word, codes + i, (size_t)(columns - i < 8 ? columns - i : 8));
    word = pack8(word, bits);
    memcpy(out + at, &word, (size_t)(size - at < bits ? size - at : bits));
  }
  if (at < size) memset(out + at, 0, (size_t)(size - at));
}

ALWAYS_INLINE void unpack_rest(const uint8_t *bytes, ptrdiff_t first, ptrdiff_t columns, int bits,
                               uint8_t *codes) {
  ptrdiff_t size = row_size(columns, bits);
  ptrdiff_t at = first / 8 * bits;
  ptrdiff_t i = first;
  if (bits == 8 && columns >= 8) {
    memcpy(codes, bytes, (size_t)(columns / 8 * 8));
    i = at = columns / 8 * 8;
  }
  for (; i + 8 <= columns && at + 8 <= size; i += 8, at += bits) {
    uint64_t word = unpack8(load64(bytes + at), bits);
    memcpy(codes + i, &word, 8);
  }
  for (; i < columns; i += 8, at += bits) {
    uint64_t word = 0;
    memcpy(&word, bytes + at, (size_t)(size - at < bits ? size - at : bits));
    word = unpack8(word, bits);
    memcpy(codes + i, &word, (size_t)(columns - i < 8 ? columns - i : 8));
  }
}

#if PLEAT_HAS_AVX2_PATH
#include <immintrin.h>

/* pack8 on four words at once. Multiply-add moves neighbors together. Its factor 2^bits must fit a
   signed byte, so bits is 1 to 6. Each half of the register becomes 2 * bits bytes. */
AVX2_PATH ALWAYS_INLINE ptrdiff_t pack_vectors(const uint8_t *codes, ptrdiff_t columns, int bits,
                                               uint8_t *out) {
  ptrdiff_t size = row_size(columns, bits);
  const __m256i pair = _mm256_set1_epi16((short)(1 | 1 << (8 + bits)));
  const __m256i four = _mm256_set1_epi32(1 | 1 << (16 + 2 * bits));
  const __m256i low = _mm256_set1_epi64x(0xffffffff);
  uint8_t order[16];
  for (int i = 0; i < 16; i++) {
    order[i] = (uint8_t)(i < bits ? i : i < 2 * bits ? 8 + i - bits : 0x80);
  }
  const __m256i together = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)order));
  ptrdiff_t i = 0;
  for (ptrdiff_t at = 0; i + 32 <= columns && at + 2 * bits + 16 <= size;
       i += 32, at += 4 * bits) {
    __m256i x = _mm256_loadu_si256((const __m256i *)(codes + i));
    x = _mm256_madd_epi16(_mm256_maddubs_epi16(x, pair), four);
    x = _mm256_or_si256(_mm256_and_si256(x, low),
                        _mm256_srli_epi64(_mm256_andnot_si256(low, x), 32 - 4 * bits));
    x = _mm256_shuffle_epi8(x, together);
    _mm_storeu_si128((__m128i *)(out + at), _mm256_castsi256_si128(x));
    _mm_storeu_si128((__m128i *)(out + at + 2 * bits), _mm256_extracti128_si256(x, 1));
  }
  return i;
}

/* unpack8 on four words at once, for bits 1 to 8. */
AVX2_PATH ALWAYS_INLINE ptrdiff_t unpack_vectors(const uint8_t *bytes, ptrdiff_t columns, int bits,
                                                 uint8_t *codes) {
  ptrdiff_t size = row_size(columns, bits);
  const __m256i four = _mm256_set1_epi64x((long long)((1ull << 4 * bits) - 1));
  const __m256i two = _mm256_set1_epi32((1 << 2 * bits) - 1);
  const __m256i one = _mm256_set1_epi16((short)((1 << bits) - 1));
  const __m256i low = _mm256_set1_epi64x(0xffffffff);
  const __m256i even_halves = _mm256_set1_epi32(0xffff), even_bytes = _mm256_set1_epi16(0xff);
  uint8_t order[16];
  for (int i = 0; i < 16; i++) {
    order[i] = (uint8_t)(i % 8 >= bits ? 0x80 : i < 8 ? i : bits + i - 8);
  }
  const __m256i apart = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)order));
  ptrdiff_t i = 0;
  for (ptrdiff_t at = 0; i + 32 <= columns && at + 2 * bits + 16 <= size;
       i += 32, at += 4 * bits) {
    __m128i a = _mm_loadu_si128((const __m128i *)(bytes + at));
    __m128i b = _mm_loadu_si128((const __m128i *)(bytes + at + 2 * bits));
    __m256i x = _mm256_shuffle_epi8(_mm256_set_m128i(b, a), apart);
    x = _mm256_or_si256(_mm256_and_si256(x, four),
                        _mm256_andnot_si256(low, _mm256_slli_epi64(x, 32 - 4 * bits)));
    x = _mm256_or_si256(_mm256_and_si256(x, two),
                        _mm256_andnot_si256(even_halves, _mm256_slli_epi32(x, 16 - 2 * bits)));
    x = _mm256_or_si256(
        _mm256_and_si256(x, one),
        _mm256_andnot_si256(even_bytes, _mm256_slli_epi16(x, 8 - bits)));
    _mm256_storeu_si256((__m256i *)(codes + i), x);
  }
  return i;
}
#endif

/* Functions for one row. The number of bits is a constant in each case. */

#define FOR_CONSTANT_BITS(ROW)  \
  switch (bits) {               \
    case 1: ROW(1); break;      \
    case 2: ROW(2); break;      \
    case 3: ROW(3); break;      \
    case 4: ROW(4); break;      \
    case 5: ROW(5); break;      \
    case 6: ROW(6); break;      \
    case 7: ROW(7); break;      \
    case 8: ROW(8); break;      \
  }

static void pack_row(const uint8_t *codes, ptrdiff_t columns, int bits, uint8_t *out) {
#define ROW(b) pack_rest(codes, 0, columns, b, out)
  FOR_CONSTANT_BITS(ROW)
#undef ROW
}

static void unpack_row(const uint8_t *bytes, ptrdiff_t columns, int bits, uint8_t *codes) {
#define ROW(b) unpack_rest(bytes, 0, columns, b, codes)
  FOR_CONSTANT_BITS(ROW)
#undef ROW
}

#if PLEAT_HAS_AVX2_PATH
AVX2_PATH static void pack_row_avx2(const uint8_t *codes, ptrdiff_t columns, int bits,
                                    uint8_t *out) {
#define ROW(b) \
  pack_rest(codes, b < 7 ? pack_vectors(codes, columns, b, out) : 0, columns, b, out)
  FOR_CONSTANT_BITS(ROW)
#undef ROW
}

AVX2_PATH static void unpack_row_avx2(const uint8_t *bytes, ptrdiff_t columns, int bits,
                                      uint8_t *codes) {
#define ROW(b) \
  unpack_rest(bytes, b < 8 ? unpack_vectors(bytes, columns, b, codes) : 0, columns, b, codes)
  FOR_CONSTANT_BITS(ROW)
#undef ROW
}
#else
#define pack_row_avx2 pack_row
#define unpack_row_avx2 unpack_row
#endif

void pleat_pack(pleat_instructions set, const uint8_t *codes, ptrdiff_t rows, ptrdiff_t columns,
                int bits, void *out) {
  ptrdiff_t size = row_size(columns, bits);
  for (ptrdiff_t row = 0; row < rows; row++) {
    const uint8_t *from = codes + row * columns;
    uint8_t *to = (uint8_t *)out + row * size;
    uses_avx2(set) ? pack_row_avx2(from, columns, bits, to) : pack_row(from, columns, bits, to);
  }
}

void pleat_unpack(pleat_instructions set, const void *bytes, ptrdiff_t rows, ptrdiff_t columns,
                  int bits, uint8_t *codes) {
  ptrdiff_t size = row_size(columns, bits);
  for (ptrdiff_t row = 0; row < rows; row++) {
    const uint8_t *from = (const uint8_t *)bytes + row * size;
    uint8_t *to = codes + row * columns;
    uses_avx2(set) ? unpack_row_avx2(from, columns, bits, to)
                      : unpack_row(from, columns, bits, to);
  }
}
