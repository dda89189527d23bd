/*
 * A search for IQ4_NL with smaller errors than llama.cpp's, see ggml_levels.h. The start is the
 * scale of llama.cpp, or the best one of trials of both signs, rounded to half precision. Then the
 * scale is fitted to the levels by least squares, several times.
 */
#ifndef PLEAT_GGML_IQ4_SEARCH_H
#define PLEAT_GGML_IQ4_SEARCH_H

#include "ggml_batch.h"
#include "ggml_levels.h"

/* The best scales so far, one for the block in each lane, with their sums. */
typedef struct {
  lanes x[32], w[32];
  lanes scale;
  level_sums sums;
} iq4_search;

/* Takes scales where they give a smaller error. */
ALWAYS_INLINE void offer_scales(lanes scale, iq4_search *search) {
  for (int k = 0; k < LANES; k++) scale[k] = rounded_to_half(scale[k]);
  level_sums sums = sum_levels(iq4_levels, search->x, search->w, 32, scale);
  int_lanes is_better = sums.error < search->sums.error;
  search->scale = choose(is_better, scale, search->scale);
  search->sums.error = choose(is_better, sums.error, search->sums.error);
  search->sums.products = choose(is_better, sums.products, search->sums.products);
  search->sums.squares = choose(is_better, sums.squares, search->sums.squares);
}

/* Returns the improved scales. They are those of llama.cpp where the squares of values overflow. */
ALWAYS_INLINE lanes search_iq4_nl(weight_rows rows, ptrdiff_t first, small_batch *batch,
                                  lanes found) {
  iq4_search search = {.scale = found, .sums = {all(INFINITY), all(0), all(0)}};
  for (int k = 0; k < batch->count; k++) {
    weigh_by_importance(importance_of(rows, first + k, 32), 32, batch->weights + 32 * k);
  }
  transpose(batch->values, 32, 32, search.x);
  transpose(batch->weights, 32, 32, search.w);
  offer_scales(found, &search);
  offer_scales(scale_of_fit(fit_iq4_levels(search.x, search.w)), &search);
  for (int round = 0; round < rows.search_rounds; round++) {
    level_sums sums = search.sums;
    offer_scales(choose(sums.squares > 0, sums.products / sums.squares, search.scale), &search);
  }
  return search.scale;
}

#endif
