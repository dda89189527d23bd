/*
 * Loops over every weight. They work on plain pointers, and have no state and allocate nothing.
 *
 * The first argument of each function is the instruction set. All sets give the same bits.
 * No function checks its arguments; the Swift wrappers in Kernels do. A pointer may be null if its
 * count is zero. "Bytes" may have any alignment and are little-endian. The host must be
 * little-endian too. Floating point is in the default environment: it rounds to nearest even and
 * keeps subnormals.
 */
#ifndef PLEAT_CKERNELS_H
#define PLEAT_CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each set includes those before it. */
typedef enum { PLEAT_PORTABLE, PLEAT_AVX2, PLEAT_AVX512 } pleat_instructions;

/* Whether this machine has the instructions. PLEAT_AVX2 means AVX2, FMA, F16C, SSE4.2 and
   PCLMULQDQ. PLEAT_AVX512 means these and F, VL, BW, DQ and VBMI2 of AVX-512, which Ice Lake, Zen 4
   and later machines have. */
bool pleat_has_instructions(pleat_instructions set);

/* half.c: `count` is the number of values. */

void pleat_f16_to_f32(pleat_instructions set, const void *bytes, ptrdiff_t count, float *out);
void pleat_bf16_to_f32(pleat_instructions set, const void *bytes, ptrdiff_t count, float *out);
void pleat_f64_to_f32(pleat_instructions set, const void *bytes, ptrdiff_t count, float *out);
void pleat_f32_to_f16(pleat_instructions set, const float *values, ptrdiff_t count, void *out);
void pleat_f32_to_bf16(pleat_instructions set, const float *values, ptrdiff_t count, void *out);
void pleat_f32_to_f64(pleat_instructions set, const float *values, ptrdiff_t count, void *out);

/* pack.c: codes are one per byte and below 2^bits; bits is 1 to 8. A packed row is a whole number
   of 32-bit words: 4 * ceil(columns * bits / 32) bytes. */

void pleat_pack(pleat_instructions set, const uint8_t *codes, ptrdiff_t rows, ptrdiff_t columns,
                int bits, void *out);
void pleat_unpack(pleat_instructions set, const void *bytes, ptrdiff_t rows, ptrdiff_t columns,
                  int bits, uint8_t *codes);

/* lines.c: the same bit stream, packed down columns. Word k of each row is in stripe k. In a stripe
   the words of the rows follow one another. Stripes start `distance` bytes apart. columns * bits is
   a multiple of 32. */

void pleat_pack_lines(pleat_instructions set, const uint8_t *codes, ptrdiff_t rows,
                      ptrdiff_t columns, int bits, void *out, ptrdiff_t distance);
void pleat_unpack_lines(pleat_instructions set, const void *bytes, ptrdiff_t distance,
                        ptrdiff_t rows, ptrdiff_t columns, int bits, uint8_t *codes);

/* awq.c: 4-bit codes, rows x columns; rows is a multiple of eight. A 32-bit word holds the codes of
   eight rows. There is one stripe for each column, in which the words of the rows follow one
   another. Stripes start `distance` bytes apart. */

void pleat_awq_unpack(pleat_instructions set, const void *words, ptrdiff_t distance,
                      ptrdiff_t rows, ptrdiff_t columns, uint8_t *codes);
void pleat_awq_pack(pleat_instructions set, const uint8_t *codes, ptrdiff_t rows,
                    ptrdiff_t columns, void *words, ptrdiff_t distance);

/* fp4_blocks.c: blocks of llama.cpp. MXFP4: a scale, then a run of 32 codes. NVFP4: four scales, then
   four runs of 16 codes. Byte j of a run of n codes holds the codes j and j + n / 2. Packed codes
   have the same runs, of which byte j holds the codes 2j and 2j + 1. The first code is in the low
   half of its byte. A scale is a byte. */

void pleat_mxfp4_join(pleat_instructions set, const uint8_t *codes, const uint8_t *scales,
                      ptrdiff_t block_count, uint8_t *blocks);
void pleat_mxfp4_split(pleat_instructions set, const uint8_t *blocks, ptrdiff_t block_count,
                       uint8_t *codes, uint8_t *scales);
void pleat_nvfp4_join(pleat_instructions set, const uint8_t *codes, const uint8_t *scales,
                      ptrdiff_t block_count, uint8_t *blocks);
void pleat_nvfp4_split(pleat_instructions set, const uint8_t *blocks, ptrdiff_t block_count,
                       uint8_t *codes, uint8_t *scales);

/* group.c, mlx.c, zero_point.c: groups follow one another. There is one scale, bias or zero per
   group. Scales and biases are rounded to the format; zeros are integers. Encoders return -1 on
   success. Otherwise k is the first group that cannot be encoded: they return 2 * k if one of its
   values is not finite, and 2 * k + 1 if its scale or bias overflows the format. `codes` may be null,
   except for MLX: then only the parameters are found. */

typedef enum { PLEAT_FLOAT16, PLEAT_BFLOAT16, PLEAT_FLOAT32 } pleat_format;

int64_t pleat_encode_minmax(pleat_instructions set, const float *values, ptrdiff_t group_count,
                            ptrdiff_t group_size, int bits, pleat_format format, uint8_t *codes,
                            float *scales, float *biases);
int64_t pleat_encode_symmetric(pleat_instructions set, const float *values, ptrdiff_t group_count,
                               ptrdiff_t group_size, int bits, pleat_format format,
                               uint8_t *codes, float *scales);
int64_t pleat_encode_mlx(pleat_instructions set, const float *values, ptrdiff_t group_count,
                         ptrdiff_t group_size, int bits, pleat_format format, uint8_t *codes,
                         float *scales, float *biases);
int64_t pleat_encode_zero_point(pleat_instructions set, const float *values, ptrdiff_t group_count,
                                ptrdiff_t group_size, int bits, pleat_format format,
                                uint8_t *codes, float *scales, float *zeros);
/* search_affine.c, search_centered.c: the same forms of groups, with a smaller squared error: never
   larger than that of minmax, symmetric or zero_point. They return the same faults as these.
   `importance` has a weight for each value of a row of `groups_per_row` groups, the same for all
   rows, or is null. It is finite and not negative. Group k is in column k mod groups_per_row. Within
   a group, weights count relative to their mean, and at least 1e-6 of it; if all are 0, they count
   as equal. `effort` is 0, 1 or 2; a higher one is never worse in any group. `scratch` is
   overwritten; pleat_search_scratch is the number of its floats. */

ptrdiff_t pleat_search_scratch(ptrdiff_t group_size);
int64_t pleat_search_affine(pleat_instructions set, const float *values, ptrdiff_t group_count,
                            ptrdiff_t group_size, int bits, pleat_format format,
                            const float *importance, ptrdiff_t groups_per_row, int effort,
                            float *scratch, uint8_t *codes, float *scales, float *biases);
int64_t pleat_search_symmetric(pleat_instructions set, const float *values, ptrdiff_t group_count,
                               ptrdiff_t group_size, int bits, pleat_format format,
                               const float *importance, ptrdiff_t groups_per_row, int effort,
                               float *scratch, uint8_t *codes, float *scales);
int64_t pleat_search_zero_point(pleat_instructions set, const float *values, ptrdiff_t group_count,
                                ptrdiff_t group_size, int bits, pleat_format format,
                                const float *importance, ptrdiff_t groups_per_row, int effort,
                                float *scratch, uint8_t *codes, float *scales, float *zeros);

/* scaled.c: codes that are floating-point numbers, with a scale for each group, as `mx.quantize` of
   MLX makes them on a CPU. MXFP4 and MXFP8 have groups of 32 with scales in E8M0, NVFP4 groups of 16
   with scales in E4M3. A code of FP4 is half a byte, the first one in the low half; a code of FP8 is
   a byte. `format` is the type that MLX computes scales in, that of the weights. Returns the same as
   the group encoders; a group also overflows if its scale is above 448, or if a number decodes to
   infinity. */

typedef enum { PLEAT_MXFP4, PLEAT_NVFP4, PLEAT_MXFP8 } pleat_scaled_mode;

int64_t pleat_encode_scaled(pleat_instructions set, pleat_scaled_mode mode, const float *values,
                            ptrdiff_t group_count, pleat_format format, uint8_t *codes,
                            uint8_t *scales);

/* out = scale * code + bias */
void pleat_decode_affine(pleat_instructions set, const uint8_t *codes, ptrdiff_t group_count,
                         ptrdiff_t group_size, const float *scales, const float *biases,
                         float *out);
/* out = scale * (code - zero), with one zero for all groups, or one per group */
void pleat_decode_centered(pleat_instructions set, const uint8_t *codes, ptrdiff_t group_count,
                           ptrdiff_t group_size, const float *scales, float zero, float *out);
void pleat_decode_zero_points(pleat_instructions set, const uint8_t *codes, ptrdiff_t group_count,
                              ptrdiff_t group_size, const float *scales, const float *zeros,
                              float *out);

/* update.c: delta = delta + scale * sum. sum starts at 0 and adds left[i, k] * right[k, j] for
   k = 0, 1, ... in this order. Each operation is rounded. A NaN result always has the bits of NAN.
   Matrices are row-major: left is rows x rank, right is rank x columns, delta is rows x columns.
   Rank 0 changes nothing. */

void pleat_add_low_rank(pleat_instructions set, const float *left, const float *right,
                        ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t rank, float scale,
                        float *delta);

/* ggml.c, ggml_groups.c, ggml_encode.c: `type` is the number of the type in a GGUF file. decode,
   pack and unpack return false for an unknown type. pack, unpack and encode know Q4_0, Q4_1, Q5_0,
   Q5_1 and Q8_0, with codes of 0 to 2^bits - 1. Types without biases do not touch `biases`. encode
   returns the same as the group encoders, and rounds scales and biases to float16. */

bool pleat_ggml_decode(pleat_instructions set, uint32_t type, const void *blocks,
                       ptrdiff_t block_count, float *out);
bool pleat_ggml_pack(pleat_instructions set, uint32_t type, const uint8_t *codes,
                     const float *scales, const float *biases, ptrdiff_t block_count, void *out);
bool pleat_ggml_unpack(pleat_instructions set, uint32_t type, const void *blocks,
                       ptrdiff_t block_count, uint8_t *codes, float *scales, float *biases);
/* Takes blocks of Q2_K to Q6_K apart: w = scale * (code - zero) - minimum, with a scale, and a
   minimum in types that have minima, for each sub-block of 16 or 32 codes. */
bool pleat_ggml_unpack_k(pleat_instructions set, uint32_t type, const void *blocks,
                         ptrdiff_t block_count, uint8_t *codes, float *scales, float *minima);
int64_t pleat_ggml_encode(pleat_instructions set, uint32_t type, const float *values,
                          ptrdiff_t block_count, uint8_t *codes, float *scales, float *biases);
/* The same as encode and pack. */
int64_t pleat_ggml_encode_blocks(pleat_instructions set, uint32_t type, const float *values,
                                 ptrdiff_t block_count, void *out);

/* ggml_minima.c: adds one number to all weights of each sub-block of Q2_K, Q4_K or Q5_K, as nearly as
   the integers of its minima allow. It changes these and the step of the minima, in place. `delta`
   has one finite number per sub-block. A block with zeros only is unchanged. False for other types. */

bool pleat_ggml_move_minima(pleat_instructions set, uint32_t type, void *blocks,
                            ptrdiff_t block_count, const float *delta);

/* ggml_rows.c: encodes rows of whole blocks as llama-quantize does. `importance` has a weight for
   each column, finite and not negative, or is null. Knows the types of pack, the K types, IQ4_NL,
   IQ4_XS, TQ1_0, TQ2_0 and MXFP4. Returns the same as the group encoders, counting blocks. */

int64_t pleat_ggml_encode_rows(pleat_instructions set, uint32_t type, const float *values,
                               ptrdiff_t row_count, ptrdiff_t column_count,
                               const float *importance, void *out);
/* The same types with smaller errors: squared, and weighted by importance alone. In no block is the
   error above that of encode_rows. `rounds` is at least 1. Types without such a search get the
   blocks of encode_rows. */
int64_t pleat_ggml_search_rows(pleat_instructions set, uint32_t type, int rounds,
                               const float *values, ptrdiff_t row_count, ptrdiff_t column_count,
                               const float *importance, void *out);

/* statistics.c: value i goes to partial sum i mod 8; the eight are added as
   ((0+4)+(2+6)) + ((1+5)+(3+7)). */

typedef struct {
  int64_t nan_count, infinity_count;
  float minimum, maximum;      /* of the finite values, -0 below +0; +inf, -inf if none */
  double sum, sum_of_squares;  /* of the finite values */
} pleat_statistics;

typedef struct {
  double sum_of_squared_errors;  /* of value - reference in double */
  double sum_of_squares;         /* of reference */
  float maximum_error;           /* of |value - reference| in float; NaN if any is NaN */
} pleat_error;

typedef struct {
  double sum_of_squared_errors;  /* of (value - base) - delta in double */
  double sum_of_squares;         /* of delta */
  double maximum_error;          /* of |(value - base) - delta|; NaN if any is NaN */
} pleat_update_error;

pleat_statistics pleat_statistics_of(pleat_instructions set, const float *values, ptrdiff_t count);
/* NaN if any value is NaN. */
float pleat_largest_magnitude(pleat_instructions set, const float *values, ptrdiff_t count);
pleat_error pleat_error_of(pleat_instructions set, const float *values, const float *reference,
                           ptrdiff_t count);
pleat_update_error pleat_update_error_of(pleat_instructions set, const float *values,
                                         const float *base, const float *delta, ptrdiff_t count);

/* field.c: fields of `width` bytes, one in each record of `stride` bytes. */

void pleat_copy_fields(const void *from, ptrdiff_t from_stride, void *to, ptrdiff_t to_stride,
                       ptrdiff_t count, ptrdiff_t width);
/* Whether all bytes outside the fields are equal; the fields begin at `offset` in each record. */
bool pleat_same_around_fields(const void *left, const void *right, ptrdiff_t count,
                              ptrdiff_t stride, ptrdiff_t offset, ptrdiff_t width);

/* crc32c.c: `crc` is the checksum of the preceding bytes, 0 at the start. */

uint32_t pleat_crc32c(pleat_instructions set, uint32_t crc, const void *bytes, ptrdiff_t count);
/* The checksum of two adjacent runs of bytes, from both checksums and the length of the second. */
uint32_t pleat_crc32c_combine(uint32_t crc1, uint32_t crc2, uint64_t length2);

/* multiply.c: products of float32 numbers, each output one chain of fused multiply-adds over k.
   `pleat_pack_tiles` packs rows for the other two with the same set: columns x 6 numbers for every
   six rows, and zeros for missing ones. `count` is the number of packed rows. */

void pleat_pack_tiles(pleat_instructions set, const float *x, ptrdiff_t stride, ptrdiff_t rows,
                      ptrdiff_t columns, float *out);
/* out[i, j] = sum over k of packed[i, k] * rows[j, k]; out is count x row_count. */
void pleat_multiply_rows(pleat_instructions set, const float *packed, ptrdiff_t count,
                         ptrdiff_t columns, const float *rows, ptrdiff_t row_stride,
                         ptrdiff_t row_count, float *out, ptrdiff_t out_stride);
/* out[i, j] = sum over k of packed[i, k] * right[k, j]; out is count x columns. */
void pleat_multiply_columns(pleat_instructions set, const float *packed, ptrdiff_t count,
                            ptrdiff_t depth_count, const float *right, ptrdiff_t right_stride,
                            ptrdiff_t columns, float *out, ptrdiff_t out_stride);

/* packed_rows.c: matrices that are packed for products with one vector, 32 rows at a time. */

/* What the codes of a group stand for. */
typedef enum {
  PLEAT_BIASED,      /* scale * code + offset */
  PLEAT_ZERO_POINTS, /* scale * (code - offset) */
  PLEAT_CENTERED,    /* scale * (code - zero), with one zero for all groups */
} pleat_group_form;

/* How groups of codes are packed. */
typedef struct {
  pleat_group_form form;
  pleat_format format; /* of scales and offsets */
  int bits;            /* of a packed code: 2, 4 or 8 */
  float zero;
  ptrdiff_t size;  /* columns of a group, a multiple of 32 / bits */
  ptrdiff_t count; /* groups of a row */
} pleat_packed_groups;

/* The number of bytes of packed rows. Products read as many bytes more as PLEAT_BYTES_BEHIND, and
   ignore their values. */
enum { PLEAT_BYTES_BEHIND = 2 };
ptrdiff_t pleat_packed_size(const pleat_packed_groups *groups, ptrdiff_t row_count);
/* Codes are row_count x columns, one a byte; scales and offsets are row_count x groups, and values
   of the format. Offsets are not read where the groups have none. Returns whether scales and
   offsets are finite; if not, the packed rows must not be used. */
bool pleat_pack_groups(const pleat_packed_groups *groups, const uint8_t *codes, const float *scales,
                       const float *offsets, ptrdiff_t row_count, void *packed);
/* The same of numbers of a format, packed from floats that are values of it. */
ptrdiff_t pleat_packed_number_size(pleat_format format, ptrdiff_t columns, ptrdiff_t row_count);
void pleat_pack_numbers(pleat_format format, const float *values, ptrdiff_t columns,
                        ptrdiff_t row_count, void *packed);

/* multiply_vector.c: products of packed rows with one vector, by the same chains. */

/* out[j] = sum over k of x[k] * w[j, k]. */
void pleat_multiply_groups(pleat_instructions set, const float *x,
                           const pleat_packed_groups *groups, const void *packed,
                           ptrdiff_t row_count, float *out);
void pleat_multiply_numbers(pleat_instructions set, pleat_format format, const float *x,
                            ptrdiff_t columns, const void *packed, ptrdiff_t row_count,
                            float *out);

/* activation.c: functions of the numbers of a row, in place unless there is an `out`. */

typedef enum {
  PLEAT_SILU,
  PLEAT_SIGMOID,
  PLEAT_GELU_TANH,
  PLEAT_RELU,
  PLEAT_SQUARED_RELU,
  PLEAT_SOFTPLUS
} pleat_activation;

/* values[i] = function(values[i]) * factors[i]; factors may be null. */
void pleat_activate(pleat_instructions set, pleat_activation function, float *values,
                    const float *factors, ptrdiff_t count);
/* values[i] = (y + 1) * x * sigmoid(scale * x), where x is at most `limit`, and y is factors[i]
   between -limit and limit. */
void pleat_clamped_gate(pleat_instructions set, float *values, const float *factors,
                        ptrdiff_t count, float scale, float limit);
/* values[i] = slope * x + above * x^2 for x > 0; slope * x + below * (e^min(x, limit) - 1 - x) for
   others. */
void pleat_xielu(pleat_instructions set, float *values, ptrdiff_t count, float above, float below,
                 float slope, float limit);
/* values[i] = limit * tanh(scale * values[i] / limit). */
void pleat_cap(pleat_instructions set, float *values, ptrdiff_t count, float scale, float limit);
/* The softmax of scale * values. */
void pleat_softmax(pleat_instructions set, float *values, ptrdiff_t count, float scale);
/* out = (values - mean) / sqrt(variance + epsilon) * (weights + addend) + biases. Without the mean,
   the variance is the mean square. weights and biases may be null. */
void pleat_norm(pleat_instructions set, bool subtracts_mean, const float *values,
                const float *weights, const float *biases, ptrdiff_t count, float addend,
                double epsilon, float *out);
/* out[i] = out[i] + scale * values[i]. */
void pleat_add_scaled(pleat_instructions set, const float *values, float scale, ptrdiff_t count,
                      float *out);
/* Rotates pairs of numbers by angles: neighbours, or i and i + pairs; the results are in the second
   order in both cases. `scratch` has 2 * pairs numbers. */
void pleat_rotate(const float *cosines, const float *sines, ptrdiff_t pairs, bool neighbours,
                  float *values, float *scratch);
/* The logarithm of the sum of e^values[i]. */
double pleat_log_sum_exp(pleat_instructions set, const float *values, ptrdiff_t count);
/* The sum of p[i] * (ln p[i] - ln q[i]), with ln p[i] = base[i] - base_sum and
   ln q[i] = other[i] - other_sum. */
double pleat_divergence(pleat_instructions set, const float *base, const float *other,
                        ptrdiff_t count, double base_sum, double other_sum);
/* The bin of the largest square of each column, if that is above tops[column]: the
   exponent field of the float plus 1, divided by 16. Rows are row_stride numbers apart. */
void pleat_raise_tops(pleat_instructions set, const float *values, ptrdiff_t row_count,
                      ptrdiff_t row_stride, ptrdiff_t column_count, uint8_t *tops);
/* Adds the squares of the numbers of each column to three words, which add up digits of 32 bits;
   column_count words apart, the lowest first. squares.c describes them. tops must have been raised
   by the same values. */
void pleat_add_squares(pleat_instructions set, const float *values, ptrdiff_t row_count,
                       ptrdiff_t row_stride, ptrdiff_t column_count, const uint8_t *tops,
                       uint64_t *words);

/* recurrence.c: layers with a state of each text. */

/* The columns of a state that are computed at once, and lie together in memory. */
enum { PLEAT_STATE_COLUMNS = 32 };

/* What a head receives for each of `count` tokens. Queries, keys and values of two tokens are
   `stride` numbers apart. */
typedef struct {
  const float *queries;
  const float *keys;
  const float *values;
  ptrdiff_t stride;
  ptrdiff_t count;
  const float *decays;
  const float *rates;
} pleat_head_inputs;

/* For each token: state = decay * state + key (rate * change)^T and out = state^T query. `change` is
   the value; with `corrects`, the value minus decay * state^T key, what the key finds before. A state
   is key_size x value_size numbers: 32 columns of all rows, then the next ones, and the last ones
   filled up. Outputs of two tokens are out_stride numbers apart. */
void pleat_recur(pleat_instructions set, bool corrects, const pleat_head_inputs *inputs,
                 ptrdiff_t key_size, ptrdiff_t value_size, float *state, float *out,
                 ptrdiff_t out_stride);
/* out[i] = values[i] * factors[i] + out[i], rounded once. */
void pleat_add_products(pleat_instructions set, const float *values, const float *factors,
                        ptrdiff_t count, float *out);

#endif
