#pragma STDC FP_CONTRACT OFF

#define LANES 16

#include "search_affine.h"

AVX512_PATH void pleat_search_wide_affine(const search_job *job) { affine_groups(job, true); }
