#include <string.h>

#include "CKernels.h"
#include "paths.h"

/* With a constant width, the compiler turns each copy into a single move. */
ALWAYS_INLINE void copy_of_width(const uint8_t *restrict from, ptrdiff_t from_stride,
                                 uint8_t *restrict to, ptrdiff_t to_stride, ptrdiff_t count,
                                 size_t width) {
  for (ptrdiff_t i = 0; i < count; i++) memcpy(to + i * to_stride, from + i * from_stride, width);
}

void pleat_copy_fields(const void *from, ptrdiff_t from_stride, void *to, ptrdiff_t to_stride,
                       ptrdiff_t count, ptrdiff_t width) {
  if (from_stride == width && to_stride == width) {
    memcpy(to, from, (size_t)(count * width));
  } else if (width == 2) {
    copy_of_width(from, from_stride, to, to_stride, count, 2);
  } else if (width == 4) {
    copy_of_width(from, from_stride, to, to_stride, count, 4);
  } else {
    copy_of_width(from, from_stride, to, to_stride, count, (size_t)width);
  }
}

ALWAYS_INLINE bool same_around(const uint8_t *left, const uint8_t *right, ptrdiff_t count,
                               size_t stride, size_t start, size_t end) {
  for (ptrdiff_t i = 0; i < count; i++, left += stride, right += stride) {
    if (memcmp(left, right, start) != 0 || memcmp(left + end, right + end, stride - end) != 0) {
      return false;
    }
  }
  return true;
}

bool pleat_same_around_fields(const void *left, const void *right, ptrdiff_t count,
                              ptrdiff_t stride, ptrdiff_t offset, ptrdiff_t width) {
  size_t start = (size_t)offset, end = (size_t)(offset + width);
  if (stride == width) return true;
  /* Constants for the blocks of Q4_1 and Q5_1. */
  if (start == 2 && end == 4 && stride == 20) return same_around(left, right, count, 20, 2, 4);
  if (start == 2 && end == 4 && stride == 24) return same_around(left, right, count, 24, 2, 4);
  return same_around(left, right, count, (size_t)stride, start, end);
}
