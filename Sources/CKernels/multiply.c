#pragma STDC FP_CONTRACT OFF

#define LANES 16

#include "CKernels.h"
#include "lanes.h"

/*
 * Matrix products of float32 numbers. Every output is one chain of fused multiply-adds,
 * sum = fma(x[k], w[k], sum) for k = 0, 1, … from 0. So its bits do not depend on tiles, on the
 * number of rows that are multiplied at once, or on the instruction set.
 *
 * The left matrix is packed into blocks of columns, and these into tiles of six rows: the six
 * numbers of a column follow one another. Some rows of the right matrix become a panel of the columns
 * of a block, which stays in the L1 cache while all tiles of the block pass by, one after another in
 * memory. A tile times a panel keeps its sums in registers: for a panel of one vector twelve of AVX2,
 * for one of four 24 of AVX-512.
 */
enum { HEIGHT = 6, MOST = 4 };

/* The columns of a block if the largest panels have one vector, and if they have `MOST`. */
enum { MOST_COLUMNS = 256, FEW_COLUMNS = 128 };

/* The vectors of the largest panels. */
ALWAYS_INLINE int most_vectors(pleat_instructions set) { return uses_avx512(set) ? MOST : 1; }

ALWAYS_INLINE ptrdiff_t block_columns(int most) { return most == 1 ? MOST_COLUMNS : FEW_COLUMNS; }

/* Whole tiles hold so many rows at least. */
ALWAYS_INLINE ptrdiff_t padded(ptrdiff_t rows) { return (rows + HEIGHT - 1) / HEIGHT * HEIGHT; }

/* Eight columns of six rows. */
ALWAYS_INLINE void pack_columns(const float *rows, ptrdiff_t stride, float *out) {
  octet columns[8];
  float copy[8 * 8] = {0};
  for (int r = 0; r < HEIGHT; r++) memcpy(copy + 8 * r, rows + r * stride, 8 * sizeof *rows);
  transpose_octets(copy, 8, 8, columns);
  for (int k = 0; k < 8; k++) memcpy(out + k * HEIGHT, &columns[k], HEIGHT * sizeof *out);
}

/* The tiles of a block of columns. */
ALWAYS_INLINE void pack_block(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t columns,
                              float *out) {
  for (ptrdiff_t first = 0; first < rows; first += HEIGHT) {
    ptrdiff_t height = rows - first < HEIGHT ? rows - first : HEIGHT;
    ptrdiff_t whole = height == HEIGHT ? columns / 8 * 8 : 0;
    for (ptrdiff_t k = 0; k < whole; k += 8) {
      pack_columns(x + first * stride + k, stride, out + k * HEIGHT);
    }
    for (ptrdiff_t r = 0; r < HEIGHT; r++) {
      const float *row = x + (first + r) * stride;
      for (ptrdiff_t k = whole; k < columns; k++) out[k * HEIGHT + r] = r < height ? row[k] : 0;
    }
    out += columns * HEIGHT;
  }
}

ALWAYS_INLINE void pack_tiles(int most, const float *x, ptrdiff_t stride, ptrdiff_t rows,
                              ptrdiff_t columns, float *out) {
  const ptrdiff_t whole = block_columns(most);
  for (ptrdiff_t k = 0; k < columns; k += whole) {
    ptrdiff_t depth = columns - k < whole ? columns - k : whole;
    pack_block(x + k, stride, rows, depth, out + k * padded(rows));
  }
}

/* The first `width` numbers of a row of sums; others are 0. */
ALWAYS_INLINE void load_sums(int vectors, const float *row, ptrdiff_t width, lanes *sums) {
  float copy[MOST * LANES] = {0};
  if (width < vectors * LANES) row = memcpy(copy, row, (size_t)width * sizeof *row);
  for (int v = 0; v < vectors; v++) sums[v] = load_lanes(row + v * LANES);
}

ALWAYS_INLINE void store_sums(int vectors, const lanes *sums, ptrdiff_t width, float *row) {
  float copy[MOST * LANES];
  float *target = width < vectors * LANES ? copy : row;
  for (int v = 0; v < vectors; v++) store_lanes(target + v * LANES, sums[v]);
  if (width < vectors * LANES) memcpy(row, copy, (size_t)width * sizeof *row);
}

/* Columns of `width` rows, with a vector for each of them and each LANES rows. */
typedef struct {
  const float *numbers;
  ptrdiff_t columns, width;
  bool is_first;
} panel;

/* The sums of `height` rows of a tile with a panel. The first panel starts from 0, others go on
   from what `out` has. */
ALWAYS_INLINE void multiply_tile(int vectors, int height, const float *tile, panel panel,
                                 float *out, ptrdiff_t stride) {
  lanes sums[HEIGHT][MOST] = {0};
  if (!panel.is_first) {
    for (int r = 0; r < height; r++) load_sums(vectors, out + r * stride, panel.width, sums[r]);
  }
  for (ptrdiff_t k = 0; k < panel.columns; k++) {
    lanes column[MOST];
    for (int v = 0; v < vectors; v++) {
      column[v] = load_lanes(panel.numbers + (k * vectors + v) * LANES);
    }
    for (int r = 0; r < height; r++) {
      lanes x = all(tile[k * HEIGHT + r]);
      for (int v = 0; v < vectors; v++) sums[r][v] = fused(x, column[v], sums[r][v]);
    }
  }
  for (int r = 0; r < height; r++) store_sums(vectors, sums[r], panel.width, out + r * stride);
}

/* A product of a matrix in tiles with another one, of which `width` rows or columns are used. */
typedef struct {
  const float *tiles;
  ptrdiff_t count, columns;
  const float *right;
  ptrdiff_t right_stride, width;
  float *out;
  ptrdiff_t stride;
} product;

ALWAYS_INLINE void multiply_tiles(int vectors, const product *job, panel panel, const float *tile,
                                  float *out) {
  ptrdiff_t rest = job->count;
  for (; rest >= HEIGHT; rest -= HEIGHT) {
    multiply_tile(vectors, HEIGHT, tile, panel, out, job->stride);
    tile += panel.columns * HEIGHT;
    out += job->stride * HEIGHT;
  }
  switch (rest) {
    case 1: multiply_tile(vectors, 1, tile, panel, out, job->stride); break;
    case 2: multiply_tile(vectors, 2, tile, panel, out, job->stride); break;
    case 3: multiply_tile(vectors, 3, tile, panel, out, job->stride); break;
    case 4: multiply_tile(vectors, 4, tile, panel, out, job->stride); break;
    case 5: multiply_tile(vectors, 5, tile, panel, out, job->stride); break;
    default: break;
  }
}

/* Makes a panel of `depth` columns of `width` rows; missing rows are zeros. */
ALWAYS_INLINE void fill_with_rows(int vectors, const float *rows, ptrdiff_t stride,
                                  ptrdiff_t width, ptrdiff_t depth, float *out) {
  const ptrdiff_t full = vectors * LANES;
  ptrdiff_t whole = 0;
  if (width == full) {
    whole = depth / 8 * 8;
    for (ptrdiff_t j = 0; j < full; j += 8) {
      for (ptrdiff_t k = 0; k < whole; k += 8) {
        octet columns[8];
        transpose_octets(rows + j * stride + k, stride, 8, columns);
        for (int i = 0; i < 8; i++) {
          memcpy(out + (k + i) * full + j, &columns[i], sizeof columns[i]);
        }
      }
    }
  }
  for (ptrdiff_t k = whole; k < depth; k++) {
    for (ptrdiff_t j = 0; j < full; j++) out[k * full + j] = j < width ? rows[j * stride + k] : 0;
  }
}

/* Makes a panel of `depth` rows of `width` columns; missing columns are zeros. */
ALWAYS_INLINE void fill_with_columns(int vectors, const float *columns, ptrdiff_t stride,
                                     ptrdiff_t width, ptrdiff_t depth, float *out) {
  for (ptrdiff_t k = 0; k < depth; k++, columns += stride, out += vectors * LANES) {
    lanes row[MOST];
    load_sums(vectors, columns, width, row);
    for (int v = 0; v < vectors; v++) store_lanes(out + v * LANES, row[v]);
  }
}

/* The products of a block of `depth` columns, from `k` on, with the rows or columns `first` to
   `end`. */
ALWAYS_INLINE void multiply_panels(int vectors, bool by_rows, const product *job, ptrdiff_t k,
                                   ptrdiff_t depth, ptrdiff_t first, ptrdiff_t end) {
  const ptrdiff_t full = vectors * LANES, stride = job->right_stride;
  const float *tiles = job->tiles + k * padded(job->count);
  _Alignas(64) float numbers[FEW_COLUMNS * MOST * LANES];
  for (ptrdiff_t j = first; j < end; j += full) {
    ptrdiff_t width = end - j < full ? end - j : full;
    by_rows
        ? fill_with_rows(vectors, job->right + j * stride + k, stride, width, depth, numbers)
        : fill_with_columns(vectors, job->right + k * stride + j, stride, width, depth, numbers);
    multiply_tiles(vectors, job, (panel){numbers, depth, width, k == 0}, tiles, job->out + j);
  }
}

/* Panels of `most` vectors, and of one for the rest, block by block. */
ALWAYS_INLINE void multiply(int most, bool by_rows, const product *job) {
  const ptrdiff_t wide = most > 1 ? job->width - job->width % (most * LANES) : 0;
  const ptrdiff_t whole = block_columns(most);
  for (ptrdiff_t k = 0; k < job->columns; k += whole) {
    ptrdiff_t depth = job->columns - k < whole ? job->columns - k : whole;
    if (most > 1) multiply_panels(most, by_rows, job, k, depth, 0, wide);
    multiply_panels(1, by_rows, job, k, depth, wide, job->width);
  }
}

AVX2_PATH static void multiply_avx2(bool by_rows, const product *job) {
  by_rows ? multiply(1, true, job) : multiply(1, false, job);
}

AVX512_PATH static void multiply_avx512(bool by_rows, const product *job) {
  by_rows ? multiply(MOST, true, job) : multiply(MOST, false, job);
}

static void multiply_portable(bool by_rows, const product *job) {
  by_rows ? multiply(1, true, job) : multiply(1, false, job);
}

static void multiply_on(pleat_instructions set, bool by_rows, const product *job) {
  uses_avx512(set) ? multiply_avx512(by_rows, job)
  : uses_avx2(set) ? multiply_avx2(by_rows, job)
                   : multiply_portable(by_rows, job);
}

AVX2_PATH static void pack_tiles_avx2(int most, const float *x, ptrdiff_t stride, ptrdiff_t rows,
                                      ptrdiff_t columns, float *out) {
  pack_tiles(most, x, stride, rows, columns, out);
}

void pleat_pack_tiles(pleat_instructions set, const float *x, ptrdiff_t stride, ptrdiff_t rows,
                      ptrdiff_t columns, float *out) {
  int most = most_vectors(set);
  uses_avx2(set) ? pack_tiles_avx2(most, x, stride, rows, columns, out)
                 : pack_tiles(most, x, stride, rows, columns, out);
}

void pleat_multiply_rows(pleat_instructions set, const float *packed, ptrdiff_t count,
                         ptrdiff_t columns, const float *rows, ptrdiff_t row_stride,
                         ptrdiff_t row_count, float *out, ptrdiff_t out_stride) {
  multiply_on(set, true, &(product){packed, count, columns, rows, row_stride, row_count, out,
                                    out_stride});
}

void pleat_multiply_columns(pleat_instructions set, const float *packed, ptrdiff_t count,
                            ptrdiff_t depth_count, const float *right, ptrdiff_t right_stride,
                            ptrdiff_t columns, float *out, ptrdiff_t out_stride) {
  multiply_on(set, false, &(product){packed, count, depth_count, right, right_stride, columns, out,
                                     out_stride});
}
