#pragma STDC FP_CONTRACT OFF

#define LANES 16

#include "search_centered.h"

AVX512_PATH void pleat_search_wide_symmetric(const search_job *job) {
  symmetric_groups(job, true);
}

AVX512_PATH void pleat_search_wide_zero_point(const search_job *job) {
  zero_point_groups(job, true);
}
