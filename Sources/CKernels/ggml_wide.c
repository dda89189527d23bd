#pragma STDC FP_CONTRACT OFF

#define LANES 16

#include "ggml_k_encode.h"
#include "ggml_q3_k.h"
#include "ggml_q6_k.h"
#include "ggml_wide.h"

#define ENCODER(name, rounds_of_search)                                             \
  AVX512_PATH int64_t pleat_encode_wide_##name(weight_rows rows, uint8_t *out) {    \
    rows.rounds = true;                                                             \
    rows.search_rounds = rounds_of_search;                                          \
    return encode_##name(rows, out);                                                \
  }

ENCODER(q2_k, 0)
ENCODER(q3_k, rows.search_rounds)
ENCODER(q4_k, 0)
ENCODER(q5_k, 0)
ENCODER(q6_k, rows.search_rounds)
