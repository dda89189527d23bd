#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "search_affine.h"

GROUP_SEARCH(affine)

ptrdiff_t pleat_search_scratch(ptrdiff_t group_size) {
  /* As much as sixteen lanes need. */
  return TILES * 3 * 16 * vector_count(group_size);
}

int64_t pleat_search_affine(pleat_instructions set, const float *values, ptrdiff_t group_count,
                            ptrdiff_t group_size, int bits, pleat_format format,
                            const float *importance, ptrdiff_t groups_per_row, int effort,
                            float *scratch, uint8_t *codes, float *scales, float *biases) {
  int64_t fault = pleat_encode_minmax(set, values, group_count, group_size, bits, format, NULL,
                                      scales, biases);
  if (fault >= 0) return fault;
  search_affine(set, &(search_job){values, group_count, group_size, bits, format, importance,
                                   groups_per_row, effort, scratch, codes, scales, biases});
  return -1;
}
