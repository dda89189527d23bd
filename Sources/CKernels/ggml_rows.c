#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "ggml_iq4.h"
#include "ggml_k_encode.h"
#include "ggml_mxfp4.h"
#include "ggml_q3_k.h"
#include "ggml_q6_k.h"
#include "ggml_small_encode.h"
#include "ggml_ternary.h"
#include "ggml_wide.h"

enum { BLOCK = 32 };

/* The fault for blocks whose numbers depend on the mean square of their row: a value that is not
   finite spoils the scales of other blocks, too, and is the fault itself. */
static int64_t fault_of_row(int64_t fault, weight_rows rows) {
  if (fault < 0 || fault % 2 == 0) return fault;
  const ptrdiff_t start = fault / 2 * BLOCK / rows.column_count * rows.column_count;
  for (ptrdiff_t i = start; i < start + rows.column_count; i++) {
    if (!is_finite(rows.values[i])) return 2 * (i / BLOCK);
  }
  return fault;
}

/* The encoders of all other types. Each returns like pleat_ggml_encode_rows. */
#define ENCODER(name, call)                                                        \
  static int64_t name##_portable(weight_rows rows, uint8_t *out) {                 \
    rows.rounds = PORTABLE_ROUNDS;                                                 \
    return call;                                                                   \
  }                                                                                \
  AVX2_PATH static int64_t name##_avx2(weight_rows rows, uint8_t *out) {           \
    rows.rounds = true;                                                            \
    return call;                                                                   \
  }

ENCODER(q4_0, fault_of_row(encode_small_blocks(4, false, rows, out), rows))
ENCODER(q4_1, fault_of_row(encode_small_blocks(4, true, rows, out), rows))
ENCODER(q5_0, fault_of_row(encode_small_blocks(5, false, rows, out), rows))
ENCODER(q5_1, fault_of_row(encode_small_blocks(5, true, rows, out), rows))
ENCODER(q2_k, encode_q2_k(rows, out))
ENCODER(q3_k, encode_q3_k(rows, out))
ENCODER(q4_k, encode_q4_k(rows, out))
ENCODER(q5_k, encode_q5_k(rows, out))
ENCODER(q6_k, encode_q6_k(rows, out))
ENCODER(iq4_nl, encode_iq4_nl(rows, out))
ENCODER(iq4_xs, encode_iq4_xs(rows, out))
ENCODER(tq1_0, encode_ternary(true, rows, out))
ENCODER(tq2_0, encode_ternary(false, rows, out))
ENCODER(mxfp4, encode_mxfp4(rows, out))

static int64_t encode_rows(pleat_instructions set, uint32_t type, weight_rows rows,
                           uint8_t *out) {
#define CASE(number, name) \
  case number: return uses_avx2(set) ? name##_avx2(rows, out) : name##_portable(rows, out)
  /* Without importance, and in Q8_0, blocks have nothing to do with their rows. */
  const bool stand_alone = type < 8 ? !rows.importance : type == 8;
  if (stand_alone) {
    const ptrdiff_t block_count = rows.row_count * rows.column_count / BLOCK;
    return pleat_ggml_encode_blocks(set, type, rows.values, block_count, out);
  }
  switch (uses_avx512(set) ? type : 0) {
    case 10: if (rows.search_rounds == 0) return pleat_encode_wide_q2_k(rows, out); else break;
    case 11: return pleat_encode_wide_q3_k(rows, out);
    case 12: if (rows.search_rounds == 0) return pleat_encode_wide_q4_k(rows, out); else break;
    case 13: if (rows.search_rounds == 0) return pleat_encode_wide_q5_k(rows, out); else break;
    case 14: return pleat_encode_wide_q6_k(rows, out);
    default: break;
  }
  switch (type) {
    CASE(2, q4_0);
    CASE(3, q4_1);
    CASE(6, q5_0);
    CASE(7, q5_1);
    CASE(10, q2_k);
    CASE(11, q3_k);
    CASE(12, q4_k);
    CASE(13, q5_k);
    CASE(14, q6_k);
    CASE(20, iq4_nl);
    CASE(23, iq4_xs);
    CASE(34, tq1_0);
    CASE(35, tq2_0);
    CASE(39, mxfp4);
    default: return 0;
  }
#undef CASE
}

int64_t pleat_ggml_encode_rows(pleat_instructions set, uint32_t type, const float *values,
                               ptrdiff_t row_count, ptrdiff_t column_count,
                               const float *importance, void *out) {
  return pleat_ggml_search_rows(set, type, 0, values, row_count, column_count, importance, out);
}

int64_t pleat_ggml_search_rows(pleat_instructions set, uint32_t type, int rounds,
                               const float *values, ptrdiff_t row_count, ptrdiff_t column_count,
                               const float *importance, void *out) {
  const weight_rows rows = {values, importance, row_count, column_count, rounds, false};
  return encode_rows(set, type, rows, out);
}
