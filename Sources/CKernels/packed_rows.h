/*
 * How matrices are packed for products with one vector. 32 rows are a block, which has its columns
 * one after another. Of codes, it has several columns at once: a word of 16, 8 or 4 codes of each
 * row. The first four codes are in the lowest bits of the bytes of a word, the next four in the
 * bits above them. A group begins with its scales and offsets.
 */
#ifndef PLEAT_PACKED_ROWS_H
#define PLEAT_PACKED_ROWS_H

#include "CKernels.h"
#include "paths.h"

enum { HEIGHT = 32 };

/* The bytes that a number of each row of a block takes. */
ALWAYS_INLINE ptrdiff_t numbers_size(pleat_format format) {
  return HEIGHT * (format == PLEAT_FLOAT32 ? 4 : 2);
}

ALWAYS_INLINE ptrdiff_t block_size(const pleat_packed_groups *groups) {
  ptrdiff_t parameters = numbers_size(groups->format) * (groups->form == PLEAT_CENTERED ? 1 : 2);
  return groups->count * (parameters + groups->size * HEIGHT * groups->bits / 8);
}

#endif
