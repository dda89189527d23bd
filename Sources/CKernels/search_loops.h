/*
 * The loops of the searches over groups, for each instruction set.
 */
#ifndef PLEAT_SEARCH_LOOPS_H
#define PLEAT_SEARCH_LOOPS_H

#include "search.h"

/* Makes the loops of a search from `improve`, which searches two tiles that start with two groups.
   The compiler generates separate code for lanes of groups and for spread groups, with and without
   weights, and for each instruction set. A tile without a pair is searched twice. */
#define SEARCH_LOOPS(name, improve)                                                            \
  ALWAYS_INLINE void name##_tiles(const search_job *job, search_kind kind) {                   \
    const ptrdiff_t step = kind.spread ? 1 : LANES, count = job->group_count;                  \
    for (ptrdiff_t k = 0; k < count; k += TILES * step) {                                      \
      const ptrdiff_t firsts[TILES] = {k, k + step < count ? k + step : k};                    \
      improve(job, kind, firsts);                                                              \
    }                                                                                          \
  }                                                                                            \
                                                                                               \
  /* A group in each lane. */                                                                  \
  ALWAYS_INLINE void name##_groups(const search_job *job, bool rounds) {                       \
    if (job->importance) {                                                                     \
      name##_tiles(job, (search_kind){rounds, false, true});                                   \
    } else {                                                                                   \
      name##_tiles(job, (search_kind){rounds, false, false});                                  \
    }                                                                                          \
  }                                                                                            \
                                                                                               \
  ALWAYS_INLINE void name##_spread_groups(const search_job *job, bool rounds) {                \
    if (job->importance || job->group_size % LANES != 0) {                                     \
      name##_tiles(job, (search_kind){rounds, true, true});                                    \
    } else {                                                                                   \
      name##_tiles(job, (search_kind){rounds, true, false});                                   \
    }                                                                                          \
  }

/* Makes search_NAME for all instruction sets. Spread groups have eight lanes with each of them. */
#define GROUP_SEARCH(name)                                                                     \
  AVX2_PATH static void name##_avx2(const search_job *job) {                                   \
    job->group_size < LONG_GROUP ? name##_groups(job, true) : name##_spread_groups(job, true); \
  }                                                                                            \
                                                                                               \
  static void name##_portable(const search_job *job) {                                         \
    const bool rounds = PORTABLE_ROUNDS;                                                       \
    job->group_size < LONG_GROUP ? name##_groups(job, rounds)                                  \
                                 : name##_spread_groups(job, rounds);                          \
  }                                                                                            \
                                                                                               \
  static void search_##name(pleat_instructions set, const search_job *job) {                   \
    if (uses_avx512(set) && job->group_size < LONG_GROUP) {                                    \
      pleat_search_wide_##name(job);                                                           \
    } else if (uses_avx2(set)) {                                                               \
      name##_avx2(job);                                                                        \
    } else {                                                                                   \
      name##_portable(job);                                                                    \
    }                                                                                          \
  }

/* The same with sixteen lanes, for processors with AVX-512: the same bits, for groups in lanes. */
void pleat_search_wide_affine(const search_job *job);
void pleat_search_wide_symmetric(const search_job *job);
void pleat_search_wide_zero_point(const search_job *job);

#endif
