import Benchmark
import Loops

/// Benchmarks of the loops over every weight, with one thread, on tiles that stay in the cache.
///
/// Jobs use tiles of the same size. Throughput is in weights. `Benchmarks/NOTES.md` compares it
/// with the memory bandwidth.
let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .throughput, .mallocCountTotal],
    warmupIterations: 3, scalingFactor: .kilo, maxDuration: .seconds(1), maxIterations: 40)

  let sets = [(PLEAT_AVX512, "AVX-512"), (PLEAT_AVX2, "AVX2"), (PLEAT_PORTABLE, "portable")]
  for (set, path) in sets where pleat_has_instructions(set) {
    let tile = Tile()

    func measure(_ name: String, _ body: @escaping @Sendable (Tile) -> Void) {
      Benchmark("\(name) \(path)") { benchmark in
        for _ in benchmark.scaledIterations { body(tile) }
      }
    }

    measure("F16 to F32") { pleat_f16_to_f32(set, $0.halves, Tile.count, $0.output) }
    measure("BF16 to F32") { pleat_bf16_to_f32(set, $0.halves, Tile.count, $0.output) }
    measure("F32 to F16") { pleat_f32_to_f16(set, $0.values, Tile.count, $0.bytes) }
    measure("F32 to BF16") { pleat_f32_to_bf16(set, $0.values, Tile.count, $0.bytes) }
    for bits: Int32 in [2, 3, 4, 5, 6, 8] {
      measure("minmax, \(bits) bits, groups of 32") {
        _ = pleat_encode_minmax(
          set, $0.values, Tile.count / 32, 32, bits, PLEAT_FLOAT16, $0.codes, $0.scales, $0.biases)
      }
      measure("pack \(bits) bits") {
        pleat_pack(set, $0.codes, 16, Tile.count / 16, bits, $0.bytes)
      }
      measure("unpack \(bits) bits") {
        pleat_unpack(set, $0.bytes, 16, Tile.count / 16, bits, $0.otherCodes)
      }
    }
    for size in [64, 128] {
      measure("minmax, 4 bits, groups of \(size)") {
        _ = pleat_encode_minmax(
          set, $0.values, Tile.count / size, size, 4, PLEAT_FLOAT16, $0.codes, $0.scales, $0.biases)
      }
    }
    measure("symmetric, 4 bits, groups of 32") {
      _ = pleat_encode_symmetric(
        set, $0.values, Tile.count / 32, 32, 4, PLEAT_FLOAT16, $0.codes, $0.scales)
    }
    measure("zeropoint, 4 bits, groups of 32") {
      _ = pleat_encode_zero_point(
        set, $0.values, Tile.count / 32, 32, 4, PLEAT_FLOAT16, $0.codes, $0.scales, $0.biases)
    }
    measure("mlx, 4 bits, groups of 64") {
      _ = pleat_encode_mlx(
        set, $0.values, Tile.count / 64, 64, 4, PLEAT_FLOAT16, $0.codes, $0.scales, $0.biases)
    }
    for (type, name) in [(2, "Q4_0"), (3, "Q4_1"), (6, "Q5_0"), (7, "Q5_1"), (8, "Q8_0")] {
      measure("ggml, \(name)") {
        _ = pleat_ggml_encode(
          set, UInt32(type), $0.values, Tile.count / 32, $0.codes, $0.scales, $0.biases)
      }
    }
    for size in [32, 128] {
      let count = Tile.count / size
      measure("search with a bias, 4 bits, groups of \(size)") {
        _ = pleat_search_affine(
          set, $0.values, count, size, 4, PLEAT_FLOAT16, nil, 1, 1, $0.output, $0.codes, $0.scales,
          $0.biases)
      }
      measure("search without an offset, 4 bits, groups of \(size)") {
        _ = pleat_search_symmetric(
          set, $0.values, count, size, 4, PLEAT_FLOAT16, nil, 1, 1, $0.output, $0.codes, $0.scales)
      }
      measure("search with a zero point, 4 bits, groups of \(size)") {
        _ = pleat_search_zero_point(
          set, $0.values, count, size, 4, PLEAT_FLOAT16, nil, 1, 1, $0.output, $0.codes, $0.scales,
          $0.biases)
      }
    }
    let blocks = [
      (10, "Q2_K"), (11, "Q3_K"), (12, "Q4_K"), (13, "Q5_K"), (14, "Q6_K"), (20, "IQ4_NL"),
      (23, "IQ4_XS"), (34, "TQ1_0"), (35, "TQ2_0"), (39, "MXFP4"),
    ]
    for (type, name) in blocks {
      measure("ggml, \(name)") {
        _ = pleat_ggml_encode_rows(
          set, UInt32(type), $0.values, Tile.rows, Tile.columns, nil, $0.bytes)
      }
      measure("ggml, \(name) with importance") {
        _ = pleat_ggml_encode_rows(
          set, UInt32(type), $0.values, Tile.rows, Tile.columns, $0.importance, $0.bytes)
      }
      measure("search, \(name)") {
        _ = pleat_ggml_search_rows(
          set, UInt32(type), 2, $0.values, Tile.rows, Tile.columns, nil, $0.bytes)
      }
    }
    measure("decode, groups of 32 with a bias") {
      pleat_decode_affine(set, $0.codes, Tile.count / 32, 32, $0.scales, $0.biases, $0.output)
    }
    measure("add a product of rank 16 to 16 rows") {
      pleat_add_low_rank(set, $0.values, $0.values, 16, Tile.count / 16, 16, 1e-3, $0.output)
    }
  }
}

/// The inputs of the loops, and memory for their outputs.
final class Tile: @unchecked Sendable {
  /// The number of weights, which is what a worker decodes at a time.
  static let count = 1 << 15
  static let columns = 1 << 11
  static let rows = count / columns

  let values = UnsafeMutablePointer<Float>.allocate(capacity: count)
  let halves = UnsafeMutablePointer<UInt16>.allocate(capacity: count)
  let output = UnsafeMutablePointer<Float>.allocate(capacity: count)
  let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 4 * count)
  let codes = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
  let otherCodes = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
  let scales = UnsafeMutablePointer<Float>.allocate(capacity: count)
  let biases = UnsafeMutablePointer<Float>.allocate(capacity: count)
  let importance = UnsafeMutablePointer<Float>.allocate(capacity: columns)

  /// Fills the tile with sums of four pseudo-random numbers, which are nearly normally distributed.
  init() {
    var state: UInt64 = 1
    for index in 0..<Self.count {
      var sum: Float = 0
      for _ in 0..<4 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        sum += Float(Int32(truncatingIfNeeded: state >> 32)) / Float(Int32.max)
      }
      values[index] = sum * 0.02
      output[index] = 0
      scales[index] = 0.01
      biases[index] = -0.1
      codes[index] = UInt8(truncatingIfNeeded: state >> 60) & 3
    }
    for column in 0..<Self.columns { importance[column] = Float(1 + column % 31) }
    pleat_f32_to_f16(PLEAT_PORTABLE, values, Self.count, halves)
    for index in 0..<4 * Self.count { bytes[index] = 0 }
  }
}
