#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "lanes.h"

/*
 * Matrix products of float32 numbers. Every output is one chain of fused multiply-adds,
 * sum = fma(x[k], w[k], sum) for k = 0, 1, … from 0. So its bits do not depend on tiles, on the
 * number of rows that are multiplied at once, or on the instruction set.
 *
 * The left matrix is packed into tiles of six rows: the six numbers of a column follow one another.
 * Sixteen rows of the right matrix become a panel of at most 256 columns, which stays in the L1
 * cache while all tiles pass by. A tile times a panel keeps its sums in twelve registers.
 */
enum { HEIGHT = 6, WIDTH = 16, DEPTH = 256 };

void pleat_pack_tiles(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t columns,
                      float *out) {
  for (ptrdiff_t first = 0; first < rows; first += HEIGHT) {
    ptrdiff_t height = rows - first < HEIGHT ? rows - first : HEIGHT;
    for (ptrdiff_t r = 0; r < HEIGHT; r++) {
      const float *row = x + (first + r) * stride;
      for (ptrdiff_t k = 0; k < columns; k++) out[k * HEIGHT + r] = r < height ? row[k] : 0;
    }
    out += columns * HEIGHT;
  }
}

/* The first `width` numbers of a row of sums; others are 0. */
ALWAYS_INLINE void load_sums(const float *row, ptrdiff_t width, lanes sums[2]) {
  float copy[WIDTH] = {0};
  if (width < WIDTH) row = memcpy(copy, row, (size_t)width * sizeof *row);
  sums[0] = load_lanes(row);
  sums[1] = load_lanes(row + LANES);
}

ALWAYS_INLINE void store_sums(const lanes sums[2], ptrdiff_t width, float *row) {
  float copy[WIDTH];
  float *target = width < WIDTH ? copy : row;
  store_lanes(target, sums[0]);
  store_lanes(target + LANES, sums[1]);
  if (width < WIDTH) memcpy(row, copy, (size_t)width * sizeof *row);
}

/* The sums of `height` rows of a tile, of `depth` columns, with a panel. The first columns start
   from 0, others go on from what `out` has. */
ALWAYS_INLINE void multiply_tile(const float *tile, const float (*panel)[WIDTH], ptrdiff_t depth,
                                 bool is_first, float *out, ptrdiff_t stride, int height,
                                 ptrdiff_t width) {
  lanes sums[HEIGHT][2] = {0};
  if (!is_first) {
    for (int r = 0; r < height; r++) load_sums(out + r * stride, width, sums[r]);
  }
  for (ptrdiff_t k = 0; k < depth; k++) {
    lanes low = load_lanes(panel[k]), high = load_lanes(panel[k] + LANES);
    for (int r = 0; r < height; r++) {
      lanes x = all(tile[k * HEIGHT + r]);
      sums[r][0] = fused(x, low, sums[r][0]);
      sums[r][1] = fused(x, high, sums[r][1]);
    }
  }
  for (int r = 0; r < height; r++) store_sums(sums[r], width, out + r * stride);
}

ALWAYS_INLINE void multiply_tiles(const float *packed, ptrdiff_t rows, ptrdiff_t columns,
                                  const float (*panel)[WIDTH], ptrdiff_t depth, bool is_first,
                                  float *out, ptrdiff_t stride, ptrdiff_t width) {
  for (; rows >= HEIGHT; rows -= HEIGHT) {
    multiply_tile(packed, panel, depth, is_first, out, stride, HEIGHT, width);
    packed += columns * HEIGHT;
    out += stride * HEIGHT;
  }
  switch (rows) {
    case 1: multiply_tile(packed, panel, depth, is_first, out, stride, 1, width); break;
    case 2: multiply_tile(packed, panel, depth, is_first, out, stride, 2, width); break;
    case 3: multiply_tile(packed, panel, depth, is_first, out, stride, 3, width); break;
    case 4: multiply_tile(packed, panel, depth, is_first, out, stride, 4, width); break;
    case 5: multiply_tile(packed, panel, depth, is_first, out, stride, 5, width); break;
    default: break;
  }
}

/* Makes a panel of `depth` columns of `width` rows; missing rows are zeros. */
ALWAYS_INLINE void fill_panel(const float *rows, ptrdiff_t stride, ptrdiff_t width,
                              ptrdiff_t depth, float (*panel)[WIDTH]) {
  ptrdiff_t whole = 0;
  if (width == WIDTH) {
    whole = depth / LANES * LANES;
    lanes columns[DEPTH];
    for (int half = 0; half < WIDTH; half += LANES) {
      transpose(rows + half * stride, stride, (int)whole, columns);
      for (ptrdiff_t k = 0; k < whole; k++) store_lanes(panel[k] + half, columns[k]);
    }
  }
  for (ptrdiff_t k = whole; k < depth; k++) {
    for (ptrdiff_t j = 0; j < WIDTH; j++) panel[k][j] = j < width ? rows[j * stride + k] : 0;
  }
}

ALWAYS_INLINE void multiply_rows(const float *packed, ptrdiff_t count, ptrdiff_t columns,
                                 const float *rows, ptrdiff_t row_stride, ptrdiff_t row_count,
                                 float *out, ptrdiff_t out_stride) {
  float panel[DEPTH][WIDTH];
  for (ptrdiff_t j = 0; j < row_count; j += WIDTH) {
    ptrdiff_t width = row_count - j < WIDTH ? row_count - j : WIDTH;
    for (ptrdiff_t k = 0; k < columns; k += DEPTH) {
      ptrdiff_t depth = columns - k < DEPTH ? columns - k : DEPTH;
      fill_panel(rows + j * row_stride + k, row_stride, width, depth, panel);
      multiply_tiles(packed + k * HEIGHT, count, columns, panel, depth, k == 0, out + j,
                     out_stride, width);
    }
  }
}

AVX2_PATH static void multiply_rows_avx2(const float *packed, ptrdiff_t count, ptrdiff_t columns,
                                         const float *rows, ptrdiff_t row_stride,
                                         ptrdiff_t row_count, float *out, ptrdiff_t out_stride) {
  multiply_rows(packed, count, columns, rows, row_stride, row_count, out, out_stride);
}

void pleat_multiply_rows(pleat_instructions set, const float *packed, ptrdiff_t count,
                         ptrdiff_t columns, const float *rows, ptrdiff_t row_stride,
                         ptrdiff_t row_count, float *out, ptrdiff_t out_stride) {
  uses_avx2(set)
      ? multiply_rows_avx2(packed, count, columns, rows, row_stride, row_count, out, out_stride)
      : multiply_rows(packed, count, columns, rows, row_stride, row_count, out, out_stride);
}

ALWAYS_INLINE void multiply_columns(const float *packed, ptrdiff_t count, ptrdiff_t depth_count,
                                    const float *right, ptrdiff_t right_stride, ptrdiff_t columns,
                                    float *out, ptrdiff_t out_stride) {
  float panel[DEPTH][WIDTH] = {0};
  for (ptrdiff_t j = 0; j < columns; j += WIDTH) {
    ptrdiff_t width = columns - j < WIDTH ? columns - j : WIDTH;
    for (ptrdiff_t k = 0; k < depth_count; k += DEPTH) {
      ptrdiff_t depth = depth_count - k < DEPTH ? depth_count - k : DEPTH;
      for (ptrdiff_t i = 0; i < depth; i++) {
        const float *row = right + (k + i) * right_stride + j;
        if (width == WIDTH) {
          store_lanes(panel[i], load_lanes(row));
          store_lanes(panel[i] + LANES, load_lanes(row + LANES));
        } else {
          memcpy(panel[i], row, (size_t)width * sizeof *row);
        }
      }
      multiply_tiles(packed + k * HEIGHT, count, depth_count, panel, depth, k == 0, out + j,
                     out_stride, width);
    }
  }
}

AVX2_PATH static void multiply_columns_avx2(const float *packed, ptrdiff_t count,
                                            ptrdiff_t depth_count, const float *right,
                                            ptrdiff_t right_stride, ptrdiff_t columns, float *out,
                                            ptrdiff_t out_stride) {
  multiply_columns(packed, count, depth_count, right, right_stride, columns, out, out_stride);
}

void pleat_multiply_columns(pleat_instructions set, const float *packed, ptrdiff_t count,
                            ptrdiff_t depth_count, const float *right, ptrdiff_t right_stride,
                            ptrdiff_t columns, float *out, ptrdiff_t out_stride) {
  uses_avx2(set)
      ? multiply_columns_avx2(packed, count, depth_count, right, right_stride, columns, out,
                              out_stride)
      : multiply_columns(packed, count, depth_count, right, right_stride, columns, out, out_stride);
}
