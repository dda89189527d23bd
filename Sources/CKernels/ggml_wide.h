/*
 * Encoders of ggml_rows.c with sixteen lanes, for processors with AVX-512. They return like
 * pleat_ggml_encode_rows, and give the same bits as those with eight lanes.
 */
#ifndef PLEAT_GGML_WIDE_H
#define PLEAT_GGML_WIDE_H

#include "ggml_lanes.h"

int64_t pleat_encode_wide_q3_k(weight_rows rows, uint8_t *out);
int64_t pleat_encode_wide_q6_k(weight_rows rows, uint8_t *out);

/* Blocks of llama.cpp only: `search_rounds` is 0. The search of Q4_K and Q5_K has eight lanes, the
   sub-blocks of a block. */
int64_t pleat_encode_wide_q2_k(weight_rows rows, uint8_t *out);
int64_t pleat_encode_wide_q4_k(weight_rows rows, uint8_t *out);
int64_t pleat_encode_wide_q5_k(weight_rows rows, uint8_t *out);

#endif
