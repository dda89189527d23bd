/* Prints a checksum of the result of each kernel for fixed inputs; see scripts/arm64. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

enum { COUNT = 1 << 16, ROWS = 256, COLUMNS = COUNT / ROWS, RANK = 16 };

static uint64_t state = 20261121;
static uint32_t next_bits(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)(state >> 32);
}

/* Typical weights, zeros of both signs, constant groups, and subnormal numbers. */
static float weight(int index) {
  uint32_t bits = next_bits();
  if (index / 512 % 7 == 3) return bits & 1 ? 0.0f : -0.0f;
  if (index / 512 % 7 == 4) return 0.25f;
  if (index / 512 % 7 == 5) return (float)(int32_t)bits * 0x1p-149f * 0x1p-12f;
  return (float)(int32_t)bits * 0x1p-31f * (1 + index % 5);
}

static pleat_instructions set;
static float values[COUNT], others[COUNT], floats[COUNT], scales[COUNT], biases[COUNT];
static uint8_t codes[COUNT], bytes[8 * COUNT], random_bytes[8 * COUNT];

static void tell(const char *name, int number, const void *result, size_t size) {
  printf("%s %d %08x\n", name, number, pleat_crc32c(PLEAT_PORTABLE, 0, result, (ptrdiff_t)size));
}

static void clear(void) {
  memset(floats, 0, sizeof floats), memset(scales, 0, sizeof scales);
  memset(biases, 0, sizeof biases), memset(codes, 0, sizeof codes), memset(bytes, 0, sizeof bytes);
}

static void tell_groups(const char *name, int number, int64_t fault) {
  if (fault != -1) printf("%s %d fault %lld\n", name, number, (long long)fault);
  tell(name, number, codes, sizeof codes);
  tell(name, number, scales, sizeof scales);
  tell(name, number, biases, sizeof biases);
}

static void formats(void) {
  pleat_f16_to_f32(set, random_bytes, COUNT, floats), tell("f16", 1, floats, sizeof floats);
  pleat_bf16_to_f32(set, random_bytes, COUNT, floats), tell("bf16", 1, floats, sizeof floats);
  pleat_f64_to_f32(set, random_bytes, COUNT, floats), tell("f64", 1, floats, sizeof floats);
  const float *all[] = {values, (const float *)(const void *)random_bytes};
  for (int k = 0; k < 2; k++) {
    clear(), pleat_f32_to_f16(set, all[k], COUNT, bytes), tell("to f16", k, bytes, sizeof bytes);
    clear(), pleat_f32_to_bf16(set, all[k], COUNT, bytes), tell("to bf16", k, bytes, sizeof bytes);
    clear(), pleat_f32_to_f64(set, all[k], COUNT, bytes), tell("to f64", k, bytes, sizeof bytes);
  }
}

static void packing(void) {
  for (int bits = 1; bits <= 8; bits++) {
    uint8_t some[COUNT];
    for (int i = 0; i < COUNT; i++) some[i] = random_bytes[i] & ((1 << bits) - 1);
    clear(), pleat_pack(set, some, ROWS, COLUMNS, bits, bytes), tell("pack", bits, bytes, COUNT);
    pleat_unpack(set, bytes, ROWS, COLUMNS, bits, codes), tell("unpack", bits, codes, COUNT);
    clear(), pleat_pack_lines(set, some, ROWS, COLUMNS, bits, bytes, 4 * ROWS);
    tell("pack lines", bits, bytes, COUNT);
    pleat_unpack_lines(set, bytes, 4 * ROWS, ROWS, COLUMNS, bits, codes);
    tell("unpack lines", bits, codes, COUNT);
    if (bits != 4) continue;
    clear(), pleat_awq_pack(set, some, ROWS, COLUMNS, bytes, ROWS / 2);
    tell("awq pack", bits, bytes, COUNT);
    pleat_awq_unpack(set, bytes, ROWS / 2, ROWS, COLUMNS, codes);
    tell("awq unpack", bits, codes, COUNT);
  }
}

static void groups(void) {
  for (int size = 32; size <= 256; size *= 2) {
    for (int bits = 2; bits <= 8; bits++) {
      for (int type = PLEAT_FLOAT16; type <= PLEAT_FLOAT32; type++) {
        const int count = COUNT / size, number = (size * 10 + bits) * 10 + type;
        const pleat_format format = (pleat_format)type;
        clear();
        tell_groups("minmax", number,
                    pleat_encode_minmax(set, values, count, size, bits, format, codes, scales, biases));
        pleat_decode_affine(set, codes, count, size, scales, biases, floats);
        tell("affine", number, floats, sizeof floats), clear();
        tell_groups("symmetric", number,
                    pleat_encode_symmetric(set, values, count, size, bits, format, codes, scales));
        pleat_decode_centered(set, codes, count, size, scales, 8, floats);
        tell("centered", number, floats, sizeof floats), clear();
        tell_groups("mlx", number,
                    pleat_encode_mlx(set, values, count, size, bits, format, codes, scales, biases));
        clear();
        tell_groups("zero point", number, pleat_encode_zero_point(set, values, count, size, bits, format,
                                                                  codes, scales, biases));
        pleat_decode_zero_points(set, codes, count, size, scales, biases, floats);
        tell("zero points", number, floats, sizeof floats);
      }
    }
  }
}

/* Groups in lanes and groups spread over lanes, with and without weights. */
static void searches(void) {
  static float scratch[COUNT], importance[COUNT];
  const int sizes[] = {32, 100, 520, 1024};
  for (int i = 0; i < COUNT; i++) importance[i] = others[i] * others[i];
  for (int k = 0; k < 4; k++) {
    for (int bits = 2; bits <= 8; bits += 2) {
      for (int type = PLEAT_FLOAT16; type <= PLEAT_FLOAT32; type++) {
        for (int effort = 0; effort <= 2; effort++) {
          const int size = sizes[k], count = COUNT / size;
          const int number = ((size * 10 + bits) * 10 + type) * 10 + effort;
          if (pleat_search_scratch(size) > COUNT) exit(1);
          const pleat_format format = (pleat_format)type;
          const float *weights = (k + bits / 2 + type) % 2 == 0 ? importance : NULL;
          clear();
          tell_groups("search", number,
                      pleat_search_affine(set, values, count, size, bits, format, weights, 3, effort,
                                          scratch, codes, scales, biases));
          clear();
          tell_groups("search symmetric", number,
                      pleat_search_symmetric(set, values, count, size, bits, format, weights, 3,
                                             effort, scratch, codes, scales));
          clear();
          tell_groups("search zero point", number,
                      pleat_search_zero_point(set, values, count, size, bits, format, weights, 3,
                                              effort, scratch, codes, scales, biases));
        }
      }
    }
  }
}

static void ggml(void) {
  const uint32_t grouped[] = {2, 3, 6, 7, 8};
  for (int k = 0; k < 5; k++) {
    const uint32_t type = grouped[k];
    clear();
    tell_groups("ggml", (int)type,
                pleat_ggml_encode(set, type, values, COUNT / 32, codes, scales, biases));
    pleat_ggml_pack(set, type, codes, scales, biases, COUNT / 32, bytes);
    tell("ggml pack", (int)type, bytes, sizeof bytes);
    pleat_ggml_unpack(set, type, bytes, COUNT / 32, codes, scales, biases);
    tell_groups("ggml unpack", (int)type, -1);
  }
  for (uint32_t type = 0; type < 64; type++) {
    clear();
    /* Blocks of 32 or 256 values have at most 292 bytes. */
    if (pleat_ggml_decode(set, type, random_bytes, COUNT / 256, floats)) {
      tell("ggml decode", (int)type, floats, sizeof floats);
    }
  }
}

static void rows(void) {
  const uint32_t types[] = {2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 34, 35, 39};
  float importance[COLUMNS];
  for (int k = 0; k < COLUMNS; k++) importance[k] = others[k] * others[k];
  for (int k = 0; k < 15; k++) {
    const int type = (int)types[k];
    for (int weighted = 0; weighted < 2; weighted++) {
      const float *weights = weighted ? importance : NULL;
      clear();
      printf("ggml rows %d fault %lld\n", type,
             (long long)pleat_ggml_encode_rows(set, types[k], values, ROWS, COLUMNS, weights, bytes));
      tell(weighted ? "ggml weighted rows" : "ggml rows", type, bytes, sizeof bytes), clear();
      printf("ggml search %d fault %lld\n", type,
             (long long)pleat_ggml_search_rows(set, types[k], 2, values, ROWS, COLUMNS, weights,
                                               bytes));
      tell(weighted ? "ggml weighted search" : "ggml search", type, bytes, sizeof bytes);
    }
  }
}

static void statistics(void) {
  const float *all[] = {values, (const float *)(const void *)random_bytes};
  for (int k = 0; k < 2; k++) {
    pleat_statistics found = pleat_statistics_of(set, all[k], COUNT - k);
    printf("statistics %d %lld %lld %a %a %a %a\n", k, (long long)found.nan_count,
           (long long)found.infinity_count, found.minimum, found.maximum, found.sum,
           found.sum_of_squares);
    printf("magnitude %d %a\n", k, pleat_largest_magnitude(set, all[k], COUNT - k));
  }
  pleat_error error = pleat_error_of(set, values, others, COUNT);
  printf("error %a %a %a\n", error.sum_of_squared_errors, error.sum_of_squares,
         error.maximum_error);
  pleat_update_error update = pleat_update_error_of(set, values, others, others, COUNT);
  printf("update error %a %a %a\n", update.sum_of_squared_errors, update.sum_of_squares,
         update.maximum_error);
}

static void others_too(void) {
  memcpy(floats, others, sizeof floats);
  pleat_add_low_rank(set, values, others, ROWS, COLUMNS, RANK, 0.75f, floats);
  tell("low rank", RANK, floats, sizeof floats);
  for (ptrdiff_t size = 0; size < 300; size += 37) {
    printf("crc %d %08x\n", (int)size, pleat_crc32c(set, 7, random_bytes + size, COUNT + size));
  }
}

/* Products of packed groups with one vector. */
static void vectors(void) {
  enum { HEIGHT = 101, SIZE = 32 };
  static uint8_t some[COUNT], packed[8 * COUNT];
  float out[HEIGHT];
  for (int i = 0; i < 3 * 3 * 3; i++) {
    pleat_packed_groups groups = {i % 3, i / 3 % 3, 2 << i / 9, 8, SIZE, COLUMNS / SIZE};
    ptrdiff_t count = HEIGHT * groups.count;
    pleat_encode_minmax(set, values, count, SIZE, groups.bits, groups.format, some, scales, biases);
    for (ptrdiff_t g = 0; groups.form == PLEAT_ZERO_POINTS && g < count; g++) biases[g] = g % 4;
    pleat_pack_groups(&groups, some, scales, biases, HEIGHT, packed);
    pleat_multiply_groups(set, others, &groups, packed, HEIGHT, out);
    tell("product of groups", i, out, sizeof out);
  }
}

/* Products, and functions of rows, of numbers that are not subnormal. */
static void networks(void) {
  enum { HEIGHT = 13, WIDTH = 101, DEPTH = 300 };
  static float packed[18 * DEPTH], out[HEIGHT * WIDTH];
  pleat_pack_tiles(set, others, DEPTH, HEIGHT, DEPTH, packed);
  pleat_multiply_rows(set, packed, HEIGHT, DEPTH, values, DEPTH, WIDTH, out, WIDTH);
  tell("product", 1, out, sizeof out);
  pleat_multiply_columns(set, packed, HEIGHT, DEPTH, values, WIDTH, WIDTH, out, WIDTH);
  tell("product", 2, out, sizeof out);
  for (int function = PLEAT_SILU; function <= PLEAT_SOFTPLUS; function++) {
    for (int i = 0; i < COUNT; i++) floats[i] = 8 * values[i];
    pleat_activate(set, (pleat_activation)function, floats, others, COUNT);
    tell("activation", function, floats, sizeof floats);
  }
  memcpy(floats, values, sizeof floats);
  for (int row = 0; row < ROWS; row++) {
    float *numbers = floats + row * COLUMNS;
    const float *next = others + row * COLUMNS;
    pleat_cap(set, numbers, COLUMNS, 3, 5);
    pleat_norm(set, row % 2, numbers, next, next, COLUMNS - row % 9, 1, 1e-5, numbers);
    pleat_add_scaled(set, next, 0.5f, COLUMNS, numbers);
    pleat_softmax(set, numbers, COLUMNS - row % 7, 2);
  }
  tell("functions of rows", ROWS, floats, sizeof floats);
  uint8_t tops[COLUMNS] = {0};
  uint64_t words[3 * COLUMNS] = {0};
  pleat_raise_tops(set, values, ROWS, COLUMNS, COLUMNS, tops);
  pleat_add_squares(set, values, ROWS, COLUMNS, COLUMNS, tops, words);
  tell("squares", ROWS, words, sizeof words);
}

/* Layers with states, whose numbers are not subnormal. */
static void states(void) {
  enum { KEYS = 24, VALUES = 40, TOKENS = 50, STRIDE = 96, PLACES = 2 * PLEAT_STATE_COLUMNS };
  static float state[KEYS * PLACES], out[TOKENS * VALUES], decays[TOKENS], rates[TOKENS];
  for (int t = 0; t < TOKENS; t++) decays[t] = 1 / (1 + (float)t / 64), rates[t] = 0.01f * (float)t;
  pleat_head_inputs inputs = {others, others + KEYS, others + 2 * KEYS, STRIDE, TOKENS, decays,
                              rates};
  for (int corrects = 0; corrects < 2; corrects++) {
    memset(state, 0, sizeof state);
    pleat_recur(set, corrects, &inputs, KEYS, VALUES, state, out, VALUES);
    tell("states", corrects, state, sizeof state);
    tell("outputs of states", corrects, out, sizeof out);
  }
  memcpy(floats, values, sizeof floats);
  pleat_add_products(set, others, values, COUNT - 5, floats);
  tell("added products", COUNT, floats, sizeof floats);
}

int main(int count, char **arguments) {
  const char *name = count > 1 ? arguments[1] : "";
  set = strcmp(name, "avx512") == 0 ? PLEAT_AVX512
        : strcmp(name, "avx2") == 0 ? PLEAT_AVX2
                                    : PLEAT_PORTABLE;
  if (!pleat_has_instructions(set)) return 2;
  for (int i = 0; i < COUNT; i++) values[i] = weight(i), others[i] = weight(i);
  for (size_t i = 0; i < sizeof random_bytes; i++) random_bytes[i] = (uint8_t)next_bits();
  formats(), packing(), groups(), searches(), ggml(), rows(), statistics(), others_too();
  vectors(), networks(), states();
  return 0;
}
