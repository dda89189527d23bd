#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "ggml_k.h"
#include "group.h"

/*
 * A sub-block of Q2_K, Q4_K and Q5_K subtracts its minimum: a small integer times the
 * half-precision step of the block. Adding a number to the weights of a sub-block changes that
 * product only, so the step and the integers of a block are chosen anew, and all codes and scales
 * stay.
 */

enum { MOST_SUB_BLOCKS = 16 };

typedef struct {
  int count, top;                  /* sub-blocks, and the largest integer */
  ptrdiff_t byte_count, step_at;   /* of a block, and of its step within it */
} layout;

typedef struct {
  float step, error;
  uint8_t integers[MOST_SUB_BLOCKS];
} choice;

/* The integers of all sub-blocks for a step, and the sum of the squared errors. */
ALWAYS_INLINE void choose_integers(const float *wanted, layout form, choice *found) {
  found->error = 0;
  for (int s = 0; s < form.count; s++) {
    float quotient = found->step != 0 ? wanted[s] / found->step : 0;
    quotient = quotient > 0 ? quotient : 0;
    quotient = quotient < (float)form.top ? quotient : (float)form.top;
    found->integers[s] = (uint8_t)bits_of_float(quotient + 0x1.8p23f);
    float miss = wanted[s] - found->step * (float)found->integers[s];
    found->error += miss * miss;
  }
}

/* Takes the choice with a step, rounded to a half, if its error is smaller. */
ALWAYS_INLINE void try_step(const float *wanted, layout form, float step, choice *best) {
  choice found;
  round_to_format(&step, 1, PLEAT_FLOAT16);
  if (!is_finite(step)) return;
  found.step = step;
  choose_integers(wanted, form, &found);
  if (found.error < best->error) *best = found;
}

/* The step that fits the integers of a choice best; 0 if all of them are 0. */
ALWAYS_INLINE float fitted_step(const float *wanted, layout form, const choice *from) {
  float products = 0, squares = 0;
  for (int s = 0; s < form.count; s++) {
    float integer = (float)from->integers[s];
    products += wanted[s] * integer;
    squares += integer * integer;
  }
  return squares > 0 ? products / squares : 0;
}

/* Chooses step and integers for the wanted products. A step may be negative. `best` is the choice
   to begin with. */
ALWAYS_INLINE void choose(const float *wanted, layout form, choice *best) {
  for (int sign = 1; sign >= -1; sign -= 2) {
    float largest = 0;
    for (int s = 0; s < form.count; s++) {
      float value = (float)sign * wanted[s];
      largest = value > largest ? value : largest;
    }
    if (!(largest > 0)) continue;
    for (int trial = -4; trial <= 8; trial++) {
      choice start;
      start.step = (float)sign * largest / ((float)form.top + 0.25f * (float)trial);
      choose_integers(wanted, form, &start);
      try_step(wanted, form, start.step, best);
      try_step(wanted, form, fitted_step(wanted, form, &start), best);
    }
  }
}

/* The integers of the minima in the bytes of a block; see ggml_k.h for the layouts. */
ALWAYS_INLINE void load_integers(uint32_t type, const uint8_t *block, uint8_t *integers) {
  if (type == 10) {
    for (int s = 0; s < 16; s++) integers[s] = block[s] >> 4;
    return;
  }
  for (int s = 0; s < 8; s++) {
    int scale, minimum;
    scale_and_minimum(block + 4, s, &scale, &minimum);
    integers[s] = (uint8_t)minimum;
  }
}

ALWAYS_INLINE void store_integers(uint32_t type, const uint8_t *integers, uint8_t *block) {
  if (type == 10) {
    for (int s = 0; s < 16; s++) block[s] = (uint8_t)((block[s] & 15) | integers[s] << 4);
    return;
  }
  uint8_t *packed = block + 4;
  for (int s = 0; s < 4; s++) {
    packed[s + 4] = (uint8_t)((integers[s] & 63) | integers[s + 4] >> 4 << 6);
    packed[s + 8] = (uint8_t)((packed[s + 8] & 15) | integers[s + 4] << 4);
  }
}

ALWAYS_INLINE void move_minima(uint32_t type, layout form, uint8_t *restrict blocks,
                               ptrdiff_t block_count, const float *restrict delta) {
  for (ptrdiff_t k = 0; k < block_count; k++) {
    uint8_t *block = blocks + k * form.byte_count;
    const float *change = delta + k * form.count;
    bool changes = false;
    for (int s = 0; s < form.count; s++) changes |= change[s] != 0;
    if (!changes) continue;
    choice best;
    float wanted[MOST_SUB_BLOCKS];
    load_integers(type, block, best.integers);
    best.step = load_f16(block + form.step_at);
    for (int s = 0; s < form.count; s++) {
      wanted[s] = best.step * (float)best.integers[s] - change[s];
    }
    choose_integers(wanted, form, &best);
    choose(wanted, form, &best);
    store_f16(block + form.step_at, best.step);
    store_integers(type, best.integers, block);
  }
}

ALWAYS_INLINE bool move(uint32_t type, uint8_t *blocks, ptrdiff_t block_count,
                        const float *delta) {
  switch (type) {
    case 10: move_minima(10, (layout){16, 15, 84, 82}, blocks, block_count, delta); return true;
    case 12: move_minima(12, (layout){8, 63, 144, 2}, blocks, block_count, delta); return true;
    case 13: move_minima(13, (layout){8, 63, 176, 2}, blocks, block_count, delta); return true;
    default: return false;
  }
}

AVX2_PATH static bool move_avx2(uint32_t type, uint8_t *blocks, ptrdiff_t block_count,
                                const float *delta) {
  return move(type, blocks, block_count, delta);
}

bool pleat_ggml_move_minima(pleat_instructions set, uint32_t type, void *blocks,
                            ptrdiff_t block_count, const float *delta) {
  return uses_avx2(set) ? move_avx2(type, blocks, block_count, delta)
                           : move(type, blocks, block_count, delta);
}
