#pragma STDC FP_CONTRACT OFF

#include <math.h>

#include "CKernels.h"
#include "half.h"

/*
 * The product is computed in panels: some columns of `right` times some rows of `left`. The columns
 * are copied, so that they are contiguous and stay in the L1 cache whatever the length of a row.
 * Within a panel, a tile of rows and columns keeps its sums in eight registers of eight lanes over
 * all k of the panel. Lanes past the last column are zeros, and rows past the last one repeat it.
 * The sums of such lanes and rows are never written.
 */

typedef float f32x8 __attribute__((vector_size(32)));

enum {
  WIDTH = 64,  /* the largest number of columns in a panel, whole tiles */
  DEPTH = 64,  /* the largest number of k in a panel */
  HEIGHT = 64, /* the largest number of rows whose sums are kept between panels, whole tiles */
};

typedef struct {
  float right[DEPTH][WIDTH];
  float sums[HEIGHT][WIDTH];
} panel_state;

/* sums = sums + left * right, for a tile of `height` rows and 8 * vectors columns; height * vectors
   is 8. The first run of k starts from 0. `left` has `rows` rows from here, which may be fewer than
   `height`. */
ALWAYS_INLINE void multiply_tile(const float *left, ptrdiff_t rank, ptrdiff_t rows,
                                 const float *right, ptrdiff_t depth, bool first, float *sums,
                                 int height, int vectors) {
  f32x8 tile[8] = {0};
  const float *row[8];
  for (int r = 0; r < height; r++) {
    row[r] = left + (r < rows ? r : rows - 1) * rank;
    for (int v = 0; v < vectors && !first; v++) {
      memcpy(&tile[r * vectors + v], sums + r * WIDTH + 8 * v, sizeof *tile);
    }
  }
  for (ptrdiff_t k = 0; k < depth; k++) {
    for (int r = 0; r < height; r++) {
      const float w = row[r][k];
      for (int v = 0; v < vectors; v++) {
        f32x8 lanes;
        memcpy(&lanes, right + k * WIDTH + 8 * v, sizeof lanes);
        tile[r * vectors + v] += w * lanes;
      }
    }
  }
  for (int r = 0; r < height; r++) {
    for (int v = 0; v < vectors; v++) {
      memcpy(sums + r * WIDTH + 8 * v, &tile[r * vectors + v], sizeof *tile);
    }
  }
}

ALWAYS_INLINE void multiply_tiles(const float *left, ptrdiff_t rank, ptrdiff_t rows,
                                  const float *right, ptrdiff_t depth, bool first, float *sums,
                                  int height, int vectors) {
  for (ptrdiff_t i = 0; i < rows; i += height) {
    multiply_tile(left + i * rank, rank, rows - i, right, depth, first, sums + i * WIDTH, height,
                  vectors);
  }
}

ALWAYS_INLINE void multiply_panel(const float *left, ptrdiff_t rank, ptrdiff_t rows,
                                  ptrdiff_t width, ptrdiff_t depth, bool first,
                                  panel_state *panel) {
  for (ptrdiff_t j = 0; j < width; j += 32) {
    const float *right = panel->right[0] + j;
    float *sums = panel->sums[0] + j;
    if (width - j > 16) {
      multiply_tiles(left, rank, rows, right, depth, first, sums, 2, 4);
    } else if (width - j > 8) {
      multiply_tiles(left, rank, rows, right, depth, first, sums, 4, 2);
    } else {
      multiply_tiles(left, rank, rows, right, depth, first, sums, 8, 1);
    }
  }
}

ALWAYS_INLINE void fill_panel(const float *right, ptrdiff_t columns, ptrdiff_t width,
                              ptrdiff_t depth, panel_state *panel) {
  for (ptrdiff_t k = 0; k < depth; k++) {
    memcpy(panel->right[k], right + k * columns, (size_t)width * sizeof *right);
    memset(panel->right[k] + width, 0, (size_t)(WIDTH - width) * sizeof *right);
  }
}

/* All NaN results get the same bits: which operand's payload survives is not specified. */
ALWAYS_INLINE void add_row(const float *restrict sums, float scale, ptrdiff_t width,
                           float *restrict delta) {
  for (ptrdiff_t j = 0; j < width; j++) {
    float sum = delta[j] + scale * sums[j];
    delta[j] = sum == sum ? sum : NAN;
  }
}

ALWAYS_INLINE void add_rows(const panel_state *panel, float scale, ptrdiff_t rows, ptrdiff_t width,
                            ptrdiff_t columns, float *delta) {
  for (ptrdiff_t i = 0; i < rows; i++) {
    if (width == WIDTH) {
      add_row(panel->sums[i], scale, WIDTH, delta + i * columns);
    } else {
      add_row(panel->sums[i], scale, width, delta + i * columns);
    }
  }
}

ALWAYS_INLINE void add_low_rank(const float *left, const float *right, ptrdiff_t rows,
                                ptrdiff_t columns, ptrdiff_t rank, float scale, float *delta) {
  panel_state panel;
  for (ptrdiff_t j = 0; j < columns; j += WIDTH) {
    ptrdiff_t width = columns - j < WIDTH ? columns - j : WIDTH;
    for (ptrdiff_t i = 0; i < rows; i += HEIGHT) {
      ptrdiff_t height = rows - i < HEIGHT ? rows - i : HEIGHT;
      for (ptrdiff_t k = 0; k < rank; k += DEPTH) {
        ptrdiff_t depth = rank - k < DEPTH ? rank - k : DEPTH;
        /* If one panel covers all k, the next rows find it filled. */
        if (i == 0 || rank > DEPTH) {
          fill_panel(right + k * columns + j, columns, width, depth, &panel);
        }
        multiply_panel(left + i * rank + k, rank, height, width, depth, k == 0, &panel);
      }
      add_rows(&panel, scale, height, width, columns, delta + i * columns + j);
    }
  }
}

AVX2_PATH static void add_low_rank_avx2(const float *left, const float *right, ptrdiff_t rows,
                                        ptrdiff_t columns, ptrdiff_t rank, float scale,
                                        float *delta) {
  add_low_rank(left, right, rows, columns, rank, scale, delta);
}

void pleat_add_low_rank(pleat_instructions set, const float *left, const float *right,
                        ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t rank, float scale,
                        float *delta) {
  if (rank == 0) return;
  uses_avx2(set) ? add_low_rank_avx2(left, right, rows, columns, rank, scale, delta)
                    : add_low_rank(left, right, rows, columns, rank, scale, delta);
}
