#pragma STDC FP_CONTRACT OFF

#include "CKernels.h"
#include "search_centered.h"

GROUP_SEARCH(symmetric)
GROUP_SEARCH(zero_point)

int64_t pleat_search_symmetric(pleat_instructions set, const float *values, ptrdiff_t group_count,
                               ptrdiff_t group_size, int bits, pleat_format format,
                               const float *importance, ptrdiff_t groups_per_row, int effort,
                               float *scratch, uint8_t *codes, float *scales) {
  int64_t fault =
      pleat_encode_symmetric(set, values, group_count, group_size, bits, format, NULL, scales);
  if (fault >= 0) return fault;
  search_symmetric(set, &(search_job){values, group_count, group_size, bits, format, importance,
                                      groups_per_row, effort, scratch, codes, scales, NULL});
  return -1;
}

int64_t pleat_search_zero_point(pleat_instructions set, const float *values, ptrdiff_t group_count,
                                ptrdiff_t group_size, int bits, pleat_format format,
                                const float *importance, ptrdiff_t groups_per_row, int effort,
                                float *scratch, uint8_t *codes, float *scales, float *zeros) {
  int64_t fault = pleat_encode_zero_point(set, values, group_count, group_size, bits, format,
                                          NULL, scales, zeros);
  if (fault >= 0) return fault;
  search_zero_point(set, &(search_job){values, group_count, group_size, bits, format, importance,
                                       groups_per_row, effort, scratch, codes, scales, zeros});
  return -1;
}
