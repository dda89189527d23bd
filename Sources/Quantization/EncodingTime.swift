internal import Kernels
internal import TensorModel

// Processor time of one thread for whole jobs, which also read, decode and write: F16 weights in a
// GGUF model of 8 million weights, x86_64 with AVX2, the best of three runs. Other processors are
// faster or slower, but the ratios between encoders change little.

extension Quantizer {
  /// About how long it takes to encode a weight, in picoseconds of one thread.
  ///
  /// It serves to divide work, and changes no byte. This is the time of schemes that do not search.
  package var picosecondsPerWeight: Int { 2200 }
}

extension RowEncoder {
  /// About how long it takes to encode a weight, in picoseconds of one thread.
  ///
  /// It serves to divide work, and changes no byte. This is the time of plain numbers.
  package var picosecondsPerWeight: Int { 500 }
}

extension SearchQuantizer {
  var picosecondsPerWeight: Int {
    switch effort {
    case .fast: 5200
    case .default: 7200
    case .best: 29_000
    }
  }
}

extension BlockEncoder {
  var picosecondsPerWeight: Int {
    switch method {
    case .ggml: simpleTime
    case .search(.fast): searchTime * 2 / 3
    case .search(.default): searchTime
    case .search(.best): searchTime * 6 / 5
    }
  }

  /// The time of the method of `llama-quantize`.
  private var simpleTime: Int {
    switch type {
    case .q2_K: 11_600
    case .q3_K: 3200
    case .q4_K: 10_300
    case .q5_K: 11_000
    case .q6_K: 5100
    case .iq4_NL: 6700
    case .iq4_XS: 7400
    default: 2200
    }
  }

  private var searchTime: Int {
    switch type {
    case .q2_K: 35_000
    case .q3_K: 12_000
    case .q4_K: 32_000
    case .q5_K: 23_000
    case .q6_K: 16_000
    case .iq4_NL: 21_000
    case .iq4_XS: 43_000
    case .tq1_0, .tq2_0: 5500
    default: 8000
    }
  }
}
